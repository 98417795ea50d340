//! Warn, then Audit, then Deny: what each says to a client and to the audit log, and that none refuses more than it says.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use serde_json::json;

use super::following::until;
use super::world::{World, deployment, install, opt_in, render};
use crate::cluster::control_plane::ControlPlane;

const SUITE: &str = "guard";
const APP: (&str, &str, &str) = ("app", "ghcr.io/acme/app", "{tag}");
const UNPROMOTED: &str = "ghcr.io/acme/app:v9";

#[tokio::test]
async fn warn_warns_audit_notes_and_deny_refuses() {
    let Some(world) = World::start(SUITE, json!({"mode": "Warn"})).await else { return };
    world.set("shop", &[APP], &["v1"]).await;
    world.sync().await;
    until("a warning", async || match answer(&world, UNPROMOTED).await {
        (201, words) if words.contains(UNPROMOTED) && words.contains("not promoted") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(answer(&world, "ghcr.io/acme/app:v1").await, (201, String::new()));
    // A person who writes a target is warned too, and not held.
    let target = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"tidegate.dev/set": "x"}}});
    assert_eq!(world.dry(&world.client, target.clone()).await.0, 201);

    mode(&world, "Audit").await;
    until("no warning", async || match answer(&world, UNPROMOTED).await {
        (201, words) if words.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let before = noted(&world);
    assert_eq!(answer(&world, UNPROMOTED).await, (201, String::new()));
    until("a note in the audit log", async || {
        if noted(&world) > before { Ok(()) } else { Err(format!("{before} notes")) }
    })
    .await;

    mode(&world, "Deny").await;
    world.until_refused(UNPROMOTED).await;
    assert_eq!(answer(&world, UNPROMOTED).await.0, 403);
    assert_eq!(answer(&world, "ghcr.io/acme/app:v1").await, (201, String::new()));
    until("targets to be held", async || match world.dry(&world.client, target.clone()).await.0 {
        403 => Ok(()),
        code => Err(code.to_string()),
    })
    .await;
}

fn noted(world: &World) -> usize {
    let notes = world.plane.noted(&world.namespace);
    notes.iter().filter(|note| note.contains(UNPROMOTED)).count()
}

/// Gives the bindings the actions of that mode, as an upgrade of the chart does.
async fn mode(world: &World, mode: &str) {
    let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client.clone());
    let all = render(SUITE, &json!({"guard": {"enabled": true, "mode": mode}})).unwrap();
    for binding in all.iter().filter(|one| one["kind"] == "ValidatingAdmissionPolicyBinding") {
        let name = format!("{}-{}", binding["metadata"]["name"].as_str().unwrap(), world.namespace);
        let patch = json!({"spec": {"validationActions": binding["spec"]["validationActions"]}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

/// The code and the warnings for a Deployment with this image.
async fn answer(world: &World, image: &str) -> (u16, String) {
    let uri = format!("/apis/apps/v1/namespaces/{}/deployments?dryRun=All", world.namespace);
    let request = http::Request::post(uri)
        .header("Content-Type", "application/json")
        .body(Body::from(deployment("probe", &[image]).to_string().into_bytes()))
        .unwrap();
    let reply = world.client.send(request).await.unwrap();
    let warnings = reply.headers().get_all("warning").iter().map(|value| value.to_str().unwrap());
    (reply.status().as_u16(), warnings.collect::<Vec<_>>().join(" "))
}

/// An API server that cannot read the list says 422 where a policy has `failurePolicy: Fail`, in the mode Warn too, and
/// kustomize-controller deletes upon it what has `force`. That happens while it starts and has not read all ConfigMaps in a second;
/// here it is a kind that it does not serve.
#[tokio::test]
async fn what_the_server_cannot_judge_is_never_refused_as_invalid() {
    let Some(plane) = ControlPlane::shared(SUITE).await else { return };
    let client = plane.client().await;
    crate::crd::install(&client).await;
    let namespace = plane.namespace(&client, "unread").await;
    let values =
        json!({"guard": {"enabled": true, "mode": "Warn", "helmReleases": [{"imagePath": "image"}]}});
    let Some(all) = render(SUITE, &values) else { return };
    let mut policy = None;
    for mut object in all {
        if object["spec"]["paramKind"].is_object() {
            assert_eq!(object["spec"]["failurePolicy"], "Ignore", "{}", object["metadata"]["name"]);
            object["spec"]["paramKind"] = json!({"apiVersion": "unserved.example/v1", "kind": "Nothing"});
        }
        let is_workloads = object["metadata"]["name"].as_str().unwrap().ends_with("-guard");
        if is_workloads {
            let name = install(&client, &namespace, object.clone()).await;
            policy = Some(name).filter(|_| object["kind"] == "ValidatingAdmissionPolicy").or(policy);
        }
    }
    opt_in(&client, &namespace).await;
    let world = World { plane, controller: client.clone(), client, namespace };
    // What shows that the policy is in force: with Fail it refuses.
    let fails = |fails: &str| Patch::Merge(json!({"spec": {"failurePolicy": fails}}));
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
    let name = policy.unwrap();
    policies.patch(&name, &PatchParams::default(), &fails("Fail")).await.unwrap();
    until("a refusal", async || match answer(&world, "nginx").await.0 {
        422 => Ok(()),
        code => Err(code.to_string()),
    })
    .await;
    policies.patch(&name, &PatchParams::default(), &fails("Ignore")).await.unwrap();
    until("no refusal", async || match answer(&world, "nginx").await.0 {
        201 => Ok(()),
        code => Err(code.to_string()),
    })
    .await;
}
