//! Status of pods and Jobs in each moment of the simulation, as kubelet and the Job controller of 1.34 write it.
//!
//! Pure. Each is a merge patch; a Job's counts and conditions are complete in each, since 1.34 refuses a finished
//! Job without `startTime`, its counts and the target condition beside the final one.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

/// Exit code of a container that was killed.
const KILLED: i32 = 137;

pub(super) fn job_active(started: Timestamp, failed: i32) -> Value {
    json!({"startTime": text(started), "active": 1, "ready": 0, "failed": count(failed)})
}

pub(super) fn job_complete(started: Timestamp, now: Timestamp, failed: i32) -> Value {
    let reason = ("CompletionsReached", "Reached expected number of succeeded pods");
    json!({
        "startTime": text(started), "completionTime": text(now),
        "active": null, "ready": 0, "succeeded": 1, "failed": count(failed),
        "conditions": [
            condition("SuccessCriteriaMet", true, reason, now),
            condition("Complete", true, reason, now),
        ],
    })
}

pub(super) fn job_failed(
    started: Timestamp,
    now: Timestamp,
    failed: i32,
    reason: &str,
    message: &str,
) -> Value {
    json!({
        "startTime": text(started), "active": null, "ready": 0, "failed": count(failed),
        "conditions": [
            condition("FailureTarget", true, (reason, message), now),
            condition("Failed", true, (reason, message), now),
        ],
    })
}

pub(super) fn unschedulable(now: Timestamp, message: &str) -> Value {
    json!({"phase": "Pending", "conditions": [condition("PodScheduled", false, ("Unschedulable", message), now)]})
}

pub(super) fn waiting(spec: &PodSpec, now: Timestamp, reason: &str, message: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    pod("Pending", now, false, &container(spec, false, &state))
}

pub(super) fn running(spec: &PodSpec, now: Timestamp) -> Value {
    pod("Running", now, true, &container(spec, true, &json!({"running": {"startedAt": text(now)}})))
}

pub(super) fn terminated(spec: &PodSpec, begun: Timestamp, now: Timestamp, exit_code: i32) -> Value {
    let (phase, reason) = if exit_code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
    let ended =
        json!({"exitCode": exit_code, "reason": reason, "startedAt": text(begun), "finishedAt": text(now)});
    pod(phase, now, false, &container(spec, false, &json!({"terminated": ended})))
}

/// A pod past its `activeDeadlineSeconds`: the reason stands on the pod itself. `begun` is when its container
/// started; of one that had not, the kubelet says that it could not be located.
pub(super) fn pod_overdue(spec: &PodSpec, begun: Option<Timestamp>, now: Timestamp) -> Value {
    let ended = match begun {
        Some(begun) => {
            json!({"exitCode": KILLED, "reason": "Error", "startedAt": text(begun), "finishedAt": text(now)})
        }
        None => json!({
            "exitCode": KILLED, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
            "message": "The container could not be located when the pod was terminated",
        }),
    };
    let mut status = pod("Failed", now, false, &container(spec, false, &json!({"terminated": ended})));
    status["reason"] = "DeadlineExceeded".into();
    status["message"] = "Pod was active on the node longer than the specified deadline".into();
    status
}

fn pod(phase: &str, now: Timestamp, ready: bool, container: &Value) -> Value {
    let scheduled = condition("PodScheduled", true, ("", ""), now);
    let ready = condition("Ready", ready, ("", ""), now);
    json!({"phase": phase, "conditions": [scheduled, ready], "containerStatuses": [container]})
}

fn container(spec: &PodSpec, ready: bool, state: &Value) -> Value {
    let first = spec.containers.first();
    let image = first.and_then(|container| container.image.as_deref()).unwrap_or("");
    // What the kubelet reports as imageID where the reference is by digest.
    let image_id = if image.contains('@') { image } else { "" };
    json!({
        "name": first.map_or("", |container| container.name.as_str()),
        "image": image, "imageID": image_id, "ready": ready, "started": ready, "restartCount": 0, "state": state,
    })
}

fn condition(kind: &str, holds: bool, (reason, message): (&str, &str), now: Timestamp) -> Value {
    let status = if holds { "True" } else { "False" };
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": text(now)});
    if !reason.is_empty() {
        condition["reason"] = reason.into();
        condition["message"] = message.into();
    }
    condition
}

/// A count that is absent at 0.
fn count(number: i32) -> Value {
    if number == 0 { Value::Null } else { number.into() }
}

fn text(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
