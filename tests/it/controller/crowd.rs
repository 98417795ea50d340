//! L4: sets of a registry that is well, in a running controller beside many whose registry never answers. The
//! controller, its queue and its registry client are those of production; API and registry are embedded and take their time, which is virtual,
//! so that what is measured is waiting and not the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::client::Body;
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, crd};
use tidegate::cli::demo::scenario::Push;
use tidegate::cli::demo::world::index_of;
use tidegate::controller::context::Context;
use tidegate::controller::watch::{self, WatchOptions};
use tidegate::embedded::api::ApiServer;
use tidegate::embedded::api::rules::promoted_never_goes_back;
use tidegate::embedded::registry::{Options, RegistryServer};
use tidegate::invariants::l4_not_delayed;
use tidegate::registry::{Client as Registry, Pace};
use tidegate::telemetry::clock::Clock;
use tidegate::telemetry::metrics::Metrics;
use tidegate::web::Pages;
use tokio::time::Instant;

use crate::cluster::tools::say_once;

const NAMESPACE: &str = "acme";
/// The registry that is well.
const WELL: &str = "well.test";
/// The one that takes every request and answers none.
const SILENT: &str = "silent.test";
/// Of one answer of an API server, and of a registry.
const API_TAKES: Duration = Duration::from_millis(5);
const REGISTRY_TAKES: Duration = Duration::from_millis(20);
/// Sets that a controller works on at once, as the flag's default.
const CONCURRENCY: u16 = 64;
/// Sets of the registry that is well.
const HEALTHY: usize = 10;
/// Releases of each of them.
const ROUNDS: usize = 12;
/// Between two releases: 12 requests each, of the 20 a second that one host gets.
const PAUSE: Duration = Duration::from_secs(1);
/// Until a registry from which nobody comes back is known to hold those who ask it (1 s), and until those who waited for it
/// have gone.
const FOUND_OUT: Duration = Duration::from_secs(2);
/// Between two looks of the measurement.
const PACE: Duration = Duration::from_millis(5);
/// For any release at all.
const DEADLINE: Duration = Duration::from_mins(2);

struct World {
    api: ApiServer,
    registry: RegistryServer,
    sets: Api<ReleaseSet>,
    /// Requests that the silent registry got.
    unanswered: Arc<AtomicUsize>,
}

// === impl World ===

