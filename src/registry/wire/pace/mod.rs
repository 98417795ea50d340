//! How often which host is asked: every request to a registry or token server passes the gate of its host
//! (ADR 3). What does not pass in time is [`Held`], which becomes Unknown with its reason.
//!
//! Knows hosts and askers, and nothing of what is asked or answered beyond status and headers.

mod breaker;
mod bucket;
mod gate;
mod jitter;
mod pause;
mod permit;
mod queue;
mod quota;
mod window;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use gate::{Gate, GateParts};
use jitter::Jitter;
pub(crate) use permit::{Permit, Trouble};
pub use quota::Quota;

use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::address::host_and_port;
use crate::registry::wire::limits::LOOK_LIMIT;
use crate::telemetry::clock::Clock;

/// Hosts of which something is remembered. A cluster uses some dozens, with their token servers and storage.
const HOSTS_MAX: usize = 1_000;
/// A host that was not asked for so long is forgotten: the longest pause, and many polls.
const HOST_IDLE_LIMIT: Duration = Duration::from_hours(1);

/// How fast one host may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Requests per second and host, steadily.
    pub requests_per_second: NonZeroU32,
    /// Requests that a host may get at once after a rest.
    pub burst: NonZeroU32,
    /// What all chance here comes from; `None` draws one. Simulations set it, to be repeatable.
    pub seed: Option<u64>,
}

/// What is known of how a host takes requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// The pull limit of which least is left, if the host tells one.
    pub quota: Option<Quota>,
    /// The host asked not to be asked before then. It may be over.
    pub paused_until: Option<Timestamp>,
    /// The host has not answered for so long that it is only probed.
    pub is_open: bool,
}

/// Told of a host (with its port) whenever its state changed; `None` when the host was forgotten. Called inside
/// a lock: must return at once and ask nothing.
pub type HostObserver = Arc<dyn Fn(&str, Option<&HostState>) + Send + Sync>;

/// Whose turn is meant, and until when it is worth something.
#[derive(Clone)]
pub(crate) struct Turn {
    /// Askers take turns: `namespace/name` of a set.
    pub(crate) asker: Arc<str>,
    /// As whom: pull limits are per identity.
    pub(crate) identity: Fingerprint,
    /// A proxy or CA that the asker brought along; `None` is the common way. What comes that way is not the
    /// host's own word: a proxy that answers 429 for everything pauses nobody who asks without it.
    pub(crate) own_way: Option<Fingerprint>,
    /// It goes before those that can wait.
    pub(crate) is_confirming: bool,
    /// When the look ends.
    pub(crate) deadline: Instant,
}

/// Why a request was not sent. Every sentence stays the same as long as its reason does: it is kept in status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Held {
    #[error("it answered {status} and is left alone until {until}")]
    Paused { status: u16, until: Timestamp, rest_secs: u32 },
    #[error("it has not answered since {since} ({last}) and is only probed now and then")]
    Open { since: Timestamp, last: String },
    #[error(
        "less than a tenth is left of its limit of {limit} pulls in {window_secs} s, which is kept for the nodes"
    )]
    Quota { limit: u32, window_secs: u64, rest_secs: u32 },
    #[error("its turn did not come within the {} s of a look, as more is asked of that host than it is given", LOOK_LIMIT.as_secs())]
    Late,
    #[error("too many requests wait for that host already")]
    Crowded,
}

/// The gates of all hosts.
pub(crate) struct Pacer {
    pace: Pace,
    clock: Clock,
    observer: Option<HostObserver>,
    gates: Mutex<Gates>,
}

/// Scheme, host and port of what is asked, and the way if it is not the common one.
type Key = (String, Option<Fingerprint>);

struct Gates {
    by_key: HashMap<Key, Arc<Gate>>,
    jitter: Jitter,
}

// === impl Pace ===

impl Pace {
    /// So many requests a second, and twice as many at once.
    #[must_use]
    pub fn per_second(requests_per_second: NonZeroU32) -> Self {
        let burst = requests_per_second.saturating_mul(NonZeroU32::new(2).unwrap_or(NonZeroU32::MIN));
        Self { requests_per_second, burst, seed: None }
    }

    /// For a command that looks once while somebody waits: the same rate, with a burst of 32 images (the most of
    /// a set) × 8 requests (list, index, three platforms with their configs).
    #[must_use]
    pub fn of_one_command() -> Self {
        Self { burst: NonZeroU32::new(256).unwrap_or(NonZeroU32::MIN), ..Self::default() }
    }
}

/// 20 requests a second, as Kargo has it for each registry; two seconds' worth at once covers a cold look at a
/// set of 3 images × 2 platforms (15) twice. 1,000 sets at rest, a request a minute each, need 17 a second of
/// one host; more (500 a second) is for registries of one's own.
impl Default for Pace {
    fn default() -> Self {
        Self::per_second(NonZeroU32::new(20).unwrap_or(NonZeroU32::MIN))
    }
}

// === impl Pacer ===

