//! The loop around [`evaluate`]: reads and writes the Lease, and extends [`Leadership`] by what it wrote.

use std::future::Future;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Leadership;
use super::evaluate::{
    LEASE_DURATION, LeaseRecord, RENEW_DEADLINE, RENEW_PACE, STANDBY_PACE, Step, Watched, evaluate, watched,
};
use crate::controller::context::{ApiError, within_deadline};
use crate::telemetry::clock::Clock;
use crate::telemetry::kube_call::{CallError, call, call_optional};
use crate::telemetry::metrics::Metrics;

/// Name of the lease of a controller that watches everything.
const LEASE_NAME: &str = "tidegate";
/// Bytes of the hash in the name of a shard's lease: two of a million shards are alike once in 10,000 installations.
const SHARD_HASH_BYTES: usize = 8;
/// The least by which one renewal differs from the one before, where a wall clock went back: what a MicroTime can tell.
const RENEWAL_STEP: SignedDuration = SignedDuration::from_micros(1);

/// One process that wants to lead.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    me: String,
    leadership: Leadership,
    clock: Clock,
    metrics: Metrics,
    /// Instants of [`evaluate`] count from here.
    began: Instant,
    watched: Option<Watched>,
    /// Our own lease as the API server answered our last write; read anew after any doubt.
    ours: Option<Lease>,
    told: Option<String>,
}

// === impl Election ===

impl Election {
    /// A process that stands for election in `namespace`, over a lease named by [`lease_name`]. `me` is an identity that
    /// no other process has or had. `client` is one without the fence.
    pub fn new(
        client: kube::Client,
        namespace: &str,
        name: String,
        me: String,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let leases = Api::namespaced(client, namespace);
        let (leadership, began) = (Leadership::standby(), Instant::now());
        Self { leases, name, me, leadership, clock, metrics, began, watched: None, ours: None, told: None }
    }

    /// The token that this election extends.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Makes sure that the lease may be read, made and renewed, by dry-runs: a standby that could never lead would look
    /// well.
    ///
    /// # Errors
    /// The API server does not answer, or refuses.
    pub async fn check(&self) -> Result<(), ApiError> {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let read = within_deadline("read the lease", self.leases.get_opt(&self.name)).await?;
        let ours = held(read, &self.name, &self.me, self.clock.now());
        let mut new = ours.clone();
        new.metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        allowed(within_deadline("make the lease", self.leases.create(&dry_run, &new)).await)?;
        allowed(within_deadline("renew the lease", self.leases.replace(&self.name, &dry_run, &ours)).await)
    }

    /// Stands for election and leads until `stop` ends; then no effect begins any more, and the lease is given back
    /// when the last one is over.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            // Never cut short: of a write without an answer one does not know what the lease says.
            let pause = self.round().await;
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let is_drained = self.leadership.resign().await;
        self.metrics.leader.set(0);
        if is_drained {
            self.release().await;
        }
    }

    /// One look at the lease and one write if it may be had. When to look again.
    async fn round(&mut self) -> Duration {
        let looked = self.look().await;
        let is_held = self.leadership.is_held();
        if self.metrics.leader.set(is_held.into()) == 1 && !is_held {
            tracing::warn!(lease = self.name, "no longer leading: the lease was not renewed in time");
            self.leadership.lapsed();
        }
        match looked {
            Ok(pause) => {
                self.told = None;
                pause
            }
            Err(error) => {
                self.ours = None;
                let text = error.to_string();
                // One line for an outage, not one a second.
                if self.told.as_ref() != Some(&text) {
                    tracing::warn!(lease = self.name, "failed to read or write the lease: {text}");
                    self.told = Some(text);
                }
                STANDBY_PACE
            }
        }
    }

    async fn look(&mut self) -> Result<Duration, CallError> {
        let lease = match self.ours.take() {
            Some(ours) => Some(ours),
            None => within(call_optional(self.leases.get(&self.name))).await?,
        };
        let now = self.began.elapsed();
        let before = self.watched.take();
        self.watched = lease.as_ref().map(|lease| watched(before, record(lease), now));
        let seen = self.watched.as_ref();
        let seen_at = seen.map_or(now, |seen| seen.seen_at);
        match evaluate(seen.map(|seen| &seen.record), seen_at, &self.me, now) {
            Step::Wait { until } => Ok(until.saturating_sub(now).min(STANDBY_PACE)),
            Step::Create | Step::Renew | Step::TakeOver => {
                let sent_at = Instant::now();
                self.hold(lease).await?;
                // From when it was sent, as the deadline is: a slow answer must not eat the time of the next one.
                Ok(RENEW_PACE.saturating_sub(sent_at.elapsed()))
            }
        }
    }

    /// Writes the lease with us as its holder, over what was read. Somebody who was faster is a conflict.
    async fn hold(&mut self, lease: Option<Lease>) -> Result<(), CallError> {
        let sent_at = Instant::now();
        let next = held(lease, &self.name, &self.me, self.clock.now());
        let written = self.write(next).await?;
        self.watched = Some(Watched { record: record(&written), seen_at: self.began.elapsed() });
        self.ours = Some(written);
        if self.leadership.extend(sent_at + RENEW_DEADLINE) {
            tracing::info!(lease = self.name, identity = self.me, "leading");
        }
        Ok(())
    }

    /// So that nobody waits for it to expire. A failure costs the next leader that wait.
    async fn release(mut self) {
        // Without it the last write got no answer: who waits for the lease to expire is safe.
        let Some(mut lease) = self.ours.take() else { return };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(next_renewal(spec, self.clock.now())));
        match self.write(lease).await {
            Ok(_) => tracing::info!(lease = self.name, "gave the lease back"),
            Err(error) => tracing::warn!(lease = self.name, "failed to give the lease back: {error}"),
        }
    }

    async fn write(&self, lease: Lease) -> Result<Lease, CallError> {
        let params = PostParams::default();
        let is_new = lease.metadata.resource_version.is_none();
        let written = if is_new {
            within(call(self.leases.create(&params, &lease))).await
        } else {
            within(call(self.leases.replace(&self.name, &params, &lease))).await
        };
        let outcome = match &written {
            Ok(_) => "ok",
            Err(error) if error.is_conflict() => "conflict",
            Err(_) => "error",
        };
        self.metrics.count_write("lease", outcome);
        written
    }
}

