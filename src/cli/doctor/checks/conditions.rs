//! What the controller says of the set.

use crate::api::v1alpha1::ConditionStatus;
use crate::cli::doctor::checks::Subject;
use crate::cli::doctor::finding::{Finding, Severity};
use crate::model::{ConditionType, Reason};

/// Conditions that want attention, with the status that does and how bad it is. Ready=False is no failure: a fresh
/// set, or a pin that is on its way. Some want it for one reason only.
const ALARMS: [(ConditionType, &str, Option<Reason>, Severity); 6] = [
    (ConditionType::Stalled, "True", None, Severity::Fail),
    (ConditionType::Ready, "False", None, Severity::Warn),
    (ConditionType::TagMoved, "True", None, Severity::Warn),
    (ConditionType::PromotedAvailable, "False", None, Severity::Warn),
    (ConditionType::Promoted, "True", Some(Reason::PromotedBehindSpec), Severity::Warn),
    (ConditionType::CandidateComplete, "False", Some(Reason::OrderUntold), Severity::Warn),
];

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let (metadata, status) = (&subject.found.object.metadata, &subject.found.status);
    if metadata.deletion_timestamp.is_some() {
        return vec![Finding::new(Severity::Ok, "it is being deleted")];
    }
    if status.observed_generation < 0 {
        return vec![
            Finding::new(Severity::Fail, "no controller has looked at it").next(subject.next_action),
        ];
    }
    let mut findings = Vec::new();
    for (condition, alarm, reason, severity) in ALARMS {
        let is_alarm = |known: &&ConditionStatus| {
            known.condition == condition.as_str()
                && known.status == alarm
                && reason.is_none_or(|reason| known.reason == reason.as_str())
        };
        if let Some(known) = status.conditions.iter().find(is_alarm) {
            let what = format!("{}={} {}", known.condition, known.status, known.reason);
            let next = match condition {
                ConditionType::TagMoved => {
                    "find out who pushed to the promoted tag; push the next release under a tag of its own"
                }
                ConditionType::PromotedAvailable => "push the promoted tag again, or promote another release",
                _ => subject.next_action,
            };
            findings.push(Finding::new(severity, what).because(&known.message).next(next));
        }
    }
    if subject.found.spec.suspend == Some(true) {
        findings.push(
            Finding::new(Severity::Warn, "it is suspended")
                .because("no commit, no new smoke Job, no target write")
                .next(format!("when it may go on: {}", subject.command("resume", ""))),
        );
    }
    if status.observed_generation != subject.found.generation() {
        findings.push(
            Finding::new(Severity::Warn, "the controller has not looked at the spec as it is now")
                .next("wait for it; if it stays so, see whether the controller runs"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::new(Severity::Ok, "Ready, and nothing is stalled"));
    }
    findings
}
