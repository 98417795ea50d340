//! SECURITY.md says of every threat which test holds it; each of these tests is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::architecture::rust_sources;

/// Names of all functions under `tests/it` and `src` that are tests.
pub fn tests() -> BTreeSet<String> {
    rust_sources(&["tests/it", "src"]).iter().flat_map(|(_, text)| tests_of(text)).collect()
}

/// A function right after an attribute that makes it a test, or inside `proptest!`, where it follows an attribute too.
fn tests_of(text: &str) -> Vec<String> {
    let mut is_test = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
            if is_test {
                found.push(rest.split('(').next().unwrap_or_default().to_owned());
            }
            is_test = false;
        }
    }
    found
}

#[test]
fn every_threat_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, model) = page.split_once("\n## Threat model\n").expect("SECURITY.md has a threat model");
    let rows: Vec<&str> =
        model.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat")).collect();
    assert!(rows.len() >= 15, "only {} rows", rows.len());
    let known = tests();
    for row in rows {
        let held_by = row.trim_end_matches('|').rsplit('|').next().expect("a row has cells");
        let named: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test holds: {row}");
        for test in named {
            assert!(known.contains(test), "there is no test {test}: {row}");
        }
    }
}

#[test]
fn only_functions_that_are_tests_count() {
    let text = "#[test]\nfn one() {}\nfn two() {}\n#[tokio::test]\nasync fn three() {}";
    assert_eq!(tests_of(text), ["one", "three"]);
}
