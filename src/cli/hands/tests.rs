//! What each change shows and writes, from one read of a set. Pure.

use serde_json::{Value, json};

use super::pin::{pinning, unpinning};
use super::skip::{dismissal, taking_back};
use super::suspend::{resumption, suspension};
use super::*;

const PLACE: Place<'_> = Place { namespace: "acme", name: "shop", program: "tidegate" };

/// A set of which `main-7` was promoted, followed by `main-8`, with what `change` makes of it.
fn found(change: impl FnOnce(&mut Value)) -> Found {
    let mut set = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ReleaseSet",
        "metadata": {"namespace": "acme", "name": "shop", "generation": 2, "resourceVersion": "7"},
        "spec": {
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {}}
            },
            "gates": [
                {"name": "app-boots", "smoke": {"image": "app"}},
                {"name": "same-commit", "advisory": true, "sameRevision": {"key": "k"}}
            ],
        },
        "status": {
            "observedGeneration": 2,
            "promoted": {"tag": "main-7", "sequence": 3, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []},
            "floor": {"tag": "main-7", "key": "7"},
            "candidates": [{"tag": "main-8", "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z"}]
        },
    });
    change(&mut set);
    Found::new(serde_json::from_value(set).unwrap()).unwrap()
}

fn rolled_back(set: &mut Value) {
    set["spec"]["pin"] = "main-5".into();
    set["status"]["promoted"]["tag"] = "main-5".into();
    set["status"]["promoted"]["sequence"] = 4.into();
}

fn managed(set: &mut Value, manager: &str, operation: &str, spec: &Value) {
    set["metadata"]["managedFields"] = json!([{
        "manager": manager, "operation": operation, "apiVersion": "tidegate.dev/v1alpha1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": spec}
    }]);
}

/// A headline, what is shown, what is written.
fn told(title: &str, change: &Change) -> String {
    let patch = change.patch.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    format!(
        "## {title}\n{}writes: {patch}\nevent: {} {}\n\n",
        change.text, change.deed.reason, change.deed.what
    )
}

#[test]
fn suspending_says_what_stops() {
    let suspended = |set: &mut Value| set["spec"]["suspend"] = true.into();
    let text = [
        told("suspend", &suspension(&found(|_| {}), &PLACE)),
        told("suspend again", &suspension(&found(suspended), &PLACE)),
        told(
            "suspend before the first release",
            &suspension(&found(|set| set["status"] = Value::Null), &PLACE),
        ),
        told(
            "suspend, held by Git",
            &suspension(
                &found(|set| {
                    set["spec"]["suspend"] = false.into();
                    managed(set, "kustomize-controller", "Apply", &json!({"f:suspend": {}}));
                }),
                &PLACE,
            ),
        ),
        told(
            "suspended by kubectl",
            &suspension(
                &found(|set| {
                    suspended(set);
                    managed(set, "kubectl-patch", "Update", &json!({"f:suspend": {}}));
                }),
                &PLACE,
            ),
        ),
        told("resume", &resumption(&found(suspended), &PLACE)),
        told(
            "resume a pinned set",
            &resumption(
                &found(|set| {
                    suspended(set);
                    set["spec"]["pin"] = "main-7".into();
                }),
                &PLACE,
            ),
        ),
        told("resume what runs", &resumption(&found(|_| {}), &PLACE)),
    ];
    insta::assert_snapshot!("suspend", text.concat());
}

#[test]
fn pinning_says_whether_it_goes_back() {
    let pin =
        |title: &str, tag: &str, change: fn(&mut Value)| told(title, &pinning(&found(change), tag, &PLACE));
    let text = [
        pin("older", "main-5", |_| {}),
        pin("newer", "main-8", |_| {}),
        pin("what is promoted", "main-7", |_| {}),
        pin("no candidate", "hotfix-1", |_| {}),
        pin("another pin", "main-6", rolled_back),
        pin("what was rolled back from", "main-7", rolled_back),
        pin("the same pin", "main-5", rolled_back),
        pin("before the first release, without gates, dismissed, suspended", "main-5", |set| {
            set["status"] = Value::Null;
            set["spec"]["gates"] = json!([]);
            set["spec"]["skip"] = json!(["main-5"]);
            set["spec"]["suspend"] = true.into();
        }),
        pin("in the order of an ImagePolicy, promoted before", "main-5", |set| {
            set["spec"]["candidates"] = json!({"policyRef": {"name": "app"}});
            set["status"]["history"] = json!([
                {"tag": "main-7", "sequence": 3, "at": "2026-01-01T00:00:00Z"},
                {"tag": "main-5", "sequence": 2, "at": "2026-01-01T00:00:00Z"}
            ]);
        }),
        pin("held by Git", "main-5", |set| {
            set["spec"]["pin"] = "main-7".into();
            managed(set, "kustomize-controller", "Apply", &json!({"f:pin": {}}));
        }),
    ];
    insta::assert_snapshot!("pin", text.concat());
}

