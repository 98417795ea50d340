//! Every way in which a smoke Job can end, and some in which it does not. Objects are written as the API server
//! shows them.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::smoke::job::job;
use crate::smoke::job::tests::{request, set};

const JOB_UID: &str = "11aa-job";

/// Our Job, with the conditions of its status that are True.
fn our_job(conditions: &[(&str, &str)]) -> Job {
    let mut job = job(&set(), &request("ghcr.io/acme/worker", "linux/arm64"), &[]);
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, reason)| json!({"type": kind, "status": "True", "reason": reason}))
        .collect();
    job.metadata.uid = Some(JOB_UID.into());
    job.metadata.creation_timestamp = Some(serde_json::from_value(json!("2026-01-02T03:00:00Z")).unwrap());
    job.status = Some(serde_json::from_value(json!({"conditions": conditions})).unwrap());
    job
}

/// A pod of our Job on the requested digest, changed by a merge.
fn pod(name: &str, created: &str, status: &Value) -> Value {
    json!({
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": "tg", "uid": JOB_UID, "controller": true
            }],
        },
        "spec": {"containers": [{
            "name": "smoke",
            "image": format!("ghcr.io/acme/worker@sha256:{}", "ab".repeat(32)),
        }]},
        "status": status,
    })
}

fn ended(phase: &str, exit_code: i32, reason: &str) -> Value {
    json!({
        "phase": phase,
        "containerStatuses": [{
            "name": "smoke", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {
                "exitCode": exit_code, "reason": reason,
                "startedAt": "2026-01-02T03:00:05Z", "finishedAt": "2026-01-02T03:00:09Z",
            }},
        }],
    })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({
        "phase": "Pending",
        "containerStatuses": [{
            "name": "smoke", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }],
    })
}

fn with(mut object: Value, pointer: &str, key: &str, value: Value) -> Value {
    object.pointer_mut(pointer).unwrap()[key] = value;
    object
}

fn one(status: &Value) -> Vec<Value> {
    vec![pod("tg-1", "2026-01-02T03:00:01Z", status)]
}

/// The outcome in one line: the end, and what was said.
fn line(job: &Job, pods: &[Value]) -> String {
    let pods: Vec<Pod> = pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
    match outcome(&set(), job, &pods) {
        None => "not ours".into(),
        Some(SmokeJob { view: SmokeView::Running { waiting_for, .. }, end, .. }) => {
            format!("{end:?}: {}", waiting_for.unwrap_or_else(|| "runs".into()))
        }
        Some(SmokeJob { view: SmokeView::Unknown { why }, end, .. }) => format!("{end:?}: unknown: {why}"),
        Some(SmokeJob { view: SmokeView::Ended(verdict), end, .. }) => {
            let code = verdict.exit_code.map_or_else(|| "-".into(), |code| code.to_string());
            format!("{end:?}: {:?} {code} at {}: {}", verdict.outcome, verdict.at, verdict.message)
        }
    }
}

