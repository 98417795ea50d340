//! Every answer of the plan, for both kinds; the calls are tested against the embedded API.

use serde_json::{Value, json};

use super::*;
use crate::model::{Promoted, Release, ReleaseImage};

fn set() -> SetName {
    SetName { namespace: "acme".into(), name: "acme".into(), uid: "uid-1".into() }
}

fn committed(tag: &str, sequence: i64) -> Committed {
    let image = |name: &str, repository: &str, digest: &str| ReleaseImage {
        name: name.parse().unwrap(),
        repository: repository.parse().unwrap(),
        tag: tag.parse().unwrap(),
        digest: format!("sha256:{}", digest.repeat(32)).parse().unwrap(),
        platforms: Vec::new(),
    };
    let images = vec![image("app", "ghcr.io/acme/app", "aa"), image("web-ui", "acme/web", "bb")];
    Committed::read_back(Promoted {
        release: Release { tag: tag.parse().unwrap(), images, revision: None },
        sequence,
        at: jiff::Timestamp::UNIX_EPOCH,
        generation: 1,
    })
}

fn config_map() -> TargetKind {
    TargetKind::ConfigMap { name: "acme-release".into(), keys: std::collections::BTreeMap::new() }
}

fn image_policy() -> TargetKind {
    TargetKind::ImagePolicy {
        name: "acme".into(),
        image_repository: "app".into(),
        image_update_automation: None,
        rolled_out_by: Vec::new(),
    }
}

fn judge(kind: &TargetKind, committed: &Committed, live: Option<&Value>) -> Plan {
    let live: Option<DynamicObject> = live.map(|live| serde_json::from_value(live.clone()).unwrap());
    plan(&set(), &"flux".parse().unwrap(), kind, committed, live.as_ref())
}

/// The object that a POST would make, as the API server would then show it.
fn stored(kind: &TargetKind, committed: &Committed) -> Value {
    let Plan::Create(object) = judge(kind, committed, None) else { panic!("absent is created") };
    let mut object = serde_json::to_value(object).unwrap();
    object["metadata"]["uid"] = "uid-of-the-target".into();
    object["metadata"]["resourceVersion"] = "41".into();
    object
}

