//! Docker's credential helpers, for the command line alone: programs `docker-credential-NAME` that the user's
//! docker config file names. The controller runs nothing of the kind.
//!
//! Protocol: github.com/docker/docker-credential-helpers, `get`: the server's address on standard input, JSON
//! with `Username` and `Secret` on standard output; on failure words and an exit code that is not 0.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::{Mutex, oneshot};

use crate::cli::env::Environment;
use crate::model::Repository;
use crate::registry::credentials::Candidate;
use crate::registry::docker_config::{self, Found, Helper};
use crate::registry::keyring::credential_of;
use crate::registry::{CredentialSource, Credentials};

/// Longest run of a helper: one that asks a cloud takes 1 to 3 s, and one that waits for a person is of no use
/// to a command that may run in CI.
const HELPER_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks whether a program that closed its output has ended.
const ENDING_PAUSE: Duration = Duration::from_millis(5);
/// Such looks: one second, after an answer that was there in time.
const ENDING_LOOKS: u32 = 200;
/// Largest answer: tokens of clouds have up to 4 kB.
const OUTPUT_MAX_BYTES: u64 = 64 * 1024;
/// Longest name: a program's name has at most 255 bytes on every system.
const NAME_MAX_BYTES: usize = 200;
/// What every helper says of a server that it does not know (`credentials.NewErrCredentialsNotFound`).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user's docker config file and the helpers that it names. A helper is asked once about a server.
pub struct DockerConfigFile {
    /// Where the file is; without one everybody is asked anonymously.
    path: Option<PathBuf>,
    /// Folders with programs, as `PATH` has them.
    search_path: OsString,
    asked: Mutex<BTreeMap<Helper, Credentials>>,
}

/// What a helper answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Why a helper gave no credential. Its own words are not repeated: they may hold what it was asked to keep.
#[derive(Debug, thiserror::Error)]
enum HelperError {
    #[error("its name holds characters that no program's name has")]
    Name,
    #[error("there is no program of that name in PATH")]
    Absent,
    #[error("it did not end within {} s", HELPER_LIMIT.as_secs())]
    TimedOut,
    #[error("it answered more than {OUTPUT_MAX_BYTES} bytes")]
    TooMuch,
    #[error("it ended with {0}")]
    Failed(ExitStatus),
    #[error("its answer is not the JSON that it should be")]
    Answer,
    #[error("it could not be run ({0})")]
    Run(#[source] io::Error),
}

// === impl DockerConfigFile ===

impl DockerConfigFile {
    /// The file that the environment names, not yet read.
    pub fn of(environment: &Environment) -> Self {
        Self {
            path: environment.docker_config_file.clone(),
            search_path: environment.search_path.clone().unwrap_or_default(),
            asked: Mutex::default(),
        }
    }

    async fn found(&self, path: &Path, repository: &Repository) -> Credentials {
        let helper = match docker_config::find(path, repository) {
            Found::Credentials(credentials) => return credentials,
            Found::Helper(helper) => helper,
        };
        let mut asked = self.asked.lock().await;
        if let Some(known) = asked.get(&helper) {
            return known.clone();
        }
        let credentials = self.answered(path, &helper).await;
        asked.insert(helper, credentials.clone());
        credentials
    }

    /// The credentials that a helper gives, or why it gives none.
    async fn answered(&self, path: &Path, helper: &Helper) -> Credentials {
        let source = format!("the credential helper `{}` of {}", helper.name, path.display());
        match self.ask(helper).await {
            Ok(Some(answer)) => {
                let credential = credential_of(answer.username, answer.secret);
                let mut credentials = Credentials::default();
                credentials.push(Candidate { credential, source });
                credentials
            }
            // A store that knows nothing of a server leaves it public; a helper for just this server does not.
            Ok(None) if helper.is_store => Credentials::default(),
            Ok(None) => Credentials::default()
                .with_unusable(format!("{source} knows nothing of {}: log in again with it", helper.server)),
            Err(error) => Credentials::default().with_unusable(format!(
                "{source} gave no credential for {}: {error}; run `docker-credential-{} get` by hand to see why",
                helper.server, helper.name
            )),
        }
    }

