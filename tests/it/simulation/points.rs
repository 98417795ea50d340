//! Faults of single requests: at each one of a story, and by chance at many.

use super::batch::{Report, Told};
use super::fault::{DEADLY, Fault, Form, HARMLESS, NAMED, Plan};
use super::run::{run, run_and_rest};
use super::{judged, many, oracle, references, setting, stories};

/// Random schedules of one run of the tests; `make soak` does more.
const SCHEDULES: u64 = 2_000;

pub fn every_crash_point_of_every_story() {
    let began = setting("").1;
    let references = references();
    let mut points = Vec::new();
    for (at, (_, reference)) in references.iter().enumerate() {
        points.extend(
            (1..=reference.requests)
                .flat_map(|k| NAMED.iter().take(DEADLY).map(move |named| (at, k, *named))),
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
pub fn every_request_of_a_story_may_fail_without_a_death() {
    let began = setting("").1;
    let story = stories::named("first-promotion").expect("there is such a story");
    let reference = run(&story, Plan::Nothing, 0);
    let points: Vec<_> = (1..=reference.requests)
        .flat_map(|k| NAMED.iter().skip(DEADLY).take(HARMLESS).map(move |named| (k, *named)))
        .collect();
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

pub fn random_schedules_end_as_without_faults() {
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

#[test]
fn nothing_is_written_at_rest() {
    let stories = stories::all();
    let report = Report::of(&stories, true, |story| {
        let outcome = run_and_rest(story);
        let replay = format!("story={}", story.name);
        Told { requests: outcome.requests, injected: outcome.injected, replay, broken: outcome.broken }
    });
    report.conclude("stories watched at rest", setting("").1);
}
