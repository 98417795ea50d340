//! The gate of one host: lets requests through at its pace, in turns, and answers at once what cannot go in time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::registry::wire::pace::breaker::{Breaker, Pass};
use crate::registry::wire::pace::bucket::Bucket;
use crate::registry::wire::pace::jitter::Jitter;
use crate::registry::wire::pace::pause::Pause;
use crate::registry::wire::pace::permit::Permit;
use crate::registry::wire::pace::queue::Queue;
use crate::registry::wire::pace::quota::Quotas;
use crate::registry::wire::pace::window::Window;
use crate::registry::wire::pace::{HOST_IDLE_LIMIT, Held, HostObserver, HostState, Pace, Turn};
use crate::telemetry::clock::Clock;

/// Longest pause of which the end is waited for, as long as a confirming look stays fresh (design §4 Commit): a
/// look that waits keeps a place among the sets that are worked on at once, and others want to look at other hosts.
const PAUSE_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a gate is made of besides its pace.
pub(crate) struct GateParts {
    pub(crate) host: String,
    pub(crate) clock: Clock,
    pub(crate) observer: Option<HostObserver>,
    pub(crate) jitter: Jitter,
}

pub(crate) struct Gate {
    host: String,
    pub(super) clock: Clock,
    observer: Option<HostObserver>,
    state: Mutex<State>,
    /// Something happened that may let the next one go.
    pub(super) changed: Notify,
}

pub(super) struct State {
    pub(super) bucket: Bucket,
    pub(super) window: Window,
    /// Requests on their way.
    pub(super) open: u32,
    queue: Queue<Waiter>,
    pub(super) pause: Pause,
    pub(super) breaker: Breaker,
    pub(super) quotas: Quotas,
    pub(super) jitter: Jitter,
    /// A task lets waiting requests go; there is one exactly while some wait.
    is_served: bool,
    pub(super) used_at: Instant,
    /// What the observer was told last.
    told: HostState,
}

/// One ask in line.
struct Waiter {
    turn: Turn,
    is_counted: bool,
    since: Instant,
    answer: oneshot::Sender<Result<Permit, Held>>,
}

/// What the next one waits for.
enum Hold {
    Until(Instant),
    Change,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(pace: Pace, parts: GateParts, now: Instant) -> Self {
        let state = State {
            bucket: Bucket::new(pace.requests_per_second, pace.burst, now),
            window: Window::new(),
            open: 0,
            queue: Queue::default(),
            pause: Pause::default(),
            breaker: Breaker::default(),
            quotas: Quotas::default(),
            jitter: parts.jitter,
            is_served: false,
            used_at: now,
            told: HostState::default(),
        };
        let GateParts { host, clock, observer, .. } = parts;
        Self { host, clock, observer, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits for a turn.
    pub(crate) async fn admit(self: Arc<Self>, turn: &Turn, is_counted: bool) -> Result<Permit, Held> {
        let answered = {
            let mut state = self.lock();
            let now = Instant::now();
            state.used_at = now;
            if let Some(held) = state.refusal(turn, is_counted, now) {
                return Err(held);
            }
            if state.queue.is_empty() && state.hold(now).is_none() {
                return Ok(self.go(&mut state, turn.clone(), is_counted, (now, now)));
            }
            let (answer, answered) = oneshot::channel();
            let waiter = Waiter { turn: turn.clone(), is_counted, since: now, answer };
            state.line_up(waiter)?;
            if !state.is_served {
                state.is_served = true;
                tokio::spawn(Arc::clone(&self).serve());
            }
            answered
        };
        match tokio::time::timeout_at(turn.deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Held::Late),
        }
    }

    /// Lets waiting requests go until none waits.
    async fn serve(self: Arc<Self>) {
        while let Some(hold) = self.round() {
            match hold {
                Hold::Change => self.changed.notified().await,
                Hold::Until(instant) => {
                    let _either = tokio::time::timeout_at(instant, self.changed.notified()).await;
                }
            }
        }
    }

    /// Lets go all that may go now, and tells the others that cannot in time; `None` when nobody waits any more.
    fn round(self: &Arc<Self>) -> Option<Hold> {
        // Answers that nobody takes give their permit back, which takes the lock: they outlive it.
        let mut given_back = Vec::new();
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            for waiter in state.hopeless(now) {
                if let Some(held) = state.refusal(&waiter.turn, waiter.is_counted, now) {
                    given_back.push(waiter.answer.send(Err(held)));
                }
            }
            if state.queue.is_empty() {
                state.is_served = false;
                return None;
            }
            if let Some(hold) = state.hold(now) {
                return Some(hold);
            }
            let Some((_, Waiter { turn, is_counted, since, answer })) = state.queue.pop() else { continue };
            if answer.is_closed() || turn.deadline <= now {
                continue;
            }
            let result = match state.refusal(&turn, is_counted, now) {
                Some(held) => Err(held),
                None => Ok(self.go(&mut state, turn, is_counted, (since, now))),
            };
            given_back.push(answer.send(result));
        }
    }

