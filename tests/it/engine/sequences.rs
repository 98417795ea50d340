//! The failure sequences that a careless engine would allow, by their numbers, and the rules that prevent each.

mod named;
mod nothing;
mod older_status;
mod order;
mod paces;
mod same_tag;
mod spec_edits;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tidegate::engine::policy::PolicyParts;
use tidegate::engine::report::conditions;

use super::hand::{self, AMD64, push_all};
use super::world::World;

const BOTH: &[&str] = &["linux/amd64", "linux/arm64"];

/// Three images, numbered tags, no gates; changed as a test wants it.
fn world(change: impl FnOnce(&mut PolicyParts)) -> World {
    hand::world(0, change)
}

/// A world that promoted `main-1` and so on up to `main-N`, one after the other.
fn promoted(count: usize) -> World {
    let mut world = world(|_| {});
    for number in 1..=count {
        push_all(&mut world, &format!("main-{number}"), AMD64, 1);
        pass(&mut world, 120);
    }
    assert_eq!(commits(&world).len(), count);
    world
}

fn pass(world: &mut World, secs: i64) {
    world.pass(SignedDuration::from_secs(secs));
}

/// Every commit as `tag/sequence`, oldest first.
fn commits(world: &World) -> Vec<String> {
    let text = |commit: &tidegate::model::Promoted| format!("{}/{}", commit.release.tag, commit.sequence);
    world.commits.iter().map(text).collect()
}

/// Condition type → `status/reason: message`.
fn told(world: &World) -> BTreeMap<String, String> {
    let record = &world.observation.record;
    let reports = conditions(&world.policy, record, &world.decision, &BTreeMap::new());
    let text = |report: tidegate::engine::report::ConditionReport| {
        let status = if report.status { "True" } else { "False" };
        (report.condition.to_string(), format!("{status}/{}: {}", report.reason, report.message))
    };
    reports.into_iter().map(text).collect()
}

fn assert_told(world: &World, condition: &str, beginning: &str, part: &str) {
    let told = told(world);
    let text = told.get(condition).map_or("absent", String::as_str);
    assert!(text.starts_with(beginning) && text.contains(part), "{condition} is {text}");
}

fn followed(world: &World) -> Vec<String> {
    world.decision.followed.iter().map(|candidate| candidate.tag.to_string()).collect()
}

fn asked(world: &World, kind: &str) -> usize {
    world.requests.get(kind).copied().unwrap_or_default()
}
