//! The one place through which every request to a registry or token server goes: its host's gate, limits,
//! redirects, counting.
//!
//! Knows HTTP and nothing of images. A status is an answer here, never an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use url::Url;

use crate::registry::wire::address::host_and_port;
use crate::registry::wire::clients::Clients;
use crate::registry::wire::failure::{Failure, refuse_what_no_registry_says};
use crate::registry::wire::guard;
use crate::registry::wire::limits::REQUEST_LIMIT;
use crate::registry::wire::pace::{HostObserver, Pace, Pacer, Permit, Turn};
use crate::registry::wire::route::Route;
use crate::telemetry::clock::Clock;

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
    /// POST of a form to a token server, the one request that is not a read: it changes nothing that we know of.
    Post,
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
    /// How long it waited for its host's turn before it was sent.
    pub waited: Duration,
}

/// Told of every request when it is over. Must return at once.
pub type Observer = Arc<dyn Fn(&RequestRecord) + Send + Sync>;

/// Answers requests without a network: a registry inside the process. An error is a connection that broke.
pub type InProcess = Arc<
    dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, std::io::Result<http::Response<Bytes>>> + Send + Sync,
>;

/// One request.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) verb: Verb,
    pub(crate) kind: RequestKind,
    pub(crate) url: Url,
    pub(crate) accept: &'static str,
    pub(crate) authorization: Option<HeaderValue>,
    /// Body of a POST, `application/x-www-form-urlencoded`. It holds a credential, so it is never redirected.
    pub(crate) form: Option<SecretString>,
    /// Largest body of a 200.
    pub(crate) body_max_bytes: usize,
    /// How its hosts are reached.
    pub(crate) route: Arc<Route>,
    /// Who asks, and until when.
    pub(crate) turn: Turn,
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

/// Sends requests. Holds connections and how hosts take requests, and nothing of what they carried.
pub(crate) struct Transport {
    observer: Option<Observer>,
    in_process: Option<InProcess>,
    clients: Clients,
    pub(crate) pacer: Pacer,
}

/// One step of a request.
enum Step {
    Reply(Reply),
    Redirect(Url),
}

/// Reports a request when it is over, also when its future is dropped by a time-out.
struct Recording<'a> {
    observer: Option<&'a Observer>,
    record: RequestRecord,
}

// === impl Transport ===

impl Transport {
    pub(crate) fn new(clock: Clock) -> Self {
        let pacer = Pacer::new(Pace::default(), clock, None);
        Self { observer: None, in_process: None, clients: Clients::default(), pacer }
    }

    #[cfg(test)]
    pub(crate) fn resolve_by(&mut self, names: Arc<dyn crate::registry::wire::resolve::Names>) {
        let environment = hyper_util::client::proxy::matcher::Matcher::builder().build();
        self.clients = Clients::new(names, environment);
    }

    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    pub(crate) fn ask_in_process(&mut self, registry: InProcess) {
        self.in_process = Some(registry);
    }

    pub(crate) fn observe_hosts(&mut self, observer: HostObserver) {
        self.pacer.observe(observer);
    }

