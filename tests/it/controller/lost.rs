//! A status that was lost, or is older than what targets carry: the highest mark is a floor and never evidence.

use std::sync::Arc;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tidegate::embedded::api::{ApiFault, Verb};

use super::two::{Leader, World};

const SET: &str = "acme";
const MAP: &str = "acme-release";

/// A set that promoted main-1 to main-3, by a controller that remembers it.
async fn promoted() -> (World, Leader) {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    for tag in ["main-1", "main-2", "main-3"] {
        a.release(&world, SET, tag).await;
    }
    assert_eq!(sequence(&world).await, Some(3));
    (world, a)
}

async fn sequence(world: &World) -> Option<i64> {
    world.status(SET).await.promoted.map(|promoted| promoted.sequence)
}

async fn recreate(world: &World) {
    world.sets().delete(SET, &DeleteParams::default()).await.unwrap();
    world.create(SET, World::spec()).await;
}

#[tokio::test(start_paused = true)]
async fn sequence_03_e_a_sequence_that_was_edited_is_continued() {
    let (world, a) = promoted().await;
    let mark = r#"{"set":"acme","target":"config","sequence":9999,"tag":"main-3"}"#;
    world.edit(MAP, json!({"metadata": {"annotations": {"tidegate.dev/target": mark}}})).await;
    a.look(&world, SET, "1").await;
    a.look(&world, SET, "2").await;
    assert_eq!(sequence(&world).await, Some(10_000));
    assert_eq!(world.target(SET, "config").await.0, "Applied");
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-3"));
}

#[tokio::test(start_paused = true)]
async fn sequence_04_b_a_recreated_set_goes_on_from_its_targets() {
    let (world, _) = promoted().await;
    world.registry.push("acme/app", "main-4");
    // main-3 lost an image: what is complete is older, and was left behind.
    world.registry.remove("acme/worker", "main-3");
    recreate(&world).await;
    let b = world.leader("b");
    let before = world.config_map(MAP).await;
    b.look(&world, SET, "1").await;
    assert_eq!(sequence(&world).await, None, "not main-2");
    assert_eq!(world.config_map(MAP).await, before);
    world.registry.push("acme/worker", "main-4");
    b.look(&world, SET, "2").await;
    assert_eq!(sequence(&world).await, Some(4));
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-4"));
}

#[tokio::test(start_paused = true)]
async fn sequence_04_b_the_tag_of_the_marks_is_committed_again_when_it_is_complete() {
    let (world, _) = promoted().await;
    recreate(&world).await;
    world.leader("b").look(&world, SET, "1").await;
    let promoted = world.status(SET).await.promoted.unwrap();
    assert_eq!((promoted.tag.as_str(), promoted.sequence), ("main-3", 4));
    assert_eq!(world.target(SET, "config").await.0, "Applied");
}

