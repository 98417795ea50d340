//! One run: a story, a plan of faults, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use tidegate::invariants::{self, Violation};

use super::fault::Plan;
use super::fences::Fences;
use super::line::Entry;
use super::oracle;
use super::process::Pace;
use super::story::{Story, until};
use super::trouble::Lock;
use super::world::{SET, World};

/// Longer than the interval of every story: nothing is written in between any more.
const QUIET: SignedDuration = SignedDuration::from_secs(12);
/// How long it must stay so, where that is watched.
const REST: Duration = Duration::from_mins(10);
/// One of so many random schedules is watched at rest.
const RESTS_OF: u64 = 50;
/// Sets the dice of clocks apart from those of faults.
const CLOCKS_APART: u64 = 0xC10_C45;

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

/// Plays a story with faults. By chance, there are two replicas for every other seed, whose clocks are wrong.
pub fn run(story: &Story, plan: Plan, seed: u64) -> Outcome {
    let mut dice = fastrand::Rng::with_seed(seed ^ CLOCKS_APART);
    let paces = match &plan {
        Plan::Chance(_) if seed % 2 == 1 => vec![Pace::by_chance(&mut dice), Pace::by_chance(&mut dice)],
        _ => vec![Pace::RIGHT],
    };
    let is_watched_at_rest = matches!(plan, Plan::Chance(_)) && seed.is_multiple_of(RESTS_OF);
    on_a_runtime(seed, play(story, plan, &paces, is_watched_at_rest))
}

/// Plays a story without faults, and watches what is left at rest.
pub fn run_and_rest(story: &Story) -> Outcome {
    on_a_runtime(0, play(story, Plan::Nothing, &[Pace::RIGHT], true))
}

/// Runs a world on a runtime of its own, in virtual time.
pub fn on_a_runtime<T>(seed: u64, world: impl Future<Output = T>) -> T {
    // The back-off of kube's watches draws from this thread's generator.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(world)
}

async fn play(story: &Story, plan: Plan, paces: &[Pace], is_watched_at_rest: bool) -> Outcome {
    let mut world = World::new(plan, story.lock, Fences::ALL);
    if story.lock != Lock::Open {
        world.lock_registry("first");
        world.write_secret("first").await;
    }
    world.create(SET, &story.spec).await;
    let replicas = u32::try_from(paces.len()).unwrap();
    for (first, pace) in (1..).zip(paces) {
        world.start_controllers(first, replicas, *pace);
    }
    let (mut broken, mut notes) = (Vec::new(), Vec::new());
    for act in &story.acts {
        if let Err(failed) = act.perform(&world, story, &mut notes).await {
            broken.push(failed);
            break;
        }
    }
    if broken.is_empty() {
        broken.extend(settle(&world, paces).await.err());
        if is_watched_at_rest {
            broken.extend(rest(&world).await.map(|broken| broken.to_string()));
        }
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
async fn settle(world: &World, paces: &[Pace]) -> Result<(), String> {
    // By the slowest clock.
    let slowest = paces.iter().map(|pace| pace.in_truth(QUIET)).max().unwrap_or(QUIET);
    let quiet = slowest.max(QUIET);
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
        leader.is_some() && now.duration_since(last) > quiet
    })
    .await
}

/// L5: at rest nothing is written for long.
async fn rest(world: &World) -> Option<Violation> {
    let before = world.witness.writes();
    tokio::time::sleep(REST).await;
    let after = world.witness.writes();
    let written = after.into_iter().filter(|(object, writes)| before.get(object) != Some(writes));
    invariants::l5_quiet(&written.map(|(object, _)| object).collect::<Vec<_>>())
}
