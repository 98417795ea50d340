//! The decision: `decide(policy, observation, now)`, pure and total, shared by the controller, the command
//! line, the simulation and the tests.
//!
//! ```text
//!   policy ──────┐
//!   observation ─┼─ decide ─▶ ask …      answers go into observation.memory, and decide is asked again
//!   now ─────────┘          └▶ effects   once nothing is left to ask: commit, smoke tests, report
//! ```
//!
//! No I/O, no clock, no Kubernetes, no serialisation: a test holds that. Invariants are those of design §7.

mod choose;
pub mod clearance;
mod commit;
pub mod decision;
mod drift;
pub mod gates;
mod judge;
pub mod looks;
pub mod memory;
pub mod observation;
pub mod order;
pub mod policy;
pub mod record;
pub mod report;
pub mod semver;
mod tags;

use jiff::Timestamp;

pub use commit::{BLOBS_SEEN_LIFE, CHILD_SEEN_LIFE, CONFIRMATION_LIFE};

use choose::Runner;
use decision::{Candidate, Decision, Hold, Listed};
use observation::Observation;
use policy::Policy;
use record::{Ended, Outcome, Phase};
use tags::FloorState;

use crate::model::{Sighting, Tag};

/// Most questions of one answer: 20 candidates of 32 images and their lists. The rest comes in the next round.
pub const ASK_MAX: usize = 256;

/// Decides what to look at or what to do for one release set, from what is known of it at `now`.
///
/// The same input gives the same decision. It never fails: what is wrong with the input is in the report.
pub fn decide(policy: &Policy, observation: &Observation, now: Timestamp) -> Decision {
    if observation.deleting {
        return Decision { hold: Some(Hold::Deleting), ..Decision::default() };
    }
    let judged = judged(policy, observation, now);
    let gone = gone(policy, observation, &judged);
    let ended = ended(policy, observation, &judged, &gone, now);
    let alive = judged.into_iter().filter(|(runner, _)| !gone.contains(&runner.tag)).collect();
    let followed = choose::follow(policy, alive);
    let mut agenda = looks::agenda(policy, observation, &followed, now);
    for candidate in &followed {
        if let Some(bell) = judge::next_bell(policy, candidate, now) {
            agenda.wake_at(bell);
        }
    }
    if let Some(bell) = gates::smoke::next_bell(observation, now) {
        agenda.wake_at(bell);
    }
    let mut decision = Decision {
        ask: agenda.due,
        hold: hold(policy, observation),
        start: Vec::new(),
        verdicts: gates::smoke::kept_verdicts(policy, observation, &followed),
        ended,
        drift: drift::drift(observation),
        listed: listed(observation),
        looked: looked(policy, observation),
        next_look: agenda.next,
        commit: None,
        followed,
    };
    decision.ask.truncate(ASK_MAX);
    if decision.ask.is_empty() && decision.hold.is_none() {
        act(policy, observation, &mut decision, now);
    }
    decision
}

/// The effects of a decision that has nothing left to look at.
fn act(policy: &Policy, observation: &Observation, decision: &mut Decision, now: Timestamp) {
    match commit::step(policy, observation, &decision.followed, now) {
        commit::Step::Confirm(question) => decision.ask.push(question),
        commit::Step::Grant(granted) => {
            let floor = policy.candidates.rank(&granted.floor().tag).ok();
            let (kept, passed): (Vec<Candidate>, Vec<Candidate>) =
                std::mem::take(&mut decision.followed).into_iter().partition(|candidate| {
                    let rank = policy.candidates.rank(&candidate.tag).ok();
                    policy.pin.is_none() && rank > floor
                });
            let promoted = granted.release().tag.clone();
            decision.ended.extend(superseded(&passed, &promoted, now));
            decision.followed = kept;
            decision.commit = Some(granted);
            decision.start = gates::smoke::to_start(policy, observation, &decision.followed, now);
        }
        commit::Step::Nothing => {
            decision.start = gates::smoke::to_start(policy, observation, &decision.followed, now);
        }
    }
}

fn judged(policy: &Policy, observation: &Observation, now: Timestamp) -> Vec<(Runner, Candidate)> {
    choose::runners(policy, &observation.record, &observation.memory)
        .into_iter()
        .map(|runner| {
            let candidate = judge::judge(policy, observation, &runner, now);
            (runner, candidate)
        })
        .collect()
}

