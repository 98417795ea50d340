//! Every answer of the plan, for all kinds; the calls are tested against the embedded API.

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
    config_map_with(&[])
}

fn config_map_with(keys: &[(&str, &str)]) -> TargetKind {
    let keys = keys.iter().map(|(key, template)| ((*key).to_owned(), template.parse().unwrap()));
    TargetKind::ConfigMap { name: "acme-release".into(), keys: keys.collect() }
}

fn input_provider() -> TargetKind {
    TargetKind::ResourceSetInputProvider { name: "acme".into() }
}

/// One of each kind.
fn kinds() -> [TargetKind; 3] {
    [config_map_with(&[("values.yaml", "image: {app.image}\n")]), image_policy(), input_provider()]
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
fn an_absent_input_provider_is_created() {
    let Plan::Create(object) = judge(&input_provider(), &committed("v1.2.3", 7), None) else { panic!() };
    insta::assert_yaml_snapshot!(object);
}

#[test]
fn what_carries_the_release_is_not_written() {
    for kind in kinds() {
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
    for kind in kinds() {
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
    let hand_over = "hand it over delete it, or set its label tidegate.dev/set to acme and its annotation tidegate.dev/target to \
                     {\"set\":\"acme\",\"target\":\"flux\"}; else name another object here";
    let nobody = format!(
        "ConfigMap/acme-release exists and was not made by this ReleaseSet, so it is not touched: to {hand_over}"
    );
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
        assert_eq!(judge(&config_map(), &release, Some(&live)), Plan::Taken(nobody.clone()), "{live}");
    }
    let mark = r#"{"set":"other","target":"config","sequence":3}"#;
    let theirs = with_mark(with(ours.clone(), "/metadata/labels", mark::SET_LABEL, "other".into()), mark);
    let theirs = judge(&config_map(), &release, Some(&theirs));
    let whose = format!(
        "ConfigMap/acme-release exists and belongs to target config of ReleaseSet other, so it is not touched: remove that \
         target there, then to {hand_over}"
    );
    assert_eq!(theirs, Plan::Taken(whose));
    // What the words say works: with the two marks it is ours, and is written.
    let handed = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "metadata": {
        "name": "acme-release", "uid": "1", "resourceVersion": "2", "labels": {"tidegate.dev/set": "acme"},
        "annotations": {"tidegate.dev/target": r#"{"set":"acme","target":"flux"}"#},
    }});
    assert_eq!(updated(&config_map(), &release, &handed)["data"], ours["data"]);
}

#[test]
fn a_higher_sequence_is_not_moved_back() {
    let live = stored(&config_map(), &committed("v9", 9));
    assert_eq!(
        judge(&config_map(), &committed("v8", 8), Some(&live)),
        Plan::Ahead { sequence: 9, tag: "v9".into() }
    );
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
fn a_mark_that_nobody_can_have_committed_is_put_back() {
    let release = committed("v1", 1);
    let live = stored(&config_map(), &release);
    for nonsense in ["9223372036854775807", "9007199254740992", "-1", "1.5", "\"7\"", "null", "[]"] {
        let mark = format!(r#"{{"set":"acme","target":"flux","sequence":{nonsense}}}"#);
        let edited = with_mark(live.clone(), &mark);
        assert_eq!(updated(&config_map(), &release, &edited), live, "{nonsense}");
    }
}

#[test]
fn keys_are_rendered_with_the_rest() {
    let kind =
        config_map_with(&[("values.yaml", "image: {app.image}\nn: {sequence}\n"), ("TAG", "{web-ui.tag}")]);
    let data = stored(&kind, &committed("v1", 7))["data"].clone();
    let digest = "aa".repeat(32);
    assert_eq!(data["values.yaml"], format!("image: ghcr.io/acme/app:v1@sha256:{digest}\nn: 7\n"));
    assert_eq!((&data["TAG"], &data["RELEASE_TAG"]), (&json!("v1"), &json!("v1")));
    // A key that left the spec goes, and one that came is there, in one write.
    let live = stored(&kind, &committed("v1", 7));
    let after = updated(&config_map_with(&[("NEW", "{tag}")]), &committed("v1", 7), &live);
    let keys: Vec<_> = after["data"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["APP_IMAGE", "NEW", "RELEASE_SEQUENCE", "RELEASE_TAG", "WEB_UI_IMAGE"]);
}

#[test]
fn a_key_of_an_image_that_the_release_does_not_hold_is_never_a_blend() {
    let before = config_map_with(&[("values.yaml", "app: {app.tag}")]);
    let after =
        config_map_with(&[("values.yaml", "app: {app.tag}, new: {embeddings.tag}"), ("TAG", "{tag}")]);
    // The object holds this very release: the key stays as it was rendered for it, the rest follows.
    let live = stored(&before, &committed("v1", 7));
    let wanted = updated(&after, &committed("v1", 7), &live);
    assert_eq!((&wanted["data"]["values.yaml"], &wanted["data"]["TAG"]), (&json!("app: v1"), &json!("v1")));
    assert_eq!(judge(&after, &committed("v1", 7), Some(&wanted)), Plan::InStep);
    let (state, words) = settled(Plan::InStep, &after, &committed("v1", 7));
    assert_eq!(state, TargetState::Applied);
    assert_eq!(
        words,
        "carries v1 (sequence 7); key values.yaml waits for a release that holds image embeddings"
    );
    // Of another release it would be a blend, and an absent object would be a half one: neither is written.
    let why =
        "key values.yaml waits for a release that holds image embeddings; it is left as it is until then";
    for live in [Some(stored(&before, &committed("v0", 6))), None] {
        assert_eq!(judge(&after, &committed("v1", 7), live.as_ref()), Plan::Unwritable(why.into()));
    }
}

#[test]
fn rendered_data_have_a_limit() {
    let template = "{app.image}".repeat(370);
    let keys: Vec<(String, &str)> = (0..32).map(|n| (format!("K{n}"), template.as_str())).collect();
    let keys: Vec<(&str, &str)> = keys.iter().map(|(key, template)| (key.as_str(), *template)).collect();
    assert!(matches!(judge(&config_map_with(&keys[..10]), &committed("v1", 1), None), Plan::Create(_)));
    let Plan::Unwritable(why) = judge(&config_map_with(&keys), &committed("v1", 1), None) else { panic!() };
    assert!(why.starts_with("its keys have more than 524288 bytes with key K"), "{why}");
    assert!(why.ends_with("shorten the templates, or split them over two targets"), "{why}");
}

#[test]
fn a_release_without_images_is_written_nowhere() {
    let mut promoted = committed("v1", 1).promoted().clone();
    promoted.release.images.clear();
    for kind in kinds() {
        let plan = judge(&kind, &Committed::read_back(promoted.clone()), None);
        assert!(matches!(plan, Plan::Unwritable(_)), "{plan:?}");
    }
}

#[test]
fn only_the_set_that_is_acted_for_is_written_for() {
    struct Nobody;
    impl LiveSet for Nobody {
        fn read(&self) -> BoxFuture<'_, Result<Option<SetState>, CallError>> {
            Box::pin(async { Ok(None) })
        }
    }
    let (set, release) = (set(), committed("v1", 7));
    let owner = Owner { set: &set, generation: 2, live: &Nobody };
    let live = |uid: &str, generation, deleting, sequence| {
        Some(SetState { uid: uid.into(), generation, deleting, suspended: false, sequence })
    };
    let judge = |state| owner.still_committed(&release, state).map(|state| state.uid);
    assert_eq!(judge(live("uid-1", 2, false, Some(7))), Ok("uid-1".into()));
    assert_eq!(judge(None), Err(Stopped::Deleting));
    assert_eq!(judge(live("uid-1", 3, true, Some(7))), Err(Stopped::Deleting));
    assert_eq!(judge(live("uid-2", 2, false, Some(7))), Err(Stopped::Replaced));
    assert_eq!(judge(live("uid-1", 3, false, Some(7))), Err(Stopped::Edited));
    for other in [None, Some(6), Some(8)] {
        let stopped = Err(Stopped::Moved { ours: 7, live: other });
        assert_eq!(judge(live("uid-1", 2, false, other)), stopped);
    }
}
