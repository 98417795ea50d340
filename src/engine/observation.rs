//! Everything that is known of one ReleaseSet at one moment.

use std::collections::BTreeMap;

use crate::engine::memory::Memory;
use crate::engine::record::Record;
use crate::model::{Binding, GateName, SmokeView};

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
    /// How often a person asked for each gate to be run again (`tidegate retry`).
    pub retries: BTreeMap<GateName, u32>,
    /// Most smoke tests that may run at once; `None` means [`SMOKE_RUNNING_MAX`].
    ///
    /// [`SMOKE_RUNNING_MAX`]: crate::engine::gates::SMOKE_RUNNING_MAX
    pub smoke_running_max: Option<usize>,
}
