//! Where the user's own docker config file has a credential: its file and key, for sentences that say what to mend.
//! Never the credential itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::model::Repository;
use crate::registry::identity::credentials::{DockerConfig, Entry, host_of_key, parse};
use crate::registry::identity::docker_config::read;

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
    /// The file cannot be read or is not the JSON it should be.
    Unreadable,
    /// Nothing in the file is for this repository.
    NoEntry,
    /// The entry of `auths` with this key.
    Key(String),
    /// A credential helper, without its prefix `docker-credential-`.
    Helper(String),
}

// === impl Origin ===

impl Origin {
    /// Looks for the credential of `repository` in the docker config file at `file`, as
    /// [`docker_config::credential`](crate::registry::docker_config::credential) does.
    pub fn of(file: Option<&Path>, repository: &Repository) -> Self {
        let found = file.map_or(Found::NoFile, |file| Found::at(file, repository));
        Self { file: file.map(Path::to_path_buf), found }
    }
}

// === impl Found ===

impl Found {
    fn at(file: &Path, repository: &Repository) -> Self {
        match read(file) {
            Ok(bytes) => {
                parse(&bytes).map_or(Self::Unreadable, |config| Self::within(&config, repository.host()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Self::NoFile,
            Err(_) => Self::Unreadable,
        }
    }

    fn within(config: &DockerConfig, host: &str) -> Self {
        let helper = config.helpers.iter().find(|(key, _)| host_of_key(key) == host);
        if let Some((_, helper)) = helper {
            return Self::Helper(helper.clone());
        }
        let means_host = |(key, _): &(&String, &Entry)| host_of_key(key) == host;
        let entry = config.auths.get_key_value(host).or_else(|| config.auths.iter().find(means_host));
        match entry {
            Some((_, entry)) if entry.is_empty() && !config.store.is_empty() => {
                Self::Helper(config.store.clone())
            }
            Some((key, _)) => Self::Key(key.clone()),
            None => Self::NoEntry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(text: &str, repository: &str) -> Found {
        let repository: Repository = repository.parse().unwrap();
        Found::within(&parse(text.as_bytes()).unwrap(), repository.host())
    }

    #[test]
    fn the_key_is_named_as_it_is_written() {
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"ghcr.io":{"auth":"YTpi"},"s.io":{}},
            "credsStore":"desktop","credHelpers":{"123.dkr.ecr.eu-west-1.amazonaws.com":"ecr-login"}}"#;
        for (repository, expected) in [
            ("acme/app", Found::Key("https://index.docker.io/v1/".into())),
            ("ghcr.io/acme/app", Found::Key("ghcr.io".into())),
            ("s.io/acme/app", Found::Helper("desktop".into())),
            ("123.dkr.ecr.eu-west-1.amazonaws.com/app", Found::Helper("ecr-login".into())),
            ("quay.io/acme/app", Found::NoEntry),
        ] {
            assert_eq!(within(config, repository), expected, "{repository}");
        }
    }

    #[test]
    fn a_file_that_is_absent_or_unreadable_is_said_to_be_so() {
        let repository: Repository = "ghcr.io/acme/app".parse().unwrap();
        assert_eq!(Origin::of(None, &repository).found, Found::NoFile);
        assert_eq!(Origin::of(Some(Path::new("/does/not/exist")), &repository).found, Found::NoFile);
        let folder = std::env::temp_dir();
        assert_eq!(Origin::of(Some(&folder), &repository).found, Found::Unreadable);
    }
}
