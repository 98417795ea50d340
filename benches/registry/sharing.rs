//! 1,000 sets over 50 repositories beside the fewest sets that name each of them, polled for a minute of virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::embedded::registry::{Operation, Options, RegistryServer};
use tidegate::registry::Client;
use tidegate::telemetry::clock::Clock;
use tokio::sync::Semaphore;

use crate::cluster::story::index;
use crate::cluster::watched::Watched;
use crate::numbers::{Row, table};

const REPOSITORIES: usize = 50;
const SETS: usize = 1_000;
/// Images of a set.
const IMAGES: usize = 3;
/// Sets that are worked on at once, as the controller's `--concurrency`.
const AT_ONCE: usize = 8;
/// Most minutes until every set has promoted: each commit is confirmed by requests that are never shared, and the host is
/// asked no faster than its pace allows.
const WARM_UP_MAX_MINUTES: usize = 60;
const MINUTE: Duration = Duration::from_mins(1);

/// Requests of one repository in the counted minute: tag lists and all.
#[derive(Clone, Copy, Default)]
struct Asked {
    lists: usize,
    all: usize,
}

/// Counts both and puts them side by side.
pub fn measure() -> String {
    let alone = requests(REPOSITORIES.div_ceil(IMAGES));
    let many = requests(SETS);
    let usual = |asked: &BTreeMap<String, Asked>, of: fn(&Asked) -> usize| {
        let mut counts: Vec<usize> = asked.values().map(of).collect();
        counts.sort_unstable();
        counts.get(counts.len() / 2).copied().unwrap_or(0)
    };
    let most =
        |asked: &BTreeMap<String, Asked>, of: fn(&Asked) -> usize| asked.values().map(of).max().unwrap_or(0);
    let (alone_all, many_all) = (usual(&alone, |asked| asked.all), most(&many, |asked| asked.all));
    let (alone_lists, many_lists) = (usual(&alone, |asked| asked.lists), most(&many, |asked| asked.lists));
    table(
        "1,000 sets over 50 repositories, at rest, polled for a minute",
        &[
            Row::new(
                "most requests to one repository in that minute (where one set names it)",
                format!("{many_all} ({alone_all})"),
                "as with one set",
                many_all <= alone_all,
            ),
            Row::new(
                "of them tag lists",
                format!("{many_lists} ({alone_lists})"),
                "as with one set",
                many_lists <= alone_lists,
            ),
        ],
    )
}

/// Requests to each repository in one minute after the warm-up.
fn requests(sets: usize) -> BTreeMap<String, Asked> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().expect("a time"));
        let registry =
            RegistryServer::start(Options::default(), clock.clone()).await.expect("loopback can be bound");
        for number in 0..REPOSITORIES {
            registry.push_index(
                &format!("shop/r{number}"),
                Some("main-1"),
                &index(&format!("r{number}"), "main-1"),
            );
        }
        let client = Arc::new(Client::new(clock.clone()));
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let promoted = Arc::new(AtomicUsize::new(0));
        for set in 0..sets {
            let watched = Watched::new(&images(set, &registry.host()));
            let shared = (Arc::clone(&client), Arc::clone(&turns), Arc::clone(&promoted));
            tokio::task::spawn_local(watch(watched, clock.clone(), shared));
        }
        let mut minutes = 0;
        while promoted.load(Ordering::Relaxed) < sets {
            assert!(
                minutes < WARM_UP_MAX_MINUTES,
                "{} of {sets} sets have promoted",
                promoted.load(Ordering::Relaxed)
            );
            tokio::time::sleep(MINUTE).await;
            minutes += 1;
        }
        // Whoever promoted last finds its place among the others.
        tokio::time::sleep(2 * MINUTE).await;
        registry.clear_log();
        tokio::time::sleep(MINUTE).await;
        let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
        for record in registry.requests() {
            let of = asked.entry(record.info.repository.unwrap_or_default()).or_default();
            of.all += 1;
            of.lists += usize::from(record.info.operation == Operation::Tags);
        }
        asked
    })
}

/// The repositories of a set: three in a row, each set one further along.
fn images(set: usize, host: &str) -> Vec<(String, String)> {
    let repository = |image: usize| (set * IMAGES + image) % REPOSITORIES;
    (0..IMAGES).map(|image| (format!("i{image}"), format!("{host}/shop/r{}", repository(image)))).collect()
}

/// Looks whenever the engine wants to, for ever.
async fn watch(
    mut set: Watched,
    clock: Clock,
    (client, turns, promoted): (Arc<Client>, Arc<Semaphore>, Arc<AtomicUsize>),
) {
    loop {
        let before = set.promoted.len();
        {
            let _turn = turns.acquire().await.expect("turns are never closed");
            set.reconcile(&*client, &clock).await;
        }
        if before == 0 && !set.promoted.is_empty() {
            promoted.fetch_add(1, Ordering::Relaxed);
        }
        let due = set.next_look.expect("a set is looked at for ever");
        tokio::time::sleep(Duration::try_from(due.duration_since(clock.now())).unwrap_or_default()).await;
    }
}
