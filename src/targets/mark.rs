//! The mark that makes an object ours: a label for selecting, an annotation for knowing.
//!
//! No ownerReferences: garbage collection would take the release back when a set is pruned, restored or
//! uninstalled (failure sequence 4).

use std::collections::BTreeMap;

use kube::api::{DynamicObject, ObjectMeta};
use serde::{Deserialize, Serialize};

use crate::engine::clearance::Committed;
use crate::model::{SetName, TargetName};

pub use crate::model::names::SET_LABEL;
/// Annotation of a target: the mark, as compact JSON.
pub const TARGET_ANNOTATION: &str = "tidegate.dev/target";
/// Highest sequence of a mark that is believed: 2^53 - 1, what every reader of JSON holds exactly. A set that commits each
/// second needs 285 million years for it, so that more was written by hand, and would leave no number to continue with.
pub const SEQUENCE_MAX: i64 = (1 << 53) - 1;

/// Whose object it is and which release it carries. Keys that we do not know are ignored when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the ReleaseSet.
    pub set: String,
    /// `spec.targets[].name`.
    pub target: String,
    /// Sequence of the release, 0 to [`SEQUENCE_MAX`]; `None` in a mark that was edited beyond reading, which then counts
    /// as older where the set's own record is there to say so.
    #[serde(default, deserialize_with = "whole_number_or_none")]
    pub sequence: Option<i64>,
    /// The shared tag; for people, and for a set that lost its status.
    #[serde(default, deserialize_with = "or_default")]
    pub tag: String,
    /// Index digest of each required image.
    #[serde(default, deserialize_with = "or_default")]
    pub digests: BTreeMap<String, String>,
}

// === impl Mark ===

impl Mark {
    /// The mark of target `target` of `set` that carries `committed`.
    pub fn of(set: &SetName, target: &TargetName, committed: &Committed) -> Self {
        let promoted = committed.promoted();
        let images = &promoted.release.images;
        Self {
            set: set.name.clone(),
            target: target.to_string(),
            sequence: Some(promoted.sequence),
            tag: promoted.release.tag.to_string(),
            digests: images.iter().map(|image| (image.name.to_string(), image.digest.to_string())).collect(),
        }
    }

    /// The mark of a live object; `None` when label or annotation is absent, unreadable, or names another set
    /// than the other.
    pub fn of_object(metadata: &ObjectMeta) -> Option<Self> {
        let label = metadata.labels.as_ref()?.get(SET_LABEL)?;
        let text = metadata.annotations.as_ref()?.get(TARGET_ANNOTATION)?;
        serde_json::from_str(text).ok().filter(|mark: &Self| &mark.set == label)
    }

    /// True when it is the mark of this target of this set, whatever release it carries.
    pub fn is_of(&self, set: &SetName, target: &TargetName) -> bool {
        self.set == set.name && self.target == target.as_str()
    }

    /// Writes the mark; other labels and annotations stay.
    pub fn write(&self, object: &mut DynamicObject) {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(SET_LABEL.to_owned(), self.set.clone());
        let annotations = object.metadata.annotations.get_or_insert_default();
        annotations.insert(TARGET_ANNOTATION.to_owned(), self.text());
    }

    /// Takes label and annotation off; everything else stays.
    pub fn remove(object: &mut DynamicObject) {
        if let Some(labels) = &mut object.metadata.labels {
            labels.remove(SET_LABEL);
        }
        if let Some(annotations) = &mut object.metadata.annotations {
            annotations.remove(TARGET_ANNOTATION);
        }
    }

    /// Compact JSON with the keys in this order, so that the same release always gives the same bytes.
    fn text(&self) -> String {
        // Maps with text keys and plain values cannot fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn whole_number_or_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = serde_json::Value::deserialize(deserializer)?.as_i64();
    Ok(number.filter(|number| (0..=SEQUENCE_MAX).contains(number)))
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}
