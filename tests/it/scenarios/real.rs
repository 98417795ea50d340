//! Scenarios on real parts: the built binary, etcd, kube-apiserver and a registry. A step is done, the set is
//! asked to look, and the expected status is waited for; no clock is scaled.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tidegate::api::ReleaseSetStatus;
use tidegate::api::v1alpha1::TargetStatus;
use tidegate::cli::demo::scenario::{Expect, Scenario, Seen, Step, World};
use tidegate::cli::demo::world::index_of;

use crate::controller::real::Real;

const SUITE: &str = "scenarios on real parts";
const SET: &str = "acme";
const TARGET: &str = "acme-release";
/// Longest replay of what happened to one object; it ends as soon as the last change was read.
const REPLAY_SECS: u32 = 30;

#[tokio::test]
async fn real_parts_play_their_scenarios() {
    let scenarios = super::of(World::Real);
    assert!(scenarios.len() >= 5 || std::env::var_os("TIDEGATE_SCENARIO").is_some());
    for scenario in &scenarios {
        let Some(real) = Real::start(SUITE).await else { return };
        play(real, scenario).await;
    }
}

async fn play(mut real: Real, scenario: &Scenario) {
    let mut spec = serde_json::to_value(scenario.spec_at(&real.registry.host())).unwrap();
    spec["registry"] = json!({"insecure": true});
    real.create(SET, spec).await;
    let beginning = real.sets().get(SET).await.unwrap().resource_version().unwrap();
    let mut pushed = BTreeMap::new();
    let nothing = Expect::default();
    for step in &scenario.steps {
        act(&mut real, scenario, step, &mut pushed).await;
        // A step without expectation is looked at too, so that what it changes is seen before the next.
        let expect = step.expect.as_ref().unwrap_or(&nothing);
        let status = real
            .look(SET, |status| {
                let mut differences = expect.differences(&Seen::of(status));
                // The commit is one write and its targets come after it.
                differences.extend(behind(status));
                differences
            })
            .await;
        assert_carried(&real, scenario, &status, &pushed).await;
    }
    assert_order(&real, scenario, &beginning).await;
}

/// Targets that do not carry what is promoted yet.
fn behind(status: &ReleaseSetStatus) -> Vec<String> {
    let Some(promoted) = &status.promoted else { return Vec::new() };
    let carries = |target: &&TargetStatus| target.sequence == Some(promoted.sequence);
    let behind = status.targets.iter().filter(|target| !carries(target));
    behind.map(|target| format!("target {} carries {:?}", target.name, target.sequence)).collect()
}

/// (image, tag) → digest of the index that was pushed last.
type Pushed = BTreeMap<(String, String), String>;

async fn act(real: &mut Real, scenario: &Scenario, step: &Step, pushed: &mut Pushed) {
    for push in &step.push {
        let path = scenario.path_of(&push.image).unwrap();
        let digest = real.pusher.index(path, &push.tag, &index_of(push)).await;
        pushed.insert((push.image.clone(), push.tag.clone()), digest);
    }
    if let Some(edit) = step.edit_at(&real.registry.host()) {
        real.patch(SET, json!({ "spec": edit })).await;
    }
    if step.restart {
        real.start_controller().await;
    }
    let elsewhere = !step.delete.is_empty() || !step.refuse.is_empty() || !step.admit.is_empty();
    assert!(!elsewhere, "{}: this step is not for real parts", scenario.name);
}

/// The target carries the promoted release at the digests that were pushed, and is absent before the first.
async fn assert_carried(real: &Real, scenario: &Scenario, status: &ReleaseSetStatus, pushed: &Pushed) {
    let expected = status.promoted.as_ref().map(|promoted| {
        let images = promoted.images.iter().map(|image| {
            let digest = &pushed[&(image.name.clone(), image.tag.clone())];
            let reference = format!("{}:{}@{digest}", image.repository, image.tag);
            (format!("{}_IMAGE", image.name.to_uppercase()), reference)
        });
        let tag = ("RELEASE_TAG".to_owned(), promoted.tag.clone());
        let sequence = ("RELEASE_SEQUENCE".to_owned(), promoted.sequence.to_string());
        images.chain([tag, sequence]).collect::<BTreeMap<_, _>>()
    });
    let found = real.config_maps().get_opt(TARGET).await.unwrap();
    assert_eq!(found.and_then(|found| found.data), expected, "{}", scenario.name);
}

/// At no instant the target carried a release that the set did not have as promoted before, and each commit is
/// one write of the target.
async fn assert_order(real: &Real, scenario: &Scenario, beginning: &str) {
    let name = &scenario.name;
    let set = real.sets().get(SET).await.unwrap();
    let mut committed = BTreeMap::new();
    for set in replay(&real.sets(), beginning, &set).await {
        if let Some(promoted) = set.status.as_ref().and_then(|status| status.promoted.as_ref()) {
            let release = (promoted.tag.clone(), promoted.sequence.to_string());
            committed.entry(release).or_insert_with(|| revision(&set));
        }
    }
    let target = real.config_maps().get(TARGET).await.unwrap();
    let versions = replay(&real.config_maps(), beginning, &target).await;
    for version in &versions {
        let data = version.data.clone().unwrap_or_default();
        let release = (data["RELEASE_TAG"].clone(), data["RELEASE_SEQUENCE"].clone());
        let since = committed.get(&release);
        let at = revision(version);
        assert!(since.is_some_and(|&since| since < at), "{name}: {release:?} at {at}, commits {committed:?}");
    }
    assert_eq!(versions.len(), committed.len(), "{name}: {committed:?}");
}

/// Every version of an object since `beginning`, up to the one that `last` is.
async fn replay<K>(api: &Api<K>, beginning: &str, last: &K) -> Vec<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let only = format!("metadata.name={}", last.name_any());
    let params = WatchParams::default().fields(&only).timeout(REPLAY_SECS);
    let mut events = api.watch(&params, beginning).await.expect("the server keeps the last changes").boxed();
    let mut versions = Vec::new();
    while let Some(event) = events.try_next().await.expect("the server answers") {
        match event {
            WatchEvent::Added(version) | WatchEvent::Modified(version) => versions.push(version),
            WatchEvent::Bookmark(_) => {}
            other => panic!("{only}: {other:?}"),
        }
        if versions.last().and_then(ResourceExt::resource_version) == last.resource_version() {
            return versions;
        }
    }
    panic!("the last version of {only} did not come");
}

/// The instant of a version: this server has one etcd, whose revisions number the writes of all kinds in order.
fn revision(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).expect("etcd's revisions are numbers")
}
