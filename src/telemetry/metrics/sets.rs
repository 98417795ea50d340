//! Gauges of each ReleaseSet, read at every scrape from the figures that its last reconcile left.
//!
//! One value per set instead of one family per gauge: what is replaced or forgotten is replaced or forgotten whole, and no
//! label outlives its set.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Labels of one release set.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct SetLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Labels of a host that one release set asks.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SetHostLabels {
    namespace: String,
    name: String,
    host: String,
}

/// How one set stands. Instants are seconds since 1970.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a gauge of its own, and any of them may be raised"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetFigures {
    /// `status.promoted.sequence`; 0 before the first promotion.
    pub promoted_sequence: i64,
    /// When the oldest followed candidate was first seen; 0 when none is followed.
    pub oldest_candidate_timestamp_secs: i64,
    /// A candidate is past its deadline: not complete, not tested, or a cell could not be told for so long.
    pub is_candidate_overdue: bool,
    /// Targets that do not carry the promoted release.
    pub targets_behind: i64,
    /// A tag of the promoted release points elsewhere.
    pub is_tag_moved: bool,
    /// A tag of the promoted release is gone from its registry.
    pub is_promoted_gone: bool,
    /// Only an edit of the set mends it.
    pub is_stalled: bool,
    /// Since when something at a registry host cannot be told, by host; hosts that can are absent.
    pub unknown_since: BTreeMap<String, i64>,
}

/// The figures of every set; cheap to clone.
#[derive(Clone, Default)]
pub struct SetGauges {
    sets: Arc<Mutex<BTreeMap<SetLabels, SetFigures>>>,
}

/// A gauge: its name without the prefix, what it says, and its value.
type Figure = (&'static str, &'static str, fn(&SetFigures) -> i64);

/// Every gauge that has one value per set.
const FIGURES: [Figure; 7] = [
    ("promoted_sequence", "Sequence of the promoted release; 0 before the first", |of| of.promoted_sequence),
    (
        "oldest_candidate_timestamp_seconds",
        "When the oldest followed candidate was first seen; 0 when none is followed",
        |of| of.oldest_candidate_timestamp_secs,
    ),
    ("candidate_overdue", "1 while a candidate is past its deadline", |of| of.is_candidate_overdue.into()),
    ("targets_behind", "Targets that do not carry the promoted release", |of| of.targets_behind),
    ("tag_moved", "1 while a tag of the promoted release points elsewhere", |of| of.is_tag_moved.into()),
    ("promoted_gone", "1 while a tag of the promoted release is gone from its registry", |of| {
        of.is_promoted_gone.into()
    }),
    ("stalled", "1 while only an edit of the ReleaseSet mends it", |of| of.is_stalled.into()),
];

// === impl SetGauges ===

impl SetGauges {
    /// What was left last for a set.
    pub fn get(&self, set: &SetLabels) -> Option<SetFigures> {
        self.lock().get(set).cloned()
    }

    /// Replaces the figures of a set.
    pub fn set(&self, set: SetLabels, figures: SetFigures) {
        self.lock().insert(set, figures);
    }

    /// Forgets a set that is gone, or is another process's by now.
    pub fn forget(&self, set: &SetLabels) {
        self.lock().remove(set);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SetLabels, SetFigures>> {
        // Figures are replaced whole: a panic leaves none that is half.
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SetGauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SetGauges").finish_non_exhaustive()
    }
}

impl Collector for SetGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let sets = self.lock();
        for (name, help, value) in FIGURES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, figures) in sets.iter() {
                ConstGauge::new(value(figures)).encode(family.encode_family(labels)?)?;
            }
        }
        let help = "Since when something at the host cannot be told; absent while everything can";
        let mut family =
            encoder.encode_descriptor("unknown_since_timestamp_seconds", help, None, MetricType::Gauge)?;
        for (set, figures) in sets.iter() {
            for (host, since) in &figures.unknown_since {
                let labels = SetHostLabels {
                    namespace: set.namespace.clone(),
                    name: set.name.clone(),
                    host: host.clone(),
                };
                ConstGauge::new(*since).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
