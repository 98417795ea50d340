//! Docker configs, read and joined as kubelet joins pull secrets: `kubernetes.io/dockerconfigjson`, the older
//! `kubernetes.io/dockercfg`, and `~/.docker/config.json`.
//!
//! A text that cannot be parsed is named by line and column, never by its content.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::model::Repository;
use crate::registry::identity::credentials::{Candidate, Credential, Credentials};
use crate::registry::identity::key::Key;

/// The user name of an identity token in docker's own words (credential helpers).
pub const IDENTITY_TOKEN_USER: &str = "<token>";
/// The user name of an identity token with Azure Container Registry (`az acr login --expose-token`).
const AZURE_USER: &str = "00000000-0000-0000-0000-000000000000";

/// Entries of one or more docker configs.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// In the order in which they were added.
    entries: Vec<Held>,
    unusable: Vec<String>,
    skipped: Vec<String>,
}

/// An entry with a key, and what it says.
#[derive(Clone, Debug)]
struct Held {
    key: Key,
    /// Or why it cannot be used.
    credential: Result<Credential, String>,
    source: String,
}

/// A docker config file, as far as it is understood. Unknown fields are the docker CLI's own affair.
#[derive(Deserialize)]
pub(crate) struct DockerConfig {
    #[serde(default)]
    pub(crate) auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    pub(crate) helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    pub(crate) store: String,
}

/// One entry of `auths`.
#[derive(Deserialize)]
pub(crate) struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

/// Both padded and bare base64 are met in the field; kubelet accepts both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

// === impl Keyring ===

impl Keyring {
    /// Adds the bytes of a `.dockerconfigjson`. `source` names where they are from: `the Secret pull`.
    ///
    /// # Errors
    /// What is wrong with the text and what to do about it, with the place and never its content.
    pub fn add_docker_config_json(&mut self, source: &str, bytes: &[u8]) -> Result<(), String> {
        let config: DockerConfig = parse(bytes)?;
        self.add(source, &config.auths);
        Ok(())
    }

    /// Adds the bytes of a `.dockercfg`: the entries alone, without `auths` around them.
    ///
    /// # Errors
    /// As [`Self::add_docker_config_json`].
    pub fn add_dockercfg(&mut self, source: &str, bytes: &[u8]) -> Result<(), String> {
        let entries: BTreeMap<String, Entry> = parse(bytes)?;
        self.add(source, &entries);
        Ok(())
    }

    pub(crate) fn add(&mut self, source: &str, entries: &BTreeMap<String, Entry>) {
        for (text, entry) in entries {
            // A key that names no host is for nothing: kubelet passes it over too.
            if let Some(key) = Key::parse(text) {
                let source = format!("the entry `{}` of {source}", key.as_str());
                let credential = entry.credential(&source);
                self.entries.push(Held { key, credential, source });
            }
        }
    }

    /// A source that cannot be used, for whatever repository; see [`Credentials::with_unusable`].
    pub fn add_unusable(&mut self, why: String) {
        self.unusable.push(why);
    }

    /// A source that is passed over, for whatever repository; see [`Credentials::skip`].
    pub fn skip(&mut self, why: String) {
        self.skipped.push(why);
    }

    /// The credentials for `repository`: those of all keys that fit it, the greatest key first, as kubelet
    /// sorts them: a longer path before a shorter one, a name before a pattern. Of one key, as they were added.
    pub fn credentials(&self, repository: &Repository) -> Credentials {
        let mut fitting: Vec<&Held> = self.entries.iter().filter(|held| held.key.fits(repository)).collect();
        fitting.sort_by(|one, other| other.key.cmp(&one.key));
        let mut credentials = Credentials::default();
        for held in fitting {
            match &held.credential {
                Ok(credential) => credentials
                    .push(Candidate { credential: credential.clone(), source: held.source.clone() }),
                Err(why) => credentials = credentials.with_unusable(why),
            }
        }
        for why in &self.unusable {
            credentials = credentials.with_unusable(why);
        }
        for why in &self.skipped {
            credentials.skip(why);
        }
        credentials
    }
}

