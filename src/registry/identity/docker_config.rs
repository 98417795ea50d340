//! The user's own docker config file, for the command line. Where it lies is the caller's to say, and running
//! credential helpers too: here they are only named.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::model::Repository;
use crate::model::reference::DOCKER_HUB;
use crate::registry::identity::credentials::Credentials;
use crate::registry::identity::key::Key;
use crate::registry::identity::keyring::{DockerConfig, Keyring, parse};

/// Largest file read: a real one has a few kB; the same limit that Kubernetes puts on a Secret.
const FILE_MAX_BYTES: u64 = 1024 * 1024;
/// What docker gives a helper for Docker Hub.
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// What a docker config file says of one repository.
#[derive(Debug)]
pub enum Found {
    /// The credentials that stand in it.
    Credentials(Credentials),
    /// It leaves the credential to a program.
    Helper(Helper),
}

/// A credential helper to be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Helper {
    /// Name, as the file has it: the program is `docker-credential-NAME`. Not yet checked.
    pub name: String,
    /// What it is asked about, as docker writes it.
    pub server: String,
    /// A store of everything (`credsStore`), which may well know nothing of this server; not one for exactly
    /// this server (`credHelpers`).
    pub is_store: bool,
}

/// What the docker config file at `path` says of `repository`; nobody in particular when there is no such file
/// or no entry that fits. A helper for exactly its host comes before entries, and those before the store of
/// everything: docker would look into the store alone, but what a person wrote into the file is meant.
pub fn find(path: &Path, repository: &Repository) -> Found {
    let unusable = |why: String| Found::Credentials(Credentials::default().with_unusable(why));
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Found::Credentials(Credentials::default());
        }
        Err(error) => {
            return unusable(format!("failed to read {}: {error}; make it readable", path.display()));
        }
    };
    let mut config: DockerConfig = match parse(&bytes) {
        Ok(config) => config,
        Err(why) => return unusable(format!("{}: {why}", path.display())),
    };
    let host = repository.host();
    let means_host = |text: &str| Key::parse(text).is_some_and(|key| key.is_host(host));
    let helper = |name: &str, server: &str, is_store: bool| {
        Found::Helper(Helper { name: name.to_owned(), server: server.to_owned(), is_store })
    };
    if let Some((server, name)) = config.helpers.iter().find(|(key, _)| means_host(key)) {
        return helper(name, server, false);
    }
    // `docker login` with a store leaves an empty entry behind as the mark that the store knows the host.
    let mark = config.auths.iter().find(|(key, entry)| means_host(key) && entry.is_empty());
    let default = if host == DOCKER_HUB { DOCKER_HUB_SERVER } else { host };
    let server = mark.map_or(default, |(key, _)| key).to_owned();
    config.auths.retain(|_, entry| !entry.is_empty() || config.store.is_empty());
    let mut keyring = Keyring::default();
    keyring.add(&path.display().to_string(), &config.auths);
    let credentials = keyring.credentials(repository);
    if !config.store.is_empty() && !credentials.is_configured() {
        return helper(&config.store, &server, true);
    }
    Found::Credentials(credentials)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_MAX_BYTES {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of its own for each test, removed at the end.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str, content: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidegate-{}-{name}.json", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _gone = std::fs::remove_file(&self.0);
        }
    }

    fn credentials(path: &Path, repository: &str) -> Credentials {
        match find(path, &repository.parse().unwrap()) {
            Found::Credentials(credentials) => credentials,
            other @ Found::Helper(_) => panic!("{other:?}"),
        }
    }

    fn helper(path: &Path, repository: &str) -> (String, String, bool) {
        match find(path, &repository.parse().unwrap()) {
            Found::Helper(Helper { name, server, is_store }) => (name, server, is_store),
            other @ Found::Credentials(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_file_and_no_entry_are_nobody() {
        assert!(!credentials(Path::new("/does/not/exist"), "r.io/a").is_configured());
        let file = Scratch::new("none", r#"{"auths":{"other.io":{"auth":"YTpi"}}}"#);
        assert!(!credentials(&file.0, "r.io/a").is_configured());
    }

    #[test]
    fn entries_in_the_file_are_used_before_the_store() {
        let file = Scratch::new("plain", r#"{"auths":{"r.io":{"auth":"YTpi"}},"credsStore":"desktop"}"#);
        let found = credentials(&file.0, "r.io/a");
        assert_eq!(found.candidates().len(), 1);
        assert!(found.candidates()[0].source.ends_with("plain.json"), "{:?}", found.candidates()[0]);
    }

    #[test]
    fn helpers_are_named_with_what_they_are_asked() {
        let file = Scratch::new(
            "helper",
            r#"{"auths":{"https://s.io/v2/":{},"https://index.docker.io/v1/":{}},"credsStore":"desktop",
                "credHelpers":{"r.io":"ecr-login"}}"#,
        );
        assert_eq!(helper(&file.0, "r.io/a"), ("ecr-login".into(), "r.io".into(), false));
        assert_eq!(helper(&file.0, "s.io/a"), ("desktop".into(), "https://s.io/v2/".into(), true));
        assert_eq!(helper(&file.0, "nginx"), ("desktop".into(), DOCKER_HUB_SERVER.into(), true));
        assert_eq!(helper(&file.0, "t.io:5000/a"), ("desktop".into(), "t.io:5000".into(), true));
    }

    #[test]
    fn an_empty_entry_without_a_store_is_unusable() {
        let file = Scratch::new("empty", r#"{"auths":{"r.io":{}}}"#);
        assert!(credentials(&file.0, "r.io/a").refusal().unwrap().contains("no `auth`"));
    }

    #[test]
    fn a_broken_or_huge_file_is_unusable() {
        let file = Scratch::new("broken", "{");
        let why = |path: &Path| credentials(path, "r.io/a").refusal().unwrap();
        assert!(why(&file.0).contains("broken JSON at line 1"));
        let file = Scratch::new("huge", &" ".repeat(1024 * 1024 + 1));
        assert!(why(&file.0).contains("1 MiB"));
    }
}
