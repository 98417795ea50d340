//! A registry that is away for a minute, in the middle of a release.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::gate::{Gate, sent_twice};
use super::outages::{PACE, SUITE, promoted};
use super::wire::{Mode, Wire};
use super::witness::Witness;
use crate::controller::real::Real;

/// Longer than every deadline, and than six looks at rest (`interval`, here its least, 10 s).
const OUTAGE: Duration = Duration::from_mins(1);
/// From its beginning until it is told: the next look (`interval`), and one request that is never answered (15 s).
const TOLD: Duration = Duration::from_secs(30);
/// From its end to a promotion: a probe under way that is never answered (15 s), the breaker's rest after it (a quarter of all
/// this: 19 s), the next look (`interval`, 10 s), and the promotion (5 s).
const RECOVERY: Duration = Duration::from_secs(49);
/// Before the first release.
const START: Duration = Duration::from_secs(30);

/// In which way it is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Every connection is closed, old and new.
    HangsUp,
    /// Every connection leads nowhere.
    Swallows,
    /// Its process ends, and another begins with the same content.
    IsKilled,
}

/// A set that has promoted main-1.
struct World {
    real: Real,
    gate: Gate,
    wire: Wire,
    witness: Witness,
    way: Way,
}

// === impl World ===

impl World {
    async fn prepare(way: Way) -> Option<Self> {
        let mut real = Real::prepare(SUITE).await?;
        let gate = Gate::start(real.account().1).await;
        real.ask_through(gate.url());
        let wire = Wire::start(&real.registry.host()).await;
        let witness = Witness::start(&real.client, &real.namespace);
        let mut spec = real.spec("acme-release");
        for image in spec["images"].as_array_mut().unwrap() {
            let straight = image["repository"].as_str().unwrap().to_owned();
            image["repository"] = straight.replace(&real.registry.host(), &wire.address()).into();
        }
        // What is promoted is looked at too while it is away.
        spec["driftInterval"] = json!("10s");
        real.push_both("main-1").await;
        real.create("acme", spec).await;
        Some(Self { real, gate, wire, witness, way })
    }

    async fn go(&self) {
        match self.way {
            Way::HangsUp => self.wire.set(Mode::HangUp),
            Way::Swallows => self.wire.set(Mode::Swallow),
            Way::IsKilled => return self.real.registry.kill(),
        }
        // The sibling comes where the controller does not see it.
        self.real.push("worker", "main-2").await;
    }

    async fn come_back(&self) {
        if self.way == Way::IsKilled {
            self.real.registry.begin().await;
            self.real.push("worker", "main-2").await;
        }
        self.wire.set(Mode::Pass);
    }

    /// What the gauge of the breaker says.
    async fn is_breaker_open(&self) -> bool {
        let page = self.real.page("/metrics").await;
        let of_host = |line: &&str| {
            line.starts_with("tidegate_registry_breaker_open{") && line.contains(&self.wire.address())
        };
        page.lines().find(of_host).is_some_and(|line| line.ends_with(" 1"))
    }

    async fn until(&self, within: Duration, what: &str, holds: impl AsyncFn() -> bool) {
        let waited = crate::cluster::poll(within, PACE, async || holds().await.then_some(()));
        if waited.await.is_none() {
            let status = serde_json::to_string_pretty(&self.real.status("acme").await).unwrap();
            panic!("{:?}: {what}, not within {within:?}: {status}", self.way);
        }
    }

    /// Whether the release in flight is told to wait for what cannot be told.
    async fn says_unknown(&self) -> bool {
        let conditions = self.real.status("acme").await.conditions;
        conditions.iter().any(|known| known.condition == "CandidateComplete" && known.reason == "Unknown")
    }

    /// S6 of every version of the set from `first` to `last`, of which all were written while the registry was away, and all
    /// after it was told so.
    async fn nothing_was_lost(&self, first: &str, last: &str) {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let versions = self.witness.of_set("acme").await;
        let version = |set: &Value| number(set["metadata"]["resourceVersion"].as_str().unwrap());
        let told = versions.iter().filter(|set| (number(first)..=number(last)).contains(&version(set)));
        let mut count = 0;
        for set in told {
            count += 1;
            let status = &set["status"];
            assert_eq!(status["promoted"]["sequence"], 1, "S6: {status}");
            let cells = status["candidates"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|candidate| candidate["cells"].as_array().cloned().unwrap_or_default());
            for cell in cells {
                assert_eq!(
                    (&cell["image"], &cell["state"]),
                    (&json!("worker"), &json!("Unknown")),
                    "{status}"
                );
            }
            for condition in status["conditions"].as_array().unwrap() {
                let is = condition["status"].as_str().unwrap();
                match condition["type"].as_str().unwrap() {
                    "Ready" | "PromotedAvailable" => assert_ne!(is, "False", "S6: {condition}"),
                    "TagMoved" | "Stalled" => assert_ne!(is, "True", "S6: {condition}"),
                    _ => assert_ne!(condition["reason"], "Missing", "S6: {condition}"),
                }
            }
        }
        assert!(count > 0, "no version between {first} and {last}");
    }

    async fn version(&self) -> String {
        self.real.sets().get("acme").await.unwrap().metadata.resource_version.unwrap()
    }

    /// No Event since then speaks of something that is missing or moved.
    async fn no_alarm(&self, known: usize) {
        let events = self.events().await;
        for event in &events[known.min(events.len())..] {
            let reason = event.reason.as_deref().unwrap_or_default();
            assert!(!["Missing", "TagMoved", "Gone", "PromotedMissing"].contains(&reason), "{event:?}");
        }
    }

    /// Oldest first.
    async fn events(&self) -> Vec<Event> {
        let events: Api<Event> = Api::namespaced(self.real.client.clone(), &self.real.namespace);
        let mut events = events.list(&ListParams::default()).await.unwrap().items;
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        events
    }
}

/// S6, and then L1: while it is away nothing moves and nothing is told Missing; what was in flight goes on afterwards.
pub async fn is_away(way: Way) -> Option<String> {
    let world = World::prepare(way).await?;
    let real = &world.real;
    let controller = real.spawn();
    promoted(real, "acme", 1, "main-1", START).await;
    // In flight: one sibling was seen.
    real.push("app", "main-2").await;
    real.ask("acme").await;
    real.wait_for("acme", "CandidateComplete", "False/Missing", "worker linux/amd64 missing").await;
    let began = Instant::now();
    let events = world.events().await.len();
    world.go().await;
    real.ask("acme").await;
    world.until(TOLD, "it is told that it cannot be told", async || world.says_unknown().await).await;
    let first = world.version().await;
    tokio::time::sleep_until(began + OUTAGE).await;
    assert!(world.is_breaker_open().await, "{way:?}: a host that is away for a minute is only probed");
    let last = world.version().await;
    world.no_alarm(events).await;
    world.come_back().await;
    let took = promoted(real, "acme", 2, "main-2", RECOVERY).await;
    assert!(!world.is_breaker_open().await, "{way:?}: a host that answers is asked as before");
    world.nothing_was_lost(&first, &last).await;
    assert_eq!(world.witness.broken().await, Vec::<String>::new());
    assert_eq!(sent_twice(&world.gate.seen()), Vec::<String>::new());
    drop(controller);
    Some(format!("registry {way:?} for {} s: promoted {} s later", OUTAGE.as_secs(), took.as_secs()))
}
