//! Sequence 19: spec edits in mid-flight.

use jiff::SignedDuration;
use tidegate::engine::decide;
use tidegate::engine::policy::{ImagePolicy, OnTagMoved, Place, Policy, PolicyParts};
use tidegate::model::{Doubt, DoubtKind};

use super::super::properties::policy;
use super::super::world::{World, digest};
use super::{AMD64, BOTH, asked, assert_told, commits, followed, pass, promoted, push_all, told};

fn require_arm64(parts: &mut PolicyParts) {
    parts.images[1].platforms.push("linux/arm64".parse().unwrap());
}

fn add_docs(parts: &mut PolicyParts) {
    let place = Place::At("registry.example/acme/docs".parse().unwrap());
    let docs = ImagePolicy { name: "docs".parse().unwrap(), place, ..parts.images[0].clone() };
    parts.images.push(docs);
}

#[test]
fn sequence_19_an_added_image_comes_with_the_promoted_release() {
    let mut world = promoted(1);
    world.push("docs", "main-1", AMD64, 1);
    world.edit(add_docs);
    world.reconcile();
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"]);
    assert_eq!(world.commits[1].release.images.len(), 4);
    assert_eq!(world.commits[1].generation, 2);
    assert!(followed(&world).is_empty() && world.ended.is_empty());
}

