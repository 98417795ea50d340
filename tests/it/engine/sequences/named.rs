//! Sequence 9: an ImagePolicy names candidates, and walks backwards.

use tidegate::engine::order::{Direction, Order, Source};
use tidegate::engine::policy::{Policy, PolicyParts};
use tidegate::model::{Doubt, DoubtKind, Tag};

use super::super::world::World;
use super::{AMD64, asked, assert_told, commits, followed, pass, push_all, told, world};

fn named() -> World {
    world(|parts| parts.candidates.source = Source::Named)
}

fn name(world: &mut World, tag: &str) {
    world.observation.named = Some(tag.parse().unwrap());
    world.reconcile();
}

/// The ImagePolicy cannot be read, or can again: no edit, so that the generation stays.
fn order(world: &mut World, told: bool) {
    let mut parts = PolicyParts::clone(&world.policy);
    parts.candidates.order = if told {
        Order::Numerical(Direction::Ascending)
    } else {
        Order::Untold(Doubt::new(DoubtKind::Reference, "ImagePolicy/app was not found"))
    };
    world.policy = Policy::new(parts).unwrap();
}

#[test]
fn sequence_09_policy_ref_walks_backwards() {
    let mut world = named();
    for tag in ["main-1", "main-2", "main-3"] {
        push_all(&mut world, tag, AMD64, 1);
    }
    name(&mut world, "main-3");
    assert_eq!(commits(&world), ["main-3/1"]);
    // The reflector loses its database and selects an older tag, again and again.
    for _ in 0..3 {
        name(&mut world, "main-2");
        pass(&mut world, 120);
        name(&mut world, "main-3");
        pass(&mut world, 120);
    }
    assert_eq!(commits(&world), ["main-3/1"]);
    assert_eq!(world.older, ["main-2".parse::<Tag>().unwrap()], "told once");
    assert!(followed(&world).is_empty());
    assert_eq!(asked(&world, "list"), 0, "no tags are listed");
}

#[test]
fn sequence_09_the_older_complete_one_is_kept_through_a_restart() {
    let mut world = named();
    world.push("app", "main-1", AMD64, 1);
    name(&mut world, "main-1");
    world.push("app", "main-2", AMD64, 1);
    name(&mut world, "main-2");
    assert_eq!(followed(&world), ["main-2", "main-1"]);
    // Nothing but names survives here: candidates that do not fit status are dropped from it too.
    world.observation.record.candidates.clear();
    world.restart();
    push_all(&mut world, "main-1", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-1/1"], "promoted while a newer one is partial");
    push_all(&mut world, "main-2", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[1..], ["main-2/2"]);
}

#[test]
fn sequence_09_five_names_are_kept_newest_first() {
    let mut world = named();
    for number in [1, 2, 3, 2, 4, 5, 6, 7] {
        name(&mut world, &format!("main-{number}"));
    }
    let kept: Vec<String> = world.observation.record.named.iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["main-7", "main-6", "main-5", "main-4", "main-2"]);
    world.observation.named = None;
    world.reconcile();
    assert_eq!(world.observation.record.named.len(), 5, "a policy that names none takes nothing back");
    world.edit(|parts| parts.candidates.source = Source::Lists);
    world.reconcile();
    assert!(world.observation.record.named.is_empty());
}

#[test]
fn sequence_09_an_order_that_cannot_be_told_promotes_nothing_but_a_pin() {
    let mut world = named();
    for tag in ["main-1", "main-2", "main-3"] {
        push_all(&mut world, tag, AMD64, 1);
    }
    name(&mut world, "main-2");
    world.pushed.remove(&("app".parse().unwrap(), "main-3".parse().unwrap()));
    name(&mut world, "main-3");
    let first_seen = world.decision.followed[0].record.first_seen;
    let floor = world.observation.record.floor.clone();
    order(&mut world, false);
    push_all(&mut world, "main-3", AMD64, 1);
    pass(&mut world, 600);
    assert_eq!(commits(&world), ["main-2/1"]);
    assert_told(&world, "Ready", "True/Succeeded", "ImagePolicy/app was not found");
    assert_told(&world, "CandidateComplete", "False/OrderUntold", "spec.pin");
    assert!(!told(&world).contains_key("Stalled"));
    assert_eq!(world.decision.followed[0].record.first_seen, first_seen, "its clocks go on");
    assert_eq!(world.observation.record.floor, floor);

    let mut pinned = world.clone();
    pinned.edit(|parts| parts.pin = Some("main-1".parse().unwrap()));
    pinned.reconcile();
    assert_eq!(commits(&pinned)[1..], ["main-1/2"]);
    assert_eq!(pinned.observation.record.floor, floor, "nothing can be compared with it");

    order(&mut world, true);
    world.reconcile();
    assert_eq!(commits(&world)[1..], ["main-3/2"]);
}

#[test]
fn sequence_09_nothing_named_is_said() {
    let mut world = named();
    push_all(&mut world, "main-1", AMD64, 1);
    pass(&mut world, 600);
    assert!(world.decision.looked, "there is nothing to wait for");
    assert_told(&world, "Ready", "False/NoCandidates", "names no tag yet");
    name(&mut world, "other-1");
    assert_told(&world, "Ready", "False/NoCandidates", "other-1");
    name(&mut world, "main-1");
    assert_eq!(commits(&world), ["main-1/1"]);
    assert!(world.older.is_empty());
}

#[test]
fn sequence_09_a_kept_name_that_is_gone_is_forgotten_and_the_present_one_waits() {
    let mut world = named();
    name(&mut world, "main-1");
    name(&mut world, "main-2");
    pass(&mut world, 900);
    assert_eq!(followed(&world), ["main-2"]);
    assert_eq!(world.ended.len(), 1, "told once: {:?}", world.ended);
    push_all(&mut world, "main-1", AMD64, 1);
    name(&mut world, "main-1");
    assert_eq!(commits(&world), ["main-1/1"], "named anew, it is looked at anew");
}
