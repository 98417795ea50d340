//! A reverse proxy on loopback that counts what any tool asks of a registry, and may refuse in its place.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

/// Largest body that is passed on: the images of these suites have some kB.
const BODY_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Headers that belong to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::HOST];

/// One request that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// What was answered.
    pub status: u16,
    /// When it was answered.
    pub at: Instant,
}

/// A running proxy; it stops when it is dropped.
pub struct Counter {
    url: Url,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: Url,
    client: reqwest::Client,
    state: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    seen: Vec<Seen>,
    refuse_secs: Option<u32>,
}

// === impl Seen ===

impl Seen {
    /// A tag list.
    pub fn is_list(&self) -> bool {
        self.path.contains("/tags/list")
    }

    /// A GET whose bytes were sent.
    pub fn is_read(&self) -> bool {
        self.method == "GET" && self.status == 200 && !self.is_list()
    }
}

// === impl Counter ===

impl Counter {
    /// Starts a proxy to the registry at `upstream` on the current runtime.
    pub async fn start(upstream: &Url) -> Self {
        super::install_crypto();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            upstream: upstream.clone(),
            client: reqwest::Client::builder().no_proxy().build().expect("the client is plain"),
            state: Mutex::default(),
        });
        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        let url = Url::parse(&format!("http://{address}/")).expect("the URL is valid");
        Self { url, shared, server }
    }

    /// `host:port`, the first part of an image's repository name.
    pub fn host(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port().unwrap_or_default())
    }

    /// The requests since the last call, oldest first.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.state().seen)
    }

    /// Answers everything with 429 and this `Retry-After`, until it is `None` again.
    pub fn refuse(&self, retry_after_secs: Option<u32>) {
        self.shared.state().refuse_secs = retry_after_secs;
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, Counted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let method = request.method().to_string();
    let path = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let refuse_secs = shared.state().refuse_secs;
    let response = match refuse_secs {
        Some(secs) => Response::builder()
            .status(StatusCode::TOO_MANY_REQUESTS)
            .header(header::RETRY_AFTER, secs)
            .body(Body::empty())
            .expect("the answer is whole"),
        None => pass_on(&shared, &path, request).await,
    };
    shared.state().seen.push(Seen { method, path, status: response.status().as_u16(), at: Instant::now() });
    response
}

async fn pass_on(shared: &Shared, path: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.expect("the request is small");
    let mut headers = parts.headers;
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let url = shared.upstream.join(path).expect("a path of a request is a path");
    let sent = shared.client.request(parts.method, url).headers(headers).body(body).send().await;
    let reply = match sent {
        Ok(reply) => reply,
        Err(error) => panic!("the registry behind the counter did not answer: {error}"),
    };
    let mut response = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        if !HOP_BY_HOP.contains(name) {
            response = response.header(name, value);
        }
    }
    let bytes = reply.bytes().await.expect("the registry sends its whole answer");
    response.body(Body::from(bytes)).expect("the answer is whole")
}
