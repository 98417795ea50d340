//! What the engine answers: what to look at before deciding, and what to do once nothing is left to look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::clearance::Granted;
use crate::engine::record::{CandidateRecord, Ended, Phase};
use crate::model::{
    Digest, Doubt, GateName, HindranceKind, ImageEvidence, ImageName, Platform, Release, Sighted, Sighting,
    SmokeRequest, SmokeVerdict, Tag, TagList,
};

/// The engine's answer. While `ask` is not empty the rest is what would be reported if nothing could be
/// asked; effects are only in a decision that asks nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What must be looked at now.
    pub ask: Vec<Question>,
    /// Followed candidates, newest first; the first is the one that is printed.
    pub followed: Vec<Candidate>,
    /// The promoted tag, where it is judged once more; `None` at rest.
    pub promoted_again: Option<PromotedAgain>,
    /// What targets carry and status does not know; `None` when they are in step.
    pub inherited: Option<Inherited>,
    /// The last names of `candidates.policyRef`, newest first, for status to keep.
    pub named: Vec<Tag>,
    /// A name that came now, is not above the floor, and is therefore ignored.
    pub named_older: Option<Tag>,
    /// The one write that matters, when everything is there.
    pub commit: Option<Granted>,
    /// Why nothing can be committed although something may pass.
    pub hold: Option<Hold>,
    /// Smoke tests to start, in this order.
    pub start: Vec<SmokeRequest>,
    /// Every verdict that status keeps.
    pub verdicts: Vec<SmokeVerdict>,
    /// Candidates that ended in this decision.
    pub ended: Vec<Ended>,
    /// What became of the promoted tags.
    pub drift: Drift,
    /// How many tags were listed and matched.
    pub listed: Listed,
    /// This generation was looked at: every list was asked, or every image of the pin or of what was named; and
    /// every image of the promoted tag, where it is judged again.
    pub looked: bool,
    /// When the next look is due, when nothing happens before.
    pub next_look: Option<Timestamp>,
}

/// The promoted tag, judged once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotedAgain {
    /// Why it is.
    pub why: WhyAgain,
    /// How it stands. Of its record nothing is kept.
    pub candidate: Candidate,
}

/// Why the promoted tag is judged once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyAgain {
    /// It was committed under another generation of the spec, or an object that the spec refers to names another
    /// repository now.
    Generation,
    /// Targets carry a later commit of it than status knows.
    TargetsAhead,
    /// Its tags moved, and `onTagMoved` is `Repromote`.
    TagMoved,
}

/// What the marks of targets say beyond status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// The highest sequence; the next commit goes on from it.
    pub sequence: i64,
    /// The tag that it belongs to; `None` when the mark holds no readable one.
    pub tag: Option<Tag>,
}

/// Something to look at. The caller answers each with the [`Answer`] of the same name. `since` says how old the
/// answer may be: one that was asked for at that instant or later will do (ADR 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The tags of an image's repository.
    List {
        /// Which image.
        image: ImageName,
        /// Oldest answer that will do.
        since: Timestamp,
    },
    /// One tag of one image, with all its cells.
    Look {
        /// The shared tag.
        tag: Tag,
        /// Which image.
        image: ImageName,
        /// Oldest answer that will do.
        since: Timestamp,
    },
    /// The confirming look before a commit: every HEAD of it, all at once. Asked for this commit alone, never an
    /// answer that somebody else had asked for.
    Confirm {
        /// The shared tag.
        tag: Tag,
        /// What is asked of each required image.
        checks: Vec<Check>,
    },
    /// Whether the promoted tags still point where they did: one HEAD each.
    Drift {
        /// The promoted release.
        release: Release,
        /// Oldest answer that will do.
        since: Timestamp,
    },
}

