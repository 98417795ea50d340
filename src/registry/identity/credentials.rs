//! Credentials for one registry host, read from the docker config format
//! (`kubernetes.io/dockerconfigjson` Secrets and `~/.docker/config.json`).
//!
//! Only the exact host counts: a credential never goes to a host that it was not given for. Nothing here
//! prints, logs or returns a secret in words; a text that cannot be parsed is named by line and column.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::model::reference::DOCKER_HUB;

/// As whom a registry is asked.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// User name and password (or personal access token).
    Basic {
        /// User name.
        username: String,
        /// Password or token; never printed.
        password: SecretString,
    },
    /// A credential was asked for and cannot be used: every answer is then Unknown(Auth) with this sentence,
    /// and no request is sent.
    Unusable {
        /// What is wrong with it and what to do, for people.
        why: String,
    },
}

/// Which credential, without being it: SHA-256 over its parts. Tokens and facts are kept per fingerprint, so
/// that a rotated Secret is a new identity and nobody rides on another's token. Never printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

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

/// One host's entry of `auths`.
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

/// The credential for `host` (as `Repository::host` gives it) in the bytes of a `.dockerconfigjson`.
/// Anonymous when the file has none for exactly this host: one Secret may serve images of several registries.
/// A text that cannot be read is Unusable, with the place of the mistake and never its content.
pub fn from_docker_config_json(bytes: &[u8], host: &str) -> Credential {
    match parse(bytes) {
        Ok(config) => config.entry(host).map_or(Credential::Anonymous, |entry| entry.credential(host)),
        Err(why) => Credential::Unusable { why },
    }
}

/// The parsed file, or what is wrong with it. Serde's own words are not used: they quote the content.
pub(crate) fn parse(bytes: &[u8]) -> Result<DockerConfig, String> {
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

/// The registry host that a key of a docker config means: scheme and path are cut off, and all names of
/// Docker Hub are one (`docker login` writes `https://index.docker.io/v1/`).
pub(crate) fn host_of_key(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = bare.split('/').next().unwrap_or(bare).to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => host,
    }
}

// === impl DockerConfig ===

impl DockerConfig {
    /// The entry for `host`: the key that is the host itself, else the first that means it.
    pub(crate) fn entry(&self, host: &str) -> Option<&Entry> {
        self.auths
            .get(host)
            .or_else(|| self.auths.iter().find(|(key, _)| host_of_key(key) == host).map(|(_, entry)| entry))
    }
}

// === impl Entry ===

impl Entry {
    /// True when the entry only marks that a credential store holds the rest.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.auth, &self.username, &self.password, &self.identity_token, &self.registry_token]
            .iter()
            .all(|field| field.is_empty())
    }

    /// What the entry says; `auth` wins over `username` and `password`, as with docker and kubelet.
    pub(crate) fn credential(&self, host: &str) -> Credential {
        let unusable = |why: String| Credential::Unusable { why };
        if !self.identity_token.is_empty() || !self.registry_token.is_empty() {
            return unusable(format!(
                "the credential for {host} is an identity token, which is not supported yet; use a user name \
                 with a password or access token"
            ));
        }
        if self.auth.is_empty() {
            return match (self.username.is_empty(), self.password.is_empty()) {
                (false, false) => Credential::Basic {
                    username: self.username.clone(),
                    password: self.password.clone().into(),
                },
                _ => unusable(format!(
                    "the docker config's entry for {host} has no `auth` and no `username` with `password`; log \
                     in again and write the entry anew"
                )),
            };
        }
        match decode(&self.auth) {
            Some((username, password)) => Credential::Basic { username, password: password.into() },
            None => unusable(format!(
                "the `auth` of the docker config's entry for {host} is not the base64 of user:password; log in \
                 again and write the entry anew"
            )),
        }
    }
}

