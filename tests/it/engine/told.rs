//! What a decision tells beside its effect: what ended and was told before, what was listed, whether this spec was
//! looked at. Status and `check` are made of it.

use jiff::SignedDuration;
use tidegate::engine::decision::{Answer, Decision, GateState, Hold, Listed};
use tidegate::engine::order::{Order, Source, TagFilter};
use tidegate::engine::record::{Outcome, Phase};
use tidegate::engine::report::stalled_conditions;
use tidegate::model::{ConditionType, Problem, Reason, Sighted, Sighting};

use super::hand::{self, AMD64, absorb, decided, list, push_all, tag, tags, world};
use super::properties::IMAGES;
use super::world::{World, digest};

/// The engine asks in a few rounds.
const ROUNDS_MAX: usize = 16;

/// Answers what is asked until a decision commits, without carrying it out.
fn granting(world: &mut World) -> Decision {
    for _ in 0..ROUNDS_MAX {
        let decision = decided(world);
        if decision.commit.is_some() {
            return decision;
        }
        for question in decision.ask {
            let answer = world.answer(question);
            absorb(world, answer);
        }
    }
    panic!("nothing is committed");
}

fn tags_of(decision: &Decision) -> Vec<String> {
    decision.followed.iter().map(|candidate| candidate.tag.to_string()).collect()
}

