//! Kubernetes Events: on transitions only, and never in the way.

use std::collections::BTreeMap;

use kube::runtime::events::{Event, EventType};

use crate::api::ReleaseSetStatus;
use crate::api::v1alpha1::ConditionStatus;
use crate::controller::context::{Context, within_deadline};
use crate::controller::live::Live;
use crate::engine::record::{Ended, Outcome};
use crate::flux::events::{FluxEvent, Severity};
use crate::model::{ConditionType, Reason};
use crate::telemetry::kube_call::clip;

/// Longest note of an Event that the API server takes is 1 kB.
const NOTE_MAX_BYTES: usize = 1000;

/// One thing that happened to a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The Event's reason.
    pub reason: Reason,
    /// Somebody should look.
    pub warning: bool,
    /// In words.
    pub message: String,
}

/// What happened between two statuses of a set. `extended` is a re-push that was not told yet.
pub fn between(
    before: &ReleaseSetStatus,
    after: &ReleaseSetStatus,
    ended: &[Ended],
    extended: Option<&str>,
) -> Vec<Happening> {
    let mut happenings = Vec::new();
    let mut tell = |reason, warning, message: String| happenings.push(Happening { reason, warning, message });
    let old_tags: Vec<&String> = before.candidates.iter().map(|candidate| &candidate.tag).collect();
    for candidate in after.candidates.iter().filter(|candidate| !old_tags.contains(&&candidate.tag)) {
        tell(Reason::CandidateFound, false, format!("{} is a candidate", candidate.tag));
    }
    for Ended { tag, outcome, message, .. } in ended {
        let (reason, warning) = match outcome {
            Outcome::Failed => (Reason::Failed, true),
            Outcome::Superseded | Outcome::Skipped => (Reason::Superseded, false),
            Outcome::Gone => (Reason::Gone, false),
        };
        tell(reason, warning, format!("{tag}: {message}"));
    }
    if let Some(promoted) = &after.promoted
        && before.promoted.as_ref().is_none_or(|old| old.sequence != promoted.sequence)
    {
        let images: Vec<String> =
            promoted.images.iter().map(|image| format!("{}@{}", image.name, image.digest)).collect();
        let message =
            format!("promoted {} (sequence {}): {}", promoted.tag, promoted.sequence, images.join(", "));
        tell(Reason::Promoted, false, message);
    }
    if let Some(extended) = extended {
        tell(Reason::TagExtended, false, extended.to_owned());
    }
    for (condition, alarm) in [
        (ConditionType::CandidateComplete, "False"),
        (ConditionType::SmokePassed, "False"),
        (ConditionType::Stalled, "True"),
        (ConditionType::TagMoved, "True"),
        (ConditionType::PromotedAvailable, "False"),
    ] {
        let now = find(after, condition).filter(|now| now.status == alarm);
        let then = find(before, condition).filter(|then| then.status == alarm).map(|then| &then.reason);
        let Some(now) = now.filter(|now| Some(&now.reason) != then) else { continue };
        if let Some(reason) = Reason::ALL.iter().find(|reason| reason.as_str() == now.reason)
            && is_alarm(*reason)
        {
            tell(*reason, true, now.message.clone());
        }
    }
    happenings
}

fn find(status: &ReleaseSetStatus, condition: ConditionType) -> Option<&ConditionStatus> {
    status.conditions.iter().find(|known| known.condition == condition.as_str())
}

/// Conditions come and go with every push; these reasons are worth an Event of their own.
fn is_alarm(reason: Reason) -> bool {
    use Reason::{
        CannotTell, FloorNotOrdered, GateOverdue, InvalidSpec, Overdue, PromotedGone, TagMoved, TargetTaken,
        Undecodable,
    };
    matches!(
        reason,
        Overdue
            | CannotTell
            | GateOverdue
            | InvalidSpec
            | TargetTaken
            | FloorNotOrdered
            | Undecodable
            | TagMoved
            | PromotedGone
    )
}

