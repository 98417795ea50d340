//! The right to send one request, and what its outcome teaches.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;

use crate::registry::verdict;
use crate::registry::wire::pace::Turn;
use crate::registry::wire::pace::gate::{Gate, State};

/// The right to send one request, and the place that it takes until it is over.
pub(crate) struct Permit {
    pub(super) gate: Arc<Gate>,
    pub(super) turn: Turn,
    pub(super) sent_at: Instant,
    /// How long it stood in line.
    pub(crate) waited: Duration,
    pub(super) was_used: bool,
    pub(super) is_probe: bool,
}

/// How a request that got no whole answer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No connection, or it broke.
    Connection,
    /// Silence.
    Time,
}

// === impl Permit ===

impl Permit {
    /// The head of the answer is here: a pause that it asks for holds from now on, for everybody.
    pub(crate) fn head(&self, status: StatusCode, headers: &HeaderMap) {
        let (now, at) = (Instant::now(), self.gate.clock.now());
        let mut state = self.gate.lock();
        let State { pause, bucket, quotas, jitter, .. } = &mut *state;
        quotas.read(self.turn.identity, headers, now);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let value = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            // "After 0 s" says nothing.
            match value.and_then(|value| verdict::retry_after(value, at)).filter(|secs| *secs > 0) {
                Some(secs) => pause.said(Duration::from_secs(secs.into()), status.as_u16(), (now, at)),
                None if status == StatusCode::TOO_MANY_REQUESTS => {
                    pause.unsaid(self.sent_at, status.as_u16(), (now, at), jitter);
                }
                None => {}
            }
            if let Some((until, ..)) = pause.of(now) {
                bucket.empty(until);
            }
            // Who waits in line and cannot wait for the end of the pause is told now.
            self.gate.changed.notify_one();
        }
        self.gate.tell(&mut state, now);
    }

    /// The whole answer was read.
    pub(crate) fn answered(mut self, status: StatusCode) {
        let now = Instant::now();
        self.is_probe = false;
        let mut state = self.gate.lock();
        state.breaker.answered();
        match status.as_u16() {
            408 | 429 | 503 => state.window.shrink(self.sent_at, now),
            _ => {
                state.window.grow(self.was_used);
                state.pause.answered(self.sent_at);
            }
        }
        self.gate.tell(&mut state, now);
    }

    /// There was no whole answer, which is the host's or the network's doing.
    pub(crate) fn failed(mut self, trouble: Trouble, why: &str) {
        let (now, at) = (Instant::now(), self.gate.clock.now());
        let was_probe = std::mem::take(&mut self.is_probe);
        let mut state = self.gate.lock();
        if trouble == Trouble::Time {
            state.window.shrink(self.sent_at, now);
        }
        let State { breaker, jitter, .. } = &mut *state;
        breaker.failed(why, was_probe, (now, at), jitter);
        self.gate.tell(&mut state, now);
    }
}

/// Gives the place back; without an outcome (the caller is gone, or the look's time was up) nothing was learnt.
impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.open = state.open.saturating_sub(1);
        state.used_at = Instant::now();
        if self.is_probe {
            state.breaker.probe_lost();
        }
        drop(state);
        self.gate.changed.notify_one();
    }
}
