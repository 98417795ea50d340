//! What every kind does, on ConfigMaps and on ImagePolicies: identity, preconditions, refusals, deletion.

use http::Method;
use serde_json::{Value, json};

use super::exchange::{Body, Exchange};

/// Why causes are not compared.
pub const TWICE: &str = "a real server judges metadata twice, and tells each cause twice";
/// Larger than any request body that is taken (3 MiB).
const TOO_LARGE_BYTES: usize = (3 << 20) + 1;

pub fn maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

pub fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A body whose metadata holds more.
fn with(mut body: Value, metadata: &Value) -> Value {
    let fields = metadata.as_object().expect("an object").clone();
    body["metadata"].as_object_mut().expect("an object").extend(fields);
    body
}

pub fn writes(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let one = format!("{maps}/one");
    let labels =
        json!({"labels": {"tidegate.dev/set": "acme"}, "annotations": {"tidegate.dev/target": "{}"}});
    vec![
        Exchange::get("absent", &one),
        Exchange::post("made", &maps, with(map("one", &json!({"RELEASE_TAG": "main-1"})), &labels)),
        Exchange::get("read", &one),
        Exchange::get("read metadata", &one).metadata_of("object"),
        Exchange::post("made again", &maps, map("one", &json!({}))),
        Exchange::put_edited("edited", &one, "read", &[("/data/RELEASE_TAG", json!("main-2"))]),
        Exchange::put_edited("edited to the same", &one, "edited", &[]),
        Exchange::put_edited("from a stale read", &one, "read", &[("/data/RELEASE_TAG", json!("main-3"))]),
        Exchange::post("foreign", &maps, map("foreign", &json!({}))),
        Exchange::put_edited(
            "of a foreign uid",
            &one,
            "edited",
            &[("/metadata/uid", json!("{{foreign/metadata/uid}}"))],
        ),
        Exchange::put_edited(
            "without revision",
            &one,
            "edited",
            &[("/metadata/resourceVersion", Value::Null)],
        ),
        Exchange::put_edited(
            "labels gone",
            &one,
            "edited",
            &[
                ("/metadata/resourceVersion", json!("{{without revision/metadata/resourceVersion}}")),
                ("/metadata/labels", Value::Null),
                ("/metadata/uid", Value::Null),
                ("/metadata/creationTimestamp", Value::Null),
                ("/metadata/generation", Value::Null),
            ],
        ),
        Exchange::put_edited(
            "a time of deletion",
            &one,
            "labels gone",
            &[("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))],
        )
        .but("/body/details/causes", TWICE),
        Exchange::post("generated", &maps, json!({"metadata": {"generateName": "made-"}})),
        Exchange::post("second generated", &maps, json!({"metadata": {"generateName": "made-"}})),
        Exchange::post(
            "named and generated",
            &maps,
            json!({"metadata": {"name": "own", "generateName": "made-"}}),
        ),
        Exchange::post(
            "system fields sent",
            &maps,
            with(
                map("sent", &json!(null)),
                &json!({
            "uid": "00000000-0000-0000-0000-000000000001", "generation": 5, "creationTimestamp": "2020-01-01T00:00:00Z",
            "deletionTimestamp": "2020-01-01T00:00:00Z", "labels": {}, "finalizers": [], "selfLink": "/x",
            "managedFields": []}),
            ),
        ),
    ]
}

pub fn refused(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let one = format!("{maps}/one");
    let stated = |name: &str, metadata: Value| with(map(name, &json!({})), &metadata);
    vec![
        Exchange::post("made", &maps, map("one", &json!({}))),
        Exchange::post("no name", &maps, json!({"metadata": {}})),
        Exchange::post("no metadata", &maps, json!({"data": {"a": "1"}})),
        Exchange::post("a bad name", &maps, map("Not_A_Name", &json!({}))),
        Exchange::post("a long name", &maps, map(&"a".repeat(254), &json!({}))),
        Exchange::post("a revision on POST", &maps, stated("two", json!({"resourceVersion": "1"}))),
        Exchange::post("a foreign namespace", &maps, stated("two", json!({"namespace": "elsewhere"}))),
        Exchange::post(
            "a foreign kind",
            &maps,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "two"}}),
        )
        .but_words("words of Go's types"),
        Exchange::post(
            "a foreign version",
            &maps,
            json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "two"}}),
        )
        .but_words("words of Go's types"),
        Exchange::post("a label that is none", &maps, stated("two", json!({"labels": {"a": "-"}})))
            .but("/body/message", "words of the rule come with the key in newer servers"),
        Exchange::post("a label too long", &maps, stated("two", json!({"labels": {"a": "x".repeat(64)}})))
            .but("/body/message", "words of the rule come with the key in newer servers"),
        Exchange::post("a label that is no text", &maps, stated("two", json!({"labels": {"a": 1}})))
            .but_words("words of Go's decoder"),
        Exchange::other("no JSON", Method::POST, &maps, Body::Text("{".to_owned()))
            .but_words("words of Go's decoder"),
        Exchange::put("another name", &one, map("two", &json!({}))),
        Exchange::put("without a name", &one, json!({"metadata": {}})),
        Exchange::put("absent", format!("{maps}/absent"), stated("absent", json!({"resourceVersion": "1"}))),
        Exchange::put(
            "absent with uid",
            format!("{maps}/absent"),
            stated("absent", json!({"resourceVersion": "1", "uid": "00000000-0000-0000-0000-000000000001"})),
        ),
        Exchange::post("too large", &maps, map("large", &json!({"a": "x".repeat(TOO_LARGE_BYTES)}))),
        Exchange::other("DELETE without a name", Method::PUT, &maps, Body::Json(map("one", &json!({})))),
        Exchange::post("POST to an object", &one, map("one", &json!({}))),
    ]
}

