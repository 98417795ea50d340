use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, LogParams, Patch,
        PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
    },
    runtime::watcher,
};
use serde_json::json;

use super::*;

/// A kind with a status subresource, defaults, bounds and a promoted release, as the product's own has.
fn widgets_crd() -> Value {
    let promoted = json!({"type": "object", "required": ["tag", "sequence"], "properties": {
        "tag": {"type": "string"}, "sequence": {"type": "integer"}}});
    let schema = json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "parts": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                    "weight": {"type": "integer", "default": 7}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        "status": {"type": "object", "default": {"observedGeneration": -1}, "properties": {
            "observedGeneration": {"type": "integer", "default": -1}, "note": {"type": "string"}, "promoted": promoted}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}]}})
}

fn server() -> ApiServer {
    let server = ApiServer::new(Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap()));
    server.register_crd(widgets_crd()).unwrap();
    server.add_rule("example.com", "widgets", "status", Arc::new(rules::promoted_never_goes_back));
    server
}

fn widgets(server: &ApiServer) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("example.com", "v1", "Widget");
    Api::namespaced_with(
        server.client("test", "default"),
        "default",
        &ApiResource::from_gvk_with_plural(&kind, "widgets"),
    )
}

fn config_maps(server: &ApiServer) -> Api<ConfigMap> {
    Api::namespaced(server.client("test", "default"), "default")
}

fn widget(name: &str, body: &Value) -> DynamicObject {
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}});
    object.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

fn config_map(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data: BTreeMap<_, _> =
        data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut object = ConfigMap { data: Some(data), ..ConfigMap::default() };
    object.metadata.name = Some(name.to_owned());
    object
}

fn post() -> PostParams {
    PostParams::default()
}

/// (code, reason, message) of a refusal.
fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> (u16, String, String) {
    match answer.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason, status.message),
        other => panic!("not a Status: {other}"),
    }
}

fn code<T: std::fmt::Debug>(answer: kube::Result<T>) -> (u16, String) {
    let (code, reason, _) = refusal(answer);
    (code, reason)
}

fn coded(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn every_verb_works_through_a_typed_client() {
    let server = server();
    let maps = config_maps(&server);
    let created = maps.create(&post(), &config_map("one", &[("a", "1")])).await.unwrap();
    assert!(created.uid().is_some() && created.creation_timestamp().is_some());
    assert_eq!(created.namespace().as_deref(), Some("default"));
    let mut read = maps.get("one").await.unwrap();
    assert_eq!(read, created);
    read.data = Some([("a".to_owned(), "2".to_owned())].into());
    read.labels_mut().insert("team".to_owned(), "blue".to_owned());
    let replaced = maps.replace("one", &post(), &read).await.unwrap();
    assert!(
        replaced.resource_version().unwrap().parse::<u64>().unwrap()
            > created.resource_version().unwrap().parse().unwrap()
    );
    let patch = Patch::Merge(json!({"data": {"a": null, "b": "3"}}));
    let patched = maps.patch("one", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.data.unwrap(), [("b".to_owned(), "3".to_owned())].into());
    maps.create(&post(), &config_map("two", &[])).await.unwrap();
    for (selector, names) in [
        ("team=blue", vec!["one"]),
        ("team!=blue", vec!["two"]),
        ("!team", vec!["two"]),
        ("team", vec!["one"]),
        ("team in (red,blue),team!=red", vec!["one"]),
        ("team notin (blue)", vec!["two"]),
        ("", vec!["one", "two"]),
    ] {
        let list = maps.list(&ListParams::default().labels(selector)).await.unwrap();
        assert_eq!(list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), names, "{selector}");
        assert_eq!(list.metadata.resource_version, Some(server.revision().to_string()));
    }
    let named = maps.list(&ListParams::default().fields("metadata.name=two")).await.unwrap();
    assert_eq!(named.items.len(), 1);
    assert!(maps.delete("one", &DeleteParams::default()).await.unwrap().is_right());
    assert_eq!(
        refusal(maps.get("one").await),
        (404, "NotFound".to_owned(), "configmaps \"one\" not found".to_owned())
    );
    assert_eq!(maps.get_opt("one").await.unwrap(), None);
    let meta = maps.get_metadata("two").await.unwrap();
    assert_eq!(meta.name_any(), "two");
}

