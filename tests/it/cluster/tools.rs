//! Where the real parts are, and what a suite does when they are missing. Building them is the work of `hack/tools`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Found tools by name; each is an executable file.
#[derive(Clone, Debug)]
pub struct Tools(BTreeMap<String, PathBuf>);

// === impl Tools ===

impl Tools {
    /// The tools that `suite` needs, or `None` after one printed line that says why the suite is skipped.
    ///
    /// # Panics
    /// When one is missing and `CI` is set: there a suite that cannot run has failed.
    pub fn require(suite: &str, names: &[&str]) -> Option<Self> {
        match Self::find(names) {
            Ok(tools) => Some(tools),
            Err(missing) => {
                skip(suite, &hint(&missing));
                None
            }
        }
    }

    /// All of `names`, or the names of those that are not built.
    pub fn find(names: &[&str]) -> Result<Self, Vec<String>> {
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for name in names {
            match locate(name) {
                Some(path) => drop(found.insert((*name).to_owned(), path)),
                None => missing.push((*name).to_owned()),
            }
        }
        if missing.is_empty() { Ok(Self(found)) } else { Err(missing) }
    }

    /// The executable of a tool that was asked for.
    pub fn path(&self, name: &str) -> &Path {
        self.0.get(name).unwrap_or_else(|| panic!("{name} was not asked for in Tools::require"))
    }
}

/// Prints one line that says why `suite` is skipped.
///
/// # Panics
/// When `CI` is set: there a suite that cannot run has failed.
pub fn skip(suite: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{suite} cannot run: {why}");
    say_once(format!("skipped {suite}: {why}"));
}

/// Prints a line, the first time only, past the capture of the test runner, which hides what passing tests print.
pub fn say_once(line: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&line) {
        // Standard error that cannot be written to leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "{line}");
        said.insert(line);
    }
}

/// What is missing and the one line that mends it.
fn hint(missing: &[String]) -> String {
    format!("{} not built; run: hack/tools {} (or: make test)", missing.join(", "), missing.join(" "))
}

/// Asks `hack/tools`, so that one place knows the layout of the cache.
fn locate(name: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/tools");
    let output = Command::new(script).arg("--path").arg(name).output().expect("hack/tools runs");
    if !output.status.success() {
        return None;
    }
    let path = String::from_utf8(output.stdout).expect("paths are UTF-8");
    Some(PathBuf::from(path.trim_end()))
}

#[test]
fn the_hint_names_what_is_missing_and_what_to_run() {
    let missing = Tools::find(&["no-such-tool"]).unwrap_err();
    assert_eq!(hint(&missing), "no-such-tool not built; run: hack/tools no-such-tool (or: make test)");
}
