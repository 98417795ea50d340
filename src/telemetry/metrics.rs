//! What the process counts, in OpenMetrics text.

mod sets;

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use self::sets::{SetFigures, SetGauges, SetLabels};

/// Upper bounds of the reconcile histogram in seconds: from one without any look to one that hits every
/// registry time-out (15 s).
const RECONCILE_BUCKETS_SECS: [f64; 9] = [0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// Upper bounds of the histogram of waiting for a host's turn in seconds: from none to the end of a look (30 s).
const QUEUE_BUCKETS_SECS: [f64; 7] = [0.001, 0.05, 0.25, 1.0, 5.0, 15.0, 30.0];

/// Labels of a host that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RegistryHost {
    /// Host of a registry or token server.
    pub host: String,
}

/// What is measured of each host that is asked, and of the waiting for it.
#[derive(Clone, Debug)]
pub struct RegistryHosts {
    /// Pulls that the host allows in its window, where it says so (Docker Hub).
    pub ratelimit_limit: Family<RegistryHost, Gauge>,
    /// Pulls that are left of it.
    pub ratelimit_remaining: Family<RegistryHost, Gauge>,
    /// Length of the window.
    pub ratelimit_window_secs: Family<RegistryHost, Gauge>,
    /// Until when the host is left alone because it said so, in seconds since 1970; may be over.
    pub paused_until_timestamp_secs: Family<RegistryHost, Gauge>,
    /// 1 while the host is only probed because it does not answer.
    pub breaker_open: Family<RegistryHost, Gauge>,
    /// How long requests waited for their host's turn.
    pub queue_secs: Histogram,
}

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

/// Labels of a write to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// What was written: `status`, `commit`, `target`, `finalizer`, `job`, `event`, `scan`, `lease`.
    pub kind: &'static str,
    /// `ok`, `conflict` or `error`.
    pub outcome: &'static str,
}

/// Labels of an event for Flux's Alerts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FluxEventLabels {
    /// `posted`, `duplicate`, `refused`, `unreachable` or `dropped`.
    pub outcome: &'static str,
}

/// Every metric; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// 1 while this process may act: it holds the lease, or there is no election.
    pub leader: Gauge,
    /// Seconds of each reconcile.
    pub reconcile_secs: Histogram,
    /// Reconciles that ended in an error and are tried again.
    pub reconcile_errors: Counter,
    /// Requests to registries.
    pub registry_requests: Family<RegistryRequest, Counter>,
    /// The hosts that are asked.
    pub registry_hosts: RegistryHosts,
    /// Writes to the API server.
    pub api_writes: Family<WriteLabels, Counter>,
    /// Events for Flux's Alerts.
    pub flux_events: Family<FluxEventLabels, Counter>,
    /// How each set stands.
    pub sets: SetGauges,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        let reconcile_secs = Histogram::new(RECONCILE_BUCKETS_SECS);
        let (reconcile_errors, registry_requests) = (Counter::default(), Family::default());
        let (api_writes, sets) = (Family::default(), SetGauges::default());
        let (flux_events, leader) = (Family::default(), Gauge::default());
        registry.register("leader", "1 while this process may act", leader.clone());
        registry.register("flux_events", "Events for Flux's Alerts", flux_events.clone());
        registry.register("reconcile_duration_seconds", "Seconds of each reconcile", reconcile_secs.clone());
        registry.register(
            "reconcile_errors",
            "Reconciles that ended in an error and are tried again",
            reconcile_errors.clone(),
        );
        registry.register("registry_requests", "Requests to registries", registry_requests.clone());
        let registry_hosts = RegistryHosts::registered(&mut registry);
        registry.register("api_writes", "Writes to the API server", api_writes.clone());
        registry.register_collector(Box::new(sets.clone()));
        Self {
            registry: Arc::new(registry),
            leader,
            reconcile_secs,
            reconcile_errors,
            registry_requests,
            registry_hosts,
            api_writes,
            flux_events,
            sets,
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

    /// Counts an event for Flux's Alerts.
    pub fn count_flux_event(&self, outcome: &'static str) {
        self.flux_events.get_or_create(&FluxEventLabels { outcome }).inc();
    }

    /// Forgets a host that is no longer asked, so that labels do not grow with every host that was ever named.
    pub fn forget_host(&self, host: &str) {
        let labels = RegistryHost { host: host.to_owned() };
        let hosts = &self.registry_hosts;
        for family in [
            &hosts.ratelimit_limit,
            &hosts.ratelimit_remaining,
            &hosts.ratelimit_window_secs,
            &hosts.paused_until_timestamp_secs,
            &hosts.breaker_open,
        ] {
            family.remove(&labels);
        }
        // The family cannot be searched, and there are only so many methods and statuses.
        let codes = (100..600).map(|code: u16| code.to_string()).chain(["none".to_owned()]);
        for code in codes {
            for method in ["GET", "HEAD", "POST"] {
                self.registry_requests.remove(&RegistryRequest {
                    host: host.to_owned(),
                    method: method.to_owned(),
                    code: code.clone(),
                });
            }
        }
    }
}

