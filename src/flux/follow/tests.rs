use serde_json::{Value, json};

use super::*;
use crate::flux::objects::Body;
use crate::model::target::FluxKind;

/// The push of these tests.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";

/// An object of metadata, spec and status.
fn object<T: Body>(value: &Value) -> Object<T> {
    let metadata = &value["metadata"];
    let texts = |key: &str| serde_json::from_value(metadata[key].clone()).unwrap_or_default();
    Object {
        name: metadata["name"].as_str().unwrap_or("app").to_owned(),
        generation: metadata["generation"].as_i64().unwrap_or(1),
        resource_version: Some("7".into()),
        labels: texts("labels"),
        annotations: texts("annotations"),
        deleting: metadata["deletionTimestamp"].is_string(),
        body: serde_json::from_value(value.clone()).unwrap_or_else(|_| panic!("not of its kind: {value}")),
    }
}

fn found<T: Body>(value: &Value) -> Seen<Object<T>> {
    Seen::Found(object(value))
}

fn policy(tag: &str) -> Value {
    json!({
        "metadata": {"name": "acme", "generation": 3, "labels": {"tidegate.dev/set": "acme"}},
        "spec": {"policy": {"alphabetical": {}}},
        "status": {
            "observedGeneration": 3,
            "latestRef": {"tag": tag},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "resolved"}],
        },
    })
}

fn repository(scan_time: &str) -> Value {
    json!({
        "spec": {"image": "ghcr.io/acme/app"},
        "status": {"lastScanResult": {"revision": "sha256:1", "scanTime": scan_time, "latestTags": ["main-1"]}},
    })
}

fn automation() -> Value {
    json!({
        "metadata": {"name": "flux"},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}},
        "status": {
            "observedPolicies": {"acme": {"name": "ghcr.io/acme/app", "tag": "main-2"}},
            "lastPushCommit": COMMIT,
            "lastPushTime": "2026-01-01T00:00:05Z",
            "observedSourceRevision": format!("main@sha1:{COMMIT}"),
        },
    })
}

fn source(revision: &str, fetched: &str) -> Value {
    json!({
        "metadata": {"name": "fleet"},
        "spec": {"ref": {"branch": "main"}},
        "status": {"artifact": {"revision": revision, "lastUpdateTime": fetched}},
    })
}

fn kustomization(revision: &str) -> Value {
    json!({
        "metadata": {"name": "apps"},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}},
        "status": {"observedGeneration": 1, "lastAppliedRevision": revision},
    })
}

fn helm_release(version: &str) -> Value {
    json!({
        "metadata": {"name": "chart", "generation": 2},
        "status": {
            "observedGeneration": 2,
            "lastAttemptedRevision": version,
            "conditions": [{"type": "Ready", "status": "True", "reason": "UpgradeSucceeded"}],
        },
    })
}

fn with(mut value: Value, pointer: &str, part: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("no {pointer}"));
    parent.as_object_mut().unwrap().insert(key.to_owned(), part);
    value
}

fn failing(value: Value, message: &str) -> Value {
    let condition = json!([{"type": "Ready", "status": "False", "reason": "Failed", "message": message}]);
    with(value, "/status/conditions", condition)
}

fn suspended(value: Value) -> Value {
    with(value, "/spec/suspend", json!(true))
}

/// main-2, promoted at midnight, of a set whose target names nothing.
fn observed() -> Observed {
    Observed {
        namespace: "acme".into(),
        policy_name: "acme".into(),
        repository_name: "app".into(),
        tag: "main-2".into(),
        promoted_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        policy: found(&policy("main-2")),
        ..Observed::default()
    }
}

/// Not selected yet.
fn waiting(policy: &Value, repository: Seen<Object<ImageRepository>>) -> Observed {
    Observed { policy: found(policy), repository, ..observed() }
}

fn of_automations(automations: &[Value]) -> Observed {
    Observed { automations: Seen::Found(automations.iter().map(object).collect()), ..observed() }
}

fn kustomization_named() -> FluxObject {
    FluxObject { kind: FluxKind::Kustomization, name: "apps".into() }
}

fn helm_release_named() -> FluxObject {
    FluxObject { kind: FluxKind::HelmRelease, name: "chart".into() }
}