pub fn dry_runs(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let one = format!("{maps}/one");
    vec![
        Exchange::post("made dry", format!("{maps}?dryRun=All"), map("one", &json!({"a": "1"}))),
        Exchange::get("not made", &one),
        Exchange::put(
            "put dry and absent",
            format!("{one}?dryRun=All"),
            with(map("one", &json!({})), &json!({"resourceVersion": "1"})),
        ),
        Exchange::post("made", &maps, map("one", &json!({"a": "1"}))),
        Exchange::post("made again dry", format!("{maps}?dryRun=All"), map("one", &json!({}))),
        Exchange::put_edited("edited dry", format!("{one}?dryRun=All"), "made", &[("/data/a", json!("2"))]),
        Exchange::get("as before", &one),
        Exchange::delete("deleted dry", &one, json!({"dryRun": ["All"]})),
        Exchange::delete("deleted dry by query", format!("{one}?dryRun=All"), Value::Null),
        Exchange::get("still there", &one),
        Exchange::post("dry, how", format!("{maps}?dryRun=Some"), map("two", &json!({}))),
    ]
}

pub fn deletions(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let (one, held) = (format!("{maps}/one"), format!("{maps}/held"));
    let precondition = |field: &str, value: &str| json!({"preconditions": {field: value}});
    let finalizers = json!({"finalizers": ["tidegate.dev/targets", "example.com/other"]});
    vec![
        Exchange::post("made", &maps, map("one", &json!({}))),
        Exchange::delete(
            "of a foreign uid",
            &one,
            precondition("uid", "00000000-0000-0000-0000-000000000001"),
        ),
        Exchange::delete("of another revision", &one, precondition("resourceVersion", "1")),
        Exchange::delete(
            "gone",
            &one,
            json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": "Background", "preconditions": {"uid": "{{made/metadata/uid}}",
            "resourceVersion": "{{made/metadata/resourceVersion}}"}}),
        ),
        Exchange::get("is gone", &one),
        Exchange::delete("gone already", &one, Value::Null),
        Exchange::post("made anew", &maps, map("one", &json!({}))),
        Exchange::delete("without a body", &one, Value::Null),
        Exchange::post("held", &maps, with(map("held", &json!({})), &finalizers)),
        Exchange::delete("held still", &held, Value::Null),
        Exchange::delete("asked twice", &held, Value::Null),
        Exchange::get("with a time", &held),
        Exchange::put_edited("edited while going", &held, "with a time", &[("/data", json!({"a": "1"}))]),
        Exchange::merge(
            "one more finalizer",
            &held,
            json!({"metadata": {"finalizers":
            ["tidegate.dev/targets", "example.com/other", "example.com/late"]}}),
        )
        .but("/body/details/causes", TWICE),
        Exchange::merge(
            "one finalizer less",
            &held,
            json!({"metadata": {"finalizers": ["example.com/other"]}}),
        ),
        Exchange::merge("the last one goes", &held, json!({"metadata": {"finalizers": []}})),
        Exchange::get("held no more", &held),
        Exchange::delete(
            "a policy that is none",
            format!("{maps}/absent"),
            json!({"propagationPolicy": "Sometimes"}),
        ),
    ]
}

