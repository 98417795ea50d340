//! The one place through which every request to a registry or token server goes: limits, redirects, counting.
//!
//! Knows HTTP and nothing of images. A status is an answer here, never an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::registry::wire::clients::Clients;
use crate::registry::wire::failure::Failure;
use crate::registry::wire::guard;

/// One request with its redirects and its whole body: 4 MiB at 0.3 MiB/s.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// Redirects followed: registries with storage behind them use one, CDNs in front of that a second.
const REDIRECTS_MAX: usize = 3;
/// Bytes read of the body of an error: its codes come first.
const ERROR_BODY_MAX_BYTES: usize = 64 * 1024;

/// What is asked for, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// `/v2/NAME/manifests/REFERENCE`.
    Manifest,
    /// `/v2/NAME/blobs/DIGEST`.
    Blob,
    /// `/v2/NAME/tags/list`.
    Tags,
    /// A token server.
    Token,
}

/// The verbs used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// GET.
    Get,
    /// HEAD.
    Head,
}

/// One request that was sent; each redirect is one more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Host and port that was asked.
    pub host: String,
    /// How.
    pub verb: Verb,
    /// For what.
    pub kind: RequestKind,
    /// HTTP status; `None` when none came (time-out, reset, refused connection, caller gone).
    pub status: Option<u16>,
}

/// Told of every request when it is over. Must return at once.
pub type Observer = Arc<dyn Fn(&RequestRecord) + Send + Sync>;

/// One request.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) verb: Verb,
    pub(crate) kind: RequestKind,
    pub(crate) url: Url,
    pub(crate) accept: &'static str,
    pub(crate) authorization: Option<HeaderValue>,
    /// Largest body of a 200.
    pub(crate) body_max_bytes: usize,
    /// Plain HTTP is allowed.
    pub(crate) insecure: bool,
}

/// One answer, of any status.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    /// The whole body of a 200; of anything else at most its beginning.
    pub(crate) body: Bytes,
    /// Another host than the one asked answered.
    pub(crate) foreign: bool,
}

/// Sends requests. Holds connections and nothing of what they carried.
pub(crate) struct Transport {
    observer: Option<Observer>,
    clients: Clients,
}

/// Reports a request when it is over, also when its future is dropped by a time-out.
struct Recording<'a> {
    observer: Option<&'a Observer>,
    record: RequestRecord,
}

// === impl Transport ===

impl Transport {
    pub(crate) fn new() -> Self {
        Self { observer: None, clients: Clients::default() }
    }

    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Sends one request and reads its answer, all within [`REQUEST_LIMIT`] of tokio's time.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Reply, Failure> {
        tokio::time::timeout(REQUEST_LIMIT, self.follow(ask)).await.unwrap_or(Err(Failure::TimedOut))
    }

    /// Follows redirects: on the same origin as sent; for blobs also elsewhere, without the credential.
    async fn follow(&self, mut ask: Ask) -> Result<Reply, Failure> {
        let registry = ask.url.clone();
        let mut foreign = false;
        for _ in 0..=REDIRECTS_MAX {
            let (response, recording) = self.exchange(&ask).await?;
            let Some(next) = redirect_of(&response, &ask.url) else {
                let reply = read(response, ask.body_max_bytes, foreign).await;
                drop(recording);
                return reply;
            };
            let refuse = |why: String| Failure::Redirect { host: host_and_port(&next), why };
            if !guard::same_origin(&next, &registry) {
                if ask.kind != RequestKind::Blob {
                    return Err(refuse("only blobs may lie on another host".to_owned()));
                }
                guard::check(&next, &registry, ask.insecure)
                    .map_err(|refused| refuse(refused.to_string()))?;
                // Once away, the credential stays behind, even if a later hop leads back.
                ask.authorization = None;
                foreign = true;
            }
            ask.url = next;
        }
        let why = format!("it was redirected more than {REDIRECTS_MAX} times");
        Err(Failure::Redirect { host: host_and_port(&ask.url), why })
    }

    /// One request and the head of its answer.
    async fn exchange(&self, ask: &Ask) -> Result<(reqwest::Response, Recording<'_>), Failure> {
        let client = self.clients.of(&ask.url)?;
        let method = match ask.verb {
            Verb::Get => http::Method::GET,
            Verb::Head => http::Method::HEAD,
        };
        let mut request = client.request(method, ask.url.clone()).header(header::ACCEPT, ask.accept);
        if let Some(authorization) = &ask.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let record =
            RequestRecord { host: host_and_port(&ask.url), verb: ask.verb, kind: ask.kind, status: None };
        let mut recording = Recording { observer: self.observer.as_ref(), record };
        let response = request.send().await.map_err(|error| Failure::of(&error))?;
        recording.record.status = Some(response.status().as_u16());
        Ok((response, recording))
    }
}

/// Where a redirect leads; `None` for every other answer, and for a redirect that names no place.
fn redirect_of(response: &reqwest::Response, from: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    from.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()
}

/// Reads the body up to its limit: too much is a failure for a 200, and cut off for an error.
async fn read(mut response: reqwest::Response, max_bytes: usize, foreign: bool) -> Result<Reply, Failure> {
    let (status, version) = (response.status(), response.version());
    let good = status == StatusCode::OK;
    let max_bytes = if good { max_bytes } else { ERROR_BODY_MAX_BYTES };
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if good && announced > max_bytes {
        return Err(Failure::TooLarge(max_bytes));
    }
    let mut body = BytesMut::with_capacity(announced.min(ERROR_BODY_MAX_BYTES));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= max_bytes => body.extend_from_slice(&chunk),
            Ok(Some(_)) if good => return Err(Failure::TooLarge(max_bytes)),
            Err(error) if good => return Err(Failure::of(&error)),
            // The end; or the body of an error, of which only codes for people would have been read.
            Ok(_) | Err(_) => break,
        }
    }
    let headers = std::mem::take(response.headers_mut());
    Ok(Reply { status, version, headers, body: body.freeze(), foreign })
}

/// `host:port`, without the port when it is the scheme's own.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

// === impl Recording ===

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer(&self.record);
        }
    }
}
