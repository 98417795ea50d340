//! Jobs, pods, their logs, Events, Secrets, ServiceAccounts and Leases, as far as the controller uses them.
//!
//! A real server fills Jobs and pods with dozens of defaults: compared is what the controller reads.

use serde_json::{Value, json};

use super::exchange::Exchange;

/// What `smoke` reads of a Job.
const JOB: [&str; 8] = [
    "/metadata/name",
    "/metadata/generation",
    "/metadata/resourceVersion",
    "/metadata/labels/tidegate.dev~1set",
    "/metadata/annotations",
    "/metadata/deletionTimestamp",
    "/spec/backoffLimit",
    "/status",
];
/// What it reads of a pod.
const POD: [&str; 10] = [
    "/metadata/name",
    "/metadata/resourceVersion",
    "/metadata/labels",
    "/metadata/ownerReferences",
    "/metadata/deletionTimestamp",
    "/spec/containers/0/image",
    "/spec/containers/0/name",
    "/status/phase",
    "/status/containerStatuses",
    "/status/reason",
];

fn job(name: &str) -> Value {
    let container = json!({"name": "smoke", "image": "ghcr.io/acme/app@sha256:00", "command": ["/app"]});
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "labels": {"tidegate.dev/set": "acme"}, "annotations": {"tidegate.dev/binding": "b"}},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"tidegate.dev/set": "acme"}},
            "spec": {"restartPolicy": "Never", "containers": [container]}}},
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"tidegate.dev/set": "acme"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "smoke", "uid": "{{made/metadata/uid}}",
                "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "smoke", "image": "ghcr.io/acme/app@sha256:00"}]},
    })
}

