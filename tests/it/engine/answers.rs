//! What answers do to what is known: shared ones are older than now, lists may be half ones, and nothing goes back
//! in time (ADR 3; design §4 Look).

use std::sync::Arc;

use jiff::SignedDuration;
use tidegate::engine::decide;
use tidegate::engine::decision::{Answer, Checked, Question};
use tidegate::engine::policy::Policy;
use tidegate::model::{Defect, DefectKind, Doubt, DoubtKind, Sighted, Sighting, Tag, TagList, Verify};

use super::hand::{decided, followed, list, tags, world};
use super::properties::{IMAGES, policy};
use super::world::World;

#[test]
fn a_shrinking_flapping_or_empty_list_removes_nothing() {
    let mut world = world(0, |_| {});
    list(&mut world, "app", tags(&["main-1", "main-2"]));
    for lesser in [
        tags(&["main-1"]),
        tags(&[]),
        Sighting::Missing,
        Sighting::Unknown(Doubt::new(DoubtKind::Transient, "down")),
        tags(&["other"]),
    ] {
        list(&mut world, "app", lesser);
        assert_eq!(followed(&world), ["main-2", "main-1"]);
    }
    list(&mut world, "app", tags(&["main-3"]));
    assert_eq!(followed(&world), ["main-3", "main-2", "main-1"]);
}

#[test]
fn half_a_list_gives_its_candidates_and_says_that_it_is_half() {
    let mut world = world(0, |_| {});
    let why = Doubt::new(DoubtKind::Corrupt, "more than 50000 tags");
    let mut half: TagList = ["main-7"].iter().collect();
    half.incomplete = Some(why);
    list(&mut world, "app", Sighting::Present(Arc::new(half)));
    let decision = decided(&world);
    assert_eq!(followed(&world), ["main-7"]);
    assert_eq!((decision.listed.tags, decision.listed.matched), (1, 1));
    assert_eq!(decision.listed.unknown[&"app".parse().unwrap()].message, "more than 50000 tags");
}

#[test]
fn an_older_answer_changes_nothing() {
    let mut world = world(0, |_| {});
    for image in IMAGES {
        world.push(image, "main-1", &["linux/amd64"], 1);
    }
    let look = |world: &World, asked_at, sighting| {
        let (tag, image) = ("main-1".parse().unwrap(), "app".parse().unwrap());
        let mut observation = world.observation.clone();
        let answer = Answer::Look { tag, image, sighted: Sighted { asked_at, sighting } };
        observation.memory.absorb(&world.policy, &observation.record, answer, world.now);
        decide(&world.policy, &observation, world.now)
    };
    world.policy = Policy::new({
        let mut parts = policy(0, false);
        parts.suspend = true;
        parts
    })
    .unwrap();
    world.pass(SignedDuration::from_secs(1));
    let known = decided(&world);
    assert!(known.followed[0].is_complete());
    let before = world.now - SignedDuration::from_secs(2);
    assert_eq!(look(&world, before, Sighting::Missing), known);
    assert!(!look(&world, world.now, Sighting::Missing).followed[0].is_complete());
}

#[test]
fn a_hint_wants_what_was_asked_for_after_it() {
    let mut world = world(0, |_| {});
    let sinces = |world: &World| -> Vec<_> {
        let decision = decided(world);
        let since = |question: &Question| match question {
            Question::List { since, .. } | Question::Look { since, .. } | Question::Drift { since, .. } => {
                *since
            }
            Question::Confirm { .. } => world.now,
        };
        decision.ask.iter().map(since).collect()
    };
    let minute = SignedDuration::from_mins(1);
    assert_eq!(sinces(&world), vec![world.now - minute; 3], "a list may be as old as the interval");
    let hinted_at = world.now - SignedDuration::from_secs(10);
    world.observation.memory.hinted_at = Some(hinted_at);
    assert_eq!(sinces(&world), vec![hinted_at; 3]);
}

#[test]
fn blobs_are_asked_for_again_in_a_confirming_look_when_they_were_not_seen_for_half_a_minute() {
    let mut parts = policy(0, false);
    (parts.verify, parts.suspend) = (Verify::Blobs, true);
    let mut world = World::new(Policy::new(parts.clone()).unwrap());
    for image in IMAGES {
        world.push(image, "main-1", &["linux/amd64"], 1);
    }
    world.pass(SignedDuration::from_secs(1));
    parts.suspend = false;
    world.policy = Policy::new(parts).unwrap();
    let checks = |world: &World, waited: i64| {
        let now = world.now + SignedDuration::from_secs(waited);
        let decision = decide(&world.policy, &world.observation, now);
        match &decision.ask[..] {
            [Question::Confirm { checks, .. }] => {
                checks.iter().map(|check| (check.children.len(), check.blobs_of.len())).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(checks(&world, 28), [(0, 0); 3]);
    assert_eq!(checks(&world, 31), [(1, 1); 3]);
    let gone = super::world::digest("a layer");
    let confirm = |world: &mut World, worker: Sighting<()>| {
        let decision = decided(world);
        let tag: Tag = "main-1".parse().unwrap();
        let checked = decision.followed[0].images.iter().map(|image| {
            let child = image.cells[0].sighting.present().unwrap().clone();
            let lost = if image.name.as_str() == "worker" { worker.clone() } else { Sighting::Present(()) };
            Checked {
                image: image.name.clone(),
                tag: Sighting::Present(image.digest.clone().unwrap()),
                children: Vec::new(),
                blobs: vec![(image.cells[0].platform.clone(), child, lost)],
            }
        });
        let answer = Answer::Confirm { tag, started_at: world.now, checked: checked.collect() };
        world.observation.memory.absorb(&world.policy, &world.observation.record, answer, world.now);
        decided(world)
    };
    let mut sound = world.clone();
    assert!(confirm(&mut sound, Sighting::Present(())).commit.is_some());
    let defect = Defect { kind: DefectKind::DanglingBlob(gone), message: "a layer is gone".into() };
    let broken = confirm(&mut world, Sighting::Broken(defect.clone()));
    assert!(broken.commit.is_none());
    let worker = broken.followed[0].images.iter().find(|image| image.name.as_str() == "worker").unwrap();
    assert_eq!(worker.cells[0].sighting, Sighting::Broken(defect));
}
