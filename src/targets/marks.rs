//! What the marks of a set's targets say of a status that was lost or is older (design §4 Lost or older status).
//!
//! A mark is a floor, never evidence: whoever may edit the object may write one (failure sequence 4).

use kube::api::DynamicObject;

use crate::model::{SetName, Tag, TargetKind, TargetName};
use crate::targets::Targets;
use crate::targets::mark::{Mark, TARGET_ANNOTATION};
use crate::telemetry::kube_call::{CallError, call_optional};

/// The mark with the highest sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highest {
    /// Its sequence.
    pub sequence: i64,
    /// Its tag; `None` when what stands there is none.
    pub tag: Option<Tag>,
}

/// A target that could not be read, and the next step: nothing is known of what it carries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

// === impl Targets ===

impl Targets {
    /// The highest mark of exactly this set and these targets, each read live; `None` when there is none. An absent
    /// object and a kind that is not installed say nothing, nor does an object of somebody else. Of equal sequences
    /// the first target's counts. A mark without a sequence is older than `known`, the sequence that status holds.
    ///
    /// # Errors
    /// A target that could not be read, or whose mark is ours and holds no sequence while status holds none either.
    pub async fn marks(
        &self,
        set: &SetName,
        targets: &[(TargetName, TargetKind)],
        known: Option<i64>,
    ) -> Result<Option<Highest>, Unreadable> {
        let mut highest: Option<Highest> = None;
        for (name, kind) in targets {
            let object = match call_optional(self.objects(set, kind).get(kind.object_name())).await {
                Ok(Some(object)) => object,
                Ok(None) => continue,
                Err(error) if is_not_installed(&error) => continue,
                Err(error) => return Err(Unreadable(format!("{kind} could not be read: {error}"))),
            };
            let Some(mark) = of_target(&object, set, name) else { continue };
            let Some(sequence) = mark.sequence else {
                if known.is_some() {
                    continue;
                }
                return Err(Unreadable(format!(
                    "the sequence in annotation {TARGET_ANNOTATION} of {kind} is no whole number: correct it, or delete \
                     the object if what it carries does not matter"
                )));
            };
            if highest.as_ref().is_none_or(|known| sequence > known.sequence) {
                highest = Some(Highest { sequence, tag: mark.tag.parse().ok() });
            }
        }
        Ok(highest)
    }
}

/// The object's mark, when it is of this target of this set.
pub(super) fn of_target(object: &DynamicObject, set: &SetName, target: &TargetName) -> Option<Mark> {
    Mark::of_object(&object.metadata).filter(|mark| mark.is_of(set, target))
}

/// 404 without an object's name: the API server does not know the kind.
pub(super) fn is_not_installed(error: &CallError) -> bool {
    error.is_not_found()
}
