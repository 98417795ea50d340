//! What every reconcile shares: clients, clock, metrics, and the engine's memory of each set.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use kube::runtime::events::{Recorder, Reporter};

use crate::controller::flux::index::FluxIndex;
use crate::controller::guard::GuardRoom;
use crate::controller::leader::Leadership;
use crate::controller::look_room::LookRoom;
use crate::controller::room::SmokeRoom;
use crate::engine::gates::SMOKE_RUNNING_MAX;
use crate::engine::memory::Memory;
use crate::engine::policy::Policy;
use crate::flux::events::Outbox;
use crate::model::SetName;
use crate::registry::Registry;
use crate::telemetry::clock::Clock;
use crate::telemetry::kube_call::{CallError, call};
use crate::telemetry::metrics::{Metrics, SetLabels};

/// Most smoke tests of all sets at once when nothing else is set (issue "Smoke gate on a real node").
pub const SMOKE_RUNNING_ALL_MAX: u16 = 50;

/// Shared by all reconciles; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server. Made without automatic retries, and behind the fence of `leadership`.
    pub client: kube::Client,
    /// Whether this process may act. The fence of `client` asks it; so must every effect that is no Kubernetes call.
    pub leadership: Leadership,
    /// Registries.
    pub registry: Arc<dyn Registry>,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// Kubernetes Events. One per process, so that repeats become a series.
    pub recorder: Recorder,
    /// Room for sets that look at one registry.
    pub look_room: LookRoom,
    /// Room for smoke tests in this process.
    pub smoke_room: SmokeRoom,
    /// Most smoke tests of one set at once.
    pub smoke_running_max: usize,
    /// Which sets name which Flux objects.
    pub flux_index: FluxIndex,
    /// Events for Flux's Alerts; `None` means that none are posted.
    pub flux_events: Option<Outbox>,
    /// The guard lists of namespaces; `None` means that none are written.
    pub guard: Option<GuardRoom>,
    /// By namespace/name.
    memories: Arc<Mutex<HashMap<String, SetMemory>>>,
}

/// What a process remembers of one set between two reconciles. Never evidence for a commit: that is looked at
/// anew.
#[derive(Clone, Debug, Default)]
pub struct SetMemory {
    /// Of which object: a recreated one starts afresh.
    pub uid: String,
    /// Generation of the spec that it belongs to; another one starts afresh.
    pub generation: i64,
    /// What was seen in registries.
    pub memory: Memory,
    /// Where each image was looked for, in the order of the spec.
    pub places: Vec<String>,
    /// Jobs of gates that an earlier spec had were looked for.
    pub old_jobs_sought: bool,
    /// `status.lastScanResult.revision` of each ImageRepository that the set names, by its name.
    pub scans: BTreeMap<String, String>,
    /// Targets that an earlier spec had were looked for, and lost their marks.
    pub removed_sought: bool,
    /// The highest sequence that the targets were found or left to carry; `None` until all of them were read.
    pub carried: Option<i64>,
    /// The refusal that keeps a deleted set, of which an Event told, so that it is told once.
    pub refusal_told: Option<String>,
}

/// Why a call to the API server failed. After a time-out it is unknown whether a write happened: the next step
/// is a read.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}: {source}")]
pub struct ApiError {
    /// What was tried, as in "failed to …".
    pub doing: &'static str,
    /// The answer, or that none came.
    pub source: CallError,
}

// === impl SetMemory ===

impl SetMemory {
    /// Takes in where images are looked for. What was seen elsewhere is forgotten: an edit of an object that the spec
    /// refers to is no new generation of the set. A place that cannot be told for now takes nothing back.
    pub fn note_places(&mut self, policy: &Policy) {
        let places: Vec<String> = policy.images.iter().map(|image| image.place.text()).collect();
        let is_told = policy.images.iter().all(|image| image.place.repository().is_some());
        if is_told && std::mem::replace(&mut self.places, places.clone()) != places {
            self.memory = Memory::default();
        }
    }

    /// Takes in what Flux's scans say now. True when one changed: a hint that there is something new to see. The first
    /// that is heard of is no change.
    pub fn note_scans(&mut self, scans: BTreeMap<String, String>) -> bool {
        let mut is_changed = false;
        for (name, revision) in scans {
            let before = self.scans.insert(name, revision.clone());
            is_changed |= before.is_some_and(|before| before != revision);
        }
        is_changed
    }
}

// === impl Context ===

impl Context {
    /// A context with nothing remembered, of a process that always leads.
    pub fn new(client: kube::Client, registry: Arc<dyn Registry>, clock: Clock, metrics: Metrics) -> Self {
        metrics.leader.set(1);
        let recorder = recorder(&client);
        Self {
            client,
            leadership: Leadership::always(),
            registry,
            clock,
            metrics,
            recorder,
            look_room: LookRoom::default(),
            smoke_room: SmokeRoom::new(SMOKE_RUNNING_ALL_MAX.into()),
            smoke_running_max: SMOKE_RUNNING_MAX.into(),
            flux_index: FluxIndex::default(),
            flux_events: None,
            guard: None,
            memories: Arc::default(),
        }
    }

    /// The same, acting only while `leadership` is held.
    #[must_use]
    pub fn led_by(mut self, leadership: Leadership) -> Self {
        self.metrics.leader.set(leadership.is_held().into());
        self.client = leadership.fence(&self.client);
        self.recorder = recorder(&self.client);
        self.leadership = leadership;
        self
    }

    /// Forgets every set, as if this process had just begun.
    pub fn forget_all(&self) {
        let names: Vec<String> = self.memories().keys().cloned().collect();
        for (namespace, name) in names.iter().filter_map(|name| name.split_once('/')) {
            self.forget(namespace, name);
        }
        if let Some(guard) = &self.guard {
            guard.forget_all();
        }
    }

    /// Takes the memory of a set out; a set is never reconciled twice at once. Without one of this object and
    /// generation it is empty.
    pub fn take_memory(&self, set: &SetName, generation: i64) -> SetMemory {
        let fits = |memory: &SetMemory| memory.generation == generation && memory.uid == set.uid;
        let found = self.memories().remove(&set.to_string()).filter(fits);
        found.unwrap_or_else(|| SetMemory { uid: set.uid.clone(), generation, ..SetMemory::default() })
    }

    /// Puts it back.
    pub fn keep_memory(&self, set: &SetName, memory: SetMemory) {
        self.memories().insert(set.to_string(), memory);
    }

    /// The set is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.memories().remove(&format!("{namespace}/{name}"));
        self.smoke_room.forget(namespace, name);
        self.flux_index.forget(namespace, name);
        let labels = SetLabels { namespace: namespace.to_owned(), name: name.to_owned() };
        self.metrics.sets.forget(&labels);
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, HashMap<String, SetMemory>> {
        // A reconcile that panicked left whole values behind: each is replaced in one step.
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn recorder(client: &kube::Client) -> Recorder {
    let reporter = Reporter { controller: "tidegate".to_owned(), instance: None };
    Recorder::new(client.clone(), reporter)
}

/// Awaits one call to the API server, within the one deadline of all calls.
///
/// # Errors
/// When it answers with an error, or not in time.
pub async fn within_deadline<T>(
    doing: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    call(request).await.map_err(|source| ApiError { doing, source })
}
