//! Outages around a running controller: an API server or registry that swallows everything, is slow, or is away. Nothing moves
//! meanwhile, and what was pushed meanwhile is promoted afterwards.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::{Fate, Gate};
use super::invariants::{Witness, sent_twice};
use super::wire::{Mode, Wire};
use crate::cluster::tools::say_once;
use crate::controller::real::Real;

const SUITE: &str = "faults";
/// Longer than the deadline of a call (10 s) and of a registry's request, so that each runs out under way. The specification's
/// 60 s add more of the same looks: the longest pause of a look at rest is `interval`, here its least, 10 s.
const OUTAGE: Duration = Duration::from_secs(12);
/// From the end of an outage to a promotion: a request under way (10 s), a pause after an error (5 s), the next look
/// (`interval`, 10 s), and the promotion (5 s).
const RECOVERY: Duration = Duration::from_secs(30);
/// From then to a watch that is known to be dead: 30 s, and 5 s of grace; then a promotion.
const WATCH_RECOVERY: Duration = Duration::from_secs(45);
/// Of each reply of a slow API server.
const SLOWNESS: Duration = Duration::from_secs(1);
/// For two promotions of about 25 calls each, one after the other.
const SLOW_DEADLINE: Duration = Duration::from_mins(1);
/// Of one watch, until kube's pauses would be 13 s.
const REFUSALS: usize = 5;
/// For a promotion that a watch tells of at once.
const UNDISTURBED: Duration = Duration::from_secs(4);
const PACE: Duration = Duration::from_millis(100);

/// Waits until the set promoted that sequence and its target carries the tag.
async fn promoted(real: &Real, name: &str, sequence: i64, tag: &str, within: Duration) -> Duration {
    let began = Instant::now();
    let waited = tokio::time::timeout(within, async {
        loop {
            let promoted = real.status(name).await.promoted;
            let target = real.config_maps().get_opt(&format!("{name}-release")).await.unwrap();
            let carried = target.and_then(|map| map.data?.remove("RELEASE_TAG"));
            if promoted.is_some_and(|promoted| promoted.sequence == sequence)
                && carried.as_deref() == Some(tag)
            {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    });
    if waited.await.is_err() {
        let status = serde_json::to_string_pretty(&real.status(name).await).unwrap();
        panic!("{tag} was not promoted within {within:?}: {status}");
    }
    began.elapsed()
}

async fn api_server_swallows() -> Option<String> {
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

async fn api_server_is_slow() -> Option<String> {
    let mut real = Real::prepare(SUITE).await?;
    let gate = Gate::start(real.account().1).await;
    real.ask_through(gate.url());
    gate.judge(|_| Fate::Late(SLOWNESS));
    let witness = Witness::start(&real.client, &real.namespace);
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    let controller = real.spawn();
    let first = promoted(&real, "acme", 1, "main-1", SLOW_DEADLINE).await;
    real.push_both("main-2").await;
    real.ask("acme").await;
    let second = promoted(&real, "acme", 2, "main-2", SLOW_DEADLINE).await;
    assert_eq!(witness.broken().await, Vec::<String>::new());
    assert_eq!(sent_twice(&gate.seen()), Vec::<String>::new());
    drop(controller);
    Some(format!("API server 1 s slow: promoted after {} s and {} s", first.as_secs(), second.as_secs()))
}

/// kube would pause all watches for what one of them was refused.
async fn one_watch_fails() -> Option<String> {
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

async fn registry_is_away(mode: Mode) -> Option<String> {
    let real = Real::prepare(SUITE).await?;
    let wire = Wire::start(&real.registry.host()).await;
    let witness = Witness::start(&real.client, &real.namespace);
    let mut spec = real.spec("acme-release");
    for image in spec["images"].as_array_mut().unwrap() {
        let straight = image["repository"].as_str().unwrap().to_owned();
        image["repository"] = straight.replace(&real.registry.host(), &wire.address()).into();
    }
    real.push_both("main-1").await;
    real.create("acme", spec).await;
    let controller = real.spawn();
    promoted(&real, "acme", 1, "main-1", RECOVERY).await;
    wire.set(mode);
    real.push_both("main-2").await;
    real.ask("acme").await;
    tokio::time::sleep(OUTAGE).await;
    let status = real.status("acme").await;
    let condition = |name: &str| {
        status.conditions.iter().find(|known| known.condition == name).map(|known| known.status.clone())
    };
    assert_eq!(status.promoted.as_ref().unwrap().sequence, 1);
    assert_eq!(condition("Ready").as_deref(), Some("True"), "S6: {:?}", status.conditions);
    assert_ne!(condition("PromotedAvailable").as_deref(), Some("False"), "S6: {:?}", status.conditions);
    assert_ne!(condition("TagMoved").as_deref(), Some("True"), "S6: {:?}", status.conditions);
    wire.set(Mode::Pass);
    let took = promoted(&real, "acme", 2, "main-2", RECOVERY).await;
    assert_eq!(witness.broken().await, Vec::<String>::new());
    drop(controller);
    Some(format!("registry {mode:?}: promoted {} s later", took.as_secs()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pushed_in_an_outage_is_promoted_after_it() {
    let began = Instant::now();
    let told = futures::join!(
        api_server_swallows(),
        api_server_is_slow(),
        registry_is_away(Mode::HangUp),
        registry_is_away(Mode::Swallow),
        one_watch_fails(),
    );
    if let (Some(first), Some(second), Some(third), Some(fourth), Some(fifth)) = told {
        let told = [first, second, third, fourth, fifth].join("; ");
        say_once(format!("faults: 5 outages in {} s: {told}", began.elapsed().as_secs()));
    }
}
