//! The mark that makes an object ours: a label for selecting, an annotation for knowing.
//!
//! No ownerReferences: garbage collection would take the release back when a set is pruned, restored or
//! uninstalled (failure sequence 4).

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};

use crate::engine::clearance::Committed;
use crate::model::{SetName, TargetName};

pub use crate::model::names::SET_LABEL;
/// Annotation of a target: the mark, as compact JSON.
pub const TARGET_ANNOTATION: &str = "tidegate.dev/target";

/// Whose object it is and which release it carries. Keys that we do not know are ignored when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the ReleaseSet.
    pub set: String,
    /// `spec.targets[].name`.
    pub target: String,
    /// Sequence of the release; `None` in a mark that was edited beyond reading, which then counts as older.
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
    pub fn read(object: &DynamicObject) -> Option<Self> {
        let label = object.metadata.labels.as_ref()?.get(SET_LABEL)?;
        let text = object.metadata.annotations.as_ref()?.get(TARGET_ANNOTATION)?;
        serde_json::from_str(text).ok().filter(|mark: &Self| &mark.set == label)
    }

    /// True when both marks are of one target of one set, whatever release they carry.
    pub fn is_of_same_target(&self, other: &Self) -> bool {
        (&self.set, &self.target) == (&other.set, &other.target)
    }

    /// Writes the mark; other labels and annotations stay.
    pub fn write(&self, object: &mut DynamicObject) {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(SET_LABEL.to_owned(), self.set.clone());
        let annotations = object.metadata.annotations.get_or_insert_default();
        annotations.insert(TARGET_ANNOTATION.to_owned(), self.text());
    }

    /// Compact JSON with the keys in this order, so that the same release always gives the same bytes.
    fn text(&self) -> String {
        // Maps with text keys and plain values cannot fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn whole_number_or_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_i64())
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}
