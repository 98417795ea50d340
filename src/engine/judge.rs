//! One candidate, judged: its cells, its gates, its phase, its deadline, and what blocks it.

use jiff::{SignedDuration, Timestamp};

use crate::engine::choose::Runner;
use crate::engine::decision::{Blocked, Blocker, Candidate, CandidateImage, Cell, GateReport, GateState};
use crate::engine::gates;
use crate::engine::observation::Observation;
use crate::engine::policy::{ImagePolicy, Place, Policy};
use crate::engine::record::{CandidateRecord, Phase};
use crate::model::{Doubt, DoubtKind, Sighting, Tag};

/// Judges one candidate from everything that is known of it.
pub(in crate::engine) fn judge(
    policy: &Policy,
    observation: &Observation,
    runner: &Runner,
    now: Timestamp,
) -> Candidate {
    let images: Vec<CandidateImage> =
        policy.images.iter().map(|image| judge_image(observation, &runner.tag, image)).collect();
    let gates = gates::judge(policy, observation, &runner.tag, &images);
    let record = remembered(observation, runner, &images, now);
    let mut candidate = Candidate {
        tag: runner.tag.clone(),
        listed_by_all: runner.listed_by_all,
        images,
        gates,
        phase: Phase::Partial,
        overdue: false,
        gate_overdue: false,
        cannot_tell: false,
        blocked: None,
        record,
    };
    let settling = settling(policy, &candidate, now);
    candidate.phase = phase(&candidate, settling);
    candidate.blocked = blocked(&candidate);
    run_clocks(policy, &mut candidate, now);
    candidate
}

/// True while the candidate must be still because a digest of it changed.
fn settling(policy: &Policy, candidate: &Candidate, now: Timestamp) -> bool {
    settled_at(policy, &candidate.record).is_some_and(|settled_at| now < settled_at)
}

/// When a candidate of which a digest changed has been still for long enough.
pub(in crate::engine) fn settled_at(policy: &Policy, record: &CandidateRecord) -> Option<Timestamp> {
    let changed_at = record.changed_at?;
    Some(changed_at.checked_add(policy.candidates.settle).unwrap_or(Timestamp::MAX))
}

fn judge_image(observation: &Observation, tag: &Tag, image: &ImagePolicy) -> CandidateImage {
    let memory = observation.memory.image(tag, &image.name);
    let unlooked = || Sighting::Unknown(Doubt::new(DoubtKind::Transient, "it was not looked at yet"));
    let sighting = match (memory, image.tag_template.render(tag.as_str())) {
        _ if let Place::Untold { doubt, .. } = &image.place => Sighting::Unknown(doubt.clone()),
        (Some(memory), _) => memory.sighting.clone(),
        // A tag that breaks the tag grammar exists nowhere.
        (None, None) => Sighting::Missing,
        (None, Some(_)) => unlooked(),
    };
    let cell = |platform: &crate::model::Platform, required: bool| Cell {
        platform: platform.clone(),
        required,
        sighting: match &sighting {
            Sighting::Present(evidence) => evidence.cell(platform),
            Sighting::Missing => Sighting::Missing,
            Sighting::Broken(defect) => Sighting::Broken(defect.clone()),
            Sighting::Unknown(doubt) => Sighting::Unknown(doubt.clone()),
        },
    };
    let required = image.platforms.iter().map(|platform| cell(platform, !image.advisory));
    let advisory = image.advisory_platforms.iter().map(|platform| cell(platform, false));
    CandidateImage {
        name: image.name.clone(),
        tag: image.tag_template.render(tag.as_str()),
        digest: sighting.present().map(|evidence| evidence.digest.clone()),
        advisory: image.advisory,
        cells: required.chain(advisory).collect(),
    }
}

/// What status remembers, brought up to date with what was seen. Clocks are moved later.
fn remembered(
    observation: &Observation,
    runner: &Runner,
    images: &[CandidateImage],
    now: Timestamp,
) -> CandidateRecord {
    let known = observation.record.candidates.iter().find(|known| known.tag == runner.tag);
    let mut record = known.cloned().unwrap_or_else(|| CandidateRecord {
        tag: runner.tag.clone(),
        first_seen: now,
        complete_at: None,
        changed_at: None,
        digests: std::collections::BTreeMap::new(),
        clock: crate::engine::record::DeadlineClock::default(),
        unknown_since: None,
        phase: Phase::Partial,
        blocked_by: None,
        blocked_since: None,
    });
    for image in images {
        if let Some(digest) = &image.digest {
            record.digests.insert(image.name.clone(), digest.clone());
        }
        let seen = observation.memory.image(&runner.tag, &image.name).and_then(|memory| memory.changed_at);
        if !image.advisory {
            record.changed_at = record.changed_at.max(seen);
        }
    }
    // By a clock that was set back, or that of another process: it has to be still from now on, and no longer.
    record.changed_at = record.changed_at.map(|changed_at| changed_at.min(now));
    record
}

fn phase(candidate: &Candidate, settling: bool) -> Phase {
    let required = || candidate.gates.iter().filter(|gate| !gate.advisory);
    if required().any(|gate| gate.state == GateState::Failed) {
        Phase::Failed
    } else if !candidate.is_complete() {
        Phase::Partial
    } else if settling {
        Phase::Settling
    } else if required().all(|gate| gate.state == GateState::Passed) {
        Phase::Confirming
    } else {
        Phase::Testing
    }
}

