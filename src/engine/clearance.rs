//! The right to move things: a half-existent release is a value that cannot be written.
//!
//! There are two. [`Granted`] comes from the engine alone and is used up by the commit. [`Committed`] is read
//! back from the API server's own copy of `status.promoted` and is all that a target accepts. The trust root is
//! therefore RBAC on `releasesets/status` (design §6).

use jiff::Timestamp;

use crate::model::{Promoted, Release};

/// Leave to commit one release, once. Only `decide` can make one.
#[derive(Debug, PartialEq, Eq)]
pub struct Granted {
    release: Release,
    sequence: i64,
    generation: i64,
    floor: Floor,
    look_started_at: Timestamp,
}

/// A release that the API server holds as promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    promoted: Promoted,
}

/// `status.floor`: the newest release ever promoted or pinned away from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Its shared tag.
    pub tag: crate::model::Tag,
    /// Its key in the order of the policy that promoted it; empty when it had none (a pin outside the filter).
    pub key: String,
}

// === impl Granted ===

impl Granted {
    /// Only the engine grants; the commit it leads to is `sequence`.
    pub(in crate::engine) fn new(
        release: Release,
        sequence: i64,
        generation: i64,
        floor: Floor,
        look_started_at: Timestamp,
    ) -> Self {
        Self { release, sequence, generation, floor, look_started_at }
    }

    /// What is to be promoted.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The floor after this commit.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    /// The sequence of this commit.
    pub fn sequence(&self) -> i64 {
        self.sequence
    }

    /// When the confirming look began; the write must follow within
    /// [`CONFIRMATION_LIFE`](crate::engine::CONFIRMATION_LIFE).
    pub fn look_started_at(&self) -> Timestamp {
        self.look_started_at
    }

    /// Uses the grant up: what the commit writes to `status.promoted`.
    pub fn into_promoted(self, at: Timestamp) -> (Promoted, Floor) {
        let Self { release, sequence, generation, floor, .. } = self;
        (Promoted { release, sequence, at, generation }, floor)
    }
}

// === impl Committed ===

impl Committed {
    /// `promoted` as parsed from a status that the API server just returned. Called by `api::status` alone; a
    /// test holds that.
    pub fn read_back(promoted: Promoted) -> Self {
        Self { promoted }
    }

    /// The promoted release.
    pub fn promoted(&self) -> &Promoted {
        &self.promoted
    }
}
