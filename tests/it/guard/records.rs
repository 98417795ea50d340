//! What is promoted is written by the controller alone: every kind of target, in every way to change or lose it.

use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::following::until;
use super::world::World;
use crate::cluster::control_plane;
use crate::cluster::tools::Tools;
use crate::flux::controllers;

const SUITE: &str = "guard";
const APP: (&str, &str, &str) = ("app", "ghcr.io/acme/app", "{tag}");
/// Who deletes what a deleted namespace holds.
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

/// One target of each kind, and a change to it that moves the release.
fn targets() -> [(Value, Value); 3] {
    let object = |version: &str, kind: &str, field: &str, content: Value| {
        json!({"apiVersion": version, "kind": kind, field: content,
            "metadata": {"name": "release", "labels": {"tidegate.dev/set": "shop"}}})
    };
    let exact = |tag: &str| {
        json!({"imageRepositoryRef": {"name": "app"}, "filterTags": {"pattern": format!("^{tag}$")},
            "policy": {"alphabetical": {}}})
    };
    let inputs = |tag: &str| json!({"type": "Static", "defaultValues": {"tag": tag}});
    [
        (
            object("v1", "ConfigMap", "data", json!({"RELEASE_TAG": "v1"})),
            json!({"data": {"RELEASE_TAG": "v9"}}),
        ),
        (
            object("image.toolkit.fluxcd.io/v1", "ImagePolicy", "spec", exact("v1")),
            json!({"spec": exact("v9")}),
        ),
        (
            object("fluxcd.controlplane.io/v1", "ResourceSetInputProvider", "spec", inputs("v1")),
            json!({"spec": inputs("v9")}),
        ),
    ]
}

/// A world whose second policy holds, with the list and one target of each kind.
async fn world() -> Option<World> {
    let tools = Tools::require(SUITE, &["flux-crds"])?;
    let world = World::start(SUITE, json!({})).await?;
    controllers::install(&world.client, tools.path("flux-crds")).await;
    world.set("shop", &[APP], &["v1"]).await;
    world.sync().await;
    for (target, _) in targets() {
        until("the second policy", async || match world.dry(&world.client, target.clone()).await.0 {
            403 => Ok(()),
            code => Err(code.to_string()),
        })
        .await;
        assert_eq!(world.create(&world.controller, target.clone()).await.0, 201, "{target}");
    }
    Some(world)
}

fn list() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tidegate-guard"}})
}

#[tokio::test]
async fn a_target_of_any_kind_is_changed_by_the_controller_alone() {
    let Some(world) = world().await else { return };
    let unlabelled = json!({"metadata": {"labels": {"tidegate.dev/set": null}}});
    let owner = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1"}]}});
    let mark = json!({"metadata": {"annotations": {"tidegate.dev/target": "{}"}}});
    let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    let finalizer = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io/x"]}});
    let none = json!({"metadata": {"finalizers": null}});
    for (target, moved) in targets() {
        let kind = &target["kind"];
        for (patch, code) in [
            (&moved, 403),
            (&unlabelled, 403),
            (&owner, 403),
            (&mark, 403),
            // What Flux writes to its own kinds.
            (&asked, 201),
            (&finalizer, 201),
            (&none, 201),
        ] {
            let answer = world.patch(&world.client, &target, patch.clone()).await;
            assert_eq!(answer.0, code, "{kind} {patch}: {answer:?}");
        }
        assert_eq!(world.patch(&world.controller, &target, moved).await.0, 201, "{kind}");
    }
}

#[tokio::test]
async fn nobody_deletes_a_target_or_the_list_one_by_one_or_all_at_once() {
    let Some(world) = world().await else { return };
    for object in targets().map(|(target, _)| target).into_iter().chain([list()]) {
        let kind = object["kind"].clone();
        assert_eq!(delete(&world, &world.client, &object, false).await, 403, "{kind}");
        assert_eq!(delete(&world, &world.client, &object, true).await, 403, "all of {kind}");
        let (api, object) = world.of(&world.client, object);
        let there = api.get_opt(&object.metadata.name.unwrap()).await.unwrap();
        assert!(there.is_some(), "{kind} is gone");
    }
    for (target, _) in targets() {
        assert_eq!(delete(&world, &world.controller, &target, false).await, 201, "{}", target["kind"]);
    }
    // The list alone: one refusal ends a bulk, and a bulk names no object.
    assert_eq!(delete(&world, &world.client, &list(), true).await, 403);
    let (api, _) = world.of(&world.client, list());
    assert!(api.get_opt("tidegate-guard").await.unwrap().is_some());
    assert_eq!(delete(&world, &world.controller, &list(), false).await, 201);
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
    assert_eq!(world.create(&world.client, other.clone()).await.0, 201);
    assert_eq!(delete(&world, &world.client, &other, true).await, 201, "what is not ours is nobody's matter");
}

#[tokio::test]
async fn a_namespace_that_is_deleted_takes_everything_with_it() {
    let Some(world) = world().await else { return };
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    let cluster =
        control_plane::client(&world.plane.kubeconfig_of(NAMESPACE_CONTROLLER, "system:masters")).await;
    for object in targets().map(|(target, _)| target) {
        assert_eq!(delete(&world, &world.client, &object, true).await, 403, "a person, still");
        assert_eq!(delete(&world, &cluster, &object, true).await, 201, "{}", object["kind"]);
        let (api, object) = world.of(&world.client, object);
        let name = object.metadata.name.unwrap();
        // Flux's controller, where another test has it run, keeps a finalizer there, and must be able to take it off.
        until("it to be gone", async || match api.get_opt(&name).await.unwrap() {
            None => Ok(()),
            found => Err(format!("{found:?}")),
        })
        .await;
    }
    let (api, _) = world.of(&world.client, list());
    assert!(api.get_opt("tidegate-guard").await.unwrap().is_none(), "with the other ConfigMaps");
}

/// Code of the answer to a delete of the object, or of all objects of its kind in the namespace.
async fn delete(world: &World, client: &Client, object: &Value, all: bool) -> u16 {
    let (api, object) = world.of(client, object.clone());
    let params = DeleteParams::default();
    let outcome = if all {
        // No selector: with the name of one the API server would tell the policy that name.
        api.delete_collection(&params, &ListParams::default()).await.map(drop)
    } else {
        api.delete(&object.metadata.name.unwrap(), &params).await.map(drop)
    };
    match outcome {
        Ok(()) => 201,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("the server did not answer: {error}"),
    }
}
