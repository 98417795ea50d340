//! Status as JSON on its way to the API server and back.
//!
//! A PUT replaces the whole status, so fields that a newer controller wrote are carried over; and a reply that
//! lacks what was sent tells that the installed CRD is older than this controller (design §4 Commit).

use serde_json::{Map, Value};

use crate::api::v1alpha1::ReleaseSetStatus;

/// Top-level fields of status that this version writes. Whatever else a live object holds there is left alone.
const OUR_FIELDS: [&str; 14] = [
    "observedGeneration",
    "conditions",
    "promoted",
    "floor",
    "history",
    "candidates",
    "verdicts",
    "failureLogs",
    "recent",
    "named",
    "targets",
    "summary",
    "listed",
    "lastHandledReconcileAt",
];

/// Most paths that are named; one is enough to stop.
const LOST_MAX: usize = 16;

/// The live object with our status in it: our fields replaced or removed, all others as they are.
pub fn merge_into(live: &Value, status: &ReleaseSetStatus) -> Value {
    let mut object = live.clone();
    let mut fields = match object.get("status") {
        Some(Value::Object(fields)) => fields.clone(),
        _ => Map::new(),
    };
    for field in OUR_FIELDS {
        fields.remove(field);
    }
    // A struct of strings, numbers and lists always becomes an object.
    if let Ok(Value::Object(ours)) = serde_json::to_value(status) {
        fields.extend(ours);
    }
    if let Some(object) = object.as_object_mut() {
        object.insert("status".to_owned(), Value::Object(fields));
    }
    object
}

/// Paths of status that were sent and that the reply lacks. Both are whole objects.
pub fn lost_fields(sent: &Value, reply: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    if let Some(status) = sent.get("status") {
        compare("status", status, reply.get("status"), &mut lost);
    }
    lost
}

fn compare(path: &str, sent: &Value, reply: Option<&Value>, lost: &mut Vec<String>) {
    if lost.len() >= LOST_MAX {
        return;
    }
    match (sent, reply) {
        (_, None) => lost.push(path.to_owned()),
        (Value::Object(sent), Some(reply)) => {
            for (name, value) in sent {
                compare(&format!("{path}.{name}"), value, reply.get(name), lost);
            }
        }
        (Value::Array(sent), Some(reply)) => {
            for (index, value) in sent.iter().enumerate() {
                compare(&format!("{path}[{index}]"), value, reply.get(index), lost);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_fields_are_those_of_the_schema() {
        let crd = serde_json::to_value(crate::api::crd::crd()).unwrap();
        let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        let mut declared: Vec<&str> =
            status["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut ours = OUR_FIELDS.to_vec();
        declared.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, declared);
    }
}
