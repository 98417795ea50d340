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
        None | Some("Background") => Ok(()),
        Some("Foreground" | "Orphan") => {
            let message = "this server deletes dependents in the background: propagationPolicy Foreground and Orphan are not \
                implemented";
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