    /// What the helper holds for its server; `None` when nothing.
    async fn ask(&self, helper: &Helper) -> Result<Option<Answer>, HelperError> {
        let program = self.program(&helper.name)?;
        let server = helper.server.clone();
        let (sender, receiver) = oneshot::channel();
        // A thread of its own: a runtime that ends would wait for one of its own.
        std::thread::spawn(move || sender.send(run(&program, &server)));
        let (status, output) = receiver.await.map_err(|_| HelperError::TimedOut)??;
        if !status.success() {
            let said = String::from_utf8_lossy(&output);
            return if said.trim() == NOT_FOUND { Ok(None) } else { Err(HelperError::Failed(status)) };
        }
        let answer: Answer = serde_json::from_slice(&output).map_err(|_| HelperError::Answer)?;
        // Some stores answer so instead of failing.
        Ok(Some(answer).filter(|answer| !answer.secret.is_empty()))
    }

    /// The program of a helper, in `PATH` only: no name leads to another folder.
    fn program(&self, name: &str) -> Result<PathBuf, HelperError> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(sound) {
            return Err(HelperError::Name);
        }
        let file = format!("docker-credential-{name}{}", std::env::consts::EXE_SUFFIX);
        std::env::split_paths(&self.search_path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&file))
            .find(|program| program.is_file())
            .ok_or(HelperError::Absent)
    }
}

impl CredentialSource for DockerConfigFile {
    fn credentials<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Credentials> {
        async move {
            match &self.path {
                Some(path) => self.found(path, repository).await,
                None => Credentials::default(),
            }
        }
        .boxed()
    }
}

/// Runs `program get` with `server` on standard input, and gives its end and what it wrote. Blocks its thread, for
/// about [`HELPER_LIMIT`] at most; a program that is not done by then is ended.
fn run(program: &Path, server: &str) -> Result<(ExitStatus, Vec<u8>), HelperError> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(HelperError::Run)?;
    let ended = ending(&mut child, server, HELPER_LIMIT);
    if ended.is_err() {
        // Already gone is as good.
        let _gone = child.kill();
        let _reaped = child.wait();
    }
    ended
}