/// Committed, with these to roll it out and the source as it is.
fn rolling(
    automation: &Value,
    source: &Value,
    appliers: Vec<(FluxObject, Seen<Object<Applier>>)>,
) -> Observed {
    Observed {
        sources: [("acme/fleet".to_owned(), found(source))].into(),
        appliers,
        ..of_automations(std::slice::from_ref(automation))
    }
}

fn by_kustomization(value: &Value) -> (FluxObject, Seen<Object<Applier>>) {
    (kustomization_named(), Seen::Found(object::<crate::flux::objects::Kustomization>(value).map(Into::into)))
}

fn by_helm_release(value: &Value) -> (FluxObject, Seen<Object<Applier>>) {
    (helm_release_named(), Seen::Found(object::<crate::flux::objects::HelmRelease>(value).map(Into::into)))
}

#[track_caller]
fn says(observed: &Observed, state: TargetState, words: &str) {
    let (is, message) = progress(observed);
    assert_eq!((is, message.as_str()), (state, words));
}

#[test]
fn what_is_not_selected_says_why() {
    let before = "2025-12-31T23:59:59Z";
    let after = "2026-01-01T00:00:01Z";
    let other = policy("main-1");
    let no_match = failing(other.clone(), "version list argument cannot be empty");
    let cases: [(Observed, &str); 10] = [
        (
            waiting(&other, Seen::Absent),
            "ImageRepository/app does not exist: create it, or correct imageRepositoryRef of the target",
        ),
        (waiting(&other, Seen::Unreadable("forbidden".into())), "forbidden"),
        (
            waiting(
                &other,
                found(&with(repository(after), "/spec/exclusionList", json!(["^nightly", "^main-"]))),
            ),
            "exclusionList of ImageRepository/app hides main-2: `^main-` matches it; correct the pattern",
        ),
        (
            waiting(&other, found(&suspended(repository(before)))),
            "ImageRepository/app is suspended, so main-2 is not found: resume it",
        ),
        (
            waiting(&other, found(&repository(before))),
            "image-reflector has not scanned ImageRepository/app since main-2 was promoted",
        ),
        (
            waiting(&other, found(&json!({"spec": {"image": "ghcr.io/acme/app"}, "status": {}}))),
            "image-reflector has not scanned ImageRepository/app since main-2 was promoted",
        ),
        (
            waiting(
                &other,
                found(&failing(
                    repository(before),
                    "read udp 10.0.0.1:4711->10.0.0.2:53: at 2026-01-01T00:00:00Z: i/o timeout",
                )),
            ),
            "image-reflector cannot scan ImageRepository/app: read udp 10.0.0.1…10.0.0.2:53: at …: i/o timeout",
        ),
        (
            waiting(&no_match, found(&repository(after))),
            "image-reflector has not selected main-2 for ImagePolicy/acme from ImageRepository/app: version list \
             argument cannot be empty",
        ),
        (
            waiting(&other, found(&repository(after))),
            "image-reflector has not selected main-2 for ImagePolicy/acme from ImageRepository/app: it has not looked \
             at it yet",
        ),
        (
            Observed { policy: Seen::Absent, ..observed() },
            "ImagePolicy/acme is gone; it is made anew at the next look",
        ),
    ];
    for (observed, words) in cases {
        says(&observed, TargetState::Applied, words);
    }
}

#[test]
fn a_policy_that_is_not_ready_for_its_generation_selects_nothing() {
    for stale in [
        with(policy("main-2"), "/status/observedGeneration", json!(2)),
        failing(policy("main-2"), "no match"),
        with(policy("main-2"), "/status/conditions", json!([])),
    ] {
        assert_eq!(progress(&waiting(&stale, Seen::Unread)).0, TargetState::Applied, "{stale}");
    }
}