/// The parsed text, or what is wrong with it. Serde's own words are not used: they quote the content.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_data() { "a field of the wrong type" } else { "broken JSON" };
        format!(
            "the docker config has {what} at line {}, column {}; create it with `kubectl create secret \
             docker-registry` or `docker login`",
            error.line(),
            error.column()
        )
    })
}

// === impl Entry ===

impl Entry {
    /// True when the entry only marks that a credential store holds the rest.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.auth, &self.username, &self.password, &self.identity_token, &self.registry_token]
            .iter()
            .all(|field| field.is_empty())
    }

    /// What the entry says, as docker reads it: a registry token before an identity token before a password,
    /// and `auth` before `username` and `password`.
    fn credential(&self, source: &str) -> Result<Credential, String> {
        if !self.registry_token.is_empty() {
            return Ok(Credential::RegistryToken { token: self.registry_token.clone().into() });
        }
        if !self.identity_token.is_empty() {
            return Ok(Credential::IdentityToken {
                username: None,
                token: self.identity_token.clone().into(),
            });
        }
        if !self.auth.is_empty() {
            let pair = decode(&self.auth).ok_or_else(|| {
                format!(
                    "the `auth` of {source} is not the base64 of user:password; log in again and write the entry anew"
                )
            })?;
            return Ok(credential_of(pair.0, pair.1));
        }
        if self.username.is_empty() || self.password.is_empty() {
            return Err(format!(
                "{source} has no `auth` and no `username` with `password`; log in again and write the entry anew"
            ));
        }
        Ok(credential_of(self.username.clone(), self.password.clone()))
    }
}

/// The credential of a user name and a password, which some user names mark as a token.
pub fn credential_of(username: String, password: String) -> Credential {
    match username.as_str() {
        IDENTITY_TOKEN_USER => Credential::IdentityToken { username: None, token: password.into() },
        AZURE_USER => Credential::IdentityToken { username: Some(username), token: password.into() },
        _ => Credential::Basic { username, password: password.into() },
    }
}

