//! Who watches: every version of the sets and targets of one namespace as the API server tells it, and what must hold of them
//! whatever is killed or lost. The invariants are the product's own ([`tidegate::invariants`]).

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
use tidegate::cli::demo::invariants::{commit, policy, record};
use tidegate::engine::observation::Marks;
use tidegate::engine::record::Record;
use tidegate::invariants::{self, InvariantName, Truth};
use tidegate::targets::mark::Mark;
use tokio::task::JoinHandle;

use super::truth::Held;

/// Longest watch; another follows.
const WATCH_SECS: u32 = 290;
/// Before a list is asked for again while the API server is away.
const PAUSE: Duration = Duration::from_millis(200);
/// For what was written last to be told.
const DEADLINE: Duration = Duration::from_secs(20);

/// Versions of sets and of their targets, by `resourceVersion`: one etcd counts those of all objects.
type Versions = BTreeMap<u64, Value>;

/// Collects versions until it is dropped.
pub struct Witness {
    client: Client,
    namespace: String,
    versions: Arc<Mutex<Versions>>,
    watching: [JoinHandle<()>; 2],
}

// === impl Witness ===

impl Witness {
    /// Watches the sets and ConfigMaps of a namespace from now on, past any proxy.
    pub fn start(client: &Client, namespace: &str) -> Self {
        let versions = Arc::new(Mutex::new(Versions::new()));
        let watching = [
            tokio::spawn(watch::<ReleaseSet>(client.clone(), namespace.to_owned(), Arc::clone(&versions))),
            tokio::spawn(watch::<ConfigMap>(client.clone(), namespace.to_owned(), Arc::clone(&versions))),
        ];
        Self { client: client.clone(), namespace: namespace.to_owned(), versions, watching }
    }

    /// What was broken so far, by what the registries of the sets hold now: in these tests no tag moves and nothing goes.
    pub async fn broken(&self) -> Vec<String> {
        let versions = self.versions().await;
        let held = Held::by_registries(versions.values().filter(|object| is_set(object))).await;
        judge(&versions, &held)
    }

    /// Every version of a set so far, oldest first.
    pub async fn of_set(&self, name: &str) -> Vec<Value> {
        let versions = self.versions().await.into_values();
        versions.filter(|object| is_set(object) && object["metadata"]["name"] == name).collect()
    }

