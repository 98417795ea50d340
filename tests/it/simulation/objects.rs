//! Reads objects as the API server holds them: what a request is about, what a set says, what a target carries.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::engine::observation::Marks;
use tidegate::engine::record::Record;

/// The mark of a target, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub set: String,
    pub sequence: i64,
    pub tag: String,
}

/// Group, plural and name that a request is about.
pub fn place(what: &str) -> Option<(&str, &str, Option<&str>)> {
    let path = what.split_once(' ')?.1;
    let path = path.split('?').next().unwrap_or(path);
    let mut parts = path.trim_start_matches('/').split('/');
    let group = match parts.next()? {
        "api" => "",
        "apis" => parts.next()?,
        "events" => return Some(("events.k8s.io", "events", None)),
        _ => return None,
    };
    let _version = parts.next()?;
    match parts.next()? {
        "namespaces" => {
            let _namespace = parts.next()?;
            Some((group, parts.next()?, parts.next()))
        }
        plural => Some((group, plural, parts.next())),
    }
}

pub fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

pub fn sequence_of(set: &Value) -> i64 {
    set.pointer("/status/promoted/sequence").and_then(Value::as_i64).unwrap_or(0)
}

pub fn mark_of(object: &Value) -> Option<Mark> {
    let text = object["metadata"]["annotations"]["tidegate.dev/target"].as_str()?;
    let mark: Value = serde_json::from_str(text).ok()?;
    let (set, tag) = (mark["set"].as_str()?.to_owned(), mark["tag"].as_str()?.to_owned());
    Some(Mark { set, tag, sequence: mark["sequence"].as_i64()? })
}

/// What the targets of a set carried beyond its status, and the highest sequence of both.
pub fn highest(set: &str, marks: &BTreeMap<String, Mark>, before: &Record) -> (Marks, i64) {
    let known = before.promoted.as_ref().map_or(0, |promoted| promoted.sequence);
    let highest = marks.values().filter(|mark| mark.set == set).max_by_key(|mark| mark.sequence);
    match highest.filter(|mark| mark.sequence > known) {
        Some(mark) => {
            let (sequence, tag) = (mark.sequence, mark.tag.parse().ok());
            (Marks::Highest { sequence, tag }, sequence)
        }
        None => (Marks::InStep, known),
    }
}
