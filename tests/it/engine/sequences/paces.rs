//! Sequence 21: a candidate that lost a sibling is looked at ever more seldom, and a new one at once.

use jiff::SignedDuration;
use tidegate::engine::looks::paced;

use super::{AMD64, asked, world};

#[test]
fn sequence_21_a_dead_candidate_costs_less_and_less() {
    let interval = SignedDuration::from_mins(1);
    let at = |mins: i64| paced(SignedDuration::from_mins(mins), interval).as_secs();
    assert_eq!([at(0), at(1), at(10), at(20), at(48 * 60)], [3, 3, 30, 60, 60]);
    let mut world = world(|_| {});
    for image in ["app", "worker"] {
        world.push(image, "main-1", AMD64, 1);
    }
    let mut of_hours = Vec::new();
    for _ in 0..3 {
        let before = asked(&world, "look");
        world.pass(SignedDuration::from_hours(1));
        of_hours.push(asked(&world, "look") - before);
    }
    assert!(of_hours[1] < of_hours[0] && of_hours[2] == of_hours[1], "looks of each hour: {of_hours:?}");
}
