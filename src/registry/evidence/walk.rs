//! Finding the asked platforms' children in an index and the indexes inside it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;

use crate::model::sighting::{Defect, DefectKind, DoubtKind};
use crate::model::{Digest, Platform};
use crate::registry::Question;
use crate::registry::evidence::flatten::{Child, children};
use crate::registry::evidence::manifest::{Config, Image, Index, Manifest};
use crate::registry::verdict::Absence;
use crate::registry::wire::limits::PARALLEL_MAX;
use crate::registry::wire::session::Session;

/// Levels of indexes inside an index that are followed; nothing in the field uses more than one.
const NESTED_LEVELS_MAX: usize = 3;
/// Images in one index with all that it holds: 16 platforms, each with 16 variants.
const CHILDREN_MAX: usize = 256;

/// Finding the asked platforms' children in an index and those inside it.
pub(crate) struct Walk {
    /// Asked, and not found yet.
    pub(crate) wanted: Vec<Platform>,
    pub(crate) found: BTreeMap<Platform, Found>,
    /// Entries that could be for any platform and could not be read: for what is not found elsewhere, this is
    /// the answer, since Missing would be a guess.
    pub(crate) unresolved: Option<Absence>,
    visited: HashSet<Digest>,
    children: usize,
}

pub(crate) enum Found {
    /// Named by an index for this platform, not yet looked at.
    Named(Digest),
    /// Looked at to learn its platform.
    Read(Digest, Arc<Image>, Arc<Config>),
    /// There, and of no use, with the reason.
    Unsupported(&'static str),
}

// === impl Session ===

impl Session<'_> {
    /// Finds the asked platforms. At each level the index's own words come first, and of two entries for one
    /// platform the first, as containerd chooses; entries without a platform and nested indexes are read only
    /// while something is still wanted.
    pub(crate) async fn walk(
        &self,
        question: &Question,
        digest: &Digest,
        root: Arc<Index>,
        subject: &str,
    ) -> Result<Walk, Absence> {
        let mut walk = Walk {
            wanted: question.platforms.clone(),
            found: BTreeMap::new(),
            unresolved: None,
            visited: HashSet::from([digest.clone()]),
            children: 0,
        };
        let mut level = vec![root];
        for depth in 0..=NESTED_LEVELS_MAX {
            let (unlabelled, nested) = walk.take(&level, subject)?;
            if walk.wanted.is_empty() || (unlabelled.is_empty() && nested.is_empty()) {
                return Ok(walk);
            }
            let read: Vec<_> = stream::iter(unlabelled)
                .map(|digest| self.unlabelled(digest, subject))
                .buffered(PARALLEL_MAX)
                .collect()
                .await;
            for result in read {
                walk.resolve(result);
            }
            if depth == NESTED_LEVELS_MAX && !nested.is_empty() {
                let why = format!("indexes lie in it more than {NESTED_LEVELS_MAX} deep");
                walk.doubt(self.corrupt(subject, &why));
                break;
            }
            let read: Vec<_> = stream::iter(nested)
                .map(|digest| async move { self.manifest(&digest, subject).await })
                .buffered(PARALLEL_MAX)
                .collect()
                .await;
            level.clear();
            for result in read {
                match result {
                    Ok(Manifest::Index(index)) => level.push(index),
                    Ok(Manifest::Image(_)) => {
                        walk.doubt(self.corrupt(subject, "it calls an image manifest an index"));
                    }
                    Err(absence) => walk.doubt(absence),
                }
            }
        }
        Ok(walk)
    }

    /// An image of which the index does not say the platform. `None` for what is no image.
    async fn unlabelled(&self, digest: Digest, named_by: &str) -> Result<Option<(Platform, Found)>, Absence> {
        let image = match self.manifest(&digest, named_by).await {
            Ok(Manifest::Image(image)) => image,
            Ok(Manifest::Index(_)) => {
                return Err(self.corrupt(named_by, "it calls an index an image manifest"));
            }
            Err(Absence::Broken(Defect { kind: DefectKind::Unsupported, .. })) => return Ok(None),
            Err(other) => return Err(other),
        };
        let subject = self.place.digest_name(&digest);
        let config = self.config(&image, &subject).await?;
        let platform = config.platform.normal();
        Ok(platform.map(|platform| (platform, Found::Read(digest, image, config))))
    }
}

// === impl Walk ===

impl Walk {
    /// Takes what the indexes of one level say outright; returns the digests of entries without a platform and
    /// of nested indexes, each once.
    fn take(&mut self, level: &[Arc<Index>], subject: &str) -> Result<(Vec<Digest>, Vec<Digest>), Absence> {
        let (mut unlabelled, mut nested) = (Vec::new(), Vec::new());
        for child in level.iter().flat_map(|index| children(index)) {
            self.children += 1;
            if self.children > CHILDREN_MAX {
                return Err(Absence::unknown(
                    DoubtKind::Corrupt,
                    format!(
                        "{subject} names more than {CHILDREN_MAX} images; push an index of the platforms that are used"
                    ),
                ));
            }
            match child {
                Child::Image { platform, digest } => self.find(platform, Found::Named(digest)),
                Child::Unsupported { platform, why } => self.find(platform, Found::Unsupported(why)),
                Child::Nested(digest) => nested.extend(self.visited.insert(digest.clone()).then_some(digest)),
                Child::Unlabelled(digest) => {
                    unlabelled.extend(self.visited.insert(digest.clone()).then_some(digest));
                }
            }
        }
        Ok((unlabelled, nested))
    }

    /// Notes a child, if its platform satisfies something that is still wanted.
    fn find(&mut self, platform: Platform, found: Found) {
        let before = self.wanted.len();
        self.wanted.retain(|wanted| !platform.satisfies(wanted));
        if self.wanted.len() < before {
            self.found.entry(platform).or_insert(found);
        }
    }

    fn resolve(&mut self, result: Result<Option<(Platform, Found)>, Absence>) {
        match result {
            Ok(Some((platform, found))) => self.find(platform, found),
            Ok(None) => {}
            Err(absence) => self.doubt(absence),
        }
    }

    /// Notes that something could not be read. What cannot be told outweighs what is known to be wrong.
    fn doubt(&mut self, absence: Absence) {
        if !matches!(self.unresolved, Some(Absence::Unknown(_))) {
            self.unresolved = Some(absence);
        }
    }
}