#[test]
fn of_a_set_that_is_being_deleted_nothing_is_told_but_that() {
    let mut world = world(0, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.observation.deleting = true;
    let only = Decision { hold: Some(Hold::Deleting), ..Decision::default() };
    assert_eq!(decided(&world), only);
}

#[test]
fn a_commit_ends_what_is_older_and_keeps_what_is_newer() {
    let mut world = world(0, |_| {});
    world.push("app", "main-1", AMD64, 1);
    push_all(&mut world, "main-2", AMD64, 1);
    world.push("app", "main-3", AMD64, 1);
    let decision = granting(&mut world);
    assert_eq!(tags_of(&decision), ["main-3"]);
    let ended: Vec<_> = decision.ended.iter().map(|ended| (&ended.tag, ended.outcome, ended.at)).collect();
    assert_eq!(ended, [(&tag("main-1"), Outcome::Superseded, world.now)]);
    assert_eq!(decision.ended[0].message, "main-2 was promoted instead");
}

#[test]
fn what_failed_is_not_superseded_too() {
    let mut world = world(1, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.break_smoke(digest("worker main-1 linux/amd64 build 1"));
    world.pass(SignedDuration::from_secs(120));
    push_all(&mut world, "main-2", AMD64, 1);
    world.pass(SignedDuration::from_secs(120));
    assert_eq!(world.ended, [(tag("main-1"), Outcome::Failed)]);
    assert_eq!(world.commits.len(), 1);
}

#[test]
fn a_failure_is_told_once_whatever_status_kept_of_it() {
    let mut world = world(1, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.break_smoke(digest("worker main-1 linux/amd64 build 1"));
    world.reconcile();
    // While it runs, status forgets that it is followed; an older end of the same tag is no failure.
    world.observation.record.candidates.clear();
    let mut gone = tidegate::engine::record::Ended {
        tag: tag("main-1"),
        outcome: Outcome::Gone,
        at: world.now,
        message: String::new(),
    };
    world.observation.record.recent = vec![gone.clone()];
    world.pass(SignedDuration::from_secs(30));
    assert_eq!(world.ended, [(tag("main-1"), Outcome::Failed)], "the first end was no failure");
    assert_eq!(world.observation.record.candidates[0].phase, Phase::Failed);
    // It is known by the candidate alone, then by what ended alone.
    world.observation.record.recent.clear();
    world.pass(SignedDuration::from_secs(120));
    gone.outcome = Outcome::Failed;
    world.observation.record.recent = vec![gone.clone()];
    world.observation.record.candidates.clear();
    world.pass(SignedDuration::from_secs(120));
    assert_eq!(world.ended.len(), 1, "{:?}", world.ended);
    // A failure of another tag is not its own.
    gone.tag = tag("main-9");
    world.observation.record.recent = vec![gone];
    world.observation.record.candidates.clear();
    world.pass(SignedDuration::from_secs(120));
    assert_eq!(world.ended.len(), 2, "{:?}", world.ended);
}

#[test]
fn counts_of_lists_are_sums_over_images() {
    let mut numbers = world(0, |parts| {
        parts.candidates.filter = Some(TagFilter::new("^(main-)?(?P<n>[0-9a-z]+)$", Some("$n")).unwrap());
    });
    list(&mut numbers, "app", tags(&["main-1", "main-2", "stable", "_", "latest", "main-3"]));
    list(&mut numbers, "worker", tags(&["main-1", "nightly"]));
    let listed = decided(&numbers).listed;
    assert_eq!((listed.tags, listed.matched, listed.not_numbers), (8, 4, 3));
    assert_eq!((listed.not_versions, listed.out_of_range), (0, 0));

    let mut versions = world(0, |parts| {
        parts.candidates.filter = None;
        parts.candidates.order = Order::SemVer(">=2.0.0".parse().unwrap());
    });
    list(&mut versions, "app", tags(&["1.0.0", "1.1.0", "2.0.0", "main"]));
    list(&mut versions, "worker", tags(&["1.0.0", "2.0.0", "2.1.0", "main", "latest"]));
    let listed = decided(&versions).listed;
    assert_eq!((listed.tags, listed.matched, listed.not_numbers), (9, 3, 0));
    assert_eq!((listed.not_versions, listed.out_of_range), (3, 3));
}

#[test]
fn tags_without_a_place_are_counted_in_words() {
    assert_eq!(Listed::default().skipped(), "");
    let listed = Listed { not_numbers: 2, not_versions: 1, out_of_range: 3, ..Listed::default() };
    assert_eq!(
        listed.skipped(),
        "; the extract of 2 more is no number; the extract of 1 more is no version; the version of 3 more is outside the range"
    );
}

#[test]
fn a_set_that_cannot_be_acted_upon_says_why_and_keeps_what_is_promoted() {
    let mut world = world(0, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.reconcile();
    let problems = [Problem::new("spec.images", "is empty"), Problem::new("spec.pin", "is no tag")];
    let told = stalled_conditions(Reason::InvalidSpec, &problems, &world.observation.record);
    let said: Vec<_> = told.iter().map(|told| (told.condition, told.status, told.reason)).collect();
    assert_eq!(
        said[..2],
        [
            (ConditionType::Ready, false, Reason::InvalidSpec),
            (ConditionType::Stalled, true, Reason::InvalidSpec)
        ]
    );
    assert_eq!((said[2].0, said[2].1), (ConditionType::Promoted, true));
    assert!(told[0].message.contains("spec.images") && told[0].message.contains("; spec.pin"));
    assert!(told[2].message.contains("main-1"));
}

#[test]
fn the_words_of_gates_are_their_names() {
    for state in GateState::ALL {
        assert_eq!(state.word(), format!("{state:?}"));
    }
}

#[test]
fn a_spec_was_looked_at_once_every_list_was_asked() {
    let mut world = world(0, |_| {});
    assert!(!decided(&world).looked);
    list(&mut world, "app", tags(&[]));
    list(&mut world, "worker", tags(&[]));
    assert!(!decided(&world).looked, "one list is to come");
    list(&mut world, "embeddings", tags(&[]));
    assert!(decided(&world).looked);
}

#[test]
fn a_pin_was_looked_at_once_each_of_its_images_was_or_when_it_is_promoted() {
    let mut world = world(0, |parts| parts.pin = Some(tag("main-1")));
    for image in IMAGES {
        assert!(!decided(&world).looked, "{image} was not asked for");
        let sighting = Sighting::Missing;
        let (tag, image) = (tag("main-1"), image.parse().unwrap());
        let answer = Answer::Look { tag, image, sighted: Sighted { asked_at: world.now, sighting } };
        absorb(&mut world, answer);
    }
    assert!(decided(&world).looked);

    let mut promoted = hand::world(0, |_| {});
    push_all(&mut promoted, "main-1", AMD64, 1);
    promoted.reconcile();
    promoted.edit(|parts| parts.pin = Some(tag("main-1")));
    assert!(!decided(&promoted).looked, "it is judged again under this spec");
    promoted.reconcile();
    promoted.restart();
    assert!(decided(&promoted).looked, "it is what is promoted");
    promoted.edit(|parts| parts.pin = Some(tag("main-2")));
    assert!(!decided(&promoted).looked, "another tag is promoted");
}

#[test]
fn names_were_looked_at_once_each_was() {
    let mut world = world(0, |parts| parts.candidates.source = Source::Named);
    assert!(decided(&world).looked, "nothing is named");
    world.observation.named = Some(tag("main-1"));
    assert!(!decided(&world).looked);
    world.reconcile();
    assert!(world.decision.looked);
    // Lists are never asked for, and prove nothing here.
    world.restart();
    for image in IMAGES {
        list(&mut world, image, tags(&[]));
    }
    assert!(!decided(&world).looked);
}

#[test]
fn what_is_judged_again_must_have_been_looked_at_too() {
    let mut world = world(0, |_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.reconcile();
    world.edit(|parts| parts.deadline = SignedDuration::from_mins(30));
    for image in IMAGES {
        list(&mut world, image, tags(&["main-1"]));
    }
    let decision = decided(&world);
    assert!(decision.promoted_again.is_some() && !decision.looked);
    world.reconcile();
    assert!(world.decision.looked);
}
