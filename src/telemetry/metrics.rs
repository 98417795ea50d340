//! What the process counts, in OpenMetrics text.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the reconcile histogram in seconds: from one without any look to one that hits every
/// registry time-out (15 s).
const RECONCILE_BUCKETS_SECS: [f64; 9] = [0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// Labels of a registry request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RegistryRequest {
    /// Host of the registry.
    pub host: String,
    /// HTTP method.
    pub method: String,
    /// HTTP status, or `none` when there was no answer.
    pub code: String,
}

/// Labels of one release set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SetLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Labels of a write to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// What was written: `status`, `commit`, `target`, `job`, `event`.
    pub kind: &'static str,
    /// `ok`, `conflict` or `error`.
    pub outcome: &'static str,
}

/// Every metric; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Seconds of each reconcile.
    pub reconcile_secs: Histogram,
    /// Reconciles that ended in an error and are tried again.
    pub reconcile_errors: Counter,
    /// Requests to registries.
    pub registry_requests: Family<RegistryRequest, Counter>,
    /// Writes to the API server.
    pub api_writes: Family<WriteLabels, Counter>,
    /// `status.promoted.sequence` of each set.
    pub promoted_sequence: Family<SetLabels, Gauge>,
    /// When the oldest followed candidate was first seen, in seconds since 1970; 0 when none is followed.
    pub oldest_candidate_timestamp_secs: Family<SetLabels, Gauge>,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        let reconcile_secs = Histogram::new(RECONCILE_BUCKETS_SECS);
        let (reconcile_errors, registry_requests) = (Counter::default(), Family::default());
        let (api_writes, promoted_sequence) = (Family::default(), Family::default());
        let oldest_candidate_timestamp_secs = Family::default();
        registry.register("reconcile_duration_seconds", "Seconds of each reconcile", reconcile_secs.clone());
        registry.register(
            "reconcile_errors",
            "Reconciles that ended in an error and are tried again",
            reconcile_errors.clone(),
        );
        registry.register("registry_requests", "Requests to registries", registry_requests.clone());
        registry.register("api_writes", "Writes to the API server", api_writes.clone());
        registry.register("promoted_sequence", "Sequence of the promoted release", promoted_sequence.clone());
        registry.register(
            "oldest_candidate_timestamp_seconds",
            "When the oldest followed candidate was first seen; 0 when none is followed",
            oldest_candidate_timestamp_secs.clone(),
        );
        Self {
            registry: Arc::new(registry),
            reconcile_secs,
            reconcile_errors,
            registry_requests,
            api_writes,
            promoted_sequence,
            oldest_candidate_timestamp_secs,
        }
    }
}

impl Metrics {
    /// Everything in OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Counts a write to the API server.
    pub fn count_write(&self, kind: &'static str, outcome: &'static str) {
        self.api_writes.get_or_create(&WriteLabels { kind, outcome }).inc();
    }

    /// Forgets the gauges of a set that is gone.
    pub fn forget(&self, set: &SetLabels) {
        self.promoted_sequence.remove(set);
        self.oldest_candidate_timestamp_secs.remove(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_what_was_counted() {
        let metrics = Metrics::default();
        metrics.count_write("commit", "ok");
        let set = SetLabels { namespace: "prod".into(), name: "acme".into() };
        metrics.promoted_sequence.get_or_create(&set).set(7);
        let text = metrics.text();
        assert!(text.contains(r#"tidegate_api_writes_total{kind="commit",outcome="ok"} 1"#), "{text}");
        assert!(text.contains(r#"tidegate_promoted_sequence{namespace="prod",name="acme"} 7"#), "{text}");
        metrics.forget(&set);
        assert!(!metrics.text().contains("acme"));
    }
}