pub fn smoke(namespace: &str) -> Vec<Exchange> {
    let jobs = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let selector = "labelSelector=tidegate.dev%2Fset%3Dacme";
    let terminated = json!({"phase": "Succeeded", "containerStatuses": [{"name": "smoke", "image": "x", "imageID": "y",
        "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]});
    let background =
        json!({"propagationPolicy": "Background", "preconditions": {"uid": "{{made/metadata/uid}}"}});
    vec![
        Exchange::post("made", &jobs, job("smoke")).only(&JOB),
        Exchange::post("made again", &jobs, job("smoke")),
        Exchange::get("read", format!("{jobs}/smoke")).only(&JOB),
        Exchange::get("jobs watched", format!("{jobs}?watch=true&{selector}&timeoutSeconds=2&resourceVersion=0")).metadata_of("object")
            .but("/body/*/object/metadata/labels", "a real server adds the labels of its selector")
            .but("/body/*/object/metadata/annotations", "a real server adds the Job's own"),
        Exchange::get("none", format!("{jobs}/absent")),
        Exchange::get("listed", format!("{jobs}?{selector}&limit=100")).only(&["/kind", "/metadata", "/items/0/metadata/name", "/items/1"]),
        Exchange::get("metadata listed", format!("{jobs}?{selector}&limit=500")).metadata_of("list")
            .but("/body/items/*/metadata/labels", "a real server adds the labels of its selector")
            .but("/body/items/*/metadata/annotations", "a real server adds the Job's own"),
        Exchange::post("pod", &pods, pod("smoke-1")).only(&POD),
        Exchange::get("pods listed", format!("{pods}?{selector}&limit=100")).only(&["/kind", "/metadata", "/items/0/metadata/name", "/items/1"]),
        Exchange::merge("pod ends", format!("{pods}/smoke-1/status"), json!({"status": terminated})).only(&POD)
            .but("/body/status/containerStatuses", "a real server adds defaults"),
        Exchange::get("pod ended", format!("{pods}/smoke-1")).only(&[
            "/status/phase", "/status/containerStatuses/0/name", "/status/containerStatuses/0/state/terminated/exitCode"]),
        Exchange::get("no pod's log", format!("{pods}/absent/log?container=smoke&tailLines=50&limitBytes=65536")),
        Exchange::merge("status on the main path", format!("{pods}/smoke-1"), json!({"status": {"phase": "Failed"}})).only(&POD)
            .but("/body/status/containerStatuses", "a real server adds defaults"),
        Exchange::get("metadata of pods, watched", format!(
            "{pods}?watch=true&{selector}&timeoutSeconds=2&resourceVersion={{{{pod/metadata/resourceVersion}}}}")).metadata_of("object")
            .but("/body/*/object/metadata/generation", "pods have a generation since 1.34, which nobody reads"),
        Exchange::delete("of another uid", format!("{jobs}/smoke"), json!({"propagationPolicy": "Background",
            "preconditions": {"uid": "00000000-0000-0000-0000-000000000001"}})),
        Exchange::delete("discarded", format!("{jobs}/smoke"), background.clone()),
        Exchange::delete("discarded already", format!("{jobs}/smoke"), background),
        Exchange::get("is gone", format!("{jobs}/smoke")),
        Exchange::post("made anew", &jobs, job("smoke")).only(&JOB),
    ]
}

pub fn leases_and_events(namespace: &str) -> Vec<Exchange> {
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let lease = |metadata: Value| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"}})
    };
    let dry = "?dryRun=All";
    let one = format!("{leases}/tidegate");
    let mut exchanges = vec![
        Exchange::get("absent", &one),
        Exchange::post("made dry", format!("{leases}{dry}"), lease(json!({"name": "tidegate"}))),
        Exchange::put(
            "renewed dry, absent and with a revision",
            format!("{one}{dry}"),
            lease(json!({"name": "tidegate", "resourceVersion": "1"})),
        )
        .but(
            "/body/metadata/resourceVersion",
            "a real server gives back what was sent, though nothing was made",
        ),
        Exchange::put("renewed dry and absent", format!("{one}{dry}"), lease(json!({"name": "tidegate"}))),
        Exchange::post("made", &leases, lease(json!({"name": "tidegate"}))),
        Exchange::post("made by another", &leases, lease(json!({"name": "tidegate"}))),
        Exchange::put_edited(
            "renewed",
            &one,
            "made",
            &[("/spec/renewTime", json!("2026-01-01T00:00:05.000001Z"))],
        ),
        Exchange::put_edited(
            "renewed from a stale read",
            &one,
            "made",
            &[("/spec/holderIdentity", json!("b"))],
        ),
        Exchange::put("without a revision", &one, lease(json!({"name": "tidegate"}))),
        Exchange::put_edited("given back", &one, "renewed", &[("/spec/holderIdentity", json!(""))]),
        Exchange::get("read", &one),
        Exchange::delete("gone", &one, Value::Null),
        Exchange::put_edited(
            "renewed when gone",
            &one,
            "given back",
            &[("/spec/holderIdentity", json!("b"))],
        ),
    ];
    exchanges.extend(events(namespace));
    exchanges
}

fn events(namespace: &str) -> Vec<Exchange> {
    let (new, old) = (
        format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"),
        format!("/api/v1/namespaces/{namespace}/events"),
    );
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"generateName": "acme-", "namespace": namespace},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Promoted", "action": "Reconcile",
        "note": "promoted main-1", "reportingController": "tidegate", "reportingInstance": "tidegate-0",
        "regarding": {"apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "name": "acme", "namespace": namespace, "uid": "u"},
    });
    let refused = |name: &str, uid: &str, reason: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name},
            "involvedObject": {"kind": "Job", "name": "smoke", "namespace": namespace, "uid": uid},
            "reason": reason, "message": "Error creating: pods is forbidden: exceeded quota: q", "type": "Warning",
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
        })
    };
    let read = [
        "/metadata/name",
        "/metadata/generateName",
        "/note",
        "/reason",
        "/type",
        "/regarding/name",
        "/series",
        "/eventTime",
        "/action",
    ];
    let fields = "fieldSelector=involvedObject.uid%3Djob-1%2Creason%3DFailedCreate&limit=10";
    vec![
        Exchange::post("an event", &new, event.clone()).only(&read),
        Exchange::merge(
            "its series",
            format!("{new}/{{{{an event/metadata/name}}}}"),
            json!({"series":
            {"count": 2, "lastObservedTime": "2026-01-01T00:00:05.000000Z"}}),
        )
        .only(&read),
        Exchange::merge("of an event that expired", format!("{new}/absent"), json!({"series": {"count": 2}})),
        Exchange::post("refused", &old, refused("smoke.1", "job-1", "FailedCreate")).only(&[
            "/metadata/name",
            "/message",
            "/reason",
            "/involvedObject/uid",
            "/lastTimestamp",
        ]),
        Exchange::post("other reason", &old, refused("smoke.2", "job-1", "SuccessfulCreate"))
            .only(&["/metadata/name"]),
        Exchange::post("other job", &old, refused("smoke.3", "job-2", "FailedCreate"))
            .only(&["/metadata/name"]),
        Exchange::get("why there is no pod", format!("{old}?{fields}")).only(&[
            "/kind",
            "/items/0/metadata/name",
            "/items/0/message",
            "/items/1",
        ]),
        Exchange::get("nothing of another", format!("{old}?fieldSelector=involvedObject.uid%3Djob-9")),
        Exchange::get("no such field", format!("{old}?fieldSelector=involvedObject.colour%3Dred"))
            .but_words("words of the parser"),
    ]
}
