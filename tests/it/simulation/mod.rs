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
mod duel;
mod fault;
mod line;
mod objects;
mod oracle;
mod process;
mod run;
mod stories;
mod story;
mod truth;
mod witness;
mod world;

use std::time::SystemTime;

use batch::{Report, Told};
use fault::{Fault, Form, NAMED, Plan};
use run::{Outcome, run};
use story::Story;
use world::{ALL_FENCES, Fences};

/// Random schedules of one run of the tests; `make soak` does more.
const SCHEDULES: u64 = 2_000;
/// Duels of one run of the tests (design §9 G9).
const DUELS: u64 = 10_000;
/// Duels until a fence that is away must have been missed.
const DUELS_UNFENCED: u64 = 400;

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
    let began = setting("").1;
    let references = references();
    let mut points = Vec::new();
    for (at, (_, reference)) in references.iter().enumerate() {
        points.extend(
            (1..=reference.requests).flat_map(|k| NAMED.iter().take(2).map(move |named| (at, k, *named))),
        );
    }
    let report = Report::of(&points, true, |&(at, k, (name, fault))| {
        let (story, reference) = &references[at];
        let replay = format!("story={} crash={k}:{name}", story.name);
        judged(story, reference, run(story, Plan::At(k, fault), 0), replay)
    });
    let counts: Vec<String> = references
        .iter()
        .map(|(story, reference)| format!("{} {}", story.name, 2 * reference.requests))
        .collect();
    report.conclude(&format!("{} stories, crash points ({})", references.len(), counts.join(", ")), began);
}

/// Found by random schedules, each at one request: a list or the start of a watch that was never answered left the
/// controller deaf, and a set that a stale read did not show was not looked for again.
#[test]
fn every_request_of_a_story_may_fail_without_a_death() {
    let began = setting("").1;
    let story = stories::named("first-promotion").expect("there is such a story");
    let reference = run(&story, Plan::Nothing, 0);
    let points: Vec<_> =
        (1..=reference.requests).flat_map(|k| NAMED.iter().skip(2).map(move |named| (k, *named))).collect();
    let report = Report::of(&points, true, |&(k, (name, fault))| {
        let outcome = run(&story, Plan::At(k, fault), 0);
        let replay = format!("story={} crash={k}:{name}", story.name);
        let mut broken = outcome.broken.clone();
        broken.extend(oracle::differences_in_gist(&reference, &outcome));
        Told { requests: outcome.requests, injected: outcome.injected, replay, broken }
    });
    report.conclude("requests that fail without a death", began);
}

/// Found by a random schedule: kube's queue lost its wake-up when all watches failed at once, and nothing woke it again.
#[test]
fn a_start_while_every_request_fails_goes_on_when_they_do_not() {
    let story = stories::named("first-promotion").expect("there is such a story");
    for until in [20, 30, 40, 60] {
        let outcome = run(&story, Plan::Each(6, until, Fault::Answer(Form::Lost, 503)), 0);
        assert_eq!(outcome.broken, Vec::<String>::new(), "503 until request {until}");
    }
}

#[test]
fn random_schedules_end_as_without_faults() {
    let (schedules, began) = many(SCHEDULES);
    let references = references();
    let seeds: Vec<u64> = (1..=schedules).collect();
    let report = Report::of(&seeds, true, |&seed| {
        let at = usize::try_from(seed).unwrap() % references.len();
        let (story, reference) = &references[at];
        judged(
            story,
            reference,
            run(story, Plan::of(seed), seed),
            format!("story={} seed={seed}", story.name),
        )
    });
    report.conclude("random schedules", began);
}

fn duels(count: u64, fences: Fences) -> (Report, SystemTime) {
    let (count, began) = many(count);
    let seeds: Vec<u64> = (1..=count).collect();
    let report = Report::of(&seeds, fences == ALL_FENCES, |&seed| {
        let duel = duel::duel(seed, fences);
        let broken = duel.violations.into_iter().chain(duel.stuck).collect();
        Told { requests: duel.requests, injected: duel.injected, replay: format!("duel seed={seed}"), broken }
    });
    (report, began)
}

#[test]
fn two_live_leaders_commit_nothing_twice() {
    let (report, began) = duels(DUELS, ALL_FENCES);
    report.conclude("two live leaders", began);
}

#[test]
fn two_live_leaders_without_fences_are_caught() {
    let neither = Fences { rule: false, revisions: false };
    let caught = |report: &Report, what: &str| report.failed.iter().any(|failed| failed.contains(what));
    let (without, _) = duels(DUELS_UNFENCED, neither);
    assert!(caught(&without, "S4: "), "of {} duels without any fence none was caught", without.runs);
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
        let duel = duel::duel(seed, ALL_FENCES);
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
    let plan = match value("crash").and_then(|crash| crash.split_once(':')) {
        Some((k, form)) => {
            let fault = NAMED.iter().find(|(name, _)| *name == form).expect("crash=NUMBER:FAULT").1;
            Plan::At(k.parse().expect("crash=NUMBER:FAULT"), fault)
        }
        None => Plan::of(seed),
    };
    let reference = run(&story, Plan::Nothing, 0);
    let outcome = run(&story, plan, seed);
    tell(&outcome.log);
    let told = judged(&story, &reference, outcome, wanted.clone());
    assert!(told.broken.is_empty(), "{}", told.broken.join("\n"));
}
