//! Smoke gates: which tests a candidate needs, what is known of them, which start now (docs/adr/0004).

use std::collections::BTreeSet;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::engine::choose::rank;
use crate::engine::decision::{Candidate, CandidateImage, GateState};
use crate::engine::observation::Observation;
use crate::engine::policy::{Gate, GateKind, Policy, SmokeGate, When};
use crate::engine::record::Phase;
use crate::model::smoke::{HindranceKind, SmokeRelease, SmokeRun};
use crate::model::{
    Binding, Digest, Platform, SmokeOutcome, SmokeRequest, SmokeVerdict, SmokeView, Tag, hex,
};

/// Most smoke tests of one set that run at once when nothing else is set (failure sequence 24).
pub const SMOKE_RUNNING_MAX: u16 = 4;
/// Most verdicts that status keeps (design §3): 4 gates on 3 platforms of 5 candidates.
pub const VERDICTS_MAX: usize = 64;

/// One test that a candidate needs.
struct Test<'a> {
    platform: &'a Platform,
    /// What is run and what it counts for; `None` while the image, or a sibling that it sees, is not Present.
    subject: Option<Subject>,
}

struct Subject {
    binding: Binding,
    digest: Digest,
    release: Option<SmokeRelease>,
}

/// A candidate as far as smoke tests see it.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Seen<'a> {
    pub tag: &'a Tag,
    pub images: &'a [CandidateImage],
}

/// What one gate says.
pub(in crate::engine) struct Judgement {
    pub state: GateState,
    pub reason: Option<HindranceKind>,
    pub message: String,
}

// === impl Test ===

/// What is known of the test behind `binding`. A verdict of status counts as one that was just read; a failed one
/// does not once a person asked for another run.
fn view(observation: &Observation, gate: &Gate, binding: &Binding) -> Option<SmokeView> {
    let retry = retry(observation, gate);
    let counts = |verdict: &SmokeVerdict| verdict.outcome == SmokeOutcome::Passed || verdict.retry >= retry;
    let kept = observation.record.verdicts.iter().find(|verdict| &verdict.binding == binding);
    if let Some(verdict) = kept.filter(|verdict| counts(verdict)) {
        return Some(SmokeView::Ended(verdict.clone()));
    }
    match observation.smoke.get(binding)? {
        SmokeView::Ended(verdict) if !counts(verdict) => None,
        // A run that was the last is not, once a person asked for another.
        SmokeView::NoVerdict { run, .. } if run.retry < retry => None,
        other => Some(other.clone()),
    }
}

fn retry(observation: &Observation, gate: &Gate) -> u32 {
    observation.retries.get(&gate.name).copied().unwrap_or_default()
}

/// The tests of one smoke gate, one for each platform.
fn tests<'a>(policy: &'a Policy, smoke: &'a SmokeGate, seen: Seen<'a>) -> impl Iterator<Item = Test<'a>> {
    let image = policy.image(&smoke.image);
    let shown = match smoke.when {
        When::ImagePresent => None,
        When::Complete => release(policy, seen).map(|release| (fingerprint(&release), release)),
    };
    let cells = seen.images.iter().find(|image| image.name == smoke.image).map(|image| &image.cells);
    image.into_iter().flat_map(move |image| {
        let shown = shown.clone();
        smoke.platforms_of(image).iter().map(move |platform| {
            let cell = cells.and_then(|cells| cells.iter().find(|cell| &cell.platform == platform));
            let digest = cell.and_then(|cell| cell.sighting.present());
            let subject = digest.and_then(|digest| {
                let (repository, hash) = (image.place.repository()?, &smoke.hash);
                let (binding, release) = match smoke.when {
                    When::ImagePresent => (Binding::of_image(repository, platform, digest, hash), None),
                    When::Complete => {
                        let (fingerprint, release) = shown.clone()?;
                        (Binding::of_release(repository, platform, digest, hash, &fingerprint), Some(release))
                    }
                };
                Some(Subject { binding, digest: digest.clone(), release })
            });
            Test { platform, subject }
        })
    })
}