impl Pacer {
    pub(crate) fn new(pace: Pace, clock: Clock, observer: Option<HostObserver>) -> Self {
        let seed = pace.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let gates = Gates { by_key: HashMap::new(), jitter: Jitter::new(seed) };
        Self { pace, clock, observer, gates: Mutex::new(gates) }
    }

    pub(crate) fn set_pace(&mut self, pace: Pace) {
        *self = Self::new(pace, self.clock.clone(), self.observer.take());
    }

    pub(crate) fn observe(&mut self, observer: HostObserver) {
        self.observer = Some(observer);
    }

    /// Waits until one request may be sent to the host of `url`. `is_counted`: it counts against a pull limit.
    pub(crate) async fn admit(&self, url: &Url, turn: &Turn, is_counted: bool) -> Result<Permit, Held> {
        self.gate(url, turn.own_way)?.admit(turn, is_counted).await
    }

    /// Any length up to `most`.
    pub(crate) fn jitter(&self, most: Duration) -> Duration {
        self.lock().jitter.up_to(most)
    }

    fn gate(&self, url: &Url, own_way: Option<Fingerprint>) -> Result<Arc<Gate>, Held> {
        let key = (url.origin().ascii_serialization(), own_way);
        let now = Instant::now();
        let mut gates = self.lock();
        if let Some(gate) = gates.by_key.get(&key) {
            return Ok(Arc::clone(gate));
        }
        Self::make_room(&mut gates.by_key, now)?;
        let parts = GateParts {
            host: host_and_port(url),
            clock: self.clock.clone(),
            // Metrics are about hosts.
            observer: self.observer.clone().filter(|_| own_way.is_none()),
            jitter: Jitter::new(gates.jitter.next()),
        };
        let gate = Arc::new(Gate::new(self.pace, parts, now));
        gates.by_key.insert(key, Arc::clone(&gate));
        Ok(gate)
    }

    /// Forgets hosts of which nothing is worth remembering: those long idle, and of too many the one that was
    /// asked longest ago. A pause or rest is never forgotten, however many hosts somebody names.
    fn make_room(gates: &mut HashMap<Key, Arc<Gate>>, now: Instant) -> Result<(), Held> {
        let idle_since = |(key, gate): (&Key, &Arc<Gate>)| Some((gate.idle_since(now)?, key.clone()));
        let mut idle: Vec<(Instant, Key)> = gates.iter().filter_map(idle_since).collect();
        idle.sort_by(|(one, (origin, _)), (other, (than, _))| (one, origin).cmp(&(other, than)));
        let too_many = (gates.len() + 1).saturating_sub(HOSTS_MAX);
        for (place, (since, key)) in idle.into_iter().enumerate() {
            if place >= too_many && now < since + HOST_IDLE_LIMIT {
                break;
            }
            if let Some(gate) = gates.remove(&key) {
                gate.forgotten();
            }
        }
        if gates.len() < HOSTS_MAX { Ok(()) } else { Err(Held::Crowded) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gates> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode, header};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hosts_are_bounded_and_a_pause_is_never_forgotten() {
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        let forgotten = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&forgotten);
        let observer: HostObserver = Arc::new(move |host: &str, state: Option<&HostState>| {
            if state.is_none() {
                kept.lock().unwrap().push(host.to_owned());
            }
        });
        let pacer = Pacer::new(Pace::default(), clock, Some(observer));
        let identity = crate::registry::Access::default().credentials.fingerprint();
        let turn = || Turn {
            asker: "a/b".into(),
            identity,
            own_way: None,
            is_confirming: false,
            deadline: Instant::now() + LOOK_LIMIT,
        };
        let url = |number: usize| format!("https://r{number}.io/v2/").parse::<Url>().unwrap();
        let paused = pacer.admit(&url(0), &turn(), false).await.unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "3600".parse().unwrap());
        paused.head(StatusCode::TOO_MANY_REQUESTS, &headers);
        paused.answered(StatusCode::TOO_MANY_REQUESTS);
        let busy = pacer.admit(&url(1), &turn(), false).await.unwrap();
        for number in 2..HOSTS_MAX + 100 {
            // Each is at rest again before the next one comes.
            pacer.admit(&url(number), &turn(), false).await.unwrap().answered(StatusCode::OK);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(pacer.lock().by_key.len(), HOSTS_MAX);
        let first_forgotten: Vec<String> = (2..102).map(|number| format!("r{number}.io")).collect();
        assert_eq!(*forgotten.lock().unwrap(), first_forgotten, "those that rested longest");
        let held = pacer.admit(&url(0), &turn(), false).await.err();
        assert!(matches!(held, Some(Held::Paused { status: 429, .. })), "{held:?}");
        let another_way = Turn { own_way: Some(identity), ..turn() };
        assert!(
            pacer.admit(&url(0), &another_way, false).await.is_ok(),
            "what a proxy says binds its own asker"
        );
        busy.answered(StatusCode::OK);
        tokio::time::sleep(HOST_IDLE_LIMIT).await;
        pacer.admit(&url(9), &turn(), false).await.unwrap().answered(StatusCode::OK);
        assert!(pacer.lock().by_key.len() <= 2, "and all that were not asked for an hour");
    }
}
