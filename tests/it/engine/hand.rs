//! The paper world driven by hand: one answer or one decision at a time, where a whole reconcile would say too much.

use std::sync::Arc;

use tidegate::engine::decide;
use tidegate::engine::decision::{Answer, Decision};
use tidegate::engine::policy::{Policy, PolicyParts};
use tidegate::model::{Sighted, Sighting, Tag, TagList};

use super::properties::{IMAGES, policy};
use super::world::World;

pub const AMD64: &[&str] = &["linux/amd64"];

/// Three images, numbered tags, gates by their bits ([`policy`]); changed as a test wants it.
pub fn world(gates: u8, change: impl FnOnce(&mut PolicyParts)) -> World {
    let mut parts = policy(gates, false);
    change(&mut parts);
    World::new(Policy::new(parts).unwrap())
}

pub fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Pushes all three images.
pub fn push_all(world: &mut World, tag: &str, platforms: &[&str], build: u32) {
    for image in IMAGES {
        world.push(image, tag, platforms, build);
    }
}

/// What is decided now, without carrying it out.
pub fn decided(world: &World) -> Decision {
    decide(&world.policy, &world.observation, world.now)
}

/// Tags that are followed now.
pub fn followed(world: &World) -> Vec<String> {
    decided(world).followed.iter().map(|candidate| candidate.tag.to_string()).collect()
}

/// Takes in an answer that comes now.
pub fn absorb(world: &mut World, answer: Answer) {
    world.observation.memory.absorb(&world.policy, &world.observation.record, answer, world.now);
}

/// A whole list.
pub fn tags(names: &[&str]) -> Sighting<Arc<TagList>> {
    Sighting::Present(Arc::new(names.iter().collect()))
}

/// Takes in a list that is asked for and answered now.
pub fn list(world: &mut World, image: &str, sighting: Sighting<Arc<TagList>>) {
    let sighted = Sighted { asked_at: world.now, sighting };
    absorb(world, Answer::List { image: image.parse().unwrap(), sighted });
}
