//! Watches: what is told, in which order, and from where on.

use serde_json::{Value, json};

use super::exchange::Exchange;
use super::objects::{map, maps};
use super::sets;

fn labels(set: &str) -> Value {
    json!({"metadata": {"labels": {"tidegate.dev/set": set}}})
}

/// A watch after the revision of an earlier answer that ends by itself.
fn watch(name: &str, collection: &str, after: &str, more: &str) -> Exchange {
    Exchange::get(name, format!("{collection}?watch=true&resourceVersion={after}&timeoutSeconds=2{more}"))
}

pub fn changes(namespace: &str) -> Vec<Exchange> {
    let (maps, sets) = (maps(namespace), sets::sets(namespace));
    let one = format!("{maps}/one");
    let from = "{{before/metadata/resourceVersion}}";
    vec![
        Exchange::post("before", &maps, map("before", &json!({}))),
        Exchange::get("listed", &maps),
        // Changes while it is open.
        Exchange::get(
            "open",
            format!(
                "{maps}?watch=true&resourceVersion={{{{listed/metadata/resourceVersion}}}}&timeoutSeconds=5"
            ),
        )
        .meanwhile(vec![
            Exchange::post("made", &maps, map("one", &json!({"a": "1"}))),
            Exchange::put_edited("edited", &one, "made", &[("/data/a", json!("2"))]),
            Exchange::put_edited("edited to the same", &one, "edited", &[]),
            Exchange::post("another kind", &sets, sets::small("acme")),
            Exchange::delete("gone", &one, Value::Null),
        ]),
        // The same changes again, from the revision before them.
        watch("again", &maps, from, ""),
        watch("again, metadata", &maps, from, "").metadata_of("object"),
        Exchange::get(
            "with bookmarks",
            format!("{maps}?watch=true&resourceVersion={from}&timeoutSeconds=5&allowWatchBookmarks=true"),
        )
        .metadata_of("object"),
        Exchange::get("what is there first", format!("{maps}?watch=true&timeoutSeconds=2")),
        Exchange::get(
            "what is there first, any",
            format!("{maps}?watch=true&resourceVersion=0&timeoutSeconds=2"),
        ),
        watch("of one name", &maps, from, "&fieldSelector=metadata.name%3Done"),
        watch("of sets", &sets, from, ""),
        Exchange::merge(
            "status alone",
            format!("{sets}/acme/status"),
            json!({"status": {"lastHandledReconcileAt": "x"}}),
        ),
        watch("of sets again", &sets, "{{another kind/metadata/resourceVersion}}", ""),
    ]
}

pub fn selectors(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let one = format!("{maps}/one");
    let selector = "&labelSelector=tidegate.dev%2Fset%3Dacme";
    let from = "{{made/metadata/resourceVersion}}";
    vec![
        Exchange::post("made", &maps, map("one", &json!({}))),
        Exchange::merge("enters", &one, labels("acme")),
        Exchange::merge("stays", &one, json!({"data": {"a": "1"}})),
        Exchange::merge("leaves", &one, labels("other")),
        Exchange::merge("is elsewhere", &one, json!({"data": {"a": "2"}})),
        Exchange::merge("comes back", &one, labels("acme")),
        Exchange::delete("goes", &one, Value::Null),
        watch("seen", &maps, from, selector),
        watch("seen as metadata", &maps, from, selector).metadata_of("object"),
        watch("seen elsewhere", &maps, from, "&labelSelector=tidegate.dev%2Fset%21%3Dacme"),
    ]
}

pub fn old_revisions(namespace: &str) -> Vec<Exchange> {
    let (maps, sets) = (maps(namespace), sets::sets(namespace));
    vec![
        Exchange::post("made", &maps, map("one", &json!({}))),
        Exchange::post("set", &sets, sets::small("acme")),
        // Both servers are older than the definition of this kind.
        watch("from before all memory", &sets, "1", ""),
        watch("no number", &maps, "x", "").but_words("words of the parser"),
        watch("initial events", &maps, "", "&sendInitialEvents=true").but_words("not here, and it says so"),
    ]
}
