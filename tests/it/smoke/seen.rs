//! Every Job and pod that a namespace ever had: what is gone a second later is counted too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::JoinHandle;

/// Watches one namespace until it is dropped.
pub struct Seen {
    record: Arc<Mutex<Record>>,
    watching: [JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Record {
    /// uid → the Job as it was last.
    jobs: BTreeMap<String, Job>,
    /// uids of Jobs that are there and have not ended.
    unfinished: BTreeSet<String>,
    /// Most of them at once.
    most_unfinished: usize,
    /// uids of pods.
    pods: BTreeSet<String>,
}

// === impl Seen ===

impl Seen {
    /// Begins to watch.
    pub fn start(client: &Client, namespace: &str) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let jobs = Api::<Job>::namespaced(client.clone(), namespace);
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let watching = [
            tokio::spawn(note(watcher(jobs, watcher::Config::default()), Arc::clone(&record), Record::job)),
            tokio::spawn(note(watcher(pods, watcher::Config::default()), Arc::clone(&record), Record::pod)),
        ];
        Self { record, watching }
    }

    /// All Jobs that ever were, by uid.
    pub fn jobs(&self) -> BTreeMap<String, Job> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).jobs.clone()
    }

    /// How many Jobs ran at once, at most.
    pub fn most_unfinished(&self) -> usize {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).most_unfinished
    }

    /// How many pods ever were.
    pub fn pods(&self) -> usize {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).pods.len()
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

// === impl Record ===

impl Record {
    fn job(&mut self, job: Job, is_there: bool) {
        let uid = job.uid().expect("the server gives one");
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ended = conditions.into_iter().flatten().any(|one| {
            matches!(one.type_.as_str(), "Complete" | "Failed" | "FailureTarget" | "SuccessCriteriaMet")
                && one.status == "True"
        });
        if is_there && !ended {
            self.unfinished.insert(uid.clone());
        } else {
            self.unfinished.remove(&uid);
        }
        self.most_unfinished = self.most_unfinished.max(self.unfinished.len());
        self.jobs.insert(uid, job);
    }

    fn pod(&mut self, pod: Pod, _is_there: bool) {
        self.pods.insert(pod.uid().expect("the server gives one"));
    }
}

async fn note<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    record: Arc<Mutex<Record>>,
    put: fn(&mut Record, K, bool),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let (object, is_there) = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => (object, true),
            Ok(Event::Delete(object)) => (object, false),
            // A watch that ended goes on from where it was.
            Ok(Event::Init | Event::InitDone) | Err(_) => continue,
        };
        put(&mut record.lock().unwrap_or_else(PoisonError::into_inner), object, is_there);
    }
}
