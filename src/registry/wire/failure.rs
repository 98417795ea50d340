//! Why a request got no answer, in words for people.

use http::StatusCode;
use url::Url;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::wire::clients::Way;
use crate::registry::wire::handshake::Handshake;
use crate::registry::wire::limits::{LOOK_LIMIT, REQUEST_LIMIT};
use crate::registry::wire::pace::{Held, Trouble};
use crate::registry::wire::proxy::Setting;
use crate::registry::wire::resolve::Inside;
use crate::registry::wire::transport::Reply;

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
    #[error("{0}")]
    Tls(Handshake),
    #[error("it speaks TLS")]
    SpeaksTls,
    #[error("failed to set up TLS ({0})")]
    NoTls(String),
    #[error("the proxy {address} {what}")]
    Proxy { address: String, what: String, next: String },
    #[error("{0}")]
    BadProxy(String),
    #[error("{0}")]
    Inside(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it redirected to {host}, which is not followed: {why}")]
    Redirect { host: String, why: String },
}

// === impl Failure ===

impl Failure {
    /// An error of reading an answer.
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::Tls(Handshake::of(tls));
        }
        if let Some(inside) = find::<Inside>(error) {
            return Self::Inside(inside.to_string());
        }
        let cause = innermost(error);
        if let Some(handshake) = Handshake::of_text(&cause) {
            return Self::Tls(handshake);
        }
        let what = if error.is_connect() { "it cannot be reached" } else { "the connection broke" };
        Self::Unreachable(format!("{what} ({cause})"))
    }

    /// An error of sending a request to `url` on a way.
    pub(crate) fn on(way: &Way, url: &Url, error: &reqwest::Error) -> Self {
        let failure = Self::of(error);
        let cause = innermost(error);
        if let Some(proxy) = way.proxy.as_deref() {
            // hyper-util's words; its type is not exported.
            if cause == "tunnel error: proxy authorization required" {
                return Self::refused(proxy);
            }
            // What broke before TLS with the registry began, broke at the proxy.
            if error.is_connect() && !matches!(failure, Self::Tls(_)) {
                let next = format!("check {} and the proxy's own log", proxy.named_in());
                return Self::Proxy { address: proxy.shown(), what: format!("gives no way ({cause})"), next };
            }
        }
        // hyper's words for what is no HTTP: a TLS server answers plain text with an alert record.
        if url.scheme() == "http" && cause.starts_with("invalid HTTP") { Self::SpeaksTls } else { failure }
    }

    /// The proxy answered 407 to a plain request.
    pub(crate) fn refused_by_proxy(way: &Way) -> Self {
        match way.proxy.as_deref() {
            Some(proxy) => Self::refused(proxy),
            None => Self::Unreachable("it answers as a proxy that wants a password (407)".to_owned()),
        }
    }

    fn refused(proxy: &Setting) -> Self {
        Self::Proxy {
            address: proxy.shown(),
            what: "does not accept the user name and password".to_owned(),
            next: format!("correct them in {}", proxy.named_in()),
        }
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
        let (kind, next): (_, &str) = match self {
            Self::Held(held) => return not_asked(held, host, subject),
            Self::TimedOut | Self::OutOfTime | Self::Unreachable(_) => {
                (DoubtKind::Transient, "it is asked again at the next look; check its name and the network")
            }
            Self::Tls(handshake) => (DoubtKind::Transient, handshake.next_step()),
            Self::SpeaksTls => (DoubtKind::Transient, "take `insecure: true` away"),
            Self::Proxy { next, .. } => (DoubtKind::Transient, next),
            Self::BadProxy(_) => (DoubtKind::Transient, "correct the environment variable or take it away"),
            Self::Inside(_) => {
                (DoubtKind::Protocol, "check that `repository` names the registry that you mean")
            }
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

/// An error of a type among the causes of an error. `io::Error` skips what it wraps when asked for its source, and
/// connectors wrap one in another.
fn find<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => find(inner),
        None => error.source().and_then(find),
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

/// An answer, or the failure that it is: a TLS server's words to who asks it in plain HTTP (Go's net/http, nginx).
pub(crate) fn refuse_what_no_registry_says(url: &Url, reply: Reply) -> Result<Reply, Failure> {
    let says = |words: &str| reply.body.windows(words.len()).any(|window| window == words.as_bytes());
    let speaks_tls = url.scheme() == "http"
        && reply.status == StatusCode::BAD_REQUEST
        && (says("HTTP request to an HTTPS server") || says("HTTP request was sent to HTTPS port"));
    if speaks_tls { Err(Failure::SpeaksTls) } else { Ok(reply) }
}
