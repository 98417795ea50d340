//! The graph of crates, as `cargo metadata` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One crate in one version.
#[derive(Clone, Debug, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// An SPDX expression, as its author wrote it; empty when there is none.
    pub licence: String,
    /// `None` for a folder of this machine.
    pub source: Option<String>,
}

/// All crates that the lock file knows.
pub struct Graph {
    root: String,
    packages: BTreeMap<String, Package>,
    /// What each crate links when the program is built, for Linux.
    links: BTreeMap<String, Vec<String>>,
}

impl Graph {
    pub fn read(folder: &Path) -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(folder)
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = told["packages"].as_array().expect("a list").iter().map(|package| {
            let read = Package {
                name: text(&package["name"]),
                version: text(&package["version"]),
                licence: text(&package["license"]),
                source: package["source"].as_str().map(str::to_owned),
            };
            (text(&package["id"]), read)
        });
        let links = told["resolve"]["nodes"].as_array().expect("a list").iter().map(|node| {
            let linked = node["deps"].as_array().expect("a list").iter().filter(|link| {
                link["dep_kinds"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
            });
            (text(&node["id"]), linked.map(|link| text(&link["pkg"])).collect())
        });
        Self { root: text(&told["resolve"]["root"]), packages: packages.collect(), links: links.collect() }
    }

    /// All of them, those of tests and builds too.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// What the program is made of.
    pub fn shipped(&self) -> Vec<&Package> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![&self.root];
        while let Some(id) = waiting.pop() {
            if found.insert(id) {
                waiting.extend(&self.links[id]);
            }
        }
        found.into_iter().map(|id| &self.packages[id]).collect()
    }
}
