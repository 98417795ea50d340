//! Pull limits as Docker Hub tells them: `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`
//! (registry research §3). Pure.
//!
//! The rule: while more than a tenth of the limit is left, nothing is held back. From then on counted requests
//! (GET of a manifest) get what the limit itself allows per time, one every window ÷ limit (216 s of 100 in 6
//! hours), and the others are answered at once. HEADs are not counted: they go on, and each brings a new
//! reading; one with more left lifts the rule. The tenth is for the nodes: they pull through the same address,
//! and a release that is promoted but cannot be pulled helps nobody.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::registry::identity::credentials::Fingerprint;

/// The part of a limit that is kept back, as a divisor.
const RESERVE: u32 = 10;
/// Identities whose limit is remembered per host; of more, those read longest ago are forgotten.
const IDENTITIES_MAX: usize = 64;

/// A limit, as it was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Counted requests per window.
    pub limit: u32,
    /// Those that are left.
    pub remaining: u32,
    /// Length of the window.
    pub window: Duration,
}

struct Reading {
    quota: Quota,
    read_at: Instant,
    /// Since when less than the reserve is left, or when a counted request was last let through since.
    low_since: Option<Instant>,
}

/// The limits of one host, by who asks: another identity has another limit.
#[derive(Default)]
pub(crate) struct Quotas(HashMap<Fingerprint, Reading>);

// === impl Quota ===

impl Quota {
    /// The limit in an answer's headers; `None` when there is none, or not in Docker Hub's form: without a window
    /// there is no telling what a number means.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let value = |name: &str| headers.get(name)?.to_str().ok();
        let (limit, window) = value("ratelimit-limit")?.split_once(';')?;
        let (remaining, _) = value("ratelimit-remaining")?.split_once(';')?;
        let window_secs: u32 = window.trim().strip_prefix("w=")?.parse().ok()?;
        let quota = Self {
            limit: limit.trim().parse().ok()?,
            remaining: remaining.trim().parse().ok()?,
            window: Duration::from_secs(window_secs.into()),
        };
        (quota.limit > 0 && window_secs > 0).then_some(quota)
    }

    fn is_low(&self) -> bool {
        self.remaining <= self.limit / RESERVE
    }

    fn share(&self) -> Duration {
        self.window / self.limit.max(1)
    }
}

// === impl Quotas ===

impl Quotas {
    /// Takes an answer in; true when it told a limit.
    pub(crate) fn read(&mut self, identity: Fingerprint, headers: &HeaderMap, now: Instant) -> bool {
        let Some(quota) = Quota::read(headers) else { return false };
        let known = self.0.remove(&identity).and_then(|reading| reading.low_since);
        let low_since = quota.is_low().then(|| known.unwrap_or(now));
        if self.0.len() >= IDENTITIES_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, reading)| reading.read_at)
        {
            let oldest = *oldest.0;
            self.0.remove(&oldest);
        }
        self.0.insert(identity, Reading { quota, read_at: now, low_since });
        true
    }

    /// How long a counted request has to wait, and for which limit; `None` when it may go.
    pub(crate) fn wait(&self, identity: Fingerprint, now: Instant) -> Option<(Duration, Quota)> {
        let reading = self.0.get(&identity).filter(|reading| now < reading.read_at + reading.quota.window)?;
        let next = reading.low_since? + reading.quota.share();
        (now < next).then(|| (next - now, reading.quota))
    }

    /// A counted request is sent.
    pub(crate) fn count(&mut self, identity: Fingerprint, now: Instant) {
        if let Some(Reading { quota, low_since, .. }) = self.0.get_mut(&identity) {
            quota.remaining = quota.remaining.saturating_sub(1);
            if quota.is_low() {
                *low_since = Some(now);
            }
        }
    }

    /// The limit of which least is left.
    pub(crate) fn tightest(&self) -> Option<Quota> {
        self.0.values().map(|reading| reading.quota).min_by_key(|quota| (quota.remaining, quota.limit))
    }

    /// True when nothing here would change what is sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.values().all(|reading| reading.low_since.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::credentials::Credentials;

    fn headers(limit: &str, remaining: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-limit", limit.parse().unwrap());
        headers.insert("ratelimit-remaining", remaining.parse().unwrap());
        headers
    }

    #[test]
    fn only_a_limit_with_its_window_is_read() {
        let quota = Quota { limit: 100, remaining: 76, window: Duration::from_hours(6) };
        assert_eq!(Quota::read(&headers("100;w=21600", "76;w=21600")), Some(quota));
        for (limit, remaining) in [
            ("2000", "1999"),
            ("100;w=21600", "76"),
            ("100;w=0", "76;w=0"),
            ("0;w=21600", "0;w=21600"),
            ("100;w=x", "1;w=x"),
            ("-1;w=60", "1;w=60"),
            ("99999999999;w=60", "1;w=60"),
            ("", ""),
        ] {
            assert_eq!(Quota::read(&headers(limit, remaining)), None, "{limit}");
        }
        assert_eq!(Quota::read(&HeaderMap::new()), None);
    }

    #[test]
    fn the_last_tenth_goes_at_the_pace_of_the_limit_and_only_for_its_identity() {
        let anonymous = Credentials::default().fingerprint();
        let other = Credentials::default().with_unusable("x").fingerprint();
        let start = Instant::now();
        let later = |secs| start + Duration::from_secs(secs);
        let mut quotas = Quotas::default();
        assert!(quotas.read(anonymous, &headers("100;w=21600", "11;w=21600"), start));
        assert_eq!(quotas.wait(anonymous, start), None);
        quotas.count(anonymous, start);
        assert_eq!(quotas.wait(anonymous, later(16)).unwrap().0, Duration::from_secs(200), "a tenth is left");
        assert_eq!(quotas.wait(other, later(16)), None);
        assert!(quotas.read(anonymous, &headers("100;w=21600", "10;w=21600"), later(100)), "by a HEAD");
        assert_eq!(quotas.wait(anonymous, later(216)), None, "its share of the window is over");
        quotas.count(anonymous, later(216));
        assert_eq!(quotas.wait(anonymous, later(216)).unwrap().0, Duration::from_secs(216), "one per share");
        assert_eq!(quotas.tightest().unwrap().remaining, 9);
        assert!(!quotas.is_idle());
        assert!(quotas.read(anonymous, &headers("100;w=21600", "50;w=21600"), later(300)));
        assert!(quotas.wait(anonymous, later(300)).is_none() && quotas.is_idle());
        assert!(
            !quotas.read(anonymous, &HeaderMap::new(), later(301)),
            "an answer without headers says nothing"
        );
    }
}
