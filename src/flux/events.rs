//! Events for Flux's Alerts, posted to notification-controller as Flux's own controllers post theirs
//! (`fluxcd/pkg runtime/events`): best effort, from a queue of its own, and never in anybody's way.
//!
//! An Alert selects by the kind of the involved object, and its CRD knows no ReleaseSet: events are told of the
//! ImagePolicies that a set writes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;
use url::Url;

use crate::telemetry::kube_call::clip;
use crate::telemetry::metrics::Metrics;

/// Longest message that notification-controller takes (`event/v1beta1`, flux research §4).
const MESSAGE_MAX_BYTES: usize = 39_000;
/// Most events that wait: one for each of 16 targets of 16 sets. What is older is of less use than what is new.
pub const WAITING_MAX: usize = 256;
/// Longest time for one post, connection and answer: what Flux's own controllers allow.
const POST_LIMIT: Duration = Duration::from_secs(5);
/// Group of the involved object: metadata with another prefix is dropped by notification-controller.
const METADATA_PREFIX: &str = "image.toolkit.fluxcd.io/";
/// `reportingController`.
const REPORTER: &str = "tidegate";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Error,
}

/// One event of one ImagePolicy of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluxEvent {
    /// Namespace of the ImagePolicy.
    pub namespace: String,
    /// Name of the ImagePolicy.
    pub policy: String,
    /// How bad it is.
    pub severity: Severity,
    /// When it happened.
    pub at: Timestamp,
    /// One word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Shown beside the message; names without prefix, such as `revision`.
    pub metadata: BTreeMap<String, String>,
}

/// Where events are left to be posted. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    waiting: Mutex<VecDeque<FluxEvent>>,
    wake: Notify,
    metrics: Metrics,
}

/// Posts what is in the outbox.
pub struct Postman {
    shared: Arc<Shared>,
    client: reqwest::Client,
    address: Url,
}

/// What came of a post. The words are those of the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 202, or any other 2xx.
    Posted,
    /// 429: it was told within the last minutes.
    Duplicate,
    /// Another answer.
    Refused(StatusCode),
    /// No answer, or none in time.
    Unreachable,
}

/// An outbox and who posts what is in it to `address`, which is what Flux calls `--events-addr`.
///
/// # Errors
/// The HTTP client cannot be built.
pub fn outbox(address: Url, metrics: Metrics) -> Result<(Outbox, Postman), reqwest::Error> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .timeout(POST_LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        // A service of the cluster is not behind the proxy that leads out of it.
        .no_proxy()
        .build()?;
    let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Notify::new(), metrics });
    Ok((Outbox(Arc::clone(&shared)), Postman { shared, client, address }))
}

// === impl Outbox ===

impl Outbox {
    /// Leaves an event to be posted. When too many wait, the oldest is dropped and counted.
    pub fn post(&self, event: FluxEvent) {
        let mut waiting = self.0.waiting();
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
            self.0.metrics.count_flux_event("dropped");
        }
        waiting.push_back(event);
        drop(waiting);
        self.0.wake.notify_one();
    }
}

// === impl Shared ===

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<FluxEvent>> {
        // A holder that panicked left whole events behind.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Postman ===

impl Postman {
    /// Posts one event after the other, for ever. Each is tried once: what an Alert tells late, it tells wrongly.
    pub async fn run(self) {
        loop {
            let next = self.shared.waiting().pop_front();
            let Some(event) = next else {
                self.shared.wake.notified().await;
                continue;
            };
            let outcome = self.post(&event).await;
            self.shared.metrics.count_flux_event(outcome.word());
            match outcome {
                Outcome::Posted | Outcome::Duplicate => {}
                Outcome::Refused(status) => {
                    tracing::warn!(
                        policy = event.policy,
                        "Flux refused an event ({status}): check --flux-events-addr"
                    );
                }
                Outcome::Unreachable => tracing::warn!(
                    policy = event.policy,
                    "Flux's notification-controller did not take an event: check --flux-events-addr and NetworkPolicies"
                ),
            }
        }
    }

    async fn post(&self, event: &FluxEvent) -> Outcome {
        let request = self
            .client
            .post(self.address.clone())
            .header("content-type", "application/json")
            .body(body(event).to_string());
        // Of the answer only the status is read; its body is dropped with the connection.
        match request.send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Outcome::Posted,
            Ok(StatusCode::TOO_MANY_REQUESTS) => Outcome::Duplicate,
            Ok(status) => Outcome::Refused(status),
            Err(_) => Outcome::Unreachable,
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Duplicate => "duplicate",
            Self::Refused(_) => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The event as `event/v1beta1` has it.
fn body(event: &FluxEvent) -> Value {
    let metadata: serde_json::Map<String, Value> = event
        .metadata
        .iter()
        .map(|(key, value)| (format!("{METADATA_PREFIX}{key}"), Value::from(value.as_str())))
        .collect();
    json!({
        "involvedObject": {
            "apiVersion": "image.toolkit.fluxcd.io/v1",
            "kind": "ImagePolicy",
            "namespace": event.namespace,
            "name": event.policy,
        },
        "severity": match event.severity { Severity::Info => "info", Severity::Error => "error" },
        "timestamp": event.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "reason": event.reason,
        "message": clip(&event.message, MESSAGE_MAX_BYTES),
        "metadata": metadata,
        "reportingController": REPORTER,
        "reportingInstance": REPORTER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> FluxEvent {
        FluxEvent {
            namespace: "acme".into(),
            policy: "acme".into(),
            severity: Severity::Info,
            at: Timestamp::UNIX_EPOCH,
            reason: "Promoted".into(),
            message: message.into(),
            metadata: [("revision".to_owned(), "main-2".to_owned())].into(),
        }
    }

    #[test]
    fn an_event_is_what_notification_controller_reads() {
        let expected = json!({
            "involvedObject": {
                "apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy", "namespace": "acme", "name": "acme",
            },
            "severity": "info",
            "timestamp": "1970-01-01T00:00:00Z",
            "reason": "Promoted",
            "message": "promoted main-2",
            "metadata": {"image.toolkit.fluxcd.io/revision": "main-2"},
            "reportingController": "tidegate",
            "reportingInstance": "tidegate",
        });
        assert_eq!(body(&event("promoted main-2")), expected);
        let long = body(&event(&"x".repeat(50_000)));
        assert_eq!(long["message"].as_str().map(str::len), Some(MESSAGE_MAX_BYTES));
    }

    #[tokio::test]
    async fn the_oldest_is_dropped_when_too_many_wait() {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let metrics = Metrics::default();
        let (outbox, postman) = outbox("http://127.0.0.1:9".parse().unwrap(), metrics.clone()).unwrap();
        for number in 0..WAITING_MAX + 2 {
            outbox.post(event(&number.to_string()));
        }
        let waiting = postman.shared.waiting();
        assert_eq!((waiting.len(), waiting[0].message.as_str()), (WAITING_MAX, "2"));
        assert!(
            metrics.text().contains(r#"tidegate_flux_events_total{outcome="dropped"} 2"#),
            "{}",
            metrics.text()
        );
    }
}
