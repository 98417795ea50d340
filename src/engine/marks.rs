//! What the marks of targets say beyond status: a sequence to go on from and a floor, never evidence (design §4
//! Lost or older status).

use crate::engine::observation::{Marks, Observation};
use crate::model::Tag;

/// Highest sequence of a mark that is gone on from. No set gets there: a commit in each second takes 285 million
/// years. A mark above it was written by somebody else; gone on from, it would leave no room below `i64::MAX`. JSON
/// readers hold whole numbers exactly up to here.
pub const MARK_SEQUENCE_MAX: i64 = 1 << 53;

/// How the marks stand beside status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Standing<'a> {
    /// Status knows everything that targets carry.
    InStep,
    /// They cannot be told, or not gone on from, and why: nothing is committed.
    Unreadable(String),
    /// A target carries what status does not know.
    Ahead {
        /// The highest sequence.
        sequence: i64,
        /// The tag that it belongs to, where it can be read.
        tag: Option<&'a Tag>,
    },
}

/// How the marks stand beside status. One that is not above status says nothing new.
pub(in crate::engine) fn standing(observation: &Observation) -> Standing<'_> {
    let known = observation.record.promoted.as_ref().map(|promoted| promoted.sequence);
    match &observation.marks {
        Marks::InStep => Standing::InStep,
        Marks::Unreadable(why) => Standing::Unreadable(why.clone()),
        Marks::Highest { sequence, .. } if known.is_some_and(|known| *sequence <= known) => Standing::InStep,
        // Ignored, it would be ahead for ever, and its target would stand still while the others go on.
        Marks::Highest { sequence, .. } if *sequence > MARK_SEQUENCE_MAX => Standing::Unreadable(format!(
            "a target's mark says sequence {sequence}, which no set reaches: set the right one in its annotation \
             tidegate.dev/target, or delete the target"
        )),
        Marks::Highest { sequence, tag } => Standing::Ahead { sequence: *sequence, tag: tag.as_ref() },
    }
}

/// The sequence of the next commit; `None` when there is none left.
pub(in crate::engine) fn next_sequence(observation: &Observation) -> Option<i64> {
    let known = observation.record.promoted.as_ref().map_or(0, |promoted| promoted.sequence);
    match standing(observation) {
        Standing::Ahead { sequence, .. } => known.max(sequence).checked_add(1),
        Standing::InStep | Standing::Unreadable(_) => known.checked_add(1),
    }
}
