//! ReleaseSets: what the definition defaults, prunes, refuses and holds, and the status beside the spec.

use std::fs;

use serde_json::{Value, json};

use super::exchange::Exchange;
use super::objects::TWICE;

/// Why words of a refusal are not compared.
const TYPE_NAMED: &str = "CEL names the type of the value";

pub fn sets(namespace: &str) -> String {
    format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/releasesets")
}

/// A set with as little as possible.
pub fn small(name: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ReleaseSet",
        "metadata": {"name": name},
        "spec": {
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {"policy": {"numerical": {}}},
        },
    })
}

fn edited(changes: &[(&str, Value)]) -> Value {
    let mut set = small("acme");
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        set.pointer_mut(parent).expect("the parent is there")[field] = value.clone();
    }
    set
}

pub fn defaults(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let smoke = json!([{"name": "boots", "smoke": {"image": "app", "command": ["/app"]}}]);
    let unknown =
        edited(&[("/spec/unknown", json!(1)), ("/spec/registry", json!({"insecure": true, "x": {"y": 1}}))]);
    let nulls = edited(&[
        ("/spec/interval", Value::Null),
        ("/spec/platforms", Value::Null),
        ("/spec/registry", Value::Null),
    ]);
    vec![
        Exchange::post("made", &sets, small("acme")),
        Exchange::get("read", format!("{sets}/acme")),
        Exchange::get("read metadata", format!("{sets}/acme")).metadata_of("object"),
        Exchange::get("listed", &sets),
        Exchange::post(
            "dry",
            format!("{sets}?dryRun=All"),
            edited(&[("/metadata/name", json!("dry")), ("/spec/gates", smoke)]),
        ),
        Exchange::post(
            "with a status",
            format!("{sets}?dryRun=All"),
            edited(&[
                ("/metadata/name", json!("dry")),
                (
                    "/status",
                    json!({"observedGeneration": 7, "promoted": {"tag": "v1", "sequence": 1, "at": "x", "generation": 1, "images": []}}),
                ),
            ]),
        ),
        Exchange::post("pruned", format!("{sets}?dryRun=All"), unknown.clone()),
        Exchange::post("strict", format!("{sets}?dryRun=All&fieldValidation=Strict"), unknown),
        Exchange::post("nulls", format!("{sets}?dryRun=All"), nulls),
        Exchange::post("no kind", &sets, json!({"metadata": {"name": "x"}, "spec": {}}))
            .but_words("words of Go's decoder"),
        Exchange::post("another kind", &sets, edited(&[("/kind", json!("Other"))]))
            .but_words("a real server goes on to judge the rest"),
        Exchange::post("another version", &sets, edited(&[("/apiVersion", json!("tidegate.dev/v9"))])),
        Exchange::get(
            "the definition",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/releasesets.tidegate.dev",
        )
        .only(&[
            "/metadata/name",
            "/spec/versions/0/name",
            "/spec/versions/0/subresources",
            "/spec/names/plural",
            "/spec/versions/0/schema/openAPIV3Schema/properties/status",
            "/status/storedVersions",
        ]),
        Exchange::get(
            "no definition",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/absent.tidegate.dev",
        ),
    ]
}

pub fn writes(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let acme = format!("{sets}/acme");
    vec![
        Exchange::post("made", &sets, small("acme")),
        Exchange::put("without a revision", &acme, small("acme")),
        Exchange::put_edited("spec edited", &acme, "made", &[("/spec/suspend", json!(true))]),
        Exchange::put_edited("from a stale read", &acme, "made", &[("/spec/suspend", json!(false))]),
        Exchange::put_edited(
            "metadata alone",
            &acme,
            "spec edited",
            &[("/metadata/annotations", json!({"a": "1"}))],
        ),
        Exchange::put_edited(
            "spec and status",
            &acme,
            "metadata alone",
            &[
                ("/spec/interval", json!("2m")),
                ("/status/observedGeneration", json!(9)),
                ("/status/unknown", json!(9)),
            ],
        ),
        Exchange::put_edited(
            "status alone, on the main path",
            &acme,
            "spec and status",
            &[("/status", json!({"observedGeneration": 9}))],
        ),
        Exchange::put_edited(
            "of a foreign uid",
            &acme,
            "spec and status",
            &[("/metadata/uid", json!("00000000-0000-0000-0000-000000000001"))],
        ),
        Exchange::put_edited(
            "the defaults written out",
            &acme,
            "spec and status",
            &[("/spec/deadline", Value::Null)],
        ),
        Exchange::put_edited(
            "generation sent",
            &acme,
            "spec and status",
            &[("/metadata/generation", json!(99)), ("/spec/interval", json!("3m"))],
        ),
    ]
}

