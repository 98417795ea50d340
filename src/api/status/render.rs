//! A decision as status. The same decision at a later instant gives the same bytes (L5).

use jiff::Timestamp;
use serde::Serialize;

use super::time_text;
use crate::api::duration;
use crate::api::schema::{BINDING_MAX_BYTES, CONDITION_MESSAGE_MAX_BYTES, MESSAGE_MAX_BYTES};
use crate::api::v1alpha1::{
    CandidateClock, CandidateStatus, CellStatus, ConditionStatus, EndedStatus, FAILURE_LOGS_MAX, FailureLog,
    GateStatus, ListedStatus, RECENT_MAX, ReleaseSetStatus, Summary, TargetStatus, VERDICTS_MAX,
    VerdictStatus,
};
use crate::engine::decision::{Candidate, CandidateImage, Cell, Decision, GateReport, Listed};
use crate::engine::policy::{Policy, TargetPolicy};
use crate::engine::record::{CandidateRecord, Ended};
use crate::engine::report::{ConditionReport, TargetReports};
use crate::model::smoke::{LOG_MAX_BYTES, SmokeLog};
use crate::model::{ConditionType, SmokeVerdict, TargetState};
use crate::telemetry::kube_call::clip;

/// Most bytes of a status as JSON (design §3). `promoted`, `floor` and `history` are never dropped for it: a set of
/// 32 images and 16 platforms may pass it with them alone, far below etcd's 1.5 MiB.
pub const STATUS_MAX_BYTES: usize = 64_000;

/// The status after a decision. `promoted`, `floor`, `history` and `lastHandledReconcileAt` are those of
/// `previous`, which must be the status that the decision's record was read from.
pub fn render(
    previous: &ReleaseSetStatus,
    policy: &Policy,
    decision: &Decision,
    conditions: &[ConditionReport],
    targets: &TargetReports,
    now: Timestamp,
) -> ReleaseSetStatus {
    let sequence = previous.promoted.as_ref().map(|promoted| promoted.sequence);
    let target = |target: &TargetPolicy| target_status(target, targets, previous, sequence, now);
    let mut status = ReleaseSetStatus {
        candidates: decision.followed.iter().map(candidate_status).collect(),
        verdicts: decision.verdicts.iter().map(verdict_status).collect(),
        failure_logs: failure_logs(previous, &decision.verdicts),
        recent: recent(previous, &decision.ended),
        named: decision.named.iter().map(ToString::to_string).collect(),
        targets: policy.targets.iter().map(target).collect(),
        summary: decision.followed.first().map(summary),
        listed: Some(listed_status(&decision.listed)),
        ..with_conditions(previous, policy.generation, conditions, now)
    };
    keep_newest_verdicts(&mut status.verdicts, VERDICTS_MAX);
    fit(&mut status);
    status
}

/// `previous` with other conditions: for a set whose spec breaks a rule, so that there is nothing to decide.
///
/// What was said of the promoted tags stays until it is said anew: a look that failed takes no alarm back (S6).
pub fn with_conditions(
    previous: &ReleaseSetStatus,
    generation: i64,
    conditions: &[ConditionReport],
    now: Timestamp,
) -> ReleaseSetStatus {
    // kstatus takes a present Reconciling or Stalled for True.
    let only_when_true = [ConditionType::Reconciling, ConditionType::Stalled];
    let mut told: Vec<ConditionStatus> = conditions
        .iter()
        .filter(|report| report.status || !only_when_true.contains(&report.condition))
        .map(|report| condition_status(report, previous, generation, now))
        .collect();
    if previous.promoted.is_some() {
        let is_new = |before: &ConditionStatus| told.iter().all(|told| told.condition != before.condition);
        let kept = previous.conditions.iter().filter(|before| is_of_promoted_tags(before) && is_new(before));
        let kept: Vec<_> = kept.cloned().collect();
        told.extend(kept);
    }
    ReleaseSetStatus { observed_generation: generation, conditions: told, ..previous.clone() }
}

