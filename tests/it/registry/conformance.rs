//! The embedded registry against the conformance suite of the OCI distribution specification: pull and content
//! discovery (tags) with the pushes that they need.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tidegate::embedded::registry::{Options, RegistryServer};
use tidegate::telemetry::clock::Clock;

use crate::cluster::server::folder;
use crate::cluster::tools::Tools;

/// What is switched off, each for a reason: see `docs` of the suite for the names.
const SETTINGS: [(&str, &str); 12] = [
    ("OCI_VERSION", "1.1"),
    ("OCI_TLS", "disabled"),
    ("OCI_REPO1", "conformance/one"),
    ("OCI_REPO2", "conformance/two"),
    ("OCI_API_PULL", "true"),
    ("OCI_API_PUSH", "true"),
    ("OCI_API_TAGS_LIST", "true"),
    // Stricter than the specification, and what our client lives on.
    ("OCI_API_MANIFESTS_DIGEST_HEADER", "true"),
    // No part of pull or content discovery by tags: the registry knows neither referrers nor sha512.
    ("OCI_API_REFERRER", "false"),
    ("OCI_DATA_SHA512", "false"),
    ("OCI_DATA_SUBJECT_MISSING", "false"),
    ("OCI_LOG", "error"),
];

/// Cases that must have run: a suite that skipped them would prove nothing.
const REQUIRED: [&str; 3] = ["manifest-get", "tag-list", "blob-get"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_registry_passes_pull_and_content_discovery() {
    let Some(tools) = Tools::require("registry conformance", &["conformance"]) else { return };
    let registry = RegistryServer::start(Options::default(), Clock::system()).await.unwrap();
    let results = folder("conformance");
    let program = tools.path("conformance").to_owned();
    let (host, there) = (registry.host(), results.clone());
    let output = tokio::task::spawn_blocking(move || run(&program, &host, &there)).await.unwrap();
    let report = fs::read_to_string(results.join("junit.xml")).unwrap_or_else(|error| {
        panic!("the suite left no report ({error}): {}", String::from_utf8_lossy(&output.stderr))
    });
    let cases = cases(&report);
    let failed: Vec<&Case> =
        cases.iter().filter(|case| matches!(&*case.status, "failure" | "error")).collect();
    assert!(failed.is_empty() && output.status.success(), "{failed:#?}");
    for wanted in REQUIRED {
        let passed = |case: &&Case| case.status == "passed" && case.name.contains(wanted);
        assert!(cases.iter().filter(passed).count() > 0, "{wanted} did not run: {cases:#?}");
    }
    fs::remove_dir_all(results).unwrap();
}

fn run(program: &Path, host: &str, results: &Path) -> Output {
    Command::new(program)
        .current_dir(results)
        .envs(SETTINGS)
        .env("OCI_REGISTRY", host)
        .env("OCI_RESULTS_DIR", results)
        .output()
        .expect("the conformance suite can be started")
}

/// One case of the report.
#[derive(Debug)]
struct Case {
    name: String,
    status: String,
    /// What was said about a failure.
    #[expect(dead_code, reason = "printed when a case fails")]
    words: String,
}

/// The cases of a `junit.xml`. Its shape is the suite's own (attributes in one order, no nesting of cases), so that no XML
/// reader is needed.
fn cases(report: &str) -> Vec<Case> {
    let attribute = |text: &str, name: &str| {
        let start = text.find(&format!(" {name}=\""))? + name.len() + 3;
        Some(text[start..].split('"').next()?.to_owned())
    };
    report
        .split("<testcase")
        .skip(1)
        .map(|text| {
            let said = text.find("<system-out>");
            let class = attribute(text, "classname").unwrap_or_default();
            Case {
                name: format!("{class}/{}", attribute(text, "name").unwrap_or_default()),
                status: attribute(text, "status").unwrap_or_default(),
                words: said.map_or("", |at| &text[at..]).chars().take(600).collect(),
            }
        })
        .collect()
}
