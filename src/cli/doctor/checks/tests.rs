//! What the checks find in one read of a set.

use serde_json::{Value, json};

use super::*;
use crate::cli::doctor::finding::{Report, Severity};
use crate::cli::printer::Palette;
use crate::telemetry::clock::Clock;

/// A set that is well, with what `change` makes of it.
fn examine(change: impl FnOnce(&mut Value)) -> Report {
    let mut set = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ReleaseSet",
        "metadata": {
            "namespace": "acme", "name": "shop", "generation": 2,
            "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"},
        },
        "spec": {
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {"policy": {"alphabetical": {}}},
            "targets": [{"name": "config", "configMap": {"name": "acme-release"}}]
        },
        "status": {
            "observedGeneration": 2,
            "conditions": [condition("Ready", "True", "Succeeded", "main-7 is promoted")],
            "promoted": {"tag": "main-7", "sequence": 3, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []},
            "targets": [{"name": "config", "state": "Applied", "sequence": 3, "since": "2026-01-01T00:00:00Z"}]
        },
    });
    change(&mut set);
    let object = serde_json::from_value(set).unwrap();
    let findings = crate::cli::doctor::examine(&object, &Clock::system(), "tidegate");
    Report { namespace: "acme".to_owned(), findings }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn managed(manager: &str, operation: &str, spec: &Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "tidegate.dev/v1alpha1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": spec}})
}

fn table(report: &Report) -> String {
    report.table(Palette::PLAIN)
}

#[test]
fn a_set_that_is_well_is_told_so_by_every_check() {
    let report = examine(|set| {
        set["metadata"]["managedFields"] = json!([
            managed("tidegate-cli", "Update", &json!({"f:pin": {}, "f:suspend": {}})),
            managed(
                "kustomize-controller",
                "Apply",
                &json!({"f:images": {}, "f:skip": {"v:\"main-6\"": {}}})
            ),
        ]);
    });
    assert_eq!(report.count(Severity::Ok), report.findings.len());
    assert!(CHECKS.iter().all(|check| report.findings.iter().any(|finding| finding.check == check.name)));
    insta::assert_snapshot!("well", table(&report));
}

#[test]
fn fields_that_flux_undoes_are_told_with_what_to_do() {
    let report = examine(|set| {
        set["spec"]["suspend"] = false.into();
        set["spec"]["pin"] = "main-7".into();
        set["spec"]["skip"] = json!(["main-8", "main-9"]);
        set["metadata"]["managedFields"] = json!([
            managed("kustomize-controller", "Apply", &json!({"f:suspend": {}})),
            managed("kubectl-patch", "Update", &json!({"f:pin": {}, "f:skip": {"v:\"main-8\"": {}}})),
            managed("headlamp", "Update", &json!({"f:skip": {"v:\"main-9\"": {}}})),
        ]);
    });
    insta::assert_snapshot!("undone", table(&report));
    assert_eq!((report.count(Severity::Warn), report.count(Severity::Fail)), (4, 0));
}

#[test]
fn without_a_kustomization_nobody_drops_what_kubectl_set() {
    let report = examine(|set| {
        set["metadata"]["labels"] = json!({});
        set["spec"]["pin"] = "main-7".into();
        set["metadata"]["managedFields"] = json!([managed("kubectl-patch", "Update", &json!({"f:pin": {}}))]);
    });
    assert_eq!(report.count(Severity::Ok), CHECKS.len(), "{}", table(&report));
}

#[test]
fn conditions_and_targets_are_told_with_the_next_step() {
    let report = examine(|set| {
        set["spec"]["suspend"] = true.into();
        set["spec"]["targets"] = json!([
            {"name": "config", "configMap": {"name": "acme-release"}},
            {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}}
        ]);
        set["status"]["observedGeneration"] = 1.into();
        set["status"]["conditions"] = json!([
            condition("Ready", "False", "TargetNotApplied", "config does not carry main-7"),
            condition("Stalled", "True", "TargetTaken", "ConfigMap/acme-release exists and is not ours"),
            condition("TagMoved", "True", "TagMoved", "app:main-7 points at sha256:2 now"),
            condition("PromotedAvailable", "False", "PromotedGone", "worker:main-7 is gone"),
        ]);
        set["status"]["targets"] = json!([
            {"name": "config", "state": "Taken", "since": "2026-01-01T00:00:00Z",
                "message": "ConfigMap/acme-release exists and is not ours\u{1b}[2J"},
            {"name": "a", "state": "Ahead", "since": "2026-01-01T00:00:00Z"},
            {"name": "b", "state": "Failed", "since": "2026-01-01T00:00:00Z", "message": "forbidden"},
            {"name": "c", "state": "Pending", "since": "2026-01-01T00:00:00Z"},
        ]);
    });
    assert!(!table(&report).contains('\u{1b}'));
    insta::assert_snapshot!("alarms", table(&report));
    insta::assert_json_snapshot!("alarms_json", report.findings.first());
}

#[test]
fn a_release_behind_its_spec_and_an_order_that_cannot_be_told_are_findings() {
    for (of, status, reason, is_finding) in [
        ("Promoted", "True", "PromotedBehindSpec", true),
        ("Promoted", "True", "Promoted", false),
        ("CandidateComplete", "False", "OrderUntold", true),
        ("CandidateComplete", "False", "Missing", false),
    ] {
        let report =
            examine(|set| set["status"]["conditions"] = json!([condition(of, status, reason, "in words")]));
        assert_eq!(
            report.count(Severity::Warn),
            usize::from(is_finding),
            "{of} {reason}: {}",
            table(&report)
        );
    }
}

#[test]
fn a_set_that_nobody_looks_at_has_failed() {
    let report = examine(|set| set["status"] = json!({"observedGeneration": -1}));
    assert_eq!(report.count(Severity::Fail), 1, "{}", table(&report));
    let unreadable = examine(|set| set["spec"]["images"] = 7.into());
    insta::assert_snapshot!("unreadable", table(&unreadable));
}
