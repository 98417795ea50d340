//! How many requests a host has open at once: found out, not configured. Pure.

use tokio::time::Instant;

/// Before anything is known of a host: what one look uses at once (registry research §1.3).
pub(crate) const START: u32 = 8;
/// Most: beyond it a registry that is fast enough is limited by its rate, and one that is not is only filled up.
pub(crate) const MOST: u32 = 64;

/// The limit on open requests: grows while it is used and all goes well, halves when the host has too much
/// (additive increase, multiplicative decrease, as TCP: RFC 5681).
pub(crate) struct Window {
    size: u32,
    /// Answers since it last grew.
    credit: u32,
    /// Once it had to shrink, it grows by one per full window instead of one per answer.
    careful_since: Option<Instant>,
}

// === impl Window ===

impl Window {
    pub(crate) fn new() -> Self {
        Self { size: START, credit: 0, careful_since: None }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// True when `open` requests use more than half of it: less says nothing about what the host can take.
    pub(crate) fn is_used(&self, open: u32) -> bool {
        open.saturating_mul(2) > self.size
    }

    /// A request ended well. `was_used`: see [`Self::is_used`], when it was sent.
    pub(crate) fn grow(&mut self, was_used: bool) {
        if !was_used || self.size >= MOST {
            return;
        }
        self.credit += 1;
        if self.careful_since.is_none() || self.credit >= self.size {
            self.size += 1;
            self.credit = 0;
        }
    }

    /// The host had too much. Requests that were sent before the last time say nothing new: what one too large
    /// window meets is one event.
    pub(crate) fn shrink(&mut self, sent_at: Instant, now: Instant) {
        if self.careful_since.is_some_and(|since| sent_at < since) {
            return;
        }
        self.size = (self.size / 2).max(1);
        self.credit = 0;
        self.careful_since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_grows_only_when_used_and_halves_once_per_event() {
        let start = Instant::now();
        let later = |secs| start + Duration::from_secs(secs);
        let mut window = Window::new();
        (0..100).for_each(|_| window.grow(false));
        assert_eq!(window.size(), START, "nobody needed more");
        assert!(!window.is_used(START / 2) && window.is_used(START / 2 + 1));
        (0..100).for_each(|_| window.grow(true));
        assert_eq!(window.size(), MOST);
        for _ in 0..MOST {
            window.shrink(start, later(1));
        }
        assert_eq!(window.size(), MOST / 2, "all of one window are one event");
        (0..MOST / 2).for_each(|_| window.grow(true));
        assert_eq!(window.size(), MOST / 2 + 1, "one more per window from now on");
        (2..20).for_each(|secs| window.shrink(later(secs), later(secs)));
        assert_eq!(window.size(), 1, "never none");
        window.grow(true);
        assert_eq!(window.size(), 2);
    }
}