fn promoted(tag: &str, sequence: i64) -> Value {
    json!({"tag": tag, "sequence": sequence, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []})
}

pub fn status(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let status = format!("{sets}/acme/status");
    let conditions = json!([{"type": "Ready", "status": "False", "reason": "NothingPromoted", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}]);
    vec![
        Exchange::post("made", &sets, small("acme")),
        Exchange::get("read", &status),
        Exchange::put_edited(
            "written",
            &status,
            "made",
            &[(
                "/status",
                json!({"observedGeneration": 1, "conditions": conditions,
            "promoted": promoted("v1", 1)}),
            )],
        ),
        Exchange::put_edited("the same again", &status, "written", &[]),
        Exchange::put_edited(
            "from a stale read",
            &status,
            "made",
            &[("/status", json!({"observedGeneration": 2}))],
        ),
        Exchange::put_edited(
            "without a revision",
            &status,
            "written",
            &[("/metadata/resourceVersion", Value::Null)],
        ),
        Exchange::put_edited(
            "of a foreign uid",
            &status,
            "written",
            &[("/metadata/uid", json!("00000000-0000-0000-0000-000000000001"))],
        ),
        Exchange::put_edited(
            "absent",
            format!("{sets}/absent/status"),
            "written",
            &[("/metadata/name", json!("absent"))],
        ),
    ]
}

/// What of a status write is kept, and what is not.
pub fn status_kept(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let (acme, status) = (format!("{sets}/acme"), format!("{sets}/acme/status"));
    let written = json!({"observedGeneration": 1, "promoted": promoted("v1", 1)});
    vec![
        Exchange::post("made", &sets, small("acme")),
        Exchange::put_edited("written", &status, "made", &[("/status", written)]),
        Exchange::put_edited(
            "with spec and labels",
            &status,
            "written",
            &[
                ("/spec/suspend", json!(true)),
                ("/metadata/labels", json!({"a": "1"})),
                ("/metadata/annotations", json!({"a": "1"})),
                ("/status/lastHandledReconcileAt", json!("now")),
            ],
        ),
        Exchange::put_edited(
            "with a finalizer",
            &status,
            "with spec and labels",
            &[("/metadata/finalizers", json!(["a.b/c"])), ("/status/lastHandledReconcileAt", json!("then"))],
        ),
        Exchange::put_edited(
            "fields of the future",
            &status,
            "with a finalizer",
            &[("/status/fromTheFuture", json!(1)), ("/status/promoted/fromTheFuture", json!(1))],
        ),
        Exchange::put_edited(
            "no status at all",
            format!("{status}?dryRun=All"),
            "fields of the future",
            &[("/status", Value::Null)],
        ),
        Exchange::put_edited(
            "a wrong type",
            &status,
            "fields of the future",
            &[("/status/observedGeneration", json!("1"))],
        )
        .but_words("a real server names the field within its status"),
        Exchange::put_edited(
            "a field that must be there",
            &status,
            "fields of the future",
            &[("/status/promoted", json!({"tag": "v2"}))],
        ),
        Exchange::get("at the end", &acme),
    ]
}

/// The transition rule on `status.promoted` (design §3).
pub fn never_back(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let status = format!("{sets}/acme/status");
    let merge = |name: &str, value: Value| Exchange::merge(name, &status, json!({"status": value}));
    let put = |name: &str, value: Value| {
        Exchange::put_edited(name, format!("{status}?dryRun=All"), "promoted", &[("/status", value)])
    };
    vec![
        Exchange::post("made", &sets, small("acme")),
        merge("promoted", json!({"promoted": promoted("v5", 5)})),
        merge("an older sequence", json!({"promoted": promoted("v4", 4)})),
        merge("another tag under the same sequence", json!({"promoted": promoted("v6", 5)})),
        merge("no release", json!({"promoted": null})),
        Exchange::merge("no status", &status, json!({"status": null})),
        put("PUT of an older sequence", json!({"promoted": promoted("v4", 4)})),
        put("PUT of another tag", json!({"promoted": promoted("v6", 5)})),
        put("PUT of no release", json!({"observedGeneration": 1})),
        put("PUT of no status", Value::Null),
        put("PUT of an empty status", json!({})),
        merge("a neighbour", json!({"lastHandledReconcileAt": "now"})),
        merge("the same", json!({"promoted": promoted("v5", 5)})),
        merge("the same sequence at another time", json!({"promoted": {"at": "2026-02-02T00:00:00Z"}})),
        merge("back by a new sequence", json!({"promoted": promoted("v4", 6)})),
        Exchange::merge(
            "on the main path",
            format!("{sets}/acme"),
            json!({"status": {"promoted": promoted("v9", 1)}}),
        ),
        Exchange::delete("gone", format!("{sets}/acme"), Value::Null),
        Exchange::post("made anew", &sets, small("acme")),
        merge("from the beginning", json!({"promoted": promoted("v1", 1)})),
    ]
}

