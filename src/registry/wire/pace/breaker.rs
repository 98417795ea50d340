//! A host that does not answer is left alone for a while. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::registry::wire::pace::jitter::Jitter;

/// Failures in a row that open it: more than all tries of one request, so that one bad moment never does.
const FAILURES_MAX: u32 = 5;
/// The first rest. A registry that restarts is back within seconds.
const REST_FIRST: Duration = Duration::from_secs(5);
/// The longest rest, one default `interval`. It bounds what a fault costs after it stops: the next look of any
/// set after the rest asks the host again, and the asks of that same look wait for the answer and then go too.
/// So L1 holds from the first look that the pace allows, which is at most one `interval` away, as it is for a
/// set at rest. A rest without such an end would make every fault last for ever.
const REST_MOST: Duration = Duration::from_mins(1);
/// A rest is this part of the time that the host has been away: a fault costs at most a quarter of its length more. One
/// that doubles costs as much again as the fault itself, for no more than ten probes saved in the first four minutes.
const REST_DIVISOR: u32 = 4;
/// Longest description of the last failure that is kept.
const LAST_MAX_CHARS: usize = 200;

/// Open: nothing goes to the host. After the rest one request goes as a probe, and its answer closes it.
#[derive(Default)]
pub(crate) struct Breaker {
    failures: u32,
    outage: Option<Outage>,
}

struct Outage {
    since: Timestamp,
    opened_at: Instant,
    last: String,
    until: Instant,
    /// Whose request asks whether the host is back.
    probe: Option<Arc<str>>,
}

/// What it says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Go.
    Free,
    /// Go, and everything depends on you.
    Probe,
    /// The same look has a probe on its way: wait for it.
    Wait,
    /// Not now.
    Refused,
}

// === impl Breaker ===

impl Breaker {
    /// What may go now for `asker`.
    pub(crate) fn pass(&self, asker: &Arc<str>, now: Instant) -> Pass {
        match &self.outage {
            None => Pass::Free,
            Some(Outage { probe: Some(probing), .. }) if probing == asker => Pass::Wait,
            Some(Outage { probe: None, until, .. }) if *until <= now => Pass::Probe,
            Some(_) => Pass::Refused,
        }
    }

    /// Since when, and how the last request failed.
    pub(crate) fn outage(&self) -> Option<(Timestamp, &str)> {
        self.outage.as_ref().map(|outage| (outage.since, outage.last.as_str()))
    }

    /// True while a probe is on its way.
    pub(crate) fn is_probing(&self) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.probe.is_some())
    }

    /// A probe of `asker` is sent.
    pub(crate) fn probe(&mut self, asker: &Arc<str>) {
        if let Some(outage) = &mut self.outage {
            outage.probe = Some(Arc::clone(asker));
        }
    }

    /// The probe's outcome will never be known.
    pub(crate) fn probe_lost(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.probe = None;
        }
    }

    /// The host answered, whatever it said.
    pub(crate) fn answered(&mut self) {
        *self = Self::default();
    }

    /// A request failed without an answer. `was_probe`: it was the one that everything depended on.
    pub(crate) fn failed(
        &mut self,
        why: &str,
        was_probe: bool,
        (now, at): (Instant, Timestamp),
        jitter: &mut Jitter,
    ) {
        self.failures = self.failures.saturating_add(1);
        let last = || why.chars().take(LAST_MAX_CHARS).collect();
        // Half of the rest is certain, so that a host that is down is left alone indeed.
        let mut until = |rest: Duration| now + rest / 2 + jitter.up_to(rest / 2);
        match &mut self.outage {
            Some(outage) if was_probe => {
                let away = now.saturating_duration_since(outage.opened_at);
                outage.until = until((away / REST_DIVISOR).clamp(REST_FIRST, REST_MOST));
                outage.last = last();
                outage.probe = None;
            }
            None if self.failures >= FAILURES_MAX => {
                let until = until(REST_FIRST);
                self.outage = Some(Outage { since: at, opened_at: now, last: last(), until, probe: None });
            }
            // One of a few; or sent before it opened, which is known already.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_probes_rests_longer_and_closes() {
        let start = Instant::now();
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let (mut breaker, mut jitter) = (Breaker::default(), Jitter::new(3));
        let (mine, other): (Arc<str>, Arc<str>) = ("a/mine".into(), "b/other".into());
        for _ in 1..FAILURES_MAX {
            breaker.failed("refused", false, (start, at), &mut jitter);
        }
        breaker.answered();
        for _ in 1..FAILURES_MAX {
            breaker.failed("refused", false, (start, at), &mut jitter);
            assert_eq!(
                breaker.pass(&mine, start),
                Pass::Free,
                "an answer between them starts the count anew"
            );
        }
        breaker.failed("refused", false, (start, at), &mut jitter);
        assert_eq!(breaker.pass(&mine, start + REST_FIRST / 2), Pass::Refused);
        assert_eq!(breaker.outage(), Some((at, "refused")));
        let mut now = start;
        for (away, rest) in [(0, 5), (10, 5), (20, 5), (40, 10), (60, 15), (120, 30), (240, 60), (3_600, 60)]
        {
            let rest = Duration::from_secs(rest);
            if away > 0 {
                now = start + Duration::from_secs(away);
                breaker.probe(&mine);
                breaker.failed("refused again", true, (now, at), &mut jitter);
            }
            breaker.failed("late", false, (now, at), &mut jitter);
            assert_eq!(breaker.pass(&mine, now + rest / 2), Pass::Refused, "{rest:?}");
            now += rest;
            assert_eq!(breaker.pass(&mine, now), Pass::Probe, "{rest:?}");
            breaker.probe(&mine);
            assert_eq!((breaker.pass(&mine, now), breaker.pass(&other, now)), (Pass::Wait, Pass::Refused));
            breaker.probe_lost();
            assert_eq!(breaker.pass(&other, now), Pass::Probe, "a probe that is given up blocks nobody");
        }
        assert_eq!(breaker.outage(), Some((at, "refused again")), "since the first");
        breaker.answered();
        assert_eq!(breaker.pass(&other, now), Pass::Free);
    }
}
