//! The first request to a host leads: whoever comes while nothing is known of the host waits for its answer, so
//! that a burst to an HTTP/2 host opens one connection instead of one each.
//!
//! hyper's pool shares a connection only once it knows that it is HTTP/2, which a handshake tells; requests that
//! start before that each begin their own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

/// How long a connection is taken for open after an answer: half of the shortest idle time-out of front ends in
/// common use (60 s, AWS ALB).
const WARM: Duration = Duration::from_secs(30);

/// Longest wait for the one who leads: a handshake across the world takes three round trips of 0.3 s. A leader whose
/// answer itself takes long (a large tag list) holds nobody up beyond that.
const WAIT_LIMIT: Duration = Duration::from_secs(2);

/// What is known of one host's connections.
#[derive(Default)]
pub(crate) struct Lead {
    spoken: Mutex<Option<Spoken>>,
    /// Leaders that are done, whatever came of it.
    done: AtomicU64,
    gate: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Spoken {
    version: Version,
    at: Instant,
}

/// The right to go first; whoever waits goes on when it is dropped.
pub(crate) struct Leading<'a> {
    lead: &'a Lead,
    _gate: tokio::sync::MutexGuard<'a, ()>,
}

// === impl Lead ===

impl Lead {
    /// Returns at once where a connection is open or the host speaks HTTP/1.1, whose connections carry one request
    /// each. Otherwise one caller leads and the others wait until it is done, for a while; if it failed they go all at
    /// once.
    pub(crate) async fn enter(&self) -> Option<Leading<'_>> {
        let done = self.done.load(Ordering::Acquire);
        if !self.is_cold() {
            return None;
        }
        let gate = tokio::time::timeout(WAIT_LIMIT, self.gate.lock()).await.ok()?;
        (self.done.load(Ordering::Acquire) == done).then_some(Leading { lead: self, _gate: gate })
    }

    /// The host answered.
    pub(crate) fn heard(&self, version: Version) {
        let spoken = Spoken { version, at: Instant::now() };
        *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) = Some(spoken);
    }

    fn is_cold(&self) -> bool {
        match *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) {
            None => true,
            Some(Spoken { version, at }) => version == Version::HTTP_2 && at.elapsed() > WARM,
        }
    }

    /// True when nothing would be lost by forgetting it.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.is_cold() && self.gate.try_lock().is_ok()
    }
}

// === impl Leading ===

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.lead.done.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_leads_and_the_others_follow_once_it_was_answered() {
        let lead = Lead::default();
        let leading = lead.enter().now_or_never().unwrap();
        assert!(leading.is_some());
        let mut follower = Box::pin(lead.enter());
        assert!(follower.as_mut().now_or_never().is_none(), "it waits");
        lead.heard(Version::HTTP_2);
        drop(leading);
        assert!(follower.now_or_never().unwrap().is_none());
        assert!(lead.enter().now_or_never().unwrap().is_none(), "a connection is open");
    }

    #[tokio::test]
    async fn a_leader_that_fails_holds_nobody_up() {
        let lead = Lead::default();
        let leading = lead.enter().now_or_never().unwrap();
        let (mut one, mut other) = (Box::pin(lead.enter()), Box::pin(lead.enter()));
        assert!(one.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        drop(leading);
        assert!(one.now_or_never().unwrap().is_none(), "not the next to try alone");
        assert!(other.now_or_never().unwrap().is_none());
        assert!(lead.enter().now_or_never().unwrap().is_some(), "who comes later leads again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_takes_long_is_not_waited_for() {
        let lead = Lead::default();
        let leading = lead.enter().await;
        let before = Instant::now();
        assert!(lead.enter().await.is_none());
        assert_eq!(before.elapsed(), WAIT_LIMIT);
        drop(leading);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_counts_as_open_for_half_a_minute_and_http1_needs_no_leader() {
        let lead = Lead::default();
        lead.heard(Version::HTTP_2);
        tokio::time::advance(WARM).await;
        assert!(lead.enter().await.is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(lead.enter().await.is_some());
        lead.heard(Version::HTTP_11);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(lead.enter().await.is_none());
    }
}
