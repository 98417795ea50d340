//! The list itself: which repositories are judged, and which references of them pass. Pure.

use std::collections::BTreeSet;

use crate::guard::sets::SetFacts;

/// Most lines of `allowed`. The policies compare each image of a workload with every line: 64 images × 6,000 lines are
/// 384,000 units of CEL cost, of 1,000,000 that one expression may take; `tests/it/guard/costs.rs` holds it on a server.
pub const ALLOWED_MAX: usize = 6_000;
/// Most lines of `repositories` and of `open`: 16 sets of 32 images. 64 images × (2 × 512) lines are 66,000 units more.
pub const REPOSITORIES_MAX: usize = 512;
/// Most bytes of all values: they are cut into lines for each request at a tenth of a unit a byte, and etcd takes 1.5 MB.
pub const DATA_MAX_BYTES: usize = 900_000;

/// What the ConfigMap says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Repositories that are judged, in order.
    pub repositories: Vec<String>,
    /// References that pass, in order.
    pub allowed: Vec<String>,
    /// Repositories whose glass is broken: everything of them passes.
    pub open: Vec<String>,
    /// References of platforms and of history that found no room.
    pub dropped: usize,
}

/// What is promoted now does not fit, so that the guard would refuse it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the promoted releases of this namespace are {repositories} repositories and {references} references in {bytes} bytes; \
     the guard holds {REPOSITORIES_MAX}, {ALLOWED_MAX} and {DATA_MAX_BYTES}: spread the ReleaseSets over several namespaces"
)]
pub struct TooMany {
    repositories: usize,
    references: usize,
    bytes: usize,
}

// === impl List ===

impl List {
    /// The list of these sets. What is promoted now always stands in it; then come the releases of history, newest first of
    /// all sets, then digests of platforms, as long as there is room.
    ///
    /// # Errors
    /// [`TooMany`]: even what is promoted now has no room.
    pub fn of(sets: &[SetFacts]) -> Result<Self, TooMany> {
        let mut ordered: Vec<&SetFacts> = sets.iter().collect();
        ordered.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let (mut repositories, mut open) = (BTreeSet::new(), BTreeSet::new());
        for set in &ordered {
            if set.has_promoted() {
                repositories.extend(set.repositories.iter().map(String::as_str));
            }
            if set.broken_glass.is_some() {
                open.extend(set.repositories.iter().map(String::as_str));
            }
        }
        let mut room =
            Room { allowed: BTreeSet::new(), bytes: bytes(&repositories) + bytes(&open), dropped: 0 };
        let references = ordered.iter().flat_map(|set| &set.promoted);
        let wanted: BTreeSet<&str> = references.map(String::as_str).collect();
        let too_many = TooMany {
            repositories: repositories.len(),
            references: wanted.len(),
            bytes: room.bytes + bytes(&wanted),
        };
        if too_many.repositories > REPOSITORIES_MAX
            || too_many.references > ALLOWED_MAX
            || too_many.bytes > DATA_MAX_BYTES
        {
            return Err(too_many);
        }
        for reference in wanted {
            room.take(reference);
        }
        let deepest = ordered.iter().map(|set| set.history.len()).max().unwrap_or_default();
        for depth in 0..deepest {
            let releases = ordered.iter().filter_map(|set| set.history.get(depth));
            releases.flatten().for_each(|reference| room.take(reference));
        }
        ordered.iter().flat_map(|set| &set.children).for_each(|reference| room.take(reference));
        Ok(Self {
            repositories: owned(repositories),
            allowed: owned(room.allowed),
            open: owned(open),
            dropped: room.dropped,
        })
    }
}

/// What is taken in, and what it weighs.
struct Room<'a> {
    allowed: BTreeSet<&'a str>,
    bytes: usize,
    dropped: usize,
}

// === impl Room ===

impl<'a> Room<'a> {
    fn take(&mut self, reference: &'a str) {
        if self.allowed.contains(reference) {
            return;
        }
        let bytes = self.bytes + reference.len() + 1;
        if self.allowed.len() >= ALLOWED_MAX || bytes > DATA_MAX_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes = bytes;
        self.allowed.insert(reference);
    }
}

/// With the line break of each.
fn bytes(lines: &BTreeSet<&str>) -> usize {
    lines.iter().map(|line| line.len() + 1).sum()
}

fn owned(lines: BTreeSet<&str>) -> Vec<String> {
    lines.into_iter().map(str::to_owned).collect()
}
