//! Whose Job it is, how many there are, and what a verdict is bound to.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate::api::{ReleaseSetSpec, validate};
use tidegate::engine::policy::GateKind;
use tidegate::model::smoke::SmokeRun;
use tidegate::model::{Binding, Platform, Repository};
use tidegate::smoke::identity::Identity;

use super::gates::{gate, gate_named, verdict_on};
use super::world::{Pushed, SET, World};
use super::{Case, cases, play};
use crate::cluster::node::NodeCluster;
use crate::cluster::probe::ProbeImage;

#[tokio::test]
async fn a_verdict_comes_from_our_job_and_counts_for_its_digest() {
    const CASES: [Case; 7] = cases![
        controller_killed,
        pushed_again,
        foreign_job,
        forged_job,
        edited_status,
        run_again_by_hand,
        at_most_four,
    ];
    play(&CASES).await;
}

async fn controller_killed(cluster: &NodeCluster) {
    let mut world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("sleep 8s exit 0")).await;
    world.create(json!([gate(&json!({}))])).await;
    world.running_pod(&[]).await;
    world.kill_controller();
    world.start_controller().await;
    world.verdict(&tested.child, "Passed").await;
    let status = world.promoted("main-1").await;
    assert_eq!(status.verdicts.len(), 1, "{:?}", status.verdicts);
    world.jobs_gone().await;
    assert_eq!((world.seen.jobs().len(), world.seen.pods()), (1, 1), "the same Job was read to its end");
}

/// What is tested when the tag is moved ends well; what the tag names then does not.
async fn pushed_again(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let first = world.push("worker", "main-1", &ProbeImage::new("sleep 8s exit 0")).await;
    world.create(json!([gate(&json!({}))])).await;
    world.running_pod(&[]).await;
    let second = world.push("worker", "main-1", &ProbeImage::new("exit 3")).await;
    world.patch(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "1"}}})).await;
    world.verdict(&second.child, "Failed").await;
    let status = world
        .until("the first is judged too", |status| {
            verdict_on(status, &first.child).map(|verdict| (verdict.outcome, status.clone()))
        })
        .await;
    assert_eq!(status.0, "Passed", "a running test is finished");
    world.assert_only_promoted(None).await;

    // Back to what passed: its verdict still counts, and nothing is tested again.
    world.push("worker", "main-1", &ProbeImage::new("sleep 8s exit 0")).await;
    world.push("app", "main-2", &ProbeImage::new("exit 0")).await;
    world.push("worker", "main-2", &ProbeImage::new("sleep 8s exit 0")).await;
    world.promoted("main-2").await;
    assert_eq!(world.seen.jobs().len(), 2);
}

/// The Job that the controller will make for the first run of gate `boots` on `worker`.
struct Awaited {
    uid: String,
    identity: Identity,
    image: String,
}

impl Awaited {
    /// Makes the set, while no controller runs.
    async fn of(world: &World, worker: &Pushed) -> Self {
        let mut spec = world.spec(&["app", "worker"]);
        spec["gates"] = json!([gate(&json!({}))]);
        let made = world.create_set(SET, &spec).await;
        let parsed: ReleaseSetSpec = serde_json::from_value(spec).unwrap();
        let policy = validate::policy(&parsed, 1).unwrap();
        let GateKind::Smoke(smoke) = &policy.gates[0].kind else { panic!("it is a smoke gate") };
        let repository: Repository = world.repository("worker").parse().unwrap();
        let platform: Platform = "linux/amd64".parse().unwrap();
        let digest = worker.child.parse().unwrap();
        let image = format!("{repository}@{digest}");
        let identity = Identity {
            gate: "boots".into(),
            platform: platform.to_string(),
            binding: Binding::of_image(&repository, &platform, &digest, &smoke.hash),
            image: image.clone(),
            run: SmokeRun { retry: 0, number: 1, pods_left: 4, attempts_left: 1 },
            stays_up: None,
        };
        Self { uid: made.uid().unwrap(), identity, image }
    }

    fn name(&self) -> String {
        self.identity.job_name(&self.uid)
    }

    /// A Job of that name that runs another image, as somebody else would make it.
    async fn take(&self, world: &World, image: &str, owners: Value) {
        let annotations = self.identity.annotations();
        let labels = json!({"tidegate.dev/set": SET, "tidegate.dev/gate": "boots"});
        let job = json!({
            "metadata": {"name": self.name(), "labels": labels, "annotations": annotations, "ownerReferences": owners},
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": {
                "restartPolicy": "Never",
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "smoke", "image": image, "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            }}},
        });
        let jobs = world.api::<Job>();
        jobs.create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
        world
            .poll("the Job is Complete", async || {
                let job = jobs.get(&self.name()).await.unwrap();
                job.status.and_then(|status| status.succeeded).filter(|&count| count == 1)
            })
            .await;
    }
}