    /// Sends one request once, following redirects: on the same origin as sent; for blobs also elsewhere, without
    /// the credential.
    pub(crate) async fn follow(&self, mut ask: Ask) -> Result<Reply, Failure> {
        let registry = ask.url.clone();
        let mut foreign = false;
        for _ in 0..=REDIRECTS_MAX {
            let next = match self.step(&ask, foreign).await? {
                Step::Reply(reply) => {
                    return refuse_what_no_registry_says(&ask.url, Reply { foreign, ..reply });
                }
                Step::Redirect(next) => next,
            };
            let refuse = |why: String| Failure::Redirect { host: host_and_port(&next), why };
            if ask.form.is_some() {
                return Err(refuse("a credential is sent to one address only".to_owned()));
            }
            if !guard::same_origin(&next, &registry) {
                if ask.kind != RequestKind::Blob {
                    return Err(refuse("only blobs may lie on another host".to_owned()));
                }
                guard::check(&next, &registry, ask.route.insecure)
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

    /// One request through the gate of its host, and its answer. From the gate on it has [`REQUEST_LIMIT`], or
    /// what is left of the look.
    async fn step(&self, ask: &Ask, away: bool) -> Result<Step, Failure> {
        // Docker Hub counts a GET of a manifest as a pull, and nothing else.
        let is_counted = ask.kind == RequestKind::Manifest && ask.verb == Verb::Get;
        let permit = self.pacer.admit(&ask.url, &ask.turn, is_counted).await?;
        let limit = Instant::now() + REQUEST_LIMIT;
        let result =
            match tokio::time::timeout_at(limit.min(ask.turn.deadline), self.exchange(ask, away, &permit))
                .await
            {
                Ok(result) => result,
                // Less than a request's time was left: that says nothing about the host.
                Err(_) if ask.turn.deadline < limit => return Err(Failure::OutOfTime),
                Err(_) => Err(Failure::TimedOut),
            };
        match result {
            Ok((status, step)) => {
                permit.answered(status);
                Ok(step)
            }
            Err(failure) => {
                match failure.trouble() {
                    Some(trouble) => permit.failed(trouble, &failure.to_string()),
                    // It answers, if too much.
                    None if matches!(failure, Failure::TooLarge(_)) => permit.answered(StatusCode::OK),
                    None => {}
                }
                Err(failure)
            }
        }
    }

    /// One request and its answer. `away`: a redirect led off the registry.
    async fn exchange(&self, ask: &Ask, away: bool, permit: &Permit) -> Result<(StatusCode, Step), Failure> {
        let way = self.clients.way(&ask.route, &ask.url, away)?;
        let method = match ask.verb {
            Verb::Get => http::Method::GET,
            Verb::Head => http::Method::HEAD,
            Verb::Post => http::Method::POST,
        };
        let mut request = way.client.request(method, ask.url.clone()).header(header::ACCEPT, ask.accept);
        if let Some(authorization) = &ask.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        if let Some(form) = &ask.form {
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.expose_secret().to_owned());
        }
        let record = RequestRecord {
            host: host_and_port(&ask.url),
            verb: ask.verb,
            kind: ask.kind,
            status: None,
            waited: permit.waited,
        };
        let mut recording = Recording { observer: self.observer.as_ref(), record };
        let lead = way.lead.as_deref();
        let leading = match lead {
            Some(lead) => lead.enter().await,
            None => None,
        };
        let response = match &self.in_process {
            None => request.send().await.map_err(|error| Failure::on(&way, &ask.url, &error))?,
            Some(registry) => in_process(registry, request).await?,
        };
        let status = response.status();
        recording.record.status = Some(status.as_u16());
        permit.head(status, response.headers());
        if let Some(lead) = lead {
            lead.heard(response.version());
        }
        drop(leading);
        self.clients.answered(&ask.route, &ask.url, response.remote_addr(), &way);
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(Failure::refused_by_proxy(&way));
        }
        let step = match redirect_of(&response, &ask.url) {
            Some(next) => Step::Redirect(next),
            None => Step::Reply(read(response, ask.body_max_bytes).await?),
        };
        Ok((status, step))
    }
}

/// The same exchange without a network.
async fn in_process(
    registry: &InProcess,
    request: reqwest::RequestBuilder,
) -> Result<reqwest::Response, Failure> {
    let request = request.build().map_err(|error| Failure::of(&error))?;
    let body = request.body().and_then(reqwest::Body::as_bytes).map(Bytes::copy_from_slice);
    let mut sent = http::Request::new(body.unwrap_or_default());
    *sent.method_mut() = request.method().clone();
    *sent.headers_mut() = request.headers().clone();
    let uri = request.url().as_str().parse();
    *sent.uri_mut() = uri.map_err(|error: http::uri::InvalidUri| Failure::Unreachable(error.to_string()))?;
    let answer = registry(sent).await;
    let broke = |error| Failure::Unreachable(format!("the connection broke ({error})"));
    Ok(answer.map_err(broke)?.into())
}

/// Where a redirect leads; `None` for every other answer, and for a redirect that names no place.
fn redirect_of(response: &reqwest::Response, from: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    from.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()
}

/// Reads the body up to its limit: too much is a failure for a 200, and cut off for an error.
async fn read(mut response: reqwest::Response, max_bytes: usize) -> Result<Reply, Failure> {
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
    Ok(Reply { status, version, headers, body: body.freeze(), foreign: false })
}

// === impl Recording ===

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer(&self.record);
        }
    }
}