#[tokio::test]
async fn create_refuses_what_exists_and_what_has_no_name() {
    let server = server();
    let maps = config_maps(&server);
    maps.create(&post(), &config_map("one", &[])).await.unwrap();
    let again = maps.create(&post(), &config_map("one", &[])).await;
    assert_eq!(
        refusal(again),
        (409, "AlreadyExists".to_owned(), "configmaps \"one\" already exists".to_owned())
    );
    let mut nameless = config_map("", &[]);
    nameless.metadata.name = None;
    assert_eq!(code(maps.create(&post(), &nameless).await), coded(422, "Invalid"));
    nameless.metadata.generate_name = Some("made-".to_owned());
    let (first, second) =
        (maps.create(&post(), &nameless).await.unwrap(), maps.create(&post(), &nameless).await.unwrap());
    assert!(first.name_any().starts_with("made-") && first.name_any().len() == 10);
    assert_ne!(first.name_any(), second.name_any());
    assert_ne!(first.uid(), second.uid());
    assert_eq!(code(maps.create(&post(), &config_map("Not_DNS", &[])).await), coded(422, "Invalid"));
    let mut labelled = config_map("labelled", &[]);
    for wrong in ["x y", "-x", "x.", &"x".repeat(64)] {
        labelled.labels_mut().insert("team".to_owned(), wrong.to_owned());
        assert_eq!(code(maps.create(&post(), &labelled).await), coded(422, "Invalid"), "{wrong}");
    }
    let mut elsewhere = config_map("two", &[]);
    elsewhere.metadata.namespace = Some("other".to_owned());
    assert_eq!(code(maps.create(&post(), &elsewhere).await), coded(400, "BadRequest"));
}

#[tokio::test]
async fn put_demands_the_read_it_derives_from() {
    let server = server();
    let (maps, widgets) = (config_maps(&server), widgets(&server));
    let first = widgets.create(&post(), &widget("w", &json!({"spec": {"size": 1}}))).await.unwrap();
    for status_only in [false, true] {
        let put = async |object: &DynamicObject| {
            if status_only {
                widgets.replace_status(&object.name_any(), &post(), object).await
            } else {
                widgets.replace(&object.name_any(), &post(), object).await
            }
        };
        let mut object = widgets.get("w").await.unwrap();
        object.metadata.resource_version = None;
        let message = "widgets.example.com \"w\" is invalid: metadata.resourceVersion: Invalid value: 0: must be \
            specified for an update";
        assert_eq!(refusal(put(&object).await), (422, "Invalid".to_owned(), message.to_owned()));
        object.metadata.resource_version = Some("1".to_owned());
        let message = "Operation cannot be fulfilled on widgets.example.com \"w\": the object has been modified; please \
            apply your changes to the latest version and try again";
        assert_eq!(refusal(put(&object).await), (409, "Conflict".to_owned(), message.to_owned()));
        object.metadata.resource_version = first.resource_version();
        object.metadata.uid = Some("somebody-else".to_owned());
        assert_eq!(code(put(&object).await), coded(409, "Conflict"));
        object.metadata.name = Some("absent".to_owned());
        assert_eq!(code(put(&object).await), coded(404, "NotFound"));
    }
    assert_eq!(widgets.get("w").await.unwrap(), first);
    // Most built-in kinds take a PUT without a resourceVersion; a stale one is refused all the same.
    maps.create(&post(), &config_map("one", &[])).await.unwrap();
    let mut written = maps.replace("one", &post(), &config_map("one", &[("a", "1")])).await.unwrap();
    written.metadata.resource_version = Some("1".to_owned());
    assert_eq!(code(maps.replace("one", &post(), &written).await), coded(409, "Conflict"));
    let patch = Patch::Merge(json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "2"}}));
    assert_eq!(code(maps.patch("one", &PatchParams::default(), &patch).await), coded(409, "Conflict"));
    assert_eq!(code(maps.patch("none", &PatchParams::default(), &patch).await), coded(404, "NotFound"));
    assert_eq!(code(maps.replace("other", &post(), &written).await), coded(400, "BadRequest"));
}