/// What stands in the way first: a failed gate, then what is known to be wrong, then what is not known.
fn blocked(candidate: &Candidate) -> Option<Blocked> {
    let gate = |state: fn(GateState) -> bool| {
        candidate.gates.iter().find(|gate| !gate.advisory && state(gate.state))
    };
    if let Some(failed) = gate(|state| state == GateState::Failed) {
        return Some(gate_blocks(Blocker::GateFailed, failed));
    }
    if let Some(blocked) = cell_blocks(candidate) {
        return Some(blocked);
    }
    if candidate.phase == Phase::Settling {
        let message = "a digest changed: waiting until the tag is still".to_owned();
        return Some(Blocked { by: Blocker::Settling, message });
    }
    gate(|state| state != GateState::Passed).map(|waiting| gate_blocks(Blocker::GatePending, waiting))
}

fn gate_blocks(by: Blocker, gate: &GateReport) -> Blocked {
    Blocked { by, message: format!("gate {} {}", gate.name, gate.message) }
}

pub(in crate::engine) fn cell_blocks(candidate: &Candidate) -> Option<Blocked> {
    let cells = candidate
        .images
        .iter()
        .flat_map(|image| image.cells.iter().filter(|cell| cell.required).map(move |cell| (image, cell)));
    let (by, image, cell) = cells
        .filter_map(|(image, cell)| {
            let by = match &cell.sighting {
                Sighting::Present(_) => return None,
                Sighting::Broken(_) => Blocker::Broken,
                Sighting::Missing => Blocker::Missing,
                Sighting::Unknown(_) => Blocker::Unknown,
            };
            Some((by, image, cell))
        })
        .min_by_key(|(by, _, _)| *by)?;
    let word = cell.sighting.word().to_ascii_lowercase();
    let why = cell.sighting.why().map(|why| format!(": {why}")).unwrap_or_default();
    Some(Blocked { by, message: format!("{} {} {word}{why}", image.name, cell.platform) })
}

/// Moves the clocks of design §4 Deadline and says which of them ran out. With the phase in hand, what blocks
/// since when is kept too.
fn run_clocks(policy: &Policy, candidate: &mut Candidate, now: Timestamp) {
    let complete = candidate.is_complete();
    let any_unknown = candidate.required_cells().any(|cell| cell.sighting.is_unknown());
    let any_present = candidate.required_cells().any(|cell| cell.sighting.is_present());
    let pinned = policy.pin.as_ref() == Some(&candidate.tag);
    let record = &mut candidate.record;
    let started = record.clock != crate::engine::record::DeadlineClock::default();
    let runs = !complete && !any_unknown && (started || any_present || pinned);
    record.clock = record.clock.set_running(runs, now);
    record.complete_at = if complete { record.complete_at.or(Some(now)) } else { None };
    record.unknown_since = if any_unknown { record.unknown_since.or(Some(now)) } else { None };
    let blocked_by = candidate.blocked.as_ref().map(|blocked| blocked.message.clone());
    if !is_same(record.blocked_by.as_deref(), blocked_by.as_deref()) {
        record.blocked_since = blocked_by.as_ref().map(|_| now);
        record.blocked_by = blocked_by;
    }
    record.phase = candidate.phase;
    let deadline = policy.deadline;
    let past = |since: Option<Timestamp>| since.is_some_and(|since| now.duration_since(since) >= deadline);
    candidate.overdue = !complete && record.clock.elapsed(now) >= deadline;
    candidate.cannot_tell = past(record.unknown_since);
    candidate.gate_overdue = candidate.phase == Phase::Testing && past(record.complete_at);
}

/// Whether an obstacle is the one that status remembers, which keeps a long message up to a limit and then `…`.
fn is_same(kept: Option<&str>, now: Option<&str>) -> bool {
    let is_cut = |kept: &str, now: &str| kept.strip_suffix('…').is_some_and(|head| now.starts_with(head));
    kept == now || kept.zip(now).is_some_and(|(kept, now)| is_cut(kept, now))
}

/// When one of a candidate's clocks will run out, so that its report is written at that time.
pub(in crate::engine) fn next_bell(
    policy: &Policy,
    candidate: &Candidate,
    now: Timestamp,
) -> Option<Timestamp> {
    let record = &candidate.record;
    let after = |since: Timestamp, span: SignedDuration| since.checked_add(span).ok();
    let left = policy.deadline.saturating_sub(record.clock.elapsed(now));
    [
        record.clock.running_since.filter(|_| !candidate.overdue).and_then(|_| after(now, left)),
        record
            .unknown_since
            .filter(|_| !candidate.cannot_tell)
            .and_then(|since| after(since, policy.deadline)),
        record
            .complete_at
            .filter(|_| candidate.phase == Phase::Testing && !candidate.gate_overdue)
            .and_then(|since| after(since, policy.deadline)),
        settled_at(policy, record).filter(|_| candidate.phase == Phase::Settling),
    ]
    .into_iter()
    .flatten()
    .min()
}
