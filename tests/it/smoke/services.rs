//! Services: what must stay up, and be Ready.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::gates::gate;
use super::world::World;
use super::{Case, cases, play};
use crate::cluster::node::NodeCluster;
use crate::cluster::probe::ProbeImage;

#[tokio::test]
async fn a_service_stays_up_and_is_ready() {
    const CASES: [Case; 4] = cases![dies_after_5_s, stays, stays_without_a_probe, sickens];
    play(&CASES).await;
}

fn service(fields: &Value) -> Value {
    let mut gate = gate(&json!({"expect": "StaysUp", "for": "8s"}));
    for (key, value) in fields.as_object().expect("fields are an object") {
        gate["smoke"][key] = value.clone();
    }
    gate
}

/// It ends well, which is as wrong for a service as any other end.
async fn dies_after_5_s(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("serve 8080 sleep 5s exit 0")).await;
    world.create(json!([service(&json!({"httpGet": {"port": 8080, "path": "/healthz"}}))])).await;
    let verdict = world.verdict(&tested.child, "Failed").await;
    assert_eq!(verdict.message.as_deref(), Some("exited with code 0, and must stay up for 8s"));
    world.assert_only_promoted(None).await;
}

async fn stays(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("trap serve 8080 hang")).await;
    world.create(json!([service(&json!({"httpGet": {"port": 8080, "path": "/healthz"}}))])).await;
    world.verdict(&tested.child, "Passed").await;
    world.promoted("main-1").await;
    world.jobs_gone().await;
    world
        .poll("its pod is gone", async || {
            world.api::<Pod>().list(&ListParams::default()).await.unwrap().items.is_empty().then_some(())
        })
        .await;
    assert_eq!(world.seen.pods(), 1);
}

async fn stays_without_a_probe(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    world.push("worker", "main-1", &ProbeImage::new("hang")).await;
    world.create(json!([service(&json!({"for": "3s"}))])).await;
    world.promoted("main-1").await;
}

/// It answers well at first, and says that it is not well by the time it must.
async fn sickens(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("serve 8080 sleep 3s sicken hang")).await;
    let fields = json!({"timeout": "18s", "httpGet": {"port": 8080, "path": "/healthz"}});
    world.create(json!([service(&fields)])).await;
    let verdict = world.verdict(&tested.child, "TimedOut").await;
    assert_eq!(verdict.message.as_deref(), Some("was not Ready for 8s within 18s"));
    world.assert_only_promoted(None).await;
}
