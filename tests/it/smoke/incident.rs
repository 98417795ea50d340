//! The incident that Tidegate was made for, with images that run: app is pushed first, and a worker that crashes on boot
//! is pushed after it.

use serde_json::json;

use super::gates::gate;
use super::world::{SET, World};
use super::{Case, cases, play};
use crate::cluster::node::NodeCluster;
use crate::cluster::probe::ProbeImage;

#[tokio::test]
async fn a_worker_that_crashes_on_boot_is_never_promoted() {
    const CASES: [Case; 1] = cases![half_rolled_release];
    play(&CASES).await;
}

async fn half_rolled_release(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    let mut spec = world.spec(&["app", "worker", "embeddings"]);
    spec["gates"] = json!([gate(&json!({"attempts": 2}))]);
    world.create_set(SET, &spec).await;
    let release = async |number: u32, worker: &str| {
        let tag = format!("main-{number}");
        let version = number.to_string();
        world.push("app", &tag, &ProbeImage::new("exit 0").label("version", &version)).await;
        world.push("embeddings", &tag, &ProbeImage::new("exit 0").label("version", &version)).await;
        world.push("worker", &tag, &ProbeImage::new(worker).label("version", &version)).await
    };
    release(1, "exit 0").await;
    world.promoted("main-1").await;

    let crashes = release(2, "print 3 40 crash").await;
    let verdict = world.verdict(&crashes.child, "Failed").await;
    assert_eq!(verdict.exit_code, Some(2));
    let log = &world.status().await.failure_logs[0].log;
    assert!(log.contains("panic: crashed as asked"), "{log}");
    world.assert_only_promoted(Some("main-1")).await;

    release(3, "exit 0").await;
    world.promoted("main-3").await;
    let status = world.status().await;
    let promoted: Vec<&str> = status.history.iter().map(|release| release.tag.as_str()).collect();
    assert_eq!(promoted, ["main-3", "main-1"]);
    assert_eq!(world.seen.pods(), 4, "one, two attempts, one");
}
