//! Registries in trouble: each trouble from each request on, each vendor's habits for ever, and a tag that moves at each
//! request.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use tidegate::invariants;

use super::batch::{Report, Told};
use super::fault::{Fault, Form, Plan};
use super::fences::Fences;
use super::line::Entry;
use super::process::Pace;
use super::run::{Outcome, on_a_runtime, run};
use super::story::{Act, until};
use super::trouble::{HABITS, Lock, Spell, TROUBLES};
use super::world::{HOLE, SET, World};
use super::{oracle, references, setting, stories};

/// Stories in which troubles begin at every part.
const STORIES: [&str; 2] = ["two-releases", "tokens-expire"];
/// Each trouble begins at one of so many requests, another one than the next trouble's: all of them would take minutes.
const SPARSE: u64 = 7;
/// How long a trouble lasts there, unless it may not.
const LASTS: Duration = Duration::from_secs(20);

/// Releases of the set that is well.
const RELEASES: u64 = 20;
/// Sets of a registry that answers nothing.
const ILL_SETS: usize = 20;

/// The trouble of that number, from a request on.
pub fn spell(from: u64, which: usize) -> Spell {
    let trouble = TROUBLES[which];
    Spell { from, lasts: LASTS.min(trouble.longest()), trouble }
}

/// Numbers of the requests to the registry.
fn to_registry(log: &[Entry]) -> Vec<u64> {
    let numbered = (1..).zip(log);
    numbered.filter(|(_, entry)| entry.what.starts_with("registry")).map(|(number, _)| number).collect()
}

fn told(reference: &Outcome, outcome: Outcome, replay: String) -> Told {
    let mut broken = outcome.broken.clone();
    broken.extend(oracle::differences_in_gist(reference, &outcome));
    Told { requests: outcome.requests, injected: outcome.injected, replay, broken }
}

#[test]
fn every_trouble_of_a_registry_at_every_part_of_a_story() {
    let began = setting("").1;
    let stories = STORIES.map(|name| stories::named(name).expect("there is such a story"));
    let references = stories.map(|story| {
        let reference = run(&story, Plan::Nothing, 0);
        (story, reference)
    });
    let mut points = Vec::new();
    for (at, (_, reference)) in references.iter().enumerate() {
        let from = to_registry(&reference.log);
        let each = from.into_iter().flat_map(|k| (0..TROUBLES.len()).map(move |which| (at, k, which)));
        points.extend(each.filter(|(_, k, which)| k.wrapping_add(*which as u64).is_multiple_of(SPARSE)));
    }
    let report = Report::of(&points, true, |&(at, k, which)| {
        let (story, reference) = &references[at];
        let outcome = run(story, Plan::Spell(spell(k, which)), 0);
        told(reference, outcome, format!("story={} spell={k}:{which}", story.name))
    });
    report.conclude("troubles of a registry", began);
}

#[test]
fn every_other_story_with_the_habits_of_each_vendor() {
    let began = setting("").1;
    let references = references();
    let runs: Vec<_> = (0..references.len())
        .flat_map(|at| (at % 2..HABITS.len()).step_by(2).map(move |habit| (at, habit)))
        .collect();
    let report = Report::of(&runs, true, |&(at, habit)| {
        let (story, reference) = &references[at];
        let outcome = run(story, Plan::Habit(HABITS[habit]), 0);
        told(reference, outcome, format!("story={} habit={habit}:{:?}", story.name, HABITS[habit]))
    });
    report.conclude("habits of registries", began);
}

/// CI builds a tag anew just before or just after each request to the registry: between look and commit among them.
#[test]
fn a_tag_may_move_at_every_request() {
    let began = setting("").1;
    let story = stories::named("tag-moves").expect("there is such a story");
    let still = run(&story, Plan::Nothing, 0);
    let from = to_registry(&still.log);
    let first = *from.first().expect("it asks the registry");
    let reference = run(&story, Plan::At(first, Fault::Moved(Form::Lost)), 0);
    let points: Vec<_> =
        from.into_iter().flat_map(|k| [Form::Lost, Form::Applied].map(|form| (k, form))).collect();
    let report = Report::of(&points, true, |&(k, form)| {
        let outcome = run(&story, Plan::At(k, Fault::Moved(form)), 0);
        told(&reference, outcome, format!("story={} crash={k}:{}", story.name, moved(form)))
    });
    assert_ne!(
        oracle::differences_in_gist(&still, &reference),
        Vec::<String>::new(),
        "a moved tag is another release"
    );
    report.conclude("requests at which a tag moves", began);
}

/// From the last push of each release to targets that carry it, with these sets beside.
fn waits(beside: usize) -> Vec<SignedDuration> {
    on_a_runtime(0, async move {
        let mut world = World::new(Plan::Nothing, Lock::Open, Fences::ALL);
        world.create(SET, &stories::spec(json!({}))).await;
        for number in 0..beside {
            let target = json!([{"name": "config", "configMap": {"name": format!("ill-{number}")}}]);
            let images = json!([{"name": "app", "repository": format!("{HOLE}/acme/app-{number}")}]);
            let spec = stories::spec(json!({"images": images, "targets": target}));
            world.create(&format!("ill-{number}"), &spec).await;
        }
        world.start_controllers(1, 1, Pace::RIGHT);
        let mut waits = Vec::new();
        for number in 1..=RELEASES {
            let tag = format!("main-{number}");
            for image in ["app", "worker"] {
                world.push(&Act::pushed(image, &tag, 0));
            }
            let pushed_at = world.clock.now();
            let carried =
                || world.target("acme-release").is_some_and(|target| target["data"]["RELEASE_TAG"] == *tag);
            until(&world, &format!("{tag} is carried"), carried).await.unwrap();
            waits.push(world.clock.now().duration_since(pushed_at));
            // Pushes come at every part of an interval.
            tokio::time::sleep(Duration::from_millis(700 * number)).await;
        }
        waits
    })
}

/// A registry takes every request of many sets and answers none.
#[test]
fn a_registry_that_swallows_everything_delays_no_other_set() {
    let worst = |beside| waits(beside).into_iter().max().expect("there are releases");
    let (alone, beside) = (worst(0), worst(ILL_SETS));
    eprintln!(
        "simulation: beside {ILL_SETS} sets of a black hole: {} ms, alone {} ms",
        beside.as_millis(),
        alone.as_millis()
    );
    assert_eq!(invariants::l4_not_delayed(beside, alone), None);
}

fn moved(form: Form) -> &'static str {
    match form {
        Form::Lost => "moved-before",
        Form::Applied => "moved-after",
    }
}