#[tokio::test]
async fn status_and_the_rest_have_a_path_each() {
    let server = server();
    let widgets = widgets(&server);
    let body = json!({"spec": {"size": 1}, "status": {"note": "ignored"}});
    let mut object = widgets.create(&post(), &widget("w", &body)).await.unwrap();
    assert_eq!(
        object.data["status"],
        json!({"observedGeneration": -1}),
        "a fresh object never looks observed"
    );
    assert_eq!(object.metadata.generation, Some(1));

    object.data["status"]["note"] = "seen".into();
    object.data["spec"]["size"] = 2.into();
    object.labels_mut().insert("team".to_owned(), "blue".to_owned());
    let after = widgets.replace_status("w", &post(), &object).await.unwrap();
    assert_eq!(after.data["status"]["note"], "seen");
    assert_eq!(
        (&after.data["spec"]["size"], after.labels().len(), after.metadata.generation),
        (&json!(1), 0, Some(1))
    );

    let mut object = after.clone();
    object.data["status"]["note"] = "not from here".into();
    object.data["spec"]["size"] = 3.into();
    let after = widgets.replace("w", &post(), &object).await.unwrap();
    assert_eq!((&after.data["status"]["note"], after.metadata.generation), (&json!("seen"), Some(2)));
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"team": "blue"}}, "status": {"note": "no"}}));
    let after = widgets.patch("w", &PatchParams::default(), &labelled).await.unwrap();
    assert_eq!((&after.data["status"]["note"], after.metadata.generation), (&json!("seen"), Some(2)));
    let noted = Patch::Merge(json!({"spec": {"size": 9}, "status": {"note": "patched"}}));
    let after = widgets.patch_status("w", &PatchParams::default(), &noted).await.unwrap();
    assert_eq!((&after.data["status"]["note"], &after.data["spec"]["size"]), (&json!("patched"), &json!(3)));
    assert_eq!(widgets.get_status("w").await.unwrap(), after);

    let revision = server.revision();
    assert_eq!(widgets.replace("w", &post(), &after).await.unwrap(), after);
    assert_eq!(widgets.replace_status("w", &post(), &after).await.unwrap(), after);
    assert_eq!(server.revision(), revision, "a write that changes nothing makes no revision");
    assert!(config_maps(&server).get_opt("x").await.unwrap().is_none());
    let no_status = Api::<ConfigMap>::namespaced(server.client("test", "default"), "default");
    assert_eq!(
        code(no_status.patch_status("w", &PatchParams::default(), &noted).await),
        coded(404, "NotFound")
    );
}