/// `user:password` out of base64. Old docker versions pad the password with NUL bytes.
fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    (!username.is_empty()).then(|| (username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// What is tried for `repository`, in order: `user:password`, `identity token`, `registry token`.
    fn tried(keyring: &Keyring, repository: &str) -> Vec<String> {
        let credentials = keyring.credentials(&repository.parse().unwrap());
        let shown = |candidate: &Candidate| match &candidate.credential {
            Credential::Basic { username, password } => format!("{username}:{}", password.expose_secret()),
            Credential::IdentityToken { username, token } => {
                format!("{} identity {}", username.as_deref().unwrap_or("-"), token.expose_secret())
            }
            Credential::RegistryToken { token } => format!("registry {}", token.expose_secret()),
        };
        credentials.candidates().iter().map(shown).collect()
    }

    fn keyring(json: &str) -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add_docker_config_json("the Secret pull", json.as_bytes()).unwrap();
        keyring
    }

    fn problem(keyring: &Keyring) -> String {
        keyring.credentials(&"r.io/a".parse().unwrap()).refusal().unwrap()
    }

    #[test]
    fn the_longest_key_is_tried_first_and_then_the_others() {
        let entry = |user: &str| format!(r#"{{"username":"{user}","password":"p"}}"#);
        let keyring = keyring(&format!(
            r#"{{"auths":{{"ghcr.io":{},"ghcr.io/acme/app":{},"*.io":{},"ghcr.io/acme":{},"other.io":{}}}}}"#,
            entry("host"),
            entry("app"),
            entry("glob"),
            entry("acme"),
            entry("other"),
        ));
        assert_eq!(tried(&keyring, "ghcr.io/acme/app"), ["app:p", "acme:p", "host:p", "glob:p"]);
        assert_eq!(tried(&keyring, "ghcr.io/acme/worker"), ["acme:p", "host:p", "glob:p"]);
        assert_eq!(tried(&keyring, "quay.io/a"), ["glob:p"]);
        assert!(tried(&keyring, "registry.local:5000/a").is_empty());
    }

    #[test]
    fn several_secrets_are_joined_in_their_order() {
        let mut keyring = keyring(r#"{"auths":{"r.io":{"username":"first","password":"p"}}}"#);
        keyring.add_dockercfg("the Secret old", br#"{"https://r.io/v1/":{"auth":"c2Vjb25kOnA="}}"#).unwrap();
        assert_eq!(tried(&keyring, "r.io/a"), ["first:p", "second:p"]);
        let credentials = keyring.credentials(&"r.io/a".parse().unwrap());
        let sources: Vec<&str> = credentials.candidates().iter().map(|one| one.source.as_str()).collect();
        assert_eq!(sources, ["the entry `r.io` of the Secret pull", "the entry `r.io` of the Secret old"]);
    }

    #[test]
    fn base64_is_read_padded_and_bare() {
        for auth in ["dXNlcjpwdw==", "dXNlcjpwdw", " dXNlcjpwdw== "] {
            let keyring = keyring(&format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#));
            assert_eq!(tried(&keyring, "r.io/a"), ["user:pw"]);
        }
    }

    #[test]
    fn tokens_are_told_by_field_or_user_name() {
        for (entry, expected) in [
            (r#"{"auth":"dXNlcjo=","identitytoken":"t"}"#, "- identity t"),
            (r#"{"username":"<token>","password":"t"}"#, "- identity t"),
            (
                r#"{"username":"00000000-0000-0000-0000-000000000000","password":"t"}"#,
                "00000000-0000-0000-0000-000000000000 identity t",
            ),
            (r#"{"identitytoken":"i","registrytoken":"t"}"#, "registry t"),
        ] {
            let keyring = keyring(&format!(r#"{{"auths":{{"r.io":{entry}}}}}"#));
            assert_eq!(tried(&keyring, "r.io/a"), [expected], "{entry}");
        }
    }

    #[test]
    fn unusable_entries_say_why_and_never_what() {
        for (entry, words) in [
            (r#"{"auth":"hunter2!"}"#, "base64"),
            (r#"{"auth":"aHVudGVyMg=="}"#, "user:password"),
            (r#"{"username":"hunter2"}"#, "no `auth`"),
            ("{}", "no `auth`"),
        ] {
            let keyring = keyring(&format!(r#"{{"auths":{{"r.io":{entry}}}}}"#));
            assert!(problem(&keyring).contains(words), "{}", problem(&keyring));
            assert!(!format!("{:?} {}", keyring, problem(&keyring)).contains("hunter2"));
        }
    }

    #[test]
    fn one_unusable_entry_hides_no_usable_one() {
        let keyring =
            keyring(r#"{"auths":{"r.io":{"auth":"!"},"https://r.io/v2/":{"auth":"YTpi"},"r.io/a":{}}}"#);
        assert_eq!(tried(&keyring, "r.io/a"), ["a:b"]);
        assert_eq!(keyring.credentials(&"r.io/a".parse().unwrap()).problems().len(), 2);
    }

    #[test]
    fn wrong_json_is_named_by_place_only() {
        for json in ["hunter2", r#"{"auths":{"r.io":{"auth":{"x":"hunter2"}}}}"#, r#"{"auths":"hunter2"}"#] {
            let why =
                Keyring::default().add_docker_config_json("the Secret pull", json.as_bytes()).unwrap_err();
            assert!(why.contains("line 1, column") && !why.contains("hunter2"), "{why}");
        }
        let why = Keyring::default().add_dockercfg("the Secret old", br#"{"r.io":"hunter2"}"#).unwrap_err();
        assert!(why.contains("line 1, column") && !why.contains("hunter2"), "{why}");
    }
}