#[test]
fn only_an_undisturbed_pod_of_ours_passes() {
    let complete = our_job(&[("Complete", "CompletionsReached")]);
    let running = our_job(&[]);
    let passed = "Verdict: Passed 0 at 2026-01-02T03:00:09Z: passed";
    let clean = pod("tg-1", "2026-01-02T03:00:01Z", &ended("Succeeded", 0, "Completed"));
    assert_eq!(line(&complete, std::slice::from_ref(&clean)), passed);
    // The pod is the evidence: its Job's condition comes a second later.
    assert_eq!(line(&running, std::slice::from_ref(&clean)), passed);
    let mirror = json!([{"name": "smoke", "image": format!("mirror.example/w@sha256:{}", "ab".repeat(32))}]);
    assert_eq!(line(&complete, &[with(clean.clone(), "/spec", "containers", mirror)]), passed);

    // Evicted by the API while it ran, exit 0 on SIGTERM (measurement M11).
    let target = json!([{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]);
    let evicted = with(clean.clone(), "/status", "conditions", target);
    assert_eq!(
        line(&complete, &[evicted]),
        "NoVerdict: unknown: the Job completed and is no verdict, because its pod was disrupted \
         (EvictionByEvictionAPI); the test is run again"
    );
    let deleted = with(clean.clone(), "/metadata", "deletionTimestamp", json!("2026-01-02T03:00:08Z"));
    assert_eq!(
        line(&complete, &[deleted]),
        "NoVerdict: unknown: the Job completed and is no verdict, because its pod was deleted; the test is run again"
    );
    let shut_down = with(clean.clone(), "/status", "reason", json!("Terminated"));
    assert_eq!(
        line(&complete, &[shut_down]),
        "NoVerdict: unknown: the Job completed and is no verdict, because its pod was ended by the node \
         (Terminated); the test is run again"
    );
    assert_eq!(
        line(&complete, &[]),
        "NoVerdict: unknown: the Job completed without a pod that ran the test to its end; the test is run again"
    );
    let foreign = with(clean.clone(), "/metadata/ownerReferences/0", "uid", json!("another-job"));
    assert!(line(&complete, &[foreign]).starts_with("NoVerdict"));
    let not_controller = with(clean, "/metadata/ownerReferences/0", "controller", json!(false));
    assert!(line(&complete, &[not_controller]).starts_with("NoVerdict"));
}

#[test]
fn another_image_is_no_test_and_not_repeated() {
    let complete = our_job(&[("Complete", "CompletionsReached")]);
    for image in
        ["ghcr.io/acme/worker:v1".to_owned(), format!("ghcr.io/acme/worker@sha256:{}", "cd".repeat(32))]
    {
        let clean = pod("tg-1", "2026-01-02T03:00:01Z", &ended("Succeeded", 0, "Completed"));
        let said = line(&complete, &[with(clean, "/spec/containers/0", "image", json!(image))]);
        assert!(
            said.starts_with(&format!("Hopeless: unknown: the pod was given {image} instead of ")),
            "{said}"
        );
    }
}

#[test]
fn a_failed_job_says_how_its_pod_ended() {
    let failed = our_job(&[("Failed", "BackoffLimitExceeded")]);
    let deadline = |status| with(status, "", "reason", json!("DeadlineExceeded"));
    let table = [
        (ended("Failed", 3, "Error"), "Verdict: Failed 3 at 2026-01-02T03:00:09Z: exited with code 3"),
        (
            ended("Failed", 137, "OOMKilled"),
            "Verdict: Failed 137 at 2026-01-02T03:00:09Z: was killed for using more than 512Mi of memory (OOMKilled)",
        ),
        (
            deadline(ended("Failed", 137, "Error")),
            "Verdict: Failed - at 2026-01-02T03:00:09Z: timed out after 5m",
        ),
        // Traps SIGTERM at its deadline and exits with 0.
        (
            deadline(ended("Failed", 0, "Completed")),
            "Verdict: Failed - at 2026-01-02T03:00:09Z: timed out after 5m",
        ),
        (
            deadline(json!({"phase": "Failed"})),
            "NoVerdict: unknown: the Job failed and is no verdict, because its container had not started after 5m \
             (pulling the image counts); the test is run again",
        ),
        (
            ended("Failed", 137, "ContainerStatusUnknown"),
            "NoVerdict: unknown: the Job failed and is no verdict, because the node lost sight of its container; \
             the test is run again",
        ),
        (
            json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource"}),
            "NoVerdict: unknown: the Job failed and is no verdict, because its pod was ended by the node (OutOfcpu: \
             Node didn't have enough resource); the test is run again",
        ),
    ];
    for (status, expected) in table {
        assert_eq!(line(&failed, &one(&status)), expected);
    }
}

#[test]
fn a_command_that_is_not_there_is_a_failure() {
    let mut status = ended("Failed", 128, "StartError");
    status["containerStatuses"][0]["state"]["terminated"]["message"] = json!("exec: \"/app\": no such file");
    assert_eq!(
        line(&our_job(&[("Failed", "BackoffLimitExceeded")]), &one(&status)),
        "Verdict: Failed 128 at 2026-01-02T03:00:09Z: could not be started (StartError): exec: \"/app\": no such file"
    );
}

#[test]
fn a_job_that_failed_without_a_pod_is_no_verdict() {
    assert_eq!(
        line(&our_job(&[("Failed", "DeadlineExceeded")]), &[]),
        "NoVerdict: unknown: the Job failed (DeadlineExceeded) without a pod that ran the test to its end; the test \
         is run again"
    );
    // A Job that failed is not passed by a pod that its controller did not count.
    let pods = one(&ended("Succeeded", 0, "Completed"));
    assert!(line(&our_job(&[("Failed", "DeadlineExceeded")]), &pods).starts_with("NoVerdict"));
}

#[test]
fn an_attempt_is_not_the_end() {
    let first = pod("tg-b", "2026-01-02T03:00:01Z", &ended("Failed", 3, "Error"));
    let second = pod("tg-a", "2026-01-02T03:01:01Z", &ended("Failed", 4, "Error"));
    let good = pod("tg-a", "2026-01-02T03:01:01Z", &ended("Succeeded", 0, "Completed"));
    let running = our_job(&[]);
    assert_eq!(line(&running, std::slice::from_ref(&first)), "NotOver: runs");
    assert_eq!(line(&running, &[good, first.clone()]), "Verdict: Passed 0 at 2026-01-02T03:00:09Z: passed");
    let failed = our_job(&[("Failed", "BackoffLimitExceeded")]);
    assert!(line(&failed, &[second, first]).ends_with("exited with code 4"), "the newest attempt speaks");
}

#[test]
fn what_cannot_start_is_named_and_is_no_verdict() {
    let node = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 more.",
    }]});
    let image = format!("ghcr.io/acme/worker@sha256:{}", "ab".repeat(32));
    let pull = format!("NotOver: the image {image}: not found");
    let back_off = format!("Back-off pulling image \"{image}\": ErrImagePull: not found");
    let table = [
        (
            node,
            "NotOver: no node for linux/arm64 (Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's \
             node affinity/selector.)",
        ),
        (waiting("ErrImagePull", "not found"), &pull),
        (waiting("ImagePullBackOff", &back_off), &pull),
        (
            waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            "NotOver: the image runs as root, which smoke tests do not: set a numeric user other than 0 in it (USER \
             65532)",
        ),
        (
            waiting("CreateContainerError", "no space left on device"),
            "NotOver: the node refuses the container (CreateContainerError): no space left on device",
        ),
        (waiting("ContainerCreating", ""), "NotOver: runs"),
        (json!({"phase": "Running"}), "NotOver: runs"),
        (json!({}), "NotOver: runs"),
    ];
    for (status, expected) in table {
        assert_eq!(line(&our_job(&[]), &one(&status)), expected);
    }
    assert_eq!(line(&our_job(&[]), &[]), "NotOver: runs");
}

