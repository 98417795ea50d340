//! Sequences 8 and 10, and two sets in one repository: what is confirmed, and the floor through pins and edits.

use tidegate::engine::decide;
use tidegate::engine::decision::{Answer, Checked, Question};
use tidegate::engine::order::{Direction, Order, TagFilter};
use tidegate::engine::policy::Policy;
use tidegate::model::{DefectKind, Sighting};

use super::super::properties::policy;
use super::super::world::World;
use super::{AMD64, BOTH, assert_told, commits, followed, pass, promoted, push_all, world};

/// A "delete untagged versions" job removes a child under an unchanged index while a test runs.
#[test]
fn sequence_08_a_child_that_is_gone_at_the_confirming_look_is_no_commit() {
    let mut world = world(|parts| parts.suspend = true);
    push_all(&mut world, "main-1", BOTH, 1);
    pass(&mut world, 1);
    world.policy = Policy::new(policy(0, false)).unwrap();
    world.now += jiff::SignedDuration::from_mins(40);
    let mut asked_children = 0;
    for _ in 0..8 {
        let decision = decide(&world.policy, &world.observation, world.now);
        assert!(decision.commit.is_none());
        for question in decision.ask {
            let answer = match (world.answer(question.clone()), question) {
                (Answer::Confirm { tag, started_at, checked }, Question::Confirm { .. }) => {
                    let lost = |checked: Checked| {
                        asked_children += checked.children.len();
                        let children = checked.children.into_iter();
                        let gone = checked.image.as_str() == "worker";
                        let children = children.map(|(platform, digest, sighting)| {
                            (platform, digest, if gone { Sighting::Missing } else { sighting })
                        });
                        Checked { children: children.collect(), ..checked }
                    };
                    Answer::Confirm { tag, started_at, checked: checked.into_iter().map(lost).collect() }
                }
                (answer, _) => answer,
            };
            world.observation.memory.absorb(&world.policy, &world.observation.record, answer, world.now);
        }
        if asked_children > 0 {
            break;
        }
    }
    assert_eq!(asked_children, 3, "what was seen 40 minutes ago is asked for again");
    let decision = decide(&world.policy, &world.observation, world.now);
    assert!(decision.commit.is_none());
    let worker = &decision.followed[0].images[1].cells[0].sighting;
    assert!(
        matches!(worker, Sighting::Broken(defect) if matches!(defect.kind, DefectKind::DanglingChild(_))),
        "{worker:?}"
    );
}

#[test]
fn sequence_10_the_release_that_was_left_stays_away() {
    let mut world = promoted(3);
    world.edit(|parts| parts.pin = Some("main-1".parse().unwrap()));
    world.reconcile();
    world.edit(|parts| parts.pin = None);
    pass(&mut world, 600);
    assert_eq!(commits(&world)[3..], ["main-1/4", "main-1/5"], "judged again without the pin");
    assert!(followed(&world).is_empty());
    push_all(&mut world, "main-4", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[5..], ["main-4/6"]);
}

#[test]
fn sequence_10_a_kept_verdict_counts_for_a_pin() {
    let mut world = World::new(Policy::new(policy(1, false)).unwrap());
    for tag in ["main-1", "main-2"] {
        push_all(&mut world, tag, AMD64, 1);
        pass(&mut world, 120);
    }
    // Jobs are long gone; status remembers.
    world.observation.smoke.clear();
    let verdicts = world.observation.record.verdicts.clone();
    world.edit(|parts| parts.pin = Some("main-1".parse().unwrap()));
    let mut rounds = 0;
    loop {
        let decision = decide(&world.policy, &world.observation, world.now);
        assert!(decision.start.is_empty(), "nothing is tested again");
        if let Some(granted) = decision.commit {
            assert_eq!(granted.release().tag.as_str(), "main-1");
            break;
        }
        for question in decision.ask {
            let answer = world.answer(question);
            world.observation.memory.absorb(&world.policy, &world.observation.record, answer, world.now);
        }
        rounds += 1;
        assert!(rounds < 8);
    }
    assert_eq!(verdicts.len(), 2);
}

