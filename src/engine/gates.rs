//! Gates of one candidate: each asks one thing, and known absence is a failure, not Unknown (design §4).

use std::collections::BTreeSet;

use crate::engine::decision::{Candidate, CandidateImage, GateReport, GateState};
use crate::engine::observation::Observation;
use crate::engine::policy::{Gate, GateKind, Policy, RevisionSource, SameRevisionGate, SmokeGate};
use crate::model::{Binding, Platform, Sighting, SmokeOutcome, SmokeRequest, SmokeVerdict, SmokeView, Tag};

/// Most smoke tests of one set that run at once (failure sequence 24).
pub const SMOKE_RUNNING_MAX: usize = 4;
/// Most verdicts that status keeps (design §3): 4 gates on 3 platforms of 5 candidates.
pub const VERDICTS_MAX: usize = 64;

/// Every gate of one candidate, in the order of the spec.
pub(in crate::engine) fn judge(
    policy: &Policy,
    observation: &Observation,
    tag: &Tag,
    images: &[CandidateImage],
) -> Vec<GateReport> {
    let report = |gate: &Gate| {
        let (is_smoke, (state, message)) = match &gate.kind {
            GateKind::Smoke(smoke) => (true, judge_smoke(policy, observation, smoke, images)),
            GateKind::SameRevision(same) => (false, judge_revision(observation, same, tag, images)),
        };
        GateReport { name: gate.name.clone(), advisory: gate.advisory, is_smoke, state, message }
    };
    policy.gates.iter().map(report).collect()
}

/// What is known of the test behind `binding`. A verdict of status counts as one that was just read.
fn view(observation: &Observation, binding: &Binding) -> Option<SmokeView> {
    let kept = observation.record.verdicts.iter().find(|verdict| &verdict.binding == binding);
    kept.cloned().map(SmokeView::Ended).or_else(|| observation.smoke.get(binding).cloned())
}

/// The tests of one smoke gate whose cells are Present, with their bindings.
fn tests<'a>(
    policy: &'a Policy,
    smoke: &'a SmokeGate,
    images: &'a [CandidateImage],
) -> impl Iterator<Item = (&'a Platform, Option<(Binding, crate::model::Digest)>)> {
    let image = policy.image(&smoke.image);
    let cells = images.iter().find(|image| image.name == smoke.image).map(|image| &image.cells);
    image.into_iter().flat_map(move |image| {
        smoke.platforms_of(image).iter().map(move |platform| {
            let cell = cells.and_then(|cells| cells.iter().find(|cell| &cell.platform == platform));
            let test = cell.and_then(|cell| cell.sighting.present()).map(|digest| {
                (Binding::of_image(&image.repository, platform, digest, &smoke.hash), digest.clone())
            });
            (platform, test)
        })
    })
}

fn judge_smoke(
    policy: &Policy,
    observation: &Observation,
    smoke: &SmokeGate,
    images: &[CandidateImage],
) -> (GateState, String) {
    let several = tests(policy, smoke, images).count() > 1;
    let mut worst = (GateState::Passed, "passed".to_owned());
    for (platform, test) in tests(policy, smoke, images) {
        let on = if several { format!(" on {platform}") } else { String::new() };
        let (state, message) = match test {
            None => (GateState::Pending, format!("waits for {} {platform}", smoke.image)),
            Some((binding, _)) => judge_test(view(observation, &binding), &on),
        };
        if severity(state) > severity(worst.0) {
            worst = (state, message);
        }
    }
    worst
}

fn judge_test(view: Option<SmokeView>, on: &str) -> (GateState, String) {
    match view {
        None => (GateState::Pending, format!("is not started{on}")),
        Some(SmokeView::Running { waiting_for: None, .. }) => (GateState::Running, format!("runs{on}")),
        Some(SmokeView::Running { waiting_for: Some(what), .. }) => {
            (GateState::Pending, format!("cannot start{on}: {what}"))
        }
        Some(SmokeView::Unknown { why }) => (GateState::Pending, format!("cannot be told{on}: {why}")),
        Some(SmokeView::Ended(verdict)) => match verdict.outcome {
            SmokeOutcome::Passed => (GateState::Passed, format!("passed{on}")),
            SmokeOutcome::Failed => (GateState::Failed, format!("failed{on}: {}", verdict.message)),
        },
    }
}

/// Which of several states a gate shows: one failure decides; what waits hides what runs.
fn severity(state: GateState) -> u8 {
    match state {
        GateState::Passed => 0,
        GateState::Running => 1,
        GateState::Pending | GateState::NotRun => 2,
        GateState::Failed => 3,
    }
}

fn judge_revision(
    observation: &Observation,
    gate: &SameRevisionGate,
    tag: &Tag,
    images: &[CandidateImage],
) -> (GateState, String) {
    let mut values = BTreeSet::new();
    for image in images.iter().filter(|image| !image.advisory) {
        if !image.cells.iter().filter(|cell| cell.required).all(|cell| cell.sighting.is_present()) {
            return (GateState::Pending, format!("waits for {}", image.name));
        }
        match revision(observation, gate, tag, image) {
            Some(value) => values.insert((value, image.name.as_str())),
            None => {
                let message = format!("failed: {} carries no {}", image.name, gate.key);
                return (GateState::Failed, message);
            }
        };
    }
    let distinct: BTreeSet<&String> = values.iter().map(|(value, _)| value).collect();
    if distinct.len() <= 1 {
        return (GateState::Passed, "passed".to_owned());
    }
    let named: Vec<String> = values.iter().map(|(value, name)| format!("{name} {value}")).collect();
    (GateState::Failed, format!("failed: {} differs: {}", gate.key, named.join(", ")))
}

