//! Every state that the promoted release and its target ever had, as a watch tells them: what is gone a second later is
//! known too.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tidegate::api::ReleaseSet;
use tokio::task::JoinHandle;

/// Watches the one set and the one target of a namespace until it is dropped.
pub struct Moves {
    promoted: Arc<Mutex<Vec<String>>>,
    target: Arc<Mutex<Vec<String>>>,
    watching: [JoinHandle<()>; 2],
}

// === impl Moves ===

impl Moves {
    /// Begins to watch the set and the ConfigMap of these names.
    pub fn start(client: &Client, namespace: &str, set: &str, target: &str) -> Self {
        let (promoted, carried) = (Arc::default(), Arc::default());
        let sets = Api::<ReleaseSet>::namespaced(client.clone(), namespace);
        let targets = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let watching = [
            tokio::spawn(note(sets, set.to_owned(), Arc::clone(&promoted), |set| {
                let promoted = set.status.as_ref()?.promoted.as_ref()?;
                Some(format!("{} {}", promoted.tag, promoted.sequence))
            })),
            tokio::spawn(note(targets, target.to_owned(), Arc::clone(&carried), |target| {
                target.data.as_ref()?.get("RELEASE_TAG").cloned()
            })),
        ];
        Self { promoted, target: carried, watching }
    }

    /// What was promoted, `TAG SEQUENCE`, one entry a change; `gone` where the set was deleted.
    pub fn promoted(&self) -> Vec<String> {
        self.promoted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which tag the target carried, one entry a change; `gone` where it was deleted.
    pub fn target(&self) -> Vec<String> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

async fn note<K>(api: Api<K>, name: String, states: Arc<Mutex<Vec<String>>>, read: fn(&K) -> Option<String>)
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, only));
    while let Some(event) = events.next().await {
        let state = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) if object.name_any() == name => read(&object),
            Ok(Event::Delete(_)) => Some("gone".to_owned()),
            // A watch that ended, or that finds no such kind yet, goes on.
            Ok(_) | Err(_) => continue,
        };
        let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.filter(|state| states.last() != Some(state)) {
            states.push(state);
        }
    }
}
