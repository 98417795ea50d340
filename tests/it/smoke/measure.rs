//! What a smoke gate costs, measured: `make bench-smoke`. Both ends of each span are changes that the API server tells a
//! watch of ours, by one clock.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use tidegate::telemetry::clock::Clock;

use super::SUITE;
use super::gates::gate;
use super::world::{SET, World};
use crate::cluster::node::NodeCluster;
use crate::cluster::page;
use crate::cluster::probe::ProbeImage;

/// What people type, and the mark of its numbers in the page.
const COMMAND: &str = "bench-smoke";
/// Releases whose way from the pod's end to the commit is measured (issue "Smoke gate on a real node").
const RUNS: usize = 50;
/// What 99 of 100 of them must stay below (design §9 G2).
const COMMIT_WITHIN: SignedDuration = SignedDuration::from_secs(1);
/// How long the test of the worker takes on the timeline, and how long app is built after worker was pushed.
const TEST_SECS: u64 = 60;
/// See [`TEST_SECS`].
const APP_AFTER: Duration = Duration::from_secs(75);

#[tokio::test]
#[ignore = "a measurement of minutes: make bench-smoke"]
async fn what_a_smoke_gate_costs() {
    let Some(cluster) = NodeCluster::shared(SUITE).await else { return };
    let spans = from_the_pods_end_to_the_commit(cluster).await;
    let (eager, complete) = from_apps_push_to_the_promotion(cluster).await;
    let at = |percent: usize| spans[(spans.len() * percent).div_ceil(100) - 1].as_secs_f64();
    let saved = complete - eager;
    let numbers = format!(
        "{}\n\
         | span | p50 | p90 | p99 | max | goal |\n\
         | --- | ---: | ---: | ---: | ---: | --- |\n\
         | pod finished → commit, {RUNS} releases, seconds | {:.3} | {:.3} | {:.3} | {:.3} | p99 ≤ 1 s |\n\n\
         | app's push → promotion, seconds | `when: ImagePresent` | `when: Complete` | saved |\n\
         | --- | ---: | ---: | ---: |\n\
         | a test of {TEST_SECS} s; app is pushed {} s after worker | {:.1} | {:.1} | {:.1} ({:.1} min) |\n",
        page::machine(COMMAND, ""),
        at(50),
        at(90),
        at(99),
        at(100),
        APP_AFTER.as_secs(),
        eager.as_secs_f64(),
        complete.as_secs_f64(),
        saved.as_secs_f64(),
        saved.as_secs_f64() / 60.0,
    );
    page::write(COMMAND, &numbers);
    assert!(at(99) <= COMMIT_WITHIN.as_secs_f64(), "{spans:?}");
    assert!(saved >= SignedDuration::from_secs(TEST_SECS.cast_signed() / 2), "{saved}");
}

/// One release after the other, both images new each time. Sorted.
async fn from_the_pods_end_to_the_commit(cluster: &NodeCluster) -> Vec<SignedDuration> {
    let world = World::start(cluster).await;
    world.create(json!([gate(&json!({}))])).await;
    let mut spans = Vec::new();
    for number in 1..=RUNS {
        let tag = format!("main-{number}");
        let version = number.to_string();
        let image = ProbeImage::new("exit 0").label("version", &version);
        world.push("app", &tag, &image).await;
        let tested = world.push("worker", &tag, &image).await;
        world.patch(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": version}}})).await;
        let (ended, committed) =
            futures::join!(pod_ended(&world, &tested.child), committed(&world, SET, &tag));
        spans.push(committed.duration_since(ended));
    }
    spans.sort();
    spans
}

/// Two sets of the same images see the same pushes: worker first, app when its longer build is done. Eager, then
/// `when: Complete`.
async fn from_apps_push_to_the_promotion(cluster: &NodeCluster) -> (SignedDuration, SignedDuration) {
    let world = World::start(cluster).await;
    for (name, when) in [("eager", "ImagePresent"), ("complete", "Complete")] {
        let mut spec = world.spec(&["app", "worker"]);
        spec["gates"] = json!([gate(&json!({"when": when, "timeout": "3m"}))]);
        spec["targets"] = json!([{"name": "config", "configMap": {"name": name}}]);
        world.create_set(name, &spec).await;
    }
    world.push("worker", "main-1", &ProbeImage::new(&format!("sleep {TEST_SECS}s exit 0"))).await;
    // The timeline of a build, not a wait for anything.
    tokio::time::sleep(APP_AFTER).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let pushed = Clock::system().now();
    let (eager, complete) =
        futures::join!(committed(&world, "eager", "main-1"), committed(&world, "complete", "main-1"));
    (eager.duration_since(pushed), complete.duration_since(pushed))
}

/// When the API server told that the container of the pod on `digest` had ended.
async fn pod_ended(world: &World, digest: &str) -> Timestamp {
    let clock = Clock::system();
    let has_ended = |pod: &Pod| {
        let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.as_deref());
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        image.is_some_and(|image| image.ends_with(digest)) && phase == Some("Succeeded")
    };
    let mut events = pin!(watcher(world.api::<Pod>(), watcher::Config::default()));
    loop {
        let event = events.next().await.expect("a watch goes on").expect("the server answers");
        let at = clock.now();
        match event {
            Event::InitApply(pod) => assert!(!has_ended(&pod), "it had ended before anybody watched"),
            Event::Apply(pod) if has_ended(&pod) => return at,
            Event::Apply(_) | Event::Delete(_) | Event::Init | Event::InitDone => {}
        }
    }
}

/// When the API server told that the tag was promoted.
async fn committed(world: &World, set: &str, tag: &str) -> Timestamp {
    let clock = Clock::system();
    world
        .until_set(set, &format!("{tag} is promoted"), |status| {
            status.promoted.as_ref().filter(|promoted| promoted.tag == tag).map(|_| clock.now())
        })
        .await
}
