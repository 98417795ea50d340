//! Whether the guard is lifted by hand. Looks at the object as it is stored, so that an older program sees it too.

use serde_json::Value;

use crate::cli::doctor::checks::Subject;
use crate::cli::doctor::finding::{Finding, Severity};

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let field = subject.found.object.data.pointer("/spec/breakGlass").filter(|field| !field.is_null());
    let Some(field) = field else { return vec![Finding::new(Severity::Ok, "spec.breakGlass is not set")] };
    let reason = field.get("reason").and_then(Value::as_str).unwrap_or("no reason is given");
    let mut findings = vec![
        Finding::new(Severity::Warn, "spec.breakGlass is set: the guard lets pass what was not promoted")
            .because(reason)
            .next("remove the field when the emergency is over"),
    ];
    let managers = subject.found.object.metadata.managed_fields.iter().flatten();
    for entry in managers.filter(|entry| entry.operation.as_deref() == Some("Apply")) {
        let owns =
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:breakGlass").is_some());
        if owns {
            let manager = entry.manager.as_deref().unwrap_or("a manager without name");
            findings.push(
                Finding::new(Severity::Warn, format!("{manager} sets spec.breakGlass"))
                    .because("Git holds the field, so that every sync lifts the guard again")
                    .next("remove it from the file in Git"),
            );
        }
    }
    findings
}
