//! As whom a repository is asked: credentials, tried in turn, and where they come from.
//!
//! Nothing here prints, logs or returns a secret in words.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use crate::model::Repository;

/// Most credentials tried for one repository: a service account has one or two, a rotation doubles them. More
/// would let one Secret full of patterns multiply every request.
pub const CANDIDATES_MAX: usize = 8;

/// One credential.
#[derive(Clone, Debug)]
pub enum Credential {
    /// User name and password (or personal access token).
    Basic {
        /// User name.
        username: String,
        /// Password or token; never printed.
        password: SecretString,
    },
    /// An OAuth2 refresh token (`identitytoken`), which buys bearer tokens by POST.
    IdentityToken {
        /// The user name that it is the password of, for token servers that know no POST; Azure's
        /// `00000000-0000-0000-0000-000000000000`. `None` for a token that stands alone.
        username: Option<String>,
        /// The token; never printed.
        token: SecretString,
    },
    /// A bearer token for the registry itself (`registrytoken`), sent as it is.
    RegistryToken {
        /// The token; never printed.
        token: SecretString,
    },
}

/// A credential and where it was found.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The credential.
    pub credential: Credential,
    /// Where it was found, for people: ``the entry `ghcr.io/acme` of the Secret pull``.
    pub source: String,
}

/// As whom one repository is asked. The default is nobody in particular.
///
/// Without candidates the registry is asked anonymously, and not at all when something is `unusable`.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    candidates: Vec<Candidate>,
    unusable: Vec<String>,
    skipped: Vec<String>,
}

/// Which credential, without being it: SHA-256 over its parts. Tokens and facts are kept per fingerprint, so
/// that a rotated Secret is a new identity and nobody rides on another's token. Never printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// Where credentials come from: Secrets of a cluster, a docker config file, later the identity that a cloud
/// gives to a workload. Asked anew for every look, so that what was rotated is used at the next one.
pub trait CredentialSource: Send + Sync {
    /// The credentials for `repository`. Never fails: what cannot be had is
    /// [unusable](Credentials::with_unusable), with a sentence that says what to do.
    fn credentials<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Credentials>;
}

// === impl Credentials ===

impl Credentials {
    /// Adds a credential behind those that are there. One that is there already, from wherever, is not tried
    /// twice; of more than [`CANDIDATES_MAX`] the rest is skipped, and said so.
    pub fn push(&mut self, candidate: Candidate) {
        let fingerprint = candidate.credential.fingerprint();
        if self.candidates.iter().any(|other| other.credential.fingerprint() == fingerprint) {
            return;
        }
        if self.candidates.len() < CANDIDATES_MAX {
            self.candidates.push(candidate);
        } else {
            self.skip(format!(
                "only {CANDIDATES_MAX} credentials are tried: remove those that are not needed"
            ));
        }
    }

    /// Adds a sentence on a credential that was meant for this repository and cannot be used. When there is no
    /// other, nobody is asked: an anonymous answer would not be what was asked for.
    #[must_use]
    pub fn with_unusable(mut self, why: impl Into<String>) -> Self {
        self.unusable.push(why.into());
        self
    }

    /// Adds a sentence on a source that is passed over, as kubelet passes over a pull secret that is not there.
    /// The registry is asked all the same, and its 404 proves nothing.
    pub fn skip(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.skipped.contains(&why) {
            self.skipped.push(why);
        }
    }

    /// What is tried, in this order.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Why nobody is asked; `None` when somebody is.
    pub fn refusal(&self) -> Option<String> {
        (self.candidates.is_empty() && !self.unusable.is_empty()).then(|| self.problems().join("; "))
    }

    /// Every sentence on what could not be used.
    pub fn problems(&self) -> Vec<&str> {
        self.unusable.iter().chain(&self.skipped).map(String::as_str).collect()
    }

    /// True when credentials were meant for this repository, usable or not.
    pub fn is_configured(&self) -> bool {
        !(self.candidates.is_empty() && self.unusable.is_empty() && self.skipped.is_empty())
    }

