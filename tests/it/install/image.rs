//! The controller's image, made by `hack/image`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Which source an image is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The tree as it is.
    Tree,
    /// The last commit without a chart.
    Before,
}

// === impl Source ===

impl Source {
    /// The image's tag in the cluster's registry.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Before => "before",
        }
    }

    /// That the image is made already; else the one line that says what to run.
    pub fn check(self) -> Result<(), String> {
        self.ask("path", &[]).map(drop)
    }

    /// Pushes it to the registry at `host`.
    pub fn push(self, host: &str, repository: &str) {
        let place = format!("{host}/{repository}:{}", self.tag());
        self.ask("push", &[&place]).expect("the image can be pushed");
    }

    /// The folder of the source's files.
    pub fn files(self) -> PathBuf {
        match self {
            Self::Tree => env!("CARGO_MANIFEST_DIR").into(),
            Self::Before => self.ask("source", &[]).expect("its image was made of it").into(),
        }
    }

    fn ask(self, command: &str, arguments: &[&str]) -> Result<String, String> {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/image"));
        script.arg(command).args(arguments);
        if self == Self::Before {
            script.arg("before");
        }
        let output = script.output().expect("hack/image runs");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(said.trim().trim_start_matches("hack/image: ").to_owned())
    }
}
