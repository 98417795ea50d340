//! Everything that is known of one ReleaseSet at one moment.

use std::collections::BTreeMap;

use crate::engine::memory::Memory;
use crate::engine::record::Record;
use crate::model::{Binding, GateName, SmokeView, Tag};

/// The engine's whole input beside the policy and the instant.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The object has a deletionTimestamp: nothing is done for it any more.
    pub deleting: bool,
    /// What status says, from the read that a write would derive from.
    pub record: Record,
    /// What was seen in registries.
    pub memory: Memory,
    /// What is known of smoke tests, beside the verdicts of the record.
    pub smoke: BTreeMap<Binding, SmokeView>,
    /// What the marks of the set's targets say, where they had to be read.
    pub marks: Marks,
    /// The candidate that `candidates.policyRef` names now; `None` when it names none, or another source is used.
    pub named: Option<Tag>,
    /// How often a person asked for each gate to be run again (`tidegate retry`).
    pub retries: BTreeMap<GateName, u32>,
    /// Most smoke tests that may run at once; `None` means [`SMOKE_RUNNING_MAX`].
    ///
    /// [`SMOKE_RUNNING_MAX`]: crate::engine::gates::SMOKE_RUNNING_MAX
    pub smoke_running_max: Option<usize>,
}

/// What the marks of the set's targets say of releases that status does not know (design §4 Lost or older status). They
/// are read when status holds no release, or when a target carries a higher sequence than status. A mark is a floor,
/// never evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    /// No target carries more than status says, or none had to be read.
    #[default]
    InStep,
    /// A target could not be read, and why: nothing is committed until it can.
    Unreadable(String),
    /// The highest mark of all.
    Highest {
        /// Its sequence, to be continued.
        sequence: i64,
        /// Its tag; `None` when the mark holds no readable one.
        tag: Option<Tag>,
    },
}
