//! Sequence 18: the same tag again.

use tidegate::engine::policy::{OnTagMoved, Policy};
use tidegate::engine::record::Phase;

use super::super::properties::policy;
use super::super::world::{World, digest};
use super::{AMD64, BOTH, asked, assert_told, commits, pass, promoted, push_all};

/// Longer than a drift interval, so that what was pushed was looked at.
const DRIFT_SECS: i64 = 660;

fn repromoting(gates: u8) -> World {
    let mut parts = policy(gates, false);
    parts.on_tag_moved = OnTagMoved::Repromote;
    let mut world = World::new(Policy::new(parts).unwrap());
    push_all(&mut world, "main-1", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-1/1"]);
    world
}

#[test]
fn sequence_18_a_rebuild_is_not_blended_into_a_candidate() {
    let mut world = World::new(Policy::new(policy(0, false)).unwrap());
    world.push("app", "main-1", AMD64, 1);
    world.push("worker", "main-1", AMD64, 1);
    pass(&mut world, 30);
    world.push("app", "main-1", AMD64, 2);
    world.push("embeddings", "main-1", AMD64, 2);
    // worker's second build comes 40 s later, within settle.
    pass(&mut world, 40);
    assert!(world.commits.is_empty());
    assert_eq!(world.decision.followed[0].phase, Phase::Settling);
    world.push("worker", "main-1", AMD64, 2);
    pass(&mut world, 200);
    let images = &world.commits[0].release.images;
    for image in images {
        let expected = digest(&format!("{} main-1 linux/amd64 build 2", image.name));
        assert_eq!(image.platforms[0].1, expected, "{}", image.name);
    }
}

#[test]
fn sequence_18_late_arm64_is_no_alarm_and_moves_nothing() {
    let mut world = promoted(1);
    world.push("worker", "main-1", BOTH, 1);
    pass(&mut world, DRIFT_SECS);
    assert_told(&world, "TagMoved", "False/TagExtended", "acme/worker:main-1");
    let first = super::told(&world)["TagMoved"].clone();
    world.push("app", "main-1", BOTH, 1);
    pass(&mut world, DRIFT_SECS);
    let both = super::told(&world)["TagMoved"].clone();
    assert!(both != first && both.contains("acme/app:main-1"), "the second is told as well: {both}");
    world.restart();
    pass(&mut world, 60);
    assert_eq!(super::told(&world)["TagMoved"], both, "a new process says the same");
    assert_eq!(commits(&world), ["main-1/1"]);
}

#[test]
fn sequence_18_a_moved_tag_is_reported_and_moves_nothing() {
    let mut world = promoted(1);
    world.push("worker", "main-1", AMD64, 2);
    pass(&mut world, DRIFT_SECS);
    assert_told(&world, "TagMoved", "True/TagMoved", "acme/worker:main-1 was promoted at");
    pass(&mut world, 2 * DRIFT_SECS);
    assert_eq!(commits(&world), ["main-1/1"]);
    world.push("worker", "main-1", AMD64, 1);
    pass(&mut world, DRIFT_SECS);
    assert_told(&world, "TagMoved", "False/AsPromoted", "");
}

#[test]
fn sequence_18_repromote_commits_a_moved_tag_again_when_it_passes() {
    let mut world = repromoting(1);
    let moved = digest("worker main-1 linux/amd64 build 2");
    world.smoke.insert(moved.clone(), (0, jiff::SignedDuration::from_secs(90)));
    world.push("worker", "main-1", AMD64, 2);
    let before = world.now;
    while commits(&world).len() == 1 {
        assert!(world.now.duration_since(before).as_secs() < 2 * DRIFT_SECS, "{:?}", super::told(&world));
        pass(&mut world, 10);
        if commits(&world).len() == 1 && world.decision.promoted_again.is_some() {
            assert_told(&world, "TagMoved", "True/TagMoved", "not committed again yet");
        }
    }
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"]);
    assert_eq!(world.commits[1].release.images[1].platforms[0].1, moved);
    assert_told(&world, "TagMoved", "False/AsPromoted", "");
    let heads = asked(&world, "look");
    pass(&mut world, 2 * DRIFT_SECS);
    assert_eq!(asked(&world, "look"), heads, "at rest again");
}

#[test]
fn sequence_18_repromote_waits_until_the_tag_is_still() {
    let mut world = repromoting(0);
    world.push("worker", "main-1", AMD64, 2);
    while world.decision.promoted_again.is_none() {
        pass(&mut world, 5);
    }
    assert_told(&world, "TagMoved", "True/TagMoved", "waiting until the tag is still");
    pass(&mut world, 40);
    world.push("app", "main-1", AMD64, 2);
    pass(&mut world, 15);
    assert_eq!(commits(&world), ["main-1/1"]);
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"], "both builds in one commit");
}

#[test]
fn sequence_18_a_moved_tag_that_fails_leaves_what_is_promoted() {
    let mut world = repromoting(1);
    world.smoke.insert(digest("worker main-1 linux/amd64 build 2"), (3, jiff::SignedDuration::from_secs(5)));
    world.push("worker", "main-1", AMD64, 2);
    pass(&mut world, 3 * DRIFT_SECS);
    assert_eq!(commits(&world), ["main-1/1"]);
    assert_told(&world, "TagMoved", "True/TagMoved", "gate worker-boots failed");
    assert_told(&world, "Ready", "True/Succeeded", "main-1");
    assert!(world.ended.is_empty(), "the promoted release is no candidate that failed");
    push_all(&mut world, "main-2", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[1..], ["main-2/2"]);
}

#[test]
fn sequence_18_an_extension_is_not_committed_again() {
    let mut world = repromoting(0);
    world.push("worker", "main-1", BOTH, 1);
    pass(&mut world, 3 * DRIFT_SECS);
    assert_eq!(commits(&world), ["main-1/1"]);
    assert!(world.decision.promoted_again.is_none());
}
