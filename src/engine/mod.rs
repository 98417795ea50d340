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

mod again;
mod choose;
pub mod clearance;
mod commit;
pub mod decision;
mod drift;
pub mod gates;
mod judge;
pub mod looks;
mod marks;
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
pub use marks::MARK_SEQUENCE_MAX;

use choose::Runner;
use decision::{Candidate, Decision, Hold, Inherited, Listed};
use marks::Standing;
use observation::Observation;
use order::Source;
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
    let drift = drift::drift(policy, observation);
    let promoted_again = again::judge(policy, observation, &drift, now);
    let again = promoted_again.as_ref().map(|again| &again.candidate);
    let agenda = agenda(policy, observation, &followed, again, now);
    let mut decision = Decision {
        ask: agenda.due,
        hold: hold(policy, observation),
        inherited: inherited(observation),
        named: tags::names(policy, observation),
        named_older: tags::named_older(policy, observation),
        start: Vec::new(),
        verdicts: gates::smoke::kept_verdicts(policy, observation, &followed, again),
        ended,
        drift,
        listed: listed(observation),
        looked: looked(policy, observation, &followed, again),
        next_look: agenda.next,
        commit: None,
        followed,
        promoted_again,
    };
    decision.ask.truncate(ASK_MAX);
    if decision.ask.is_empty() && decision.hold.is_none() {
        act(policy, observation, &mut decision, now);
    }
    decision
}

/// What is to be looked at, and when something changes without a look.
fn agenda(
    policy: &Policy,
    observation: &Observation,
    followed: &[Candidate],
    again: Option<&Candidate>,
    now: Timestamp,
) -> looks::Agenda {
    let mut agenda = looks::agenda(policy, observation, followed, again, now);
    let bells = followed.iter().filter_map(|candidate| judge::next_bell(policy, candidate, now));
    let settles = |candidate: &&Candidate| candidate.phase == Phase::Settling;
    let settled = again.filter(settles).and_then(|again| judge::settled_at(policy, &again.record));
    let smoke = gates::smoke::next_bell(observation, now);
    bells.chain(settled).chain(smoke).for_each(|bell| agenda.wake_at(bell));
    agenda
}

/// The effects of a decision that has nothing left to look at.
fn act(policy: &Policy, observation: &Observation, decision: &mut Decision, now: Timestamp) {
    let again = decision.promoted_again.as_ref().map(|again| &again.candidate);
    // What is newer comes first: it is judged under the present spec too.
    let candidates = decision.followed.iter().chain(again);
    match commit::step(policy, observation, candidates, now) {
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
            // It is what was just granted, or below it.
            decision.promoted_again = None;
            decision.commit = Some(granted);
            decision.start = gates::smoke::to_start(policy, observation, &decision.followed, None, now);
        }
        commit::Step::Nothing => {
            decision.start = gates::smoke::to_start(policy, observation, &decision.followed, again, now);
        }
    }
}

fn judged(policy: &Policy, observation: &Observation, now: Timestamp) -> Vec<(Runner, Candidate)> {
    choose::runners(policy, observation)
        .into_iter()
        .map(|runner| {
            let candidate = judge::judge(policy, observation, &runner, now);
            (runner, candidate)
        })
        .collect()
}

/// Followed candidates of which every required image was Missing in two looks an interval apart. A pin waits
/// for ever, and so does what something other than a list names: it would come back at once.
fn gone(policy: &Policy, observation: &Observation, judged: &[(Runner, Candidate)]) -> Vec<Tag> {
    let image_is_gone = |tag: &Tag, name: &crate::model::ImageName| {
        observation.memory.image(tag, name).is_some_and(|memory| {
            matches!(memory.sighting, Sighting::Missing)
                && memory
                    .missing_since
                    .is_some_and(|since| memory.asked.at.duration_since(since) >= policy.interval)
        })
    };
    let inherited = inherited(observation).and_then(|inherited| inherited.tag);
    let named = tags::names(policy, observation).first().filter(|_| observation.named.is_some()).cloned();
    let waits = [policy.pin.clone(), inherited, named];
    judged
        .iter()
        .filter(|(runner, _)| !waits.contains(&Some(runner.tag.clone())))
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
    if let Standing::Unreadable(why) = marks::standing(observation) {
        return Some(Hold::TargetUnreadable { why });
    }
    match tags::floor(policy, observation) {
        FloorState::NotOrdered(floor) if policy.pin.is_none() => Some(Hold::FloorNotOrdered { floor }),
        FloorState::Untold(doubt) if policy.pin.is_none() => Some(Hold::OrderUntold { doubt }),
        _ => None,
    }
}

fn inherited(observation: &Observation) -> Option<Inherited> {
    match marks::standing(observation) {
        Standing::Ahead { sequence, tag } => Some(Inherited { sequence, tag: tag.cloned() }),
        Standing::InStep | Standing::Unreadable(_) => None,
    }
}

fn looked(
    policy: &Policy,
    observation: &Observation,
    followed: &[Candidate],
    again: Option<&Candidate>,
) -> bool {
    let memory = &observation.memory;
    // Of an image whose place cannot be told nothing is asked.
    let images = || policy.required_images().filter(|(_, image)| image.place.repository().is_some());
    let was_seen = |tag: &Tag| {
        images().all(|(_, image)| {
            memory.image(tag, &image.name).is_some() || image.tag_template.render(tag.as_str()).is_none()
        })
    };
    let candidates = match &policy.pin {
        Some(pin) => {
            let promoted = observation.record.promoted.as_ref();
            promoted.is_some_and(|promoted| promoted.release.tag == *pin) || was_seen(pin)
        }
        None if policy.candidates.source == Source::Named => {
            followed.iter().all(|candidate| was_seen(&candidate.tag))
        }
        None => images().all(|(_, image)| memory.lists.contains_key(&image.name)),
    };
    candidates && again.is_none_or(|again| was_seen(&again.tag))
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
