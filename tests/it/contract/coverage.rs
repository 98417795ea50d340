//! Nothing that the controller may do is without an exchange.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate::embedded::api::{ApiRecord, Verb};

use super::{STORIES, SUITE, side};
use crate::cluster::chart::Chart;

/// API group, resource with its subresource, and verb.
type Right = (String, String, String);

/// Where the controller's rights are asked for by people alone.
const PEOPLE: [&str; 2] = ["-view", "-edit"];

/// What the chart lets the controller do, all features on.
fn rights(chart: &Chart) -> BTreeSet<Right> {
    let values = json!({"guard": {"enabled": true}, "secrets": {"namespaces": ["acme"]}});
    let objects = chart.render("tidegate", "tidegate", &values).expect("the chart renders");
    let roles = objects.iter().filter(|object| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        matches!(object["kind"].as_str(), Some("Role" | "ClusterRole"))
            && !PEOPLE.iter().any(|people| name.ends_with(people))
    });
    let rules = roles.flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default());
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                for verb in words(&rule["verbs"]) {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

fn right(record: &ApiRecord) -> Right {
    let verb = match record.verb {
        Verb::Get => "get",
        Verb::List => "list",
        Verb::Watch => "watch",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
    };
    let resource = match &record.subresource {
        Some(subresource) => format!("{}/{subresource}", record.plural),
        None => record.plural.clone(),
    };
    (record.group.clone(), resource, verb.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_of_the_controller_has_an_exchange() {
    let Some(chart) = Chart::require(SUITE) else { return };
    let Some(tools) = crate::cluster::tools::Tools::require(SUITE, &["flux-crds"]) else { return };
    let stories = STORIES.iter().map(|story| {
        let embedded = side::embedded(tools.path("flux-crds"));
        async move {
            let mut side = embedded.side();
            for exchange in (story.exchanges)(story.name) {
                side.exchange(&exchange).await;
            }
            embedded.api.requests()
        }
    });
    let records = futures::future::join_all(stories).await.concat();
    assert!(records.len() >= 400, "only {} exchanges were sent", records.len());
    // Where the kind is served; that an object is absent is an answer that the controller relies on too.
    let told: BTreeSet<Right> =
        records.iter().filter(|record| matches!(record.code, 200..400 | 404 | 409)).map(right).collect();
    let rights = rights(&chart);
    assert!(rights.len() >= 40, "only {} rights were found", rights.len());
    let missing: Vec<&Right> = rights.difference(&told).collect();
    assert!(missing.is_empty(), "no exchange tells of {missing:#?}");
}
