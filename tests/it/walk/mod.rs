//! The operator's walk (Acto, SOSP'23): whatever a person writes into a ReleaseSet is refused by the API server with words that
//! name the field, or ends Ready, or Stalled with words that name it, or waits with a reason; and taking it back heals the set.
//! Real API server, built binary; what is written is generated from the CRD's schema.

mod changes;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::response::Status;
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, crd};

use crate::cluster::tools::say_once;
use crate::controller::real::Real;
use changes::{Change, changes};

const SUITE: &str = "operator walk";
/// Sets that walk at once: more only wait for the two cores.
const WALKERS: usize = 8;
/// How long a change may take to be judged, and its undoing: ten times the hot pace, as in the other suites.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two reads.
const PACE: Duration = Duration::from_millis(50);
/// Status stays under it (design §3).
const STATUS_MAX_BYTES: usize = 64 * 1024;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Refused,
    Ready,
    Stalled,
    Waiting,
}

/// One set that walks: a change, its end, and back.
struct Walker {
    name: String,
    base: Value,
    sets: Api<DynamicObject>,
    config_maps: Api<ConfigMap>,
}

// === impl Walker ===

impl Walker {
    async fn start(real: &Real, name: String, base: Value) -> Self {
        let kind = ApiResource::erase::<ReleaseSet>(&());
        let sets: Api<DynamicObject> = Api::namespaced_with(real.client.clone(), &real.namespace, &kind);
        let mut set = DynamicObject::new(&name, &kind);
        set.data = json!({"spec": base});
        sets.create(&PostParams::default(), &set).await.unwrap();
        let walker = Self { name, base, sets, config_maps: real.config_maps() };
        walker.heal("nothing").await;
        walker
    }

    async fn write(&self, spec: &Value) -> Result<(), Status> {
        // The controller writes beside us: finalizers and marks are another resourceVersion.
        loop {
            let mut set = self.sets.get(&self.name).await.unwrap();
            set.data["spec"] = spec.clone();
            match self.sets.replace(&self.name, &PostParams::default(), &set).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(kube::Error::Api(status)) => return Err(*status),
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
    }

    /// Tries it, and takes it back.
    async fn tries(&self, change: &Change) -> End {
        let said = format!("{} = {}", change.path, change.what);
        if let Err(refusal) = self.write(&change.spec).await {
            assert!(matches!(refusal.code, 400 | 422), "{said}: {refusal:?}");
            assert!(names(&refusal.message, change), "{said}: {}", refusal.message);
            return End::Refused;
        }
        let end = self.end(change, &said).await;
        if let Err(refusal) = self.write(&self.base).await {
            panic!("{said} cannot be taken back: {}", refusal.message);
        }
        self.heal(&said).await;
        end
    }

    async fn end(&self, change: &Change, said: &str) -> End {
        let set = self.wait(said, |_| true).await;
        let (stalled, message) = condition(&set, "Stalled");
        if stalled == "True" {
            assert!(names(&message, change), "{said} is stalled, and its field is not named: {message}");
            return End::Stalled;
        }
        let (ready, message) = condition(&set, "Ready");
        assert!(!message.is_empty(), "{said}: Ready={ready} without words");
        if ready == "True" { End::Ready } else { End::Waiting }
    }

    /// Waits until it is Ready again; what its words ask for is done.
    async fn heal(&self, said: &str) {
        let said = &format!("{said}, taken back,");
        let is_true = |set: &Value, kind: &str| condition(set, kind).0 == "True";
        let set = self.wait(said, |set| is_true(set, "Ready") || is_true(set, "Stalled")).await;
        // A target that left the spec is nobody's from then on (design §4, Spec edits), so that its return finds it taken.
        if condition(&set, "Stalled").1.contains("to hand it over delete it") {
            self.config_maps.delete(&self.name, &DeleteParams::default()).await.unwrap();
        }
        self.wait(said, |set| is_true(set, "Ready") && !is_true(set, "Stalled")).await;
    }

    /// The set, once its generation was looked at and `wanted` holds.
    async fn wait(&self, said: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut set = Value::Null;
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let read = self.sets.get(&self.name).await.unwrap();
                set = json!({"status": read.data["status"]});
                let is_seen = set["status"]["observedGeneration"].as_i64() == read.metadata.generation;
                if is_seen && condition(&set, "Reconciling").0 != "True" && wanted(&set) {
                    return;
                }
                tokio::time::sleep(PACE).await;
            }
        });
        let is_in_time = waited.await.is_ok();
        assert!(is_in_time, "{}: {said} has no end: {set:#}", self.name);
        let bytes = set.to_string().len();
        assert!(bytes < STATUS_MAX_BYTES, "{said}: status has {bytes} bytes");
        set
    }
}