fn revision(
    observation: &Observation,
    gate: &SameRevisionGate,
    tag: &Tag,
    image: &CandidateImage,
) -> Option<String> {
    let Sighting::Present(evidence) = &observation.memory.image(tag, &image.name)?.sighting else {
        return None;
    };
    let revision = evidence.revisions.get(&gate.key)?;
    match gate.from {
        RevisionSource::Annotation => revision.annotation.clone(),
        RevisionSource::Any => revision.annotation.clone().or_else(|| revision.label.clone()),
    }
    .filter(|value| !value.is_empty())
}

/// The revision that all siblings share, for `status.promoted.revision`.
pub(in crate::engine) fn shared_revision(
    policy: &Policy,
    observation: &Observation,
    candidate: &Candidate,
) -> Option<String> {
    let gate = policy.gates.iter().find_map(|gate| match &gate.kind {
        GateKind::SameRevision(same) => Some(same),
        GateKind::Smoke(_) => None,
    })?;
    let mut values = candidate
        .images
        .iter()
        .filter(|image| !image.advisory)
        .map(|image| revision(observation, gate, &candidate.tag, image));
    let first = values.next()??;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}

/// Smoke tests that are to start now: by the order in which candidates are followed (complete ones first),
/// oldest first within, at most [`SMOKE_RUNNING_MAX`] with those that run.
pub(in crate::engine) fn to_start(
    policy: &Policy,
    observation: &Observation,
    followed: &[Candidate],
) -> Vec<SmokeRequest> {
    let running = observation
        .smoke
        .values()
        .filter(|view| matches!(view, SmokeView::Running { .. } | SmokeView::Unknown { .. }))
        .count();
    let mut order: Vec<&Candidate> = followed
        .iter()
        .rev()
        .filter(|candidate| candidate.phase != crate::engine::record::Phase::Failed)
        .collect();
    order.sort_by_key(|candidate| !candidate.is_complete());
    let mut requests: Vec<SmokeRequest> = Vec::new();
    for candidate in order {
        for request in requests_of(policy, observation, candidate) {
            if running + requests.len() >= SMOKE_RUNNING_MAX {
                return requests;
            }
            if !requests.iter().any(|other| other.binding == request.binding) {
                requests.push(request);
            }
        }
    }
    requests
}

fn requests_of(policy: &Policy, observation: &Observation, candidate: &Candidate) -> Vec<SmokeRequest> {
    let mut requests = Vec::new();
    for gate in &policy.gates {
        let GateKind::Smoke(smoke) = &gate.kind else { continue };
        let Some(image) = policy.image(&smoke.image) else { continue };
        for (platform, test) in tests(policy, smoke, &candidate.images) {
            let Some((binding, digest)) = test else { continue };
            if view(observation, &binding).is_none() {
                requests.push(SmokeRequest {
                    gate: gate.name.clone(),
                    image: smoke.image.clone(),
                    repository: image.repository.clone(),
                    platform: platform.clone(),
                    digest,
                    binding,
                    command: smoke.command.clone(),
                    timeout: smoke.timeout,
                    attempts: smoke.attempts,
                });
            }
        }
    }
    requests
}

/// The verdicts that status keeps: those of followed candidates first, then the newest.
pub(in crate::engine) fn kept_verdicts(
    policy: &Policy,
    observation: &Observation,
    followed: &[Candidate],
) -> Vec<SmokeVerdict> {
    let in_use: BTreeSet<Binding> = followed
        .iter()
        .flat_map(|candidate| policy.gates.iter().map(move |gate| (candidate, gate)))
        .filter_map(|(candidate, gate)| match &gate.kind {
            GateKind::Smoke(smoke) => Some((candidate, smoke)),
            GateKind::SameRevision(_) => None,
        })
        .flat_map(|(candidate, smoke)| tests(policy, smoke, &candidate.images))
        .filter_map(|(_, test)| test.map(|(binding, _)| binding))
        .collect();
    let mut verdicts = observation.record.verdicts.clone();
    for view in observation.smoke.values() {
        if let SmokeView::Ended(verdict) = view
            && !verdicts.iter().any(|known| known.binding == verdict.binding)
        {
            verdicts.push(verdict.clone());
        }
    }
    // Stable, so that an unchanged list is no status write.
    let mut by_use: Vec<usize> = (0..verdicts.len()).collect();
    by_use.sort_by_key(|&index| {
        (!in_use.contains(&verdicts[index].binding), std::cmp::Reverse(verdicts[index].at))
    });
    by_use.truncate(VERDICTS_MAX);
    by_use.sort_unstable();
    by_use.into_iter().map(|index| verdicts[index].clone()).collect()
}
