//! Words of the code that a page must explain: conditions, reasons, metrics, alerts.

use std::collections::BTreeSet;

use tidegate::model::{ConditionType, Reason};

use super::page::Page;
use super::root;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_condition_and_reason_is_explained() {
    let page = read("docs/reference/conditions-and-events.md");
    let missing: Vec<&str> = ConditionType::ALL
        .iter()
        .map(|condition| condition.as_str())
        .chain(Reason::ALL.iter().map(|reason| reason.as_str()))
        .filter(|word| !page.contains(&format!("| `{word}` |")))
        .collect();
    assert!(missing.is_empty(), "docs/reference/conditions-and-events.md has no row for {missing:?}");
}

#[test]
fn every_metric_is_explained_and_none_that_is_gone() {
    let page = read("docs/reference/metrics.md");
    // A family without a sample is not in the text that is served, so the source is read.
    let source = read("src/telemetry/metrics.rs") + &read("src/telemetry/metrics/sets.rs");
    // A name and what is said of it: register("leader", "1 while…"), ("stalled", "1 while…", …).
    let pattern =
        regex::Regex::new(r#"\(\s*"([a-z_]+)",\s*(?:"[A-Z0-9]|help)"#).expect("the pattern is valid");
    let known: BTreeSet<String> =
        pattern.captures_iter(&source).map(|found| format!("tidegate_{}", &found[1])).collect();
    assert!(known.len() >= 10, "{known:?}");
    let explained: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `tidegate_"))
        .filter_map(|rest| Some(format!("tidegate_{}", rest.split_once('`')?.0.trim_end_matches("_total"))))
        .collect();
    assert_eq!(known, explained, "docs/reference/metrics.md");
}

/// Alerts name a section of the page by their own name in lower case.
#[test]
fn every_alert_has_a_section() {
    let page = Page::read(root(), &root().join("docs/how-to/alerts.md"));
    let mut alerts: BTreeSet<String> = [
        "TidegateNoLeader",
        "TidegateCandidateOverdue",
        "TidegateRegistryUnknown",
        "TidegateTargetBehind",
        "TidegateTagMoved",
        "TidegatePromotedUnavailable",
    ]
    .map(str::to_lowercase)
    .into();
    let mut files = vec![root().join("charts/tidegate")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("it can be listed");
            files.extend(entries.map(|entry| entry.expect("it can be read").path()));
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let named = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        alerts.extend(named.map(|name| name.trim().to_lowercase()));
        for url in text.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")) {
            let (file, anchor) = url.split_once('#').expect("an alert names a section");
            assert!(file.ends_with("docs/how-to/alerts.md") && alerts.contains(anchor), "{url}");
        }
    }
    let anchors = page.anchors();
    let missing: Vec<&String> = alerts.iter().filter(|alert| !anchors.contains(*alert)).collect();
    assert!(missing.is_empty(), "docs/how-to/alerts.md has no section for {missing:?}");
}