/// `user:password` out of base64. Old docker versions pad the password with NUL bytes.
fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    (!username.is_empty()).then(|| (username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

// === impl Credential ===

impl Credential {
    /// The identity that tokens and facts are kept under.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        match self {
            Self::Anonymous => hash.update(b"anonymous"),
            Self::Basic { username, password } => {
                hash.update(b"basic");
                // The length keeps user "a:b" with password "c" apart from user "a" with password "b:c".
                hash.update(u64::try_from(username.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(username);
                hash.update(password.expose_secret());
            }
            // What is said to one set names its Secret, and is for nobody else.
            Self::Unusable { why } => {
                hash.update(b"unusable");
                hash.update(why);
            }
        }
        Fingerprint(hash.finalize().into())
    }

    /// True when the user gave a credential, usable or not.
    pub(crate) fn is_configured(&self) -> bool {
        !matches!(self, Self::Anonymous)
    }

    /// The value of an `Authorization: Basic` header; `None` for everything but `Basic`.
    pub(crate) fn basic_header(&self) -> Option<http::HeaderValue> {
        let Self::Basic { username, password } = self else { return None };
        let pair = BASE64.encode(format!("{username}:{}", password.expose_secret()));
        let mut value = http::HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// The fingerprint of something of a `kind` that consists of these parts.
    pub(crate) fn of(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in [kind.as_bytes()].iter().chain(parts) {
            // The length keeps "ab", "c" apart from "a", "bc".
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Both together, as one identity.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::of("and", &[&self.0, &other.0])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(credential: &Credential) -> Option<(&str, &str)> {
        match credential {
            Credential::Basic { username, password } => Some((username, password.expose_secret())),
            _ => None,
        }
    }

    fn why(credential: &Credential) -> &str {
        match credential {
            Credential::Unusable { why } => why,
            other => panic!("{other:?} is not Unusable"),
        }
    }

    fn read(json: &str, host: &str) -> Credential {
        from_docker_config_json(json.as_bytes(), host)
    }

    #[test]
    fn exact_hosts_only() {
        let json =
            r#"{"auths":{"ghcr.io":{"username":"u","password":"p"},"127.0.0.1:5000":{"auth":"YTpi"}}}"#;
        assert_eq!(basic(&read(json, "ghcr.io")), Some(("u", "p")));
        assert_eq!(basic(&read(json, "127.0.0.1:5000")), Some(("a", "b")));
        for other in ["evil.ghcr.io", "ghcr.io:443", "io", "127.0.0.1:5001"] {
            assert!(matches!(read(json, other), Credential::Anonymous), "{other}");
        }
    }

    #[test]
    fn docker_hub_has_many_names() {
        for key in ["https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io", "docker.io"] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"YTpi"}}}}}}"#);
            assert_eq!(basic(&read(&json, "docker.io")), Some(("a", "b")), "{key}");
        }
    }

    #[test]
    fn keys_with_scheme_or_path_mean_their_host() {
        let json = r#"{"auths":{"https://GHCR.io/v2/":{"auth":"YTpi"},"ghcr.io/acme":{"auth":"eDp5"}}}"#;
        assert_eq!(basic(&read(json, "ghcr.io")), Some(("x", "y")), "first in byte order");
        let json = r#"{"auths":{"ghcr.io/acme":{"auth":"eDp5"},"ghcr.io":{"auth":"YTpi"}}}"#;
        assert_eq!(basic(&read(json, "ghcr.io")), Some(("a", "b")), "the plain host wins");
    }

    #[test]
    fn base64_is_read_padded_and_bare() {
        for auth in ["dXNlcjpwdw==", "dXNlcjpwdw"] {
            let json = format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#);
            assert_eq!(basic(&read(&json, "r.io")), Some(("user", "pw")));
        }
    }

    #[test]
    fn unusable_entries_say_why_and_never_what() {
        for (entry, words) in [
            (r#"{"auth":"hunter2!"}"#, "base64"),
            (r#"{"auth":"aHVudGVyMg=="}"#, "user:password"),
            (r#"{"identitytoken":"hunter2"}"#, "identity token"),
            (r#"{"username":"hunter2"}"#, "no `auth`"),
            ("{}", "no `auth`"),
        ] {
            let credential = read(&format!(r#"{{"auths":{{"r.io":{entry}}}}}"#), "r.io");
            assert!(why(&credential).contains(words), "{}", why(&credential));
            assert!(!format!("{credential:?}").contains("hunter2"));
        }
    }

    #[test]
    fn wrong_json_is_named_by_place_only() {
        for json in ["hunter2", r#"{"auths":{"r.io":{"auth":{"x":"hunter2"}}}}"#, r#"{"auths":"hunter2"}"#] {
            let credential = read(json, "r.io");
            assert!(why(&credential).contains("line 1, column"), "{}", why(&credential));
            assert!(!why(&credential).contains("hunter2"));
        }
    }

    #[test]
    fn fingerprints_tell_identities_apart_and_show_nothing() {
        let of =
            |u: &str, p: &str| Credential::Basic { username: u.into(), password: p.into() }.fingerprint();
        assert_eq!(of("a", "b"), of("a", "b"));
        assert_ne!(of("a", "b:c"), of("a:b", "c"));
        assert_ne!(of("a", "b"), Credential::Anonymous.fingerprint());
        assert_eq!(format!("{:?}", of("a", "b")), "Fingerprint(…)");
    }
}
