//! An API server that swallows everything, is slow, or refuses one watch.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;

use super::gate::{Fate, Gate, sent_twice};
use super::outages::{PACE, SUITE, promoted};
use super::wire::{Mode, Wire};
use super::witness::Witness;
use crate::controller::real::Real;

/// Longer than the deadline of a call (10 s), so that each runs out under way.
const OUTAGE: Duration = Duration::from_secs(12);
/// From the end of an outage to a promotion: a request under way (10 s), a pause after an error (5 s), the next look
/// (`interval`, 10 s), and the promotion (5 s).
const RECOVERY: Duration = Duration::from_secs(30);
/// From then to a watch that is known to be dead: 30 s, and 5 s of grace; then a promotion.
const WATCH_RECOVERY: Duration = Duration::from_secs(45);
/// Of each answer of a slow API server.
const SLOWNESS: Duration = Duration::from_secs(3);
/// For a promotion by a process that begins: at most 25 such calls one after the other.
const SLOW_DEADLINE: Duration = Duration::from_secs(75);
/// Of one watch, until kube's pauses would be 13 s.
const REFUSALS: usize = 5;
/// For a promotion that a watch tells of at once.
const UNDISTURBED: Duration = Duration::from_secs(4);

/// Connections that lead nowhere, for a while.
pub async fn api_server_swallows() -> Option<String> {
    let mut real = Real::prepare(SUITE).await?;
    let plane = real.account().1;
    let wire = Wire::start(plane.url().trim_start_matches("https://")).await;
    real.ask_through(&format!("https://{}", wire.address()));
    let witness = Witness::start(&real.client, &real.namespace);
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    let controller = real.spawn();
    promoted(&real, "acme", 1, "main-1", RECOVERY).await;
    wire.set(Mode::Swallow);
    real.push_both("main-2").await;
    real.ask("acme").await;
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(real.status("acme").await.promoted.unwrap().sequence, 1, "it writes past the proxy");
    wire.set(Mode::Pass);
    let took = promoted(&real, "acme", 2, "main-2", RECOVERY).await;
    // Watches of before the outage are half-open for good, and nothing but a watch tells of a new set.
    real.create("new", real.spec("new-release")).await;
    let seen = promoted(&real, "new", 1, "main-2", WATCH_RECOVERY).await;
    assert_eq!(witness.broken().await, Vec::<String>::new());
    drop(controller);
    Some(format!(
        "API server half-open: promoted {} s later, watches {} s later",
        took.as_secs(),
        seen.as_secs()
    ))
}

/// From when on an API server takes its time for every answer, those to the lease too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Before the controller starts.
    FromTheStart,
    /// After its first promotion.
    Later,
}

/// Loses nothing, the lease included.
pub async fn api_server_is_slow(slow: Slow) -> Option<String> {
    let mut real = Real::prepare(SUITE).await?;
    let gate = Gate::start(real.account().1).await;
    real.ask_through(gate.url());
    real.flags =
        ["--leader-elect".to_owned(), format!("--leader-election-namespace={}", real.namespace)].to_vec();
    let witness = Witness::start(&real.client, &real.namespace);
    real.create("acme", real.spec("acme-release")).await;
    let (mut controller, mut sequence) = (None, 1);
    if slow == Slow::Later {
        controller = Some(real.spawn());
        real.push_both("main-1").await;
        promoted(&real, "acme", 1, "main-1", RECOVERY).await;
        sequence = 2;
    }
    gate.judge(|_| Fate::Late(SLOWNESS));
    let controller = controller.unwrap_or_else(|| real.spawn());
    let tag = format!("main-{sequence}");
    real.push_both(&tag).await;
    real.ask("acme").await;
    let took = promoted(&real, "acme", sequence, &tag, SLOW_DEADLINE).await;
    assert_eq!(witness.broken().await, Vec::<String>::new());
    assert_eq!(sent_twice(&gate.seen()), Vec::<String>::new());
    let leases: Api<Lease> = Api::namespaced(real.client.clone(), &real.namespace);
    let [lease] = leases.list(&ListParams::default()).await.unwrap().items.try_into().unwrap();
    let lease = lease.spec.unwrap();
    assert!(lease.holder_identity.is_some_and(|holder| !holder.is_empty()), "it gave the lease up");
    assert_eq!(lease.lease_transitions.unwrap_or(0), 0, "it lost the lease");
    drop(controller);
    let (slowness, took) = (SLOWNESS.as_secs(), took.as_secs());
    Some(format!("API server {slowness} s slow ({slow:?}): promoted after {took} s"))
}

/// kube would pause all watches for what one of them was refused.
pub async fn one_watch_fails() -> Option<String> {
    let mut real = Real::prepare(SUITE).await?;
    let gate = Gate::start(real.account().1).await;
    real.ask_through(gate.url());
    gate.judge(|asked| if asked.what == "list pods" { Fate::Refused(500) } else { Fate::Pass });
    real.push_both("main-1").await;
    let mut spec = real.spec("acme-release");
    // No poll comes while this test waits: it is a watch that tells.
    spec["interval"] = "10m".into();
    real.create("acme", spec).await;
    let controller = real.spawn();
    promoted(&real, "acme", 1, "main-1", RECOVERY).await;
    let refused = || gate.seen().iter().filter(|seen| seen.asked.what == "list pods").count();
    let waited = tokio::time::timeout(RECOVERY, async {
        while refused() < REFUSALS {
            tokio::time::sleep(PACE).await;
        }
    });
    assert!(waited.await.is_ok(), "it gave up a watch");
    real.push_both("main-2").await;
    real.ask("acme").await;
    let took = promoted(&real, "acme", 2, "main-2", RECOVERY).await;
    assert!(took <= UNDISTURBED, "the other watches waited: {took:?}");
    drop(controller);
    Some(format!("one watch refused {} times: promoted {} ms after the push", refused(), took.as_millis()))
}