pub fn patches(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let one = format!("{maps}/one");
    vec![
        Exchange::post("made", &maps, map("one", &json!({"a": "1", "b": "2"}))),
        Exchange::merge(
            "merged",
            format!("{one}?fieldManager=tidegate-cli"),
            json!({"data": {"a": null, "c": "3"}}),
        ),
        Exchange::merge("merged to the same", &one, json!({"data": {"c": "3"}})),
        Exchange::merge("annotated", &one, json!({"metadata": {"annotations": {"a": "1"}}})),
        Exchange::merge(
            "from a stale read",
            &one,
            json!({"metadata": {
            "resourceVersion": "{{made/metadata/resourceVersion}}"}, "data": {"a": "9"}}),
        ),
        Exchange::merge(
            "of a foreign uid",
            &one,
            json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000001"}}),
        )
        .but("/body/details/causes", TWICE),
        Exchange::merge("absent", format!("{maps}/absent"), json!({"data": {}})),
        Exchange::merge("another name", &one, json!({"metadata": {"name": "two"}})),
        Exchange::merge("metadata alone", &one, json!({"metadata": {"annotations": {"a": "2"}}}))
            .metadata_of("object"),
        Exchange::other("an unknown kind of patch", Method::PATCH, &one, Body::Json(json!({})))
            .content_type("application/json")
            .but_words("the embedded API takes merge patches alone, and says so"),
        Exchange::get("at the end", &one),
    ]
}

/// Paths that nobody serves.
pub fn not_served(namespace: &str) -> Vec<Exchange> {
    vec![
        Exchange::get("no such group", "/apis/nowhere.example/v1/things"),
        Exchange::get(
            "no such group, one",
            format!("/apis/nowhere.example/v1/namespaces/{namespace}/things/one"),
        ),
        Exchange::get("no such version", format!("/apis/tidegate.dev/v9/namespaces/{namespace}/releasesets")),
        Exchange::get(
            "no such kind of a group",
            format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/things"),
        ),
        Exchange::get("no such core kind", format!("/api/v1/namespaces/{namespace}/things")),
        Exchange::get("no such batch kind", format!("/apis/batch/v1/namespaces/{namespace}/things")),
        Exchange::get("no such subresource", format!("/api/v1/namespaces/{namespace}/configmaps/one/status")),
        Exchange::get(
            "no such subresource of a set",
            format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/releasesets/one/scale"),
        )
        .but_words("a real server looks for the object first"),
        Exchange::get("not without a namespace", "/api/v1/configmaps/one"),
        Exchange::get("a watch of nothing", "/apis/nowhere.example/v1/things?watch=true"),
        Exchange::get("neither group", "/nowhere"),
    ]
}
