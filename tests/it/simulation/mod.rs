//! The real controller under a seeded schedule of faults, in virtual time (rung R2).
//!
//! ```text
//!   story ─▶ world: embedded API, registry, node ◀── line ◀── controller processes (die, stop, start anew)
//!                        └▶ witness: every write, at its instant ┘ └▶ plan of faults, from one seed
//!   end state, writes ─▶ oracle: the same as without faults
//! ```
//!
//! A run that fails prints one command that replays it.

mod answer;
mod batch;
mod carry;
mod chance;
mod duel;
mod fault;
mod fences;
mod leaders;
mod line;
mod objects;
mod oracle;
mod points;
mod process;
mod run;
mod stories;
mod story;
mod trouble;
mod troubles;
mod truth;
mod witness;
mod world;

use std::time::SystemTime;

use batch::Told;
use fault::{NAMED, Plan};
use fences::Fences;
use run::{Outcome, run};
use story::Story;

#[expect(clippy::disallowed_methods, reason = "tests read their own settings and time themselves")]
fn setting(name: &str) -> (Option<String>, SystemTime) {
    (std::env::var(name).ok(), SystemTime::now())
}

/// How many of something are to be run: what `make soak` says, or `usual`.
fn many(usual: u64) -> (u64, SystemTime) {
    let (seeds, began) = setting("TIDEGATE_SEEDS");
    (seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(usual), began)
}

/// A run held against the one without faults.
fn judged(story: &Story, reference: &Outcome, outcome: Outcome, replay: String) -> Told {
    let mut broken = outcome.broken.clone();
    // A backup that is laid over a new object finds it committed already or not yet: both histories are right.
    let is_exact = !story.name.starts_with("restored");
    if broken.is_empty() {
        let faults: u64 = outcome.injected.values().sum();
        broken.extend(match faults {
            0 | 1 if is_exact => oracle::differences(reference, &outcome, faults),
            _ => oracle::differences_in_gist(reference, &outcome),
        });
    }
    Told { requests: outcome.requests, injected: outcome.injected, replay, broken }
}

/// Every story, with its run without faults.
fn references() -> Vec<(Story, Outcome)> {
    let all = stories::all().into_iter();
    all.map(|story| {
        let reference = run(&story, Plan::Nothing, 0);
        assert_eq!(reference.broken, Vec::<String>::new(), "{} without faults", story.name);
        (story, reference)
    })
    .collect()
}

#[test]
fn the_same_seed_gives_the_same_requests() {
    for story in stories::all() {
        for seed in 0..4 {
            let plan = || if seed == 0 { Plan::Nothing } else { Plan::of(seed) };
            let (one, other) = (run(&story, plan(), seed), run(&story, plan(), seed));
            let name = story.name;
            if let Some(at) = one.log.iter().zip(&other.log).position(|(one, other)| one != other) {
                panic!("{name} seed {seed}: request {}: {:?} and {:?}", at + 1, one.log[at], other.log[at]);
            }
            assert_eq!(one.log.len(), other.log.len(), "{name} seed {seed}");
            assert_eq!(one.end, other.end, "{name} seed {seed}");
        }
    }
}

#[test]
fn every_crash_point_of_every_story() {
    points::every_crash_point_of_every_story();
}

#[test]
fn every_request_of_a_story_may_fail_without_a_death() {
    points::every_request_of_a_story_may_fail_without_a_death();
}

#[test]
fn random_schedules_end_as_without_faults() {
    points::random_schedules_end_as_without_faults();
}

#[test]
fn two_live_leaders_commit_nothing_twice() {
    leaders::two_live_leaders_commit_nothing_twice();
}

/// Every request with its fault and its answer.
fn tell(log: &[line::Entry]) {
    for (at, entry) in log.iter().enumerate() {
        let code = entry.code.map_or("-".to_owned(), |code| code.to_string());
        let fault = entry.fault.map_or(String::new(), |fault| format!("{fault:?}"));
        println!(
            "{:>4} {:>7} ms  {}  {code:>3}  {} {fault}",
            at + 1,
            entry.at_millis,
            entry.process,
            entry.what
        );
    }
}

/// Plays what `TIDEGATE_SIMULATION` names, as a failing run prints it, and tells every request.
#[test]
fn replay() {
    let Some(wanted) = setting("TIDEGATE_SIMULATION").0 else { return };
    let value = |key: &str| wanted.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let seed: u64 = value("seed").map_or(0, |seed| seed.parse().expect("seed is a number"));
    if wanted.starts_with("duel") {
        let fences = value("without").map_or_else(|| leaders::fences_of(seed), Fences::parse);
        let length = match value("length") {
            Some("InARow") => duel::Length::InARow,
            Some(_) => duel::Length::EachCarried,
            None => leaders::length_of(seed),
        };
        let duel = duel::duel(seed, fences, length);
        tell(&duel.log);
        assert!(
            duel.violations.is_empty() && duel.stuck.is_none(),
            "{:#?} {:?}",
            duel.violations,
            duel.stuck
        );
        return;
    }
    let story = stories::named(value("story").expect("story=NAME")).expect("there is such a story");
    let number = |text: &str| text.parse::<u64>().expect("a number stands before the colon");
    let plan = match ["crash", "spell", "habit"].map(|key| value(key).and_then(|text| text.split_once(':'))) {
        [Some((k, form)), _, _] => {
            let fault = NAMED.iter().find(|(name, _)| *name == form).expect("crash=NUMBER:FAULT").1;
            Plan::At(number(k), fault)
        }
        [_, Some((k, which)), _] => {
            Plan::Spell(troubles::spell(number(k), usize::try_from(number(which)).unwrap()))
        }
        [_, _, Some((which, _))] => Plan::Habit(trouble::HABITS[usize::try_from(number(which)).unwrap()]),
        _ => Plan::of(seed),
    };
    let reference = run(&story, Plan::Nothing, 0);
    let outcome = run(&story, plan, seed);
    tell(&outcome.log);
    let told = judged(&story, &reference, outcome, wanted.clone());
    assert!(told.broken.is_empty(), "{}", told.broken.join("\n"));
}