/// Status and message of a condition; empty when there is none.
fn condition(set: &Value, kind: &str) -> (String, String) {
    let conditions = set["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    let text = |key: &str| found.and_then(|found| found[key].as_str()).unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// Whether words tell where the mistake is: a key of the path, from the innermost on, or what was written there.
fn names(words: &str, change: &Change) -> bool {
    let keys = change.path.split('.').map(|step| step.trim_end_matches("[0]"));
    keys.into_iter().any(|key| words.contains(key)) || words.contains(change.what.trim_matches('"'))
}

/// Two sound specs: between them every field that the registry and the API server alone can serve.
fn bases(real: &Real) -> [Value; 2] {
    let mut full = real.spec("full");
    for (key, value) in [
        ("driftInterval", json!("5m")),
        ("platforms", json!(["linux/amd64"])),
        ("deadline", json!("10m")),
        ("onTagMoved", json!("Report")),
        ("deletionPolicy", json!("Retain")),
        ("historyLimit", json!(5)),
        ("verify", json!("Manifests")),
        ("skip", json!(["main-0"])),
    ] {
        full[key] = value;
    }
    full["candidates"]["exclude"] = json!(["^cache"]);
    full["candidates"]["settle"] = json!("30s");
    full["candidates"]["maxFollowed"] = json!(3);
    full["images"][1]["tagTemplate"] = json!("{tag}");
    full["images"][1]["advisoryPlatforms"] = json!(["linux/arm64"]);
    full["gates"] = json!([{"name": "same", "advisory": true, "sameRevision": {"key": "revision", "from": "Annotation"}}]);
    full["targets"][0]["configMap"]["keys"] = json!({"values.yaml": "tag: {tag}\n"});
    let mut smoke = real.spec("smoke");
    smoke["candidates"] = json!({"policy": {"alphabetical": {"order": "asc"}}});
    smoke["gates"] = json!([{"name": "boots", "advisory": true, "smoke": {
        "image": "worker", "command": ["/app"], "args": ["x"], "env": [{"name": "A", "value": "b"}],
        "timeout": "1m", "attempts": 1, "when": "ImagePresent", "expect": "ExitsZero", "runAsUser": 1000,
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m"}},
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
    }}]);
    [full, smoke]
}

#[tokio::test]
async fn whatever_is_written_ends_well_and_can_be_taken_back() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    real.push_both("main-1").await;
    let server = real.run_with(&[]).await;
    let schema = serde_json::to_value(crd::crd()).unwrap();
    let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut walks: Vec<(Value, Vec<Change>)> = Vec::new();
    for base in bases(&real) {
        let all = changes(schema, &base);
        let share = all.len().div_ceil(WALKERS / 2);
        walks.extend(all.chunks(share).map(|chunk| (base.clone(), chunk.to_vec())));
    }
    let ends: Vec<BTreeMap<End, usize>> = stream::iter(walks.into_iter().enumerate())
        .map(async |(index, (mut base, changes))| {
            let name = format!("walker-{index}");
            base["targets"][0]["configMap"]["name"] = json!(name);
            let walker = Walker::start(&real, name.clone(), base).await;
            let mut ends = BTreeMap::new();
            for mut change in changes {
                if change.spec["targets"][0]["configMap"]["name"].is_string()
                    && !change.path.ends_with("configMap.name")
                {
                    change.spec["targets"][0]["configMap"]["name"] = json!(name);
                }
                *ends.entry(walker.tries(&change).await).or_default() += 1;
            }
            ends
        })
        .buffer_unordered(WALKERS)
        .collect()
        .await;
    let mut total: BTreeMap<End, usize> = BTreeMap::new();
    for (end, count) in ends.into_iter().flatten() {
        *total.entry(end).or_default() += count;
    }
    say_once(format!("{SUITE}: {} changes: {total:?}", total.values().sum::<usize>()));
    assert!(total.len() == 4, "not every end was reached: {total:?}");
    let log = std::fs::read_to_string(server.folder().join("log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}
