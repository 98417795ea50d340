//! `imageRepositoryRef`: what an ImageRepository lends, and its scans as hints.

use std::time::Duration;

use serde_json::json;
use tidegate::embedded::api::Verb;
use tidegate::flux::kinds::Kind;

use super::world::{World, promoted, spec};

/// Both images by ImageRepositories of their names.
fn referring() -> serde_json::Value {
    let mut spec = spec();
    for (index, name) in ["app", "worker"].into_iter().enumerate() {
        spec["images"][index] = json!({"name": name, "imageRepositoryRef": {"name": name}});
    }
    spec
}

#[tokio::test(start_paused = true)]
async fn an_image_repository_lends_its_image_and_the_way_to_it() {
    let world = World::start(referring()).await;
    world.push_both("main-1");
    world.image_repository("worker", json!({})).await;
    world.wait_said("ImageRepository app does not exist in acme: create it, or write `repository`").await;
    assert_eq!(promoted(&world.status().await), None);

    // Created or edited, it wakes the set long before its interval.
    world.image_repository("app", json!({"provider": "aws"})).await;
    world.wait_said("logs in by provider aws").await;
    world
        .edit(
            Kind::ImageRepository,
            "app",
            json!({"spec": {"provider": "generic", "secretRef": {"name": "pull"}}}),
        )
        .await;
    world.wait_said("the Secret pull does not exist in acme").await;
    world.edit(Kind::ImageRepository, "app", json!({"spec": {"secretRef": null}})).await;
    world.wait_promoted("main-1").await;
    let status = world.status().await;
    let repositories: Vec<_> =
        status.promoted.unwrap().images.into_iter().map(|image| image.repository).collect();
    let host = world.0.registry.host();
    assert_eq!(repositories, [format!("{host}/acme/app"), format!("{host}/acme/worker")]);
    assert_eq!(world.0.invariants.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_lent_no_more_takes_nothing_back() {
    let world = World::start(referring()).await;
    world.push_both("main-1");
    for name in ["app", "worker"] {
        world.image_repository(name, json!({})).await;
    }
    world.wait_promoted("main-1").await;
    world.delete(Kind::ImageRepository, "app").await;
    world.push_both("main-2");
    world.scan("worker", "2", &world.now()).await;
    tokio::time::sleep(Duration::from_mins(30)).await;
    let status = world.status().await;
    assert_eq!(promoted(&status).as_deref(), Some("main-1"));
    let ready = status.conditions.iter().find(|condition| condition.condition == "Ready").unwrap();
    assert_eq!(ready.status, "True", "{}", ready.message);
}

#[tokio::test(start_paused = true)]
async fn a_scan_with_another_revision_is_a_hint() {
    let world = World::start(referring()).await;
    world.push_both("main-1");
    for name in ["app", "worker"] {
        world.image_repository(name, json!({})).await;
        world.scan(name, "1", &world.now()).await;
    }
    world.wait_promoted("main-1").await;
    world.push_both("main-2");

    // A scan that found nothing new is none.
    world.scan("app", "1", &world.now()).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(promoted(&world.status().await).as_deref(), Some("main-1"));

    world.scan("app", "2", &world.now()).await;
    let took = world.wait_promoted("main-2").await;
    assert!(took <= Duration::from_secs(2), "G1: with a hint within 2 s, took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn each_reference_is_read_once_in_a_reconcile() {
    let mut spec = referring();
    spec["targets"] =
        json!([{"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}}]);
    let world = World::start(spec).await;
    for name in ["app", "worker"] {
        world.image_repository(name, json!({})).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.0.api.clear_log();
    tokio::time::sleep(Duration::from_mins(10)).await;
    let reads = |name: &str| {
        world.asked(Kind::ImageRepository, |record| {
            record.verb == Verb::Get && record.name.as_deref() == Some(name)
        })
    };
    let reconciles = world.0.api.count(|record| {
        record.actor == "controller" && record.plural == "releasesets" && record.verb == Verb::Get
    });
    assert!(reconciles >= 1, "the interval is over once");
    assert_eq!((reads("app"), reads("worker")), (reconciles, reconciles));
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_at_an_earlier_place_is_no_evidence_for_a_later_one() {
    let world = World::start(referring()).await;
    world.push_both("main-1");
    for name in ["app", "worker"] {
        world.image_repository(name, json!({})).await;
    }
    world.wait_promoted("main-1").await;
    // The worker of main-2 is where it was always looked for; then the ImageRepository names another place.
    world.scan("worker", "1", &world.now()).await;
    world.push("worker", "main-2");
    world.scan("worker", "2", &world.now()).await;
    world
        .wait("app of main-2 is waited for", |status| {
            status.summary.as_ref().is_some_and(|summary| summary.images == "1/2")
        })
        .await;
    let host = world.0.registry.host();
    world.push("moved", "main-1");
    world
        .edit(Kind::ImageRepository, "worker", json!({"spec": {"image": format!("{host}/acme/moved")}}))
        .await;
    // What runs is judged at its new place, and committed again.
    world
        .wait("main-1 is committed from there", |status| {
            status.promoted.as_ref().is_some_and(|promoted| {
                let worker = promoted.images.iter().find(|image| image.name == "worker");
                promoted.sequence == 2 && worker.is_some_and(|worker| worker.repository.ends_with("/moved"))
            })
        })
        .await;
    world.push("app", "main-2");
    world.scan("worker", "3", &world.now()).await;
    world.wait_said("worker linux/amd64 missing").await;
    world.push("moved", "main-2");
    world.wait_promoted("main-2").await;
    assert_eq!(world.status().await.promoted.map(|promoted| promoted.sequence), Some(3));
    assert_eq!(world.0.invariants.violations(), Vec::<String>::new());
}
