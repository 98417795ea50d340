//! How hosts are asked, in virtual time, against a host that keeps count (issue "Registry truth", point 4).

mod throttle;
mod trouble;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::time::Instant;

use super::fixture::Reply;
use super::*;
use crate::registry::evidence::manifest::OCI_INDEX;

const BODY: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

/// One request as the host saw it; status 0 is silence.
#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    /// Path of the repository.
    repository: String,
    status: u16,
}

/// What the host does with a request.
enum Act {
    Answer(Duration, Reply),
    Silence,
}

/// What the host does with its nth request, for a repository.
type Rule = Box<dyn FnMut(usize, &str) -> Act + Send>;

struct Ledger {
    rule: Rule,
    seen: Vec<Seen>,
    open: usize,
    /// Most requests that were open at once.
    peak: usize,
}

/// A host that keeps count; gone with its value.
struct Host {
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn here() -> Reply {
    let digest = super::fixture::digest_of(BODY);
    Reply::ok(OCI_INDEX, BODY).header("docker-content-digest", digest.as_str())
}

fn at_once(reply: Reply) -> Act {
    Act::Answer(Duration::ZERO, reply)
}

fn throttled(retry_after: &str) -> Reply {
    let reply = Reply::status(429);
    if retry_after.is_empty() { reply } else { reply.header("retry-after", retry_after) }
}

fn named(asker: &str, access: Access) -> Access {
    Access { asker: Some(asker.into()), ..access }
}

fn fast() -> Pace {
    Pace::per_second(NonZeroU32::new(1_000).unwrap())
}

async fn answer(State(ledger): State<Arc<Mutex<Ledger>>>, request: Request) -> Response {
    let path = request.uri().path();
    let repository = path.trim_start_matches("/v2/").split('/').next().unwrap().to_owned();
    let ruled = {
        let ledger = &mut *ledger.lock().unwrap();
        let ruled = (ledger.rule)(ledger.seen.len(), &repository);
        let status = match &ruled {
            Act::Answer(_, reply) => reply.status,
            Act::Silence => 0,
        };
        ledger.seen.push(Seen { at: Instant::now(), repository, status });
        ledger.open += 1;
        ledger.peak = ledger.peak.max(ledger.open);
        ruled
    };
    let Act::Answer(after, reply) = ruled else { return std::future::pending().await };
    tokio::time::sleep(after).await;
    ledger.lock().unwrap().open -= 1;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

impl Host {
    async fn start(rule: impl FnMut(usize, &str) -> Act + Send + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Ledger { rule: Box::new(rule), seen: Vec::new(), open: 0, peak: 0 };
        let ledger = Arc::new(Mutex::new(ledger));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&ledger));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, ledger, server }
    }

    fn rule(&self, rule: impl FnMut(usize, &str) -> Act + Send + 'static) {
        let mut ledger = self.ledger.lock().unwrap();
        (ledger.rule, ledger.open, ledger.peak) = (Box::new(rule), 0, 0);
    }

    fn seen(&self) -> Vec<Seen> {
        self.ledger.lock().unwrap().seen.clone()
    }

    fn peak(&self) -> usize {
        self.ledger.lock().unwrap().peak
    }

    fn repository(&self, name: &str) -> Repository {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// HEAD of `NAME:v1`.
    async fn head(&self, subject: &Subject, access: &Access, name: &str) -> Sighting<Digest> {
        subject.client.head_tag(access, &self.repository(name), &"v1".parse().unwrap()).await
    }

    /// One GET of `NAME:v1`, an index of nothing.
    async fn get(&self, subject: &Subject, access: &Access, name: &str) -> Sighting<ImageEvidence> {
        let question = Question {
            repository: self.repository(name),
            tag: "v1".parse().unwrap(),
            platforms: Vec::new(),
            revision_keys: Vec::new(),
            depth: Depth::Manifests,
            verify: Verify::Manifests,
        };
        subject.look(access, &question).await
    }
}

/// The doubt of a sighting; `kind` it must be.
fn why<T: std::fmt::Debug>(sighting: &Sighting<T>, kind: DoubtKind) -> Doubt {
    let Sighting::Unknown(doubt) = sighting else { panic!("{sighting:?} is not Unknown") };
    assert_eq!(doubt.kind, kind, "{}", doubt.message);
    doubt.clone()
}