// === impl RegistryHosts ===

impl RegistryHosts {
    fn registered(registry: &mut Registry) -> Self {
        let mut gauge = |name: &str, help: &str| {
            let family = Family::<RegistryHost, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let hosts = Self {
            ratelimit_limit: gauge("registry_ratelimit_limit", "Pulls that the host allows in its window"),
            ratelimit_remaining: gauge("registry_ratelimit_remaining", "Pulls that are left of the limit"),
            ratelimit_window_secs: gauge("registry_ratelimit_window_seconds", "Window of the limit"),
            paused_until_timestamp_secs: gauge(
                "registry_paused_until_timestamp_seconds",
                "Until when the host is left alone because it said so",
            ),
            breaker_open: gauge(
                "registry_breaker_open",
                "1 while the host is only probed as it does not answer",
            ),
            queue_secs: Histogram::new(QUEUE_BUCKETS_SECS),
        };
        registry.register(
            "registry_queue_duration_seconds",
            "Seconds that a request waited for its host's turn",
            hosts.queue_secs.clone(),
        );
        hosts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn text_names_what_was_counted() {
        let metrics = Metrics::default();
        metrics.count_write("commit", "ok");
        let set = SetLabels { namespace: "prod".into(), name: "acme".into() };
        let unknown_since = BTreeMap::from([("ghcr.io".to_owned(), 1_700_000_000)]);
        let figures =
            SetFigures { promoted_sequence: 7, is_tag_moved: true, unknown_since, ..SetFigures::default() };
        metrics.sets.set(set.clone(), figures);
        let text = metrics.text();
        assert!(text.contains(r#"tidegate_api_writes_total{kind="commit",outcome="ok"} 1"#), "{text}");
        assert!(text.contains(r#"tidegate_promoted_sequence{namespace="prod",name="acme"} 7"#), "{text}");
        assert!(text.contains(r#"tidegate_tag_moved{namespace="prod",name="acme"} 1"#), "{text}");
        assert!(text.contains(r#"tidegate_stalled{namespace="prod",name="acme"} 0"#), "{text}");
        let unknown = r#"tidegate_unknown_since_timestamp_seconds{namespace="prod",name="acme",host="ghcr.io"} 1700000000"#;
        assert!(text.contains(unknown), "{text}");
        metrics.sets.forget(&set);
        assert!(!metrics.text().contains("acme"));
    }

    #[test]
    fn a_forgotten_host_leaves_no_label() {
        let metrics = Metrics::default();
        let labels = RegistryHost { host: "r.io".into() };
        metrics.registry_hosts.ratelimit_remaining.get_or_create(&labels).set(76);
        for code in ["200", "429", "none"] {
            let request =
                RegistryRequest { host: "r.io".into(), method: "HEAD".into(), code: code.to_owned() };
            metrics.registry_requests.get_or_create(&request).inc();
        }
        let text = metrics.text();
        assert!(text.contains(r#"tidegate_registry_ratelimit_remaining{host="r.io"} 76"#), "{text}");
        metrics.forget_host("r.io");
        assert!(!metrics.text().contains("r.io"), "{}", metrics.text());
    }
}