#[test]
fn messages_are_short() {
    let said = line(&our_job(&[]), &one(&waiting("ErrImagePull", &"ä".repeat(2_000))));
    assert!(said.len() <= "NotOver: ".len() + MESSAGE_MAX_BYTES && said.ends_with('…'), "{said}");
}

#[test]
fn a_job_of_somebody_else_says_nothing() {
    let pods = one(&ended("Succeeded", 0, "Completed"));
    let complete = || our_job(&[("Complete", "CompletionsReached")]);
    assert!(line(&complete(), &pods).starts_with("Verdict"));
    let changes: [fn(&mut Job); 5] = [
        |job| job.metadata.owner_references = None,
        |job| job.metadata.owner_references.as_mut().unwrap()[0].controller = None,
        |job| job.metadata.owner_references.as_mut().unwrap()[0].uid = "an-older-set".into(),
        |job| job.metadata.name = Some("tg-of-my-own".into()),
        |job| {
            let binding = crate::smoke::job::BINDING_ANNOTATION.to_owned();
            job.metadata.annotations.as_mut().unwrap().insert(binding, "another binding".into());
        },
    ];
    for change in changes {
        let mut job = complete();
        change(&mut job);
        assert_eq!(line(&job, &pods), "not ours");
    }
    // A set from a file has no uid; nothing is its.
    let nobody = SetName { uid: String::new(), ..set() };
    let mut job = complete();
    job.metadata.owner_references.as_mut().unwrap()[0].uid = String::new();
    assert_eq!(own_identity(&nobody, &job), None);
}

#[test]
fn a_job_that_is_being_deleted_is_left_alone() {
    let mut job = our_job(&[("Complete", "CompletionsReached")]);
    job.metadata.deletion_timestamp = job.metadata.creation_timestamp.clone();
    let said = line(&job, &one(&ended("Succeeded", 0, "Completed")));
    assert_eq!(said, "NotOver: unknown: the Job is being deleted; the test is run again after it");
}

#[test]
fn a_verdict_hides_another_job_with_its_binding() {
    let read = |job: &Job, pods: &[Value]| {
        let pods: Vec<Pod> = pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
        outcome(&set(), job, &pods).unwrap()
    };
    let running = read(&our_job(&[]), &[]);
    let passed = read(&our_job(&[]), &one(&ended("Succeeded", 0, "Completed")));
    for jobs in [[running.clone(), passed.clone()], [passed.clone(), running.clone()]] {
        assert_eq!(views(&jobs).get(&passed.binding), Some(&passed.view));
    }
}
