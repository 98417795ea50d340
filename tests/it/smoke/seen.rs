//! Every Job and pod that a namespace ever had: what is gone a second later is counted too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
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
    /// uid of a Job → the revision at which it was made.
    begun: BTreeMap<String, u64>,
    /// uid of a Job → the revision at which it or its pod was over.
    over: BTreeMap<String, u64>,
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

    /// How many Jobs ran at once, at most, by the order of writes: a Job whose pod is over runs no more, though the Job
    /// controller has not said so yet.
    pub fn most_unfinished(&self) -> usize {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let unfinished = |at: u64| {
            let begun = record.begun.iter().filter(|(_, begun)| **begun <= at);
            begun.filter(|(uid, _)| record.over.get(*uid).is_none_or(|over| *over > at)).count()
        };
        record.begun.values().map(|at| unfinished(*at)).max().unwrap_or_default()
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
    fn job(&mut self, job: &Job, is_there: bool) {
        let uid = job.uid().expect("the server gives one");
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ended = conditions
            .into_iter()
            .flatten()
            .any(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True");
        let at = revision(job);
        self.begun.entry(uid.clone()).or_insert(at);
        if ended || !is_there {
            self.end(uid.clone(), at);
        }
        self.jobs.insert(uid, job.clone());
    }

    /// The pods here are tried once: what ends them ends their Job.
    fn pod(&mut self, pod: &Pod, is_there: bool) {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let ended = matches!(phase, Some("Succeeded" | "Failed"));
        if let Some(owner) = pod.owner_references().first().filter(|_| ended || !is_there) {
            self.end(owner.uid.clone(), revision(pod));
        }
        self.pods.insert(pod.uid().expect("the server gives one"));
    }

    fn end(&mut self, job_uid: String, at: u64) {
        self.over.entry(job_uid).and_modify(|first| *first = at.min(*first)).or_insert(at);
    }
}

/// The instant of a version: this server has one etcd, whose revisions number the writes of all kinds in order.
fn revision(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).expect("etcd's revisions are numbers")
}

async fn note<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    record: Arc<Mutex<Record>>,
    put: fn(&mut Record, &K, bool),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let (object, is_there) = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => (object, true),
            Ok(Event::Delete(object)) => (object, false),
            // A watch that ended goes on from where it was.
            Ok(Event::Init | Event::InitDone) | Err(_) => continue,
        };
        put(&mut record.lock().unwrap_or_else(PoisonError::into_inner), &object, is_there);
    }
}
