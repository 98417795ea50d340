//! The differential oracle: what is left of a run with faults is what is left of one without, and it took few more writes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::run::Outcome;
use super::world::World;

/// Fields that hold instants, revisions and identities of one run.
const OF_ONE_RUN: [&str; 18] = [
    "at",
    "since",
    "firstSeen",
    "completeAt",
    "changedAt",
    "blockedSince",
    "runningSince",
    "consumed",
    "lastTransitionTime",
    "creationTimestamp",
    "resourceVersion",
    "uid",
    "startTime",
    "completionTime",
    "lastProbeTime",
    "unknownSince",
    "managedFields",
    "generation",
];
/// Status writes that one fault may cost at most: one that told of the trouble, one that told of its end, and one that was
/// made again.
const STATUS_MORE: u64 = 4;
/// The same of a process that started anew and told of what it could not know for sure yet.
const OTHERS_MORE: u64 = 1;

/// Sets, targets and Jobs as they are left, without what differs from run to run.
pub fn end_state(world: &World) -> Value {
    let kinds = [("tidegate.dev", "releasesets"), ("", "configmaps"), ("batch", "jobs")];
    let mut end = Map::new();
    for (group, plural) in kinds {
        for object in world.api.objects(group, plural) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            end.insert(format!("{plural}/{name}"), without_times(&object));
        }
    }
    Value::Object(end)
}

fn without_times(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !OF_ONE_RUN.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), without_times(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_times).collect(),
        other => other.clone(),
    }
}

/// What people would call the same: of sets the promoted release without its sequence, of targets what they carry.
fn gist(end: &Value) -> Value {
    let objects = end.as_object().into_iter().flatten();
    objects
        .filter_map(|(name, object)| {
            let promoted = &object["status"]["promoted"];
            let gist = match name.split_once('/')?.0 {
                "releasesets" => json!([promoted["tag"], promoted["images"]]),
                "configmaps" => {
                    let data = object["data"].as_object()?.iter();
                    data.filter(|(key, _)| *key != "RELEASE_SEQUENCE")
                        .map(|(_, value)| value.clone())
                        .collect()
                }
                _ => return None,
            };
            Some((name.clone(), gist))
        })
        .collect::<Map<_, _>>()
        .into()
}

/// Everything in which what is left after many faults differs from what is left without. On the way more than one thing
/// may be right: an older release that was complete while a newer one could not be told, a test that ran once more.
pub fn differences_in_gist(reference: &Outcome, outcome: &Outcome) -> Vec<String> {
    compare("", &gist(&reference.end), &gist(&outcome.end))
}

/// Everything in which a run differs from its reference; `faults` were injected.
pub fn differences(reference: &Outcome, outcome: &Outcome, faults: u64) -> Vec<String> {
    let mut found = Vec::new();
    if outcome.end != reference.end {
        found.extend(compare("", &reference.end, &outcome.end));
    }
    if outcome.commits != reference.commits {
        found.push(format!("S4: {} commits, {} without faults", outcome.commits, reference.commits));
    }
    let count = |writes: &BTreeMap<String, u64>, object: &str| writes.get(object).copied().unwrap_or(0);
    for (object, writes) in &outcome.writes {
        let more = if object.starts_with("releasesets/") { STATUS_MORE } else { OTHERS_MORE };
        let most = count(&reference.writes, object) + more * faults;
        if *writes > most {
            found.push(format!("{object} was written {writes} times, at most {most} are due"));
        }
    }
    found
}

fn compare(path: &str, reference: &Value, found: &Value) -> Vec<String> {
    match (reference, found) {
        (Value::Object(old), Value::Object(new)) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let absent = json!(null);
            let field = |fields: &Map<String, Value>, name: &String| {
                fields.get(name).cloned().unwrap_or(absent.clone())
            };
            names
                .into_iter()
                .flat_map(|name| compare(&format!("{path}/{name}"), &field(old, name), &field(new, name)))
                .collect()
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let pairs = old.iter().zip(new).enumerate();
            pairs.flat_map(|(at, (old, new))| compare(&format!("{path}/{at}"), old, new)).collect()
        }
        _ if reference == found => Vec::new(),
        _ => vec![format!("{path}: {reference} without faults, is {found}")],
    }
}