#[tokio::test]
async fn custom_resources_are_defaulted_pruned_and_validated() {
    let server = server();
    let widgets = widgets(&server);
    let spec =
        json!({"size": 3, "unknown": 1, "free": {"any": {"thing": [1]}}, "parts": [{"name": "a", "x": 1}]});
    let made = widgets.create(&post(), &widget("w", &json!({"spec": spec, "other": 1}))).await.unwrap();
    let expected = json!({"size": 3, "colour": "red", "free": {"any": {"thing": [1]}},
        "parts": [{"name": "a", "weight": 7}]});
    assert_eq!((&made.data["spec"], made.data.get("other")), (&expected, None));

    let strict = PatchParams::default().validation_strict();
    let (code, _, message) = refusal(widgets.patch("w", &strict, &Patch::Merge(json!({"spec": spec}))).await);
    let unknown = "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: \
        unknown field \"spec.parts[0].x\", unknown field \"spec.unknown\"";
    assert_eq!((code, message.as_str()), (400, unknown));

    for (spec, wanted) in [
        (json!({}), "spec.size: Required value"),
        (
            json!({"size": "big"}),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        (
            json!({"size": 0}),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            json!({"size": 11}),
            "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10",
        ),
        (
            json!({"size": 1, "colour": "green"}),
            "spec.colour: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
        ),
        (
            json!({"size": 1, "parts": [{"name": "A"}]}),
            "spec.parts[0].name: Invalid value: \"A\": spec.parts[0].name in body should match '^[a-z]+$'",
        ),
        (
            json!({"size": 1, "parts": [{"name": "abcdef"}]}),
            "spec.parts[0].name: Too long: may not be more than 5 bytes",
        ),
        (
            json!({"size": 1, "parts": [{"name": "a"}, {"name": "a"}]}),
            "spec.parts[1]: Duplicate value: {\"name\":\"a\"}",
        ),
        (
            json!({"size": 1, "parts": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            "spec.parts: Too many: 3: must have at most 2 items",
        ),
        (
            json!({"size": 0, "colour": "green"}),
            "[spec.colour: Unsupported value: \"green\": supported values: \"red\", \
            \"blue\", spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1]",
        ),
    ] {
        let answer = widgets.create(&post(), &widget("v", &json!({"spec": spec}))).await;
        let expected = format!("Widget.example.com \"v\" is invalid: {wanted}");
        assert_eq!(refusal(answer), (422, "Invalid".to_owned(), expected));
    }
    let answer = widgets.create(&post(), &widget("v", &json!({}))).await;
    assert_eq!(refusal(answer).2, "Widget.example.com \"v\" is invalid: spec: Required value");
}

#[tokio::test]
async fn cel_rules_that_were_not_reached_are_mentioned() {
    let server = server();
    let widgets = widgets(&server);
    let mut with_rules = widgets_crd();
    with_rules["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "true"}]);
    server.register_crd(with_rules).unwrap();
    let skipped = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
        correct the existing errors to complete validation";
    let (_, _, message) = refusal(widgets.create(&post(), &widget("v", &json!({"spec": {}}))).await);
    assert_eq!(
        message,
        format!("Widget.example.com \"v\" is invalid: [spec.size: Required value, {skipped}]")
    );
    let (_, _, message) = refusal(widgets.create(&post(), &widget("v", &json!({"spec": {"size": 0}}))).await);
    assert!(!message.contains(skipped), "{message}");
}

#[tokio::test]
async fn a_promoted_release_is_never_taken_back() {
    let server = server();
    let widgets = widgets(&server);
    widgets.create(&post(), &widget("w", &json!({"spec": {"size": 1}}))).await.unwrap();
    let put = async |status: Value| {
        let mut object = widgets.get("w").await.unwrap();
        object.data["status"] = status;
        widgets.replace_status("w", &post(), &object).await
    };
    let promoted = |tag: &str, sequence: i64| json!({"promoted": {"tag": tag, "sequence": sequence}});
    put(promoted("v5", 5)).await.unwrap();
    put(json!({"note": "beside", "promoted": {"tag": "v5", "sequence": 5}})).await.unwrap();
    for back in [promoted("v4", 4), promoted("v6", 5), json!({}), json!({"note": "only"}), Value::Null] {
        let message = "Widget.example.com \"w\" is invalid: status: Invalid value: \"object\": status.promoted never goes back";
        assert_eq!(refusal(put(back).await), (422, "Invalid".to_owned(), message.to_owned()));
    }
    put(promoted("v6", 6)).await.unwrap();
}

#[tokio::test]
async fn deletion_knows_preconditions_finalizers_and_dependents() {
    let server = server();
    let maps = config_maps(&server);
    let owner = maps.create(&post(), &config_map("owner", &[])).await.unwrap();
    let delete = async |preconditions: Preconditions| {
        maps.delete("owner", &DeleteParams::default().preconditions(preconditions)).await
    };
    let foreign = Preconditions { uid: Some("foreign".to_owned()), resource_version: None };
    assert_eq!(code(delete(foreign).await), coded(409, "Conflict"));
    let stale = Preconditions { uid: owner.uid(), resource_version: Some("1".to_owned()) };
    assert_eq!(code(delete(stale).await), coded(409, "Conflict"));

    let mut dependent = config_map("dependent", &[]);
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()}]);
    dependent.metadata.owner_references = Some(serde_json::from_value(reference).unwrap());
    let child = maps.create(&post(), &dependent).await.unwrap();
    let mut grandchild = config_map("grandchild", &[]);
    let reference =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "dependent", "uid": child.uid()}]);
    grandchild.metadata.owner_references = Some(serde_json::from_value(reference).unwrap());
    grandchild.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&post(), &grandchild).await.unwrap();
    delete(Preconditions { uid: owner.uid(), resource_version: None }).await.unwrap();
    let left = maps.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(left.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["grandchild"]);
    assert!(left[0].metadata.deletion_timestamp.is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("grandchild", &PatchParams::default(), &release).await.unwrap();
    assert!(maps.get_opt("grandchild").await.unwrap().is_none());

    maps.create(&post(), &dependent).await.unwrap();
    assert!(
        maps.get_opt("dependent").await.unwrap().is_none(),
        "an owner that is gone takes late dependents along"
    );

    let widgets = widgets(&server);
    let mut held = widget("w", &json!({"spec": {"size": 1}}));
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    widgets.create(&post(), &held).await.unwrap();
    let marked = widgets.delete("w", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    assert_eq!(marked.metadata.generation, Some(2));
    let late = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold", "example.com/late"]}}));
    assert_eq!(code(widgets.patch("w", &PatchParams::default(), &late).await), coded(422, "Invalid"));
}

#[tokio::test]
async fn what_is_not_served_is_refused_as_such() {
    let server = server();
    let client = server.client("test", "default");
    let kind = GroupVersionKind::gvk("example.com", "v1", "Gadget");
    let gadgets: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    // A group without any CRD answers in plain text, which kube wraps: tell by the code, not by the reason.
    let (code_sent, _, message) = refusal(gadgets.list(&ListParams::default()).await);
    assert_eq!((code_sent, message.as_str()), (404, "404 page not found"));
    let maps = config_maps(&server);
    let apply = Patch::Apply(config_map("one", &[]));
    let answer = maps.patch("one", &PatchParams::apply("me"), &apply).await;
    assert_eq!(code(answer), coded(415, "UnsupportedMediaType"));
    let all = maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert_eq!(code(all), coded(405, "MethodNotAllowed"));
    let huge = config_map("huge", &[("a", &"x".repeat(4 << 20))]);
    assert_eq!(code(maps.create(&post(), &huge).await), coded(413, "RequestEntityTooLarge"));
    let bad = ListParams::default().fields("spec.nodeName=x");
    assert_eq!(code(maps.list(&bad).await), coded(400, "BadRequest"));

    let definitions = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let definitions: Api<DynamicObject> = Api::all_with(client, &ApiResource::from_gvk(&definitions));
    let crd = definitions.get("widgets.example.com").await.unwrap();
    assert_eq!(crd.data["status"]["conditions"][1]["type"], "Established");
    assert!(server.unregister_crd("example.com", "widgets"));
    assert_eq!(code(widgets(&server).list(&ListParams::default()).await).0, 404);
    assert!(definitions.get_opt("widgets.example.com").await.unwrap().is_none());
    let mut broken = widgets_crd();
    broken["spec"]["versions"] = json!([]);
    let error = server.register_crd(broken).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to register the CRD: a served storage version is missing or has the wrong type"
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let server = server();
    let maps = config_maps(&server);
    let (revision, dry) = (server.revision(), PostParams { dry_run: true, ..post() });
    assert!(maps.create(&dry, &config_map("one", &[])).await.unwrap().uid().is_some());
    assert_eq!((server.revision(), maps.get_opt("one").await.unwrap()), (revision, None));
    maps.create(&post(), &config_map("one", &[])).await.unwrap();
    let written = maps.replace("one", &dry, &config_map("one", &[("a", "1")])).await.unwrap();
    assert_eq!(written.data.unwrap().len(), 1);
    assert_eq!(maps.get("one").await.unwrap().data, None);
    maps.delete("one", &DeleteParams { dry_run: true, ..DeleteParams::default() }).await.unwrap();
    maps.get("one").await.unwrap();
}

#[tokio::test]
async fn pod_logs_are_read_by_their_tail() {
    let server = server();
    let pods: Api<Pod> = Api::namespaced(server.client("test", "default"), "default");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = pods.create(&post(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    server.set_pod_log("default", "p", "one\ntwo\nthree\n");
    let tail = LogParams { tail_lines: Some(2), ..LogParams::default() };
    assert_eq!(pods.logs("p", &tail).await.unwrap(), "two\nthree\n");
    let cut = LogParams { tail_lines: Some(2), limit_bytes: Some(5), ..LogParams::default() };
    assert_eq!(pods.logs("p", &cut).await.unwrap(), "two\nt");
    assert_eq!(code(pods.logs("q", &cut).await), coded(404, "NotFound"));
}

// --- watches ---

fn seen(event: &WatchEvent<ConfigMap>) -> String {
    match event {
        WatchEvent::Added(object) => format!("+{}", object.name_any()),
        WatchEvent::Modified(object) => format!("~{}", object.name_any()),
        WatchEvent::Deleted(object) => format!("-{}", object.name_any()),
        WatchEvent::Bookmark(mark) => format!("bookmark {}", mark.metadata.resource_version),
        WatchEvent::Error(status) => format!("{} {}", status.code, status.reason),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_every_change_once_in_order_and_ends_on_time() {
    let server = server();
    let maps = config_maps(&server);
    maps.create(&post(), &config_map("before", &[])).await.unwrap();
    let from = server.revision().to_string();
    maps.create(&post(), &config_map("missed", &[])).await.unwrap();
    let begun = tokio::time::Instant::now();
    let watch = maps.watch(&WatchParams::default().timeout(90), &from).await.unwrap();
    let changes = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        maps.replace("missed", &post(), &config_map("missed", &[("a", "1")])).await.unwrap();
        maps.replace("missed", &post(), &config_map("missed", &[("a", "1")])).await.unwrap();
        widgets(&server).create(&post(), &widget("w", &json!({"spec": {"size": 1}}))).await.unwrap();
        maps.delete("before", &DeleteParams::default()).await.unwrap();
    };
    let (events, ()) = tokio::join!(watch.map_ok(|event| seen(&event)).try_collect::<Vec<_>>(), changes);
    let newest = server.revision();
    let bookmark = format!("bookmark {newest}");
    assert_eq!(events.unwrap(), ["+missed", "~missed", "-before", &bookmark, &bookmark]);
    assert_eq!(begun.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_watch_sees_through_its_selector_and_starts_with_what_is_there() {
    let server = server();
    let maps = config_maps(&server);
    maps.create(&post(), &config_map("one", &[])).await.unwrap();
    let label = async |value: Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"team": value}}}));
        maps.patch("one", &PatchParams::default(), &patch).await.unwrap();
    };
    label("blue".into()).await;
    let params = WatchParams::default().labels("team=blue").timeout(5).disable_bookmarks();
    let watch = maps.watch(&params, "0").await.unwrap();
    label("red".into()).await;
    label("blue".into()).await;
    maps.patch("one", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "1"}}))).await.unwrap();
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    let events: Vec<_> = watch.map_ok(|event| seen(&event)).try_collect().await.unwrap();
    assert_eq!(events, ["+one", "-one", "+one", "~one", "-one"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_forgotten_changes_is_410_and_a_watcher_lists_anew() {
    let server = server();
    let maps = config_maps(&server);
    let from = server.revision().to_string();
    maps.create(&post(), &config_map("one", &[])).await.unwrap();
    server.compact();
    let watch = maps.watch(&WatchParams::default(), &from).await.unwrap();
    let events: Vec<_> = watch.map_ok(|event| seen(&event)).try_collect().await.unwrap();
    assert_eq!(events, ["410 Expired"]);

    let mut watcher =
        pin!(watcher(maps.clone(), watcher::Config::default()).filter_map(|event| async move {
            match event {
                Ok(watcher::Event::InitApply(object)) => Some(format!("listed {}", object.name_any())),
                Ok(watcher::Event::Apply(object)) => Some(format!("applied {}", object.name_any())),
                _ => None,
            }
        }));
    assert_eq!(watcher.next().await.unwrap(), "listed one");
    maps.create(&post(), &config_map("two", &[])).await.unwrap();
    assert_eq!(watcher.next().await.unwrap(), "applied two");
    // The watch is cut, and what happened meanwhile is forgotten: the watcher must list again.
    server.close_watches();
    maps.create(&post(), &config_map("three", &[])).await.unwrap();
    server.compact();
    let relisted =
        [watcher.next().await.unwrap(), watcher.next().await.unwrap(), watcher.next().await.unwrap()];
    assert_eq!(relisted, ["listed one", "listed three", "listed two"]);
}

// --- faults and log ---

#[tokio::test(start_paused = true)]
async fn faults_refuse_lose_and_delay_and_the_log_counts_writes() {
    let server = server();
    let maps = config_maps(&server);
    server.set_fault(Some(Arc::new(|request: &ApiRequest| {
        match request.name.as_deref().or(request.body["metadata"]["name"].as_str()) {
            Some("refused") => {
                let (reason, message) = ("ServiceUnavailable".to_owned(), "etcd is down".to_owned());
                Some(ApiFault::Refuse { code: 503, reason, message })
            }
            Some("never-done") => Some(ApiFault::LoseRequest),
            Some("done-unheard") => Some(ApiFault::LoseReply),
            Some("slow") => Some(ApiFault::Delay(Duration::from_mins(1))),
            _ => None,
        }
    })));
    let create = async |name: &str| maps.create(&post(), &config_map(name, &[])).await;
    assert_eq!(code(create("refused").await), coded(503, "ServiceUnavailable"));
    assert!(matches!(create("never-done").await.unwrap_err(), kube::Error::Service(_)));
    assert!(matches!(create("done-unheard").await.unwrap_err(), kube::Error::Service(_)));
    let begun = tokio::time::Instant::now();
    create("slow").await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 60);
    server.set_fault(None);
    let names: Vec<_> =
        maps.list(&ListParams::default()).await.unwrap().items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["done-unheard", "slow"]);
    maps.replace("slow", &post(), &config_map("slow", &[])).await.unwrap();

    let writes: Vec<_> = server
        .writes()
        .iter()
        .map(|write| {
            (
                write.verb,
                write.name.clone().unwrap_or_default(),
                write.code,
                write.revision.is_some(),
                write.lost,
            )
        })
        .collect();
    let expected = [
        (Verb::Create, String::new(), 503, false, false),
        (Verb::Create, String::new(), 0, false, true),
        (Verb::Create, "done-unheard".to_owned(), 201, true, true),
        (Verb::Create, "slow".to_owned(), 201, true, false),
        (Verb::Update, "slow".to_owned(), 200, false, false),
    ];
    assert_eq!(writes, expected);
    assert!(server.writes().iter().all(|write| write.actor == "test" && write.plural == "configmaps"));
    assert_eq!(server.count(|request| request.verb == Verb::List), 1);
    server.clear_log();
    assert!(server.requests().is_empty());
    assert_eq!(
        (
            server.objects("", "configmaps").len(),
            server.object("", "configmaps", "default", "slow").is_some()
        ),
        (2, true)
    );
}

