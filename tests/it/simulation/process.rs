//! One process of the controller: it can die at any instant, and be stopped and go on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tidegate::controller::context::Context;
use tidegate::controller::leader::Election;
use tidegate::controller::leader::election::lease_name;
use tidegate::controller::startup::{check_crd, check_lease};
use tidegate::controller::watch::{self, WatchOptions};
use tidegate::registry::{Client, Pace};
use tidegate::telemetry::clock::Clock;
use tidegate::telemetry::metrics::Metrics;
use tidegate::web::Pages;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::line::Line;
use super::world::NAMESPACE;

/// A handle of one process. All clones are one.
#[derive(Clone)]
pub struct Process {
    /// Counts from 1: the identity in the lease.
    pub id: u32,
    dead: CancellationToken,
    /// From when until when it is stopped, or was.
    stopped: Arc<Mutex<Option<(Instant, Instant)>>>,
}

// === impl Process ===

impl Process {
    pub fn new(id: u32) -> Self {
        Self { id, dead: CancellationToken::new(), stopped: Arc::default() }
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
        let election = Election::new(
            client.clone(),
            NAMESPACE,
            lease_name(None, None),
            self.identity(),
            clock.clone(),
            metrics.clone(),
        );
        if check_crd(&client).await.is_err() || check_lease(&election, NAMESPACE).await.is_err() {
            return;
        }
        let pace = Pace { seed: Some(u64::from(self.id)), ..Pace::default() };
        let registry = Client::new(clock.clone()).paced_by(pace).in_process(line.to_registry(&self));
        let context = Context::new(client, Arc::new(registry), clock, metrics.clone());
        let context = context.led_by(election.leadership());
        let options = WatchOptions { namespace: None, selector: None, concurrency: 4 };
        let me = self.clone();
        // A task of its own, as in production.
        tokio::spawn(async move { me.run(election.run(std::future::pending())).await });
        watch::run(context, options, Pages::new(metrics), std::future::pending()).await;
    }
}
