//! A decision as conditions: the same words for status, events and the command line.

use std::collections::BTreeMap;

use crate::model::{ConditionType, Reason, TargetName, TargetState};

/// One condition, without times: the border keeps the transition time of an unchanged status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionReport {
    /// Which condition.
    pub condition: ConditionType,
    /// True or False.
    pub status: bool,
    /// Why.
    pub reason: Reason,
    /// In words; changes only when the state does.
    pub message: String,
}

/// The state of each target and, where it is not Applied, why.
pub type TargetReports = BTreeMap<TargetName, (TargetState, String)>;
