//! Chance, from a seed: which requests meet is decided here and nowhere else, so that a simulation can repeat it.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): good enough to spread requests, and no secret depends on it.
pub(crate) struct Jitter(u64);

// === impl Jitter ===

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed for another one of these.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Any length up to `most`, never zero unless `most` is ("full jitter").
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(self.next() % nanos + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fill_their_range_and_a_seed_repeats_them() {
        let most = Duration::from_secs(8);
        let draw = |seed| {
            let mut jitter = Jitter::new(seed);
            (0..1_000).map(|_| jitter.up_to(most)).collect::<Vec<_>>()
        };
        let drawn = draw(7);
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
        assert!(drawn.iter().all(|length| !length.is_zero() && *length <= most));
        for eighth in 0..8 {
            let inside = drawn.iter().filter(|length| length.as_secs() == eighth).count();
            assert!((80..180).contains(&inside), "{inside} of 1000 in second {eighth}");
        }
        assert_eq!(Jitter::new(7).up_to(Duration::ZERO), Duration::ZERO);
    }
}
