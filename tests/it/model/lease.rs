//! The lease with the real `evaluate` and `watched`: two candidates, clocks of different rates, pauses, lost writes. That two
//! live leaders cannot both commit is shown without a lease at all, in the worlds beside it.
//!
//! A tick is one second of true time. A process may be slow at any place: between its check and its write anything can
//! happen. Ages are counted by each process's own monotonic clock and stop growing where they no longer matter.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tidegate::controller::leader::evaluate::{
    LEASE_DURATION, LeaseRecord, RENEW_DEADLINE, STANDBY_PACE, Step, Watched, evaluate, watched,
};

/// Two candidates, and those that they were before they crashed.
const NAMES: [&str; 4] = ["a", "b", "a before", "b before"];
/// Seconds of each own clock in one tick: both true, and either twice as fast as the other.
const RATES: [[u8; 2]; 3] = [[1, 1], [1, 2], [2, 1]];
/// Beyond every limit that is compared with, in seconds.
const AGE_MAX: u8 = 17;
/// Lost writes on one path.
const LOST_MAX: u8 = 1;

/// What the API server holds. `renewal` tells one write from another; only equality counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Lease {
    holder: Option<usize>,
    renewal: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Candidate {
    /// What it saw last, and how long it has stood so, by its own clock.
    seen: Option<(Lease, u8)>,
    /// A write that is under way: over which lease, and how long ago it was sent.
    sent: Option<(Option<Lease>, u8)>,
    /// For how long effects may still begin, in seconds of its own clock.
    held: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    lease: Option<Lease>,
    candidates: [Candidate; 2],
    lost: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A lease is taken although it was renewed a moment ago.
    TakesAtOnce,
    /// The write of the lease carries no resourceVersion.
    WritesOver,
    /// The right to act is counted from the answer, and never ends.
    NeverLapses,
}

struct Rules {
    rates: [u8; 2],
    mistake: Option<Mistake>,
}

fn record(lease: Lease) -> LeaseRecord {
    LeaseRecord {
        holder: lease.holder.map_or(String::new(), |holder| NAMES[holder].to_owned()),
        renewed: None,
        // Stands for the instant that a renewal writes.
        transitions: lease.renewal.into(),
        duration: LEASE_DURATION,
    }
}

fn secs(span: Duration) -> u8 {
    u8::try_from(span.as_secs()).unwrap()
}

impl World {
    fn next(&self, rules: &Rules) -> Vec<(String, Self)> {
        let mut next = vec![("a second passes".to_owned(), self.tick(rules))];
        for (c, name) in NAMES.into_iter().enumerate().take(2) {
            let candidate = self.candidates[c];
            if candidate.sent.is_none() {
                next.push((format!("{name} looks"), self.look(c, rules)));
            } else {
                next.push((format!("{name}'s write arrives"), self.arrive(c, rules, true)));
                if self.lost < LOST_MAX {
                    let mut lost = *self;
                    lost.lost += 1;
                    lost.candidates[c].sent = None;
                    next.push((format!("{name}'s write is lost"), lost));
                    let mut unanswered = self.arrive(c, rules, false);
                    unanswered.lost += 1;
                    next.push((format!("{name}'s write arrives, its answer does not"), unanswered));
                }
            }
            if self.crashes == 0 {
                let mut crashed = *self;
                crashed.crashes = 1;
                crashed.candidates[c] = Candidate::default();
                // Its successor has another identity: what the lease says is of somebody who never comes back.
                let other = &mut crashed.candidates[1 - c];
                let seen = other.seen.iter_mut().map(|(lease, _)| lease);
                let sent = other.sent.iter_mut().filter_map(|(over, _)| over.as_mut());
                for lease in seen.chain(sent).chain(&mut crashed.lease) {
                    lease.holder = lease.holder.map(|holder| if holder == c { c + 2 } else { holder });
                }
                next.push((format!("{name} starts anew"), crashed));
            }
        }
        next
    }

    fn tick(&self, rules: &Rules) -> Self {
        let mut next = *self;
        for (candidate, rate) in next.candidates.iter_mut().zip(rules.rates) {
            if let Some((_, age)) = &mut candidate.seen {
                *age = (*age + rate).min(AGE_MAX);
            }
            if let Some((_, age)) = &mut candidate.sent {
                *age = (*age + rate).min(secs(RENEW_DEADLINE));
            }
            if rules.mistake != Some(Mistake::NeverLapses) {
                candidate.held = candidate.held.saturating_sub(rate);
            }
        }
        next
    }

