//! What one set of three images and two platforms costs a registry, from the first release on: counted behind a proxy,
//! so that every registry can be asked, with the waiting between two looks skipped.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::registry::Client;
use tidegate::telemetry::clock::Clock;
use tokio::time::Instant;
use url::Url;

use super::counter::{Counter, Seen};
use super::push::Pusher;
use super::watched::Watched;

/// The siblings.
pub const IMAGES: [&str; 3] = ["app", "worker", "embeddings"];
/// What each is built for.
pub const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// `interval`, where it is not set.
const INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// Intervals that pass at rest: more than one `driftInterval`.
const RESTS: usize = 12;
/// Looks while a sibling is missing.
const HOT_LOOKS: usize = 12;
/// What a registry that refuses asks for.
const RETRY_AFTER_SECS: u32 = 90;
/// Requests that read one image: its index, and child and config of each platform.
const READS_OF_AN_IMAGE: usize = 1 + 2 * PLATFORMS.len();
/// Most looks until a complete release must be promoted.
const LOOKS_MAX: usize = 20;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Requests of a release from its first look to its commit, tag lists and looks that found a sibling missing left
    /// out.
    pub release: usize,
    /// Most requests of one interval at rest, in which no promoted tag was due.
    pub rest_max: usize,
    /// Most requests of one interval in which the promoted tags were looked at too.
    pub drift_max: usize,
    /// Most requests of one look while one sibling is missing, tag lists left out.
    pub hot_max: usize,
    /// Bodies that were read more than once.
    pub read_again: usize,
    /// Requests sent again before the `Retry-After` of their 429 was over.
    pub repeated_early: usize,
}

struct Teller<'a> {
    counter: &'a Counter,
    pusher: Pusher,
    client: Client,
    clock: Clock,
    set: Watched,
    read: BTreeMap<String, usize>,
}

/// Pushes the three images under `tag`, both platforms.
pub async fn push_all(pusher: &Pusher, tag: &str) {
    for name in IMAGES {
        pusher.index(&format!("shop/{name}"), tag, &index(name, tag)).await;
    }
}

/// Where each image lies on the registry at `host`.
pub fn images_at(host: &str) -> Vec<(String, String)> {
    IMAGES.map(|name| (name.to_owned(), format!("{host}/shop/{name}"))).to_vec()
}

/// The index of one image; its content depends on name and tag alone.
pub fn index(name: &str, tag: &str) -> Index {
    let images = PLATFORMS.map(|platform| {
        let platform = ImagePlatform::parse(platform).expect("a platform");
        ImageDescription::new(platform, format!("{name} {tag}")).build()
    });
    Index::build(images.to_vec(), &BTreeMap::new())
}

/// Plays the whole story against the registry at `upstream`. The runtime must have one thread, and nothing else may wait
/// on it: its clock is put forward between looks.
pub async fn tell(upstream: &Url) -> Costs {
    let counter = Counter::start(upstream).await;
    let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().expect("a time"));
    let mut teller = Teller {
        counter: &counter,
        pusher: Pusher::new(upstream),
        client: Client::new(clock.clone()),
        clock,
        set: Watched::new(&images_at(&counter.host())),
        read: BTreeMap::new(),
    };
    let mut costs = Costs::default();
    push_all(&teller.pusher, "main-1").await;
    costs.release = lists_left_out(&teller.look().await);
    assert_eq!(teller.set.promoted, ["main-1"]);
    teller.rest(&mut costs).await;
    teller.release_with_a_late_sibling(&mut costs).await;
    teller.refuse(&mut costs).await;
    costs.read_again = teller.read.values().map(|times| times - 1).sum();
    costs
}

fn lists_left_out(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| !seen.is_list()).count()
}

/// What was found, tag lists left out.
fn answered(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| !seen.is_list() && seen.status == 200).count()
}

/// Lets time pass without waiting for it.
async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

// === impl Teller ===

impl Teller<'_> {
    /// One look; what it asked.
    async fn look(&mut self) -> Vec<Seen> {
        self.set.reconcile(&self.client, &self.clock).await;
        let seen = self.counter.take();
        for read in seen.iter().filter(|seen| seen.is_read()) {
            *self.read.entry(read.path.clone()).or_default() += 1;
        }
        seen
    }

    /// Lets the time pass that the engine wants to wait, then looks.
    async fn next(&mut self) -> Vec<Seen> {
        let due = self.set.next_look.expect("a set is looked at for ever");
        skip(Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default()).await;
        self.look().await
    }

    /// Lets whole intervals pass and counts what each of them cost: lists are due within milliseconds of each other,
    /// which need not be one look.
    async fn rest(&mut self, costs: &mut Costs) {
        for _ in 0..RESTS {
            let end = self.clock.now() + INTERVAL;
            let mut seen = Vec::new();
            while self.set.next_look.is_some_and(|due| due < end) {
                seen.extend(self.next().await);
            }
            skip(Duration::try_from(end.duration_since(self.clock.now())).unwrap_or_default()).await;
            let max = if lists_left_out(&seen) > 0 { &mut costs.drift_max } else { &mut costs.rest_max };
            *max = seen.len().max(*max);
        }
        assert_eq!(self.set.promoted, ["main-1"]);
    }

    async fn release_with_a_late_sibling(&mut self, costs: &mut Costs) {
        for name in ["app", "worker"] {
            self.pusher.index(&format!("shop/{name}"), "main-2", &index(name, "main-2")).await;
        }
        // Lists are due within milliseconds of each other, so the two may come into sight in two looks.
        let mut release = 0;
        for _ in 0..LOOKS_MAX {
            release += answered(&self.next().await);
            if release >= 2 * READS_OF_AN_IMAGE {
                break;
            }
        }
        for _ in 0..HOT_LOOKS {
            costs.hot_max = lists_left_out(&self.next().await).max(costs.hot_max);
        }
        self.pusher.index("shop/embeddings", "main-2", &index("embeddings", "main-2")).await;
        for _ in 0..LOOKS_MAX {
            release += answered(&self.next().await);
            if self.set.promoted.len() == 2 {
                break;
            }
        }
        assert_eq!(self.set.promoted, ["main-1", "main-2"]);
        costs.release = release.max(costs.release);
    }

    /// The registry refuses everything for a while; nothing may be asked twice before it is over.
    async fn refuse(&mut self, costs: &mut Costs) {
        self.counter.refuse(Some(RETRY_AFTER_SECS));
        let pause = Duration::from_secs(u64::from(RETRY_AFTER_SECS));
        let mut refused: BTreeMap<String, Instant> = BTreeMap::new();
        let end = Instant::now() + 3 * pause;
        while Instant::now() < end {
            for seen in self.next().await {
                let before = refused.insert(format!("{} {}", seen.method, seen.path), seen.at);
                costs.repeated_early += usize::from(before.is_some_and(|before| seen.at < before + pause));
            }
        }
        assert!(!refused.is_empty(), "nothing was asked, so nothing was refused");
        self.counter.refuse(None);
        for _ in 0..LOOKS_MAX {
            if self.next().await.iter().any(|seen| seen.status == 200) {
                return;
            }
        }
        panic!("it does not ask again when the pause is over");
    }
}
