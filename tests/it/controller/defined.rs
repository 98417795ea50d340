//! Targets on a real API server that has the CRDs of Flux and the Flux Operator: what they default, prune or refuse.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tidegate::targets::{image_policy, resource_set_input_provider};

use super::two::World;
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::tools::Tools;
use crate::flux::controllers::install;

const SUITE: &str = "targets of Flux's kinds";
const SET: &str = "acme";

/// A world with the CRDs, none of their controllers, and a set with a target of each kind.
async fn world() -> Option<World> {
    let tools = Tools::require(SUITE, &["flux-crds"])?;
    let world = World::real_on(ControlPlane::without_flux(SUITE).await?).await;
    install(&world.client, tools.path("flux-crds")).await;
    let mut spec = World::spec();
    spec["deletionPolicy"] = json!("Delete");
    spec["targets"] = json!([
        {"name": "config", "configMap": {"name": "acme-release", "keys": {"values.yaml": "image: {app.image}\n"}}},
        {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}},
        {"name": "operator", "resourceSetInputProvider": {"name": "acme"}},
    ]);
    world.create(SET, spec).await;
    Some(world)
}

#[tokio::test]
async fn what_the_crds_default_is_no_drift() {
    let Some(world) = world().await else { return };
    let a = world.leader("a");
    a.release(&world, SET, "main-1").await;
    let kinds = [image_policy::resource(), resource_set_input_provider::resource()];
    let read = async || {
        let mut read = Vec::new();
        for kind in &kinds {
            read.push(world.objects(kind).get("acme").await.unwrap());
        }
        read
    };
    let before = (read().await, world.config_map("acme-release").await);
    assert_eq!(before.0.iter().map(|object| object.metadata.generation).collect::<Vec<_>>(), [Some(1); 2]);
    for name in ["config", "flux", "operator"] {
        assert_eq!(world.target(SET, name).await.0, "Applied", "{name}");
    }
    // Another process, which remembers nothing, finds nothing to write.
    world.leader("b").settle(&world, SET).await;
    assert_eq!((read().await, world.config_map("acme-release").await), before);

    a.release(&world, SET, "main-2").await;
    let after = read().await;
    assert_eq!(after[0].data["spec"]["filterTags"]["pattern"], "^main-2$");
    assert_eq!(after[1].data["spec"]["defaultValues"]["tag"], "main-2");
    let image = after[1].data["spec"]["defaultValues"]["images"]["app"]["image"].as_str().unwrap();
    assert!(image.starts_with("ghcr.io/acme/app:main-2@sha256:"), "{image}");
    assert_eq!(after.iter().map(|object| object.metadata.generation).collect::<Vec<_>>(), [Some(2); 2]);
}

#[tokio::test]
async fn drift_of_every_kind_is_put_back_and_all_go_with_their_set() {
    let Some(world) = world().await else { return };
    let a = world.leader("a");
    a.release(&world, SET, "main-1").await;
    let provider = world.objects(&resource_set_input_provider::resource());
    let policy = world.objects(&image_policy::resource());
    let before = provider.get("acme").await.unwrap().data["spec"].clone();
    // Empty inputs would have the Flux Operator delete all that was made from them.
    let emptied = Patch::Merge(json!({"spec": {"defaultValues": null}}));
    provider.patch("acme", &PatchParams::default(), &emptied).await.unwrap();
    let others = Patch::Merge(json!({"spec": {"filterTags": {"pattern": ".*"}, "suspend": true}}));
    policy.patch("acme", &PatchParams::default(), &others).await.unwrap();
    a.settle(&world, SET).await;
    assert_eq!(provider.get("acme").await.unwrap().data["spec"], before);
    let spec = policy.get("acme").await.unwrap().data["spec"].clone();
    assert_eq!((&spec["filterTags"]["pattern"], spec.get("suspend")), (&json!("^main-1$"), None));
    provider.delete("acme", &DeleteParams::default()).await.unwrap();
    a.settle(&world, SET).await;
    assert_eq!(provider.get("acme").await.unwrap().data["spec"], before);

    world.sets().delete(SET, &DeleteParams::default()).await.unwrap();
    a.settle(&world, SET).await;
    assert_eq!(world.sets().get_opt(SET).await.unwrap().map(|_| ()), None);
    assert_eq!(provider.get_opt("acme").await.unwrap(), None);
    assert_eq!(policy.get_opt("acme").await.unwrap(), None);
    assert_eq!(world.config_map("acme-release").await, None);
}

#[tokio::test]
async fn a_removed_target_of_every_kind_loses_its_marks() {
    let Some(world) = world().await else { return };
    let a = world.leader("a");
    a.release(&world, SET, "main-1").await;
    world.patch(SET, json!({"spec": {"targets": []}})).await;
    a.settle(&world, SET).await;
    let mut left = vec![world.config_map("acme-release").await.unwrap().metadata];
    for kind in [image_policy::resource(), resource_set_input_provider::resource()] {
        left.push(world.objects(&kind).get("acme").await.unwrap().metadata);
    }
    for metadata in left {
        assert!(!metadata.labels.unwrap_or_default().contains_key("tidegate.dev/set"));
        assert!(!metadata.annotations.unwrap_or_default().contains_key("tidegate.dev/target"));
    }
}
