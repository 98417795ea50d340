//! A host that said "too many requests" is not asked until it wants to be. Pure.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::registry::wire::pace::jitter::Jitter;

/// The first pause after a 429 that does not say how long; each further one may be twice as long.
const UNSAID_FIRST: Duration = Duration::from_secs(1);
/// The longest pause after a 429 that does not say how long: one default `interval`.
const UNSAID_MOST: Duration = Duration::from_mins(1);

/// Until when nothing is sent to a host, whoever asks.
#[derive(Default)]
pub(crate) struct Pause {
    current: Option<Current>,
    /// Pauses without a length of their own since the host last answered well.
    streak: u32,
}

#[derive(Clone, Copy)]
struct Current {
    began: Instant,
    until: Instant,
    /// `until` for people.
    until_at: Timestamp,
    status: u16,
}

// === impl Pause ===

impl Pause {
    /// When the pause of now ends, the same for people, and the status that asked for it.
    pub(crate) fn of(&self, now: Instant) -> Option<(Instant, Timestamp, u16)> {
        let current = self.current.filter(|current| current.until > now)?;
        Some((current.until, current.until_at, current.status))
    }

    /// The host said how long.
    pub(crate) fn said(&mut self, length: Duration, status: u16, (now, at): (Instant, Timestamp)) {
        self.extend(length, status, (now, at));
    }

    /// The host did not say how long. What was sent before the last pause began is part of what caused it.
    pub(crate) fn unsaid(
        &mut self,
        sent_at: Instant,
        status: u16,
        (now, at): (Instant, Timestamp),
        jitter: &mut Jitter,
    ) {
        if self.current.is_some_and(|current| sent_at < current.began) {
            return;
        }
        let most = UNSAID_FIRST.saturating_mul(1 << self.streak.min(16)).min(UNSAID_MOST);
        self.streak += 1;
        self.extend(jitter.up_to(most), status, (now, at));
    }

    /// The host answered well a request that was sent after the last pause began.
    pub(crate) fn answered(&mut self, sent_at: Instant) {
        if self.current.is_none_or(|current| sent_at >= current.began) {
            self.streak = 0;
        }
    }

    /// A pause ends no earlier because of another answer.
    fn extend(&mut self, length: Duration, status: u16, (now, at): (Instant, Timestamp)) {
        let until = now + length;
        if self.current.is_some_and(|current| current.until >= until) {
            return;
        }
        // Whole seconds, rounded up: for people.
        let until_at = at.checked_add(length).unwrap_or(Timestamp::MAX);
        let until_at = Timestamp::from_second(until_at.as_second().saturating_add(1)).unwrap_or(until_at);
        self.current = Some(Current { began: now, until, until_at, status });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_longest_pause_counts() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        let secs = |secs| now + Duration::from_secs(secs);
        pause.said(Duration::from_secs(30), 429, (now, at()));
        pause.said(Duration::from_secs(10), 503, (now, at()));
        let until_at = "2026-11-21T10:00:31Z".parse().unwrap();
        assert_eq!(pause.of(secs(29)), Some((secs(30), until_at, 429)));
        assert_eq!(pause.of(secs(30)), None);
    }

    #[test]
    fn unsaid_pauses_grow_once_per_event_and_end_with_a_good_answer() {
        let start = Instant::now();
        let (mut pause, mut jitter, mut now) = (Pause::default(), Jitter::new(5), start);
        for most in [1, 2, 4, 8, 16, 32, 60, 60] {
            let sent_at = now;
            now += Duration::from_millis(10);
            pause.unsaid(sent_at, 429, (now, at()), &mut jitter);
            let (until, ..) = pause.of(now).unwrap();
            assert!(until - now <= Duration::from_secs(most), "{:?} of at most {most} s", until - now);
            pause.unsaid(sent_at, 429, (now, at()), &mut jitter);
            assert_eq!(pause.of(now).unwrap().0, until, "the same event");
            pause.answered(sent_at);
            now = until;
        }
        pause.answered(now);
        pause.unsaid(now, 429, (now, at()), &mut jitter);
        assert!(pause.of(now).unwrap().0 - now <= UNSAID_FIRST);
    }
}
