//! Why a request got no answer, in words for people.

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::wire::pace::{Held, LOOK_LIMIT, Trouble};
use crate::registry::wire::transport::REQUEST_LIMIT;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("it did not answer within {} s", REQUEST_LIMIT.as_secs())]
    TimedOut,
    #[error("the {} s of a look were over before it answered", LOOK_LIMIT.as_secs())]
    OutOfTime,
    /// It was not sent.
    #[error(transparent)]
    Held(#[from] Held),
    #[error("{0}")]
    Unreachable(String),
    #[error("it does not speak TLS")]
    PlainText,
    #[error("its TLS certificate or handshake was not accepted ({0})")]
    Tls(String),
    #[error("failed to set up TLS ({0})")]
    NoTls(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it redirected to {host}, which is not followed: {why}")]
    Redirect { host: String, why: String },
}

// === impl Failure ===

impl Failure {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        match tls_error(error) {
            Some(rustls::Error::InvalidMessage(_)) => return Self::PlainText,
            Some(other) => return Self::Tls(other.to_string()),
            None => {}
        }
        let what = if error.is_connect() { "it cannot be reached" } else { "the connection broke" };
        Self::Unreachable(format!("{what} ({})", innermost(error)))
    }

    /// What it says about the host; `None` when it says nothing about whether the host is there.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::TimedOut => Some(Trouble::Time),
            Self::Unreachable(_) => Some(Trouble::Connection),
            _ => None,
        }
    }

    /// The doubt that it is, about `subject` of the registry `host`.
    pub(crate) fn doubt(&self, host: &str, subject: &str) -> Doubt {
        let (kind, next) = match self {
            Self::Held(held) => return not_asked(held, host, subject),
            Self::TimedOut | Self::OutOfTime | Self::Unreachable(_) => {
                (DoubtKind::Transient, "it is asked again at the next look; check its name and the network")
            }
            Self::PlainText => (DoubtKind::Transient, "set `insecure: true` if it is meant to be plain HTTP"),
            Self::Tls(_) => (DoubtKind::Transient, "check the registry's certificate and who issued it"),
            Self::NoTls(_) => {
                (DoubtKind::Transient, "install the CA certificates of the system (package ca-certificates)")
            }
            Self::TooLarge(_) => {
                (DoubtKind::Corrupt, "no image needs that much; check what was pushed there")
            }
            Self::Redirect { .. } => (DoubtKind::Protocol, "name the registry's own host in `repository`"),
        };
        Doubt::new(kind, format!("failed to ask {host} for {subject}: {self}; {next}"))
    }
}

/// The doubt of a request that was not sent.
fn not_asked(held: &Held, host: &str, subject: &str) -> Doubt {
    let (kind, next, retry_after_secs) = match held {
        Held::Paused { rest_secs, .. } => (
            DoubtKind::Throttled,
            "look less often (`interval`) or with a credential that has a higher limit",
            Some(*rest_secs),
        ),
        Held::Quota { rest_secs, .. } => {
            (DoubtKind::Throttled, "use a credential that has a higher limit", Some(*rest_secs))
        }
        Held::Open { .. } => (DoubtKind::Transient, "check its name and the network", None),
        Held::Late | Held::Crowded => (
            DoubtKind::Throttled,
            "look less often (`interval`), or let the controller ask more (`--registry-requests-per-second-per-host`)",
            None,
        ),
    };
    let message = format!("{host} was not asked for {subject}: {held}; {next}");
    Doubt { kind, message, retry_after_secs }
}

/// The TLS error among the causes of an error. `io::Error` skips what it wraps when asked for its source, and
/// connectors wrap one in another.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => tls_error(inner),
        None => error.source().and_then(tls_error),
    }
}

/// The last cause of an error: the one that says something. reqwest's own words would repeat the address.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if cause.is::<reqwest::Error>() { "no cause given".to_owned() } else { cause.to_string() }
}
