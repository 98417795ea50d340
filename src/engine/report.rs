//! A decision as conditions: the same words for status, events and the command line.
//!
//! Conditions follow kstatus and Flux (design §4 Conditions). A half-pushed candidate touches neither Ready
//! nor Stalled: kstatus calls Stalled=True failed, and a Kustomization that waits for the set would stop.

use std::collections::BTreeMap;

use crate::engine::decision::{Blocker, Candidate, Decision, GateState, Hold};
use crate::engine::policy::Policy;
use crate::engine::record::{Phase, Record};
use crate::model::{ConditionType, Problem, Promoted, Reason, TargetName, TargetState};

/// One condition, without times: the border keeps the transition time of an unchanged status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionReport {
    /// Which condition.
    pub condition: ConditionType,
    /// True or False.
    pub status: bool,
    /// Why.
    pub reason: Reason,
    /// In words; changes only when the state does.
    pub message: String,
}

/// The state of each target and, where it is not Applied, why.
pub type TargetReports = BTreeMap<TargetName, (TargetState, String)>;

/// The conditions of a decision. `record` is the status after the decision's commit, if it had one. TagMoved
/// and PromotedAvailable are absent while the promoted tags could not be told: the border then keeps what was
/// said before (S6).
pub fn conditions(
    policy: &Policy,
    record: &Record,
    decision: &Decision,
    targets: &TargetReports,
) -> Vec<ConditionReport> {
    let mut conditions = vec![ready(policy, record, decision, targets)];
    conditions.extend(reconciling(decision));
    conditions.extend(stalled(decision, targets));
    if let Some(candidate) = decision.followed.first() {
        conditions.push(candidate_complete(candidate));
        conditions.push(smoke_passed(candidate));
    }
    conditions.push(promoted(record.promoted.as_ref()));
    conditions.extend(drift(record.promoted.as_ref(), decision));
    conditions
}

/// The conditions of a ReleaseSet that cannot be acted upon. What was promoted stays promoted.
pub fn stalled_conditions(reason: Reason, problems: &[Problem], record: &Record) -> Vec<ConditionReport> {
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let report = |condition, status| ConditionReport { condition, status, reason, message: message.clone() };
    vec![
        report(ConditionType::Ready, false),
        report(ConditionType::Stalled, true),
        promoted(record.promoted.as_ref()),
    ]
}

fn report(
    condition: ConditionType,
    status: bool,
    reason: Reason,
    message: impl Into<String>,
) -> ConditionReport {
    ConditionReport { condition, status, reason, message: message.into() }
}

fn ready(policy: &Policy, record: &Record, decision: &Decision, targets: &TargetReports) -> ConditionReport {
    let not = |reason, message: String| report(ConditionType::Ready, false, reason, message);
    if let Some(stalled) = stalled(decision, targets) {
        return not(stalled.reason, stalled.message);
    }
    let Some(promoted) = &record.promoted else { return nothing_promoted(policy, decision) };
    if let Some(pin) = policy.pin.as_ref().filter(|pin| **pin != promoted.release.tag) {
        let why = decision.followed.first().and_then(|candidate| candidate.blocked.as_ref());
        let why = why.map(|blocked| format!(": {}", blocked.message)).unwrap_or_default();
        return not(Reason::PinNotPromoted, format!("{pin} is pinned and not promoted yet{why}"));
    }
    let behind = targets.iter().find(|(_, (state, _))| {
        let held_on_purpose = policy.suspend && *state == TargetState::Held;
        !state.carries_release() && !held_on_purpose
    });
    if let Some((name, (state, message))) = behind {
        let text = format!("target {name} is {}: {message}", state.word());
        return not(Reason::TargetNotApplied, text);
    }
    let held = if policy.suspend { ", suspended" } else { "" };
    let message = format!("{} is promoted (sequence {}){held}", promoted.release.tag, promoted.sequence);
    report(ConditionType::Ready, true, Reason::Succeeded, message)
}

fn nothing_promoted(policy: &Policy, decision: &Decision) -> ConditionReport {
    let listed = &decision.listed;
    let (reason, message) = match decision.followed.first() {
        Some(candidate) => {
            let why = candidate.blocked.as_ref().map_or("about to be confirmed", |blocked| &blocked.message);
            (Reason::NothingPromoted, format!("nothing was promoted yet; {}: {why}", candidate.tag))
        }
        None => match listed.unknown.iter().next() {
            Some((image, doubt)) => {
                (Reason::NothingPromoted, format!("the tags of {image} cannot be listed: {}", doubt.message))
            }
            None => (
                Reason::NoCandidates,
                format!(
                    "{} of {} tags match spec.candidates{}",
                    listed.matched,
                    listed.tags,
                    listed.skipped()
                ),
            ),
        },
    };
    let held = if policy.suspend { " (suspended)" } else { "" };
    report(ConditionType::Ready, false, reason, format!("{message}{held}"))
}

