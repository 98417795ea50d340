//! The only place that reads a clock, so that the simulation can own time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// Where `now` comes from: cheap to clone, shared by the whole process.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    /// `percent`: its seconds in a hundred of tokio's.
    Virtual {
        base: Timestamp,
        started: tokio::time::Instant,
        percent: u32,
    },
}

// === impl Clock ===

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// A clock that stands at `base` now and follows tokio's time, which tests and the demo pause. Must be
    /// called inside a tokio runtime.
    pub fn following_tokio(base: Timestamp) -> Self {
        Self::following_tokio_at(base, 100)
    }

    /// The same at another speed: in a hundred seconds of tokio's time it goes on by `percent` seconds.
    pub fn following_tokio_at(base: Timestamp, percent: u32) -> Self {
        Self(Arc::new(Source::Virtual { base, started: tokio::time::Instant::now(), percent }))
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
            Source::System => Timestamp::now(),
            Source::Virtual { base, started, percent } => {
                let elapsed = started.elapsed().saturating_mul(*percent) / 100;
                let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
                base.checked_add(elapsed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_follows_tokio_at_its_own_speed() {
        let base = Timestamp::UNIX_EPOCH;
        let clocks = [50, 100, 200].map(|percent| Clock::following_tokio_at(base, percent));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clocks.map(|clock| clock.now().as_second()), [5, 10, 20]);
    }
}