/// What a test of `when: Complete` sees: every required image by the digest of its index. `None` until all of them
/// are complete.
fn release(policy: &Policy, seen: Seen<'_>) -> Option<SmokeRelease> {
    let images = policy.required_images().map(|(_, image)| {
        let judged = seen.images.iter().find(|judged| judged.name == image.name)?;
        let mut required = judged.cells.iter().filter(|cell| cell.required);
        let digest = judged.digest.as_ref().filter(|_| required.all(|cell| cell.sighting.is_present()))?;
        Some((image.name.clone(), format!("{}@{digest}", image.place.repository()?)))
    });
    Some(SmokeRelease { tag: seen.tag.clone(), images: images.collect::<Option<_>>()? })
}

/// `release:` and the SHA-256 of everything that the test can see, one line each: neither names nor references hold
/// a line break.
fn fingerprint(release: &SmokeRelease) -> String {
    let mut hasher = Sha256::new();
    hasher.update(release.tag.as_str());
    for (name, image) in &release.images {
        hasher.update(format!("\n{name} {image}"));
    }
    format!("release:{}", hex(&hasher.finalize()))
}

/// Where one smoke gate of a candidate stands: its worst test.
pub(in crate::engine) fn judge(
    policy: &Policy,
    observation: &Observation,
    gate: &Gate,
    smoke: &SmokeGate,
    seen: Seen<'_>,
) -> Judgement {
    let tests: Vec<Test<'_>> = tests(policy, smoke, seen).collect();
    let several = tests.len() > 1;
    let mut worst = Judgement { state: GateState::Passed, reason: None, message: "passed".to_owned() };
    for Test { platform, subject } in tests {
        let on = if several { format!(" on {platform}") } else { String::new() };
        let judged = match subject {
            None => Judgement {
                state: GateState::Pending,
                reason: None,
                message: match smoke.when {
                    When::ImagePresent => format!("waits for {} {platform}", smoke.image),
                    When::Complete => "waits for all images".to_owned(),
                },
            },
            Some(subject) => judge_test(view(observation, gate, &subject.binding), &on),
        };
        if severity(judged.state) > severity(worst.state) {
            worst = judged;
        }
    }
    worst
}

fn judge_test(view: Option<SmokeView>, on: &str) -> Judgement {
    let (state, reason, message) = match view {
        None => (GateState::Pending, None, format!("is not started{on}")),
        Some(SmokeView::Running { waiting_for: None, .. }) => (GateState::Running, None, format!("runs{on}")),
        Some(SmokeView::Running { waiting_for: Some(why), .. }) if why.kind == HindranceKind::Evicted => {
            (GateState::Running, Some(why.kind), format!("waits{on} for its pod to end: {}", why.message))
        }
        Some(SmokeView::Running { waiting_for: Some(why), .. }) => {
            (GateState::Pending, Some(why.kind), format!("cannot start{on}: {}", why.message))
        }
        Some(SmokeView::NoVerdict { why, .. }) => {
            (GateState::Pending, Some(why.kind), format!("has no verdict{on}: {}", why.message))
        }
        Some(SmokeView::Ended(verdict)) => match verdict.outcome {
            SmokeOutcome::Passed => (GateState::Passed, None, format!("passed{on}")),
            SmokeOutcome::Failed | SmokeOutcome::TimedOut | SmokeOutcome::OomKilled => {
                (GateState::Failed, None, format!("failed{on}: {}", verdict.message))
            }
        },
    };
    Judgement { state, reason, message }
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

/// Smoke tests that are to start now: by the order in which candidates are followed, oldest first within a rank, at
/// most as many as may run with those that do. The promoted tag that is judged `again` comes last: nothing waits for
/// it.
pub(in crate::engine) fn to_start(
    policy: &Policy,
    observation: &Observation,
    followed: &[Candidate],
    again: Option<&Candidate>,
    now: Timestamp,
) -> Vec<SmokeRequest> {
    let running = observation.smoke.values().filter(|view| matches!(view, SmokeView::Running { .. })).count();
    let free = observation.smoke_running_max.unwrap_or(SMOKE_RUNNING_MAX.into()).saturating_sub(running);
    let mut order: Vec<&Candidate> =
        followed.iter().rev().filter(|candidate| candidate.phase != Phase::Failed).collect();
    order.sort_by_key(|candidate| rank(candidate));
    order.extend(again.filter(|candidate| candidate.phase != Phase::Failed));
    let mut requests: Vec<SmokeRequest> = Vec::new();
    for candidate in order {
        for request in requests_of(policy, observation, candidate, now) {
            if requests.len() >= free {
                return requests;
            }
            if !requests.iter().any(|other| other.binding == request.binding) {
                requests.push(request);
            }
        }
    }
    requests
}

fn smoke_gates(policy: &Policy) -> impl Iterator<Item = (&Gate, &SmokeGate)> {
    policy.gates.iter().filter_map(|gate| match &gate.kind {
        GateKind::Smoke(smoke) => Some((gate, smoke)),
        GateKind::SameRevision(_) => None,
    })
}

fn requests_of(
    policy: &Policy,
    observation: &Observation,
    candidate: &Candidate,
    now: Timestamp,
) -> Vec<SmokeRequest> {
    let mut requests = Vec::new();
    for (gate, smoke) in smoke_gates(policy) {
        let Some(image) = policy.image(&smoke.image) else { continue };
        for Test { platform, subject } in tests(policy, smoke, seen(candidate)) {
            let Some((subject, repository)) = subject.zip(image.place.repository()) else { continue };
            let view = view(observation, gate, &subject.binding);
            let first = smoke.test.first_run(retry(observation, gate));
            let Some(run) = run_now(view.as_ref(), first, now) else { continue };
            requests.push(SmokeRequest {
                gate: gate.name.clone(),
                image: smoke.image.clone(),
                repository: repository.clone(),
                platform: platform.clone(),
                digest: subject.digest,
                binding: subject.binding,
                test: smoke.test.clone(),
                release: subject.release,
                run,
            });
        }
    }
    requests
}

fn seen(candidate: &Candidate) -> Seen<'_> {
    Seen { tag: &candidate.tag, images: &candidate.images }
}