fn ending(child: &mut Child, server: &str, limit: Duration) -> Result<(ExitStatus, Vec<u8>), HelperError> {
    if let Some(mut stdin) = child.stdin.take() {
        // A pipe holds more than any address. A program that does not read it tells by its answer.
        let _unread = stdin.write_all(format!("{server}\n").as_bytes());
    }
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut output = Vec::new();
            let read = stdout.take(OUTPUT_MAX_BYTES + 1).read_to_end(&mut output);
            // Nobody waits any more: the time is up.
            let _late = sender.send(read.map(|_| output));
        });
    }
    let output =
        receiver.recv_timeout(limit).map_err(|_| HelperError::TimedOut)?.map_err(HelperError::Run)?;
    if u64::try_from(output.len()).unwrap_or(u64::MAX) > OUTPUT_MAX_BYTES {
        return Err(HelperError::TooMuch);
    }
    for _ in 0..ENDING_LOOKS {
        if let Some(status) = child.try_wait().map_err(HelperError::Run)? {
            return Ok((status, output));
        }
        // std knows no wait with a limit; a program that closed its output ends at once.
        std::thread::sleep(ENDING_PAUSE);
    }
    Err(HelperError::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::registry::credentials::Credential;

    /// A folder with a docker config file and helpers, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, config: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("tidegate-helper-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("config.json"), config).unwrap();
            Self(folder)
        }

        /// Puts a helper there, a shell script.
        fn helper(self, name: &str, script: &str) -> Self {
            let path = self.0.join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            self
        }

        async fn credentials(&self, repository: &str) -> Credentials {
            let environment = Environment {
                docker_config_file: Some(self.0.join("config.json")),
                search_path: Some(self.0.clone().into_os_string()),
                ..Environment::default()
            };
            DockerConfigFile::of(&environment).credentials(&repository.parse().unwrap()).await
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    const R_IO: &str = r#"{"credHelpers":{"r.io":"test"}}"#;
    const STORE: &str = r#"{"credsStore":"test"}"#;

    #[tokio::test]
    async fn a_helper_is_asked_get_for_its_server() {
        let script = r#"read -r server; printf '{"ServerURL":"%s","Username":"%s","Secret":"hunter2-%s"}' "$server" "$1" "$server""#;
        let scratch = Scratch::new("get", R_IO).helper("test", script);
        let credentials = scratch.credentials("r.io/acme/app").await;
        let [candidate] = credentials.candidates() else { panic!("{credentials:?}") };
        let Credential::Basic { username, password } = &candidate.credential else { panic!("{candidate:?}") };
        assert_eq!((username.as_str(), password.expose_secret()), ("get", "hunter2-r.io"));
        assert!(candidate.source.contains("credential helper `test`"), "{}", candidate.source);
        assert!(!scratch.credentials("s.io/acme/app").await.is_configured(), "it is for r.io alone");
    }

    #[tokio::test]
    async fn a_token_as_user_name_is_an_identity_token() {
        let script = r#"printf '{"Username":"<token>","Secret":"hunter2"}'"#;
        let scratch = Scratch::new("token", STORE).helper("test", script);
        let credentials = scratch.credentials("r.io/a").await;
        assert!(matches!(
            credentials.candidates()[0].credential,
            Credential::IdentityToken { username: None, .. }
        ));
    }

    #[tokio::test]
    async fn a_helper_that_gives_nothing_is_named_and_its_words_are_not() {
        for (name, script, words) in [
            ("fails", "echo hunter2; exit 3", "exit status: 3"),
            ("no-json", "echo hunter2", "not the JSON"),
            ("too-much", "head -c 70000 /dev/zero", "more than 65536 bytes"),
            ("unknown", "echo 'credentials not found in native keychain'; exit 1", "log in again with it"),
        ] {
            let scratch = Scratch::new(name, R_IO).helper("test", script);
            let why = scratch.credentials("r.io/a").await.refusal().unwrap();
            assert!(why.contains(words) && why.contains("`test`") && !why.contains("hunter2"), "{why}");
        }
        let absent = Scratch::new("absent", R_IO).credentials("r.io/a").await.refusal().unwrap();
        assert!(absent.contains("no program of that name"), "{absent}");
    }

    #[tokio::test]
    async fn a_store_that_knows_nothing_of_a_server_leaves_it_public() {
        let script = "echo 'credentials not found in native keychain'; exit 1";
        let scratch = Scratch::new("public", STORE).helper("test", script);
        assert!(!scratch.credentials("r.io/a").await.is_configured());
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_path() {
        for name in ["../test", "a/b", "", "a b", "a;b", "$(x)", "a\\b"] {
            let config = serde_json::json!({"credHelpers": {"r.io": name}}).to_string();
            let scratch = Scratch::new("names", &config).helper("test", "echo '{}'");
            let why = scratch.credentials("r.io/a").await.refusal().unwrap();
            assert!(why.contains("characters that no program's name has"), "{name}: {why}");
        }
    }

    #[test]
    fn a_helper_that_does_not_end_is_ended() {
        let scratch = Scratch::new("hangs", R_IO).helper("test", "exec sleep 60");
        let mut child = Command::new(scratch.0.join("docker-credential-test"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = ending(&mut child, "r.io", Duration::from_millis(50));
        assert!(matches!(ended, Err(HelperError::TimedOut)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