/// What the commands of people send.
pub fn hands(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let acme = format!("{sets}/acme?fieldManager=tidegate-cli");
    let patch = |name: &str, after: &str, spec: Value| {
        Exchange::merge(
            name,
            &acme,
            json!({"metadata": {"resourceVersion": format!("{{{{{after}/metadata/resourceVersion}}}}")}, "spec": spec}),
        )
    };
    vec![
        Exchange::post("made", &sets, small("acme")),
        patch("suspended", "made", json!({"suspend": true})),
        patch("resumed", "suspended", json!({"suspend": null})),
        patch("pinned", "resumed", json!({"pin": "main-1", "skip": ["main-2"]})),
        patch("from a stale read", "suspended", json!({"pin": "main-3"})),
        Exchange::merge("dry", format!("{acme}&dryRun=All"), json!({"spec": {"pin": "main-9"}})),
        patch("pinned to no tag", "pinned", json!({"pin": "-"})).but_words(TYPE_NAMED),
        patch("skipped twice", "pinned", json!({"skip": ["main-1", "main-1"]}))
            .but_words("a rule judges the list beside the schema"),
        patch("unpinned", "pinned", json!({"pin": null, "skip": null})),
        Exchange::merge(
            "asked to look",
            &acme,
            json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}),
        ),
        patch("an image less", "asked to look", json!({"images": []})).but_words(TYPE_NAMED),
        Exchange::merge(
            "absent",
            format!("{sets}/absent?fieldManager=tidegate-cli"),
            json!({"spec": {"pin": "main-1"}}),
        ),
    ]
}

pub fn deletions(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let acme = format!("{sets}/acme");
    let finalizers = |name: &str, after: &str, finalizers: Value| {
        Exchange::merge(
            name,
            &acme,
            json!({"metadata": {"uid": format!("{{{{{after}/metadata/uid}}}}"),
            "resourceVersion": format!("{{{{{after}/metadata/resourceVersion}}}}"), "finalizers": finalizers}}),
        )
    };
    vec![
        Exchange::post("made", &sets, small("acme")),
        finalizers("held", "made", json!(["tidegate.dev/targets"])),
        finalizers("from a stale read", "made", json!([])),
        Exchange::delete("marked", &acme, Value::Null),
        Exchange::get("read", &acme),
        Exchange::put_edited(
            "status while going",
            format!("{acme}/status"),
            "read",
            &[("/status/lastHandledReconcileAt", json!("x"))],
        ),
        Exchange::put_edited(
            "spec while going",
            &acme,
            "status while going",
            &[("/spec/suspend", json!(true))],
        ),
        finalizers("one more", "spec while going", json!(["tidegate.dev/targets", "a.b/c"]))
            .but("/body/details/causes", TWICE),
        finalizers("let go", "spec while going", json!([])),
        Exchange::get("gone", &acme),
        Exchange::post("made anew", &sets, small("acme")),
        finalizers("of its predecessor", "made", json!(["tidegate.dev/targets"])),
        Exchange::merge(
            "of a foreign uid",
            &acme,
            json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000001"}}),
        )
        .but("/body/details/causes", TWICE),
        Exchange::delete("gone at once", &acme, json!({"propagationPolicy": "Background"})),
        Exchange::delete("gone already", &acme, Value::Null),
    ]
}

/// Every file that `lint` refuses: accepted or refused alike, and with the words that the file expects of the server.
pub fn corpus(namespace: &str) -> Vec<Exchange> {
    let sets = sets(namespace);
    let mut paths: Vec<_> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/bad"))
        .expect("the folder is there")
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    paths.sort();
    let mut exchanges = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("it is readable");
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        // YAML is the client's: a text that is none, or of another kind, is no matter of this API.
        let Ok(set) = serde_saphyr::from_str::<Value>(&text) else { continue };
        if set["kind"] != "ReleaseSet" || set["apiVersion"] != "tidegate.dev/v1alpha1" {
            continue;
        }
        let mut set = set;
        if let Some(metadata) = set["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        let path = format!("{sets}?dryRun=All&fieldValidation=Strict");
        exchanges.push(
            Exchange::post(&name, path, set).but_words("`lint` says which, where a rule says that one is"),
        );
    }
    assert!(exchanges.len() >= 40, "only {} files were found", exchanges.len());
    exchanges
}
