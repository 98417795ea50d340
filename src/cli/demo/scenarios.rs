//! Every scenario file of `tests/scenarios`, in the binary, and the names that a mistyped one may mean.

use super::scenario::{Scenario, ScenarioError};

/// The scenario that is told without a name.
pub const FOUNDING_INCIDENT: &str = "founding-incident";
/// Names that are offered for one that is not there.
const OFFERED_MAX: usize = 3;

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        /// Name and text, in the order of the names.
        pub const FILES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../tests/scenarios/", $name, ".yaml")))),+];
    };
}

files!(
    "app-fails",
    "app-first",
    "app-last",
    "app-middle",
    "arm64-late-advisory",
    "arm64-late-required",
    "arm64-required-later",
    "founding-incident",
    "index-repushed-promoted",
    "index-repushed-testing",
    "index-repushed-waiting",
    "nightly-beside-release",
    "os-variants",
    "pin-and-unpin",
    "restart-while-waiting",
    "retry-caught-blended",
    "retry-same-tag",
    "same-revision",
    "semver-floor",
    "semver-range",
    "sibling-late",
    "sibling-never",
    "sibling-never-held",
    "spec-adds-image",
    "steady-stream",
    "superseded",
    "suspended",
    "tag-moved-repromote",
    "token-expires",
    "two-releases-overlap",
    "worker-crashes",
);

/// The scenario of that name; `None` when there is none.
pub fn find(name: &str) -> Option<Result<Scenario, ScenarioError>> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(Scenario::parse(text))
}

/// Takes the name of a scenario from the command line.
///
/// # Errors
/// When there is none of that name, with those that it may mean.
pub fn name(text: &str) -> Result<String, String> {
    if FILES.iter().any(|(known, _)| *known == text) {
        return Ok(text.to_owned());
    }
    let names = closest(text).join(", ");
    Err(format!("there is no such scenario; the closest are {names}; `tidegate demo --list` prints all"))
}

/// The names that are closest to `text`, best first: those that hold it, then those with the fewest edits.
fn closest(text: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
    names.sort_by_key(|name| (text.is_empty() || !name.contains(text), edits(text, name)));
    names.truncate(OFFERED_MAX);
    names
}

/// Levenshtein's distance, in bytes: the names are ASCII.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (at, against) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != against);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_here_under_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".yaml").to_owned())
            .collect();
        files.sort();
        assert_eq!(files, FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, _) in FILES {
            assert_eq!(find(name).unwrap().unwrap().name, *name);
        }
        assert!(find("").is_none());
    }

    #[test]
    fn a_mistyped_name_is_offered_the_closest() {
        assert_eq!(closest("sibling-layt")[0], "sibling-late");
        assert_eq!(closest("semver")[..2], ["semver-floor", "semver-range"]);
        assert_eq!(closest("").len(), OFFERED_MAX);
        assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("a", "a")), (3, 3, 0));
        assert_eq!(name("suspended").unwrap(), "suspended");
        assert!(name("suspend").unwrap_err().contains("the closest are suspended,"));
    }
}