    fn look(&self, c: usize, rules: &Rules) -> Self {
        let mut next = *self;
        let now = Duration::from_hours(1);
        let before = self.candidates[c].seen.map(|(lease, age)| Watched {
            record: record(lease),
            seen_at: now.saturating_sub(Duration::from_secs(age.into())),
        });
        let seen = self.lease.map(|lease| watched(before, record(lease), now));
        let seen_at = seen.as_ref().map_or(now, |seen| seen.seen_at);
        let step = evaluate(seen.as_ref().map(|seen| &seen.record), seen_at, NAMES[c], now);
        let age = secs(now.saturating_sub(seen_at));
        next.candidates[c].seen = self.lease.map(|lease| (lease, age));
        let takes = match step {
            Step::Create | Step::Renew | Step::TakeOver => true,
            Step::Wait { .. } => rules.mistake == Some(Mistake::TakesAtOnce),
        };
        if takes {
            next.candidates[c].sent = Some((self.lease, 0));
        }
        next
    }

    fn arrive(&self, c: usize, rules: &Rules, answered: bool) -> Self {
        let mut next = *self;
        let Some((over, age)) = next.candidates[c].sent.take() else { return next };
        let taken = over == self.lease || rules.mistake == Some(Mistake::WritesOver);
        if !taken {
            return next;
        }
        // Three marks tell the last renewals apart; a fourth would be alike to one that nobody remembers.
        let used: Vec<u8> = [
            self.lease,
            self.candidates[0].seen.map(|seen| seen.0),
            self.candidates[1].seen.map(|seen| seen.0),
        ]
        .into_iter()
        .chain(self.candidates.iter().map(|candidate| candidate.sent.and_then(|sent| sent.0)))
        .flatten()
        .map(|lease| lease.renewal)
        .collect();
        let renewal = (0..8).find(|mark| !used.contains(mark)).unwrap();
        let lease = Lease { holder: Some(c), renewal };
        next.lease = Some(lease);
        if answered {
            let candidate = &mut next.candidates[c];
            candidate.seen = Some((lease, 0));
            let left = secs(RENEW_DEADLINE).saturating_sub(age);
            candidate.held = candidate.held.max(left);
        }
        next
    }

    /// Two believe that they may begin an effect now.
    fn two_lead(&self) -> bool {
        self.candidates.iter().all(|candidate| candidate.held > 0)
    }

    /// Without faults: looks at the pace of a standby, writes that arrive. Seconds until somebody leads.
    fn seconds_to_a_leader(mut self, rules: &Rules) -> Option<u32> {
        for second in 0..60 {
            for c in 0..2 {
                if self.candidates[c].sent.is_some() {
                    self = self.arrive(c, rules, true);
                }
                self = self.look(c, rules);
                if self.candidates[c].sent.is_some() {
                    self = self.arrive(c, rules, true);
                }
            }
            if self.candidates.iter().any(|candidate| candidate.held > 0) {
                return Some(second);
            }
            self = self.tick(rules);
        }
        None
    }
}

/// States, the longest wait for a leader in seconds, and the first breach with the way there.
fn explore(rules: &Rules) -> (usize, u32, Option<Vec<String>>) {
    let first = World::default();
    let mut seen = HashSet::from([first]);
    let mut parents: Vec<(usize, String)> = vec![(0, String::new())];
    let mut queue = VecDeque::from([(0, first)]);
    let mut longest = 0;
    while let Some((place, world)) = queue.pop_front() {
        let leader = world.seconds_to_a_leader(rules);
        longest = longest.max(leader.unwrap_or(u32::MAX));
        if world.two_lead() || leader.is_none() {
            let mut path = Vec::new();
            let mut here = place;
            while here != 0 {
                path.push(parents[here].1.clone());
                here = parents[here].0;
            }
            path.reverse();
            return (seen.len(), longest, Some(path));
        }
        for (action, next) in world.next(rules) {
            if seen.insert(next) {
                parents.push((place, action));
                queue.push_back((parents.len() - 1, next));
            }
        }
    }
    (seen.len(), longest, None)
}

#[test]
fn never_two_leaders_and_soon_one() {
    assert_eq!(STANDBY_PACE, Duration::from_secs(1), "the continuation looks once a second");
    for rates in RATES {
        let (states, longest, breach) = explore(&Rules { rates, mistake: None });
        println!("lease, clock rates {rates:?}: {states} states, a leader within {longest} s");
        assert_eq!(breach, None, "rates {rates:?}");
        assert!(states > 100_000, "{states}");
        // A crash costs the lease and a look; a clock at double rate makes that half of it.
        assert!(longest > 5 && longest <= 17, "{longest}");
    }
}

#[test]
fn each_mistake_of_an_election_is_found() {
    for mistake in [Mistake::TakesAtOnce, Mistake::WritesOver, Mistake::NeverLapses] {
        let (_, _, breach) = explore(&Rules { rates: [2, 2], mistake: Some(mistake) });
        assert!(breach.is_some(), "{mistake:?} was not found");
    }
}
