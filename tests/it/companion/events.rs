//! Events for Flux's Alerts, against a notification-controller that answers as it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use tidegate::flux::events::{FluxEvent, Outbox, Severity, WAITING_MAX, outbox};
use tidegate::telemetry::metrics::Metrics;

use crate::cluster::install_crypto;

/// What is answered, and what came in.
#[derive(Default)]
struct Receiver {
    /// By message; one that is absent here is 202, or 429 when it came before.
    answers: BTreeMap<String, Answer>,
    bodies: Vec<Value>,
}

#[derive(Clone, Copy)]
pub enum Answer {
    Status(u16),
    Hang,
}

/// A notification-controller on loopback; ends when it is dropped.
pub struct Receiving {
    pub address: String,
    receiver: Arc<Mutex<Receiver>>,
    server: tokio::task::JoinHandle<()>,
}

struct World {
    receiving: Receiving,
    outbox: Outbox,
    metrics: Metrics,
    postman: tokio::task::JoinHandle<()>,
}

async fn receive(State(receiver): State<Arc<Mutex<Receiver>>>, body: Bytes) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let answer = {
        let mut receiver = receiver.lock().unwrap();
        let is_known = receiver.bodies.iter().any(|known| known["message"] == body["message"]);
        let told = receiver.answers.get(body["message"].as_str().unwrap()).copied();
        receiver.bodies.push(body);
        told.unwrap_or(Answer::Status(if is_known { 429 } else { 202 }))
    };
    match answer {
        Answer::Status(code) => StatusCode::from_u16(code).unwrap(),
        Answer::Hang => std::future::pending().await,
    }
}

// === impl Receiving ===

impl Receiving {
    pub async fn new(answers: &[(&str, Answer)]) -> Self {
        let answers = answers.iter().map(|(message, answer)| ((*message).to_owned(), *answer)).collect();
        let receiver = Arc::new(Mutex::new(Receiver { answers, bodies: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(Arc::clone(&receiver));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, receiver, server }
    }

    /// Messages in the order in which they came.
    pub fn came(&self) -> Vec<String> {
        let bodies = &self.receiver.lock().unwrap().bodies;
        bodies.iter().map(|body| body["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits for a message with these words.
    pub async fn wait(&self, words: &str) {
        let waited = tokio::time::timeout(Duration::from_secs(10), async {
            while !self.came().iter().any(|message| message.contains(words)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("`{words}` never came: {:#?}", self.came()));
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl World ===

impl World {
    async fn new(answers: &[(&str, Answer)]) -> Self {
        install_crypto();
        let receiving = Receiving::new(answers).await;
        let metrics = Metrics::default();
        let (outbox, postman) = outbox(receiving.address.parse().unwrap(), metrics.clone()).unwrap();
        Self { receiving, outbox, metrics, postman: tokio::spawn(postman.run()) }
    }

    fn post(&self, message: &str) {
        self.outbox.post(event(message));
    }

    fn count(&self, outcome: &str) -> u64 {
        let label = format!("tidegate_flux_events_total{{outcome=\"{outcome}\"}} ");
        let text = self.metrics.text();
        text.lines().find_map(|line| line.strip_prefix(&label)?.parse().ok()).unwrap_or_default()
    }

    async fn wait(&self, outcome: &str, count: u64) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.count(outcome) < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{outcome} stayed at {}", self.count(outcome)));
        assert_eq!(self.count(outcome), count);
    }

    fn came(&self) -> Vec<String> {
        self.receiving.came()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.postman.abort();
    }
}

fn event(message: &str) -> FluxEvent {
    FluxEvent {
        namespace: "acme".into(),
        policy: "acme".into(),
        severity: Severity::Error,
        at: jiff::Timestamp::UNIX_EPOCH,
        reason: "Overdue".into(),
        message: message.into(),
        metadata: BTreeMap::new(),
    }
}

#[tokio::test]
async fn each_event_is_posted_once_and_a_duplicate_is_no_failure() {
    let world = World::new(&[]).await;
    world.post("one");
    world.post("one");
    world.post("two");
    world.wait("posted", 2).await;
    world.wait("duplicate", 1).await;
    assert_eq!(world.came(), ["one", "one", "two"], "in order, none tried again");
    let involved = world.receiving.receiver.lock().unwrap().bodies[0]["involvedObject"].clone();
    assert_eq!((involved["kind"].as_str(), involved["name"].as_str()), (Some("ImagePolicy"), Some("acme")));
}

#[tokio::test]
async fn a_refusal_is_counted_and_the_next_event_is_posted() {
    let world = World::new(&[("bad", Answer::Status(500)), ("moved", Answer::Status(307))]).await;
    for message in ["bad", "moved", "good"] {
        world.post(message);
    }
    world.wait("refused", 2).await;
    world.wait("posted", 1).await;
    assert_eq!(world.came(), ["bad", "moved", "good"]);
}

#[tokio::test]
async fn one_that_hangs_blocks_nobody_and_ends_after_five_seconds() {
    let world = World::new(&[("hangs", Answer::Hang)]).await;
    let started = tokio::time::Instant::now();
    world.post("hangs");
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while world.came().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("the first post arrives");
    for number in 0..WAITING_MAX + 3 {
        world.post(&format!("later {number}"));
    }
    assert!(started.elapsed() < Duration::from_secs(4), "whoever posts does not wait");
    assert_eq!(world.count("dropped"), 3);
    world.wait("unreachable", 1).await;
    world.wait("posted", WAITING_MAX as u64).await;
    let came = world.came();
    assert_eq!((came[1].as_str(), came.len()), ("later 3", WAITING_MAX + 1), "the oldest were dropped");
}

#[tokio::test]
async fn nobody_there_is_counted() {
    let world = World::new(&[]).await;
    world.receiving.server.abort();
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while !world.receiving.server.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
    world.post("one");
    world.wait("unreachable", 1).await;
}
