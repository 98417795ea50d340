//! Kubernetes Events: on transitions only, and never in the way.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::events::{Event, EventType};

use crate::api::ReleaseSetStatus;
use crate::api::v1alpha1::{ConditionStatus, PromotedStatus};
use crate::controller::context::{Context, within_deadline};
use crate::controller::live::Live;
use crate::engine::record::{Ended, Outcome};
use crate::flux::events::{FluxEvent, Severity};
use crate::model::{ConditionType, Reason, Tag};
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

/// What happened in one reconcile and is not a difference of two statuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Candidates that ended.
    pub ended: Vec<Ended>,
    /// Names that came, are not above the floor, and are ignored.
    pub older: BTreeSet<Tag>,
}

/// What happened between two statuses of a set.
pub fn between(before: &ReleaseSetStatus, after: &ReleaseSetStatus, told: &Told) -> Vec<Happening> {
    let mut happenings = Vec::new();
    let mut tell = |reason, warning, message: String| happenings.push(Happening { reason, warning, message });
    let old_tags: Vec<&String> = before.candidates.iter().map(|candidate| &candidate.tag).collect();
    for candidate in after.candidates.iter().filter(|candidate| !old_tags.contains(&&candidate.tag)) {
        tell(Reason::CandidateFound, false, format!("{} is a candidate", candidate.tag));
    }
    for Ended { tag, outcome, message, .. } in &told.ended {
        let (reason, warning) = match outcome {
            Outcome::Failed => (Reason::Failed, true),
            Outcome::Superseded | Outcome::Skipped => (Reason::Superseded, false),
            Outcome::Gone => (Reason::Gone, false),
        };
        tell(reason, warning, format!("{tag}: {message}"));
    }
    for tag in &told.older {
        let message = format!("{tag} was named and is not above the floor: ignored; pin it if it is wanted");
        tell(Reason::CandidateOlder, false, message);
    }
    if let Some(promoted) = &after.promoted
        && before.promoted.as_ref().is_none_or(|old| old.sequence != promoted.sequence)
    {
        tell(Reason::Promoted, false, promotion(before.promoted.as_ref(), promoted));
    }
    // Status remembers what was told, so that a restart does not tell it again.
    let extension = |status| {
        find(status, ConditionType::TagMoved).filter(|known| known.reason == Reason::TagExtended.as_str())
    };
    let told_before = extension(before).map(|known| &known.message);
    if let Some(extended) = extension(after).filter(|known| Some(&known.message) != told_before) {
        tell(Reason::TagExtended, false, extended.message.clone());
    }
    for (condition, alarm) in [
        (ConditionType::CandidateComplete, "False"),
        (ConditionType::SmokePassed, "False"),
        (ConditionType::Stalled, "True"),
        (ConditionType::Promoted, "True"),
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

/// Which release was committed, and whether it is the one of before.
fn promotion(before: Option<&PromotedStatus>, promoted: &PromotedStatus) -> String {
    let again = if before.is_some_and(|old| old.tag == promoted.tag) { " again" } else { "" };
    let images: Vec<String> =
        promoted.images.iter().map(|image| format!("{}@{}", image.name, image.digest)).collect();
    format!("promoted {}{again} (sequence {}): {}", promoted.tag, promoted.sequence, images.join(", "))
}

fn find(status: &ReleaseSetStatus, condition: ConditionType) -> Option<&ConditionStatus> {
    status.conditions.iter().find(|known| known.condition == condition.as_str())
}

/// Conditions come and go with every push; these reasons are worth an Event of their own.
fn is_alarm(reason: Reason) -> bool {
    use Reason::{
        CannotTell, FloorNotOrdered, GateOverdue, InvalidSpec, OrderUntold, Overdue, PromotedBehindSpec,
        PromotedGone, TagMoved, TargetTaken, Undecodable,
    };
    matches!(
        reason,
        Overdue
            | CannotTell
            | GateOverdue
            | InvalidSpec
            | TargetTaken
            | FloorNotOrdered
            | OrderUntold
            | PromotedBehindSpec
            | Undecodable
            | TagMoved
            | PromotedGone
    )
}

/// Leaves what is worth an Alert to be posted, for each ImagePolicy of the set's targets: promotions, and whatever somebody
/// should look at.
fn tell_flux(context: &Context, live: &Live, happening: &Happening) {
    let Some(outbox) = context.flux_events.as_ref().filter(|_| context.leadership.is_held()) else { return };
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
        assert_eq!(between(&status, &status, &Told::default()), []);
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
        let told = Told { ended: vec![ended], older: BTreeSet::from(["main-0".parse().unwrap()]) };
        let happenings = between(&before, &after, &told);
        let expected = [
            (Reason::CandidateFound, false),
            (Reason::Superseded, false),
            (Reason::CandidateOlder, false),
            (Reason::Promoted, false),
            (Reason::Overdue, true),
        ];
        assert_eq!(reasons(&happenings), expected);
        assert_eq!(happenings[3].message, "promoted main-1 (sequence 1): app@sha256:1");
        let mut later = after.clone();
        later.promoted.as_mut().unwrap().sequence = 2;
        let again = between(&after, &later, &Told::default());
        assert_eq!(again[0].message, "promoted main-1 again (sequence 2): app@sha256:1");
    }

    fn saying(known: ConditionStatus, message: &str) -> ReleaseSetStatus {
        let known = ConditionStatus { message: message.to_owned(), ..known };
        ReleaseSetStatus { conditions: vec![known], ..ReleaseSetStatus::default() }
    }

    #[test]
    fn sequence_18_an_extension_is_told_once_also_after_a_restart() {
        let extended = || condition(ConditionType::TagMoved, "False", Reason::TagExtended);
        let as_promoted = condition(ConditionType::TagMoved, "False", Reason::AsPromoted);
        let (before, first) = (saying(as_promoted, "holds"), saying(extended(), "app grew"));
        let told = between(&before, &first, &Told::default());
        assert_eq!(reasons(&told), [(Reason::TagExtended, false)]);
        // All that a new process knows is status.
        assert_eq!(between(&first, &first, &Told::default()), []);
        let second = saying(extended(), "app grew; worker grew");
        assert_eq!(reasons(&between(&first, &second, &Told::default())), [(Reason::TagExtended, false)]);
    }

    #[test]
    fn sequence_19_a_release_behind_its_spec_is_one_warning() {
        let promoted = |reason| condition(ConditionType::Promoted, "True", reason);
        let before = saying(promoted(Reason::Promoted), "main-1");
        let behind = saying(promoted(Reason::PromotedBehindSpec), "worker linux/arm64 missing");
        let told = between(&before, &behind, &Told::default());
        assert_eq!(reasons(&told), [(Reason::PromotedBehindSpec, true)]);
        let worse = saying(promoted(Reason::PromotedBehindSpec), "worker linux/arm64 unknown");
        assert_eq!(between(&behind, &worse, &Told::default()), []);
        assert_eq!(between(&worse, &before, &Told::default()), []);
    }
}
