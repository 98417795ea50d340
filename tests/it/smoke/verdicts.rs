//! What a test says of its image: it passes, or how it fails.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::gates::gate;
use super::world::World;
use super::{Case, cases, play};
use crate::cluster::node::NodeCluster;
use crate::cluster::probe::ProbeImage;

#[tokio::test]
async fn a_verdict_is_what_the_container_did() {
    const CASES: [Case; 6] = cases![passes, exits_3, hangs, eats_memory, sees_only_itself, a_sibling_differs];
    play(&CASES).await;
}

/// Also: the namespace takes restricted pods only, the Job goes once its verdict is kept, and the same digest under
/// another tag is not tested again.
async fn passes(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    let namespace = Api::<Namespace>::all(world.client.clone()).get(&world.namespace).await.unwrap();
    let labels = namespace.metadata.labels.unwrap_or_default();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let free =
        json!({"metadata": {"name": "free"}, "spec": {"containers": [{"name": "free", "image": "free"}]}});
    let free = serde_json::from_value(free).unwrap();
    let refusal = world.api::<Pod>().create(&PostParams::default(), &free).await.unwrap_err().to_string();
    assert!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
    let worker = ProbeImage::new("env exit 0");
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &worker).await;
    world.create(json!([gate(&json!({}))])).await;
    let verdict = world.verdict(&tested.child, "Passed").await;
    assert_eq!(verdict.exit_code, Some(0));
    world.promoted("main-1").await;
    world.jobs_gone().await;

    world.push("app", "main-2", &ProbeImage::new("print 1 1")).await;
    let again = world.push("worker", "main-2", &worker).await;
    assert_eq!(again.child, tested.child);
    let status = world.promoted("main-2").await;
    assert_eq!(status.verdicts.len(), 1, "{:?}", status.verdicts);
    assert_eq!((world.seen.jobs().len(), world.seen.pods()), (1, 1), "the digest is tested once");
}

async fn exits_3(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("print 30 80 exit 3")).await;
    world.create(json!([gate(&json!({"attempts": 2}))])).await;
    let verdict = world.verdict(&tested.child, "Failed").await;
    assert_eq!((verdict.exit_code, verdict.message.as_deref()), (Some(3), Some("exited with code 3")));
    assert_eq!(world.seen.pods(), 2, "it was tried twice");
    let logs = world.status().await.failure_logs;
    assert_eq!((logs.len(), logs[0].gate.as_str()), (1, "boots"));
    let lines: Vec<&str> = logs[0].log.lines().collect();
    assert_eq!(lines.len(), 20, "{lines:?}");
    assert!(lines[0].starts_with("line 11 ") && lines[19].starts_with("line 30 "), "{lines:?}");
    world.jobs_gone().await;
    world.assert_only_promoted(None).await;
}

/// Also: of lines that are too long to be kept, the last 4 KiB are.
async fn hangs(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("print 30 500 hang")).await;
    world.create(json!([gate(&json!({"timeout": "12s"}))])).await;
    let verdict = world.verdict(&tested.child, "TimedOut").await;
    assert_eq!((verdict.exit_code, verdict.message.as_deref()), (None, Some("timed out after 12s")));
    let log = &world.status().await.failure_logs[0].log;
    assert!((3_500..=4_096).contains(&log.len()), "{} bytes", log.len());
    assert!(log.lines().last().unwrap().starts_with("line 30 "), "{log}");
    world.assert_only_promoted(None).await;
}

async fn eats_memory(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("eat")).await;
    world.create(json!([gate(&json!({}))])).await;
    let verdict = world.verdict(&tested.child, "OOMKilled").await;
    assert_eq!(verdict.exit_code, Some(137));
    assert!(verdict.message.as_deref().unwrap().contains("its limit of 64Mi"), "{verdict:?}");
    world.assert_only_promoted(None).await;
}

/// An eager test sees its own image and nothing of its siblings, whose builds may go on.
async fn sees_only_itself(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("env exit 3")).await;
    world.create(json!([gate(&json!({"env": [{"name": "LEVEL", "value": "debug"}]}))])).await;
    world.verdict(&tested.child, "Failed").await;
    let log = &world.status().await.failure_logs[0].log;
    let ours: Vec<&str> =
        log.lines().filter(|line| line.starts_with("TIDEGATE_") || line.starts_with("LEVEL")).collect();
    let image = format!("TIDEGATE_IMAGE={}@{}", world.repository("worker"), tested.child);
    assert_eq!(ours, ["LEVEL=debug", &image, "TIDEGATE_PLATFORM=linux/amd64"]);
}

/// The worker starts beside one version of app only. Its own digest stays, so that an eager verdict would be kept.
async fn a_sibling_differs(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    let app = world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let worker = ProbeImage::new(&format!("env siblings APP={}", app.index));
    let tested = world.push("worker", "main-1", &worker).await;
    world.create(json!([gate(&json!({"when": "Complete"}))])).await;
    world.verdict(&tested.child, "Passed").await;
    world.promoted("main-1").await;

    world.push("app", "main-2", &ProbeImage::new("print 1 1")).await;
    assert_eq!(world.push("worker", "main-2", &worker).await.child, tested.child);
    let failed = |status: &tidegate::api::ReleaseSetStatus| {
        status.verdicts.iter().find(|verdict| verdict.outcome == "Failed").cloned()
    };
    let verdict = world.until("the mixed pair fails", failed).await;
    assert_eq!(verdict.exit_code, Some(1));
    let log = &world.status().await.failure_logs[0].log;
    assert!(log.contains("probe: cannot work with APP "), "{log}");
    world.assert_only_promoted(Some("main-1")).await;

    // The same worker beside the app that it fits, under a newer tag: another binding, which passes.
    world.push("app", "main-3", &ProbeImage::new("exit 0")).await;
    world.push("worker", "main-3", &worker).await;
    world.promoted("main-3").await;
}