    fn go(
        self: &Arc<Self>,
        state: &mut State,
        turn: Turn,
        is_counted: bool,
        (since, now): (Instant, Instant),
    ) -> Permit {
        let is_probe = state.breaker.pass(&turn.asker, now) == Pass::Probe;
        if is_probe {
            state.breaker.probe(&turn.asker);
        }
        if is_counted {
            state.quotas.count(turn.identity, now);
        }
        state.bucket.take(now);
        state.open += 1;
        let was_used = state.window.is_used(state.open);
        Permit { gate: Arc::clone(self), turn, sent_at: now, waited: now - since, was_used, is_probe }
    }

    /// Since when nobody asked this host, if nothing is going on that must be remembered.
    pub(crate) fn idle_since(&self, now: Instant) -> Option<Instant> {
        let state = self.lock();
        // Trouble and limits are forgotten with the hour: they would be found out anew by then.
        let is_old = now.saturating_duration_since(state.used_at) >= HOST_IDLE_LIMIT;
        let idle = state.open == 0
            && state.queue.is_empty()
            && state.pause.of(now).is_none()
            && (is_old || (state.breaker.outage().is_none() && state.quotas.is_idle()))
            && state.bucket.is_full(now);
        idle.then_some(state.used_at)
    }

    /// Tells the observer that this host is forgotten.
    pub(crate) fn forgotten(&self) {
        if let Some(observer) = &self.observer {
            observer(&self.host, None);
        }
    }

    /// Tells the observer what changed.
    pub(super) fn tell(&self, state: &mut State, now: Instant) {
        let Some(observer) = &self.observer else { return };
        let present = HostState {
            quota: state.quotas.tightest(),
            paused_until: state.pause.of(now).map(|(_, at, _)| at).or(state.told.paused_until),
            is_open: state.breaker.outage().is_some(),
        };
        if present != state.told {
            observer(&self.host, Some(&present));
            state.told = present;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Why a request cannot go in time.
    fn refusal(&self, turn: &Turn, is_counted: bool, now: Instant) -> Option<Held> {
        if let Some((until, until_at, status)) = self.pause.of(now)
            && until > turn.deadline.min(now + PAUSE_WAIT_MAX)
        {
            return Some(Held::Paused { status, until: until_at, rest_secs: secs(until - now) });
        }
        if self.breaker.pass(&turn.asker, now) == Pass::Refused
            && let Some((since, last)) = self.breaker.outage()
        {
            return Some(Held::Open { since, last: last.to_owned() });
        }
        let (rest, quota) = self.quotas.wait(turn.identity, now).filter(|_| is_counted)?;
        let window_secs = quota.window.as_secs();
        Some(Held::Quota { limit: quota.limit, window_secs, rest_secs: secs(rest) })
    }

    /// What everybody waits for.
    fn hold(&self, now: Instant) -> Option<Hold> {
        if let Some((until, ..)) = self.pause.of(now) {
            return Some(Hold::Until(until));
        }
        if self.open >= self.window.size() || self.breaker.is_probing() {
            return Some(Hold::Change);
        }
        let ready_at = self.bucket.ready_at(now);
        (ready_at > now).then_some(Hold::Until(ready_at))
    }

    fn line_up(&mut self, waiter: Waiter) -> Result<(), Held> {
        let (asker, is_first) = (Arc::clone(&waiter.turn.asker), waiter.turn.is_confirming);
        let Err(waiter) = self.queue.push(&asker, is_first, waiter) else { return Ok(()) };
        // Those that gave up make room.
        self.queue.take_if(|waiter| waiter.answer.is_closed());
        self.queue.push(&asker, is_first, waiter).map_err(|_| Held::Crowded)
    }

    /// Takes out of the line who is refused, while there is a pause or trouble. Pull limits are looked at when
    /// a turn comes.
    fn hopeless(&mut self, now: Instant) -> Vec<Waiter> {
        if self.pause.of(now).is_none() && self.breaker.outage().is_none() {
            return Vec::new();
        }
        let mut queue = std::mem::take(&mut self.queue);
        let hopeless = queue.take_if(|waiter| self.refusal(&waiter.turn, false, now).is_some());
        self.queue = queue;
        hopeless
    }
}

/// Whole seconds, rounded up.
fn secs(length: Duration) -> u32 {
    u32::try_from(length.as_secs()).unwrap_or(u32::MAX).saturating_add(u32::from(length.subsec_nanos() > 0))
}
