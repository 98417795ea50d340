//! S2: a confirming look counts for exactly the digests that were judged.

use tidegate::engine::decide;
use tidegate::engine::decision::Question;
use tidegate::engine::policy::Policy;

use super::properties::policy;
use super::world::World;

#[test]
fn a_digest_that_changes_after_the_confirming_look_takes_it_back() {
    let mut world = World::new(Policy::new(policy(0, false)).unwrap());
    for image in ["app", "worker", "embeddings"] {
        world.push(image, "main-1", &["linux/amd64"], 1);
    }
    let mut confirmed = false;
    while !confirmed {
        let decision = decide(&world.policy, &world.observation, world.now);
        assert!(decision.commit.is_none(), "S1: a commit without a confirming look");
        assert!(!decision.ask.is_empty());
        for question in decision.ask {
            confirmed |= matches!(question, Question::Confirm { .. });
            let answer = world.answer(question);
            world.observation.memory.absorb(&world.policy, &world.observation.record, answer, world.now);
        }
    }
    assert!(decide(&world.policy, &world.observation, world.now).commit.is_some());
    world.push("worker", "main-1", &["linux/amd64", "linux/arm64"], 1);
    let (tag, image) = ("main-1".parse().unwrap(), "worker".parse().unwrap());
    let look = Question::Look { tag, image, since: world.now };
    let answer = world.answer(look);
    world.observation.memory.absorb(&world.policy, &world.observation.record, answer, world.now);
    let decision = decide(&world.policy, &world.observation, world.now);
    assert!(decision.commit.is_none(), "S2: a commit of digests that were not confirmed");
    assert!(matches!(decision.ask[..], [Question::Confirm { .. }]));
}
