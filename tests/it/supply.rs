//! What is built into the binary from elsewhere: licences, sources, crates that are not wanted, and crates of which two versions
//! are linked. Where cargo-deny is installed, `deny.toml` says the same to it.

mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use graph::{Graph, Package};

/// Licences that may be shipped with a program under Apache-2.0, by their SPDX identifiers.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are not linked, each with its reason.
const BANS: &[(&str, &str)] = &[
    ("openssl-sys", "TLS is rustls: no C library of the system is trusted with a registry's bytes"),
    ("native-tls", "the same"),
    ("aws-lc-sys", "one TLS provider, ring: a second one is a second place to mend"),
    (
        "oci-client",
        "its token step sends credentials where a registry says, and swallows errors (research page of reliability, 0.7)",
    ),
    (
        "reqwest-retry",
        "no request is sent again by itself: a stale leader's write would be (design §4, Commit)",
    ),
    ("serde_yaml", "no longer kept"),
    ("chrono", "one library of time, jiff"),
];

/// Crates of which the program links two versions, each with who asks for the older one.
const TWICE: &[(&str, &str)] = &[
    ("base64", "0.22: k8s-openapi and tower-http 0.6"),
    ("getrandom", "0.2: ring; 0.3: ahash"),
    ("hashbrown", "0.16: kube-runtime"),
    (
        "syn",
        "2: macros of tracing, pin-project, derive_more and async-stream; it runs when the program is built",
    ),
    ("tower-http", "0.6: reqwest"),
];

fn graph() -> Graph {
    Graph::read(Path::new(env!("CARGO_MANIFEST_DIR")))
}

/// Every way to fulfil an expression of licences is a set; one of ours suffices. `/` is the old way to write OR.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace(" / ", " OR ").replace('/', " OR ");
    // Where AND stands beside OR its parts are in brackets, in all that we have seen; each part needs one that is allowed.
    let expression = expression.replace(['(', ')'], "");
    expression.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn every_licence_is_one_that_may_be_shipped() {
    let refused: Vec<String> = graph()
        .packages()
        .filter(|package| !is_allowed(&package.licence))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.licence))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn a_licence_that_may_not_be_shipped_is_found() {
    for refused in ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "(MIT OR Apache-2.0) AND SSPL-1.0", ""] {
        assert!(!is_allowed(refused), "{refused:?}");
    }
    for allowed in ["MIT OR LGPL-2.1-or-later", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT/Apache-2.0"] {
        assert!(is_allowed(allowed), "{allowed:?}");
    }
}

#[test]
fn every_crate_comes_from_the_one_registry() {
    let graph = graph();
    let sources: BTreeSet<&str> = graph.packages().filter_map(|package| package.source.as_deref()).collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
    let local: Vec<&Package> = graph.packages().filter(|package| package.source.is_none()).collect();
    assert_eq!(local.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["tidegate"]);
}

#[test]
fn nothing_that_is_banned_is_linked() {
    let graph = graph();
    let linked = graph.shipped();
    assert!(linked.len() > 100, "the graph was not read: {}", linked.len());
    let found: Vec<&(&str, &str)> =
        BANS.iter().filter(|(name, _)| linked.iter().any(|package| package.name == *name)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn crates_that_are_linked_twice_are_known() {
    let graph = graph();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in graph.shipped() {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let found: BTreeSet<&str> = versions.keys().copied().collect();
    let known: BTreeSet<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known, "{versions:#?}");
}

#[test]
fn unsafe_code_cannot_be_allowed_anywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"), "forbid, which no attribute takes back");
}

#[test]
fn cargo_deny_is_told_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = fs::read_to_string(root.join("deny.toml")).unwrap();
    for licence in LICENCES {
        assert!(told.contains(&format!("\"{licence}\"")), "deny.toml lacks {licence}");
    }
    for (name, _) in BANS {
        assert!(told.contains(&format!("\"{name}\"")), "deny.toml lacks {name}");
    }
}
