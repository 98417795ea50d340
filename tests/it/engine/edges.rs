//! Where one thing turns into another: the second before and the second after, the one that is listed and the one that was.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use tidegate::engine::decision::{Answer, Decision, GateState, Question, WhyAgain};
use tidegate::engine::policy::{GateKind, Place, Policy, PolicyParts, When};
use tidegate::engine::report::conditions;
use tidegate::model::smoke::{SmokeAgain, SmokeRun};
use tidegate::model::{
    ConditionType, Defect, DefectKind, Doubt, DoubtKind, Hindrance, HindranceKind, ImageName, Reason,
    Sighted, Sighting, SmokeView, TagList,
};

use super::hand::{AMD64, absorb, decided, followed, list, push_all, tag, tags, world};
use super::properties::{IMAGES, policy};
use super::world::{World, digest};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// `main-1` is complete, and nothing is committed.
fn complete() -> World {
    let mut world = world(0, |parts| parts.suspend = true);
    push_all(&mut world, "main-1", AMD64, 1);
    world.pass(SECOND);
    world
}

/// The same spec without its suspension, and what is known stays.
fn resume(world: &mut World) {
    world.policy = Policy::new(policy(0, false)).unwrap();
}

/// How many children of each image a confirming look asks for.
fn children(decision: &Decision) -> Vec<usize> {
    match &decision.ask[..] {
        [Question::Confirm { checks, .. }] => checks.iter().map(|check| check.children.len()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Answers the confirming look that is asked for.
fn confirm(world: &mut World) {
    let decision = decided(world);
    let [question @ Question::Confirm { .. }] = &decision.ask[..] else { panic!("{:?}", decision.ask) };
    let answer = world.answer(question.clone());
    absorb(world, answer);
}

#[test]
fn a_confirming_look_outlives_the_answers_that_follow() {
    for wait in [SignedDuration::ZERO, SECOND] {
        let mut world = complete();
        resume(&mut world);
        confirm(&mut world);
        world.now += wait;
        list(&mut world, "app", tags(&["main-1"]));
        assert!(decided(&world).commit.is_some(), "{wait:?} later");
    }
}

#[test]
fn after_the_clock_was_set_back_what_was_seen_later_is_seen_again() {
    let mut world = complete();
    let seen_at = world.now;
    world.now += SECOND;
    list(&mut world, "app", tags(&["main-1"]));
    resume(&mut world);
    // Back to the very instant: how long ago it was is known.
    world.now = seen_at - SECOND;
    let looked_at = decided(&complete()).followed[0].record.first_seen;
    world.now = looked_at;
    list(&mut world, "worker", tags(&["main-1"]));
    assert_eq!(children(&decided(&world)), [0, 0, 0]);
    // Before it: it is not.
    let mut world = complete();
    resume(&mut world);
    world.now -= SignedDuration::from_hours(1);
    list(&mut world, "worker", tags(&["main-1"]));
    assert_eq!(children(&decided(&world)), [1, 1, 1]);
}

#[test]
fn after_the_clock_was_set_back_answers_count_again() {
    let mut world = complete();
    world.now -= SignedDuration::from_hours(1);
    let (tag, image) = (tag("main-1"), "app".parse().unwrap());
    let sighted = Sighted { asked_at: world.now, sighting: Sighting::Missing };
    absorb(&mut world, Answer::Look { tag, image, sighted });
    assert!(!decided(&world).followed[0].is_complete());
}

#[test]
fn a_tag_that_left_one_list_is_looked_at_again_there_alone() {
    let mut world = complete();
    world.now += SECOND;
    list(&mut world, "app", tags(&[]));
    world.now += SignedDuration::from_mins(1);
    let decision = decided(&world);
    let looks = decision.ask.iter().filter_map(|question| match question {
        Question::Look { image, .. } => Some(image.to_string()),
        _ => None,
    });
    assert_eq!(looks.collect::<Vec<_>>(), ["app"]);
}

#[test]
fn a_tag_that_a_list_never_had_has_not_left_it() {
    let mut world = world(0, |parts| parts.suspend = true);
    push_all(&mut world, "main-1", AMD64, 1);
    let lists = |world: &mut World| {
        list(world, "app", tags(&["main-1"]));
        list(world, "worker", tags(&[]));
        list(world, "embeddings", tags(&[]));
    };
    lists(&mut world);
    for question in decided(&world).ask {
        let answer = world.answer(question);
        absorb(&mut world, answer);
    }
    assert!(decided(&world).followed[0].is_complete());
    world.now += SignedDuration::from_mins(1);
    lists(&mut world);
    world.now += SECOND;
    assert!(decided(&world).ask.is_empty(), "{:?}", decided(&world).ask);
}

#[test]
fn a_tag_that_is_gone_comes_back_when_a_whole_list_had_lost_it() {
    let mut world = world(0, |_| {});
    let half = |names: &[&str]| {
        let mut half: TagList = names.iter().collect();
        half.incomplete = Some(Doubt::new(DoubtKind::Transient, "the second page failed"));
        Sighting::Present(Arc::new(half))
    };
    list(&mut world, "app", tags(&["main-1"]));
    assert_eq!(followed(&world), ["main-1"]);
    world.observation.memory.forget_gone(&tag("main-1"));
    for said in [tags(&["main-1"]), half(&[]), half(&["main-1"]), tags(&["main-1"])] {
        list(&mut world, "app", said.clone());
        assert!(followed(&world).is_empty(), "it never left: {said:?}");
    }
    list(&mut world, "app", tags(&[]));
    list(&mut world, "app", tags(&["main-1"]));
    assert_eq!(followed(&world), ["main-1"]);
}

#[test]
fn a_new_process_asks_for_drift_when_its_time_has_come() {
    let mut world = world(0, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.reconcile();
    world.restart();
    let asks_for_drift =
        |world: &World| decided(world).ask.iter().any(|question| matches!(question, Question::Drift { .. }));
    world.now += SignedDuration::from_mins(10) - SECOND;
    assert!(!asks_for_drift(&world), "the commit looked");
    world.now += SECOND;
    assert!(asks_for_drift(&world));
    // By a clock that was ahead of ours.
    world.now -= SignedDuration::from_hours(1);
    assert!(asks_for_drift(&world));
}

#[test]
fn the_release_is_judged_again_when_a_required_image_lives_elsewhere() {
    let why_moved = |moved: &str, advisory: bool| {
        let mut world = world(0, |_| {});
        push_all(&mut world, "main-1", AMD64, 1);
        world.reconcile();
        let mut parts = PolicyParts::clone(&world.policy);
        let image = parts.images.iter_mut().find(|image| image.name.as_str() == moved).unwrap();
        image.place = Place::At(format!("mirror.example/acme/{moved}").parse().unwrap());
        image.advisory = advisory;
        world.policy = Policy::new(parts).unwrap();
        // What was seen elsewhere is forgotten by who reads the object that names the place.
        world.restart();
        decided(&world).promoted_again.map(|again| again.why)
    };
    assert_eq!(why_moved("worker", false), Some(WhyAgain::Generation));
    assert_eq!(why_moved("worker", true), None, "no release needs it any more");
}

#[test]
fn places_go_to_what_is_complete_before_what_has_only_a_gate() {
    let mut world = world(1, |parts| parts.candidates.max_followed = 2);
    world.smoke.insert(digest("worker main-1 linux/amd64 build 1"), (0, SignedDuration::from_mins(10)));
    push_all(&mut world, "main-1", AMD64, 1);
    for tag in ["main-2", "main-3"] {
        world.push("app", tag, AMD64, 1);
    }
    world.reconcile();
    assert_eq!(followed(&world), ["main-3", "main-1"]);
}

#[test]
fn places_go_to_what_is_tested_before_what_was_only_listed() {
    let mut world = world(1, |parts| parts.candidates.max_followed = 3);
    world.smoke.insert(digest("worker main-1 linux/amd64 build 1"), (0, SignedDuration::from_mins(10)));
    world.push("worker", "main-1", AMD64, 1);
    for tag in ["main-2", "main-3"] {
        world.push("app", tag, AMD64, 1);
    }
    // Its test begins while there is a place for it.
    world.reconcile();
    let mut parts = policy(1, false);
    parts.candidates.max_followed = 2;
    world.policy = Policy::new(parts).unwrap();
    assert_eq!(followed(&world), ["main-3", "main-1"]);
}

#[test]
fn a_test_that_failed_runs_again_once_a_person_asks() {
    let mut world = world(1, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.smoke.insert(digest("worker main-1 linux/amd64 build 1"), (3, SECOND));
    world.pass(SECOND + SECOND);
    assert_eq!(world.decision.followed[0].gates[0].state, GateState::Failed);
    // Known by its Job alone.
    world.observation.record.verdicts.clear();
    assert!(decided(&world).start.is_empty());
    world.observation.retries.insert("worker-boots".parse().unwrap(), 1);
    let retries: Vec<_> = decided(&world).start.iter().map(|request| request.run.retry).collect();
    assert_eq!(retries, [1]);
}

#[test]
fn a_test_without_a_verdict_runs_again_when_its_time_has_come() {
    let mut world = world(1, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.smoke.insert(digest("worker main-1 linux/amd64 build 1"), (0, SignedDuration::from_mins(10)));
    world.reconcile();
    let binding = world.observation.smoke.keys().next().unwrap().clone();
    let run = |number| SmokeRun { retry: 0, number, pods_left: 4, attempts_left: 2 };
    let at = world.now + SECOND;
    let view = SmokeView::NoVerdict {
        why: Hindrance { kind: HindranceKind::Unschedulable, message: "no node takes it".into() },
        run: run(1),
        again: Some(SmokeAgain { at, run: run(2) }),
    };
    world.observation.smoke.insert(binding, view);
    let early = decided(&world);
    assert!(early.start.is_empty() && early.next_look == Some(at));
    world.now = at;
    let runs: Vec<_> = decided(&world).start.iter().map(|request| request.run).collect();
    assert_eq!(runs, [run(2)]);
}

#[test]
fn a_test_of_the_release_sees_each_image_by_its_own_digest() {
    let mut world = world(1, |parts| {
        let GateKind::Smoke(smoke) = &mut parts.gates[0].kind else {
            panic!("the first gate is a smoke test")
        };
        smoke.when = When::Complete;
    });
    push_all(&mut world, "main-1", AMD64, 1);
    let mut started = Vec::new();
    for _ in 0..8 {
        let decision = decided(&world);
        started = decision.start;
        for question in decision.ask {
            let answer = world.answer(question);
            absorb(&mut world, answer);
        }
    }
    let images: BTreeMap<ImageName, String> =
        started[0].release.as_ref().unwrap().images.iter().cloned().collect();
    for image in IMAGES {
        let name: ImageName = image.parse().unwrap();
        let index = world.pushed[&(name.clone(), tag("main-1"))].digest();
        assert_eq!(images[&name], format!("registry.example/acme/{image}@{index}"));
    }
}

#[test]
fn what_is_broken_is_told_apart_from_what_is_not_known() {
    let mut world = complete();
    let said = |world: &World| {
        let told = conditions(&world.policy, &world.observation.record, &decided(world), &BTreeMap::new());
        told.into_iter().find(|told| told.condition == ConditionType::CandidateComplete).unwrap().reason
    };
    let mut answer = |sighting| {
        world.now += SECOND;
        let sighted = Sighted { asked_at: world.now, sighting };
        absorb(&mut world, Answer::Look { tag: tag("main-1"), image: "app".parse().unwrap(), sighted });
        said(&world)
    };
    let broken =
        Defect { kind: DefectKind::DanglingChild(digest("child")), message: "a child is gone".into() };
    assert_eq!(answer(Sighting::Broken(broken)), Reason::Broken);
    assert_eq!(answer(Sighting::Missing), Reason::Missing);
    assert_eq!(answer(Sighting::Unknown(Doubt::new(DoubtKind::Transient, "down"))), Reason::Unknown);
}