impl World {
    /// A running controller and no set.
    fn start() -> Self {
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        let api = ApiServer::new(clock.clone());
        api.register_crd(serde_json::to_value(crd::crd()).unwrap()).unwrap();
        api.add_rule("tidegate.dev", "releasesets", "status", Arc::new(promoted_never_goes_back));
        let registry = RegistryServer::in_process(WELL, Options::default(), clock.clone());
        let inner = api.client("controller", NAMESPACE);
        let slow = tower::service_fn(move |request: http::Request<Body>| {
            let inner = inner.clone();
            async move {
                tokio::time::sleep(API_TAKES).await;
                inner.send(request).await
            }
        });
        let unanswered = Arc::new(AtomicUsize::new(0));
        let (well, asked) = (registry.clone(), Arc::clone(&unanswered));
        let answer = Arc::new(move |request: http::Request<bytes::Bytes>| {
            let (well, asked) = (well.clone(), Arc::clone(&asked));
            let work = async move {
                if request.uri().host() == Some(SILENT) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    return std::future::pending().await;
                }
                tokio::time::sleep(REGISTRY_TAKES).await;
                well.answer(request).await
            };
            Box::pin(work) as _
        });
        let client = Registry::new(clock.clone())
            .paced_by(Pace { seed: Some(1), ..Pace::default() })
            .in_process(answer);
        let metrics = Metrics::default();
        let context = Context::new(Client::new(slow, NAMESPACE), Arc::new(client), clock, metrics.clone());
        let options = WatchOptions { namespace: None, selector: None, concurrency: CONCURRENCY };
        tokio::spawn(watch::run(context, options, Pages::new(metrics), std::future::pending()));
        let sets = Api::namespaced(api.client("user", NAMESPACE), NAMESPACE);
        Self { api, registry, sets, unanswered }
    }

    async fn create(&self, name: &str, host: &str) {
        let images = ["app", "worker"]
            .map(|image| json!({"name": image, "repository": format!("{host}/{name}/{image}")}));
        let spec = json!({
            "interval": "10s",
            "images": images,
            "registry": {"insecure": true},
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {"order": "asc"}},
            },
            "targets": [{"name": "config", "configMap": {"name": format!("{name}-release")}}],
        });
        let set = ReleaseSet::new(name, serde_json::from_value(spec).unwrap());
        self.sets.create(&PostParams::default(), &set).await.unwrap();
    }

    /// From the push of a tag to its commit.
    async fn release(&self, name: &str, number: usize) -> Duration {
        let tag = format!("main-{number}");
        for image in ["app", "worker"] {
            let push: Push =
                serde_json::from_value(json!({"image": image, "tag": tag, "runsFor": "0s"})).unwrap();
            self.registry.push_index(&format!("{name}/{image}"), Some(&tag), &index_of(&push));
        }
        let began = Instant::now();
        let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": tag}}});
        self.sets.patch(name, &PatchParams::default(), &Patch::Merge(asked)).await.unwrap();
        while self.promoted(name) != Some(json!(tag)) {
            assert!(began.elapsed() < DEADLINE, "{name} did not promote {tag}: {:?}", self.set(name));
            tokio::time::sleep(PACE).await;
        }
        began.elapsed()
    }

    fn set(&self, name: &str) -> Option<Arc<Value>> {
        self.api.object("tidegate.dev", "releasesets", NAMESPACE, name)
    }

    fn promoted(&self, name: &str) -> Option<Value> {
        self.set(name)?.pointer("/status/promoted/tag").cloned()
    }
}

/// How long releases of sets that are well took, in order, beside so many of a silent registry.
async fn releases_beside(silent: usize) -> Vec<Duration> {
    let world = World::start();
    for number in 0..silent.max(HEALTHY) {
        if number < silent {
            world.create(&format!("silent-{number}"), SILENT).await;
        }
        if number < HEALTHY {
            world.create(&format!("well-{number}"), WELL).await;
        }
    }
    let mut took = Vec::new();
    for round in 1..=ROUNDS {
        for number in 0..HEALTHY {
            took.push(world.release(&format!("well-{number}"), round).await);
            tokio::time::sleep(PAUSE).await;
        }
    }
    let asked = world.unanswered.load(Ordering::Relaxed);
    assert_eq!(asked > 0, silent > 0, "{asked} requests were not answered");
    took
}

/// Of these, 99 in 100 were not longer.
fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[(took.len() * 99).div_ceil(100) - 1]
}

#[tokio::test(start_paused = true)]
async fn sets_that_are_well_are_not_delayed_by_a_registry_that_never_answers() {
    let alone = p99(releases_beside(0).await);
    for silent in [50, 200] {
        let took = releases_beside(silent).await;
        let (longest, beside) = (took.iter().copied().max().unwrap_or_default(), p99(took.clone()));
        say_once(format!(
            "L4: p99 of {} releases beside {silent} sets of a silent registry {} ms (the longest {} ms), alone {} ms",
            took.len(),
            beside.as_millis(),
            longest.as_millis(),
            alone.as_millis()
        ));
        let span = |took: Duration| SignedDuration::try_from(took).unwrap();
        assert_eq!(l4_not_delayed(span(beside), span(alone)), None, "beside {silent}: {took:?}");
        // One at most waits, for a place that a registry of which nothing is known yet has taken.
        assert!(longest <= alone + FOUND_OUT, "beside {silent}: {took:?}");
    }
}
