//! A Kubernetes API in memory, served as a tower service behind `kube::Client`.
//!
//! Done: GET, LIST (pages, selectors of labels and names, of Events by what they are about, revisions), WATCH from a
//! revision with 410, POST, PUT, PUT and merge-patch of `/status`, merge-patch, DELETE with preconditions, finalizers,
//! garbage collection by ownerReferences, dry run, pod logs, partial object metadata; one revision counter, uid,
//! generation, refusals as `Status` in the API machinery's words; defaults, pruning and validation of registered CRDs.
//! Not here: server-side apply, strategic and JSON patches (415), deletion of collections (405), orphaning (501), watch
//! lists (422), CEL (see [`rules`] and [`ApiServer::add_validation`]), admission, RBAC, managed fields, discovery (404).
//! Every namespace exists. Defaults of built-in kinds are not filled in. A real kube-apiserver has the last word:
//! `tests/it/contract` sends the same requests to both and compares the answers.
//! Must never know: what the kinds of Tidegate mean.

mod list;
mod log;
mod options;
mod refusal;
mod resources;
pub mod rules;
mod schema;
mod selector;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod watch;
mod write;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch::Sender;

use crate::telemetry::clock::Clock;

pub use log::{ApiFault, ApiFaultHook, ApiRecord, ApiRequest, Verb};
pub use resources::CrdError;
pub use rules::{Rule, Validation};
pub use service::ApiService;

use log::ApiLog;
use resources::{Resource, Resources};
use rules::{RegisteredRule, RegisteredValidation};
use store::{Key, Store};

/// The actor whose clients write what no product writes: what a person or another controller would do.
pub const OUTSIDER: &str = "outsider";

/// A Kubernetes API server without a network: cheap to clone, all clones are one server.
#[derive(Clone)]
pub struct ApiServer(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// Wakes watches at every change. The value is their epoch: those opened in an earlier one are over.
    wake: Sender<u64>,
}

struct State {
    resources: Resources,
    store: Store,
    rules: Vec<RegisteredRule>,
    validations: Vec<RegisteredValidation>,
    /// By (namespace, pod).
    pod_logs: HashMap<(String, String), String>,
    log: ApiLog,
    fault: Option<ApiFaultHook>,
}

// === impl Shared ===

impl Shared {
    /// The state; a holder that panicked left whole values behind, so poison is ignored.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// An empty server whose `creationTimestamp`s come from `clock`.
    pub fn new(clock: Clock) -> Self {
        let state = State {
            resources: Resources::built_in(),
            store: Store::new(),
            rules: Vec::new(),
            validations: Vec::new(),
            pod_logs: HashMap::new(),
            log: ApiLog::default(),
            fault: None,
        };
        Self(Arc::new(Shared { clock, state: Mutex::new(state), wake: Sender::new(0) }))
    }

    /// A client whose requests are logged under `actor`. It has neither retry nor time-out. Must be called inside a
    /// tokio runtime, and used on the same one under paused time.
    pub fn client(&self, actor: &str, default_namespace: &str) -> Client {
        Client::new(self.service(actor), default_namespace)
    }

    /// The service alone, to put layers around it.
    pub fn service(&self, actor: &str) -> ApiService {
        ApiService { shared: Arc::clone(&self.0), actor: actor.into() }
    }

    // --- kinds ---