/// Leaves what is worth an Alert to be posted, for each ImagePolicy of the set's targets: promotions, and whatever somebody
/// should look at.
fn tell_flux(context: &Context, live: &Live, happening: &Happening) {
    let Some(outbox) = &context.flux_events else { return };
    let is_promotion = happening.reason == Reason::Promoted;
    if !is_promotion && !happening.warning {
        return;
    }
    let mut metadata = BTreeMap::from([("releaseset".to_owned(), live.name.name.clone())]);
    if let Some(promoted) = live.status.promoted.as_ref().filter(|_| is_promotion) {
        metadata.insert("revision".to_owned(), promoted.tag.clone());
    }
    let spec = live.spec();
    let targets = spec.get("targets").and_then(|targets| targets.as_array()).into_iter().flatten();
    for policy in targets.filter_map(|target| target.pointer("/imagePolicy/name")?.as_str()) {
        outbox.post(FluxEvent {
            namespace: live.name.namespace.clone(),
            policy: policy.to_owned(),
            severity: if happening.warning { Severity::Error } else { Severity::Info },
            at: context.clock.now(),
            reason: happening.reason.as_str().to_owned(),
            message: format!("ReleaseSet {}: {}", live.name.name, happening.message),
            metadata: metadata.clone(),
        });
    }
}

/// Publishes; a failure is logged and forgotten.
pub async fn publish(context: &Context, live: &Live, happenings: Vec<Happening>) {
    let reference = live.reference();
    for happening in happenings {
        tracing::info!(set = %live.name, reason = %happening.reason, "{}", happening.message);
        tell_flux(context, live, &happening);
        let event = Event {
            type_: if happening.warning { EventType::Warning } else { EventType::Normal },
            reason: happening.reason.as_str().to_owned(),
            note: Some(clip(&happening.message, NOTE_MAX_BYTES)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let published =
            within_deadline("publish an Event", context.recorder.publish(&event, &reference)).await;
        context.metrics.count_write("event", if published.is_ok() { "ok" } else { "error" });
        if let Err(error) = published {
            tracing::warn!(set = %live.name, "{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::v1alpha1::{CandidateStatus, PromotedImage, PromotedStatus};

    fn condition(condition: ConditionType, status: &str, reason: Reason) -> ConditionStatus {
        ConditionStatus {
            condition: condition.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: "in words".to_owned(),
            last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
            observed_generation: Some(1),
        }
    }

    fn candidate() -> CandidateStatus {
        let fields =
            serde_json::json!({"tag": "main-2", "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z"});
        serde_json::from_value(fields).unwrap()
    }

    fn reasons(happenings: &[Happening]) -> Vec<(Reason, bool)> {
        happenings.iter().map(|happening| (happening.reason, happening.warning)).collect()
    }

    #[test]
    fn the_same_status_tells_nothing() {
        let status = ReleaseSetStatus {
            conditions: vec![condition(ConditionType::TagMoved, "True", Reason::TagMoved)],
            candidates: vec![candidate()],
            ..ReleaseSetStatus::default()
        };
        assert_eq!(between(&status, &status, &[], None), []);
    }

    #[test]
    fn transitions_are_told_once_and_alarms_are_warnings() {
        let before = ReleaseSetStatus {
            conditions: vec![condition(ConditionType::CandidateComplete, "False", Reason::Missing)],
            ..ReleaseSetStatus::default()
        };
        let image = PromotedImage {
            name: "app".to_owned(),
            repository: "ghcr.io/acme/app".to_owned(),
            tag: "main-1".to_owned(),
            digest: "sha256:1".to_owned(),
            platforms: Vec::new(),
        };
        let promoted = PromotedStatus {
            tag: "main-1".to_owned(),
            sequence: 1,
            at: "2026-01-01T00:00:00Z".to_owned(),
            revision: None,
            generation: 1,
            images: vec![image],
        };
        let after = ReleaseSetStatus {
            conditions: vec![condition(ConditionType::CandidateComplete, "False", Reason::Overdue)],
            candidates: vec![candidate()],
            promoted: Some(promoted),
            ..ReleaseSetStatus::default()
        };
        let ended = Ended {
            tag: "main-0".parse().unwrap(),
            outcome: Outcome::Superseded,
            at: Timestamp::UNIX_EPOCH,
            message: "main-1 was promoted instead".to_owned(),
        };
        let happenings = between(&before, &after, &[ended], Some("app was pushed again"));
        let told = [
            (Reason::CandidateFound, false),
            (Reason::Superseded, false),
            (Reason::Promoted, false),
            (Reason::TagExtended, false),
            (Reason::Overdue, true),
        ];
        assert_eq!(reasons(&happenings), told);
        assert_eq!(happenings[2].message, "promoted main-1 (sequence 1): app@sha256:1");
    }
}
