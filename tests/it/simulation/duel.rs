//! Two controllers that both act all the time, with requests that arrive late, processes that stop and go on, and clocks
//! that are wrong: nothing but the fences of the API server keeps them apart. They reconcile by a queue of this schedule's
//! own, so that a world may hold several sets.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tidegate::controller::context::Context;
use tidegate::controller::reconcile::reconcile;
use tidegate::registry::{Client, Pace};
use tidegate::telemetry::metrics::Metrics;

use super::fault::Plan;
use super::line::Entry;
use super::process::Process;
use super::run::on_a_runtime;
use super::stories;
use super::story::{Act, until};
use super::world::{Fences, NAMESPACE, SET, World};

/// The other set, which wants the same target.
const RIVAL: &str = "rival";
/// A clock may be wrong by so many seconds.
const SKEW_SECS: i64 = 3_600;

/// What came of a duel.
pub struct Duel {
    pub requests: u64,
    /// Every request, for a replay.
    pub log: Vec<Entry>,
    pub injected: BTreeMap<&'static str, u64>,
    /// Something was written that must not be.
    pub violations: Vec<String>,
    /// It did not end well.
    pub stuck: Option<String>,
}

/// Plays one duel. Everything comes from the seed: every third world holds two sets that want one target.
pub fn duel(seed: u64, fences: Fences) -> Duel {
    on_a_runtime(seed, play(seed, fences))
}

async fn play(seed: u64, fences: Fences) -> Duel {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(Plan::of_delays(seed), fences);
    let spec = stories::spec(json!({}));
    let sets: &[&'static str] = if seed.is_multiple_of(3) { &[SET, RIVAL] } else { &[SET] };
    for set in sets {
        world.create(set, &spec).await;
    }
    for id in 1..=2 {
        start(&mut world, id, sets, &mut rng);
    }
    for act in acts(&mut rng) {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..15_000))).await;
        match act {
            Step::Push(tag) => {
                for image in ["app", "worker"] {
                    world.push(&Act::pushed(image, tag, 0));
                }
            }
            Step::Repush(tag) => world.push(&Act::pushed("worker", tag, 1)),
            Step::Edit(spec) => world.edit(SET, &spec).await,
        }
    }
    world.line.calm();
    let stuck = until(&world, "main-3 is promoted and carried", || ended(&world, sets)).await.err();
    Duel {
        requests: world.line.sent(),
        log: world.line.log(),
        injected: world.line.injected(),
        violations: world.witness.violations(),
        stuck,
    }
}

enum Step {
    Push(&'static str),
    Repush(&'static str),
    Edit(Value),
}

fn acts(rng: &mut fastrand::Rng) -> Vec<Step> {
    let mut acts = vec![Step::Push("main-1"), Step::Push("main-2")];
    if rng.bool() {
        acts.push(Step::Repush("main-2"));
    }
    if rng.bool() {
        acts.push(Step::Edit(json!({"pin": "main-1"})));
        acts.push(Step::Edit(json!({"pin": null})));
    }
    if rng.u32(0..4) == 0 {
        acts.push(Step::Edit(json!({"suspend": true})));
        acts.push(Step::Edit(json!({"suspend": null})));
    }
    acts.push(Step::Push("main-3"));
    acts
}

/// A controller that leads whatever the lease says, and reconciles what its own dice say.
fn start(world: &mut World, id: u32, sets: &'static [&'static str], rng: &mut fastrand::Rng) {
    let process = Process::new(id);
    let clock = world.clock_wrong_by(SignedDuration::from_secs(rng.i64(-SKEW_SECS..SKEW_SECS)));
    let pace = Pace { seed: Some(id.into()), ..Pace::default() };
    let registry = Client::new(clock.clone()).paced_by(pace).in_process(world.line.to_registry(&process));
    let client = world.line.client(&process);
    let context = Context::new(client, std::sync::Arc::new(registry), clock, Metrics::default());
    let mut dice = rng.fork();
    let working = async move {
        loop {
            let set = sets[dice.usize(0..sets.len())];
            // What failed is tried again at the next turn.
            let _ = Box::pin(reconcile(&context, NAMESPACE, set)).await;
            tokio::time::sleep(Duration::from_millis(dice.u64(200..4_000))).await;
        }
    };
    world.spawn(async move { process.run(working).await });
}

/// Everybody has promoted the newest, and the target carries it for one of them.
fn ended(world: &World, sets: &[&str]) -> bool {
    let promoted =
        |set: &&str| world.set(set).is_some_and(|set| set["status"]["promoted"]["tag"] == "main-3");
    let carried =
        world.target("acme-release").is_some_and(|target| target["data"]["RELEASE_TAG"] == "main-3");
    carried && sets.iter().all(promoted)
}