fn reconciling(decision: &Decision) -> Option<ConditionReport> {
    (!decision.looked).then(|| {
        let message = "this generation was not looked at yet";
        report(ConditionType::Reconciling, true, Reason::Progressing, message)
    })
}

fn stalled(decision: &Decision, targets: &TargetReports) -> Option<ConditionReport> {
    if let Some(Hold::FloorNotOrdered { floor }) = &decision.hold {
        let message = format!(
            "spec.candidates does not accept {floor}, the newest release so far, so that nothing can be called newer: \
             set spec.pin to the tag to promote, or change spec.candidates"
        );
        return Some(report(ConditionType::Stalled, true, Reason::FloorNotOrdered, message));
    }
    let (name, (_, message)) = targets.iter().find(|(_, (state, _))| *state == TargetState::Taken)?;
    let message = format!("target {name}: {message}");
    Some(report(ConditionType::Stalled, true, Reason::TargetTaken, message))
}

fn candidate_complete(candidate: &Candidate) -> ConditionReport {
    let complete =
        |status, reason, message| report(ConditionType::CandidateComplete, status, reason, message);
    let (present, all) = candidate.cell_counts();
    if candidate.is_complete() {
        if candidate.phase == Phase::Settling {
            let message = format!("{}: a digest changed, waiting until the tag is still", candidate.tag);
            return complete(false, Reason::Settling, message);
        }
        let message = format!("{}: {present}/{all} required cells are present", candidate.tag);
        return complete(true, Reason::Complete, message);
    }
    // A failed gate is named by SmokePassed; here it is the first cell that counts.
    let cell = crate::engine::judge::cell_blocks(candidate);
    let reason = match cell.as_ref().map(|blocked| blocked.by) {
        _ if candidate.overdue => Reason::Overdue,
        _ if candidate.cannot_tell => Reason::CannotTell,
        Some(Blocker::Broken) => Reason::Broken,
        Some(Blocker::Missing) => Reason::Missing,
        _ => Reason::Unknown,
    };
    let why = cell.map(|blocked| blocked.message).unwrap_or_default();
    complete(false, reason, format!("{}: {present}/{all} required cells are present; {why}", candidate.tag))
}

fn smoke_passed(candidate: &Candidate) -> ConditionReport {
    let passed = |status, reason, message| report(ConditionType::SmokePassed, status, reason, message);
    let (count, all) = candidate.gate_counts();
    if all == 0 {
        return passed(true, Reason::NoGates, format!("{}: no required gate is declared", candidate.tag));
    }
    if count == all {
        let message = format!("{}: {count}/{all} required gates passed", candidate.tag);
        return passed(true, Reason::Succeeded, message);
    }
    let required = || candidate.gates.iter().filter(|gate| !gate.advisory);
    let first = required()
        .find(|gate| gate.state == GateState::Failed)
        .or_else(|| required().find(|gate| gate.state != GateState::Passed));
    let reason = match first.map(|gate| gate.state) {
        Some(GateState::Failed) => Reason::GateFailed,
        _ if candidate.gate_overdue => Reason::GateOverdue,
        _ => Reason::GatePending,
    };
    let why = first.map(|gate| format!("gate {} {}", gate.name, gate.message)).unwrap_or_default();
    passed(false, reason, format!("{}: {count}/{all} required gates passed; {why}", candidate.tag))
}

fn promoted(promoted: Option<&Promoted>) -> ConditionReport {
    match promoted {
        Some(promoted) => {
            let message = format!("{} (sequence {})", promoted.release.tag, promoted.sequence);
            report(ConditionType::Promoted, true, Reason::Promoted, message)
        }
        None => {
            let message = "no release was promoted yet";
            report(ConditionType::Promoted, false, Reason::NothingPromoted, message)
        }
    }
}

fn drift(promoted: Option<&Promoted>, decision: &Decision) -> Vec<ConditionReport> {
    let Some(promoted) = promoted else { return Vec::new() };
    let drift = &decision.drift;
    let mut conditions = Vec::new();
    match &drift.moved {
        Some(moved) => {
            conditions.push(report(ConditionType::TagMoved, true, Reason::TagMoved, moved));
        }
        None if drift.known => {
            let message = format!("the tags of {} hold what was promoted", promoted.release.tag);
            conditions.push(report(ConditionType::TagMoved, false, Reason::AsPromoted, message));
        }
        None => {}
    }
    match &drift.gone {
        Some(gone) => {
            conditions.push(report(ConditionType::PromotedAvailable, false, Reason::PromotedGone, gone));
        }
        None if drift.known => {
            let message = format!("the tags of {} are there", promoted.release.tag);
            conditions.push(report(ConditionType::PromotedAvailable, true, Reason::AsPromoted, message));
        }
        None => {}
    }
    conditions
}
