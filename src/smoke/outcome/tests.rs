//! Every way in which a smoke Job can end, and some in which it does not. Objects are written as the API server
//! shows them.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::model::smoke::{SmokeAgain, SmokeRun};
use crate::smoke::identity::BINDING_ANNOTATION;
use crate::smoke::job::job;
use crate::smoke::job::tests::{request, set};

const JOB_UID: &str = "11aa-job";

/// Our Job, with the conditions of its status that are True.
fn our_job(conditions: &[(&str, &str)]) -> Job {
    let mut request = request("ghcr.io/acme/worker", "linux/arm64");
    request.test.attempts = 1;
    request.run = request.test.first_run(0);
    let mut job = job(&set(), &request, &[]);
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

fn now() -> Timestamp {
    "2026-01-02T03:10:00Z".parse().unwrap()
}

fn read(job: &Job, pods: &[Value]) -> Option<SmokeJob> {
    let pods: Vec<Pod> = pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
    outcome(&set(), job, &pods, now())
}

/// The outcome in one line: the end, and what was said.
fn line(job: &Job, pods: &[Value]) -> String {
    let Some(SmokeJob { view, end, .. }) = read(job, pods) else { return "not ours".into() };
    match view {
        SmokeView::Running { waiting_for: Some(why), .. } => {
            format!("{end:?}: {}: {}", why.kind.word(), why.message)
        }
        SmokeView::Running { due_at: Some(due_at), .. } => format!("{end:?}: runs until {due_at}"),
        SmokeView::Running { .. } => format!("{end:?}: runs"),
        SmokeView::NoVerdict { why, .. } => format!("{end:?}: {}: {}", why.kind.word(), why.message),
        SmokeView::Ended(verdict) => {
            let code = verdict.exit_code.map_or_else(|| "-".into(), |code| code.to_string());
            format!("{end:?}: {} {code} at {}: {}", verdict.outcome.word(), verdict.at, verdict.message)
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
        "NoVerdict: Evicted: the Job completed and is no verdict, because its pod was disrupted \
         (EvictionByEvictionAPI); the test is run again"
    );
    let deleted = with(clean.clone(), "/metadata", "deletionTimestamp", json!("2026-01-02T03:00:08Z"));
    assert_eq!(
        line(&complete, &[deleted]),
        "NoVerdict: Evicted: the Job completed and is no verdict, because its pod was deleted; the test is run again"
    );
    let ending = pod("tg-1", "2026-01-02T03:00:01Z", &up_since("2026-01-02T03:00:05Z", "True"));
    let ending = with(ending, "/metadata", "deletionTimestamp", json!("2026-01-02T03:00:38Z"));
    assert_eq!(
        line(&running, &[ending]),
        "NotOver: Evicted: its pod was deleted",
        "it is no attempt any more"
    );
    let shut_down = with(clean.clone(), "/status", "reason", json!("Terminated"));
    assert_eq!(
        line(&complete, &[shut_down]),
        "NoVerdict: Evicted: the Job completed and is no verdict, because its pod was ended by the node \
         (Terminated); the test is run again"
    );
    assert_eq!(
        line(&complete, &[]),
        "NoVerdict: Evicted: the Job completed without a pod that ran the test to its end; the test is run again"
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
            said.starts_with(&format!("NoVerdict: ImageRewritten: the pod was given {image} instead of ")),
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
            "Verdict: OOMKilled 137 at 2026-01-02T03:00:09Z: was killed for using more memory than its limit of the node (OOMKilled)",
        ),
        (
            deadline(ended("Failed", 137, "Error")),
            "Verdict: TimedOut - at 2026-01-02T03:00:09Z: timed out after 5m",
        ),
        // Traps SIGTERM at its deadline and exits with 0.
        (
            deadline(ended("Failed", 0, "Completed")),
            "Verdict: TimedOut - at 2026-01-02T03:00:09Z: timed out after 5m",
        ),
        (
            deadline(json!({"phase": "Failed"})),
            "NoVerdict: ImagePull: the Job failed and is no verdict, because its container had not started after 5m \
             (pulling the image counts); the test is run again",
        ),
        (
            ended("Failed", 137, "ContainerStatusUnknown"),
            "NoVerdict: Evicted: the Job failed and is no verdict, because the node lost sight of its container; \
             the test is run again",
        ),
        (
            json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource"}),
            "NoVerdict: Evicted: the Job failed and is no verdict, because its pod was ended by the node (OutOfcpu: \
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
        "NoVerdict: Unschedulable: the Job failed (DeadlineExceeded) without a pod that ran the test to its end; the test \
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
    let pull = format!("NotOver: ImagePull: the image {image}: not found");
    let back_off = format!("Back-off pulling image \"{image}\": ErrImagePull: not found");
    let table = [
        (
            node,
            "NotOver: Unschedulable: no node for linux/arm64 (Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's \
             node affinity/selector.)",
        ),
        (waiting("ErrImagePull", "not found"), &pull),
        (waiting("ImagePullBackOff", &back_off), &pull),
        (
            waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            "NotOver: ConfigRefused: the image runs as root, which smoke tests do not: set `runAsUser` in the gate \
             (65532 for example), or a numeric USER in the image",
        ),
        (
            waiting("CreateContainerError", "no space left on device"),
            "NotOver: ConfigRefused: the node refuses the container (CreateContainerError): no space left on device",
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
    assert!(said.len() <= "NotOver: ImagePull: ".len() + MESSAGE_MAX_BYTES && said.ends_with('…'), "{said}");
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
            let binding = BINDING_ANNOTATION.to_owned();
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
    assert_eq!(said, "NotOver: Unreadable: the Job is being deleted; the test is run again after it");
}

#[test]
fn a_verdict_hides_other_jobs_with_its_binding_and_a_later_run_an_earlier() {
    let run = |number: u32, conditions: &[(&str, &str)], pods: &[Value]| {
        let mut request = request("ghcr.io/acme/worker", "linux/arm64");
        request.run.number = number;
        let mut job = our_job(conditions);
        let named = crate::smoke::job::job(&set(), &request, &[]);
        (job.metadata.name, job.metadata.annotations) = (named.metadata.name, named.metadata.annotations);
        read(&job, pods).unwrap()
    };
    let running = run(2, &[], &[]);
    let passed = run(1, &[], &one(&ended("Succeeded", 0, "Completed")));
    for jobs in [[running.clone(), passed.clone()], [passed.clone(), running.clone()]] {
        assert_eq!(views(&jobs).get(&passed.identity.binding), Some(&passed.view));
    }
    let lost = run(1, &[("Failed", "PodFailurePolicy")], &[]);
    for jobs in [[running.clone(), lost.clone()], [lost, running.clone()]] {
        assert_eq!(views(&jobs).get(&running.identity.binding), Some(&running.view));
    }
}

/// The Job of one run that ended at 03:05 without a verdict.
fn lost(run: SmokeRun, reason: &str, failed: i32, pods: &[Value]) -> Option<SmokeAgain> {
    let mut request = request("ghcr.io/acme/worker", "linux/arm64");
    request.run = run;
    let mut job = our_job(&[("Failed", reason)]);
    let named = crate::smoke::job::job(&set(), &request, &[]);
    (job.metadata.name, job.metadata.annotations) = (named.metadata.name, named.metadata.annotations);
    let status = job.status.as_mut().unwrap();
    status.failed = Some(failed);
    let ended_at = serde_json::from_value(json!("2026-01-02T03:05:00Z")).unwrap();
    status.conditions.as_mut().unwrap()[0].last_transition_time = Some(ended_at);
    match read(&job, pods).unwrap().view {
        SmokeView::NoVerdict { again, .. } => again,
        other => panic!("{other:?} is a verdict"),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "compared with a field that is optional")]
fn again(at: &str, number: u32, pods_left: u32, attempts_left: u32) -> Option<SmokeAgain> {
    let run = SmokeRun { retry: 0, number, pods_left, attempts_left };
    Some(SmokeAgain { at: at.parse().unwrap(), run })
}

#[test]
fn pods_of_all_runs_together_are_bounded() {
    let first = SmokeRun { retry: 0, number: 1, pods_left: 5, attempts_left: 2 };
    let target = json!([{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]);
    let evicted = with(
        pod("tg-b", "2026-01-02T03:01:00Z", &ended("Failed", 143, "Error")),
        "/status",
        "conditions",
        target,
    );
    let failed = pod("tg-a", "2026-01-02T03:00:01Z", &ended("Failed", 3, "Error"));
    // At once: the node that takes the next pod is another one.
    let at = "2026-01-02T03:05:00Z";
    assert_eq!(lost(first, "PodFailurePolicy", 1, std::slice::from_ref(&evicted)), again(at, 2, 4, 2));
    assert_eq!(lost(first, "PodFailurePolicy", 2, &[failed, evicted.clone()]), again(at, 2, 3, 1));
    // A drained pod is gone; the Job has counted it.
    assert_eq!(lost(first, "PodFailurePolicy", 1, &[]), again(at, 2, 4, 2));
    let last = SmokeRun { number: 5, pods_left: 1, ..first };
    assert_eq!(lost(last, "PodFailurePolicy", 1, &[evicted]), None);
}

#[test]
fn what_never_started_is_run_again_ever_more_seldom_and_costs_no_pod() {
    let image = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
    let idle = [pod("tg-a", "2026-01-02T03:00:01Z", &image)];
    for (number, at) in [(1, "03:06"), (2, "03:07"), (3, "03:09"), (4, "03:13"), (5, "03:20"), (90, "03:20")]
    {
        let run = SmokeRun { retry: 0, number, pods_left: 5, attempts_left: 2 };
        let at = format!("2026-01-02T{at}:00Z");
        assert_eq!(lost(run, "BackoffLimitExceeded", 1, &idle), again(&at, number + 1, 5, 2), "{number}");
        // No node within the Job's own deadline, which took the pod away.
        assert_eq!(lost(run, "DeadlineExceeded", 1, &[]), again(&at, number + 1, 5, 2), "{number}");
    }
}

#[test]
fn a_rewritten_pod_is_run_again_once() {
    let other = [pod("tg-1", "2026-01-02T03:00:01Z", &json!({"phase": "Running"}))];
    let other = other.map(|pod| with(pod, "/spec/containers/0", "image", json!("mirror/worker:latest")));
    let run = |number| SmokeRun { retry: 0, number, pods_left: 5, attempts_left: 2 };
    assert!(lost(run(1), "PodFailurePolicy", 1, &other).is_some());
    assert_eq!(lost(run(2), "PodFailurePolicy", 1, &other), None);
}

/// Our Job of a service that must stay up for 20 s.
fn service(conditions: &[(&str, &str)]) -> Job {
    let mut job = our_job(conditions);
    let annotations = job.metadata.annotations.as_mut().unwrap();
    annotations.insert(crate::smoke::identity::STAYS_UP_ANNOTATION.to_owned(), "20".to_owned());
    job
}

fn up_since(started_at: &str, ready: &str) -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [{
            "name": "smoke", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": started_at}},
        }],
    })
}

#[test]
fn a_service_passes_when_it_has_stayed_up() {
    let made = "2026-01-02T03:09:00Z";
    let up = |started_at: &str, ready: &str| vec![pod("tg-1", made, &up_since(started_at, ready))];
    let passed = "Verdict: Passed 0 at 2026-01-02T03:09:30Z: passed";
    assert_eq!(line(&service(&[]), &up("2026-01-02T03:09:10Z", "True")), passed);
    let until = "NotOver: runs until 2026-01-02T03:10:05Z";
    assert_eq!(line(&service(&[]), &up("2026-01-02T03:09:45Z", "True")), until);
    assert_eq!(line(&service(&[]), &up("2026-01-02T03:09:10Z", "False")), "NotOver: runs", "not Ready");
    // A node whose clock is an hour behind.
    let behind = vec![pod("tg-1", "2026-01-02T03:09:50Z", &up_since("2026-01-02T02:09:50Z", "True"))];
    assert_eq!(line(&service(&[]), &behind), "NotOver: runs until 2026-01-02T03:10:10Z");
    // A test that must exit does not pass by running.
    assert_eq!(line(&our_job(&[]), &up("2026-01-02T03:00:10Z", "True")), "NotOver: runs");
}

#[test]
fn a_service_that_ends_has_failed() {
    let over = service(&[("Failed", "BackoffLimitExceeded")]);
    let said = "Verdict: Failed 3 at 2026-01-02T03:00:09Z: exited with code 3, and must stay up for 20s";
    assert_eq!(line(&over, &one(&ended("Failed", 3, "Error"))), said);
    let complete = service(&[("Complete", "CompletionsReached")]);
    let said = "Verdict: Failed 0 at 2026-01-02T03:00:09Z: exited with code 0, and must stay up for 20s";
    assert_eq!(line(&complete, &one(&ended("Succeeded", 0, "Completed"))), said);
    let late = with(ended("Failed", 0, "Completed"), "", "reason", json!("DeadlineExceeded"));
    let said = "Verdict: TimedOut - at 2026-01-02T03:00:09Z: was not Ready for 20s within 5m";
    assert_eq!(line(&over, &one(&late)), said);
}
