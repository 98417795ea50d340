//! Scenarios on the engine alone: the same files, with answers from a map.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tidegate::api::validate;
use tidegate::cli::demo::scenario::{Scenario, Seen, Step, World as Where};
use tidegate::engine::report::conditions;
use tidegate::model::TargetState;

use crate::engine::world::{World, digest};

#[test]
fn engine_alone_plays_every_scenario() {
    let mut failures = Vec::new();
    let scenarios = super::of(Where::Engine);
    for scenario in &scenarios {
        failures.extend(play(scenario));
    }
    super::verdict(Where::Engine, &failures, scenarios.len());
}

/// Failure sequence 13: a push every two minutes and a sibling that takes twelve must not starve promotion.
#[test]
fn sequence_13_a_steady_stream_with_a_slow_sibling_is_promoted() {
    let scenarios = super::of(Where::Engine);
    let stream = scenarios.iter().find(|scenario| scenario.name == "steady-stream").expect("it is there");
    assert_eq!(play(stream), Vec::<String>::new());
}

fn play(scenario: &Scenario) -> Vec<String> {
    let mut spec = serde_json::to_value(scenario.spec_at("registry.example")).unwrap();
    let policy = |spec: &serde_json::Value, generation| {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        validate::policy(&spec, generation)
            .unwrap_or_else(|problems| panic!("{}: {problems:?}", scenario.name))
    };
    let mut world = World::new(policy(&spec, 1));
    let mut failures = Vec::new();
    let mut elapsed = SignedDuration::ZERO;
    for step in &scenario.steps {
        world.pass(step.at - elapsed);
        elapsed = step.at;
        apply(&mut world, step);
        if let Some(edit) = step.edit_at("registry.example") {
            merge(&mut spec, &edit);
            world.policy = policy(&spec, world.policy.generation + 1);
            // What was seen belongs to a generation.
            world.restart();
        }
        if let Some(expect) = &step.expect {
            let seen = seen(&world);
            let differences = expect.differences(&seen);
            failures.extend(
                differences
                    .iter()
                    .map(|difference| format!("{} at {:#}: {difference}", scenario.name, step.at)),
            );
        }
    }
    failures
}

fn apply(world: &mut World, step: &Step) {
    for push in &step.push {
        let image = world.policy.image(&push.image.parse().unwrap()).unwrap();
        let shared = image.tag_template.extract(&push.tag).unwrap().to_owned();
        let platforms: Vec<&str> = push.platforms.iter().map(String::as_str).collect();
        world.push(&push.image, &shared, &platforms, push.build);
        if let Some(pushed) = world.pushed.get_mut(&(push.image.parse().unwrap(), shared.parse().unwrap()))
            && push.revision.is_some()
        {
            pushed.revision.clone_from(&push.revision);
        }
        for platform in platforms {
            let child = digest(&format!("{} {shared} {platform} build {}", push.image, push.build));
            world.smoke.insert(child, (push.exit_code, push.runs_for));
        }
    }
    for gone in &step.delete {
        world.pushed.remove(&(gone.image.parse().unwrap(), gone.tag.parse().unwrap()));
    }
    world.refused.extend(step.refuse.iter().map(|image| image.parse().unwrap()));
    for image in &step.admit {
        world.refused.remove(&image.parse().unwrap());
    }
    if step.restart {
        world.restart();
    }
}

fn seen(world: &World) -> Seen {
    let record = &world.observation.record;
    let promoted = record.promoted.as_ref();
    let candidate = world.decision.followed.first();
    let carried = |target: &tidegate::engine::policy::TargetPolicy| {
        let state = if promoted.is_some() { TargetState::Applied } else { TargetState::Pending };
        (target.name.clone(), (state, String::new()))
    };
    let targets = world.policy.targets.iter().map(carried).collect();
    let word = |status| if status { "True" } else { "False" };
    let conditions: BTreeMap<String, String> = conditions(&world.policy, record, &world.decision, &targets)
        .into_iter()
        .map(|report| (report.condition.to_string(), format!("{}/{}", word(report.status), report.reason)))
        .collect();
    Seen {
        promoted: promoted.map(|promoted| promoted.release.tag.to_string()),
        sequence: promoted.map(|promoted| promoted.sequence),
        candidate: candidate.map(|candidate| candidate.tag.to_string()),
        phase: candidate.map(|candidate| candidate.phase.word().to_owned()),
        images: candidate.map(|candidate| {
            let (present, all) = candidate.cell_counts();
            format!("{present}/{all}")
        }),
        blocked_by: candidate
            .and_then(|candidate| candidate.blocked.as_ref())
            .map(|blocked| blocked.message.clone()),
        conditions,
        ended: record
            .recent
            .iter()
            .rev()
            .map(|ended| (ended.tag.to_string(), ended.outcome.word().to_owned()))
            .collect(),
    }
}

/// RFC 7386.
fn merge(into: &mut serde_json::Value, patch: &serde_json::Value) {
    let Some(patch) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = serde_json::json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
