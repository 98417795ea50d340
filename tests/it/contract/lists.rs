//! Lists: pages, selectors, and how old an answer may be.

use serde_json::{Value, json};

use super::exchange::Exchange;
use super::objects::{map, maps};

/// Labelled as targets and smoke Jobs are.
fn labelled(name: &str, set: &str) -> Value {
    let mut map = map(name, &json!({"a": "1"}));
    map["metadata"]["labels"] = json!({"tidegate.dev/set": set});
    map
}

pub fn pages(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    // kube-root-ca.crt is made by a controller that runs in neither world.
    let mut exchanges: Vec<Exchange> = ["e", "b", "d", "a", "c"]
        .iter()
        .map(|name| Exchange::post(name, &maps, labelled(name, if *name == "d" { "other" } else { "acme" })))
        .collect();
    exchanges.extend([
        Exchange::get("all", &maps),
        Exchange::get("a limit that is enough", format!("{maps}?limit=5")),
        Exchange::get("first", format!("{maps}?limit=2")),
        Exchange::get("second", format!("{maps}?limit=2&continue={{{{first/metadata/continue}}}}")),
        Exchange::post("between", &maps, labelled("bb", "acme")),
        Exchange::delete("gone between", format!("{maps}/e"), Value::Null),
        Exchange::get("second again", format!("{maps}?limit=2&continue={{{{first/metadata/continue}}}}")),
        Exchange::get("last", format!("{maps}?limit=2&continue={{{{second/metadata/continue}}}}")),
        Exchange::get("selected", format!("{maps}?limit=2&labelSelector=tidegate.dev%2Fset%3Dacme")),
        Exchange::get("selected on", format!(
            "{maps}?limit=2&labelSelector=tidegate.dev%2Fset%3Dacme&continue={{{{selected/metadata/continue}}}}")),
        Exchange::get("all on", format!("{maps}?continue={{{{first/metadata/continue}}}}")),
        Exchange::get("metadata of a page", format!("{maps}?limit=2")).metadata_of("list"),
        Exchange::get("any, with a limit", format!("{maps}?limit=2&resourceVersion=0")),
        Exchange::get("a token that is none", format!("{maps}?limit=2&continue=x")).but_words("words of Go's decoder"),
        Exchange::get("a token and a revision", format!(
            "{maps}?limit=2&resourceVersion=1&continue={{{{first/metadata/continue}}}}")),
        Exchange::get("a negative limit", format!("{maps}?limit=-1")),
        Exchange::get("a limit that is no number", format!("{maps}?limit=x")).but_words("words of Go's parser"),
    ]);
    exchanges
}

pub fn selectors(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let mut exchanges = vec![
        Exchange::post("one", &maps, labelled("one", "acme")),
        Exchange::post("two", &maps, labelled("two", "other")),
        Exchange::post("three", &maps, map("three", &json!({}))),
    ];
    let queries = [
        "labelSelector=tidegate.dev%2Fset%3Dacme",
        "labelSelector=tidegate.dev%2Fset%3D%3Dacme",
        "labelSelector=tidegate.dev%2Fset%21%3Dacme",
        "labelSelector=tidegate.dev%2Fset",
        "labelSelector=%21tidegate.dev%2Fset",
        "labelSelector=tidegate.dev%2Fset+in+%28acme%2Cother%29",
        "labelSelector=tidegate.dev%2Fset+notin+%28acme%29",
        "labelSelector=tidegate.dev%2Fset%3Dacme%2Ctidegate.dev%2Fset%21%3Dother",
        "labelSelector=tidegate.dev%2Fset%3D",
        "fieldSelector=metadata.name%3Done",
        "fieldSelector=metadata.name%21%3Done",
        "labelSelector=",
    ];
    exchanges.extend(queries.iter().map(|query| Exchange::get(query, format!("{maps}?{query}"))));
    for (name, query) in [
        ("no selector", "labelSelector=%3D%3D%3D"),
        ("no key", "labelSelector=a%20b"),
        ("no field", "fieldSelector=metadata.name"),
    ] {
        exchanges.push(Exchange::get(name, format!("{maps}?{query}")).but_words("words of the parser"));
    }
    exchanges.push(
        Exchange::get("an unknown field", format!("{maps}?fieldSelector=data.a%3D1"))
            .but_words("words of the parser"),
    );
    exchanges
}

pub fn revisions(namespace: &str) -> Vec<Exchange> {
    let maps = maps(namespace);
    let newest = "{{two/metadata/resourceVersion}}";
    vec![
        Exchange::post("one", &maps, map("one", &json!({}))),
        Exchange::post("two", &maps, map("two", &json!({}))),
        Exchange::get("any", format!("{maps}?resourceVersion=0")),
        Exchange::get("not older than now", format!("{maps}?resourceVersion={newest}")),
        Exchange::get(
            "not older than before",
            format!(
                "{maps}?resourceVersion={{{{one/metadata/resourceVersion}}}}&resourceVersionMatch=NotOlderThan"
            ),
        ),
        Exchange::get(
            "exactly then",
            format!(
                "{maps}?resourceVersion={{{{one/metadata/resourceVersion}}}}&resourceVersionMatch=Exact&limit=500"
            ),
        ),
        Exchange::get("a match without a revision", format!("{maps}?resourceVersionMatch=Exact")),
        Exchange::get(
            "a match that is none",
            format!("{maps}?resourceVersion=1&resourceVersionMatch=Perhaps"),
        ),
        Exchange::get("no number", format!("{maps}?resourceVersion=x")),
        Exchange::get("one not older", format!("{maps}/one?resourceVersion=0")),
        Exchange::get("in the future", format!("{maps}?resourceVersion=99999999")),
    ]
}
