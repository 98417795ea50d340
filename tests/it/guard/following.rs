//! The controller keeps the list (`--guard`): between commit and targets, against whoever changes it, and with no target moving
//! while it cannot. The built binary, with the rights that the chart gives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, ReleaseSetStatus};
use tokio::task::JoinHandle;

use super::world::digest;
use crate::controller::real::Real;

const SUITE: &str = "guard";
/// The ConfigMap.
pub const LIST: &str = "tidegate-guard";
/// Three times the pause after a list that could not be written.
const DEADLINE: Duration = Duration::from_secs(30);
const PACE: Duration = Duration::from_millis(100);

/// Values of a release that keeps the lists of the test's namespace.
pub fn values() -> Value {
    json!({"watchNamespace": "", "guard": {"enabled": true}})
}

/// A namespace whose controller, once it is started, keeps its list.
pub async fn prepare(values: Value) -> Option<Real> {
    let mut real = Real::prepare_with(SUITE, values).await?;
    real.flags.push("--guard".to_owned());
    Some(real)
}

/// Waits until `answers` is Ok; answers that.
pub async fn until<T>(what: &str, answers: impl AsyncFn() -> Result<T, String>) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        match answers().await {
            Ok(answer) => return answer,
            Err(last) => assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}; {last}"),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Lines of one value of the list; none while there is no list.
pub async fn lines(real: &Real, key: &str) -> Vec<String> {
    let list = real.config_maps().get_opt(LIST).await.unwrap();
    let text = list.and_then(|list| list.data?.remove(key)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until the list lets `image:tag` pass, or no more.
pub async fn until_lists(real: &Real, image: &str, tag: &str, wanted: bool) {
    let reference = format!("{}/acme/{image}:{tag}", real.registry.host());
    until(&format!("{reference} listed: {wanted}"), async || {
        let allowed = lines(real, "allowed").await;
        if allowed.contains(&reference) == wanted { Ok(()) } else { Err(format!("{allowed:?}")) }
    })
    .await;
}

/// Notes of the Events with that reason about ReleaseSets of the namespace, each with how often it was told.
pub async fn events(real: &Real, reason: &str) -> Vec<(String, i32)> {
    let api: Api<Event> = Api::namespaced(real.client.clone(), &real.namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    all.into_iter()
        .filter(|event| event.reason.as_deref() == Some(reason))
        .map(|event| (event.note.unwrap_or_default(), event.series.map_or(1, |series| series.count)))
        .collect()
}

/// Waits for the one Event of that reason; its note.
pub async fn one_event(real: &Real, reason: &str) -> String {
    until(&format!("one Event {reason}"), async || match &*events(real, reason).await {
        [(note, 1)] => Ok(note.clone()),
        events => Err(format!("{events:?}")),
    })
    .await
}

/// Attempts to write the list so far, by the controller's own count.
async fn attempts(real: &Real, outcome: &str) -> u64 {
    let text = real.page("/metrics").await;
    let counter = format!(r#"tidegate_api_writes_total{{kind="guard",outcome="{outcome}"}} "#);
    text.lines().find_map(|line| line.strip_prefix(&counter)?.parse().ok()).unwrap_or_default()
}

/// Has the controller try again and again, and fail.
pub async fn until_tried_again(real: &Real, set: &str) {
    let before = attempts(real, "error").await;
    until("two more attempts", async || {
        real.ask(set).await;
        let now = attempts(real, "error").await;
        if now >= before + 2 { Ok(()) } else { Err(format!("{before} before, {now} now")) }
    })
    .await;
}

/// What stood where from which version of the store on.
struct Chronicle {
    seen: Arc<Mutex<BTreeMap<u64, String>>>,
    tasks: [JoinHandle<()>; 2],
}

// === impl Chronicle ===

impl Chronicle {
    /// Watches the sets and ConfigMaps of the namespace from now on.
    fn begin(real: &Real) -> Self {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let sets = watch(real.sets(), Arc::clone(&seen), |set: &ReleaseSet| {
            Some(format!("status {}", set.status.as_ref()?.promoted.as_ref()?.tag))
        });
        let maps = watch(real.config_maps(), Arc::clone(&seen), |map: &ConfigMap| {
            let data = map.data.as_ref()?;
            let newest = |allowed: &String| Some(allowed.lines().filter_map(tag_of).max()?.to_owned());
            match map.name_any().as_str() {
                LIST => Some(format!("list {}", data.get("allowed").and_then(newest)?)),
                _ => Some(format!("target {}", data.get("RELEASE_TAG")?)),
            }
        });
        Self { seen, tasks: [sets, maps] }
    }

    /// What came up, in its order, each once.
    fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        for what in self.seen.lock().unwrap().values() {
            if !told.contains(what) {
                told.push(what.clone());
            }
        }
        told
    }
}

impl Drop for Chronicle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn tag_of(reference: &str) -> Option<&str> {
    reference.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| tag.starts_with("main-"))
}

fn watch<K>(
    api: Api<K>,
    seen: Arc<Mutex<BTreeMap<u64, String>>>,
    says: fn(&K) -> Option<String>,
) -> JoinHandle<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    tokio::spawn(async move {
        let mut stream = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
        while let Some(event) = stream.next().await {
            if let Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) = event
                && let Some(what) = says(&object)
            {
                let version = object.meta().resource_version.as_ref().unwrap().parse().unwrap();
                seen.lock().unwrap().insert(version, what);
            }
        }
    })
}

