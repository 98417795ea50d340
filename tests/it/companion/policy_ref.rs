//! `policyRef`: an ImagePolicy names candidates and lends its order.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::flux::kinds::Kind;

use super::world::{World, promoted, spec};

fn referring() -> Value {
    let mut spec = spec();
    spec["candidates"] = json!({"policyRef": {"name": "newest"}});
    spec
}

fn newest() -> Value {
    json!({
        "imageRepositoryRef": {"name": "app"},
        "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
        "policy": {"numerical": {"order": "asc"}},
    })
}

/// A set whose policy has named main-3, which is promoted.
async fn promoted_world() -> World {
    let world = World::start(referring()).await;
    for tag in ["main-1", "main-2", "main-3", "main-4", "main-5"] {
        world.push_both(tag);
    }
    world.create(Kind::ImagePolicy, "newest", newest()).await;
    world.select("newest", "main-3").await;
    let took = world.wait_promoted("main-3").await;
    assert!(took <= Duration::from_secs(2), "a name wakes: {took:?}");
    world
}

async fn stays(world: &World, tag: &str) {
    tokio::time::sleep(Duration::from_mins(30)).await;
    let status = world.status().await;
    assert_eq!(promoted(&status).as_deref(), Some(tag));
    assert_eq!(status.promoted.unwrap().sequence, 1);
}

fn events(world: &World, reason: &str) -> usize {
    let events = world.0.api.objects("events.k8s.io", "events");
    events.iter().filter(|event| event["reason"] == reason).count()
}

/// Failure sequence 9.
#[tokio::test(start_paused = true)]
async fn sequence_09_a_policy_that_walks_backwards_takes_nothing_back() {
    let world = promoted_world().await;
    world.select("newest", "main-2").await;
    stays(&world, "main-3").await;
    assert_eq!(events(&world, "CandidateOlder"), 1, "told once");
    world.0.api.close_watches();
    world.select("newest", "main-1").await;
    stays(&world, "main-3").await;

    // No tags are listed: what the policy does not name is no candidate.
    world.select("newest", "main-4").await;
    world.wait_promoted("main-4").await;
    assert_eq!(world.0.invariants.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_name_counts_while_the_policy_is_ready_for_its_generation() {
    let world = promoted_world().await;
    let failing = json!([{"type": "Ready", "status": "False", "reason": "Failure", "message": "no match"}]);
    world
        .say(Kind::ImagePolicy, "newest", json!({"conditions": failing, "latestRef": {"tag": "main-4"}}))
        .await;
    stays(&world, "main-3").await;
    // Ready, and the spec was edited since.
    world.edit(Kind::ImagePolicy, "newest", json!({"spec": {"suspend": true}})).await;
    let ready = json!([{"type": "Ready", "status": "True", "reason": "Succeeded", "message": ""}]);
    let stale = json!({"observedGeneration": 1, "conditions": ready, "latestRef": {"tag": "main-4"}});
    world.say(Kind::ImagePolicy, "newest", stale).await;
    stays(&world, "main-3").await;
    world.select("newest", "main-4").await;
    world.wait_promoted("main-4").await;
}

#[tokio::test(start_paused = true)]
async fn without_an_order_nothing_but_a_pin_is_promoted() {
    let world = promoted_world().await;
    world.delete(Kind::ImagePolicy, "newest").await;
    world.wait_said("ImagePolicy newest does not exist in acme: create it, or write `policy`").await;
    stays(&world, "main-3").await;
    let mut refused = newest();
    refused["policy"] = json!({"semver": {"range": "one to two"}});
    world.create(Kind::ImagePolicy, "newest", refused).await;
    world.select("newest", "main-4").await;
    world.wait_said("ImagePolicy newest cannot be understood").await;
    stays(&world, "main-3").await;
    world
        .edit(
            Kind::ImagePolicy,
            "newest",
            json!({"spec": {"policy": {"semver": null, "numerical": {"order": "asc"}}}}),
        )
        .await;
    world.select("newest", "main-4").await;
    world.wait_promoted("main-4").await;
}
