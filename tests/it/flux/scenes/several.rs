//! Several sets beside each other: one registry for nightly builds and releases, and one target that two sets want.

use serde_json::{Value, json};

use super::super::objects::object;
use super::super::world::World;
use super::SUITE;

const IMAGES: [&str; 2] = ["app", "worker"];

#[tokio::test]
async fn nightly_and_release_share_their_repositories_and_see_only_their_own_tags() {
    let Some(world) = World::start(SUITE).await else { return };
    world.create(set(&world, "nightly", "^nightly-(?P<n>[0-9]+)$", "nightly")).await;
    world.create(set(&world, "release", "^v(?P<n>[0-9]+)$", "release")).await;
    for tag in ["nightly-1", "v1"] {
        push(&world, tag).await;
    }
    let _tidegate = world.tidegate(&[]).await;
    carries(&world, "nightly", "nightly-1").await;
    carries(&world, "release", "v1").await;
    push(&world, "nightly-2").await;
    // A release whose sibling is missing holds no nightly build up.
    world.push("app", "v2").await;
    look(&world, &["nightly", "release"]).await;
    carries(&world, "nightly", "nightly-2").await;
    carries(&world, "release", "v1").await;
    world.push("worker", "v2").await;
    look(&world, &["release"]).await;
    carries(&world, "release", "v2").await;
    carries(&world, "nightly", "nightly-2").await;
    for name in ["nightly", "release"] {
        let now = world.read("ReleaseSet", name).await.unwrap();
        // Two tags of two images each.
        assert_eq!(now["status"]["listed"]["matched"], 4, "{now:#}");
        assert_eq!(now["status"]["promoted"]["sequence"], 2);
    }
    world.end().await;
}

#[tokio::test]
async fn of_two_sets_that_name_one_target_the_second_is_refused() {
    let Some(world) = World::start(SUITE).await else { return };
    push(&world, "v1").await;
    world.create(set(&world, "first", "^v(?P<n>[0-9]+)$", "shared")).await;
    let _tidegate = world.tidegate(&[]).await;
    carries(&world, "shared", "v1").await;
    world.create(set(&world, "second", "^nightly-(?P<n>[0-9]+)$", "shared")).await;
    push(&world, "nightly-1").await;
    look(&world, &["second"]).await;
    let taken = |now: &Value| {
        let conditions = now["status"]["conditions"].as_array();
        let stalled = conditions.into_iter().flatten().find(|one| one["type"] == "Stalled");
        stalled.is_some_and(|one| one["status"] == "True" && one["reason"] == "TargetTaken")
    };
    world.until("a refusal", "ReleaseSet", "second", taken).await;
    push(&world, "v2").await;
    look(&world, &["first", "second"]).await;
    carries(&world, "shared", "v2").await;
    let mut writes = world.plane.writes(&world.namespace);
    writes.retain(|write| write.resource == "configmaps");
    assert_eq!(writes.len(), 2, "{writes:#?}");
    world.end().await;
}

fn set(world: &World, name: &str, pattern: &str, config_map: &str) -> Value {
    let images = IMAGES.map(|name| json!({"name": name, "repository": world.repository(name)}));
    let spec = json!({
        "interval": "10s", "images": images, "registry": {"insecure": true},
        "candidates": {"filterTags": {"pattern": pattern, "extract": "$n"}, "policy": {"numerical": {}}},
        "targets": [{"name": "config", "configMap": {"name": config_map}}],
    });
    object("ReleaseSet", name, &spec)
}

async fn push(world: &World, tag: &str) {
    for name in IMAGES {
        world.push(name, tag).await;
    }
}

async fn look(world: &World, sets: &[&str]) {
    for name in sets {
        world.request("ReleaseSet", name).await;
        let asked = world.read("ReleaseSet", name).await.expect("it is there");
        let asked = &asked["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
        let done = |now: &Value| now["status"]["lastHandledReconcileAt"] == *asked;
        world.until("the look", "ReleaseSet", name, done).await;
    }
}

async fn carries(world: &World, config_map: &str, tag: &str) {
    let holds = |now: &Value| now["data"]["RELEASE_TAG"] == tag;
    world.until(tag, "ConfigMap", config_map, holds).await;
}
