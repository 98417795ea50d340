//! Who watches: every version of the sets and targets of one namespace as the API server tells it, and what must hold of them
//! whatever is killed or lost (design §7; the names are those of the documents).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate::api::ReleaseSet;
use tidegate::targets::mark::Mark;
use tokio::task::JoinHandle;

use super::gate::{Fate, Seen};

/// Longest watch; another follows.
const WATCH_SECS: u32 = 290;
/// Before a list is asked for again while the API server is away.
const PAUSE: Duration = Duration::from_millis(200);
/// For what was written last to be told.
const DEADLINE: Duration = Duration::from_secs(20);

/// What one version of an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    version: u64,
    is_target: bool,
    /// Of the set.
    set: String,
    sequence: i64,
    tag: String,
}

/// Collects versions until it is dropped.
pub struct Witness {
    client: Client,
    namespace: String,
    said: Arc<Mutex<Vec<Said>>>,
    watching: [JoinHandle<()>; 2],
}

// === impl Witness ===

impl Witness {
    /// Watches the sets and ConfigMaps of a namespace from now on, past any proxy.
    pub fn start(client: &Client, namespace: &str) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let watching = [
            tokio::spawn(watch::<ReleaseSet>(
                client.clone(),
                namespace.to_owned(),
                Arc::clone(&said),
                of_set,
            )),
            tokio::spawn(watch::<ConfigMap>(
                client.clone(),
                namespace.to_owned(),
                Arc::clone(&said),
                of_target,
            )),
        ];
        Self { client: client.clone(), namespace: namespace.to_owned(), said, watching }
    }

    /// What was broken so far. Waits until all that is written by now was told.
    pub async fn broken(&self) -> Vec<String> {
        let sets: Api<ReleaseSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut last: Vec<Said> = Vec::new();
        last.extend(sets.list(&ListParams::default()).await.unwrap().items.iter().filter_map(told(of_set)));
        last.extend(
            maps.list(&ListParams::default()).await.unwrap().items.iter().filter_map(told(of_target)),
        );
        let all_told = async {
            while !last.iter().all(|said| self.said().contains(said)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, all_told).await.expect("the API server tells what was written");
        judge(self.said())
    }

    fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        for task in &self.watching {
            task.abort();
        }
    }
}

type Reading = fn(&Value) -> Option<(bool, String, i64, String)>;

fn of_set(object: &Value) -> Option<(bool, String, i64, String)> {
    let promoted = object.pointer("/status/promoted")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some((false, text(&object["metadata"]["name"])?, promoted["sequence"].as_i64()?, text(&promoted["tag"])?))
}

/// The tag that consumers read, not the one of the mark.
fn of_target(object: &Value) -> Option<(bool, String, i64, String)> {
    let tag = object.pointer("/data/RELEASE_TAG")?.as_str()?.to_owned();
    let object: DynamicObject = serde_json::from_value(object.clone()).ok()?;
    let mark = Mark::of_object(&object.metadata)?;
    Some((true, mark.set, mark.sequence?, tag))
}

fn told<K: serde::Serialize>(reading: Reading) -> impl Fn(&K) -> Option<Said> {
    move |object| {
        let object = serde_json::to_value(object).unwrap();
        let version = object["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
        let (is_target, set, sequence, tag) = reading(&object)?;
        Some(Said { version, is_target, set, sequence, tag })
    }
}

async fn watch<K>(client: Client, namespace: String, said: Arc<Mutex<Vec<Said>>>, reading: Reading)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client, &namespace);
    let tell = |object: &K| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let new = told(reading)(object);
        said.extend(new);
    };
    loop {
        if let Ok(list) = api.list(&ListParams::default()).await {
            list.items.iter().for_each(tell);
            let from = list.metadata.resource_version.unwrap_or_default();
            if let Ok(events) = api.watch(&WatchParams::default().timeout(WATCH_SECS), &from).await {
                let mut events = std::pin::pin!(events);
                while let Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) =
                    events.next().await
                {
                    tell(&object);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// S4 and S3 of the sets, and that a target carries nothing that was not promoted before.
fn judge(mut said: Vec<Said>) -> Vec<String> {
    // One etcd counts the versions of all objects.
    said.sort_by_key(|said| said.version);
    let mut broken = Vec::new();
    let mut promoted: BTreeMap<(String, i64), String> = BTreeMap::new();
    let mut last: BTreeMap<(bool, String), i64> = BTreeMap::new();
    for said in said {
        let before = last.insert((said.is_target, said.set.clone()), said.sequence);
        if before.is_some_and(|before| said.sequence < before) {
            broken.push(format!("S4: after {before:?} came {said:?}"));
        }
        let release = (said.set.clone(), said.sequence);
        if said.is_target {
            if promoted.get(&release) != Some(&said.tag) {
                broken.push(format!("a target carries what is not promoted: {said:?}"));
            }
        } else if promoted.insert(release, said.tag.clone()).is_some_and(|tag| tag != said.tag) {
            broken.push(format!("S4: two releases of one sequence: {said:?}"));
        }
    }
    broken
}

/// Writes of which the very same bytes were sent twice, the first of them to where they may have been carried out: a write that
/// a client sends again by itself. Every other says which version it read, or when it is sent.
pub fn sent_twice(seen: &[Seen]) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.asked.is_write() && seen.fate != Fate::Lost) {
        *counts.entry(format!("{} {} {}", seen.asked.what, seen.asked.path, seen.asked.body)).or_default() +=
            1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(write, _)| write).collect()
}

#[test]
fn a_step_back_a_second_release_and_a_hasty_target_are_broken() {
    let said = |version, is_target, sequence, tag: &str| Said {
        version,
        is_target,
        set: "acme".to_owned(),
        sequence,
        tag: tag.to_owned(),
    };
    let good = [said(1, false, 1, "a"), said(2, true, 1, "a"), said(4, false, 2, "b"), said(5, true, 2, "b")];
    assert_eq!(judge(good.to_vec()), Vec::<String>::new());
    for bad in [said(6, false, 1, "a"), said(6, false, 2, "c"), said(3, true, 2, "b"), said(6, true, 1, "a")]
    {
        let mut all = good.to_vec();
        all.push(bad.clone());
        assert_ne!(judge(all), Vec::<String>::new(), "{bad:?}");
    }
}