/// Somebody else's Job of the name, which passes. The image itself fails.
async fn foreign_job(cluster: &NodeCluster) {
    let mut world = World::prepare(cluster).await;
    let app = world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("exit 3")).await;
    let awaited = Awaited::of(&world, &tested).await;
    let passing = format!("{}@{}", world.repository("app"), app.child);
    awaited.take(&world, &passing, json!([])).await;
    world.start_controller().await;
    let said =
        world.gate("Unreadable", "a Job of that name exists and was not made for this ReleaseSet").await;
    assert!(said.message.unwrap().contains(&format!("delete job {}", awaited.name())));
    assert!(world.status().await.verdicts.is_empty());
    world.api::<Job>().delete(&awaited.name(), &DeleteParams::background()).await.unwrap();
    world.verdict(&tested.child, "Failed").await;
    world.assert_only_promoted(None).await;
}

/// A Job that says everything that ours would, owner included, and runs another image.
async fn forged_job(cluster: &NodeCluster) {
    let mut world = World::prepare(cluster).await;
    let app = world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("exit 3")).await;
    let awaited = Awaited::of(&world, &tested).await;
    let owner = json!([{"apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "name": SET,
        "uid": awaited.uid, "controller": true}]);
    let passing = format!("{}@{}", world.repository("app"), app.child);
    awaited.take(&world, &passing, owner).await;
    world.start_controller().await;
    let said = world.gate("ImageRewritten", &format!("instead of {}", awaited.image)).await;
    assert_eq!(said.state, "Pending");
    assert!(world.status().await.verdicts.is_empty());
    world.assert_only_promoted(None).await;
}

/// The Job's own status is no evidence, whoever wrote it.
async fn edited_status(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("sleep 20s exit 3")).await;
    world.create(json!([gate(&json!({}))])).await;
    let pod = world.running_pod(&[]).await;
    let name = pod.labels()["batch.kubernetes.io/job-name"].clone();
    let job = world.api::<Job>().get(&name).await.unwrap();
    let now = tidegate::telemetry::clock::Clock::system().now().round(jiff::Unit::Second).unwrap();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "CompletionsReached", "lastTransitionTime": now});
    let status = json!({"status": {
        "succeeded": 1, "active": 0, "ready": 0, "terminating": 0, "uncountedTerminatedPods": null,
        "completionTime": job.status.unwrap().start_time,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    let patch = Patch::Merge(status);
    world.api::<Job>().patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    world.running_pod(&[pod.uid().unwrap()]).await;
    assert!(world.status().await.verdicts.is_empty(), "Complete is no verdict");
    world.verdict(&tested.child, "Failed").await;
    world.assert_only_promoted(None).await;
}

async fn run_again_by_hand(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    let tested = world.push("worker", "main-1", &ProbeImage::new("exit 3")).await;
    world.create(json!([gate(&json!({}))])).await;
    let first = world.verdict(&tested.child, "Failed").await;
    world.jobs_gone().await;
    assert_eq!((first.retry, world.seen.jobs().len()), (0, 1), "failed for good");
    world.patch(json!({"metadata": {"annotations": {"retry.tidegate.dev/boots": "1"}}})).await;
    let again = world
        .until("it is judged again", |status| {
            verdict_on(status, &tested.child).filter(|verdict| verdict.retry == 1)
        })
        .await;
    assert_eq!((again.outcome.as_str(), again.exit_code), ("Failed", Some(3)));
    assert_eq!(world.status().await.verdicts.len(), 1, "it stands for the one before");
    assert_eq!(world.seen.jobs().len(), 2);
}

/// Seven tests of one candidate. Equal ones would be one: each has an environment of its own.
async fn at_most_four(cluster: &NodeCluster) {
    let world = World::start(cluster).await;
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    world.push("worker", "main-1", &ProbeImage::new("sleep 3s exit 0")).await;
    let gate = |number: u32| {
        let env = json!([{"name": "NUMBER", "value": number.to_string()}]);
        gate_named(&format!("gate-{number}"), &json!({"env": env}))
    };
    let gates: Vec<Value> = (1..=7).map(gate).collect();
    world.create(json!(gates)).await;
    let status = world.promoted("main-1").await;
    assert_eq!(status.verdicts.len(), 7);
    assert_eq!((world.seen.jobs().len(), world.seen.most_unfinished()), (7, 4));
}
