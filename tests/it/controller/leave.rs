//! Targets that come, leave and change in the spec.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::{Value, json};
use tidegate::targets::{image_policy, resource_set_input_provider};

use super::two::World;

const SET: &str = "acme";

fn config(name: &str, object: &str) -> Value {
    json!({"name": name, "configMap": {"name": object}})
}

fn with_targets(targets: Value) -> Value {
    let mut spec = World::spec();
    spec["targets"] = targets;
    spec
}

/// Whose marks an object carries: label and annotation, as far as they are there.
fn marks(metadata: &kube::api::ObjectMeta) -> (Option<&str>, Option<String>) {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get("tidegate.dev/set"));
    let mark = metadata.annotations.as_ref().and_then(|known| known.get("tidegate.dev/target"));
    let target = mark.map(|mark| serde_json::from_str::<Value>(mark).unwrap()["target"].to_string());
    (label.map(String::as_str), target)
}

#[tokio::test(start_paused = true)]
async fn a_removed_target_loses_the_marks_and_is_left() {
    let world = World::embedded();
    let a = world.leader("a");
    let all = json!([
        config("keep", "keep"),
        config("config", "acme-release"),
        {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}},
        {"name": "operator", "resourceSetInputProvider": {"name": "acme"}},
    ]);
    world.create(SET, with_targets(all)).await;
    a.release(&world, SET, "main-1").await;
    let server = world.server.as_ref().unwrap();
    let before = world.config_map("acme-release").await.unwrap();
    world.patch(SET, json!({"spec": {"targets": [config("keep", "keep")]}})).await;
    server.clear_log();
    a.reconcile(&world, SET).await.unwrap();
    let left = world.config_map("acme-release").await.unwrap();
    assert_eq!(marks(&left.metadata), (None, None));
    assert_eq!(left.data, before.data);
    let labels = left.metadata.labels.unwrap();
    assert_eq!(labels["reconcile.fluxcd.io/watch"], "Enabled", "Flux keeps following it");
    for resource in [image_policy::resource(), resource_set_input_provider::resource()] {
        let left = world.objects(&resource).get("acme").await.unwrap();
        assert_eq!(marks(&left.metadata), (None, None), "{}", resource.kind);
        assert!(left.data["spec"].is_object());
    }
    assert_eq!(marks(&world.config_map("keep").await.unwrap().metadata).0, Some("acme"));
    // Sought once for this generation.
    server.clear_log();
    a.settle(&world, SET).await;
    assert_eq!(
        server.count(
            |record| record.verb == tidegate::embedded::api::Verb::List && record.plural == "configmaps"
        ),
        0
    );
    assert_eq!(world.written(), [""; 0]);
    // What it was is nobody's now: the next release leaves it.
    a.release(&world, SET, "main-2").await;
    assert_eq!(world.carried("acme-release").await.as_deref(), Some("main-1"));
    assert_eq!(world.carried("keep").await.as_deref(), Some("main-2"));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_nobody_saw_is_found_by_the_next_process() {
    let world = World::embedded();
    world.create(SET, with_targets(json!([config("a", "a"), config("b", "b")]))).await;
    world.leader("a").release(&world, SET, "main-1").await;
    world.patch(SET, json!({"spec": {"targets": [config("b", "b")]}})).await;
    // A died; B never saw the generation before.
    world.leader("b").reconcile(&world, SET).await.unwrap();
    assert_eq!(marks(&world.config_map("a").await.unwrap().metadata), (None, None));
    assert_eq!(world.carried("b").await.as_deref(), Some("main-1"));
}

#[tokio::test(start_paused = true)]
async fn a_target_with_another_object_lets_go_of_the_first() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, with_targets(json!([config("config", "old")]))).await;
    a.release(&world, SET, "main-1").await;
    world.patch(SET, json!({"spec": {"targets": [config("config", "new")]}})).await;
    a.settle(&world, SET).await;
    assert_eq!(marks(&world.config_map("old").await.unwrap().metadata), (None, None));
    assert_eq!(
        world.carried("new").await.as_deref(),
        Some("main-1"),
        "a target added later gets the promoted release"
    );
    let flux =
        json!({"name": "config", "imagePolicy": {"name": "new", "imageRepositoryRef": {"name": "app"}}});
    world.patch(SET, json!({"spec": {"targets": [flux]}})).await;
    a.settle(&world, SET).await;
    assert_eq!(marks(&world.config_map("new").await.unwrap().metadata), (None, None));
    assert_eq!(world.target(SET, "config").await.0, "Applied");
}