    /// The identity that everything which was seen is kept under: what is tried, in which order, and what is
    /// said of it.
    pub fn fingerprint(&self) -> Fingerprint {
        let candidates = self.candidates.iter().flat_map(|candidate| {
            let Fingerprint(credential) = candidate.credential.fingerprint();
            [credential.to_vec(), candidate.source.clone().into_bytes()]
        });
        let problems = self.problems().into_iter().map(|problem| problem.as_bytes().to_vec());
        let parts: Vec<Vec<u8>> = candidates.chain(problems).collect();
        Fingerprint::of("credentials", &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

impl From<Credential> for Credentials {
    fn from(credential: Credential) -> Self {
        let source = "the configured credential".to_owned();
        Self { candidates: vec![Candidate { credential, source }], ..Self::default() }
    }
}

// === impl Credential ===

impl Credential {
    /// The identity that its tokens are kept under.
    pub fn fingerprint(&self) -> Fingerprint {
        let (kind, name, secret) = match self {
            Self::Basic { username, password } => ("basic", username.as_str(), password),
            Self::IdentityToken { username, token } => {
                ("identity token", username.as_deref().unwrap_or_default(), token)
            }
            Self::RegistryToken { token } => ("registry token", "", token),
        };
        Fingerprint::of(kind, &[name.as_bytes(), secret.expose_secret().as_bytes()])
    }

    /// The value of an `Authorization: Basic` header; `None` for what has no user name.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        let (username, password) = match self {
            Self::Basic { username, password } => (username, password),
            Self::IdentityToken { username, token } => (username.as_ref()?, token),
            Self::RegistryToken { .. } => return None,
        };
        sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose_secret()))))
    }

    /// The value of an `Authorization: Bearer` header; `None` for what must first buy a token.
    pub(crate) fn bearer_header(&self) -> Option<HeaderValue> {
        let Self::RegistryToken { token } = self else { return None };
        sensitive(&format!("Bearer {}", token.expose_secret()))
    }
}

/// A header that no log prints; `None` when it holds control characters.
pub(crate) fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
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

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic { username: username.into(), password: password.into() }
    }

    fn from(credential: Credential, source: &str) -> Candidate {
        Candidate { credential, source: source.into() }
    }

    #[test]
    fn fingerprints_tell_identities_apart_and_show_nothing() {
        let of = |username: &str, password: &str| basic(username, password).fingerprint();
        assert_eq!(of("a", "b"), of("a", "b"));
        assert_ne!(of("a", "b:c"), of("a:b", "c"));
        let identity = Credential::IdentityToken { username: Some("a".into()), token: "b".into() };
        assert_ne!(of("a", "b"), identity.fingerprint());
        let (one, none) = (Credentials::from(basic("a", "b")), Credentials::default());
        assert_ne!(one.fingerprint(), none.fingerprint());
        assert_ne!(one.fingerprint(), one.clone().with_unusable("x").fingerprint());
        assert_eq!(format!("{:?}", of("a", "b")), "Fingerprint(…)");
    }

    #[test]
    fn one_credential_from_two_places_is_tried_once() {
        let mut credentials = Credentials::default();
        credentials.push(from(basic("a", "b"), "first"));
        credentials.push(from(basic("a", "b"), "second"));
        assert_eq!(credentials.candidates().len(), 1);
        for number in 0..100 {
            credentials.push(from(basic("a", &number.to_string()), "third"));
        }
        assert_eq!(credentials.candidates().len(), CANDIDATES_MAX);
        assert_eq!(
            credentials.problems(),
            ["only 8 credentials are tried: remove those that are not needed"]
        );
    }

    #[test]
    fn nobody_is_asked_only_when_nothing_else_can_be_used() {
        let mut skipped = Credentials::default();
        skipped.skip("the pull secret is gone");
        assert_eq!((skipped.refusal(), skipped.is_configured()), (None, true));
        let unusable = skipped.with_unusable("the Secret is empty");
        assert_eq!(unusable.refusal().as_deref(), Some("the Secret is empty; the pull secret is gone"));
        let mut both = unusable;
        both.push(from(basic("a", "b"), "x"));
        assert_eq!(both.refusal(), None);
        assert!(!Credentials::default().is_configured());
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        for credential in [
            basic("a", "hunter2"),
            Credential::IdentityToken { username: None, token: "hunter2".into() },
            Credential::RegistryToken { token: "hunter2".into() },
        ] {
            assert!(!format!("{:?}", Credentials::from(credential)).contains("hunter2"));
        }
    }

    #[test]
    fn a_password_that_no_header_can_hold_is_still_base64() {
        assert!(basic("a", "b\r\nX: y").basic_header().is_some());
        let token = Credential::RegistryToken { token: "b\r\nX: y".into() };
        assert!(token.bearer_header().is_none());
    }
}
