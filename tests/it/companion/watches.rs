//! Kinds that come and go while the controller runs.

use std::time::Duration;

use serde_json::json;
use tidegate::embedded::api::Verb;
use tidegate::flux::kinds::Kind;

use super::world::{World, spec};

fn with_policy() -> serde_json::Value {
    let mut spec = spec();
    spec["interval"] = json!("1h");
    spec["targets"] =
        json!([{"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}}]);
    spec
}

/// Deletes the ImagePolicy and waits until it is made anew: far sooner than any interval.
async fn is_put_back(world: &World) {
    let uid = async || {
        let found = world.objects(Kind::ImagePolicy).get_opt("acme").await.unwrap();
        found.and_then(|found| found.metadata.uid)
    };
    let before = uid().await;
    world.delete(Kind::ImagePolicy, "acme").await;
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Some(now) = uid().await.filter(|now| Some(now) != before.as_ref()) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.expect("the watch tells that it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_installed_later_is_watched_without_a_restart() {
    let mut world = World::new(with_policy()).await;
    world.uninstall(Kind::ImagePolicy);
    world.push_both("main-1");
    world.0.start_controller();
    world.wait_target("Failed", "the ImagePolicy kind is not installed").await;
    let asked = || world.asked(Kind::ImagePolicy, |record| record.verb == Verb::List);
    let before = asked();
    tokio::time::sleep(Duration::from_mins(9)).await;
    assert_eq!(asked() - before, 12, "one request every 45 s while it is absent");

    world.install(Kind::ImagePolicy);
    // The target itself is written at the next look; a person asks for one.
    let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    let patch = kube::api::Patch::Merge(asked);
    world.sets().patch("acme", &kube::api::PatchParams::default(), &patch).await.unwrap();
    world.wait_target("Applied", "").await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    is_put_back(&world).await;

    // Gone and back again, as when Flux is installed anew.
    world.uninstall(Kind::ImagePolicy);
    world.0.api.close_watches();
    tokio::time::sleep(Duration::from_mins(5)).await;
    world.install(Kind::ImagePolicy);
    tokio::time::sleep(Duration::from_secs(50)).await;
    is_put_back(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_provider_of_the_flux_operator_is_watched_by_its_label() {
    let mut spec = spec();
    spec["interval"] = json!("1h");
    spec["targets"] = json!([{"name": "operator", "resourceSetInputProvider": {"name": "acme"}}]);
    let world = World::new(spec).await;
    let (group, plural) = ("fluxcd.controlplane.io", "resourcesetinputproviders");
    world.install_as(group, "v1", plural, "ResourceSetInputProvider");
    world.push_both("main-1");
    let mut world = world;
    world.0.start_controller();
    world.wait_target("Applied", "carries main-1").await;
    let resource = tidegate::targets::resource_set_input_provider::resource();
    let client = world.0.api.client("user", "acme");
    let providers: kube::Api<kube::api::DynamicObject> =
        kube::Api::namespaced_with(client, "acme", &resource);
    let by_hand = kube::api::Patch::Merge(json!({"spec": {"defaultValues": {"tag": "by-hand"}}}));
    providers.patch("acme", &kube::api::PatchParams::default(), &by_hand).await.unwrap();
    let tag = async || providers.get("acme").await.unwrap().data["spec"]["defaultValues"]["tag"].clone();
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while tag().await != "main-1" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.expect("it is put back");
}