#[test]
fn unpinning_says_what_stays_away() {
    let unpin = |title: &str, change: fn(&mut Value)| told(title, &unpinning(&found(change), &PLACE));
    let text = [
        unpin("after a roll-back", rolled_back),
        unpin("before the pin was promoted", |set| set["spec"]["pin"] = "main-5".into()),
        unpin("of what is promoted", |set| set["spec"]["pin"] = "main-7".into()),
        unpin("with a floor that has no place", |set| {
            set["spec"]["pin"] = "hotfix-1".into();
            set["status"]["promoted"]["tag"] = "hotfix-1".into();
            set["status"]["floor"] = json!({"tag": "v7", "key": ""});
        }),
        unpin("of nothing", |_| {}),
    ];
    insta::assert_snapshot!("unpin", text.concat());
}

#[test]
fn skipping_says_which_candidate_is_dismissed() {
    let skip = |title: &str, tags: &[&str], change: fn(&mut Value)| {
        told(title, &dismissal(&found(change), tags, &PLACE).unwrap())
    };
    let back = |title: &str, tags: &[&str], change: fn(&mut Value)| {
        told(title, &taking_back(&found(change), tags, &PLACE))
    };
    let some: fn(&mut Value) = |set| set["spec"]["skip"] = json!(["main-6", "main-8"]);
    let text = [
        skip(
            "a candidate, the promoted one and others",
            &["main-8", "main-7", "main-6", "main-9", "x"],
            |_| {},
        ),
        skip("one more", &["main-8", "main-9"], some),
        skip("again", &["main-8"], some),
        skip("the pin", &["main-6"], |set| set["spec"]["pin"] = "main-6".into()),
        back("take back", &["main-8", "main-6", "main-9"], some),
        back("take one back", &["main-6"], some),
        back("take back what is not there", &["main-9"], some),
        back("take back what Git holds", &["main-8"], |set| {
            set["spec"]["skip"] = json!(["main-6", "main-8"]);
            managed(set, "kustomize-controller", "Apply", &json!({"f:skip": {"v:\"main-8\"": {}}}));
        }),
    ];
    insta::assert_snapshot!("skip", text.concat());
}

/// Of a full list those go that the floor keeps away; one that is needed never does.
#[test]
fn a_full_list_makes_room_only_where_nothing_comes_back() {
    let list = |from: usize| (from..from + 16).map(|n| format!("main-{n}")).collect::<Vec<_>>();
    let with = |tags: Vec<String>| found(|set| set["spec"]["skip"] = json!(tags));
    let change = dismissal(&with(list(6)), &["main-30", "main-31"], &PLACE).unwrap();
    let kept = change.patch.unwrap()["spec"]["skip"].clone();
    let kept: Vec<&str> = kept.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!((kept.len(), kept[0], kept[15]), (16, "main-8", "main-31"));
    assert!(change.text.contains("main-6: taken from the list to make room"), "{}", change.text);
    let error = dismissal(&with(list(6)), &["main-30", "main-31", "main-32"], &PLACE).unwrap_err();
    assert!(error.to_string().contains("it holds 16: main-6, main-7"), "{error}");
    let of_git = found(|set| {
        set["spec"]["skip"] = json!(list(7));
        managed(set, "kustomize-controller", "Apply", &json!({"f:skip": {"v:\"main-7\"": {}}}));
    });
    assert!(dismissal(&of_git, &["main-30"], &PLACE).is_err());
}
