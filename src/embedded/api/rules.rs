//! Native twins of CEL transition rules, since CEL is not evaluated here. Each is registered for one resource with
//! [`super::ApiServer::add_rule`]; the rule's own text is tested on a real API server.

use std::sync::Arc;

use serde_json::Value;

/// Judges an update: old object, new object; the error is the rule's message.
pub type Rule = Arc<dyn Fn(&Value, &Value) -> Result<(), String> + Send + Sync>;

/// Judges an object that is made, or whose spec changes: path and message of every field that is wrong.
pub type Validation = Arc<dyn Fn(&Value) -> Vec<(String, String)> + Send + Sync>;

/// A validation with the kind it is for.
#[derive(Clone)]
pub(super) struct RegisteredValidation {
    pub(super) group: String,
    pub(super) plural: String,
    pub(super) validation: Validation,
}

/// A rule with the place it guards.
#[derive(Clone)]
pub(super) struct RegisteredRule {
    pub(super) group: String,
    pub(super) plural: String,
    pub(super) field: String,
    pub(super) rule: Rule,
}

/// The rule on `status` that keeps a promoted release from being taken back: once `status.promoted` is there it
/// stays, its `sequence` never falls, and at the same sequence its `tag` stays.
pub fn promoted_never_goes_back(old: &Value, new: &Value) -> Result<(), String> {
    let Some(before) = old.pointer("/status/promoted") else { return Ok(()) };
    // CEL judges a transition only where both sides have the field that carries the rule: a status that vanishes
    // as a whole is not seen by it.
    if new.get("status").is_none() {
        return Ok(());
    }
    let holds = new.pointer("/status/promoted").is_some_and(|after| {
        let (was, is) = (before["sequence"].as_i64(), after["sequence"].as_i64());
        is > was || (is == was && after["tag"] == before["tag"])
    });
    if holds { Ok(()) } else { Err("status.promoted never goes back".to_owned()) }
}