/// True for the conditions that speak of what became of the promoted tags.
pub(super) fn is_of_promoted_tags(condition: &ConditionStatus) -> bool {
    [ConditionType::TagMoved, ConditionType::PromotedAvailable]
        .iter()
        .any(|of_tags| of_tags.as_str() == condition.condition)
}

fn condition_status(
    report: &ConditionReport,
    previous: &ReleaseSetStatus,
    generation: i64,
    now: Timestamp,
) -> ConditionStatus {
    let condition = report.condition.as_str();
    let status = if report.status { "True" } else { "False" };
    let before =
        previous.conditions.iter().find(|before| before.condition == condition && before.status == status);
    ConditionStatus {
        condition: condition.to_owned(),
        status: status.to_owned(),
        reason: report.reason.as_str().to_owned(),
        message: clip(&report.message, CONDITION_MESSAGE_MAX_BYTES),
        last_transition_time: before
            .map_or_else(|| time_text(now), |before| before.last_transition_time.clone()),
        observed_generation: Some(generation),
    }
}

fn candidate_status(candidate: &Candidate) -> CandidateStatus {
    let CandidateRecord {
        tag,
        first_seen,
        complete_at,
        changed_at,
        digests,
        clock,
        unknown_since,
        phase: _,
        blocked_by,
        blocked_since,
    } = &candidate.record;
    let texts = digests.iter().map(|(image, digest)| (image.to_string(), digest.to_string()));
    let absent = |image: &CandidateImage| {
        let cells = image.cells.iter().filter(|cell| !cell.sighting.is_present());
        cells.map(|cell| cell_status(image, cell)).collect::<Vec<_>>()
    };
    CandidateStatus {
        tag: tag.to_string(),
        phase: candidate.phase.word().to_owned(),
        first_seen: time_text(*first_seen),
        complete_at: complete_at.map(time_text),
        changed_at: changed_at.map(time_text),
        digests: texts.collect(),
        unknown_since: unknown_since.map(time_text),
        clock: (*clock != crate::engine::record::DeadlineClock::default()).then(|| CandidateClock {
            consumed: duration::Text(clock.consumed).to_string(),
            running_since: clock.running_since.map(time_text),
        }),
        blocked_by: blocked_by.as_deref().map(|text| clip(text, MESSAGE_MAX_BYTES)),
        blocked_since: blocked_since.map(time_text),
        cells: candidate.images.iter().flat_map(absent).collect(),
        gates: candidate.gates.iter().map(gate_status).collect(),
    }
}

fn cell_status(image: &CandidateImage, cell: &Cell) -> CellStatus {
    CellStatus {
        image: image.name.to_string(),
        platform: cell.platform.to_string(),
        required: cell.required,
        state: cell.sighting.word().to_owned(),
        reason: cell.sighting.why().and_then(message),
    }
}

fn gate_status(gate: &GateReport) -> GateStatus {
    GateStatus {
        name: gate.name.to_string(),
        state: gate.state.word().to_owned(),
        reason: gate.reason.map(|reason| reason.word().to_owned()),
        message: message(&gate.message),
    }
}

fn verdict_status(verdict: &SmokeVerdict) -> VerdictStatus {
    VerdictStatus {
        binding: clip(verdict.binding.as_str(), BINDING_MAX_BYTES),
        outcome: verdict.outcome.word().to_owned(),
        at: time_text(verdict.at),
        exit_code: verdict.exit_code,
        retry: verdict.retry,
        message: message(&verdict.message),
    }
}

/// Logs that have just been read, then those that stand there: each once, the newest [`FAILURE_LOGS_MAX`].
fn failure_logs(previous: &ReleaseSetStatus, verdicts: &[SmokeVerdict]) -> Vec<FailureLog> {
    let new = verdicts.iter().filter_map(|verdict| {
        let SmokeLog { gate, text } = verdict.log.as_ref()?;
        let log = clip(text, LOG_MAX_BYTES);
        Some(FailureLog { gate: gate.to_string(), at: time_text(verdict.at), log })
    });
    let mut logs: Vec<FailureLog> = new.collect();
    logs.extend(previous.failure_logs.iter().filter(|old| !logs.contains(old)).cloned().collect::<Vec<_>>());
    // RFC 3339 in UTC with whole seconds is ordered as text.
    logs.sort_by(|a, b| b.at.cmp(&a.at));
    logs.truncate(FAILURE_LOGS_MAX);
    logs
}