#[tokio::test]
async fn jobs_keep_their_status_to_the_status_path() {
    let server = server();
    let jobs: Api<Job> = Api::namespaced(server.client("test", "default"), "default");
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": []}}}, "status": {"active": 1}});
    let made = jobs.create(&post(), &serde_json::from_value(job).unwrap()).await.unwrap();
    assert_eq!((made.status.unwrap().active, made.metadata.generation), (None, Some(1)));
    let patch = Patch::Merge(json!({"status": {"active": 1}}));
    assert_eq!(jobs.patch("j", &PatchParams::default(), &patch).await.unwrap().status.unwrap().active, None);
    let patched = jobs.patch_status("j", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.status.unwrap().active, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lags_answers_reads_as_of_an_older_revision() {
    let server = server();
    let maps = config_maps(&server);
    let map = |name: &str, value: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": value}})).unwrap()
    };
    let made = |map: ConfigMap| {
        let maps = &maps;
        async move { maps.create(&PostParams::default(), &map).await.unwrap().resource_version().unwrap() }
    };
    made(map("edited", "old")).await;
    let then: u64 = made(map("deleted", "there")).await.parse().unwrap();
    let mut edited = maps.get("edited").await.unwrap();
    edited.data = map("edited", "new").data;
    maps.replace("edited", &PostParams::default(), &edited).await.unwrap();
    maps.delete("deleted", &DeleteParams::default()).await.unwrap();
    made(map("younger", "new")).await;

    let late = kube::Client::new(server.service("test").as_of(then), "default");
    let late: Api<ConfigMap> = Api::namespaced(late, "default");
    assert_eq!(late.get("edited").await.unwrap().data, map("edited", "old").data);
    assert_eq!(late.get("deleted").await.unwrap().data, map("deleted", "there").data);
    assert!(late.get_opt("younger").await.unwrap().is_none());
    let listed = late.list(&ListParams::default()).await.unwrap();
    let names: Vec<String> = listed.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(
        (names, listed.metadata.resource_version),
        (vec!["deleted".into(), "edited".into()], Some(then.to_string()))
    );
    // Only reads lag: a write over what was read is refused as ever, and one over nothing old is done.
    let stale = late.get("edited").await.unwrap();
    let refused = late.replace("edited", &PostParams::default(), &stale).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused}");
    late.create(&PostParams::default(), &map("another", "new")).await.unwrap();
    assert!(
        maps.get_opt("another").await.unwrap().is_some() && late.get_opt("another").await.unwrap().is_none()
    );
    assert_eq!(maps.get("edited").await.unwrap().data, map("edited", "new").data);
}
