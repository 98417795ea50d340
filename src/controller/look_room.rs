//! How many sets may wait for one registry at a time: one that answers nobody shall not hold the places in which other
//! sets are worked on (L4).
//!
//! Knows hosts and how many look at them, and nothing of what they are asked or answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Sets that may look at a host while nobody comes back from it: an eighth of the places of a controller (64), and as many
/// as the requests that a host gets at once to begin with.
const HELD_MAX: usize = 8;
/// Nobody came back for so long: the host holds those who ask it. Many times what a look takes at a host that is well.
const FLOW: Duration = Duration::from_secs(1);
/// Before a set that found no room comes again, as before a look at what is hot. It ends when the breaker of the host opens,
/// 15 s after its last answer.
pub const AGAIN: Duration = Duration::from_secs(3);

/// The room of all hosts. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct LookRoom(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Hosts at which somebody looks, or looked last.
    hosts: Mutex<HashMap<String, Host>>,
    /// Somebody came back from some host.
    came_back: Notify,
}

/// One host.
#[derive(Debug, Default)]
struct Host {
    /// Sets that look at it.
    looking: usize,
    /// Until when nobody else need come back for it to be well.
    flows_until: Option<Instant>,
    /// The last look there took longer than [`FLOW`]. Such a host, or one that is asked as often as it may be, cannot be told
    /// from one that answers nobody any more, and all may look at it.
    is_slow: bool,
    /// Since when there is no room, with nobody coming back.
    full_since: Option<Instant>,
}

/// A set looks at its hosts, until this is dropped.
#[derive(Debug)]
pub struct Looking {
    room: LookRoom,
    hosts: BTreeSet<String>,
    since: Instant,
}

// === impl LookRoom ===

impl LookRoom {
    /// True when one of these hosts holds all that it may, and has been for longer than [`Self::enter`] would wait.
    pub fn is_full(&self, hosts: &BTreeSet<String>) -> bool {
        let (known, now) = (self.lock(), Instant::now());
        hosts.iter().filter_map(|name| known.get(name)).any(|host| host.is_stuck(now))
    }

    /// Waits for room at all of these hosts, for a second at most; `None` when one holds all that it may.
    pub async fn enter(&self, hosts: BTreeSet<String>) -> Option<Looking> {
        loop {
            // Heard from before the look at the count, so that nobody comes back unnoticed between the two.
            let came_back = self.0.came_back.notified();
            let until = {
                let (mut known, now) = (self.lock(), Instant::now());
                let waits = hosts.iter().filter_map(|name| known.entry(name.clone()).or_default().wait(now));
                match waits.max() {
                    None => {
                        for name in &hosts {
                            known.entry(name.clone()).or_default().looking += 1;
                        }
                        return Some(Looking { room: self.clone(), hosts, since: now });
                    }
                    Some(until) if until <= now => return None,
                    Some(until) => until,
                }
            };
            let _either = tokio::time::timeout_at(until, came_back).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        // Each change is one step.
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Host ===

impl Host {
    /// Somebody came back a moment ago, or nobody need have yet.
    fn flows(&self, now: Instant) -> bool {
        self.is_slow || self.flows_until.is_some_and(|until| now < until)
    }

    fn has_room(&self, now: Instant) -> bool {
        self.looking < HELD_MAX || self.flows(now)
    }

    fn is_stuck(&self, now: Instant) -> bool {
        !self.has_room(now) && self.full_since.is_some_and(|since| since + FLOW <= now)
    }

    /// Until when room is waited for; `None` when there is some.
    fn wait(&mut self, now: Instant) -> Option<Instant> {
        (!self.has_room(now)).then(|| *self.full_since.get_or_insert(now) + FLOW)
    }
}

// === impl Looking ===

impl Drop for Looking {
    fn drop(&mut self) {
        let (mut known, now) = (self.room.lock(), Instant::now());
        let is_slow = now.saturating_duration_since(self.since) > FLOW;
        for name in &self.hosts {
            if let Some(host) = known.get_mut(name) {
                host.looking = host.looking.saturating_sub(1);
                (host.flows_until, host.is_slow, host.full_since) = (Some(now + FLOW), is_slow, None);
            }
        }
        // Where nobody looks, and nobody did a moment ago, nothing is to be remembered.
        known.retain(|_, host| host.looking > 0 || host.flows(now));
        drop(known);
        self.room.0.came_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str) -> BTreeSet<String> {
        [host.to_owned()].into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_from_which_nobody_comes_back_holds_eight() {
        let room = LookRoom::default();
        let mut held = Vec::new();
        for _ in 0..HELD_MAX {
            held.push(room.enter(at("silent")).await.unwrap());
        }
        assert!(!room.is_full(&at("silent")), "it may be slow");
        let began = Instant::now();
        assert!(room.enter(at("silent")).await.is_none());
        assert_eq!(began.elapsed(), FLOW);
        assert!(room.is_full(&at("silent")) && room.enter(at("silent")).await.is_none());
        assert_eq!(began.elapsed(), FLOW, "at once");
        let both: BTreeSet<String> = at("well").into_iter().chain(at("silent")).collect();
        assert!(room.is_full(&both) && !room.is_full(&at("well")));
        assert!(room.enter(at("well")).await.is_some());
        drop(held.pop());
        let flows: Vec<_> = futures::future::join_all((0..100).map(|_| room.enter(at("silent")))).await;
        assert!(flows.iter().all(Option::is_some), "somebody came back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_answers_lets_all_in() {
        let room = LookRoom::default();
        let look = async || {
            let looking = room.enter(at("well")).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            looking.is_some()
        };
        let began = Instant::now();
        let seen = futures::future::join_all((0..1_000).map(|_| look())).await;
        assert!(seen.into_iter().all(|seen| seen));
        assert_eq!(began.elapsed(), Duration::from_millis(400), "the first eight, then everybody");
        tokio::time::sleep(FLOW).await;
        drop(room.enter(at("other")).await);
        assert_eq!(room.lock().len(), 1, "nothing is kept of a host at which nobody looks any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_host_lets_all_in_once_the_first_are_back() {
        let room = LookRoom::default();
        let look = async || {
            loop {
                if let Some(_looking) = room.enter(at("slow")).await {
                    return tokio::time::sleep(Duration::from_secs(5)).await;
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        let began = Instant::now();
        futures::future::join_all((0..64).map(|_| look())).await;
        assert!(began.elapsed() <= Duration::from_secs(5 + 3 + 5), "{:?}", began.elapsed());
    }
}