fn recent(previous: &ReleaseSetStatus, ended: &[Ended]) -> Vec<EndedStatus> {
    let new = ended.iter().map(|ended| EndedStatus {
        tag: ended.tag.to_string(),
        outcome: ended.outcome.word().to_owned(),
        at: time_text(ended.at),
        message: message(&ended.message),
    });
    let is_old = |old: &&EndedStatus| !ended.iter().any(|ended| ended.tag.as_str() == old.tag);
    new.chain(previous.recent.iter().filter(is_old).cloned()).take(RECENT_MAX).collect()
}

fn target_status(
    target: &TargetPolicy,
    reports: &TargetReports,
    previous: &ReleaseSetStatus,
    sequence: Option<i64>,
    now: Timestamp,
) -> TargetStatus {
    let before = previous.targets.iter().find(|before| before.name == target.name.as_str());
    let pending = (TargetState::Pending, String::new());
    let (state, text) = match (reports.get(&target.name), before) {
        (Some(report), _) => report,
        (None, Some(before)) => return before.clone(),
        (None, None) => &pending,
    };
    TargetStatus {
        name: target.name.to_string(),
        state: state.word().to_owned(),
        sequence: if state.carries_release() { sequence } else { before.and_then(|before| before.sequence) },
        since: before
            .filter(|before| before.state == state.word())
            .map_or_else(|| time_text(now), |before| before.since.clone()),
        message: message(text),
    }
}

fn summary(candidate: &Candidate) -> Summary {
    let (present, cells) = candidate.cell_counts();
    let (passed, gates) = candidate.gate_counts();
    Summary {
        candidate: candidate.tag.to_string(),
        images: format!("{present}/{cells}"),
        gates: format!("{passed}/{gates}"),
        blocked_by: candidate.record.blocked_by.as_deref().map(|text| clip(text, MESSAGE_MAX_BYTES)),
        blocked_since: candidate.record.blocked_since.map(time_text),
    }
}

fn listed_status(listed: &Listed) -> ListedStatus {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    ListedStatus {
        tags: count(listed.tags),
        matched: count(listed.matched),
        not_numbers: count(listed.not_numbers),
        not_versions: count(listed.not_versions),
        out_of_range: count(listed.out_of_range),
    }
}

fn message(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| clip(text, MESSAGE_MAX_BYTES))
}

/// Leaves the `count` newest verdicts, in their order.
fn keep_newest_verdicts(verdicts: &mut Vec<VerdictStatus>, count: usize) {
    while verdicts.len() > count {
        // RFC 3339 in UTC with whole seconds is ordered as text.
        let oldest = verdicts.iter().enumerate().min_by(|(_, a), (_, b)| a.at.cmp(&b.at));
        let Some((oldest, _)) = oldest else { return };
        verdicts.remove(oldest);
    }
}

/// Drops detail until the status fits: first what is only read by people, oldest candidate first, then verdicts,
/// whose tests run again, then whole candidates, which are seen again. The printed candidate stays.
fn fit(status: &mut ReleaseSetStatus) {
    let fits = |status: &ReleaseSetStatus| json_bytes(status) <= STATUS_MAX_BYTES;
    for index in (0..status.candidates.len()).rev() {
        if fits(status) {
            return;
        }
        status.candidates[index].cells.clear();
        status.candidates[index].gates.clear();
    }
    if fits(status) {
        return;
    }
    status.failure_logs.clear();
    if fits(status) {
        return;
    }
    status.verdicts.iter_mut().for_each(|verdict| verdict.message = None);
    status.recent.iter_mut().for_each(|ended| ended.message = None);
    while !fits(status) && !status.verdicts.is_empty() {
        let count = status.verdicts.len() - 1;
        keep_newest_verdicts(&mut status.verdicts, count);
    }
    while !fits(status) && status.candidates.len() > 1 {
        status.candidates.pop();
    }
}

/// Length as JSON. What cannot be serialised counts as endless; nothing here can.
pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}
