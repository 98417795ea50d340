//! What one look at one tag of one repository found.

use std::collections::BTreeMap;

use crate::model::platform::Platform;
use crate::model::reference::Digest;
use crate::model::sighting::Sighting;

/// A tag that is there: its digest and what it holds for each platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEvidence {
    /// Digest of what the tag points at: the index, or the manifest of a single-platform image. This is
    /// what a release pins.
    pub digest: Digest,
    /// Each platform that the image declares, with the child manifest that was looked at for it. A platform
    /// that is not among the keys is Missing. A single-platform image has one child, itself.
    pub children: BTreeMap<Platform, Sighting<Digest>>,
    /// Values of the keys that were asked for, by where they were found.
    pub revisions: BTreeMap<String, Revision>,
}

/// One value that says what an image was built from (`org.opencontainers.image.revision` and the like).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// From an annotation of the index, else of a child manifest. Children that disagree give one text that
    /// names them all, so that they can equal nobody.
    pub annotation: Option<String>,
    /// From a label of a child's config. Labels are inherited from base images.
    pub label: Option<String>,
}

// === impl ImageEvidence ===

impl ImageEvidence {
    /// The cell of `required`: the child for it, Missing when the image declares no such platform.
    pub fn cell(&self, required: &Platform) -> Sighting<Digest> {
        self.children
            .iter()
            .find(|(platform, _)| platform.satisfies(required))
            .map_or(Sighting::Missing, |(_, child)| child.clone())
    }

    /// True when every child that was Present in `earlier` is here unchanged: a re-push that only adds
    /// platforms (arm64 arriving late). Such a re-push is no change for `settle` (design §4).
    pub fn extends(&self, earlier: &Self) -> bool {
        earlier.children.iter().all(|(platform, child)| match child {
            Sighting::Present(_) => self.children.get(platform) == Some(child),
            _ => true,
        })
    }
}