#[test]
fn sequence_10_a_floor_without_a_place_holds_until_a_pin_gives_a_new_one() {
    let mut world = promoted(2);
    push_all(&mut world, "v1", AMD64, 1);
    push_all(&mut world, "v2", AMD64, 1);
    world.edit(|parts| {
        parts.candidates.filter = Some(TagFilter::new("^v(?P<n>[0-9]+)$", Some("$n")).unwrap());
        parts.candidates.order = Order::Numerical(Direction::Ascending);
    });
    pass(&mut world, 600);
    assert_eq!(commits(&world).len(), 2);
    assert_told(&world, "Stalled", "True/FloorNotOrdered", "main-2");
    world.edit(|parts| parts.pin = Some("v1".parse().unwrap()));
    world.reconcile();
    assert_eq!(commits(&world)[2..], ["v1/3"]);
    world.edit(|parts| parts.pin = None);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[3..], ["v2/4"], "the way out is no dead end");
}

/// A pin outside the filter has no place; once the policy gives it one, nothing older follows.
#[test]
fn sequence_10_what_was_pinned_without_a_place_is_a_floor_once_it_has_one() {
    let mut world = promoted(1);
    let accept = |pattern: &str| Some(TagFilter::new(pattern, Some("$n")).unwrap());
    for tag in ["main-3", "hotfix-5"] {
        push_all(&mut world, tag, AMD64, 1);
    }
    world.edit(|parts| parts.pin = Some("hotfix-5".parse().unwrap()));
    world.reconcile();
    assert_eq!(commits(&world)[1..], ["hotfix-5/2"]);
    world.edit(|parts| {
        parts.pin = None;
        parts.candidates.filter = accept("^(main|hotfix)-(?P<n>[0-9]+)$");
    });
    pass(&mut world, 600);
    assert_eq!(commits(&world)[2..], ["hotfix-5/3"], "main-3 is older");
}

/// CI deletes what it gave up, also what was Present: the lists say where to look, the registry says that it is gone.
#[test]
fn sequence_14_a_tag_that_was_deleted_everywhere_is_gone() {
    let mut world = world(|_| {});
    world.push("app", "main-1", AMD64, 1);
    world.push("worker", "main-1", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(followed(&world), ["main-1"]);
    world.pushed.clear();
    pass(&mut world, 300);
    assert!(followed(&world).is_empty());
    assert_eq!(world.ended, [("main-1".parse().unwrap(), tidegate::engine::record::Outcome::Gone)]);
    world.requests.clear();
    pass(&mut world, 600);
    assert!(!world.requests.contains_key("look"), "{:?}", world.requests);
    push_all(&mut world, "main-1", AMD64, 2);
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-1/1"]);
}

/// Nightly and release: one repository, two sets, and each sees only its own tags.
#[test]
fn two_sets_in_one_repository_see_only_their_own_tags() {
    let of = |pattern: &str| {
        world(|parts| parts.candidates.filter = Some(TagFilter::new(pattern, Some("$n")).unwrap()))
    };
    let mut sets = [of("^nightly-(?P<n>[0-9]+)$"), of("^v(?P<n>[0-9]+)$")];
    for (number, tag) in ["nightly-20260101", "v7", "nightly-20260102", "v8"].into_iter().enumerate() {
        for world in &mut sets {
            push_all(world, tag, AMD64, 1);
            pass(world, 120);
        }
        assert_eq!(commits(&sets[number % 2]).len(), number / 2 + 1, "{tag}");
    }
    assert_eq!(commits(&sets[0]), ["nightly-20260101/1", "nightly-20260102/2"]);
    assert_eq!(commits(&sets[1]), ["v7/1", "v8/2"]);
    assert!(sets.iter().all(|set| set.ended.is_empty()));
}
