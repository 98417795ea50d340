//! The alerts fire when they should, and alerts and board ask for metrics that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;
use tidegate::telemetry::metrics::{Metrics, RegistryRequest, SetFigures, SetLabels};

use crate::cluster::tools::Tools;

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/tidegate")
}

fn read(file: &str) -> String {
    fs::read_to_string(chart().join(file)).expect("the chart has the file")
}

/// Names of metrics that the text asks for; of a histogram, a counter or a summary without what is appended to it.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let name = Regex::new("tidegate_[a-z_]+").expect("a pattern");
    name.find_iter(text).map(|found| found.as_str().trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    let Some(tools) = Tools::require("monitoring", &["promtool"]) else { return };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("alerts-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("rules.yaml"), read("files/alerts.yaml")).expect("it can be written");
    fs::write(folder.join("cases.yaml"), include_str!("alerts.yaml")).expect("it can be written");
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "cases.yaml"]] {
        let output = Command::new(tools.path("promtool")).args(arguments).current_dir(&folder).output();
        let output = output.expect("promtool runs");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::remove_dir_all(folder).expect("it was ours");
}

#[test]
fn every_metric_of_alerts_and_board_exists() {
    let metrics = Metrics::default();
    let set = SetLabels { namespace: "prod".to_owned(), name: "acme".to_owned() };
    metrics.sets.set(set, SetFigures::default());
    // A family without a member is not printed.
    metrics.count_write("commit", "ok");
    let request = RegistryRequest { host: "r.io".into(), method: "HEAD".into(), code: "200".into() };
    metrics.registry_requests.get_or_create(&request).inc();
    let text = metrics.text();
    let known: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    for file in ["files/alerts.yaml", "files/dashboard.json"] {
        let asked = metrics_in(&read(file));
        assert!(asked.len() >= 5, "{file}: {asked:?}");
        for name in asked {
            let family = name.trim_end_matches("_total");
            assert!(
                known.contains(&name) || known.contains(family),
                "{file} asks for {name}; there are {known:?}"
            );
        }
    }
}

#[test]
fn panels_of_the_board_do_not_overlap() {
    let board: Value = serde_json::from_str(&read("files/dashboard.json")).expect("JSON");
    let mut taken = BTreeSet::new();
    for panel in board["panels"].as_array().expect("panels") {
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{} is wider than the board", panel["title"]);
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{} lies on another", panel["title"]);
        }
    }
    assert!(taken.len() > 100);
}
