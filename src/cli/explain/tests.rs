//! What is told of one status, as of one moment.

use serde_json::{Value, json};

use super::*;
use crate::cli::printer::Palette;

const NOW: &str = "2026-01-01T01:00:00Z";

fn found(status: &Value, change: impl FnOnce(&mut Value)) -> Found {
    let mut set = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ReleaseSet",
        "metadata": {"namespace": "acme", "name": "shop", "generation": 2},
        "spec": {
            "images": [
                {"name": "app", "repository": "ghcr.io/acme/app"},
                {"name": "worker", "repository": "ghcr.io/acme/worker", "platforms": ["linux/amd64", "linux/arm64"]},
                {"name": "docs", "repository": "ghcr.io/acme/docs", "advisory": true}
            ],
            "candidates": {"policy": {"alphabetical": {"order": "asc"}}},
            "gates": [
                {"name": "worker-boots", "smoke": {"image": "worker"}},
                {"name": "same-commit", "advisory": true, "sameRevision": {"key": "org.opencontainers.image.revision"}}
            ],
            "targets": [{"name": "config", "configMap": {"name": "acme-release"}}]
        },
        "status": status,
    });
    change(&mut set);
    Found::new(serde_json::from_value(set).unwrap()).unwrap()
}

fn told(found: &Found) -> String {
    render::table(&explain(found, NOW.parse().unwrap(), "tidegate"), Palette::PLAIN)
}

fn promoted() -> Value {
    json!({"tag": "main-6", "sequence": 3, "at": "2025-12-31T22:30:00Z", "generation": 1, "images": []})
}

fn partial() -> Value {
    json!({
        "observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "main-6 is promoted",
            "lastTransitionTime": "2025-12-31T22:30:00Z"}],
        "promoted": promoted(),
        "candidates": [{
            "tag": "main-7",
            "phase": "Partial",
            "firstSeen": "2026-01-01T00:40:00Z",
            "clock": {"consumed": "1m", "runningSince": "2026-01-01T00:45:00Z"},
            "blockedBy": "worker linux/arm64 missing",
            "blockedSince": "2026-01-01T00:50:00Z",
            "cells": [
                {"image": "worker", "platform": "linux/arm64", "required": true, "state": "Missing"},
                {"image": "docs", "platform": "linux/amd64", "required": false, "state": "Unknown", "reason": "ghcr.io answered 503"}
            ],
            "gates": [
                {"name": "worker-boots", "state": "Pending", "reason": "Unschedulable", "message": "cannot start on linux/arm64: no node for linux/arm64"},
                {"name": "same-commit", "state": "Passed", "message": "3f9ac1d"}
            ]
        }],
        "targets": [{"name": "config", "state": "Applied", "sequence": 3, "since": "2025-12-31T22:30:00Z"}]
    })
}

fn failed() -> Value {
    let mut status = partial();
    let candidate = &mut status["candidates"][0];
    candidate["phase"] = "Failed".into();
    candidate["completeAt"] = "2026-01-01T00:50:00Z".into();
    candidate["cells"] = json!([]);
    candidate["blockedBy"] = "gate worker-boots failed on linux/amd64: exited with code 3".into();
    candidate["gates"][0] = json!({"name": "worker-boots", "state": "Failed", "message": "failed on linux/amd64: exited with code 3"});
    status["failureLogs"] = json!([
        {"gate": "worker-boots", "at": "2026-01-01T00:10:00Z", "log": "an older one"},
        {"gate": "worker-boots", "at": "2026-01-01T00:55:00Z", "log": "starting\npanic: DATABASE_URL is not set\u{1b}[2J"}
    ]);
    status
}

#[test]
fn a_partial_candidate_is_told_with_its_clock_and_the_next_push() {
    insta::assert_snapshot!("partial", told(&found(&partial(), |_| {})));
}

#[test]
fn a_failed_test_is_told_with_its_log_and_nothing_moves_the_cursor() {
    let text = told(&found(&failed(), |_| {}));
    assert!(!text.contains('\u{1b}'));
    insta::assert_snapshot!("failed", text);
}

#[test]
fn the_contract_is_stable() {
    let found = found(&failed(), |_| {});
    insta::assert_json_snapshot!("json", explain(&found, NOW.parse().unwrap(), "tidegate"));
}

/// The partial status with what `change` makes of it.
fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut status = partial();
    change(&mut status);
    status
}

fn all_there(status: &mut Value) {
    let candidate = &mut status["candidates"][0];
    (candidate["cells"], candidate["completeAt"]) = (json!([]), "2026-01-01T00:50:00Z".into());
    candidate["phase"] = "Testing".into();
}

