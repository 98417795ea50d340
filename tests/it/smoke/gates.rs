//! Gates as the cases write them, and what status says of them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tidegate::api::ReleaseSetStatus;
use tidegate::api::v1alpha1::{GateStatus, VerdictStatus};

/// A gate `boots` on `worker` that is tried once and asks for little, with `fields` of its smoke test beside or instead.
pub fn gate(fields: &Value) -> Value {
    gate_named("boots", fields)
}

pub fn gate_named(name: &str, fields: &Value) -> Value {
    let mut smoke = json!({
        "image": "worker",
        "attempts": 1,
        "timeout": "1m",
        // Thirty of them fit on the node at once.
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
    });
    for (key, value) in fields.as_object().expect("fields are an object") {
        smoke[key] = value.clone();
    }
    json!({"name": name, "smoke": smoke})
}

pub fn verdict_on(status: &ReleaseSetStatus, digest: &str) -> Option<VerdictStatus> {
    status.verdicts.iter().find(|verdict| verdict.binding.contains(digest)).cloned()
}

pub fn gate_saying(status: &ReleaseSetStatus, reason: &str, words: &str) -> Option<GateStatus> {
    let gates = &status.candidates.first()?.gates;
    let says = |gate: &&GateStatus| {
        gate.reason.as_deref() == Some(reason)
            && gate.message.as_deref().is_some_and(|said| said.contains(words))
    };
    gates.iter().find(says).cloned()
}

/// Reason of a condition.
pub fn reason(status: &ReleaseSetStatus, condition: &str) -> Option<String> {
    status.conditions.iter().find(|known| known.condition == condition).map(|known| known.reason.clone())
}

pub fn runs(pod: &Pod) -> bool {
    let states = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && states.filter_map(|container| container.state.as_ref()).any(|state| state.running.is_some())
}