#[tokio::test(start_paused = true)]
async fn sequence_04_c_of_two_marks_the_higher_counts_and_one_that_cannot_be_read_blocks() {
    let (world, _) = promoted().await;
    let two = json!([
        {"name": "config", "configMap": {"name": MAP}},
        {"name": "second", "configMap": {"name": "second"}},
    ]);
    let second = json!({"metadata": {"name": "second", "labels": {"tidegate.dev/set": SET},
        "annotations": {"tidegate.dev/target": r#"{"set":"acme","target":"second","sequence":6,"tag":"main-3"}"#}}});
    let second: k8s_openapi::api::core::v1::ConfigMap = serde_json::from_value(second).unwrap();
    world.api().create(&PostParams::default(), &second).await.unwrap();
    world.sets().delete(SET, &DeleteParams::default()).await.unwrap();
    let mut spec = World::spec();
    spec["targets"] = two;
    world.create(SET, spec).await;
    let server = world.server.as_ref().unwrap();
    server.set_fault(Some(Arc::new(|request| {
        let meets =
            request.actor == "b" && request.verb == Verb::Get && request.name.as_deref() == Some("second");
        meets.then(|| ApiFault::Refuse {
            code: 503,
            reason: "ServiceUnavailable".into(),
            message: "away".into(),
        })
    })));
    let b = world.leader("b");
    let before = world.config_map(MAP).await;
    b.look(&world, SET, "1").await;
    assert_eq!(sequence(&world).await, None);
    let words = world.target(SET, "config").await.1;
    assert!(words.contains("ConfigMap/second could not be read"), "{words}");
    assert_eq!(world.config_map(MAP).await, before);
    server.set_fault(None);
    b.look(&world, SET, "2").await;
    assert_eq!(sequence(&world).await, Some(7));
    for map in [MAP, "second"] {
        assert_eq!(world.carried(map).await.as_deref(), Some("main-3"));
    }
}

#[tokio::test(start_paused = true)]
async fn sequence_04_d_a_forged_mark_promotes_nothing() {
    let (world, _) = promoted().await;
    let mark = r#"{"set":"acme","target":"config","sequence":50,"tag":"main-9"}"#;
    world.edit(MAP, json!({"metadata": {"annotations": {"tidegate.dev/target": mark}}})).await;
    world.registry.push("acme/app", "main-9");
    recreate(&world).await;
    let b = world.leader("b");
    let before = world.config_map(MAP).await;
    b.look(&world, SET, "1").await;
    assert_eq!(
        sequence(&world).await,
        None,
        "main-9 is not complete, and what is complete is below the floor"
    );
    assert_eq!(world.config_map(MAP).await, before);
    b.release(&world, SET, "main-10").await;
    assert_eq!(sequence(&world).await, Some(51));
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-10"));
}

#[tokio::test(start_paused = true)]
async fn sequence_04_e_a_status_from_an_older_backup_is_continued() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    let backup = world.sets().get(SET).await.unwrap().status;
    a.release(&world, SET, "main-2").await;
    // main-2 is not complete any more when the backup comes.
    world.registry.remove("acme/worker", "main-2");
    recreate(&world).await;
    let mut restored = world.sets().get(SET).await.unwrap();
    restored.status = backup;
    world.sets().replace_status(SET, &PostParams::default(), &restored).await.unwrap();
    assert_eq!(sequence(&world).await, Some(1));
    let b = world.leader("b");
    let before = world.config_map(MAP).await;
    b.look(&world, SET, "10").await;
    assert_eq!(world.target(SET, "config").await.0, "Ahead");
    assert_eq!((sequence(&world).await, world.config_map(MAP).await), (Some(1), before));
    b.release(&world, SET, "main-3").await;
    assert_eq!(sequence(&world).await, Some(3));
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-3"));
    assert_eq!(world.target(SET, "config").await.0, "Applied");
}

/// What a backup holds could be committed again at once, because the object that it came to has another generation; or
/// something between it and what targets carry became complete. Neither may come before the targets are read.
#[tokio::test(start_paused = true)]
async fn sequence_04_e_an_older_status_is_known_for_that_before_the_first_commit() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    let backup = world.sets().get(SET).await.unwrap().status;
    a.release(&world, SET, "main-3").await;
    world.registry.remove("acme/worker", "main-3");
    for name in ["acme/app", "acme/worker"] {
        world.registry.push(name, "main-2");
    }
    recreate(&world).await;
    let mut restored = world.sets().get(SET).await.unwrap();
    restored.status = backup;
    restored.status.as_mut().unwrap().promoted.as_mut().unwrap().generation = 7;
    world.sets().replace_status(SET, &PostParams::default(), &restored).await.unwrap();
    let before = world.config_map(MAP).await;
    let b = world.leader("b");
    b.look(&world, SET, "10").await;
    assert_eq!((sequence(&world).await, world.config_map(MAP).await), (Some(1), before.clone()));
    // An edit has the set known anew, and the targets with it.
    let edit = Patch::Merge(json!({"spec": {"skip": ["main-9"]}}));
    world.sets().patch(SET, &PatchParams::default(), &edit).await.unwrap();
    b.look(&world, SET, "11").await;
    assert_eq!((sequence(&world).await, world.config_map(MAP).await), (Some(1), before));
    b.release(&world, SET, "main-4").await;
    assert_eq!(sequence(&world).await, Some(3));
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-4"));
}
