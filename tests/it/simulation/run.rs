//! One run: a story, a plan of faults, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use super::fault::Plan;
use super::line::Entry;
use super::oracle;
use super::story::{Story, until};
use super::world::{ALL_FENCES, SET, World};

/// Longer than the interval of every story: nothing is written in between any more.
const QUIET: SignedDuration = SignedDuration::from_secs(12);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Requests of controllers.
    pub requests: u64,
    pub log: Vec<Entry>,
    /// What is left, without times.
    pub end: Value,
    /// Writes of controllers by object.
    pub writes: BTreeMap<String, u64>,
    pub commits: u64,
    pub injected: BTreeMap<&'static str, u64>,
    /// Everything that was not as it must be.
    pub broken: Vec<String>,
}

/// Plays a story with faults. By chance, there are two replicas for every other seed.
pub fn run(story: &Story, plan: Plan, seed: u64) -> Outcome {
    let replicas = if matches!(plan, Plan::Chance(_)) { 1 + u32::from(seed % 2 == 1) } else { 1 };
    on_a_runtime(seed, play(story, plan, replicas))
}

/// Runs a world on a runtime of its own, in virtual time.
pub fn on_a_runtime<T>(seed: u64, world: impl Future<Output = T>) -> T {
    // The back-off of kube's watches draws from this thread's generator.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(world)
}

async fn play(story: &Story, plan: Plan, replicas: u32) -> Outcome {
    let mut world = World::new(plan, ALL_FENCES);
    if story.is_locked {
        world.lock_registry("first");
        world.write_secret("first").await;
    }
    world.create(SET, &story.spec).await;
    for replica in 0..replicas {
        // The second one's clock is an hour wrong.
        world.start_controllers(1 + replica, replicas, SignedDuration::from_hours(replica.into()));
    }
    let (mut broken, mut notes) = (Vec::new(), Vec::new());
    for act in &story.acts {
        if let Err(failed) = act.perform(&world, story, &mut notes).await {
            broken.push(failed);
            break;
        }
    }
    if broken.is_empty() {
        broken.extend(settle(&world).await.err());
    }
    let mut found = world.witness.violations();
    found.extend(broken);
    Outcome {
        requests: world.line.sent(),
        log: world.line.log(),
        end: oracle::end_state(&world),
        writes: world.witness.writes(),
        commits: world.witness.commits(),
        injected: world.line.injected(),
        broken: found,
    }
}

/// Waits until a controller leads and nothing is written any more: L5.
async fn settle(world: &World) -> Result<(), String> {
    until(world, "the faults are over", || world.line.is_calm()).await?;
    let calm = world.clock.now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reign = std::cell::RefCell::new((None, calm));
    until(world, "somebody leads and nothing is written at rest (L5)", || {
        let (leader, now) = (world.leader(), world.clock.now());
        let mut reign = reign.borrow_mut();
        if reign.0 != leader {
            *reign = (leader.clone(), now);
        }
        let last = world.line.last_write().map_or(reign.1, |last| last.max(reign.1)).max(calm);
        leader.is_some() && now.duration_since(last) > QUIET
    })
    .await
}
