//! What the Job controller and a node do of a smoke test that fails, by hand.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::flux::world::World;

fn jobs(world: &World) -> Api<Job> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

/// The only Job of the namespace, once it is there.
pub async fn job(world: &World) -> Job {
    world
        .wait("a smoke Job", async || {
            let found = jobs(world).list(&ListParams::default()).await.expect("the server answers").items;
            found.into_iter().next().ok_or_else(|| "there is none".to_owned())
        })
        .await
}

/// Takes the label off that the controller finds its Jobs by, or puts it back.
pub async fn label(world: &World, job: &Job, set: Option<&str>) {
    let patch = json!({"metadata": {"labels": {"tidegate.dev/set": set}}});
    let name = job.name_any();
    jobs(world).patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("it is accepted");
}

/// Its pod ran on no node and ended with code 3; the Job has failed.
pub async fn fail(world: &World, job: &Job) {
    let template = &job.spec.as_ref().expect("a Job has one").template;
    let template = serde_json::to_value(template).expect("it was JSON");
    let name = format!("{}-x", job.name_any());
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": job.name_any(), "uid": job.uid(), "controller": true});
    let pod = json!({
        "metadata": {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [owner]},
        "spec": template["spec"],
    });
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    let pod: Pod = serde_json::from_value(pod).expect("it is a pod");
    pods.create(&PostParams::default(), &pod).await.expect("it is accepted");
    let at = "2026-01-01T00:00:00Z";
    let ended = json!({"terminated": {"exitCode": 3, "reason": "Error", "startedAt": at, "finishedAt": at}});
    let container = |pod: &Value| {
        let container = &pod["spec"]["containers"][0];
        json!({"name": container["name"], "image": container["image"], "imageID": container["image"], "ready": false,
            "restartCount": 0, "state": ended})
    };
    let containers = [container(&serde_json::to_value(&pod).expect("it was JSON"))];
    let status = json!({"status": {"phase": "Failed", "startTime": at, "containerStatuses": containers}});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.expect("it is accepted");
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "", "lastTransitionTime": at,
            "lastProbeTime": at})
    };
    let conditions = [condition("FailureTarget"), condition("Failed")];
    let status = json!({"status": {"startTime": at, "failed": 1, "conditions": conditions}});
    let name = job.name_any();
    jobs(world)
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("it is accepted");
}
