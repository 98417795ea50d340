use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::api::v1alpha1::{
    CandidateStatus, ConditionStatus, FloorStatus, ReleaseSetSpec, ReleaseSetStatus, TargetStatus,
};
use crate::api::validate;
use crate::engine::decision::{
    Blocked, Blocker, Candidate, CandidateImage, Cell, Decision, GateReport, GateState,
};
use crate::engine::policy::Policy;
use crate::engine::record::{CandidateRecord, DeadlineClock, Ended, Outcome, Phase};
use crate::engine::report::{ConditionReport, TargetReports};
use crate::model::{
    Binding, ConditionType, Digest, Doubt, DoubtKind, Promoted, Reason, Release, ReleaseImage, Sighting,
    SmokeOutcome, SmokeVerdict, TargetState,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn digest(byte: u8) -> Digest {
    format!("sha256:{}", format!("{byte:02x}").repeat(32)).parse().unwrap()
}

pub(super) fn promoted(tag: &str, sequence: i64) -> Promoted {
    Promoted {
        release: Release {
            tag: tag.parse().unwrap(),
            images: vec![ReleaseImage {
                name: "app".parse().unwrap(),
                repository: "ghcr.io/acme/app".parse().unwrap(),
                tag: tag.parse().unwrap(),
                digest: digest(1),
                platforms: vec![("linux/amd64".parse().unwrap(), digest(2))],
            }],
            revision: Some("3f9ac1d".to_owned()),
        },
        sequence,
        at: at("2026-01-01T00:00:00Z"),
        generation: 1,
    }
}

pub(super) fn candidate_status(tag: &str) -> CandidateStatus {
    serde_json::from_value(json!({"tag": tag, "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z"}))
        .unwrap()
}

/// A status that holds a release of that tag, sequence 7, and nothing else.
fn with_promoted(tag: &str) -> ReleaseSetStatus {
    let promoted =
        json!({"tag": tag, "sequence": 7, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []});
    ReleaseSetStatus { promoted: serde_json::from_value(promoted).unwrap(), ..ReleaseSetStatus::default() }
}

fn policy() -> Policy {
    let spec: ReleaseSetSpec = serde_json::from_value(json!({
        "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
        "candidates": {"policy": {"numerical": {}}},
        "targets": [{"name": "config", "configMap": {"name": "acme"}}, {"name": "late", "configMap": {"name": "b"}}],
    }))
    .unwrap();
    validate::policy(&spec, 3).unwrap()
}

fn candidate(tag: &str, cells: usize) -> Candidate {
    let cell = |index: usize| Cell {
        platform: "linux/amd64".parse().unwrap(),
        required: true,
        sighting: match index {
            0 => Sighting::Present(digest(2)),
            1 => Sighting::Missing,
            _ => Sighting::Unknown(Doubt::new(DoubtKind::Transient, "x".repeat(600))),
        },
    };
    let image = CandidateImage {
        name: "app".parse().unwrap(),
        tag: tag.parse().ok(),
        digest: Some(digest(1)),
        advisory: false,
        cells: (0..cells).map(cell).collect(),
    };
    Candidate {
        tag: tag.parse().unwrap(),
        listed_by_all: true,
        images: vec![image],
        gates: vec![GateReport {
            name: "boots".parse().unwrap(),
            advisory: false,
            is_smoke: true,
            reason: None,
            state: GateState::Running,
            message: String::new(),
        }],
        phase: Phase::Partial,
        overdue: false,
        gate_overdue: false,
        cannot_tell: false,
        blocked: Some(Blocked { by: Blocker::Missing, message: "app linux/amd64 missing".to_owned() }),
        record: CandidateRecord {
            tag: tag.parse().unwrap(),
            first_seen: at("2026-01-01T00:00:00Z"),
            complete_at: None,
            changed_at: Some(at("2026-01-01T00:01:00Z")),
            digests: BTreeMap::from([("app".parse().unwrap(), digest(1))]),
            clock: DeadlineClock {
                consumed: jiff::SignedDuration::from_secs(61),
                running_since: Some(at("2026-01-01T00:02:00Z")),
            },
            unknown_since: None,
            phase: Phase::Partial,
            blocked_by: Some("app linux/amd64 missing".to_owned()),
            blocked_since: Some(at("2026-01-01T00:03:00Z")),
        },
    }
}

fn decision() -> Decision {
    Decision {
        followed: vec![candidate("v3", 3), candidate("v2", 1)],
        verdicts: vec![SmokeVerdict {
            binding: Binding::stored("b"),
            outcome: SmokeOutcome::Failed,
            at: at("2026-01-01T00:00:00Z"),
            exit_code: Some(1),
            message: "exit code 1".to_owned(),
            retry: 0,
            log: None,
        }],
        ended: vec![Ended {
            tag: "v1".parse().unwrap(),
            outcome: Outcome::Superseded,
            at: at("2026-01-01T00:00:00Z"),
            message: "v2 was promoted instead".to_owned(),
        }],
        named: vec!["v3".parse().unwrap(), "v2".parse().unwrap()],
        ..Decision::default()
    }
}

fn report(condition: ConditionType, status: bool) -> ConditionReport {
    ConditionReport { condition, status, reason: Reason::Missing, message: "m".repeat(40_000) }
}

fn reports(state: TargetState) -> TargetReports {
    BTreeMap::from([("config".parse().unwrap(), (state, String::new()))])
}

#[test]
fn a_rendered_status_is_read_back() {
    let decision = decision();
    let now = at("2026-01-01T01:00:00.9Z");
    let status =
        render(&ReleaseSetStatus::default(), &policy(), &decision, &[], &reports(TargetState::Pending), now);
    let record = record(&status).unwrap();
    let expected: Vec<_> = decision.followed.iter().map(|candidate| candidate.record.clone()).collect();
    assert_eq!(record.candidates, expected);
    assert_eq!(record.verdicts, decision.verdicts);
    assert_eq!(record.recent, decision.ended);
    assert_eq!(record.named, decision.named);
    assert_eq!(status.observed_generation, 3);
    let summary = status.summary.unwrap();
    assert_eq!((summary.images.as_str(), summary.gates.as_str()), ("1/3", "0/1"));
    assert_eq!(summary.blocked_by.as_deref(), Some("app linux/amd64 missing"));
    let told: Vec<&str> = status.candidates[0].cells.iter().map(|cell| cell.state.as_str()).collect();
    assert_eq!(told, ["Missing", "Unknown"], "cells that are Present are only counted");
}

#[test]
fn sequence_20_time_alone_changes_nothing() {
    let (policy, decision) = (policy(), decision());
    let conditions = [report(ConditionType::Ready, false)];
    let targets = reports(TargetState::Failed);
    let first = render(
        &ReleaseSetStatus::default(),
        &policy,
        &decision,
        &conditions,
        &targets,
        at("2026-01-01T01:00:00Z"),
    );
    let second = render(&first, &policy, &decision, &conditions, &targets, at("2026-01-02T01:00:00Z"));
    assert_eq!(first, second);
}

#[test]
fn conditions_keep_the_time_of_their_status() {
    let previous = ReleaseSetStatus {
        conditions: vec![ConditionStatus {
            condition: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: "NoCandidates".to_owned(),
            message: "0 of 312 tags match".to_owned(),
            last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
            observed_generation: Some(1),
        }],
        ..ReleaseSetStatus::default()
    };
    let now = at("2026-01-01T09:00:00Z");
    let reports = [
        report(ConditionType::Ready, false),
        report(ConditionType::Promoted, false),
        report(ConditionType::Reconciling, false),
        report(ConditionType::Stalled, false),
    ];
    let status = with_conditions(&previous, 2, &reports, now);
    let told: Vec<_> = status
        .conditions
        .iter()
        .map(|told| (told.condition.as_str(), told.last_transition_time.as_str(), told.message.len()))
        .collect();
    let long = crate::api::schema::CONDITION_MESSAGE_MAX_BYTES;
    assert_eq!(told, [("Ready", "2026-01-01T00:00:00Z", long), ("Promoted", "2026-01-01T09:00:00Z", long)]);
    assert_eq!(status.conditions[0].observed_generation, Some(2));
    let turned =
        with_conditions(&status, 2, &[report(ConditionType::Ready, true)], at("2026-01-01T10:00:00Z"));
    assert_eq!(turned.conditions[0].last_transition_time, "2026-01-01T10:00:00Z");
    let stalled = with_conditions(&status, 2, &[report(ConditionType::Stalled, true)], now);
    assert_eq!(stalled.conditions[0].condition, "Stalled");
}

/// What became of the promoted tags is absent from a decision that could not look (S6).
#[test]
fn what_was_said_of_the_promoted_tags_stays_until_it_is_looked_at_again() {
    let now = at("2026-01-01T09:00:00Z");
    let moved =
        with_conditions(&ReleaseSetStatus::default(), 1, &[report(ConditionType::TagMoved, true)], now);
    let ready = [report(ConditionType::Ready, false)];
    let types = |status: &ReleaseSetStatus| {
        with_conditions(status, 2, &ready, now)
            .conditions
            .into_iter()
            .map(|told| told.condition)
            .collect::<Vec<_>>()
    };
    assert_eq!(types(&moved), ["Ready"], "nothing is promoted");
    let promoted = ReleaseSetStatus { promoted: with_promoted("v2").promoted, ..moved };
    assert_eq!(types(&promoted), ["Ready", "TagMoved"]);
    let kept = with_conditions(&promoted, 2, &ready, now).conditions.remove(1);
    assert_eq!(kept, promoted.conditions[0], "word for word, generation included");
    let looked = with_conditions(&promoted, 2, &[report(ConditionType::TagMoved, false)], now);
    assert_eq!(looked.conditions[0].status, "False");
    assert_eq!(looked.conditions.len(), 1);
}

#[test]
fn targets_keep_since_and_tell_the_sequence_that_they_carry() {
    let mut previous = with_promoted("v2");
    previous.targets = vec![TargetStatus {
        name: "config".to_owned(),
        state: "Applied".to_owned(),
        sequence: Some(6),
        since: "2026-01-01T00:00:00Z".to_owned(),
        message: None,
    }];
    let now = at("2026-01-01T09:00:00Z");
    let told = |state| render(&previous, &policy(), &decision(), &[], &reports(state), now).targets;
    let applied = told(TargetState::Applied);
    assert_eq!((applied[0].sequence, applied[0].since.as_str()), (Some(7), "2026-01-01T00:00:00Z"));
    assert_eq!((applied[1].state.as_str(), applied[1].since.as_str()), ("Pending", "2026-01-01T09:00:00Z"));
    let failed = told(TargetState::Failed);
    assert_eq!((failed[0].sequence, failed[0].since.as_str()), (Some(6), "2026-01-01T09:00:00Z"));
}

#[test]
fn only_a_commit_touches_the_release() {
    let mut previous = with_promoted("not readable!");
    previous.floor = Some(FloorStatus { tag: "v9".to_owned(), key: "9".to_owned() });
    previous.last_handled_reconcile_at = Some("x".to_owned());
    let status =
        render(&previous, &policy(), &decision(), &[], &TargetReports::new(), at("2026-01-01T00:00:00Z"));
    assert_eq!((&status.promoted, &status.floor), (&previous.promoted, &previous.floor));
    assert_eq!(
        (&status.history, &status.last_handled_reconcile_at),
        (&previous.history, &previous.last_handled_reconcile_at)
    );
}

#[test]
fn an_unreadable_release_stalls_and_unreadable_detail_is_forgotten() {
    let read = |status: serde_json::Value| record(&serde_json::from_value(status).unwrap());
    let release = |tag: &str, sequence: i64, digest: &str| {
        json!({"promoted": {"tag": tag, "sequence": sequence, "at": "2026-01-01T00:00:00Z", "generation": 1,
            "images": [{"name": "app", "repository": "ghcr.io/acme/app", "tag": tag, "digest": digest, "platforms": []}]}})
    };
    let sound = digest(1).to_string();
    assert!(read(release("v1", 1, &sound)).unwrap().promoted.is_some());
    for (status, field) in [
        (release(".v1", 1, &sound), "status.promoted.tag"),
        (release("v1", 0, &sound), "status.promoted"),
        (release("v1", 1, "sha256:0"), "status.promoted.images[0].digest"),
        (json!({"floor": {"tag": "", "key": ""}}), "status.floor.tag"),
    ] {
        assert_eq!(read(status).unwrap_err().field, field);
    }
    let unreadable = release("v1", 1, "sha256:0");
    assert!(committed(&serde_json::from_value(unreadable).unwrap()).is_none());

    let rest = json!({
        "candidates": [
            {"tag": "v1", "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z"},
            {"tag": "v2", "phase": "Flying", "firstSeen": "2026-01-01T00:00:00Z"},
            {"tag": "v3", "phase": "Partial", "firstSeen": "yesterday"},
            {"tag": "v4", "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z", "clock": {"consumed": "long"}},
        ],
        "verdicts": [{"binding": "b", "outcome": "Perhaps", "at": "2026-01-01T00:00:00Z"}],
    });
    let record = read(rest).unwrap();
    let tags: Vec<&str> = record.candidates.iter().map(|candidate| candidate.tag.as_str()).collect();
    assert_eq!((tags, record.verdicts.len()), (vec!["v1"], 0));
}

#[test]
fn sequence_20_a_large_status_loses_detail_and_never_the_release() {
    let mut decision = decision();
    decision.followed = (0..20).map(|index| candidate(&format!("v{index}"), 120)).collect();
    let verdict = |index: u32| SmokeVerdict {
        binding: Binding::stored(format!("{index} {}", "b".repeat(400))),
        at: Timestamp::from_second(i64::from(index)).unwrap(),
        message: "m".repeat(500),
        ..decision.verdicts[0].clone()
    };
    decision.verdicts = (0..100).rev().map(verdict).collect();
    let previous = with_promoted("v2");
    let status =
        render(&previous, &policy(), &decision, &[], &TargetReports::new(), at("2026-01-01T00:00:00Z"));
    assert!(render::json_bytes(&status) <= STATUS_MAX_BYTES);
    assert_eq!(status.promoted, previous.promoted);
    assert_eq!(status.candidates.len(), 20, "detail goes before candidates");
    assert!(status.candidates[19].cells.is_empty());
    assert_eq!(status.verdicts.len(), 64);
    assert_eq!(status.verdicts[63].at, "1970-01-01T00:00:36Z", "the oldest went");
}

#[test]
fn foreign_fields_stay_and_ours_are_replaced() {
    let live = json!({"metadata": {"resourceVersion": "5"}, "spec": {"a": 1},
        "status": {"fromTheFuture": [1], "summary": {"candidate": "v1"}, "observedGeneration": 1}});
    let status = ReleaseSetStatus { observed_generation: 2, ..ReleaseSetStatus::default() };
    let merged = merge_into(&live, &status);
    assert_eq!(merged["status"], json!({"fromTheFuture": [1], "observedGeneration": 2}));
    assert_eq!((&merged["metadata"], &merged["spec"]), (&live["metadata"], &live["spec"]));
    assert_eq!(merge_into(&json!({"spec": {}}), &status)["status"], json!({"observedGeneration": 2}));
}

#[test]
fn lost_fields_are_named() {
    let sent = json!({"status": {"promoted": {"tag": "v1", "images": [{"name": "a", "new": 1}]}, "listed": {"tags": 1}}});
    let reply = json!({"status": {"promoted": {"tag": "v1", "images": [{"name": "a"}]}, "more": 1}});
    assert_eq!(lost_fields(&sent, &reply), ["status.listed", "status.promoted.images[0].new"]);
    assert!(lost_fields(&sent, &sent).is_empty());
    assert_eq!(lost_fields(&sent, &json!({})), ["status"]);
}

#[test]
fn instants_have_whole_seconds() {
    assert_eq!(time_text(at("2026-01-01T00:00:00.999Z")), "2026-01-01T00:00:00Z");
}

/// Design §6: targets accept only what was read back from the API server, and this is the one reader outside
/// tests.
#[test]
fn only_this_module_reads_a_committed_release_back() {
    fn sources(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                found.push(path);
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let word = ["Committed::read", "_back"].concat();
    let mut callers: Vec<String> = paths
        .iter()
        .filter(|path| std::fs::read_to_string(path).unwrap().contains(&word))
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    callers.sort();
    assert_eq!(callers, ["api/status/commit.rs"]);
}