#[tokio::test]
async fn the_list_is_written_between_the_commit_and_the_targets() {
    let Some(mut real) = prepare(values()).await else { return };
    let chronicle = Chronicle::begin(&real);
    real.start_controller().await;
    real.create("acme", real.spec("acme-release")).await;
    real.wait_for("acme", "Ready", "False/NoCandidates", "").await;
    assert!(real.config_maps().get_opt(LIST).await.unwrap().is_none(), "there is nothing to list yet");
    let mut expected = Vec::new();
    for tag in ["main-1", "main-2"] {
        real.push_both(tag).await;
        real.ask("acme").await;
        real.wait_for_target("acme-release", tag).await;
        expected.extend(["status", "list", "target"].map(|what| format!("{what} {tag}")));
    }
    real.wait_for("acme", "Ready", "True/Succeeded", "main-2").await;
    until("the watches to tell of everything", async || {
        let told = chronicle.told();
        if told.len() >= expected.len() { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    assert_eq!(chronicle.told(), expected);
    // What was promoted before stays as long as history holds it.
    until_lists(&real, "app", "main-1", true).await;
    until_lists(&real, "worker", "main-2", true).await;
    // L5: a look at rest writes nothing.
    assert_eq!(attempts(&real, "ok").await, 2);
    real.look("acme", |_| Vec::new()).await;
    assert_eq!((attempts(&real, "ok").await, attempts(&real, "error").await), (2, 0));
    assert_eq!(real.refused(), []);
}

#[tokio::test]
async fn the_list_is_put_back_when_somebody_edits_or_deletes_it() {
    let Some(mut real) = prepare(values()).await else { return };
    real.start_controller().await;
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1").await;
    let kept = real.config_maps().get(LIST).await.unwrap();
    let evil = format!("{}/acme/app:evil", real.registry.host());
    let edits = [
        json!({"data": {"allowed": format!("{evil}\n")}}),
        json!({"data": {"repositories": "", "allowed": null}}),
        json!({"data": {"more": "x"}, "binaryData": {"allow": "eA=="}}),
        // Without its label the watch of the controller loses it.
        json!({"metadata": {"labels": {"tidegate.dev/guard": null}}, "data": {"allowed": evil}}),
    ];
    let put_back = async |real: &Real, what: &str| {
        until(what, async || {
            let now = real.config_maps().get_opt(LIST).await.unwrap();
            let same = now.as_ref().is_some_and(|now| {
                (&now.data, &now.binary_data, now.labels(), now.annotations())
                    == (&kept.data, &kept.binary_data, kept.labels(), kept.annotations())
            });
            if same { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    };
    for edit in &edits {
        real.config_maps().patch(LIST, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
        put_back(&real, &edit.to_string()).await;
    }
    real.config_maps().delete(LIST, &DeleteParams::default()).await.unwrap();
    put_back(&real, "a deleted list").await;
    // Nobody watched.
    real.stop_controller();
    real.config_maps().patch(LIST, &PatchParams::default(), &Patch::Merge(&edits[0])).await.unwrap();
    real.start_controller().await;
    put_back(&real, "a list that was edited while no controller ran").await;
    assert_eq!(real.refused(), []);
}

#[tokio::test]
async fn a_deleted_set_takes_its_references_with_it() {
    let Some(mut real) = prepare(values()).await else { return };
    real.start_controller().await;
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    let mut other = real.spec("other-release");
    other["images"] = json!([{"name": "web", "repository": format!("{}/acme/web", real.registry.host())}]);
    real.push("web", "main-7").await;
    real.create("other", other).await;
    for (image, tag) in [("app", "main-1"), ("web", "main-7")] {
        until_lists(&real, image, tag, true).await;
    }
    real.sets().delete("other", &DeleteParams::default()).await.unwrap();
    until_lists(&real, "web", "main-7", false).await;
    until_lists(&real, "app", "main-1", true).await;
    assert!(!lines(&real, "repositories").await.iter().any(|line| line.ends_with("/web")));
    real.sets().delete("acme", &DeleteParams::default()).await.unwrap();
    until_lists(&real, "app", "main-1", false).await;
    assert_eq!(lines(&real, "repositories").await, Vec::<String>::new());
    // Nothing is left to say: a list that is deleted now is not made again, and one for a new set is.
    real.config_maps().delete(LIST, &DeleteParams::default()).await.unwrap();
    real.create("again", real.spec("again-release")).await;
    until_lists(&real, "app", "main-1", true).await;
    assert_eq!(real.refused(), []);
}

#[tokio::test]
async fn somebody_elses_list_is_left_alone_and_no_target_moves() {
    let Some(mut real) = prepare(values()).await else { return };
    let foreign: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": LIST}, "data": {"allowed": "mine"}})).unwrap();
    real.config_maps().create(&PostParams::default(), &foreign).await.unwrap();
    real.start_controller().await;
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    let status = real.wait("acme", until_held).await;
    assert!(held(&status).contains("somebody else's"), "{:?}", status.targets[0]);
    until_tried_again(&real, "acme").await;
    assert!(one_event(&real, "GuardNotWritten").await.contains("delete it"));
    assert_eq!(lines(&real, "allowed").await, ["mine"]);
    assert!(real.config_maps().get_opt("acme-release").await.unwrap().is_none());
    real.config_maps().delete(LIST, &DeleteParams::default()).await.unwrap();
    // Without being asked.
    real.wait_for_target("acme-release", "main-1").await;
    until_lists(&real, "app", "main-1", true).await;
}

/// What the first target says.
pub fn held(status: &ReleaseSetStatus) -> &str {
    status.targets.first().and_then(|target| target.message.as_deref()).unwrap_or_default()
}

/// Differences to a set that is promoted and whose first target waits for the list.
pub fn until_held(status: &ReleaseSetStatus) -> Vec<String> {
    if status.promoted.is_some() && held(status).contains("before tidegate-guard lists the release") {
        return Vec::new();
    }
    vec![format!("the target says {:?}", held(status))]
}

#[tokio::test]
async fn broken_and_mended_glass_is_told_by_one_event_each_also_of_a_suspended_set() {
    let Some(mut real) = prepare(values()).await else { return };
    real.start_controller().await;
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1").await;
    real.patch("acme", json!({"spec": {"suspend": true}})).await;
    real.patch("acme", json!({"spec": {"breakGlass": {"reason": "main-1 leaks"}}})).await;
    let told = one_event(&real, "BreakGlassOpened").await;
    assert!(told.contains("main-1 leaks") && told.contains("removing spec.breakGlass"), "{told}");
    let open = ["app", "worker"].map(|image| format!("{}/acme/{image}", real.registry.host()));
    assert_eq!(lines(&real, "open").await, open);
    // A new process, and a look: the list remembers what was told.
    real.start_controller().await;
    real.look("acme", |_| Vec::new()).await;
    assert_eq!(events(&real, "BreakGlassOpened").await.len(), 1);
    real.patch("acme", json!({"spec": {"breakGlass": null}})).await;
    assert!(one_event(&real, "BreakGlassClosed").await.contains("main-1 leaks"));
    assert_eq!(lines(&real, "open").await, Vec::<String>::new());
    assert_eq!(events(&real, "BreakGlassOpened").await.len(), 1);
    assert_eq!(real.refused(), []);
}

#[tokio::test]
async fn references_without_room_are_told_by_one_event_and_the_promoted_ones_stay() {
    let Some(mut real) = prepare(values()).await else { return };
    for name in ["crowd-a", "crowd-b"] {
        crowd(&real, name).await;
    }
    real.start_controller().await;
    let told = one_event(&real, "GuardFull").await;
    // 2 sets × 50 releases × 32 images, by tag and digest, and room for 6,000.
    assert!(told.starts_with("400 older references") && told.contains("historyLimit"), "{told}");
    let allowed = lines(&real, "allowed").await;
    assert_eq!(allowed.len(), 6_000);
    for name in ["crowd-a", "crowd-b"] {
        assert!(
            allowed.contains(&format!("ghcr.io/{name}/i31:main-50")),
            "what is promoted always stands in it"
        );
    }
    assert!(!allowed.contains(&"ghcr.io/crowd-b/i31:main-1".to_owned()), "the oldest goes first");
    real.start_controller().await;
    real.look("crowd-a", |_| Vec::new()).await;
    assert_eq!(events(&real, "GuardFull").await.len(), 1);
}

/// A suspended set of 32 images with 50 releases in its history.
async fn crowd(real: &Real, name: &str) {
    let names: Vec<String> = (0..32).map(|image| format!("i{image}")).collect();
    let repository = |image: &String| format!("ghcr.io/{name}/{image}");
    let mut spec = real.spec("unused");
    spec["suspend"] = json!(true);
    spec["targets"] = json!([]);
    let images = names.iter().map(|image| json!({"name": image, "repository": repository(image)}));
    spec["images"] = images.collect();
    real.create(name, spec).await;
    let at = "2026-01-01T00:00:00Z";
    let history = (1..=50).rev().map(|release| {
        let digests: BTreeMap<_, _> =
            names.iter().map(|image| (image, digest(&format!("{name} {image} {release}")))).collect();
        json!({"tag": format!("main-{release}"), "sequence": release, "at": at, "digests": digests})
    });
    let promoted = names.iter().map(|image| {
        json!({"name": image, "repository": repository(image), "tag": "main-50",
            "digest": digest(&format!("{name} {image} 50")), "platforms": []})
    });
    let status = json!({
        "promoted": {"tag": "main-50", "sequence": 50, "at": at, "generation": 1, "images": promoted.collect::<Value>()},
        "floor": {"tag": "main-50", "key": "50"},
        "history": history.collect::<Value>(),
    });
    let patch = Patch::Merge(json!({ "status": status }));
    real.sets().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}