    /// Serves the storage version of a CRD and stores the CRD itself, established. One of the same name is replaced;
    /// objects stored so far stay as they are.
    pub fn register_crd(&self, mut crd: Value) -> Result<(), CrdError> {
        let resource = Resource::from_crd(&crd)?;
        let name = resource.qualified();
        let now = self.0.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now});
        crd["status"] = json!({
            "acceptedNames": crd["spec"]["names"],
            "storedVersions": [resource.version],
            "conditions": [
                condition("NamesAccepted", "NoConflicts"),
                condition("Established", "InitialNamesAccepted"),
            ],
        });
        let mut state = self.0.state();
        crd["metadata"]["name"] = name.clone().into();
        crd["metadata"]["uid"] = state.store.next_uid().into();
        crd["metadata"]["creationTimestamp"] = now.into();
        crd["metadata"]["generation"] = 1.into();
        state.resources.insert(resource);
        let key = Self::definition_key(name);
        state.store.put(key, crd);
        self.0.wake.send_modify(|_| {});
        Ok(())
    }

    /// Stops serving a kind, so that its paths are 404; its objects stay stored. Whether it was served.
    pub fn unregister_crd(&self, group: &str, plural: &str) -> bool {
        let mut state = self.0.state();
        let served = state.resources.remove(group, plural);
        state.store.remove(&Self::definition_key(format!("{plural}.{group}")));
        self.0.wake.send_modify(|_| {});
        served
    }

    fn definition_key(name: String) -> Key {
        let (group, plural) = ("apiextensions.k8s.io".to_owned(), "customresourcedefinitions".to_owned());
        Key { group, plural, namespace: String::new(), name }
    }

    /// Judges every later update of a kind by `rule`; what it refuses is 422 at `field` with the rule's message. It
    /// runs under the server's lock: it must not call back into this server.
    pub fn add_rule(&self, group: &str, plural: &str, field: &str, rule: Rule) {
        let (group, plural, field) = (group.to_owned(), plural.to_owned(), field.to_owned());
        self.0.state().rules.push(RegisteredRule { group, plural, field, rule });
    }

    /// Judges every later object of a kind that is made or whose spec changes; what is wrong is 422. It stands in for the
    /// CEL rules of a definition, as [`Self::add_rule`] does for its transition rules, and runs under the server's lock.
    pub fn add_validation(&self, group: &str, plural: &str, validation: Validation) {
        let (group, plural) = (group.to_owned(), plural.to_owned());
        self.0.state().validations.push(RegisteredValidation { group, plural, validation });
    }

    // --- a look from outside: no request, no log entry ---

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.0.state().store.revision()
    }

    /// One object as stored; `namespace` is empty for cluster-scoped kinds.
    pub fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = Key {
            group: group.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.0.state().store.get(&key)
    }

    /// All objects of a kind in (namespace, name) order.
    pub fn objects(&self, group: &str, plural: &str) -> Vec<Arc<Value>> {
        self.0.state().store.list(group, plural, None)
    }

    /// What `pods/log` answers for a pod, until it is deleted.
    pub fn set_pod_log(&self, namespace: &str, pod: &str, text: impl Into<String>) {
        self.0.state().pod_logs.insert((namespace.to_owned(), pod.to_owned()), text.into());
    }

    // --- behaviour ---

    /// Asks `hook` before every request, until it is replaced; `None` removes it. It runs under the server's lock: it
    /// must not call back into this server.
    pub fn set_fault(&self, hook: Option<ApiFaultHook>) {
        self.0.state().fault = hook;
    }

    /// Forgets past changes: a watch that comes back from before now gets 410.
    pub fn compact(&self) {
        self.0.state().store.compact();
    }

    /// Ends every open watch without a word, as a restarting server does.
    pub fn close_watches(&self) {
        self.0.wake.send_modify(|epoch| *epoch += 1);
    }

    // --- the log ---

    /// The requests since the start or the last [`Self::clear_log`], oldest first; the newest 100,000 are kept.
    pub fn requests(&self) -> Vec<ApiRecord> {
        self.0.state().log.records()
    }

    /// The writes among them, refused ones included.
    pub fn writes(&self) -> Vec<ApiRecord> {
        let mut records = self.requests();
        records.retain(|record| record.verb.writes());
        records
    }

    /// How many logged requests satisfy `wanted`.
    pub fn count(&self, wanted: impl Fn(&ApiRecord) -> bool) -> usize {
        self.0.state().log.count(wanted)
    }

    /// Forgets the logged requests.
    pub fn clear_log(&self) {
        self.0.state().log.clear();
    }
}

/// An object as `PartialObjectMetadata`.
fn as_metadata(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}
