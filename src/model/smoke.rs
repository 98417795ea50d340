//! Smoke tests as values: what is to be run, what was seen of it, what it said.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::names::{GateName, ImageName};
use crate::model::platform::Platform;
use crate::model::reference::{Digest, Repository};

/// What a verdict counts for, and nothing else (S5): repository, platform, child digest, gate hash.
///
/// The hash of the gate's own fields is computed at the border (`api`) and opaque here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding(String);

/// One smoke test that is to run: a container of the sibling's own image, by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeRequest {
    /// The gate that asks.
    pub gate: GateName,
    /// The sibling under test.
    pub image: ImageName,
    /// Where its image lives.
    pub repository: Repository,
    /// The platform under test.
    pub platform: Platform,
    /// Digest of that platform's child manifest.
    pub digest: Digest,
    /// What the verdict will be bound to.
    pub binding: Binding,
    /// Command; empty means the image's own entrypoint.
    pub command: Vec<String>,
    /// How long one attempt may run.
    pub timeout: SignedDuration,
    /// How often it is tried, at least 1.
    pub attempts: u32,
}

/// What is known of a smoke test that has no verdict yet, or just got one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmokeView {
    /// A Job of ours exists and has not ended.
    Running {
        /// When the Job was made.
        since: Timestamp,
        /// Named when it cannot start: unschedulable, image pull, refused configuration, quota.
        waiting_for: Option<String>,
    },
    /// The pod was read and says so.
    Ended(SmokeVerdict),
    /// The Job or pod could not be read, or its end is no verdict; tried again.
    Unknown {
        /// One sentence for people.
        why: String,
    },
}

/// A verdict, bound to exactly what was tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeVerdict {
    /// What it counts for.
    pub binding: Binding,
    /// Passed or failed.
    pub outcome: SmokeOutcome,
    /// When the container ended.
    pub at: Timestamp,
    /// Exit code of the container, where one exists.
    pub exit_code: Option<i32>,
    /// One sentence for people.
    pub message: String,
}

/// The two things that a smoke test can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmokeOutcome {
    /// The container exited with 0, undisturbed.
    Passed,
    /// It exited with something else, or ran out of time.
    Failed,
}

// === impl Binding ===

impl Binding {
    /// The binding of an eager smoke test (design §4 Gates, `when: ImagePresent`).
    pub fn of_image(repository: &Repository, platform: &Platform, digest: &Digest, gate_hash: &str) -> Self {
        Self(format!("{repository}@{digest} {platform} {gate_hash}"))
    }

    /// A binding as it was stored in status.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The binding as one line of text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
