//! Every scenario file on every world that it names.

mod embedded;
mod engine;
mod real;

use std::path::PathBuf;

use tidegate::cli::demo::scenario::{Scenario, World};

/// Every file of `tests/scenarios`, by name.
pub fn all() -> Vec<Scenario> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let scenarios: Vec<Scenario> = files
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let scenario =
                Scenario::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert_eq!(Some(scenario.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()));
            scenario
        })
        .collect();
    assert!(scenarios.len() >= 20, "the scenario files were not found");
    scenarios
}

/// The scenarios that a world plays; only the one that `TIDEGATE_SCENARIO` names when it is set.
#[expect(clippy::disallowed_methods, reason = "tests read their own settings")]
pub fn of(world: World) -> Vec<Scenario> {
    let only = std::env::var("TIDEGATE_SCENARIO").ok();
    all()
        .into_iter()
        .filter(|scenario| scenario.worlds.contains(&world))
        .filter(|scenario| only.as_ref().is_none_or(|only| *only == scenario.name))
        .collect()
}

/// Fails with everything that was not as expected.
pub fn verdict(world: World, failures: &[String], played: usize) {
    assert!(played > 0, "no scenario was played");
    assert!(failures.is_empty(), "{world:?} world, {played} scenarios:\n{}", failures.join("\n"));
}
