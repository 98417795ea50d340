//! What was seen of something in a registry: four answers, never an error.
//!
//! Unknown is a value of its own. It is never Missing, and the engine never meets it as an `Err`
//! (design §2; registry research §3).

use std::fmt;

use jiff::Timestamp;

use crate::model::reference::Digest;

/// The answer of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting<T> {
    /// It is there, and this is what it is.
    Present(T),
    /// The registry said, to a request it had authorised, that it is not there.
    Missing,
    /// It is there and wrong; another look at the same content would say the same.
    Broken(Defect),
    /// It could not be told. Blocks like Missing, and clears nothing that was seen before.
    Unknown(Doubt),
}

/// An answer and how old it is. One answer may serve many who ask (ADR 3), each of whom counts from when it was
/// asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighted<T> {
    /// When the first request for it was about to be sent: what happened since may not be in it.
    pub asked_at: Timestamp,
    /// What was seen.
    pub sighting: Sighting<T>,
}

/// What is wrong with something that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Which kind of wrong.
    pub kind: DefectKind,
    /// One sentence for people, without a final period.
    pub message: String,
}

/// Kinds of defects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefectKind {
    /// The index names this child, and the registry no longer has it.
    DanglingChild(Digest),
    /// A config or layer blob that a manifest names is gone.
    DanglingBlob(Digest),
    /// The config's own platform is not the one that the index promises.
    PlatformMismatch,
    /// A manifest of a kind that no runtime of today starts (schema 1, artifacts without a config).
    Unsupported,
}

/// Why it could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Which kind of doubt.
    pub kind: DoubtKind,
    /// What happened and what to do next, in one sentence without a final period. Never holds a secret.
    pub message: String,
    /// The registry asked not to be asked again for so many seconds.
    pub retry_after_secs: Option<u32>,
}

/// Kinds of doubt (registry research §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DoubtKind {
    /// Refused: 401, 403, 400 from public ECR, a token server that said no, a credential that cannot be read.
    Auth,
    /// Time-out, DNS, TLS, reset, 408, 5xx.
    Transient,
    /// 429: asked too often.
    Throttled,
    /// 200 with something that is no manifest, or a wrong Content-Type.
    Protocol,
    /// Bytes that do not hash to their digest, are too large, or can be read in two ways.
    Corrupt,
    /// An object that a spec refers to cannot be read, so that nothing was asked.
    Reference,
}

// === impl Sighting ===

impl<T> Sighting<T> {
    /// What was seen, when it was Present.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            _ => None,
        }
    }

    /// True for `Present`.
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Present(_))
    }

    /// True for `Unknown`.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// The same answer about something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Sighting<U> {
        match self {
            Self::Present(value) => Sighting::Present(f(value)),
            Self::Missing => Sighting::Missing,
            Self::Broken(defect) => Sighting::Broken(defect),
            Self::Unknown(doubt) => Sighting::Unknown(doubt),
        }
    }

    /// The answer's word in JSON, status and metrics: `Present`, `Missing`, `Broken` or `Unknown`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Present(_) => "Present",
            Self::Missing => "Missing",
            Self::Broken(_) => "Broken",
            Self::Unknown(_) => "Unknown",
        }
    }

    /// Why it is Broken or Unknown.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Broken(defect) => Some(&defect.message),
            Self::Unknown(doubt) => Some(&doubt.message),
            Self::Present(_) | Self::Missing => None,
        }
    }
}

// === impl Doubt ===

impl Doubt {
    /// A doubt that the registry put no wait on.
    pub fn new(kind: DoubtKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_secs: None }
    }
}

impl fmt::Display for DoubtKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "auth",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Protocol => "protocol",
            Self::Corrupt => "corrupt",
            Self::Reference => "reference",
        })
    }
}
