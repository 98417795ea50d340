//! The only place that reads a clock, so that the simulation can own time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// Where `now` comes from: cheap to clone, shared by the whole process.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    Virtual { base: Timestamp, started: tokio::time::Instant },
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
        Self(Arc::new(Source::Virtual { base, started: tokio::time::Instant::now() }))
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
            Source::System => Timestamp::now(),
            Source::Virtual { base, started } => {
                let elapsed = SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::MAX);
                base.checked_add(elapsed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}