/// Followed candidates of which every required image was Missing in two looks an interval apart. A pin waits
/// for ever.
fn gone(policy: &Policy, observation: &Observation, judged: &[(Runner, Candidate)]) -> Vec<Tag> {
    let image_is_gone = |tag: &Tag, name: &crate::model::ImageName| {
        observation.memory.image(tag, name).is_some_and(|memory| {
            matches!(memory.sighting, Sighting::Missing)
                && memory
                    .missing_since
                    .is_some_and(|since| memory.asked.at.duration_since(since) >= policy.interval)
        })
    };
    judged
        .iter()
        .filter(|(runner, _)| policy.pin.as_ref() != Some(&runner.tag))
        .filter(|(runner, _)| {
            policy.required_images().all(|(_, image)| image_is_gone(&runner.tag, &image.name))
        })
        .map(|(runner, _)| runner.tag.clone())
        .collect()
}

/// Candidates that were followed and end here without being promoted, each told once.
fn ended(
    policy: &Policy,
    observation: &Observation,
    judged: &[(Runner, Candidate)],
    gone: &[Tag],
    now: Timestamp,
) -> Vec<Ended> {
    let record = &observation.record;
    let known = |tag: &Tag| record.candidates.iter().find(|candidate| &candidate.tag == tag);
    let end = |tag: &Tag, outcome, message: String| Ended { tag: tag.clone(), outcome, at: now, message };
    let mut ended = Vec::new();
    for (_, candidate) in judged.iter().filter(|(_, candidate)| candidate.phase == Phase::Failed) {
        let told = known(&candidate.tag).map_or_else(
            || record.recent.iter().any(|old| old.tag == candidate.tag && old.outcome == Outcome::Failed),
            |known| known.phase == Phase::Failed,
        );
        if !told {
            let message =
                candidate.blocked.as_ref().map(|blocked| blocked.message.clone()).unwrap_or_default();
            ended.push(end(&candidate.tag, Outcome::Failed, message));
        }
    }
    for tag in gone.iter().filter(|tag| known(tag).is_some()) {
        ended.push(end(tag, Outcome::Gone, "its tags are gone from every registry".to_owned()));
    }
    for candidate in record.candidates.iter().filter(|candidate| policy.skip.contains(&candidate.tag)) {
        ended.push(end(&candidate.tag, Outcome::Skipped, "dismissed by spec.skip".to_owned()));
    }
    ended
}

fn superseded(passed: &[Candidate], promoted: &Tag, now: Timestamp) -> Vec<Ended> {
    passed
        .iter()
        .filter(|candidate| &candidate.tag != promoted && candidate.phase != Phase::Failed)
        .map(|candidate| Ended {
            tag: candidate.tag.clone(),
            outcome: Outcome::Superseded,
            at: now,
            message: format!("{promoted} was promoted instead"),
        })
        .collect()
}

fn hold(policy: &Policy, observation: &Observation) -> Option<Hold> {
    if policy.suspend {
        return Some(Hold::Suspended);
    }
    match tags::floor(policy, &observation.record) {
        FloorState::NotOrdered(floor) if policy.pin.is_none() => Some(Hold::FloorNotOrdered { floor }),
        _ => None,
    }
}

fn looked(policy: &Policy, observation: &Observation) -> bool {
    let memory = &observation.memory;
    policy.required_images().all(|(_, image)| match &policy.pin {
        None => memory.lists.contains_key(&image.name),
        Some(pin) => {
            let promoted = observation.record.promoted.as_ref();
            promoted.is_some_and(|promoted| promoted.release.tag == *pin)
                || memory.image(pin, &image.name).is_some()
        }
    })
}

fn listed(observation: &Observation) -> Listed {
    let mut listed = Listed::default();
    for (name, list) in &observation.memory.lists {
        listed.tags += list.counts.tags;
        listed.matched += list.counts.matched;
        listed.not_numbers += list.counts.not_numbers;
        listed.not_versions += list.counts.not_versions;
        listed.out_of_range += list.counts.out_of_range;
        if let Some(doubt) = &list.doubt {
            listed.unknown.insert(name.clone(), doubt.clone());
        }
    }
    listed
}
