//! Sequence 4: status is lost or older than what targets carry.

use tidegate::engine::MARK_SEQUENCE_MAX;
use tidegate::engine::observation::Marks;
use tidegate::engine::order::Order;

use super::{AMD64, assert_told, commits, followed, pass, promoted, push_all, told, world};

fn marked(sequence: i64, tag: Option<&str>) -> Marks {
    Marks::Highest { sequence, tag: tag.map(|tag| tag.parse().unwrap()) }
}

#[test]
fn sequence_04_lost_status_never_goes_below_what_targets_carry() {
    let mut world = promoted(2);
    let worker = ("worker".parse().unwrap(), "main-2".parse().unwrap());
    let lost = world.pushed.remove(&worker).unwrap();
    world.restore(0);
    pass(&mut world, 600);
    assert_eq!(commits(&world).len(), 2, "main-1 is complete, and below");
    assert_eq!(followed(&world), ["main-2"], "no list need name it");
    assert_told(&world, "Ready", "False/NothingPromoted", "targets carry main-2 (sequence 2)");
    assert_told(&world, "Ready", "False/NothingPromoted", "main-2: worker linux/amd64 missing");
    assert!(world.ended.is_empty(), "it is not called gone");
    world.pushed.insert(worker, lost);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[2..], ["main-2/3"]);
    assert!(followed(&world).is_empty());
}

#[test]
fn sequence_04_after_lost_status_something_newer_will_do() {
    let mut world = promoted(2);
    world.pushed.clear();
    world.restore(0);
    pass(&mut world, 600);
    push_all(&mut world, "main-3", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[2..], ["main-3/3"]);
}

#[test]
fn sequence_04_an_older_status_goes_on_from_the_highest_mark() {
    let mut world = promoted(3);
    world.restore(1);
    world.reconcile();
    assert_eq!(commits(&world)[3..], ["main-3/4"], "neither main-1 again nor main-2");
    pass(&mut world, 600);
    assert_eq!(commits(&world).len(), 4, "in step again");
}

#[test]
fn sequence_04_the_same_tag_at_a_higher_sequence_is_committed_again() {
    let mut world = promoted(1);
    world.marks = Some(marked(7, Some("main-1")));
    world.pushed.clear();
    world.restart();
    pass(&mut world, 120);
    assert_told(&world, "Promoted", "True/Promoted", "targets carry main-1 (sequence 7)");
    push_all(&mut world, "main-1", AMD64, 1);
    world.commits.last_mut().unwrap().sequence = 7;
    pass(&mut world, 120);
    assert_eq!(commits(&world)[1..], ["main-1/8"]);
}

#[test]
fn sequence_04_a_mark_without_a_tag_goes_on_with_what_is_promoted() {
    let mut world = promoted(1);
    world.marks = Some(marked(9, None));
    world.commits.last_mut().unwrap().sequence = 9;
    pass(&mut world, 60);
    assert_eq!(commits(&world)[1..], ["main-1/10"]);
}

#[test]
fn sequence_04_an_unreadable_target_blocks_pins_too_and_is_no_alarm() {
    let mut world = world(|parts| parts.pin = Some("main-1".parse().unwrap()));
    push_all(&mut world, "main-1", AMD64, 1);
    world.marks = Some(Marks::Unreadable("target flux: ImagePolicy/acme could not be read".into()));
    pass(&mut world, 600);
    assert!(world.commits.is_empty());
    assert_told(&world, "Ready", "False/TargetUnreadable", "ImagePolicy/acme could not be read");
    assert!(!told(&world).contains_key("Stalled"));
    world.marks = None;
    pass(&mut world, 60);
    assert_eq!(commits(&world), ["main-1/1"]);
    world.marks = Some(Marks::Unreadable("down".into()));
    world.reconcile();
    assert_told(&world, "Ready", "True/Succeeded", "nothing is promoted until");
}

/// A mark is data that others may write: it can neither lead to a sequence that overflows nor be passed over.
#[test]
fn sequence_04_a_forged_mark_is_named_and_holds() {
    let mut world = promoted(1);
    for forged in [i64::MAX, MARK_SEQUENCE_MAX + 1] {
        world.marks = Some(marked(forged, Some("main-1")));
        push_all(&mut world, "main-2", AMD64, 1);
        pass(&mut world, 120);
        assert_eq!(commits(&world).len(), 1);
        assert_told(&world, "Ready", "True/Succeeded", &forged.to_string());
    }
    for nonsense in [i64::MIN, -1, 0, 1] {
        world.marks = Some(marked(nonsense, Some("main-9")));
        world.reconcile();
        assert_told(&world, "Ready", "True/Succeeded", "is promoted");
    }
    assert_eq!(commits(&world), ["main-1/1", "main-2/2"]);
}

#[test]
fn sequence_04_a_mark_without_a_place_waits_for_a_pin() {
    let mut world = world(|_| {});
    push_all(&mut world, "main-1", AMD64, 1);
    world.marks = Some(marked(4, Some("v1")));
    pass(&mut world, 120);
    assert!(world.commits.is_empty());
    assert_told(&world, "Stalled", "True/FloorNotOrdered", "does not accept v1");
    world.edit(|parts| parts.pin = Some("main-1".parse().unwrap()));
    world.commits.push(tidegate::model::Promoted { sequence: 4, ..promoted(1).commits.remove(0) });
    world.reconcile();
    assert_eq!(commits(&world)[1..], ["main-1/5"]);
    world.edit(|parts| parts.pin = None);
    push_all(&mut world, "main-2", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[1..], ["main-1/5", "main-2/6"], "the pin is the floor now");
}

/// After a rollback by a pin a backup brings back the release that was left: neither it nor what is below returns.
#[test]
fn sequence_04_a_recorded_floor_above_the_mark_stays() {
    let mut world = promoted(2);
    world.edit(|parts| parts.pin = Some("main-1".parse().unwrap()));
    world.reconcile();
    assert_eq!(commits(&world)[2..], ["main-1/3"]);
    world.restore(2);
    world.edit(|parts| parts.pin = None);
    pass(&mut world, 600);
    assert_eq!(commits(&world).len(), 3, "main-2 was left on purpose, main-1 is below it");
    push_all(&mut world, "main-3", AMD64, 1);
    pass(&mut world, 120);
    assert_eq!(commits(&world)[3..], ["main-3/4"]);
}

#[test]
fn sequence_04_not_before_counts_as_recorded() {
    let mut world = world(|parts| parts.candidates.not_before = Some("main-3".parse().unwrap()));
    push_all(&mut world, "main-2", AMD64, 1);
    push_all(&mut world, "main-3", AMD64, 1);
    world.marks = Some(marked(0, Some("main-2")));
    pass(&mut world, 120);
    assert!(world.commits.is_empty());
    world.marks = Some(marked(0, Some("main-3")));
    pass(&mut world, 120);
    assert_eq!(commits(&world), ["main-3/1"]);
}

#[test]
fn sequence_04_a_mark_that_cannot_be_ordered_is_no_stall() {
    let mut world = world(|parts| {
        parts.candidates.order = Order::Untold(tidegate::model::Doubt::new(
            tidegate::model::DoubtKind::Reference,
            "ImagePolicy/app was not found",
        ));
    });
    push_all(&mut world, "main-1", AMD64, 1);
    world.marks = Some(marked(4, Some("main-1")));
    pass(&mut world, 120);
    assert!(world.commits.is_empty() && !told(&world).contains_key("Stalled"));
    assert_told(&world, "Ready", "False/OrderUntold", "ImagePolicy/app was not found");
}
