//! What status remembers of a set: the engine's memory across restarts.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::engine::clearance::Floor;
use crate::model::{Digest, ImageName, Promoted, SmokeVerdict, Tag};

/// Most names of `candidates.policyRef` that are kept (design §4 Choose).
pub const NAMED_MAX: usize = 5;

/// The engine's memory in `status`: what survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The promoted release.
    pub promoted: Option<Promoted>,
    /// Nothing at or below it is promoted without a pin.
    pub floor: Option<Floor>,
    /// Candidates that were followed.
    pub candidates: Vec<CandidateRecord>,
    /// Smoke verdicts that were kept.
    pub verdicts: Vec<SmokeVerdict>,
    /// Candidates that ended, newest first.
    pub recent: Vec<Ended>,
    /// The last distinct tags that `candidates.policyRef` named, newest first; at most [`NAMED_MAX`].
    pub named: Vec<Tag>,
}

/// What is remembered of one followed candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateRecord {
    /// The shared tag.
    pub tag: Tag,
    /// When it was first followed.
    pub first_seen: Timestamp,
    /// When every required cell became Present.
    pub complete_at: Option<Timestamp>,
    /// When a digest of it last changed after it had been Present; the candidate settles from there.
    pub changed_at: Option<Timestamp>,
    /// Digest of each image that was Present, so that a change is noticed across a restart.
    pub digests: BTreeMap<ImageName, Digest>,
    /// The deadline's clock.
    pub clock: DeadlineClock,
    /// Since when some required cell has been Unknown without a break.
    pub unknown_since: Option<Timestamp>,
    /// Phase as it was last reported.
    pub phase: Phase,
    /// The blocking cell or gate, in words.
    pub blocked_by: Option<String>,
    /// Since when that one blocks.
    pub blocked_since: Option<Timestamp>,
}

/// A clock that stops while a required cell is Unknown (design §4 Deadline).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadlineClock {
    /// Time used up in earlier runs.
    pub consumed: SignedDuration,
    /// Since when it runs; `None` while it stands.
    pub running_since: Option<Timestamp>,
}

/// Where a candidate stands. The words are those of `status.candidates[].phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// A required cell is not Present.
    Partial,
    /// Complete, and still after a digest changed.
    Settling,
    /// Complete; a required gate waits or runs.
    Testing,
    /// Everything passed; the confirming look comes next.
    Confirming,
    /// A required gate failed, for good until a digest or the gate changes.
    Failed,
}

/// A candidate that is followed no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The shared tag.
    pub tag: Tag,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// One sentence for people.
    pub message: String,
}

/// How a candidate ended without being promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A required gate failed.
    Failed,
    /// A newer release was promoted instead, which is no failure.
    Superseded,
    /// Its tags are gone from every registry.
    Gone,
    /// Dismissed by `spec.skip`.
    Skipped,
}

// === impl DeadlineClock ===

impl DeadlineClock {
    /// Time used up by `now`.
    pub fn elapsed(&self, now: Timestamp) -> SignedDuration {
        let running = self.running_since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        self.consumed.saturating_add(running.max(SignedDuration::ZERO))
    }

    /// The clock as it stands or runs from `now` on; unchanged when it does so already.
    #[must_use]
    pub fn set_running(self, run: bool, now: Timestamp) -> Self {
        match (self.running_since, run) {
            (None, true) => Self { running_since: Some(now), ..self },
            (Some(_), false) => Self { consumed: self.elapsed(now), running_since: None },
            _ => self,
        }
    }
}

// === impl words ===

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Partial, Self::Settling, Self::Testing, Self::Confirming, Self::Failed];

    /// The phase's word in status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Partial => "Partial",
            Self::Settling => "Settling",
            Self::Testing => "Testing",
            Self::Confirming => "Confirming",
            Self::Failed => "Failed",
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Superseded, Self::Gone, Self::Skipped];

    /// The outcome's word in status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Superseded => "Superseded",
            Self::Gone => "Gone",
            Self::Skipped => "Skipped",
        }
    }
}
