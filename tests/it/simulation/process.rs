//! One process of the controller: it can die at any instant, and be stopped and go on.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use jiff::SignedDuration;
use tidegate::controller::context::Context;
use tidegate::controller::leader::Election;
use tidegate::controller::leader::election::lease_name;
use tidegate::controller::startup::{check_crd, check_lease};
use tidegate::controller::watch::{self, WatchOptions};
use tidegate::registry::{self, Client};
use tidegate::telemetry::clock::Clock;
use tidegate::telemetry::metrics::Metrics;
use tidegate::web::Pages;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::line::Line;
use super::world::NAMESPACE;

/// Sets that are reconciled at once, as by default.
const CONCURRENCY: u16 = 64;
/// A clock may be wrong by so many seconds.
const SKEW_SECS: i64 = 3_600;
/// Speeds of clocks: right, twice, half.
const PERCENTS: [u32; 4] = [100, 100, 200, 50];

/// How wrong the wall clock of a machine is. What tokio measures is right everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At the beginning.
    pub skew: SignedDuration,
    /// Its seconds in a hundred true ones.
    pub percent: u32,
}

/// A handle of one process. All clones are one.
#[derive(Clone)]
pub struct Process {
    /// Counts from 1: the identity in the lease.
    pub id: u32,
    pace: Pace,
    is_candidate: Arc<AtomicBool>,
    dead: CancellationToken,
    /// From when until when it is stopped, or was.
    stopped: Arc<Mutex<Option<(Instant, Instant)>>>,
}

// === impl Pace ===

impl Pace {
    /// Of a clock that is right.
    pub const RIGHT: Self = Self { skew: SignedDuration::ZERO, percent: 100 };

    /// So much time by this clock, in true time.
    pub fn in_truth(self, own: SignedDuration) -> SignedDuration {
        own * 100 / self.percent.try_into().unwrap_or(100)
    }

    /// A clock that is up to an hour wrong, and may go at half or twice the speed.
    pub fn by_chance(rng: &mut fastrand::Rng) -> Self {
        let skew = SignedDuration::from_secs(rng.i64(-SKEW_SECS..=SKEW_SECS));
        Self { skew, percent: PERCENTS[rng.usize(0..PERCENTS.len())] }
    }
}

// === impl Process ===

impl Process {
    pub fn new(id: u32, pace: Pace) -> Self {
        Self {
            id,
            pace,
            is_candidate: Arc::default(),
            dead: CancellationToken::new(),
            stopped: Arc::default(),
        }
    }

    /// Whether it acts only while it leads.
    pub fn stands_for_election(&self) -> bool {
        self.is_candidate.load(Ordering::Relaxed)
    }

    /// So much time by its own clock, in true time.
    pub fn in_truth(&self, own: SignedDuration) -> SignedDuration {
        self.pace.in_truth(own)
    }

    /// Its election, which is not under way yet.
    pub fn election(&self, client: kube::Client, clock: &Clock, metrics: &Metrics) -> Election {
        self.is_candidate.store(true, Ordering::Relaxed);
        let (name, me) = (lease_name(None, None), self.identity());
        Election::new(client, NAMESPACE, name, me, clock.clone(), metrics.clone())
    }

    /// A context of this process on its line.
    pub fn context(&self, line: &Line, client: kube::Client, clock: &Clock, metrics: &Metrics) -> Context {
        let jitter = registry::Pace { seed: Some(self.id.into()), ..registry::Pace::default() };
        let registry = Client::new(clock.clone()).paced_by(jitter).in_process(line.to_registry(self));
        Context::new(client, Arc::new(registry), clock.clone(), metrics.clone())
    }

    /// As it is written into the lease.
    pub fn identity(&self) -> String {
        format!("tidegate-{}", self.id)
    }

    /// Ends it at once: nothing of it runs on.
    pub fn die(&self) {
        self.dead.cancel();
    }

    pub fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    /// Returns when it is dead.
    pub async fn ended(&self) {
        self.dead.cancelled().await;
    }

    /// Stops it for so long, as SIGSTOP and SIGCONT do; clocks go on.
    pub fn stop_for(&self, pause: Duration) {
        let now = Instant::now();
        *self.stopped.lock().unwrap() = Some((now, now + pause));
    }

    fn stopped_until(&self) -> Option<Instant> {
        self.stopped.lock().unwrap().map(|(_, until)| until).filter(|until| *until > Instant::now())
    }

    /// How long it was stopped, where it goes on at this very instant: what it does now it had decided before.
    pub fn just_stopped_for(&self) -> Duration {
        let (since, until) = self.stopped.lock().unwrap().unwrap_or((Instant::now(), Instant::now()));
        if until == Instant::now() { until - since } else { Duration::ZERO }
    }

    /// Returns when it is not stopped; never when it is dead.
    pub async fn awake(&self) {
        while let Some(until) = self.stopped_until() {
            tokio::time::sleep_until(until).await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `work` while the process lives and is not stopped.
    pub async fn run<F: Future<Output = ()>>(&self, work: F) {
        let mut work = Box::pin(work);
        let mut waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        let going = std::future::poll_fn(|context| {
            loop {
                if let Some(wait) = &mut waiting {
                    if wait.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    waiting = None;
                }
                if self.stopped_until().is_none() {
                    return work.as_mut().poll(context);
                }
                let process = self.clone();
                waiting = Some(Box::pin(async move { process.awake().await }));
            }
        });
        tokio::select! {
            biased;
            () = self.ended() => {}
            () = going => {}
        }
    }

    /// What `tidegate controller` does from its start on, but for signals, log and pages. Returns when it cannot start.
    pub async fn controller(self, line: Line, clock: Clock) {
        let client = line.client(&self);
        let metrics = Metrics::default();
        let election = self.election(client.clone(), &clock, &metrics);
        if check_crd(&client).await.is_err() || check_lease(&election, NAMESPACE).await.is_err() {
            return;
        }
        let context = self.context(&line, client, &clock, &metrics).led_by(election.leadership());
        let options = WatchOptions { namespace: None, selector: None, concurrency: CONCURRENCY };
        let me = self.clone();
        // A task of its own, as in production.
        tokio::spawn(async move { me.run(election.run(std::future::pending())).await });
        watch::run(context, options, Pages::new(metrics), std::future::pending()).await;
    }
}