/// A required cell that is not there.
fn cell(image: &str, platform: &str, state: &str, reason: Option<&str>) -> Value {
    json!({"image": image, "platform": platform, "required": true, "state": state, "reason": reason})
}

fn action(status: &Value, change: impl FnOnce(&mut Value)) -> String {
    explain(&found(status, change), NOW.parse().unwrap(), "tidegate").next_action
}

fn lines(actions: &[(&str, String)]) -> String {
    let lines: Vec<String> = actions.iter().map(|(state, action)| format!("{state}: {action}")).collect();
    lines.join("\n")
}

#[test]
fn every_state_of_the_set_has_one_next_action() {
    let no_candidate = |status: &mut Value| status["candidates"] = json!([]);
    let target_failed = with(|status| {
        no_candidate(status);
        status["targets"][0]["state"] = "Failed".into();
    });
    let mut actions = vec![
        ("never looked", action(&json!({"observedGeneration": -1}), |_| {})),
        (
            "deleting",
            action(&partial(), |set| set["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:00Z".into()),
        ),
        ("suspended", action(&partial(), |set| set["spec"]["suspend"] = true.into())),
        ("edited", action(&partial(), |set| set["metadata"]["generation"] = 3.into())),
        ("no candidate", action(&with(no_candidate), |_| {})),
        ("nothing ever", action(&json!({"observedGeneration": 2}), |_| {})),
        ("target", action(&target_failed, |_| {})),
    ];
    for reason in ["FloorNotOrdered", "TargetTaken", "InvalidSpec", "Undecodable"] {
        let condition = json!({"type": "Stalled", "status": "True", "reason": reason, "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        actions.push((reason, action(&with(|status| status["conditions"] = json!([condition])), |_| {})));
    }
    let conditions = [
        ("Promoted", "True", "PromotedBehindSpec"),
        ("CandidateComplete", "False", "OrderUntold"),
        ("Ready", "False", "TargetUnreadable"),
    ];
    for (condition, status, reason) in conditions {
        let condition = json!({"type": condition, "status": status, "reason": reason, "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let told = with(|status| {
            no_candidate(status);
            status["conditions"] = json!([condition]);
        });
        actions.push((reason, action(&told, |_| {})));
    }
    insta::assert_snapshot!("next_actions_of_sets", lines(&actions));
}

#[test]
fn every_state_of_a_candidate_has_one_next_action() {
    let cells = |cells: Value| action(&with(|status| status["candidates"][0]["cells"] = cells), |_| {});
    let gate = |state: &str, reason: Option<&str>| {
        let gates = json!([{"name": "worker-boots", "state": state, "reason": reason}]);
        let status = with(|status| {
            all_there(status);
            status["candidates"][0]["gates"] = gates;
        });
        action(&status, |_| {})
    };
    let settling = with(|status| {
        all_there(status);
        status["candidates"][0]["phase"] = "Settling".into();
    });
    let missing = cell("app", "linux/amd64", "Missing", None);
    let broken = cell("worker", "linux/arm64", "Broken", Some("r"));
    let unknown = cell("app", "linux/amd64", "Unknown", Some("ghcr.io answered 401"));
    let mut actions = vec![
        ("platform missing", action(&partial(), |_| {})),
        ("image missing", cells(json!([missing]))),
        ("broken first", cells(json!([missing, broken]))),
        ("unknown", cells(json!([unknown]))),
        ("settling", action(&settling, |_| {})),
        ("smoke failed", action(&failed(), |_| {})),
        ("running", gate("Running", None)),
        ("waits", gate("Pending", None)),
        ("confirming", gate("Passed", None)),
    ];
    for kind in [
        "Unschedulable",
        "ImagePull",
        "ConfigRefused",
        "QuotaDenied",
        "ImageRewritten",
        "Evicted",
        "Unreadable",
    ] {
        actions.push((kind, gate("Pending", Some(kind))));
    }
    insta::assert_snapshot!("next_actions_of_candidates", lines(&actions));
}

/// The detail of old candidates is dropped to keep status small; what is not told is not called present.
#[test]
fn what_status_does_not_tell_is_not_called_ok() {
    let mut status = partial();
    status["candidates"][0]["cells"] = json!([]);
    let text = told(&found(&status, |_| {}));
    assert!(text.contains("worker   ?             ?"), "{text}");
}

#[test]
fn spans_are_as_short_as_people_say_them() {
    for (secs, expected) in [
        (0, "0s"),
        (59, "59s"),
        (61, "1m1s"),
        (600, "10m"),
        (3_725, "1h2m"),
        (172_800, "2d"),
        (1_000_000, "11d"),
    ] {
        assert_eq!(span(secs), expected);
    }
}