/// The run that is to start at `now`, if one is.
fn run_now(view: Option<&SmokeView>, first: SmokeRun, now: Timestamp) -> Option<SmokeRun> {
    match view {
        None => Some(first),
        Some(SmokeView::NoVerdict { again: Some(again), .. }) if again.at <= now => Some(again.run),
        Some(SmokeView::NoVerdict { .. } | SmokeView::Running { .. } | SmokeView::Ended(_)) => None,
    }
}

/// When a test of the followed candidates changes without anything being heard: it has stayed up for long enough, or
/// its next run is due.
pub(in crate::engine) fn next_bell(observation: &Observation, now: Timestamp) -> Option<Timestamp> {
    let bell = |view: &SmokeView| match view {
        SmokeView::Running { due_at, .. } => *due_at,
        SmokeView::NoVerdict { again, .. } => again.map(|again| again.at),
        SmokeView::Ended(_) => None,
    };
    observation.smoke.values().filter_map(bell).filter(|at| *at > now).min()
}

/// The verdicts that status keeps: those of followed candidates and of the promoted tag that is judged `again` first,
/// then the newest.
pub(in crate::engine) fn kept_verdicts(
    policy: &Policy,
    observation: &Observation,
    followed: &[Candidate],
    again: Option<&Candidate>,
) -> Vec<SmokeVerdict> {
    let in_use: BTreeSet<Binding> = followed
        .iter()
        .chain(again)
        .flat_map(|candidate| smoke_gates(policy).map(move |(_, smoke)| (candidate, smoke)))
        .flat_map(|(candidate, smoke)| tests(policy, smoke, seen(candidate)))
        .filter_map(|test| test.subject.map(|subject| subject.binding))
        .collect();
    let mut verdicts = observation.record.verdicts.clone();
    for view in observation.smoke.values() {
        let SmokeView::Ended(verdict) = view else { continue };
        match verdicts.iter_mut().find(|known| known.binding == verdict.binding) {
            None => verdicts.push(verdict.clone()),
            // A person had it run again.
            Some(known) if known.retry < verdict.retry => *known = verdict.clone(),
            Some(_) => {}
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
