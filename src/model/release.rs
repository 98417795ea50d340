//! A release: one tag, and for every required image the digests that were seen and tested.

use jiff::Timestamp;

use crate::model::names::ImageName;
use crate::model::platform::Platform;
use crate::model::reference::{Digest, Repository, Tag};

/// A shared tag at pinned digests. Advisory images and platforms are never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The shared tag, before templates.
    pub tag: Tag,
    /// Required images in the order of the spec; the first is the lead.
    pub images: Vec<ReleaseImage>,
    /// The revision that all siblings name, when a sameRevision gate compared them.
    pub revision: Option<String>,
}

/// One required image of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseImage {
    /// The sibling's name.
    pub name: ImageName,
    /// Its repository.
    pub repository: Repository,
    /// The rendered tag in that repository.
    pub tag: Tag,
    /// Digest of the index (or single manifest) under that tag.
    pub digest: Digest,
    /// Each required platform with the digest of its child manifest.
    pub platforms: Vec<(Platform, Digest)>,
}

/// A release that was committed to `status.promoted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// What was promoted.
    pub release: Release,
    /// Counts commits of the set, from 1; never used twice (S4).
    pub sequence: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// Generation of the spec that it was judged under.
    pub generation: i64,
}

// === impl ReleaseImage ===

impl ReleaseImage {
    /// `repository:tag@digest`: the digest counts, the tag is for people.
    pub fn reference(&self) -> String {
        format!("{}:{}@{}", self.repository, self.tag, self.digest)
    }
}
