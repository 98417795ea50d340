//! What keeps a test from running is named, and is no verdict.

use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use tidegate::telemetry::clock::Clock;

use super::gates::{gate, gate_saying, reason};
use super::world::World;
use super::{Case, cases, play};
use crate::cluster::node::NodeCluster;
use crate::cluster::probe::ProbeImage;

/// How soon it is said that no node has the platform (issue "Smoke gate on a real node").
const NO_NODE_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn sequence_15_what_did_not_run_is_no_verdict() {
    const CASES: [Case; 4] = cases![image_deleted, no_node, runs_as_root, quota_forbids];
    play(&CASES).await;
}

/// A quota that allows no pod, made before the set.
async fn forbid_pods(world: &World) {
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quotas = world.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // Until it is counted, it refuses with other words.
    world
        .poll("the quota counts", async || {
            let quota = quotas.get("none").await.unwrap();
            quota.status.and_then(|status| status.used).filter(|used| !used.is_empty()).map(|_| ())
        })
        .await;
}

async fn allow_pods(world: &World) {
    world.api::<ResourceQuota>().delete("none", &DeleteParams::default()).await.unwrap();
}

async fn quota_forbids(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    forbid_pods(&world).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    world.push("worker", "main-1", &ProbeImage::new("exit 0")).await;
    world.create(json!([gate(&json!({}))])).await;
    let said = world.gate("QuotaDenied", "exceeded quota: none").await;
    assert_eq!(said.state, "Pending");
    let status = world.status().await;
    assert!(status.verdicts.is_empty() && world.seen.pods() == 0, "{status:?}");
    allow_pods(&world).await;
    world.promoted("main-1").await;
    assert_eq!(world.seen.jobs().len(), 1, "the Job goes on by itself");
}

/// The quota holds the pod back until the image is gone.
async fn image_deleted(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    forbid_pods(&world).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let worker = ProbeImage::new("exit 0");
    let tested = world.push("worker", "main-1", &worker).await;
    world.create(json!([gate(&json!({}))])).await;
    world.gate("QuotaDenied", "exceeded quota").await;
    world.unpush("worker", &tested.child).await;
    allow_pods(&world).await;
    let said = world.gate("ImagePull", &tested.child).await;
    assert_eq!(said.state, "Pending");
    assert!(world.status().await.verdicts.is_empty());
    // Pushed again it is the same image, and its pod goes on.
    world.push("worker", "main-1", &worker).await;
    world.verdict(&tested.child, "Passed").await;
    world.promoted("main-1").await;
    assert_eq!(world.seen.pods(), 1);
}

async fn no_node(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    let platforms = ["linux/amd64", "linux/arm64"];
    world.push_for(&platforms, "app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push_for(&platforms, "worker", "main-1", &ProbeImage::new("exit 0")).await;
    let mut spec = world.spec(&["app", "worker"]);
    spec["platforms"] = json!(platforms);
    spec["deadline"] = json!("1m");
    spec["gates"] = json!([gate(&json!({}))]);
    let clock = Clock::system();
    let begun = clock.now();
    world.create_set(super::world::SET, &spec).await;
    let said = world.gate("Unschedulable", "no node for linux/arm64").await;
    let took = clock.now().duration_since(begun);
    assert!(took <= NO_NODE_WITHIN.try_into().unwrap(), "said after {took}");
    assert!(said.message.unwrap().contains("on linux/arm64"));
    world.verdict(&tested.child, "Passed").await;
    // The pod that waits is what brings a node up: it is there.
    let pods = world.api::<k8s_openapi::api::core::v1::Pod>().list(&ListParams::default()).await.unwrap();
    let pending = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Pending"))
    };
    assert!(pods.items.iter().any(pending), "{:?}", pods.items);
    let late = world
        .until("the gate is overdue", |status| {
            (reason(status, "SmokePassed").as_deref() == Some("GateOverdue")).then(|| status.clone())
        })
        .await;
    assert!(gate_saying(&late, "Unschedulable", "no node for linux/arm64").is_some(), "{late:?}");
    assert_eq!(late.verdicts.len(), 1, "of linux/amd64 alone: {:?}", late.verdicts);
    world.assert_only_promoted(None).await;
}

async fn runs_as_root(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("user exit 0").user("")).await;
    world.create(json!([gate(&json!({}))])).await;
    world.gate("ConfigRefused", "set `runAsUser` in the gate").await;
    assert!(world.status().await.verdicts.is_empty());
    world.patch(json!({"spec": {"gates": [gate(&json!({"runAsUser": 65532}))]}})).await;
    world.verdict(&tested.child, "Passed").await;
    world.promoted("main-1").await;
}
