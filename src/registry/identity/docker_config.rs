//! The user's own docker config file, for the command line. Where it lies is the caller's to say.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::registry::identity::credentials::{Credential, host_of_key, parse};

/// Largest file read: a real one has a few kB; the same limit that Kubernetes puts on a Secret.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// The credential for `host` in the docker config file at `path`; Anonymous when there is no such file or no
/// entry for the host. Credential helpers are never run: a host that needs one is Unusable.
pub fn credential(path: &Path, host: &str) -> Credential {
    let unusable = |why: String| Credential::Unusable { why };
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Credential::Anonymous,
        Err(error) => {
            return unusable(format!("failed to read {}: {error}; make it readable", path.display()));
        }
    };
    let config = match parse(&bytes) {
        Ok(config) => config,
        Err(why) => return unusable(format!("{}: {why}", path.display())),
    };
    let entry = config.entry(host);
    let helper = config.helpers.iter().find(|(key, _)| host_of_key(key) == host).map(|(_, helper)| helper);
    // `docker login` with a store leaves an empty entry behind as the mark that the store knows the host.
    let stored = !config.store.is_empty()
        && entry.is_some_and(crate::registry::identity::credentials::Entry::is_empty);
    let helper = helper.or(stored.then_some(&config.store));
    match (helper, entry) {
        (Some(helper), _) => unusable(format!(
            "{} keeps the credential for {host} in the credential helper `{helper}`, and helpers are not \
             supported yet; `docker login {host}` with a plain config file works (remove credsStore and \
             credHelpers from it)",
            path.display()
        )),
        (None, Some(entry)) => entry.credential(host),
        (None, None) => Credential::Anonymous,
    }
}

pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
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

    fn why(credential: Credential) -> String {
        match credential {
            Credential::Unusable { why } => why,
            other => panic!("{other:?} is not Unusable"),
        }
    }

    #[test]
    fn no_file_and_no_entry_are_anonymous() {
        assert!(matches!(credential(Path::new("/does/not/exist"), "r.io"), Credential::Anonymous));
        let file = Scratch::new("none", r#"{"auths":{"other.io":{"auth":"YTpi"}},"credsStore":"desktop"}"#);
        assert!(matches!(credential(&file.0, "r.io"), Credential::Anonymous), "the store never saw r.io");
    }

    #[test]
    fn plain_entries_are_used() {
        let file = Scratch::new("plain", r#"{"auths":{"r.io":{"auth":"YTpi"}},"credsStore":"desktop"}"#);
        assert!(matches!(credential(&file.0, "r.io"), Credential::Basic { .. }));
    }

    #[test]
    fn helpers_are_named_with_the_way_out() {
        let file = Scratch::new(
            "helper",
            r#"{"auths":{"s.io":{}},"credsStore":"desktop","credHelpers":{"r.io":"ecr-login"}}"#,
        );
        let (helper, store) = (why(credential(&file.0, "r.io")), why(credential(&file.0, "s.io")));
        assert!(helper.contains("`ecr-login`") && helper.contains("docker login r.io"), "{helper}");
        assert!(store.contains("`desktop`"), "{store}");
    }

    #[test]
    fn a_broken_or_huge_file_is_unusable() {
        let file = Scratch::new("broken", "{");
        assert!(why(credential(&file.0, "r.io")).contains("broken JSON at line 1"));
        let file = Scratch::new("huge", &" ".repeat(1024 * 1024 + 1));
        assert!(why(credential(&file.0, "r.io")).contains("1 MiB"));
    }
}