/// What a confirming look asks of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which image.
    pub image: ImageName,
    /// Child manifests that were not seen for a minute: HEAD them too.
    pub children: Vec<(Platform, Digest)>,
    /// Children of which the config and every layer must be there, and were not seen for
    /// [`crate::engine::BLOBS_SEEN_LIFE`]: HEAD those too.
    pub blobs_of: Vec<(Platform, Digest)>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::List`].
    List {
        /// Which image.
        image: ImageName,
        /// Raw tags.
        sighted: Sighted<Arc<TagList>>,
    },
    /// To [`Question::Look`].
    Look {
        /// The shared tag.
        tag: Tag,
        /// Which image.
        image: ImageName,
        /// What was seen.
        sighted: Sighted<ImageEvidence>,
    },
    /// To [`Question::Confirm`].
    Confirm {
        /// The shared tag.
        tag: Tag,
        /// When the first of its requests was sent.
        started_at: Timestamp,
        /// What was seen of each image.
        checked: Vec<Checked>,
    },
    /// To [`Question::Drift`].
    Drift {
        /// What each promoted tag points at now.
        heads: BTreeMap<ImageName, Sighted<Digest>>,
    },
}

/// What a confirming look found of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which image.
    pub image: ImageName,
    /// What its tag points at now.
    pub tag: Sighting<Digest>,
    /// Whether each asked child is still there.
    pub children: Vec<(Platform, Digest, Sighting<()>)>,
    /// Whether the config and every layer of each asked child are still there; one that is gone makes it Broken.
    pub blobs: Vec<(Platform, Digest, Sighting<()>)>,
}

/// One followed candidate, judged.
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not exclude one another")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The shared tag.
    pub tag: Tag,
    /// The lists of all required images name it.
    pub listed_by_all: bool,
    /// Every cell, images in the order of the spec, required platforms before advisory ones.
    pub images: Vec<CandidateImage>,
    /// Every gate, in the order of the spec.
    pub gates: Vec<GateReport>,
    /// Where it stands.
    pub phase: Phase,
    /// Not complete within the deadline.
    pub overdue: bool,
    /// Complete, and not tested within the deadline.
    pub gate_overdue: bool,
    /// A required cell was Unknown for a whole deadline.
    pub cannot_tell: bool,
    /// What blocks it, when something does.
    pub blocked: Option<Blocked>,
    /// What status remembers of it.
    pub record: CandidateRecord,
}

/// One image of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateImage {
    /// Which image.
    pub name: ImageName,
    /// Its own tag.
    pub tag: Option<Tag>,
    /// What that tag points at, when it was Present.
    pub digest: Option<Digest>,
    /// The whole image is only reported.
    pub advisory: bool,
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// One (image, platform) pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which platform.
    pub platform: Platform,
    /// A release needs it.
    pub required: bool,
    /// What was seen; the digest is the child's.
    pub sighting: Sighting<Digest>,
}

/// What stands in a candidate's way first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Which kind of obstacle.
    pub by: Blocker,
    /// In words: `embeddings linux/arm64 missing`, `gate worker-boots running`. Holds no times, so that it
    /// changes only when the obstacle does.
    pub message: String,
}

/// Kinds of obstacles, in the order in which they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocker {
    /// A required cell is there and wrong.
    Broken,
    /// A required cell is not there.
    Missing,
    /// A required cell could not be told.
    Unknown,
    /// The tag of the promoted release holds something else now, and `onTagMoved` is `Report`.
    TagMoved,
    /// A digest changed a moment ago.
    Settling,
    /// A required gate failed.
    GateFailed,
    /// A required gate waits or runs.
    GatePending,
}

/// One gate of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// Which gate.
    pub name: GateName,
    /// Blocks nothing.
    pub advisory: bool,
    /// It is a smoke test.
    pub is_smoke: bool,
    /// Where it stands.
    pub state: GateState,
    /// What keeps a smoke test from a verdict.
    pub reason: Option<HindranceKind>,
    /// In words, without times.
    pub message: String,
}

/// Where a gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateState {
    /// It holds.
    Passed,
    /// It does not, and will not until a digest or the gate changes.
    Failed,
    /// Its test runs.
    Running,
    /// It cannot be judged yet.
    Pending,
    /// It was not run, because the command line runs no smoke tests.
    NotRun,
}

/// Why nothing is committed, whatever passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// `spec.suspend`.
    Suspended,
    /// The object is being deleted.
    Deleting,
    /// The present policy has no place for the floor's tag.
    FloorNotOrdered {
        /// That tag.
        floor: Tag,
    },
    /// The order could not be read, so that nothing can be called newer.
    OrderUntold {
        /// Why.
        doubt: Doubt,
    },
    /// It cannot be told what the targets carry, and status may know less than they do.
    TargetUnreadable {
        /// Which target, and why.
        why: String,
    },
}

/// What became of the promoted tags since the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Every promoted tag was looked at since this process started.
    pub known: bool,
    /// A required digest changed: which image, and both digests, in words.
    pub moved: Option<String>,
    /// A tag was re-pushed with all required children unchanged, in words.
    pub extended: Option<String>,
    /// A tag is gone, in words.
    pub gone: Option<String>,
}

/// How much the tag lists gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Raw tags in all lists.
    pub tags: usize,
    /// Of them, those that are candidates by the policy, above the floor or not.
    pub matched: usize,
    /// Of them, those whose extract is no number under a numerical policy.
    pub not_numbers: usize,
    /// Of them, those whose extract is no version under a semver policy.
    pub not_versions: usize,
    /// Of them, versions outside the range of a semver policy.
    pub out_of_range: usize,
    /// Images whose list could not be read, with the doubt.
    pub unknown: BTreeMap<ImageName, Doubt>,
}

// === impl PromotedAgain ===

impl PromotedAgain {
    /// What keeps it from being committed again; `None` while it is only waited for: a test that waits or runs, a
    /// digest that is to be still, an answer that could not be had.
    pub fn obstacle(&self) -> Option<&Blocked> {
        let candidate = &self.candidate;
        let hindered = candidate.gates.iter().any(|gate| !gate.advisory && gate.reason.is_some());
        candidate.blocked.as_ref().filter(|blocked| match blocked.by {
            Blocker::Settling | Blocker::Unknown => false,
            Blocker::GatePending => hindered,
            Blocker::Broken | Blocker::Missing | Blocker::TagMoved | Blocker::GateFailed => true,
        })
    }
}

// === impl Listed ===

impl Listed {
    /// Tags that have no place in the order, in words that continue a sentence; empty when there are none.
    pub fn skipped(&self) -> String {
        let reasons = [
            (self.not_numbers, "the extract of", "is no number"),
            (self.not_versions, "the extract of", "is no version"),
            (self.out_of_range, "the version of", "is outside the range"),
        ];
        let told = reasons.into_iter().filter(|(count, ..)| *count > 0);
        told.map(|(count, of_what, why)| format!("; {of_what} {count} more {why}"))
            .collect::<Vec<_>>()
            .concat()
    }
}

// === impl Candidate ===

impl Candidate {
    /// True when every required cell is Present.
    pub fn is_complete(&self) -> bool {
        self.required_cells().all(|cell| cell.sighting.is_present())
    }

    /// Required cells that are Present, and all required cells.
    pub fn cell_counts(&self) -> (usize, usize) {
        let present = self.required_cells().filter(|cell| cell.sighting.is_present()).count();
        (present, self.required_cells().count())
    }

    /// Required gates that passed, and all required gates.
    pub fn gate_counts(&self) -> (usize, usize) {
        let required = || self.gates.iter().filter(|gate| !gate.advisory);
        (required().filter(|gate| gate.state == GateState::Passed).count(), required().count())
    }

    /// The cells that a release needs.
    pub fn required_cells(&self) -> impl Iterator<Item = &Cell> {
        self.images.iter().flat_map(|image| &image.cells).filter(|cell| cell.required)
    }
}

impl GateState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Passed, Self::Failed, Self::Running, Self::Pending, Self::NotRun];

    /// The state's word in JSON and status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::Running => "Running",
            Self::Pending => "Pending",
            Self::NotRun => "NotRun",
        }
    }
}
