//! Two controllers that both act all the time, with requests that arrive late, processes that stop and go on, and clocks
//! that are wrong: nothing but the fences of the API server keeps them apart. They reconcile by a queue of this schedule's
//! own, so that a world may hold several sets.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidegate::controller::reconcile::reconcile;
use tidegate::telemetry::metrics::Metrics;

use super::fault::Plan;
use super::fences::{Fence, Fences};
use super::line::Entry;
use super::process::{Pace, Process};
use super::run::on_a_runtime;
use super::stories;
use super::story::{Act, until};
use super::trouble::Lock;
use super::world::{NAMESPACE, SET, World};

/// The other set, which wants the same target.
const RIVAL: &str = "rival";

/// How long one push is waited for before the next.
const CARRIED_WITHIN: Duration = Duration::from_secs(45);

/// How a duel goes on after a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// At once: mostly the last release alone is ever carried by the target.
    InARow,
    /// When the target carries it: the target is written over each time.
    EachCarried,
}

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
pub fn duel(seed: u64, fences: Fences, length: Length) -> Duel {
    on_a_runtime(seed, play(seed, fences, length))
}

async fn play(seed: u64, fences: Fences, length: Length) -> Duel {
    let mut rng = fastrand::Rng::with_seed(seed);
    let plan = Plan::of_delays(seed, length == Length::EachCarried);
    let mut world = World::new(plan, Lock::Open, fences);
    let spec = stories::spec(json!({}));
    let sets: &[&'static str] = if seed.is_multiple_of(3) { &[SET, RIVAL] } else { &[SET] };
    for set in sets {
        world.create(set, &spec).await;
    }
    for id in 1..=2 {
        start(&mut world, id, sets, fences.hold(Fence::Election), &mut rng);
    }
    for act in acts(&mut rng) {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..15_000))).await;
        match act {
            Step::Push(tag) => {
                for image in ["app", "worker"] {
                    world.push(&Act::pushed(image, tag, 0));
                }
                if length == Length::EachCarried {
                    let carried = until(&world, tag, || carries(&world, tag));
                    // A pin may keep it away.
                    let _ = tokio::time::timeout(CARRIED_WITHIN, carried).await;
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

/// A controller that reconciles what its own dice say: while it leads, or all the time where there is no election.
fn start(
    world: &mut World,
    id: u32,
    sets: &'static [&'static str],
    is_elected: bool,
    rng: &mut fastrand::Rng,
) {
    let pace = Pace::by_chance(rng);
    let (process, clock) = (Process::new(id, pace), world.clock_at(pace));
    let (client, metrics) = (world.line.client(&process), Metrics::default());
    let mut context = process.context(&world.line, client.clone(), &clock, &metrics);
    if is_elected {
        let election = process.election(client, &clock, &metrics);
        context = context.led_by(election.leadership());
        let me = process.clone();
        world.spawn(async move { me.run(election.run(std::future::pending())).await });
    }
    let mut dice = rng.fork();
    let working = async move {
        let mut turns = Box::pin(context.leadership.turns());
        loop {
            // As the watches of a controller do.
            if turns.next().now_or_never().is_some() {
                context.forget_all();
            }
            let set = sets[dice.usize(0..sets.len())];
            if context.leadership.is_held() {
                // What failed is tried again at the next turn.
                let _ = Box::pin(reconcile(&context, NAMESPACE, set)).await;
            }
            tokio::time::sleep(Duration::from_millis(dice.u64(200..4_000))).await;
        }
    };
    world.spawn(async move { process.run(working).await });
}

/// Everybody has promoted the newest, and the target carries it for one of them.
fn ended(world: &World, sets: &[&str]) -> bool {
    let promoted =
        |set: &&str| world.set(set).is_some_and(|set| set["status"]["promoted"]["tag"] == "main-3");
    carries(world, "main-3") && sets.iter().all(promoted)
}

fn carries(world: &World, tag: &str) -> bool {
    world.target("acme-release").is_some_and(|target| target["data"]["RELEASE_TAG"] == tag)
}
