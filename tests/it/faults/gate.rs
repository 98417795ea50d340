//! A proxy between a controller and the API server that sees requests and decides the fate of each. The controller's side is
//! plain HTTP: whose TLS it is changes nothing for what is tested here; [`super::wire`] passes it through.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::control_plane::ControlPlane;

/// Largest request: what the API server takes.
const BODY_MAX_BYTES: usize = 3 * 1024 * 1024;
/// Headers that belong to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::HOST];
/// How the API server says that a resourceVersion is too old, in the stream of a watch.
const GONE: &str = r#""code":410"#;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on, and its reply back.
    Pass,
    /// It never reaches the server, and is never answered.
    Lost,
    /// The server carries it out; its reply never comes.
    Unanswered,
    /// The server carries it out; this is answered instead.
    Lied(u16),
    /// It never reaches the server; this is answered.
    Refused(u16),
    /// It takes so much longer: half of it on the way there, half on the way back.
    Late(Duration),
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What and of which kind, for example `update releasesets/status`, `watch jobs`.
    pub what: String,
    /// Path with query.
    pub path: String,
    /// The body, where it is JSON.
    pub body: Value,
}

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub asked: Asked,
    pub fate: Fate,
    /// What the server or this proxy answered.
    pub status: Option<u16>,
    /// How long the asker waited for an answer that never came until it let go.
    pub let_go_after: Option<Duration>,
}

type Judge = Box<dyn FnMut(&Asked) -> Fate + Send>;

/// A running proxy; it stops when it is dropped.
pub struct Gate {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    state: Mutex<Inner>,
    /// How many requests wait, or waited, for an answer that does not come.
    stuck: tokio::sync::watch::Sender<usize>,
    /// Changes when all answers under way are cut off.
    cuts: tokio::sync::watch::Sender<()>,
}

struct Inner {
    judge: Judge,
    seen: Vec<Seen>,
    gone: usize,
}

/// Notes when the asker of a stuck request lets go: then the server drops its handler.
struct Stuck {
    shared: Arc<Shared>,
    index: usize,
    since: Instant,
}

// === impl Asked ===

impl Asked {
    fn new(method: &Method, path: &str, body: &[u8]) -> Self {
        let (plain, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parts: Vec<&str> = plain.trim_start_matches('/').split('/').collect();
        // /api/VERSION or /apis/GROUP/VERSION
        parts.drain(..parts.len().min(if parts[0] == "api" { 2 } else { 3 }));
        if parts.len() > 2 && parts[0] == "namespaces" {
            parts.drain(..2);
        }
        let verb = match (method.as_str(), parts.len()) {
            ("GET", 1) if query.contains("watch=true") => "watch",
            ("GET", 1) => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            (other, _) => other,
        };
        let kind = parts.first().copied().unwrap_or_default();
        let resource =
            parts.get(2).map_or_else(|| kind.to_owned(), |subresource| format!("{kind}/{subresource}"));
        let body = serde_json::from_slice(body).unwrap_or_default();
        Self { what: format!("{verb} {resource}"), path: path.to_owned(), body }
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        !["get ", "list ", "watch "].iter().any(|read| self.what.starts_with(read))
    }
}

// === impl Gate ===

impl Gate {
    /// Starts a proxy to the API server of `plane` that passes everything, on the current runtime.
    pub async fn start(plane: &ControlPlane) -> Self {
        crate::cluster::install_crypto();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = reqwest::Certificate::from_pem(plane.authority().as_bytes()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).http1_only();
        let inner = Inner { judge: Box::new(|_| Fate::Pass), seen: Vec::new(), gone: 0 };
        let shared = Arc::new(Shared {
            upstream: plane.url().to_owned(),
            client: client.build().unwrap(),
            state: Mutex::new(inner),
            stuck: tokio::sync::watch::Sender::new(0),
            cuts: tokio::sync::watch::Sender::new(()),
        });
        let router = Router::new().fallback(decide).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url: format!("http://{address}"), shared, server }
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has `judge` decide from now on. What was seen before is forgotten.
    pub fn judge(&self, judge: impl FnMut(&Asked) -> Fate + Send + 'static) {
        let mut state = self.shared.state();
        state.judge = Box::new(judge);
        state.seen.clear();
        state.gone = 0;
        self.shared.stuck.send_replace(0);
    }

    /// Ends all answers under way: those of watches.
    pub fn cut(&self) {
        self.shared.cuts.send_replace(());
    }