#[test]
fn sequence_19_what_does_not_pass_stays_and_is_named() {
    let mut world = promoted(1);
    world.edit(require_arm64);
    pass(&mut world, 600);
    assert_eq!(commits(&world), ["main-1/1"]);
    assert_told(&world, "Promoted", "True/PromotedBehindSpec", "worker linux/arm64 missing");
    assert_told(&world, "Ready", "True/Succeeded", "main-1 is promoted (sequence 1)");
    let told = told(&world);
    for absent in ["Stalled", "Reconciling", "CandidateComplete", "SmokePassed"] {
        assert!(!told.contains_key(absent), "{absent}: {told:?}");
    }
    assert!(followed(&world).is_empty(), "it is no candidate");
    assert!(world.ended.is_empty(), "and ends nowhere");
    // arm64 arrives: a pure extension, committed with the new index digest.
    let before = world.commits[0].release.images[1].digest.clone();
    world.push("worker", "main-1", BOTH, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"]);
    assert_ne!(world.commits[1].release.images[1].digest, before);
    assert_told(&world, "Promoted", "True/Promoted", "");
}

#[test]
fn sequence_19_a_set_behind_its_spec_is_looked_at_at_the_pace_of_rest() {
    let mut world = promoted(1);
    world.edit(require_arm64);
    pass(&mut world, 60);
    let looks = asked(&world, "look");
    pass(&mut world, 600);
    let more = asked(&world, "look") - looks;
    assert!((9..=11).contains(&more), "one look in each interval of a minute, were {more}");
}

#[test]
fn sequence_19_at_rest_nothing_more_is_asked() {
    let (mut edited, mut untouched) = (promoted(1), promoted(1));
    edited.edit(|parts| parts.deadline = SignedDuration::from_hours(1));
    for world in [&mut edited, &mut untouched] {
        pass(world, 120);
        world.requests.clear();
        pass(world, 1800);
    }
    assert_eq!(commits(&edited), ["main-1/1", "main-1/2"]);
    assert_eq!(edited.requests, untouched.requests);
}

#[test]
fn sequence_19_a_newer_candidate_that_passes_is_preferred() {
    let mut world = promoted(1);
    push_all(&mut world, "main-2", AMD64, 1);
    world.edit(|parts| parts.deadline = SignedDuration::from_hours(1));
    world.reconcile();
    assert_eq!(commits(&world), ["main-1/1", "main-2/2"], "main-1 is not committed in between");
    let mut world = promoted(1);
    world.push("app", "main-2", AMD64, 1);
    world.edit(|parts| parts.deadline = SignedDuration::from_hours(1));
    world.reconcile();
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"], "a partial one is not waited for");
    assert_eq!(followed(&world), ["main-2"]);
}

#[test]
fn sequence_19_gates_are_judged_again_and_kept_verdicts_count() {
    let mut world = World::new(Policy::new(policy(1, false)).unwrap());
    push_all(&mut world, "main-1", AMD64, 1);
    pass(&mut world, 120);
    let tests = world.observation.smoke.len();
    world.edit(add_docs);
    world.push("docs", "main-1", AMD64, 1);
    world.reconcile();
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"]);
    assert_eq!(world.observation.smoke.len(), tests, "the same binding is not tested again");
    // Another test: it runs first, and what it finds is named.
    let worker = digest("worker main-1 linux/amd64 build 1");
    world.smoke.insert(worker, (3, SignedDuration::from_secs(90)));
    world.edit(|parts| {
        if let tidegate::engine::policy::GateKind::Smoke(smoke) = &mut parts.gates[0].kind {
            smoke.hash = "v1:1".into();
        }
    });
    pass(&mut world, 1);
    assert_told(
        &world,
        "Promoted",
        "True/Promoted",
        "is judged under the spec as it is now: gate worker-boots runs",
    );
    pass(&mut world, 300);
    assert_eq!(commits(&world).len(), 2);
    assert_told(&world, "Promoted", "True/PromotedBehindSpec", "gate worker-boots failed");
    assert_told(&world, "Ready", "True/Succeeded", "main-1");
}

#[test]
fn sequence_19_a_moved_tag_passes_only_under_repromote() {
    let mut world = promoted(1);
    world.push("worker", "main-1", AMD64, 2);
    world.edit(|parts| parts.deadline = SignedDuration::from_hours(1));
    pass(&mut world, 600);
    assert_eq!(commits(&world), ["main-1/1"]);
    assert_told(
        &world,
        "Promoted",
        "True/PromotedBehindSpec",
        "its tag was moved: registry.example/acme/worker:main-1",
    );
    let mut reverted = world.clone();
    reverted.push("worker", "main-1", AMD64, 1);
    pass(&mut reverted, 700);
    assert_eq!(commits(&reverted), ["main-1/1", "main-1/2"], "moved back, it passes");
    world.edit(|parts| parts.on_tag_moved = OnTagMoved::Repromote);
    pass(&mut world, 30);
    assert_eq!(commits(&world).len(), 1, "it must be still first");
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"]);
}

/// Another repository is another tag: nobody moved it.
#[test]
fn sequence_19_a_repository_that_moved_house_is_judged_by_what_it_holds() {
    let mut world = promoted(1);
    world.push("worker", "main-1", AMD64, 2);
    let place = Place::At("registry.example/elsewhere/worker".parse().unwrap());
    world.edit(|parts| parts.images[1].place = place);
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"]);
}

#[test]
fn sequence_19_a_pinned_release_is_judged_again_too() {
    let mut world = promoted(2);
    world.edit(|parts| parts.pin = Some("main-1".parse().unwrap()));
    world.reconcile();
    world.push("docs", "main-1", AMD64, 1);
    world.edit(add_docs);
    world.reconcile();
    assert_eq!(commits(&world)[2..], ["main-1/3", "main-1/4"]);
    world.edit(require_arm64);
    pass(&mut world, 120);
    assert_eq!(commits(&world).len(), 4);
    assert_told(&world, "Promoted", "True/PromotedBehindSpec", "worker linux/arm64 missing");
    assert_told(&world, "Ready", "True/Succeeded", "");
}

#[test]
fn sequence_19_while_suspended_nothing_is_committed_again() {
    let mut world = promoted(1);
    world.edit(|parts| parts.suspend = true);
    pass(&mut world, 300);
    assert_eq!(commits(&world), ["main-1/1"]);
    assert_told(&world, "Promoted", "True/Promoted", "main-1");
    world.edit(|parts| parts.suspend = false);
    world.reconcile();
    assert_eq!(commits(&world), ["main-1/1", "main-1/2"]);
}

/// What a reference keeps from being told is named, and is no reason to call the spec unlooked at.
#[test]
fn sequence_19_an_image_whose_place_cannot_be_told_is_named() {
    let mut world = promoted(1);
    world.edit(|parts| {
        parts.images[2].place = Place::Untold {
            reference: "ImageRepository/embeddings".into(),
            doubt: Doubt::new(DoubtKind::Reference, "ImageRepository/embeddings was not found"),
        };
    });
    pass(&mut world, 120);
    // Named, and no alarm: that it does not pass is not known.
    assert_told(&world, "Promoted", "True/Promoted", "ImageRepository/embeddings was not found");
    assert!(!told(&world).contains_key("Reconciling"));
    let decision = decide(&world.policy, &world.observation, world.now);
    assert!(decision.commit.is_none());
}
