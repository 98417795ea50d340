//! A decision as conditions: the same words for status, events and the command line.
//!
//! Conditions follow kstatus and Flux (design §4 Conditions). A half-pushed candidate touches neither Ready
//! nor Stalled: kstatus calls Stalled=True failed, and a Kustomization that waits for the set would stop.

use std::collections::BTreeMap;

use crate::engine::decision::{Blocker, Candidate, Decision, GateState, Hold, Inherited, WhyAgain};
use crate::engine::order::Source;
use crate::engine::policy::Policy;
use crate::engine::record::{Phase, Record};
use crate::model::{ConditionType, Doubt, Problem, Promoted, Reason, TargetName, TargetState};

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
    let candidate = decision.followed.first();
    conditions.extend(order_untold(decision).or_else(|| candidate.map(candidate_complete)));
    conditions.extend(candidate.map(smoke_passed));
    conditions.push(promoted_as_judged(record.promoted.as_ref(), decision));
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
    let held = match &decision.hold {
        Some(Hold::Suspended) => ", suspended".to_owned(),
        Some(Hold::OrderUntold { doubt }) => format!("; {}", untold(doubt)),
        Some(Hold::TargetUnreadable { why }) => format!("; {}", unreadable(why)),
        Some(Hold::Deleting | Hold::FloorNotOrdered { .. }) | None => String::new(),
    };
    let message = format!("{} is promoted (sequence {}){held}", promoted.release.tag, promoted.sequence);
    report(ConditionType::Ready, true, Reason::Succeeded, message)
}

fn untold(doubt: &Doubt) -> String {
    format!("no candidate is promoted while the order cannot be told: {}", doubt.message)
}

fn unreadable(why: &str) -> String {
    format!("nothing is promoted until it is known what the targets carry: {why}")
}

/// What targets carry although status does not know it.
fn carried(inherited: &Inherited) -> String {
    let tag = inherited.tag.as_ref().map_or_else(|| "an unreadable tag".to_owned(), ToString::to_string);
    format!("targets carry {tag} (sequence {})", inherited.sequence)
}

fn nothing_promoted(policy: &Policy, decision: &Decision) -> ConditionReport {
    let (reason, message) = match (&decision.hold, decision.followed.first()) {
        (Some(Hold::TargetUnreadable { why }), _) => (Reason::TargetUnreadable, unreadable(why)),
        (Some(Hold::OrderUntold { doubt }), _) => (Reason::OrderUntold, untold(doubt)),
        (_, Some(candidate)) => {
            let why = candidate.blocked.as_ref().map_or("about to be confirmed", |blocked| &blocked.message);
            let before = match &decision.inherited {
                None => "nothing was promoted yet".to_owned(),
                Some(inherited) => format!("status holds no release and {}", carried(inherited)),
            };
            (Reason::NothingPromoted, format!("{before}; {}: {why}", candidate.tag))
        }
        (_, None) => no_candidates(policy, decision),
    };
    let held = if policy.suspend { " (suspended)" } else { "" };
    report(ConditionType::Ready, false, reason, format!("{message}{held}"))
}

fn no_candidates(policy: &Policy, decision: &Decision) -> (Reason, String) {
    let listed = &decision.listed;
    if policy.candidates.source == Source::Named {
        let message = match decision.named.first() {
            None => "the ImagePolicy of spec.candidates.policyRef names no tag yet".to_owned(),
            Some(tag) => format!(
                "{tag}, which the ImagePolicy of spec.candidates.policyRef names, is not above the floor, dismissed, \
                 or not accepted by its rule and spec.candidates.exclude"
            ),
        };
        return (Reason::NoCandidates, message);
    }
    match listed.unknown.iter().next() {
        Some((image, doubt)) => {
            (Reason::NothingPromoted, format!("the tags of {image} cannot be listed: {}", doubt.message))
        }
        None => (
            Reason::NoCandidates,
            format!("{} of {} tags match spec.candidates{}", listed.matched, listed.tags, listed.skipped()),
        ),
    }
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

/// Nothing can be called newer; what to do is said where a candidate's own obstacle would be.
fn order_untold(decision: &Decision) -> Option<ConditionReport> {
    let Some(Hold::OrderUntold { doubt }) = &decision.hold else { return None };
    let message = format!(
        "{}; mend the ImagePolicy of spec.candidates.policyRef, or set spec.pin to the tag to promote",
        untold(doubt)
    );
    Some(report(ConditionType::CandidateComplete, false, Reason::OrderUntold, message))
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

/// That a release is promoted, and what keeps it from being committed again where that is due.
fn promoted_as_judged(promoted: Option<&Promoted>, decision: &Decision) -> ConditionReport {
    let mut condition = self::promoted(promoted);
    let Some(promoted) = promoted else {
        if let Some(inherited) = &decision.inherited {
            condition.message = format!("status holds no release; {}", carried(inherited));
        }
        return condition;
    };
    let Some(again) = decision.promoted_again.as_ref().filter(|_| decision.looked) else { return condition };
    let blocked = again.candidate.blocked.as_ref();
    let because = blocked.map(|blocked| format!(": {}", blocked.message)).unwrap_or_default();
    let (tag, sequence) = (&promoted.release.tag, promoted.sequence);
    match again.why {
        WhyAgain::Generation if again.obstacle().is_some() => {
            condition.reason = Reason::PromotedBehindSpec;
            condition.message = format!(
                "{tag} (sequence {sequence}) stays, and does not pass under the spec as it is now{because}"
            );
        }
        WhyAgain::Generation if blocked.is_some() => {
            condition.message =
                format!("{tag} (sequence {sequence}) is judged under the spec as it is now{because}");
        }
        WhyAgain::TargetsAhead => {
            let carried = decision.inherited.as_ref().map(carried).unwrap_or_default();
            condition.message =
                format!("{tag} (sequence {sequence}), and {carried}: it is to be committed again{because}");
        }
        // A move is told by TagMoved.
        WhyAgain::Generation | WhyAgain::TagMoved => {}
    }
    condition
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
            let again = decision.promoted_again.as_ref().filter(|again| again.why == WhyAgain::TagMoved);
            let blocked = again.and_then(|again| again.candidate.blocked.as_ref());
            let waits = blocked.map(|blocked| format!("; not committed again yet: {}", blocked.message));
            let message = format!("{moved}{}", waits.unwrap_or_default());
            conditions.push(report(ConditionType::TagMoved, true, Reason::TagMoved, message));
        }
        None if drift.known => {
            let (reason, message) = match &drift.extended {
                Some(extended) => {
                    (Reason::TagExtended, format!("{extended}, with every required child unchanged"))
                }
                None => {
                    let message = format!("the tags of {} hold what was promoted", promoted.release.tag);
                    (Reason::AsPromoted, message)
                }
            };
            conditions.push(report(ConditionType::TagMoved, false, reason, message));
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
