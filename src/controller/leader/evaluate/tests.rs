//! Cases, and random histories of processes with clocks of their own that share one lease.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

const ME: &str = "me";

fn held_by(holder: &str) -> LeaseRecord {
    LeaseRecord { holder: holder.to_owned(), renewed: None, transitions: 1, duration: LEASE_DURATION }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn an_absent_a_released_and_an_own_lease_are_ours_at_once() {
    assert_eq!(evaluate(None, secs(0), ME, secs(0)), Step::Create);
    assert_eq!(evaluate(Some(&held_by("")), secs(100), ME, secs(100)), Step::TakeOver);
    assert_eq!(evaluate(Some(&held_by(ME)), secs(0), ME, secs(1_000)), Step::Renew);
}

#[test]
fn anothers_lease_is_free_after_it_stood_for_its_own_duration() {
    let mut lease = held_by("other");
    assert_eq!(evaluate(Some(&lease), secs(100), ME, secs(115)), Step::Wait { until: secs(116) });
    assert_eq!(evaluate(Some(&lease), secs(100), ME, secs(116)), Step::TakeOver);
    lease.duration = secs(60);
    assert_eq!(evaluate(Some(&lease), secs(100), ME, secs(116)), Step::Wait { until: secs(160) });
}

#[test]
fn what_the_holder_says_of_the_time_counts_for_nothing() {
    let mut lease = held_by("other");
    for renewed in ["1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        lease.renewed = Some(renewed.parse().unwrap());
        assert_eq!(evaluate(Some(&lease), secs(9), ME, secs(10)), Step::Wait { until: secs(25) });
    }
}

#[test]
fn a_lease_is_seen_anew_when_anything_of_it_changed() {
    let first = watched(None, held_by("other"), secs(1));
    let same = watched(Some(first.clone()), held_by("other"), secs(9));
    assert_eq!(same.seen_at, secs(1));
    let renewed = LeaseRecord { renewed: Some(Timestamp::UNIX_EPOCH), ..held_by("other") };
    let taken = LeaseRecord { transitions: 2, ..held_by("other") };
    for changed in [renewed, taken, held_by("third")] {
        assert_eq!(watched(Some(first.clone()), changed, secs(9)).seen_at, secs(9));
    }
}

/// What befalls a process, by real time in milliseconds.
#[derive(Clone, Debug)]
enum Fate {
    Runs,
    /// Stands still from, for: SIGSTOP, or no CPU.
    Paused(u64, u64),
    Crashes(u64),
    /// Gives the lease back, and ends.
    Stops(u64),
}

#[derive(Clone, Debug)]
struct Setup {
    fate: Fate,
    /// Its monotonic clock: where it stands at real time 0, and its rate in millionths.
    offset_ms: u64,
    rate_ppm: u64,
    /// Its wall clock against real time.
    skew_secs: i64,
    /// From sending a write to its being done, and again to its answer.
    latency_ms: u64,
}

struct Process {
    name: String,
    setup: Setup,
    watched: Option<(Watched, u64)>,
    next_ms: u64,
    /// By its own clock; effects may begin before.
    token_until: Option<Duration>,
    ended: bool,
    /// A write under way: what, over which version, done when, sent when (own clock).
    sent: Option<(LeaseRecord, u64, u64, Duration)>,
}

#[derive(Default)]
struct World {
    lease: Option<LeaseRecord>,
    version: u64,
    /// Real time until which an effect of somebody may be under way, and whose.
    busy: Option<(u64, String)>,
    /// (from, to) without anybody who may act.
    idle_since: u64,
    longest_idle: u64,
}

impl Process {
    fn clock(&self, real_ms: u64) -> Duration {
        Duration::from_micros((self.setup.offset_ms + real_ms) * self.setup.rate_ppm / 1_000)
    }

    fn stands_still(&self, real_ms: u64) -> bool {
        matches!(self.setup.fate, Fate::Paused(from, span) if (from..from + span).contains(&real_ms))
    }

    fn leads(&self, real_ms: u64) -> bool {
        !self.ended && self.token_until.is_some_and(|until| self.clock(real_ms) < until)
    }

    fn record(&self, lease: Option<&LeaseRecord>, real_ms: u64) -> LeaseRecord {
        let wall = SignedDuration::from_secs(self.setup.skew_secs)
            + SignedDuration::from_millis(i64::try_from(real_ms).unwrap());
        let taken = i32::from(lease.is_some_and(|lease| lease.holder != self.name));
        LeaseRecord {
            holder: self.name.clone(),
            renewed: Some(Timestamp::UNIX_EPOCH + wall),
            transitions: lease.map_or(0, |lease| lease.transitions + taken),
            duration: LEASE_DURATION,
        }
    }

    fn step(&mut self, world: &mut World, real_ms: u64) {
        let now = self.clock(real_ms);
        if let Some((record, version, done_ms, sent_at)) = self.sent.take() {
            if real_ms < done_ms {
                self.sent = Some((record, version, done_ms, sent_at));
                return;
            }
            // Its answer is what was written; a conflict is a reason to read again.
            if version == world.version {
                let until = sent_at + RENEW_DEADLINE;
                self.token_until = (!record.holder.is_empty()).then_some(until);
                self.ended |= record.holder.is_empty();
                world.lease = Some(record);
                world.version += 1;
            }
            return;
        }
        match self.setup.fate {
            Fate::Crashes(at) if real_ms >= at => self.ended = true,
            Fate::Stops(at) if real_ms >= at => {
                self.token_until = None;
                match &world.lease {
                    Some(lease) if lease.holder == self.name => {
                        let released = LeaseRecord { holder: String::new(), ..lease.clone() };
                        self.sent = Some((released, world.version, real_ms + self.setup.latency_ms, now));
                    }
                    _ => self.ended = true,
                }
            }
            _ if real_ms >= self.next_ms => self.look(world, real_ms, now),
            _ => {}
        }
    }

    fn look(&mut self, world: &World, real_ms: u64, now: Duration) {
        let before = self.watched.take().map(|(watched, _)| watched);
        self.watched = world.lease.clone().map(|lease| (watched(before, lease, now), world.version));
        let lease = self.watched.as_ref().map(|(watched, _)| &watched.record);
        let seen_at = self.watched.as_ref().map_or(now, |(watched, _)| watched.seen_at);
        let step = evaluate(lease, seen_at, &self.name, now);
        let pace = if step == Step::Renew { RENEW_PACE } else { STANDBY_PACE };
        self.next_ms = real_ms + u64::try_from(pace.as_millis()).unwrap();
        if !matches!(step, Step::Wait { .. }) {
            let record = self.record(lease, real_ms);
            self.sent = Some((record, world.version, real_ms + self.setup.latency_ms, now));
        }
    }
}

/// Runs the processes for two minutes of real time. Every effect that may begin begins at once and takes as long as
/// one may take: no two processes may have one under way.
fn run(setups: &[Setup]) -> World {
    const TICK_MS: u64 = 20;
    let mut world = World::default();
    let mut processes: Vec<Process> = setups.iter().enumerate().map(process).collect();
    for real_ms in (0..120_000).step_by(usize::try_from(TICK_MS).unwrap()) {
        for process in processes.iter_mut().filter(|process| !process.ended) {
            if !process.stands_still(real_ms) {
                process.step(&mut world, real_ms);
            }
        }
        // One that stands still begins nothing, so its clock need not be asked.
        let leaders: Vec<&Process> =
            processes.iter().filter(|one| !one.stands_still(real_ms) && one.leads(real_ms)).collect();
        for leader in &leaders {
            if let Some((until, whose)) = &world.busy
                && *whose != leader.name
            {
                // A release waits for its own effects; every other takeover waited for the lease.
                assert!(real_ms >= *until, "{} acts while {whose} may", leader.name);
            }
            let limit = u64::try_from(CALL_LIMIT.as_millis()).unwrap();
            let released = matches!(leader.setup.fate, Fate::Stops(_));
            world.busy =
                Some((if released { real_ms + TICK_MS } else { real_ms + limit }, leader.name.clone()));
        }
        assert!(leaders.len() <= 1, "two lead at {real_ms}");
        if leaders.is_empty() {
            world.longest_idle = world.longest_idle.max(real_ms - world.idle_since);
        } else {
            world.idle_since = real_ms;
        }
    }
    world
}

fn process((index, setup): (usize, &Setup)) -> Process {
    Process {
        name: format!("process-{index}"),
        setup: setup.clone(),
        watched: None,
        next_ms: 0,
        token_until: None,
        ended: false,
        sent: None,
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    let fate = prop_oneof![
        Just(Fate::Runs),
        (0..90_000_u64, 100..60_000_u64).prop_map(|(from, span)| Fate::Paused(from, span)),
        (0..90_000_u64).prop_map(Fate::Crashes),
        (0..90_000_u64).prop_map(Fate::Stops),
    ];
    (fate, 0..1_000_000_u64, 999_000..1_001_000_u64, -100_000..100_000_i64, 20..900_u64).prop_map(
        |(fate, offset_ms, rate_ppm, skew_secs, latency_ms)| Setup {
            fate,
            offset_ms,
            rate_ppm,
            skew_secs,
            latency_ms,
        },
    )
}

fn quick(fate: Fate, skew_secs: i64) -> Setup {
    Setup { fate, offset_ms: 7_000, rate_ppm: 1_000_000, skew_secs, latency_ms: 40 }
}

#[test]
fn a_crash_is_over_within_20_s_and_a_stop_within_2_s() {
    let hour = 3_600;
    let crash = run(&[quick(Fate::Crashes(30_000), hour), quick(Fate::Runs, -hour)]);
    assert!((15_000..20_000).contains(&crash.longest_idle), "{}", crash.longest_idle);
    let stop = run(&[quick(Fate::Stops(30_000), -hour), quick(Fate::Runs, hour)]);
    assert!(stop.longest_idle < 2_000, "{}", stop.longest_idle);
    let calm = run(&[quick(Fate::Runs, hour), quick(Fate::Runs, -hour)]);
    assert!(calm.longest_idle < 1_000, "{}", calm.longest_idle);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_two_act_at_once_whatever_their_clocks_say(setups in prop::collection::vec(setup(), 2..4)) {
        run(&setups);
    }

    #[test]
    fn one_that_stays_up_leads_in_the_end(others in prop::collection::vec(setup(), 0..3)) {
        let mut setups = others;
        setups.push(quick(Fate::Runs, 0));
        let world = run(&setups);
        // Takeovers of processes that then crash can follow one another.
        let limit_ms = 20_000 * u64::try_from(setups.len()).unwrap();
        prop_assert!(world.longest_idle <= limit_ms, "{} ms without a leader", world.longest_idle);
    }
}