    /// Waits until a request waits for an answer that never comes.
    pub async fn stuck(&self) {
        let mut stuck = self.shared.stuck.subscribe();
        stuck.wait_for(|count| *count > 0).await.unwrap();
    }

    /// What was asked since the last [`Self::judge`], oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// How often a watch was told since then that its resourceVersion is too old.
    pub fn gone(&self) -> usize {
        self.shared.state().gone
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_status(&self, index: usize, status: StatusCode) {
        // A new judge forgot it.
        if let Some(seen) = self.state().seen.get_mut(index) {
            seen.status = Some(status.as_u16());
        }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        if let Some(seen) = self.shared.state().seen.get_mut(self.index) {
            seen.let_go_after = Some(self.since.elapsed());
        }
    }
}

async fn decide(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let since = Instant::now();
    let path = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX_BYTES).await else { return plain(400) };
    let asked = Asked::new(&parts.method, &path, &body);
    let (fate, index) = {
        let mut state = shared.state();
        let fate = (state.judge)(&asked);
        state.seen.push(Seen { asked, fate, status: None, let_go_after: None });
        (fate, state.seen.len() - 1)
    };
    let forward = pass_on(&shared, index, parts, &path, body);
    match fate {
        Fate::Pass => forward.await,
        Fate::Refused(status) => plain(status),
        Fate::Lied(status) => {
            forward.await;
            plain(status)
        }
        Fate::Late(by) => {
            tokio::time::sleep(by / 2).await;
            let reply = forward.await;
            tokio::time::sleep(by / 2).await;
            reply
        }
        Fate::Lost | Fate::Unanswered => {
            let _reply = if fate == Fate::Lost { None } else { Some(forward.await) };
            let _stuck = Stuck { shared: Arc::clone(&shared), index, since };
            shared.stuck.send_modify(|count| *count += 1);
            std::future::pending().await
        }
    }
}

/// An answer of this proxy, as a Status of Kubernetes.
fn plain(status: u16) -> Response {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
        "reason": "Fault", "message": "a fault of the test",
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn pass_on(
    shared: &Arc<Shared>,
    index: usize,
    parts: axum::http::request::Parts,
    path: &str,
    body: Bytes,
) -> Response {
    let mut headers = parts.headers;
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let url = format!("{}{path}", shared.upstream);
    let sent = shared.client.request(parts.method, url).headers(headers).body(body).send().await;
    // As a load balancer answers for a server that is away.
    let Ok(reply) = sent else { return plain(503) };
    shared.note_status(index, reply.status());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = reply.status();
    for (name, value) in reply.headers() {
        if !HOP_BY_HOP.contains(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    let counted = Arc::clone(shared);
    let bytes = reply.bytes_stream().inspect(move |chunk| {
        if let Ok(chunk) = chunk
            && String::from_utf8_lossy(chunk).contains(GONE)
        {
            counted.state().gone += 1;
        }
    });
    let mut cuts = shared.cuts.subscribe();
    let cut = async move { cuts.changed().await };
    *response.body_mut() = Body::from_stream(bytes.take_until(Box::pin(cut)));
    response
}

/// Writes of which the very same bytes were sent twice, the first of them to where they may have been carried out: a write that
/// a client sends again by itself. Every other says which version it read, or when it is sent.
pub fn sent_twice(seen: &[Seen]) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.asked.is_write() && seen.fate != Fate::Lost) {
        *counts.entry(format!("{} {} {}", seen.asked.what, seen.asked.path, seen.asked.body)).or_default() +=
            1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(write, _)| write).collect()
}

#[test]
fn requests_are_named_as_rbac_names_them() {
    let named = |method: Method, path: &str| Asked::new(&method, path, b"{}").what;
    let sets = "/apis/tidegate.dev/v1alpha1/namespaces/a/releasesets";
    assert_eq!(named(Method::GET, &format!("{sets}?limit=500")), "list releasesets");
    assert_eq!(named(Method::GET, &format!("{sets}?&watch=true&timeoutSeconds=30")), "watch releasesets");
    assert_eq!(named(Method::PUT, &format!("{sets}/acme/status?")), "update releasesets/status");
    assert_eq!(named(Method::POST, "/api/v1/namespaces/a/configmaps?"), "create configmaps");
    assert_eq!(named(Method::GET, "/api/v1/namespaces/a/secrets/pull"), "get secrets");
    assert!(Asked::new(&Method::PATCH, "/apis/events.k8s.io/v1/namespaces/a/events/x", b"").is_write());
}