#[test]
fn a_scan_is_asked_for_once_and_only_where_it_helps() {
    let asked = "2026-01-01T00:00:00Z";
    let behind = repository("2025-12-31T23:59:59Z");
    let annotated = |value: &str| {
        let annotations = json!({"annotations": {"reconcile.fluxcd.io/requestedAt": value}});
        with(behind.clone(), "/metadata", annotations)
    };
    let shown = with(behind.clone(), "/status/lastScanResult/latestTags", json!(["main-2"]));
    let cases = [
        (behind.clone(), true, "an old scan"),
        (json!({"spec": {}, "status": {}}), true, "no scan at all"),
        (repository("2026-01-01T00:00:00Z"), true, "a scan in the same second"),
        (repository("2026-01-01T00:00:01Z"), false, "a scan since"),
        (shown, false, "an old scan that shows the tag"),
        (suspended(behind.clone()), false, "suspended"),
        (annotated(asked), false, "asked by us"),
        (annotated("2026-01-01T00:00:03.5Z"), false, "asked by somebody since"),
        (annotated("2025-12-31T00:00:00Z"), true, "asked before"),
        (annotated("by hand"), true, "asked, nobody knows when"),
        (
            with(behind.clone(), "/metadata", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})),
            false,
            "deleting",
        ),
    ];
    for (repository, expected, case) in cases {
        let observed = waiting(&policy("main-1"), found(&repository));
        assert_eq!(to_be_scanned(&observed, asked).is_some(), expected, "{case}");
    }
    let selected = waiting(&policy("main-2"), found(&behind));
    assert!(to_be_scanned(&selected, asked).is_none(), "selected already");
}

#[test]
fn what_is_not_taken_says_why() {
    let other = with(automation(), "/status/observedPolicies/acme", json!({"tag": "main-1"}));
    let unaware = with(automation(), "/status/observedPolicies", json!({"else": {"tag": "main-2"}}));
    let narrow = with(unaware.clone(), "/spec/policySelector", json!({"matchLabels": {"team": "web"}}));
    let named = |observed: Observed| Observed { automation_name: Some("flux".into()), ..observed };
    let nobody = "no ImageUpdateAutomation of the namespace has taken it: is there a marker \
                  {\"$imagepolicy\": \"acme:acme:tag\"}, and does its policySelector match?";
    let cases: [(Observed, &str); 12] = [
        (of_automations(&[]), nobody),
        (of_automations(std::slice::from_ref(&unaware)), nobody),
        (of_automations(std::slice::from_ref(&narrow)), nobody),
        (
            of_automations(&[suspended(unaware.clone()), narrow.clone()]),
            "ImageUpdateAutomation/flux is suspended: resume it",
        ),
        (
            of_automations(&[failing(unaware.clone(), "failed to checkout source: no such branch")]),
            "ImageUpdateAutomation/flux failed: failed to checkout source: no such branch",
        ),
        (
            of_automations(std::slice::from_ref(&other)),
            "ImageUpdateAutomation/flux has not taken main-2 to Git yet",
        ),
        (
            of_automations(&[automation(), failing(other.clone(), "push: non-fast-forward")]),
            "ImageUpdateAutomation/flux failed: push: non-fast-forward",
        ),
        (
            named(Observed { automations: Seen::Absent, ..observed() }),
            "ImageUpdateAutomation/flux does not exist: create it, or correct imageUpdateAutomationRef of the target",
        ),
        (
            named(of_automations(&[suspended(other.clone())])),
            "ImageUpdateAutomation/flux is suspended: resume it",
        ),
        (
            named(of_automations(&[narrow])),
            "policySelector of ImageUpdateAutomation/flux does not match the labels of ImagePolicy/acme: widen it",
        ),
        (
            named(of_automations(std::slice::from_ref(&unaware))),
            "ImageUpdateAutomation/flux has not taken main-2 to Git yet",
        ),
        (Observed { automations: Seen::Unreadable("forbidden".into()), ..observed() }, "forbidden"),
    ];
    for (observed, words) in cases {
        says(&observed, TargetState::Selected, words);
    }
}

#[test]
fn what_is_in_git_names_the_commit() {
    let selecting =
        json!({"matchExpressions": [{"key": "tidegate.dev/set", "operator": "In", "values": ["acme"]}]});
    let pushed = "ImageUpdateAutomation/flux pushed 0123456789ab";
    says(&of_automations(&[automation()]), TargetState::Committed, pushed);
    says(
        &of_automations(&[with(automation(), "/spec/policySelector", selecting)]),
        TargetState::Committed,
        pushed,
    );
    let behind_but_suspended =
        suspended(with(automation(), "/status/observedPolicies/acme", json!({"tag": "main-1"})));
    says(&of_automations(&[automation(), behind_but_suspended]), TargetState::Committed, pushed);
    let idle = with(automation(), "/status/lastPushTime", json!("2025-12-31T00:00:00Z"));
    says(
        &of_automations(&[idle]),
        TargetState::Committed,
        "ImageUpdateAutomation/flux had nothing to push: Git holds main-2 already, or no file has the marker \
         {\"$imagepolicy\": \"acme:acme:tag\"}",
    );
}