#[tokio::test(start_paused = true)]
async fn a_target_of_another_name_keeps_its_object() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, with_targets(json!([config("one", "one"), config("two", "two")]))).await;
    a.release(&world, SET, "main-1").await;
    // One is renamed; then both change places.
    let turns = [[("first", "one"), ("two", "two")], [("two", "one"), ("first", "two")]];
    for turn in turns {
        let targets: Vec<Value> = turn.iter().map(|(name, object)| config(name, object)).collect();
        world.patch(SET, json!({"spec": {"targets": targets}})).await;
        a.reconcile(&world, SET).await.unwrap();
        for (name, object) in turn {
            let found = world.config_map(object).await.unwrap();
            assert_eq!(marks(&found.metadata), (Some("acme"), Some(format!("{name:?}"))));
            assert_eq!(world.target(SET, name).await.0, "Applied");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspended_set_lets_go_of_nothing_until_it_is_resumed() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, with_targets(json!([config("a", "a"), config("b", "b")]))).await;
    a.release(&world, SET, "main-1").await;
    let edit = json!({"spec": {"suspend": true, "targets": [config("b", "b")]}});
    world.patch(SET, edit).await;
    a.settle(&world, SET).await;
    assert_eq!(marks(&world.config_map("a").await.unwrap().metadata).0, Some("acme"));
    world.patch(SET, json!({"spec": {"suspend": null}})).await;
    a.settle(&world, SET).await;
    assert_eq!(marks(&world.config_map("a").await.unwrap().metadata), (None, None));
}

#[tokio::test(start_paused = true)]
async fn only_marks_of_this_set_are_taken_off() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, with_targets(json!([config("b", "b")]))).await;
    let object = |name: &str, mark: &str| {
        let map = json!({"metadata": {"name": name, "labels": {"tidegate.dev/set": "acme"},
            "annotations": {"tidegate.dev/target": mark}}});
        serde_json::from_value::<ConfigMap>(map).unwrap()
    };
    // A label that somebody copied, another set's mark, and a mark above ours: an older record lets go of nothing.
    let left = [
        ("copied", ""),
        ("other", r#"{"set":"other","target":"x"}"#),
        ("ahead", r#"{"set":"acme","target":"x","sequence":7}"#),
    ];
    for (name, mark) in left {
        world.api().create(&PostParams::default(), &object(name, mark)).await.unwrap();
    }
    world
        .api()
        .create(&PostParams::default(), &object("gone", r#"{"set":"acme","target":"x","sequence":1}"#))
        .await
        .unwrap();
    a.release(&world, SET, "main-1").await;
    for (name, mark) in left {
        let found = world.config_map(name).await.unwrap().metadata;
        assert_eq!(found.annotations.unwrap()["tidegate.dev/target"], mark, "{name}");
        assert_eq!(found.labels.unwrap()["tidegate.dev/set"], "acme", "{name}");
    }
    assert_eq!(marks(&world.config_map("gone").await.unwrap().metadata), (None, None));
}

#[tokio::test(start_paused = true)]
async fn kinds_that_are_not_installed_are_no_error() {
    let world = World::embedded();
    let server = world.server.as_ref().unwrap();
    assert!(server.unregister_crd("image.toolkit.fluxcd.io", "imagepolicies"));
    assert!(server.unregister_crd("fluxcd.controlplane.io", "resourcesetinputproviders"));
    let a = world.leader("a");
    let targets = json!([
        config("config", "acme-release"),
        {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}},
        {"name": "operator", "resourceSetInputProvider": {"name": "acme"}},
    ]);
    world.create(SET, with_targets(targets)).await;
    a.release(&world, SET, "main-1").await;
    assert_eq!(world.target(SET, "config").await.0, "Applied");
    let words = |word: &str| ("Failed".to_owned(), word.to_owned());
    assert_eq!(world.target(SET, "flux").await, words(image_policy::NOT_INSTALLED));
    assert_eq!(world.target(SET, "operator").await, words(resource_set_input_provider::NOT_INSTALLED));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_with_two_targets_takes_few_writes_and_rest_takes_none() {
    let world = World::embedded();
    let server = world.server.as_ref().unwrap();
    let a = world.leader("a");
    let flux =
        json!({"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}});
    world.create(SET, with_targets(json!([config("config", "acme-release"), flux]))).await;
    a.release(&world, SET, "main-1").await;
    server.clear_log();
    a.settle(&world, SET).await;
    assert_eq!(server.writes().len(), 0, "L5");
    let reads = server.requests().len();
    // The release is under way for ever here: no Flux takes it further.
    assert!(
        reads <= 3 * 7,
        "a look reads the set twice, each target once, and what Flux made of the ImagePolicy by three: {reads}"
    );
    world.registry.push("acme/app", "main-2");
    world.registry.push("acme/worker", "main-2");
    world.ask(SET, "2").await;
    server.clear_log();
    a.settle(&world, SET).await;
    let expected = [
        "Update releasesets/status acme",
        "Update configmaps acme-release",
        "Update imagepolicies acme",
        "Update releasesets/status acme",
    ];
    assert_eq!(world.written(), expected, "G7: at most 6");
}