fn updated(kind: &TargetKind, committed: &Committed, live: &Value) -> Value {
    match judge(kind, committed, Some(live)) {
        Plan::Update(object) => serde_json::to_value(object).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn with(mut object: Value, pointer: &str, key: &str, value: Value) -> Value {
    object.pointer_mut(pointer).unwrap()[key] = value;
    object
}

const MARK: &str = "/metadata/annotations";

fn with_mark(object: Value, mark: &str) -> Value {
    with(object, MARK, mark::TARGET_ANNOTATION, mark.into())
}

#[test]
fn an_absent_config_map_is_created() {
    let Plan::Create(object) = judge(&config_map(), &committed("v1.2.3", 7), None) else { panic!() };
    insta::assert_yaml_snapshot!(object);
}

#[test]
fn an_absent_image_policy_is_created() {
    let Plan::Create(object) = judge(&image_policy(), &committed("v1.2.3", 7), None) else { panic!() };
    insta::assert_yaml_snapshot!(object);
}

#[test]
fn what_carries_the_release_is_not_written() {
    for kind in [config_map(), image_policy()] {
        let release = committed("v1.2.3", 7);
        let live = stored(&kind, &release);
        assert_eq!(judge(&kind, &release, Some(&live)), Plan::InStep);
        // What others add beside ours is theirs.
        let live = with(live, "/metadata/labels", "team", "web".into());
        let live = with(live, MARK, "note", "theirs".into());
        let live = with(live, "", "status", json!({"latestRef": {"tag": "v1.2.3"}}));
        assert_eq!(judge(&kind, &release, Some(&live)), Plan::InStep);
    }
}

#[test]
fn a_newer_release_is_put_over_the_read_object() {
    for kind in [config_map(), image_policy()] {
        let live = stored(&kind, &committed("v1.2.3", 7));
        let live = with(live, "/metadata/labels", "team", "web".into());
        let wanted = updated(&kind, &committed("v1.2.4", 8), &live);
        assert_eq!(wanted["metadata"]["uid"], "uid-of-the-target");
        assert_eq!(wanted["metadata"]["resourceVersion"], "41");
        assert_eq!(wanted["metadata"]["labels"]["team"], "web");
        assert_eq!(judge(&kind, &committed("v1.2.4", 8), Some(&wanted)), Plan::InStep);
    }
}

#[test]
fn drift_is_put_back() {
    let release = committed("v1.2.3", 7);
    let map = stored(&config_map(), &release);
    let drifted = [
        with(map.clone(), "/data", "APP_IMAGE", "app:other".into()),
        with(map.clone(), "/data", "OLD_IMAGE", "of an image that left the set".into()),
        with(map.clone(), "", "data", Value::Null),
        with(map.clone(), "", "binaryData", json!({"RELEASE_NOTES": "AA=="})),
        with(map.clone(), "/metadata/labels", "reconcile.fluxcd.io/watch", "Disabled".into()),
        // A record that was edited counts for nothing but whose it is.
        with_mark(map.clone(), r#"{"set":"acme","target":"flux","sequence":"9999","digests":[]}"#),
        with_mark(map.clone(), r#"{"set":"acme","target":"flux","by":"a later version"}"#),
    ];
    for live in drifted {
        assert_eq!(updated(&config_map(), &release, &live), map);
    }
    let policy = stored(&image_policy(), &release);
    let drifted = [
        with(policy.clone(), "/spec", "digestReflectionPolicy", "Always".into()),
        with(policy.clone(), "/spec", "suspend", true.into()),
        with(policy.clone(), "/spec/filterTags", "pattern", ".*".into()),
    ];
    for live in drifted {
        assert_eq!(updated(&image_policy(), &release, &live), policy);
    }
}

#[test]
fn what_is_not_exactly_ours_is_not_touched() {
    let release = committed("v1.2.3", 7);
    let ours = stored(&config_map(), &release);
    let nobody = "ConfigMap/acme-release exists and was not made by this ReleaseSet, so it is not touched: delete it \
                  to hand it over, or give the target another name";
    let mut unlabelled = ours.clone();
    unlabelled["metadata"]["labels"] = Value::Null;
    let mut unmarked = ours.clone();
    unmarked["metadata"]["annotations"] = Value::Null;
    let foreign = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "acme-release"}, "data": {"a": "b"}}),
        unlabelled,
        unmarked,
        with_mark(ours.clone(), "not JSON"),
        with(ours.clone(), "/metadata/labels", mark::SET_LABEL, "another".into()),
        with_mark(ours.clone(), r#"{"set":"another","target":"flux"}"#),
    ];
    for live in foreign {
        assert_eq!(judge(&config_map(), &release, Some(&live)), Plan::Taken(nobody.into()), "{live}");
    }
    let theirs = with_mark(ours, r#"{"set":"acme","target":"config","sequence":3}"#);
    let Plan::Taken(why) = judge(&config_map(), &release, Some(&theirs)) else { panic!() };
    assert!(why.contains("belongs to target config of ReleaseSet acme"), "{why}");
}

#[test]
fn a_higher_sequence_is_not_moved_back() {
    let live = stored(&config_map(), &committed("v9", 9));
    assert_eq!(judge(&config_map(), &committed("v8", 8), Some(&live)), Plan::Ahead(9));
    // The same sequence with another content is drift.
    assert!(matches!(judge(&config_map(), &committed("v8", 9), Some(&live)), Plan::Update(_)));
}

#[test]
fn what_is_being_deleted_is_waited_for() {
    let release = committed("v1", 1);
    let live = stored(&image_policy(), &release);
    let live = with(live, "/metadata", "deletionTimestamp", "2026-01-02T03:04:05Z".into());
    assert_eq!(judge(&image_policy(), &release, Some(&live)), Plan::Leaving);
}

#[test]
fn only_the_set_that_is_acted_for_is_written_for() {
    let live = |uid: &str, deleting, sequence| {
        Some(SetState { uid: uid.into(), deleting, suspended: false, sequence })
    };
    let judge = |state| still_ours(&set(), &committed("v1", 7), state).map(|state| state.uid);
    assert_eq!(judge(live("uid-1", false, Some(7))), Ok("uid-1".into()));
    assert_eq!(judge(None), Err(Stopped::Deleting));
    assert_eq!(judge(live("uid-1", true, Some(7))), Err(Stopped::Deleting));
    assert_eq!(judge(live("uid-2", false, Some(7))), Err(Stopped::Replaced));
    for other in [None, Some(6), Some(8)] {
        assert_eq!(judge(live("uid-1", false, other)), Err(Stopped::Moved { ours: 7, live: other }));
    }
}