#[test]
fn a_branch_of_its_own_is_to_be_merged() {
    let push = |branch: &str| with(automation(), "/spec/git", json!({"push": {"branch": branch}}));
    let checkout = |branch: &str| {
        let git = json!({"checkout": {"ref": {"branch": branch}}, "push": {"branch": "releases"}});
        with(automation(), "/spec/git", git)
    };
    let of_source =
        |automation: &Value| rolling(automation, &source("main@sha1:1", "2026-01-01T00:00:00Z"), Vec::new());
    let merge = "pushed to branch releases as 0123456789ab: merge it";
    says(&of_source(&push("releases")), TargetState::AwaitingMerge, merge);
    says(&of_automations(&[checkout("main")]), TargetState::AwaitingMerge, merge);
    let pushed = "ImageUpdateAutomation/flux pushed 0123456789ab";
    says(&of_source(&push("main")), TargetState::Committed, pushed);
    says(&of_automations(&[checkout("releases")]), TargetState::Committed, pushed);
    let refspec = json!({"push": {"refspec": "refs/heads/main:refs/heads/copy"}});
    says(&of_automations(&[with(automation(), "/spec/git", refspec)]), TargetState::Committed, pushed);
    // What is not known is asked again: Committed might be the end.
    let (state, message) = progress(&of_automations(&[push("releases")]));
    assert_eq!(state, TargetState::Selected);
    assert!(
        message.contains("name the branch in spec.git.checkout.ref of ImageUpdateAutomation/flux"),
        "{message}"
    );

    // A merge that keeps the commit is seen; a squashed one cannot be told from any other commit.
    let merged = kustomization(&format!("main@sha1:{COMMIT}"));
    let squashed = kustomization(&format!("main@sha1:{OTHER}"));
    let later = source(&format!("main@sha1:{OTHER}"), "2026-01-02T00:00:00Z");
    let of = |applied: &Value| rolling(&push("releases"), &later, vec![by_kustomization(applied)]);
    says(&of(&merged), TargetState::RolledOut, "Kustomization/apps applied main-2");
    says(&of(&squashed), TargetState::AwaitingMerge, merge);
}

#[test]
fn rolled_out_is_what_reports_the_commit_or_a_later_one() {
    let applied = kustomization(&format!("main@sha1:{COMMIT}"));
    let ahead = kustomization(&format!("main@sha1:{OTHER}"));
    let other = format!("main@sha1:{OTHER}");
    let (before, within, after) = ("2026-01-01T00:00:04Z", "2026-01-01T00:01:05Z", "2026-01-01T00:01:06Z");
    let found_later = with(automation(), "/status/observedSourceRevision", json!(other));
    let by_tag = with(source(&other, after), "/spec/ref", json!({"branch": "main", "semver": ">=1"}));
    let patient = with(source(&other, after), "/spec/timeout", json!("2m30s"));
    let cases = [
        (automation(), source("main@sha1:1", before), applied, true, "the commit itself"),
        (automation(), source(&other, after), ahead.clone(), true, "fetched after the push"),
        (
            automation(),
            source(&other, within),
            ahead.clone(),
            false,
            "the fetch may have begun before the push",
        ),
        (automation(), source(&other, before), ahead.clone(), false, "fetched before the push"),
        (automation(), source("main@sha1:1", after), ahead.clone(), false, "not what the source has"),
        (automation(), by_tag, ahead.clone(), false, "the source follows no branch"),
        (automation(), patient, ahead.clone(), false, "a fetch may take longer there"),
        (
            found_later.clone(),
            source(&other, before),
            ahead.clone(),
            true,
            "the automation has seen that commit",
        ),
        (
            with(found_later, "/status/lastPushTime", json!("2025-12-31T00:00:00Z")),
            source(&other, before),
            ahead.clone(),
            true,
            "nothing had to be pushed",
        ),
        (automation(), source(&other, after), kustomization("main/0123"), false, "another revision"),
        (
            automation(),
            source(&other, after),
            kustomization(&format!("main/{COMMIT}")),
            true,
            "the older form",
        ),
    ];
    for (automation, source, applied, expected, case) in cases {
        let (state, message) = progress(&rolling(&automation, &source, vec![by_kustomization(&applied)]));
        let wanted = if expected { TargetState::RolledOut } else { TargetState::Committed };
        assert_eq!(state, wanted, "{case}: {message}");
    }
}

