//! How many requests a host gets per time. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket, kept as the instant at which it will be full (generic cell rate algorithm, ITU-T I.371): no
/// fractions to add up, so what it lets through is exact.
pub(crate) struct Bucket {
    /// Between two requests at the steady rate.
    interval: Duration,
    /// How far ahead of the steady rate requests may run.
    slack: Duration,
    full_at: Instant,
}

// === impl Bucket ===

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32, now: Instant) -> Self {
        // Rounded up: never more than promised.
        let nanos = 1_000_000_000_u64.div_ceil(u64::from(per_second.get()));
        let interval = Duration::from_nanos(nanos);
        Self { interval, slack: interval * (burst.get() - 1), full_at: now }
    }

    /// When a request may go: `now`, or later.
    pub(crate) fn ready_at(&self, now: Instant) -> Instant {
        now + self.full_at.saturating_duration_since(now + self.slack)
    }

    /// Counts a request that goes at `now`.
    pub(crate) fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }

    /// Takes the burst away: at `at` there will be one request to send and then the steady rate.
    pub(crate) fn empty(&mut self, at: Instant) {
        self.full_at = self.full_at.max(at + self.slack);
    }

    /// True when nothing was taken that is not made up for.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(number(20), number(40), start);
        for _ in 0..40 {
            assert_eq!(bucket.ready_at(start), start);
            bucket.take(start);
        }
        for waits in 1..5 {
            let ready = bucket.ready_at(start);
            assert_eq!(ready - start, Duration::from_millis(50) * waits);
            bucket.take(ready);
        }
        let rested = start + Duration::from_mins(1);
        assert!(bucket.is_full(rested));
        bucket.empty(rested);
        assert_eq!(bucket.ready_at(rested), rested);
        bucket.take(rested);
        assert_eq!(bucket.ready_at(rested), rested + Duration::from_millis(50), "no second burst");
    }

    proptest! {
        /// Whatever comes when: in no span of time does more go through than rate × span + burst.
        #[test]
        fn never_more_than_rate_times_time_plus_burst(
            per_second in 1_u32..2_000,
            burst in 1_u32..100,
            gaps_micros in prop::collection::vec(0_u64..400_000, 1..300),
        ) {
            let start = Instant::now();
            let (mut bucket, mut now) = (Bucket::new(number(per_second), number(burst), start), start);
            let mut sent: Vec<Duration> = Vec::new();
            for gap in gaps_micros {
                now += Duration::from_micros(gap);
                if bucket.ready_at(now) == now {
                    bucket.take(now);
                    sent.push(now - start);
                }
            }
            for (first, from) in sent.iter().enumerate() {
                for (last, until) in sent.iter().enumerate().skip(first) {
                    let count = u128::try_from(last - first + 1).unwrap();
                    let nanos = until.saturating_sub(*from).as_nanos();
                    let most = nanos * u128::from(per_second) / 1_000_000_000 + u128::from(burst);
                    prop_assert!(count <= most, "{count} within {nanos} ns, at most {most}");
                }
            }
        }
    }
}
