//! The known bugs of `tests/mutants`, which `make mutants` makes one by one: each still fits the source, and the test that
//! catches it is there. Whether it does is for `make mutants`: each takes a build.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::architecture::root;
use crate::security::threats::tests;

/// What the issue names must not be lost when patches are renamed or put together.
const KNOWN: [&str; 7] = [
    "downgrade-after-restart",
    "stuck-after-restart",
    "stale-write-retried",
    "retried-after-504",
    "first-credential-wins",
    "token-error-swallowed",
    "partial-list-taken-for-whole",
];

fn patches() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/mutants")).expect("there is such a folder");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.filter(|path| path.extension() == Some("patch".as_ref())).collect()
}

/// The value of a line of its head.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.lines().take_while(|line| !line.starts_with("diff "));
    head.filter_map(|line| line.strip_prefix(name)).find_map(|rest| rest.strip_prefix(": "))
}

fn applies(patch: &Path) -> Result<(), String> {
    let output = Command::new("git").args(["apply", "--check"]).arg(patch).current_dir(root()).output();
    let output = output.expect("git is there, as the sources came by it");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_known_bug_can_still_be_made_and_names_its_test() {
    let tests = tests();
    let mut names = BTreeSet::new();
    for patch in patches() {
        let text = fs::read_to_string(&patch).expect("it is text");
        let name = patch.file_stem().and_then(|name| name.to_str()).expect("it has a name").to_owned();
        assert!(
            field(&text, "Bug").is_some_and(|bug| bug.ends_with('.')),
            "{name}: a line `Bug: what it is.`"
        );
        let test = field(&text, "Test").unwrap_or_else(|| panic!("{name}: a line `Test: lib|it path`"));
        let (kind, path) = test.split_once(' ').unwrap_or_else(|| panic!("{name}: `Test: lib|it path`"));
        assert!(["lib", "it"].contains(&kind), "{name}: {kind} is neither lib nor it");
        let function = path.rsplit("::").next().expect("it ends with something");
        assert!(tests.contains(function), "{name}: there is no test {function}");
        if let Err(why) = applies(&patch) {
            panic!(
                "{name} does not fit the source any more; make the mistake anew and write its diff: {why}"
            );
        }
        names.insert(name);
    }
    for known in KNOWN {
        assert!(names.contains(known), "tests/mutants/{known}.patch is not there");
    }
}