    /// Waits until all that is written by now was told.
    async fn versions(&self) -> Versions {
        let sets: Api<ReleaseSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut last = Versions::new();
        last.extend(sets.list(&ListParams::default()).await.unwrap().items.iter().filter_map(told));
        last.extend(maps.list(&ListParams::default()).await.unwrap().items.iter().filter_map(told));
        let known = || self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all_told = async {
            while last.keys().any(|version| !known().contains_key(version)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, all_told).await.expect("the API server tells what was written");
        known()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        for task in &self.watching {
            task.abort();
        }
    }
}

fn is_set(object: &Value) -> bool {
    object["spec"]["images"].is_array()
}

fn mark_of(object: &Value) -> Option<Mark> {
    let object: DynamicObject = serde_json::from_value(object.clone()).ok()?;
    Mark::of_object(&object.metadata)
}

/// A version of a set or of a marked target; of nothing else.
fn told<K: serde::Serialize>(object: &K) -> Option<(u64, Value)> {
    let object = serde_json::to_value(object).unwrap();
    let version = object["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
    (is_set(&object) || mark_of(&object).is_some()).then_some((version, object))
}

async fn watch<K>(client: Client, namespace: String, versions: Arc<Mutex<Versions>>)
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
        let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.extend(told(object));
    };
    // A watch goes on where the last one ended, so that no version is missed; `None` where that is too old.
    let mut from: Option<String> = None;
    loop {
        if from.is_none()
            && let Ok(list) = api.list(&ListParams::default()).await
        {
            list.items.iter().for_each(tell);
            from = list.metadata.resource_version;
        }
        let params = WatchParams::default().timeout(WATCH_SECS);
        if let Some(since) = from.clone()
            && let Ok(events) = api.watch(&params, &since).await
        {
            let mut events = std::pin::pin!(events);
            while let Some(Ok(event)) = events.next().await {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        tell(&object);
                        from = object.meta().resource_version.clone();
                    }
                    WatchEvent::Deleted(object) => from = object.meta().resource_version.clone(),
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(_) => from = None,
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What was judged so far.
#[derive(Default)]
struct Story {
    /// By name of the set, what its last version said.
    records: BTreeMap<String, Record>,
    /// By name and sequence, each tag that was committed.
    committed: BTreeMap<(String, i64), String>,
    /// By name of the target, the sequence that it carries.
    carried: BTreeMap<String, i64>,
    broken: Vec<String>,
}

fn judge(versions: &Versions, truth: &dyn Truth) -> Vec<String> {
    let mut story = Story::default();
    for (version, object) in versions {
        let found = if is_set(object) { story.set(object, truth) } else { story.target(object) };
        story.broken.extend(found.into_iter().map(|broken| format!("version {version}: {broken}")));
    }
    story.broken
}

// === impl Story ===

impl Story {
    /// S1 to S5 and S7 of a commit, S4 and S6 of every other write.
    fn set(&mut self, object: &Value, truth: &dyn Truth) -> Vec<String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let read = policy(object).and_then(|policy| Ok((policy, record(object)?)));
        let (policy, after) = match read {
            Ok(read) => read,
            Err(why) => return vec![format!("{}: {name} cannot be read: {why}", InvariantName::S1)],
        };
        if let Some(promoted) = &after.promoted {
            let release = (name.clone(), promoted.sequence);
            self.committed.insert(release, promoted.release.tag.to_string());
        }
        let before = self.records.insert(name, after.clone()).unwrap_or_default();
        let highest = before.promoted.as_ref().map_or(0, |promoted| promoted.sequence);
        let found = match &after.promoted {
            Some(promoted) if promoted.sequence != highest => {
                let commit = commit(object, (&before, &after, promoted), &policy, &Marks::InStep);
                invariants::check_commit(&commit, truth, highest)
            }
            promoted => {
                let mut found = invariants::s4_sequence(before.promoted.as_ref(), promoted.as_ref(), highest);
                found.extend(invariants::s6_only_a_commit_moves_it(&before, &after));
                found
            }
        };
        found.iter().map(ToString::to_string).collect()
    }

    /// What consumers read counts, not the mark.
    fn target(&mut self, object: &Value) -> Vec<String> {
        let (Some(mark), Some(tag)) =
            (mark_of(object), object.pointer("/data/RELEASE_TAG").and_then(Value::as_str))
        else {
            return Vec::new();
        };
        let sequence = mark.sequence.unwrap_or(0);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let before = self.carried.insert(name, sequence);
        let committed = self.committed.get(&(mark.set, sequence)).map(String::as_str);
        let found = invariants::s4_target(before, (sequence, tag), committed);
        found.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate::embedded::image::sha256;

    use super::*;

    const TAGS: [&str; 3] = ["main-1", "main-2", "main-3"];

    fn digest(name: &str, tag: &str) -> String {
        sha256(format!("{name}:{tag}").as_bytes())
    }

    fn held() -> Held {
        let mut held = Held::default();
        for (name, tag) in ["app", "worker"].into_iter().flat_map(|name| TAGS.map(|tag| (name, tag))) {
            let place = (format!("registry.test/acme/{name}"), tag.to_owned());
            let child =
                ("linux/amd64".parse().unwrap(), digest(name, &format!("child of {tag}")).parse().unwrap());
            held.put(place, digest(name, tag).parse().unwrap(), vec![child]);
        }
        held
    }

    /// A set whose release has that sequence.
    fn set(sequence: i64, tag: &str) -> Value {
        let image = |name: &str| {
            let child = digest(name, &format!("child of {tag}"));
            json!({"name": name, "repository": format!("registry.test/acme/{name}"), "tag": tag,
                "digest": digest(name, tag), "platforms": [{"platform": "linux/amd64", "digest": child}]})
        };
        let named = |name: &str| json!({"name": name, "repository": format!("registry.test/acme/{name}")});
        let (wanted, promoted) = (["app", "worker"].map(named), ["app", "worker"].map(image));
        let spec = json!({
            "images": wanted,
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {"order": "asc"}},
            },
            "targets": [{"name": "config", "configMap": {"name": "acme-release"}}],
        });
        let promoted = json!({"tag": tag, "sequence": sequence, "at": "2026-01-01T00:00:00Z", "generation": 1,
            "images": promoted});
        let number = tag.trim_start_matches("main-");
        json!({"metadata": {"name": "acme", "generation": 1}, "spec": spec,
            "status": {"promoted": promoted, "floor": {"tag": tag, "key": number}}})
    }

    fn target(sequence: i64, tag: &str) -> Value {
        let mark =
            json!({"set": "acme", "target": "config", "sequence": sequence, "tag": tag, "digests": {}});
        json!({"metadata": {"name": "acme-release", "labels": {"tidegate.dev/set": "acme"},
            "annotations": {"tidegate.dev/target": mark.to_string()}}, "data": {"RELEASE_TAG": tag}})
    }

    #[test]
    fn what_breaks_the_promise_in_a_story_is_found() {
        let good = [
            (1, set(1, "main-1")),
            (2, target(1, "main-1")),
            (4, set(2, "main-2")),
            (5, target(2, "main-2")),
        ];
        let broken = |more: Option<(u64, Value)>| {
            judge(&good.clone().into_iter().chain(more).collect::<Versions>(), &held())
        };
        assert_eq!(broken(None), Vec::<String>::new());
        let mut torn = set(3, "main-3");
        torn["status"]["promoted"]["images"][1]["digest"] = json!(digest("worker", "main-2"));
        let mut left_out = set(3, "main-3");
        left_out["status"]["promoted"]["images"].as_array_mut().unwrap().pop();
        let mut sunk = set(2, "main-2");
        sunk["status"]["floor"] = json!({"tag": "main-1", "key": "1"});
        let cases = [
            ("S4", 6, set(1, "main-1")),
            ("S4", 6, set(2, "main-3")),
            ("S4", 6, set(4, "main-3")),
            ("S4", 3, target(2, "main-2")),
            ("S4", 6, target(1, "main-1")),
            ("S4", 6, target(2, "main-1")),
            ("S3", 6, set(3, "main-1")),
            ("S2", 6, torn),
            ("S1", 6, left_out),
            ("S6", 6, sunk),
        ];
        for (invariant, version, object) in cases {
            let found = broken(Some((version, object.clone())));
            assert!(
                found.iter().any(|broken| broken.contains(&format!("{version}: {invariant}:"))),
                "{invariant} of {object}: {found:?}"
            );
        }
    }
}
