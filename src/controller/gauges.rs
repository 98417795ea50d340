//! What the metrics say of one set: a reading of its status, and of which hosts could not be told.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::ReleaseSetStatus;
use crate::engine::decision::Decision;
use crate::engine::policy::Policy;
use crate::model::{ConditionType, ImageName, Reason, SetName};
use crate::telemetry::metrics::{SetFigures, SetLabels};

/// The labels of a set.
pub fn labels(set: &SetName) -> SetLabels {
    SetLabels { namespace: set.namespace.clone(), name: set.name.clone() }
}

/// What a status says; hosts are left out, for it names none.
pub fn figures(status: &ReleaseSetStatus) -> SetFigures {
    let promoted = status.promoted.as_ref().map(|promoted| promoted.sequence);
    let first_seen = status.candidates.iter().filter_map(|candidate| seconds(&candidate.first_seen));
    let is = |condition: ConditionType, wanted: &str, reasons: &[Reason]| {
        status.conditions.iter().any(|found| {
            let has_reason =
                reasons.is_empty() || reasons.iter().any(|reason| found.reason == reason.as_str());
            found.condition == condition.as_str() && found.status == wanted && has_reason
        })
    };
    SetFigures {
        promoted_sequence: promoted.unwrap_or_default(),
        oldest_candidate_timestamp_secs: first_seen.min().unwrap_or_default(),
        is_candidate_overdue: is(
            ConditionType::CandidateComplete,
            "False",
            &[Reason::Overdue, Reason::CannotTell],
        ) || is(ConditionType::SmokePassed, "False", &[Reason::GateOverdue]),
        targets_behind: promoted.map_or(0, |promoted| {
            let behind = status.targets.iter().filter(|target| target.sequence != Some(promoted));
            i64::try_from(behind.count()).unwrap_or(i64::MAX)
        }),
        is_tag_moved: is(ConditionType::TagMoved, "True", &[]),
        is_promoted_gone: is(ConditionType::PromotedAvailable, "False", &[]),
        is_stalled: is(ConditionType::Stalled, "True", &[]),
        unknown_since: BTreeMap::new(),
    }
}

/// Since when each host cannot be told: a list, or a required cell of a followed candidate, is Unknown there. A host keeps
/// the instant that it had `before`.
pub fn unknown_since(
    policy: &Policy,
    decision: &Decision,
    before: &BTreeMap<String, i64>,
    now: Timestamp,
) -> BTreeMap<String, i64> {
    let of_candidate = |image: &ImageName| {
        let unknown = decision.followed.iter().filter(|candidate| {
            let found = candidate.images.iter().find(|judged| judged.name == *image);
            found.is_some_and(|judged| {
                judged.cells.iter().any(|cell| cell.required && cell.sighting.is_unknown())
            })
        });
        unknown.filter_map(|candidate| candidate.record.unknown_since).min()
    };
    let mut hosts = BTreeMap::new();
    for image in &policy.images {
        let Some(repository) = image.place.repository() else { continue };
        let is_listed = !decision.listed.unknown.contains_key(&image.name);
        let Some(since) = of_candidate(&image.name).or((!is_listed).then_some(now)) else { continue };
        let host = repository.host().to_owned();
        let since = before.get(&host).map_or(since.as_second(), |known| *known.min(&since.as_second()));
        hosts.entry(host).and_modify(|known: &mut i64| *known = since.min(*known)).or_insert(since);
    }
    hosts
}

fn seconds(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Doubt, DoubtKind};

    fn status(value: serde_json::Value) -> ReleaseSetStatus {
        serde_json::from_value(value).expect("a status")
    }

    fn condition(name: &str, status: &str, reason: &str) -> serde_json::Value {
        serde_json::json!({"type": name, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    }

    #[test]
    fn a_status_at_rest_raises_nothing() {
        let at_rest = status(serde_json::json!({
            "observedGeneration": 1,
            "promoted": {"tag": "main-1", "sequence": 4, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []},
            "conditions": [
                condition("Ready", "True", "Succeeded"),
                condition("CandidateComplete", "True", "Complete"),
                condition("TagMoved", "False", "AsPromoted"),
                condition("PromotedAvailable", "True", "AsPromoted"),
            ],
            "targets": [{"name": "config", "state": "Applied", "sequence": 4, "since": "2026-01-01T00:00:00Z"}],
        }));
        assert_eq!(figures(&at_rest), SetFigures { promoted_sequence: 4, ..SetFigures::default() });
        assert_eq!(figures(&status(serde_json::json!({"observedGeneration": -1}))), SetFigures::default());
    }

    #[test]
    fn everything_that_needs_a_person_is_a_figure() {
        let candidate = |first_seen: &str| serde_json::json!({"tag": "main-5", "phase": "Partial", "firstSeen": first_seen, "gates": []});
        let target = |sequence: Option<i64>| serde_json::json!({"name": "config", "state": "Failed", "sequence": sequence, "since": "2026-01-01T00:00:00Z"});
        let told = figures(&status(serde_json::json!({
            "observedGeneration": 1,
            "promoted": {"tag": "main-1", "sequence": 4, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []},
            "conditions": [
                condition("Stalled", "True", "TargetTaken"),
                condition("SmokePassed", "False", "GateOverdue"),
                condition("TagMoved", "True", "TagMoved"),
                condition("PromotedAvailable", "False", "PromotedGone"),
            ],
            "candidates": [candidate("1970-01-01T00:02:00Z"), candidate("1970-01-01T00:01:00Z")],
            "targets": [target(Some(3)), target(None), target(Some(4))],
        })));
        let wanted = SetFigures {
            promoted_sequence: 4,
            oldest_candidate_timestamp_secs: 60,
            is_candidate_overdue: true,
            targets_behind: 2,
            is_tag_moved: true,
            is_promoted_gone: true,
            is_stalled: true,
            unknown_since: BTreeMap::new(),
        };
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_candidate_that_only_waits_is_not_overdue() {
        let waits = status(serde_json::json!({
            "observedGeneration": 1,
            "conditions": [
                condition("CandidateComplete", "False", "Missing"),
                condition("SmokePassed", "False", "GatePending"),
            ],
        }));
        assert!(!figures(&waits).is_candidate_overdue);
    }

    #[test]
    fn a_host_keeps_since_when_it_cannot_be_told() {
        let spec = serde_json::from_value(serde_json::json!({
            "images": [
                {"name": "app", "repository": "ghcr.io/acme/app"},
                {"name": "worker", "repository": "quay.io/acme/worker"},
            ],
            "candidates": {"policy": {"numerical": {"order": "asc"}}},
        }));
        let policy = crate::api::validate::policy(&spec.expect("a spec"), 1).expect("a policy");
        let at = |second: i64| Timestamp::from_second(second).expect("an instant");
        let mut decision = Decision::default();
        assert_eq!(unknown_since(&policy, &decision, &BTreeMap::new(), at(50)), BTreeMap::new());
        let doubt =
            Doubt { kind: DoubtKind::Transient, message: "no answer".to_owned(), retry_after_secs: None };
        decision.listed.unknown.insert(policy.images[0].name.clone(), doubt);
        let first = unknown_since(&policy, &decision, &BTreeMap::new(), at(60));
        assert_eq!(first, BTreeMap::from([("ghcr.io".to_owned(), 60)]));
        assert_eq!(unknown_since(&policy, &decision, &first, at(90)), first);
    }
}
