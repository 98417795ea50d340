//! What digests contain, kept: content never changes. That something *exists* is never answered from here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Digest, Tag};
use crate::registry::evidence::manifest::{Config, Image, Index, Manifest, Texts};
use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::place::Place;

/// Entries kept: 1,000 sets of 3 images with 2 platforms use 5 per image for the release that they follow.
const ENTRIES_MAX: usize = 10_000;
/// Largest entry kept, in bytes of text: an index of 256 images has 51 kB, an image with 40 long labels 8 kB. What
/// is larger is read again.
const ENTRY_MAX_BYTES: usize = 64 * 1024;
/// Text kept in all: bounds the memory of the process when every entry is a large one.
const TOTAL_MAX_BYTES: usize = 16 * 1024 * 1024;

/// What something holds.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// An index.
    Index(Arc<Index>),
    /// An image's manifest.
    Image(Arc<Image>),
    /// An image's config.
    Config(Arc<Config>),
    /// What a tag pointed at when it was last read: only a hint that a HEAD may save a GET.
    Pointer(Digest),
}

/// Whose knowledge of what: content is shown only to the credential that read it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: String,
    path: String,
    fingerprint: Fingerprint,
    /// A digest or a tag; a tag holds no colon.
    name: String,
}

/// The cache.
#[derive(Default)]
pub(crate) struct Facts(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: HashMap<Key, Kept>,
    total_bytes: usize,
    uses: u64,
}

struct Kept {
    fact: Fact,
    bytes: usize,
    last_use: u64,
}

// === impl Facts ===

impl Facts {
    /// What is known about a manifest.
    pub(crate) fn manifest(&self, place: &Place<'_>, digest: &Digest) -> Option<Manifest> {
        match self.get(place, digest.as_str())? {
            Fact::Index(index) => Some(Manifest::Index(index)),
            Fact::Image(image) => Some(Manifest::Image(image)),
            Fact::Config(_) | Fact::Pointer(_) => None,
        }
    }

    /// What is known about a config.
    pub(crate) fn config(&self, place: &Place<'_>, digest: &Digest) -> Option<Arc<Config>> {
        match self.get(place, digest.as_str())? {
            Fact::Config(config) => Some(config),
            _ => None,
        }
    }

    /// What a tag pointed at when it was last read.
    pub(crate) fn pointer(&self, place: &Place<'_>, tag: &Tag) -> Option<Digest> {
        match self.get(place, tag.as_str())? {
            Fact::Pointer(digest) => Some(digest),
            _ => None,
        }
    }

    fn get(&self, place: &Place<'_>, name: &str) -> Option<Fact> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let now = inner.uses;
        let kept = inner.entries.get_mut(&key(place, name))?;
        kept.last_use = now;
        Some(kept.fact.clone())
    }

    /// Keeps a fact, at the price of those not used for longest.
    pub(crate) fn put(&self, place: &Place<'_>, name: &str, fact: Fact) {
        let bytes = fact.bytes();
        if bytes > ENTRY_MAX_BYTES {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let last_use = inner.uses;
        if let Some(old) = inner.entries.insert(key(place, name), Kept { fact, bytes, last_use }) {
            inner.total_bytes -= old.bytes;
        }
        inner.total_bytes += bytes;
        if inner.entries.len() > ENTRIES_MAX || inner.total_bytes > TOTAL_MAX_BYTES {
            inner.make_room();
        }
    }
}

impl Inner {
    /// Drops the half that was used least recently: seldom, so that each insertion pays little.
    fn make_room(&mut self) {
        let mut uses: Vec<u64> = self.entries.values().map(|kept| kept.last_use).collect();
        let half = uses.len() / 2;
        let (_, &mut median, _) = uses.select_nth_unstable(half);
        self.entries.retain(|_, kept| kept.last_use > median);
        self.total_bytes = self.entries.values().map(|kept| kept.bytes).sum();
    }
}

fn key(place: &Place<'_>, name: &str) -> Key {
    Key {
        origin: place.origin(),
        path: place.repository.path().to_owned(),
        fingerprint: place.fingerprint,
        name: name.to_owned(),
    }
}

// === impl Fact ===

impl Fact {
    fn bytes(&self) -> usize {
        let texts = |texts: &Texts| texts.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        match self {
            Self::Index(index) => {
                // An entry is a digest, a media type and a platform: about 200 bytes.
                texts(&index.annotations) + index.entries.len() * 200
            }
            // A digest is 71 bytes and what holds them.
            Self::Image(image) => texts(&image.annotations) + image.layers.len() * 100,
            Self::Config(config) => texts(&config.labels),
            Self::Pointer(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Repository;
    use crate::registry::Access;
    use crate::registry::identity::credentials::Credential;

    fn digest(number: usize) -> Digest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    fn config(label: &str) -> Fact {
        let labels = Texts::from([("label".to_owned(), label.to_owned())]);
        Fact::Config(Arc::new(Config {
            platform: crate::registry::evidence::manifest::RawPlatform::default(),
            labels,
            created: None,
        }))
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let (access, repository) = (Access::default(), "r.io/a".parse::<Repository>().unwrap());
        let place = Place::new(&access, &repository).unwrap();
        let facts = Facts::default();
        for number in 0..2 * ENTRIES_MAX {
            facts.put(&place, digest(number).as_str(), config("x"));
            assert!(facts.config(&place, &digest(0)).is_some(), "used all the time, gone at {number}");
        }
        let inner = facts.0.lock().unwrap();
        assert!(inner.entries.len() <= ENTRIES_MAX);
        assert_eq!(inner.total_bytes, inner.entries.values().map(|kept| kept.bytes).sum::<usize>());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (access, repository) = (Access::default(), "r.io/a".parse::<Repository>().unwrap());
        let place = Place::new(&access, &repository).unwrap();
        let facts = Facts::default();
        for number in 0..3_000 {
            facts.put(&place, digest(number).as_str(), config(&"x".repeat(10_000)));
        }
        assert!(facts.0.lock().unwrap().total_bytes <= TOTAL_MAX_BYTES);
        facts.put(&place, digest(1).as_str(), config(&"x".repeat(70_000)));
        facts.put(&place, digest(9_999_999).as_str(), config(&"x".repeat(70_000)));
        assert!(facts.config(&place, &digest(9_999_999)).is_none(), "too large to keep");
    }

    #[test]
    fn knowledge_is_shown_only_to_who_read_it() {
        let basic = Access {
            credentials: Credential::Basic { username: "u".into(), password: "p".into() }.into(),
            ..Access::default()
        };
        let anonymous = Access::default();
        let (one, other): (Repository, Repository) = ("r.io/a".parse().unwrap(), "r.io/b".parse().unwrap());
        let facts = Facts::default();
        facts.put(&Place::new(&basic, &one).unwrap(), digest(1).as_str(), config("x"));
        assert!(facts.config(&Place::new(&basic, &one).unwrap(), &digest(1)).is_some());
        assert!(facts.config(&Place::new(&anonymous, &one).unwrap(), &digest(1)).is_none());
        assert!(facts.config(&Place::new(&basic, &other).unwrap(), &digest(1)).is_none());
    }
}
