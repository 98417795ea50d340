//! What is to be done with one target: a pure answer from the release and the object as it was read.

use kube::api::DynamicObject;
use serde_json::{Map, Value};

use crate::engine::clearance::Committed;
use crate::model::{SetName, TargetKind, TargetName};
use crate::targets::mark::Mark;
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
    /// It is ours and carries this higher sequence.
    Ahead(i64),
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
        write(kind, committed, &mark, &mut object);
        return Plan::Create(Box::new(object));
    };
    let found = match Mark::read(live) {
        Some(found) if found.is_of_same_target(&mark) => found,
        other => return Plan::Taken(taken(kind, other.as_ref())),
    };
    if live.metadata.deletion_timestamp.is_some() {
        return Plan::Leaving;
    }
    if let Some(ahead) = found.sequence.filter(|sequence| *sequence > committed.promoted().sequence) {
        return Plan::Ahead(ahead);
    }
    let mut wanted = live.clone();
    write(kind, committed, &mark, &mut wanted);
    if wanted == *live { Plan::InStep } else { Plan::Update(Box::new(wanted)) }
}

/// Writes mark and release; whatever else the object holds stays.
fn write(kind: &TargetKind, committed: &Committed, mark: &Mark, object: &mut DynamicObject) {
    mark.write(object);
    match kind {
        TargetKind::ConfigMap { .. } => config_map::write(committed, object),
        TargetKind::ImagePolicy { image_repository, .. } => {
            image_policy::write(committed, image_repository, object);
        }
        TargetKind::ResourceSetInputProvider { .. } => resource_set_input_provider::write(committed, object),
    }
}

fn taken(kind: &TargetKind, mark: Option<&Mark>) -> String {
    let whose = mark.map_or_else(
        || "was not made by this ReleaseSet".to_owned(),
        |mark| format!("belongs to target {} of ReleaseSet {}", mark.target, mark.set),
    );
    format!(
        "{kind} exists and {whose}, so it is not touched: delete it to hand it over, or give the target another name"
    )
}
