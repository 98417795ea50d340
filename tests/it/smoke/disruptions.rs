//! Pods that were evicted, deleted or drained say nothing, however well they end: the images here end with 0 on SIGTERM,
//! which makes their Jobs Complete.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, EvictParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::gates::gate;
use super::world::World;
use super::{Case, SUITE, cases, is_chosen, play};
use crate::cluster::node::{NODE, NodeCluster};
use crate::cluster::probe::ProbeImage;

/// Runs 8 s, and ends well when it is told to end before.
const TRAPS: &str = "trap sleep 8s exit 0";

#[tokio::test]
async fn sequence_01_a_disrupted_pod_says_nothing() {
    const CASES: [Case; 6] =
        cases![deleted, deleted_unseen, deleted_and_slow, job_deleted, evicted, evicted_again_and_again];
    play(&CASES).await;
}

async fn started(cluster: &NodeCluster, worker: &str) -> (World, String) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new(worker)).await;
    world.create(json!([gate(&json!({}))])).await;
    (world, tested.child)
}

/// What the Job of each run says of itself: `retry number pods-left attempts-left`.
fn runs(world: &World) -> Vec<String> {
    let jobs = world.seen.jobs();
    let mut runs: Vec<String> =
        jobs.values().map(|job| job.annotations()["tidegate.dev/run"].clone()).collect();
    runs.sort();
    runs
}

/// The pod after a disrupted one was made by another run, and until it ended nothing had passed.
async fn passes_in_the_second_run(world: &World, disrupted: &Pod, digest: &str) {
    let second = world.running_pod(&[disrupted.uid().unwrap()]).await;
    assert_ne!(second.owner_references()[0].uid, disrupted.owner_references()[0].uid);
    assert!(world.status().await.verdicts.is_empty(), "the first pod ended with 0, and must not pass");
    let verdict = world.verdict(digest, "Passed").await;
    // The container that passed ended after the second pod was made.
    let made = second.creation_timestamp().unwrap().0;
    assert!(verdict.at.parse::<jiff::Timestamp>().unwrap() > made, "{verdict:?}");
    assert_eq!(runs(world), ["0 1 4 1", "0 2 3 1"], "the disrupted pod was counted");
    world.promoted("main-1").await;
    world.jobs_gone().await;
    assert_eq!(world.seen.pods(), 2);
}

async fn deleted(cluster: &NodeCluster) {
    let (world, digest) = started(cluster, TRAPS).await;
    let pod = world.running_pod(&[]).await;
    world.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
    passes_in_the_second_run(&world, &pod, &digest).await;
}

/// While nobody looks, the pod ends with 0 and goes, and what is left is a Job that is over.
async fn deleted_unseen(cluster: &NodeCluster) {
    let (mut world, digest) = started(cluster, TRAPS).await;
    let pod = world.running_pod(&[]).await;
    world.kill_controller();
    world.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
    let job = pod.labels()["batch.kubernetes.io/job-name"].clone();
    world
        .poll("the pod is gone and its Job over", async || {
            let pod = world.api::<Pod>().get_opt(&pod.name_any()).await.unwrap();
            let job = world.api::<Job>().get(&job).await.unwrap();
            let conditions = job.status.and_then(|status| status.conditions).unwrap_or_default();
            let over = conditions.iter().any(|one| matches!(one.type_.as_str(), "Complete" | "Failed"));
            (pod.is_none() && over).then_some(())
        })
        .await;
    world.start_controller().await;
    passes_in_the_second_run(&world, &pod, &digest).await;
}

/// A pod that does not go, as on a node that is gone, is said to be what the gate waits for.
async fn deleted_and_slow(cluster: &NodeCluster) {
    let (world, _) = started(cluster, "ignore hang").await;
    let pod = world.running_pod(&[]).await;
    world.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
    let said = world.gate("Evicted", "waits for its pod to end").await;
    assert_eq!(said.state, "Running");
    assert!(
        world.api::<Pod>().get_opt(&pod.name_any()).await.unwrap().is_some(),
        "it was said while it lasts"
    );
}

/// A lost Job is made anew: the same run.
async fn job_deleted(cluster: &NodeCluster) {
    let (world, digest) = started(cluster, TRAPS).await;
    let pod = world.running_pod(&[]).await;
    let job = pod.labels()["batch.kubernetes.io/job-name"].clone();
    world.api::<Job>().delete(&job, &DeleteParams::background()).await.unwrap();
    let second = world.running_pod(&[pod.uid().unwrap()]).await;
    assert!(world.status().await.verdicts.is_empty(), "the first pod ended with 0, and must not pass");
    assert_eq!(second.labels()["batch.kubernetes.io/job-name"], job);
    world.verdict(&digest, "Passed").await;
    world.promoted("main-1").await;
    assert_eq!((world.seen.jobs().len(), world.seen.pods()), (2, 2));
}

async fn evicted(cluster: &NodeCluster) {
    let (world, digest) = started(cluster, TRAPS).await;
    let pod = world.running_pod(&[]).await;
    world.api::<Pod>().evict(&pod.name_any(), &EvictParams::default()).await.unwrap();
    passes_in_the_second_run(&world, &pod, &digest).await;
}

/// attempts + 3 pods of one binding, and no more (L3).
async fn evicted_again_and_again(cluster: &NodeCluster) {
    let (world, _) = started(cluster, "trap hang").await;
    let mut known = Vec::new();
    for _ in 0..4 {
        let pod = world.running_pod(&known).await;
        world.api::<Pod>().evict(&pod.name_any(), &EvictParams::default()).await.unwrap();
        known.push(pod.uid().unwrap());
    }
    let said = world.gate("Evicted", "no pods are left to try").await;
    assert!(said.message.unwrap().contains("tidegate retry"));
    assert_eq!(runs(&world), ["0 1 4 1", "0 2 3 1", "0 3 2 1", "0 4 1 1"]);
    assert_eq!(world.seen.pods(), 4);
    assert!(world.status().await.verdicts.is_empty());
    world.assert_only_promoted(None).await;

    // A person may have it run again, and it may be evicted as often again.
    world.patch(json!({"metadata": {"annotations": {"retry.tidegate.dev/boots": "1"}}})).await;
    world.running_pod(&known).await;
    assert_eq!(runs(&world).last().map(String::as_str), Some("1 1 4 1"));
}

/// On a cluster of its own: the others' pods want the node.
#[tokio::test]
async fn sequence_01_a_drained_node_is_no_verdict() {
    if !is_chosen("drained") {
        return;
    }
    let Some(cluster) = NodeCluster::start_own(SUITE) else { return };
    let (world, digest) = started(&cluster, TRAPS).await;
    let pod = world.running_pod(&[]).await;
    let nodes = Api::<Node>::all(world.client.clone());
    nodes.cordon(NODE).await.unwrap();
    world.api::<Pod>().evict(&pod.name_any(), &EvictParams::default()).await.unwrap();
    world.gate("Unschedulable", "no node for linux/amd64").await;
    nodes.uncordon(NODE).await.unwrap();
    passes_in_the_second_run(&world, &pod, &digest).await;
}