/// The lease of a controller that watches what these say; each shard has its own, so that shards do not exclude one
/// another. Replicas of one shard are told the same, in the same words.
pub fn lease_name(watch_namespace: Option<&str>, selector: Option<&str>) -> String {
    if watch_namespace.is_none() && selector.is_none() {
        return LEASE_NAME.to_owned();
    }
    // A namespace holds no line feed.
    let scope = format!("{}\n{}", watch_namespace.unwrap_or_default(), selector.unwrap_or_default());
    let hash = Sha256::digest(scope);
    let hash: Vec<String> = hash.iter().take(SHARD_HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("{LEASE_NAME}-{}", hash.concat())
}

/// Whether a dry-run was let through to the object: that there is one already, none yet, or another by now is no refusal.
fn allowed(tried: Result<Lease, ApiError>) -> Result<(), ApiError> {
    match tried {
        Err(error) if !error.source.is_conflict() && !error.source.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// A renewal that is answered later than this is worth nothing.
async fn within<T>(request: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    tokio::time::timeout(RENEW_DEADLINE, request).await.unwrap_or(Err(CallError::TimedOut))
}

fn record(lease: &Lease) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    let duration = spec.lease_duration_seconds.and_then(|secs| u64::try_from(secs).ok());
    LeaseRecord {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
        duration: duration.map_or(LEASE_DURATION, Duration::from_secs),
    }
}

/// The lease with `me` as its holder. Fields that we do not know of stay.
fn held(lease: Option<Lease>, name: &str, me: &str, now: Timestamp) -> Lease {
    let mut lease = lease.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: None,
    });
    let is_new = lease.spec.is_none();
    let spec = lease.spec.get_or_insert_default();
    let renewed = next_renewal(spec, now);
    if spec.holder_identity.as_deref() != Some(me) {
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
        spec.holder_identity = Some(me.to_owned());
        spec.acquire_time = Some(MicroTime(renewed));
    }
    if is_new {
        spec.lease_transitions = Some(0);
    }
    spec.lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
    spec.renew_time = Some(MicroTime(renewed));
    lease
}

/// Each renewal says something new, whatever the wall clock does: it is by its change that others see it.
fn next_renewal(spec: &LeaseSpec, now: Timestamp) -> Timestamp {
    let least = spec.renew_time.as_ref().and_then(|last| last.0.checked_add(RENEWAL_STEP).ok());
    least.map_or(now, |least| least.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_a_lease_of_its_own() {
        assert_eq!(lease_name(None, None), "tidegate");
        let names = [
            lease_name(None, Some("shard=a")),
            lease_name(None, Some("shard=b")),
            lease_name(Some("acme"), None),
            lease_name(Some("acme"), Some("shard=a")),
        ];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() == "tidegate-".len() + 16), "{names:?}");
        assert_eq!(lease_name(None, Some("shard=a")), names[0]);
    }

    #[test]
    fn a_renewal_differs_from_the_one_before_although_the_clock_went_back() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = held(None, "tidegate", "a", at("2026-01-01T12:00:00Z"));
        let again = held(Some(first.clone()), "tidegate", "a", at("2026-01-01T11:00:00Z"));
        assert_ne!(record(&first), record(&again));
        let spec = again.spec.clone().unwrap();
        assert_eq!(spec.acquire_time, first.spec.unwrap().acquire_time);
        assert_eq!(spec.lease_transitions, Some(0));
        let taken = held(Some(again), "tidegate", "b", at("2026-01-01T11:00:00Z")).spec.unwrap();
        assert_eq!((taken.lease_transitions, taken.holder_identity.as_deref()), (Some(1), Some("b")));
    }
}
