//! The ConfigMap `tidegate-guard`: how the list is written, whose it is, and what changed. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::guard::NAME;
use crate::guard::list::List;
use crate::guard::sets::SetFacts;

/// The mark that makes the ConfigMap ours, an annotation; its value is a [`Note`] as compact JSON.
pub const NOTE_ANNOTATION: &str = "tidegate.dev/guard-list";
/// Label by which the controller watches it.
pub const GUARD_LABEL: &str = "tidegate.dev/guard";
/// Value of that label.
pub const GUARD_LABEL_VALUE: &str = "list";

/// What the list says beside its lines, so that a restart does not tell it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// `spec.breakGlass.reason` of each set that has one, by the set's name.
    #[serde(default, rename = "breakGlass")]
    pub break_glass: BTreeMap<String, String>,
    /// References of platforms and of history that found no room.
    #[serde(default)]
    pub dropped: usize,
}

/// A set whose glass was broken, or mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenGlass {
    /// Name of the set.
    pub name: String,
    /// Its uid; empty when the set is gone.
    pub uid: String,
    /// Why it was broken.
    pub reason: String,
}

/// What a write changes beside the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Broken by this write, or for another reason than before.
    pub opened: Vec<BrokenGlass>,
    /// Mended by this write.
    pub closed: Vec<BrokenGlass>,
    /// How many references have no room, where there was room for all before.
    pub dropped: Option<usize>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Plan {
    /// There is none, and nothing to say.
    Absent,
    /// It says so already.
    InStep,
    /// It is made.
    Create(DynamicObject, Change),
    /// What was read, with our parts changed.
    Update(DynamicObject, Change),
}

/// A ConfigMap of that name without our mark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ConfigMap {NAME} has no annotation {NOTE_ANNOTATION}, so that it is somebody else's and is left alone: delete it, then the \
     controller makes its own"
)]
pub struct Foreign;

/// Group, version and plural of ConfigMaps.
pub fn resource() -> ApiResource {
    ApiResource::erase::<ConfigMap>(&())
}

/// What is to be done with the ConfigMap of `namespace` as it was `read`, so that it says `list`.
///
/// # Errors
/// [`Foreign`]: it is not ours.
pub fn plan(
    namespace: &str,
    read: Option<&DynamicObject>,
    sets: &[SetFacts],
    list: &List,
) -> Result<Plan, Foreign> {
    let broken = sets.iter().filter_map(|set| Some((set.name.clone(), set.broken_glass.clone()?)));
    let note = Note { break_glass: broken.collect(), dropped: list.dropped };
    let data = json!({
        "repositories": lines(&list.repositories),
        "allowed": lines(&list.allowed),
        "open": lines(&list.open),
    });
    let Some(read) = read else {
        if list.repositories.is_empty() && list.open.is_empty() && note == Note::default() {
            return Ok(Plan::Absent);
        }
        let change = change(&Note::default(), &note, sets);
        let mut object = DynamicObject::new(NAME, &resource()).within(namespace);
        write(&mut object, &note, data);
        return Ok(Plan::Create(object, change));
    };
    let annotations = read.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|annotations| annotations.get(NOTE_ANNOTATION)) else {
        return Err(Foreign);
    };
    // One that was edited beyond reading tells everything anew.
    let before: Note = serde_json::from_str(text).unwrap_or_default();
    let mut object = read.clone();
    write(&mut object, &note, data);
    if object.data == read.data && object.metadata == read.metadata {
        return Ok(Plan::InStep);
    }
    Ok(Plan::Update(object, change(&before, &note, sets)))
}

/// Everything that we own of the object: its values as a whole, and our label and mark. Other labels and annotations stay.
fn write(object: &mut DynamicObject, note: &Note, data: Value) {
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("binaryData");
        fields.insert("data".to_owned(), data);
    } else {
        object.data = json!({ "data": data });
    }
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert(GUARD_LABEL.to_owned(), GUARD_LABEL_VALUE.to_owned());
    let annotations = object.metadata.annotations.get_or_insert_default();
    // Maps with text keys and plain values cannot fail to serialise.
    annotations.insert(NOTE_ANNOTATION.to_owned(), serde_json::to_string(note).unwrap_or_default());
}

/// Each line ends with a line break, so that a value is never absent: `kubectl` shows it as a block.
fn lines(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn change(before: &Note, after: &Note, sets: &[SetFacts]) -> Change {
    let glass = |(name, reason): (&String, &String)| BrokenGlass {
        name: name.clone(),
        uid: sets.iter().find(|set| &set.name == name).map(|set| set.uid.clone()).unwrap_or_default(),
        reason: reason.clone(),
    };
    let is_new = |(name, reason): &(&String, &String)| before.break_glass.get(*name) != Some(*reason);
    let is_over = |(name, _): &(&String, &String)| !after.break_glass.contains_key(*name);
    Change {
        opened: after.break_glass.iter().filter(is_new).map(glass).collect(),
        closed: before.break_glass.iter().filter(is_over).map(glass).collect(),
        dropped: Some(after.dropped).filter(|dropped| before.dropped == 0 && *dropped > 0),
    }
}
