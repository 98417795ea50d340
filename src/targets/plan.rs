//! What is to be done with one target: a pure answer from the release and the object as it was read.

use kube::api::DynamicObject;
use serde_json::{Map, Value};

use crate::engine::clearance::Committed;
use crate::model::{SetName, TargetKind, TargetName};
use crate::targets::mark::{Mark, SET_LABEL, TARGET_ANNOTATION};
use crate::targets::{config_map, image_policy, resource, resource_set_input_provider};

/// What is to be done with one target.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// It is absent: POST this.
    Create(Box<DynamicObject>),
    /// It is ours and differs: PUT this, which carries the uid and resourceVersion that were read.
    Update(Box<DynamicObject>),
    /// It is ours and carries exactly the release: nothing is written.
    InStep,
    /// It is not ours; why, and how it is handed over.
    Taken(String),
    /// It is ours and carries a higher sequence.
    Ahead {
        /// The sequence of its mark.
        sequence: i64,
        /// The tag of its mark, as it stands there.
        tag: String,
    },
    /// The release cannot be written into it as a whole, so nothing is; why, and the next step.
    Unwritable(String),
    /// It is being deleted: nothing is written until it is gone.
    Leaving,
}

/// What is to be done so that target `name` of `set` carries `committed`, given the object as it was read.
pub fn plan(
    set: &SetName,
    name: &TargetName,
    kind: &TargetKind,
    committed: &Committed,
    live: Option<&DynamicObject>,
) -> Plan {
    let mark = Mark::of(set, name, committed);
    let Some(live) = live else {
        let mut object = DynamicObject::new(kind.object_name(), &resource(kind)).within(&set.namespace);
        object.data = Value::Object(Map::new());
        return match write(kind, committed, &mark, false, &mut object) {
            Ok(()) => Plan::Create(Box::new(object)),
            Err(why) => Plan::Unwritable(why),
        };
    };
    let found = match Mark::of_object(&live.metadata) {
        Some(found) if found.is_of(set, name) => found,
        other => return Plan::Taken(taken(&mark, kind, other.as_ref())),
    };
    if live.metadata.deletion_timestamp.is_some() {
        return Plan::Leaving;
    }
    if let Some(sequence) = found.sequence.filter(|sequence| *sequence > committed.promoted().sequence) {
        return Plan::Ahead { sequence, tag: found.tag };
    }
    let mut wanted = live.clone();
    match write(kind, committed, &mark, found == mark, &mut wanted) {
        Err(why) => Plan::Unwritable(why),
        Ok(()) if wanted == *live => Plan::InStep,
        Ok(()) => Plan::Update(Box::new(wanted)),
    }
}

/// Writes mark and release; whatever else the object holds stays. `carries_release`: it holds this very release by its
/// mark.
fn write(
    kind: &TargetKind,
    committed: &Committed,
    mark: &Mark,
    carries_release: bool,
    object: &mut DynamicObject,
) -> Result<(), String> {
    if committed.promoted().release.images.is_empty() {
        // An empty input has the Flux Operator delete everything that was made from it.
        return Err("the promoted release holds no image, so that there is nothing to write".to_owned());
    }
    mark.write(object);
    match kind {
        TargetKind::ConfigMap { keys, .. } => config_map::write(committed, keys, carries_release, object)?,
        TargetKind::ImagePolicy { image_repository, .. } => {
            image_policy::write(committed, image_repository, object);
        }
        TargetKind::ResourceSetInputProvider { .. } => resource_set_input_provider::write(committed, object),
    }
    Ok(())
}

/// Whose it is, and how it is handed over: an object with our two marks is ours, whoever wrote them.
fn taken(ours: &Mark, kind: &TargetKind, theirs: Option<&Mark>) -> String {
    let whose = theirs.map_or_else(
        || "was not made by this ReleaseSet, so it is not touched: to".to_owned(),
        |mark| {
            let Mark { set, target, .. } = mark;
            format!("belongs to target {target} of ReleaseSet {set}, so it is not touched: remove that target there, then to")
        },
    );
    let Mark { set, target, .. } = ours;
    format!(
        "{kind} exists and {whose} hand it over delete it, or set its label {SET_LABEL} to {set} and its annotation \
         {TARGET_ANNOTATION} to {{\"set\":\"{set}\",\"target\":\"{target}\"}}; else name another object here"
    )
}