#[test]
fn what_has_not_rolled_out_says_why() {
    let old = kustomization("main@sha1:1");
    let stale = source("main@sha1:1", "2026-01-01T00:00:00Z");
    let of = |appliers| rolling(&automation(), &stale, appliers);
    let pushed = "ImageUpdateAutomation/flux pushed 0123456789ab; ";
    let cases = [
        (vec![by_kustomization(&old)], "Kustomization/apps has not applied 0123456789ab yet"),
        (vec![by_kustomization(&suspended(old.clone()))], "Kustomization/apps is suspended: resume it"),
        (
            vec![by_kustomization(&failing(old.clone(), "kustomize build failed"))],
            "Kustomization/apps failed: kustomize build failed",
        ),
        (
            vec![(kustomization_named(), Seen::Absent)],
            "Kustomization/apps does not exist: create it, or correct rolledOutBy of the target",
        ),
        (vec![(kustomization_named(), Seen::Unreadable("forbidden".into()))], "forbidden"),
        (
            vec![by_helm_release(&helm_release("0.1.0"))],
            "HelmRelease/chart is Ready and does not say of which commit: name the Kustomization that holds it in \
             rolledOutBy too",
        ),
        (
            vec![by_helm_release(&with(
                helm_release("0.1.0+0123456789ab"),
                "/metadata/generation",
                json!(3),
            ))],
            "HelmRelease/chart has not applied 0123456789ab yet",
        ),
    ];
    for (appliers, words) in cases {
        says(&of(appliers), TargetState::Committed, &format!("{pushed}{words}"));
    }
}

#[test]
fn a_helm_release_is_of_the_commit_by_its_version_or_by_the_kustomization_beside_it() {
    let stale = source("main@sha1:1", "2026-01-01T00:00:00Z");
    let of = |appliers| progress(&rolling(&automation(), &stale, appliers));
    let applied = kustomization(&format!("main@sha1:{COMMIT}"));
    let chart = by_helm_release(&helm_release("0.1.0+0123456789ab"));
    let (state, message) = of(vec![chart.clone()]);
    assert_eq!((state, message.as_str()), (TargetState::RolledOut, "HelmRelease/chart applied main-2"));
    let plain = by_helm_release(&helm_release("0.1.0"));
    let (state, message) = of(vec![by_kustomization(&applied), plain.clone()]);
    assert_eq!(
        (state, message.as_str()),
        (TargetState::RolledOut, "Kustomization/apps, HelmRelease/chart applied main-2")
    );
    assert_eq!(of(vec![by_kustomization(&kustomization("main@sha1:1")), plain]).0, TargetState::Committed);
    let other = by_helm_release(&helm_release("0.1.0+ffffffffffff"));
    assert_eq!(of(vec![other]).0, TargetState::Committed);
}

#[test]
fn the_end_depends_on_who_is_to_roll_it_out() {
    let named = [kustomization_named()];
    assert!(is_final(TargetState::RolledOut, &named) && is_final(TargetState::Committed, &[]));
    for state in [TargetState::Applied, TargetState::Selected, TargetState::AwaitingMerge, TargetState::Held]
    {
        assert!(!is_final(state, &[]) && !is_final(state, &named), "{}", state.word());
    }
    assert!(!is_final(TargetState::Committed, &named));
}

#[test]
fn what_changes_at_each_try_of_somebody_else_is_left_out() {
    let failed = |took: &str| {
        format!(
            "health check failed after {took}: timeout waiting for: [Deployment/acme/app status: 'InProgress']"
        )
    };
    assert_eq!(repeated(&failed("1m30.003241ms")), repeated(&failed("30.042157191s")));
    assert_eq!(
        repeated("dial tcp 10.0.0.1:41234->10.0.0.2:443 at 2026-01-01T00:00:00Z, v2 of 3 images"),
        "dial tcp 10.0.0.1…10.0.0.2:443 at …, v2 of 3 images"
    );
}
