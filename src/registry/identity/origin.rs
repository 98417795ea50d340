//! Where the user's own docker config file has a credential: its file and key, for sentences that say what to mend.
//! Never the credential itself.

use std::path::{Path, PathBuf};

use crate::model::Repository;
use crate::registry::identity::docker_config;

/// Where the command line's credential for a repository comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The docker config file; `None` when no place for one is known (neither `DOCKER_CONFIG` nor `HOME`).
    pub file: Option<PathBuf>,
    /// What is in it for the repository.
    pub found: Found,
}

/// What a docker config file has for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no file.
    NoFile,
    /// The file, or what it has for this repository, cannot be used.
    Unusable,
    /// Nothing in the file is for this repository.
    NoEntry,
    /// The entry of `auths` with this key, without scheme and version path; of several, which are tried in turn, all keys with commas between them.
    Key(String),
    /// A credential helper, without its prefix `docker-credential-`.
    Helper(String),
}

// === impl Origin ===

impl Origin {
    /// Looks for the credential of `repository` in the docker config file at `file`, as
    /// [`docker_config::find`] does.
    pub fn of(file: Option<&Path>, repository: &Repository) -> Self {
        let found = file.map_or(Found::NoFile, |file| Found::at(file, repository));
        Self { file: file.map(Path::to_path_buf), found }
    }
}

// === impl Found ===

impl Found {
    fn at(file: &Path, repository: &Repository) -> Self {
        let credentials = match docker_config::find(file, repository) {
            docker_config::Found::Helper(helper) => return Self::Helper(helper.name),
            docker_config::Found::Credentials(credentials) => credentials,
        };
        if credentials.refusal().is_some() {
            return Self::Unusable;
        }
        // Sources read "the entry `KEY` of FILE".
        let keys: Vec<&str> =
            credentials.candidates().iter().filter_map(|one| one.source.split('`').nth(1)).collect();
        match keys.is_empty() {
            false => Self::Key(keys.join(", ")),
            true if file.exists() => Self::NoEntry,
            true => Self::NoFile,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &Path, repository: &str) -> Found {
        Origin::of(Some(file), &repository.parse().unwrap()).found
    }

    #[test]
    fn the_keys_are_named_in_the_order_in_which_they_are_tried() {
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"ghcr.io/acme":{"auth":"YTpi"},
            "ghcr.io":{"auth":"YTpj"},"e.io":{}},"credHelpers":{"123.dkr.ecr.eu-west-1.amazonaws.com":"ecr-login"}}"#;
        let file = std::env::temp_dir().join(format!("tidegate-{}-origin.json", std::process::id()));
        std::fs::write(&file, config).unwrap();
        for (repository, expected) in [
            ("acme/app", Found::Key("docker.io".into())),
            ("ghcr.io/acme/app", Found::Key("ghcr.io/acme, ghcr.io".into())),
            ("123.dkr.ecr.eu-west-1.amazonaws.com/app", Found::Helper("ecr-login".into())),
            ("quay.io/acme/app", Found::NoEntry),
            ("e.io/app", Found::Unusable),
        ] {
            assert_eq!(at(&file, repository), expected, "{repository}");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_file_that_is_absent_or_unreadable_is_said_to_be_so() {
        assert_eq!(Origin::of(None, &"ghcr.io/acme/app".parse().unwrap()).found, Found::NoFile);
        assert_eq!(at(Path::new("/does/not/exist"), "ghcr.io/acme/app"), Found::NoFile);
        assert_eq!(at(&std::env::temp_dir(), "ghcr.io/acme/app"), Found::Unusable);
    }
}
