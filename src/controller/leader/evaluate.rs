//! Whether a lease may be taken: pure, without I/O and without a clock.
//!
//! All instants here are readings of one monotonic clock of the process that watches, as the time since it began. The
//! times that a holder writes are never compared with them: clocks of machines differ.

use std::time::Duration;

use jiff::Timestamp;

use crate::telemetry::kube_call::CALL_LIMIT;

/// How long a lease must stand unchanged before another takes it: longer than [`RENEW_DEADLINE`] and the longest effect
/// together, with 1 s for clocks that run at different rates (0.1 % are 16 ms) and for the way from the check to the
/// socket. With [`STANDBY_PACE`] and one write a crash is over after 17 s, below the 20 s of G9.
pub const LEASE_DURATION: Duration = Duration::from_secs(16);
/// How long after a renewal was sent effects may begin: two paces and a second for a slow answer. One renewal may fail.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(5);
/// Between two renewals, as client-go's retry period: 0.5 writes a second for the whole installation.
pub const RENEW_PACE: Duration = Duration::from_secs(2);
/// Between two reads of a standby: with the grace of a stop (0.5 s) and two writes well below the 2 s of G9.
pub const STANDBY_PACE: Duration = Duration::from_secs(1);

/// The relation that makes a takeover safe: what the last leader began in time is over.
const _: () = assert!(
    LEASE_DURATION.as_millis() > RENEW_DEADLINE.as_millis() + CALL_LIMIT.as_millis(),
    "a lease must outlive the renew deadline and the longest effect"
);

/// What a Lease says. Two that are equal are the same renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Who holds it; empty when it was released.
    pub holder: String,
    /// What its holder wrote as the instant of the renewal: a mark that differs at each renewal, and no time.
    pub renewed: Option<Timestamp>,
    /// How often the holder changed.
    pub transitions: i32,
    /// How long it must stand unchanged, in its holder's words: a release of another version may have another.
    pub duration: Duration,
}

/// A lease and since when it was seen as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What it says.
    pub record: LeaseRecord,
    /// When it was first read so; taken after the answer came.
    pub seen_at: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no lease: create it, with us as its holder.
    Create,
    /// It is ours, even if it was not renewed for long: whoever took it would have changed it.
    Renew,
    /// Nobody holds it any more: take it, over the resourceVersion that was read.
    TakeOver,
    /// Somebody else holds it; it is not free before this instant.
    Wait {
        /// When it will have stood unchanged for its duration.
        until: Duration,
    },
}

/// Takes in a read: the lease stands since it was first read so.
pub fn watched(before: Option<Watched>, record: LeaseRecord, now: Duration) -> Watched {
    match before {
        Some(before) if before.record == record => before,
        _ => Watched { record, seen_at: now },
    }
}

/// What `me` may do about a lease that was seen as it is since `seen_at`. `me` must be an identity of this process alone:
/// a restarted one is another.
pub fn evaluate(lease: Option<&LeaseRecord>, seen_at: Duration, me: &str, now: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    if lease.holder == me {
        return Step::Renew;
    }
    let until = seen_at.saturating_add(lease.duration);
    if lease.holder.is_empty() || now >= until { Step::TakeOver } else { Step::Wait { until } }
}

#[cfg(test)]
mod tests;
