//! Parameters of writes: what a real server refuses of them, and what only this one does.

use serde_json::Value;

use super::{
    Verb,
    refusal::{Cause, Refusal},
};

/// Checks `dryRun` of the query and the options in a DELETE's body.
pub(super) fn check(verb: Verb, dry_run: Option<&str>, body: &Value) -> Result<(), Refusal> {
    let kind = match verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        _ => "DeleteOptions",
    };
    if let Some(other) = dry_run.filter(|text| *text != "All") {
        let message = format!("Unsupported value: [{other:?}]: supported values: \"All\"");
        return Err(Refusal::options(kind, &[Cause::new("FieldValueNotSupported", "dryRun", message)]));
    }
    let policy = body["propagationPolicy"].as_str().filter(|_| verb == Verb::Delete);
    match policy {
        // Dependents go at once here, so that whom the object goes before or after them is the same.
        None | Some("Background" | "Foreground") => Ok(()),
        Some("Orphan") => {
            let message = "propagationPolicy Orphan is not implemented here: dependents go with their owner";
            Err(Refusal::new(501, "NotImplemented", message))
        }
        Some(other) => {
            let known = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
            let message = format!("Unsupported value: {other:?}: {known}");
            let cause = Cause::new("FieldValueNotSupported", "propagationPolicy", message);
            Err(Refusal::options(kind, &[cause]))
        }
    }
}
