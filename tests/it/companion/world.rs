use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, ReleaseSetStatus};
use tidegate::cli::demo::scenario::{Push, Scenario};
use tidegate::cli::demo::world::{EmbeddedWorld, NAMESPACE, SET, index_of};
use tidegate::embedded::api::ApiRecord;
use tidegate::flux::kinds::Kind;

/// Longest that anything here may take, in virtual time: twice the pause before an absent kind is asked for again.
const DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks at what is waited for.
const PACE: Duration = Duration::from_millis(250);

/// The embedded world with a set of `app` and `worker`.
pub struct World(pub EmbeddedWorld);

/// A spec of two images with an interval that no test waits for.
pub fn spec() -> Value {
    json!({
        "interval": "10m",
        "images": [
            {"name": "app", "repository": "registry/acme/app"},
            {"name": "worker", "repository": "registry/acme/worker"},
        ],
        "candidates": {
            "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
            "policy": {"numerical": {"order": "asc"}},
        },
        "targets": [{"name": "config", "configMap": {"name": "acme-release"}}],
    })
}

// === impl World ===

impl World {
    /// A world with Flux's kinds installed and no controller yet.
    pub async fn new(spec: Value) -> Self {
        let scenario: Scenario = serde_json::from_value(json!({
            "name": "companion", "incident": "none", "shows": "nothing", "spec": spec, "steps": [],
        }))
        .unwrap();
        let world = Self(EmbeddedWorld::new(&scenario).await.unwrap());
        for kind in [Kind::ImageUpdateAutomation, Kind::Kustomization, Kind::GitRepository] {
            world.install(kind);
        }
        world
    }

    pub async fn start(spec: Value) -> Self {
        let mut world = Self::new(spec).await;
        world.0.start_controller();
        world
    }

    /// A stand-in of the kind that takes every field.
    pub fn install(&self, kind: Kind) {
        let resource = kind.resource();
        self.install_as(&resource.group, &resource.version, &resource.plural, kind.word());
    }

    pub fn install_as(&self, group: &str, version: &str, plural: &str, kind: &str) {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version = json!({
            "name": version, "served": true, "storage": true,
            "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
        });
        let names = json!({"plural": plural, "kind": kind});
        let spec = json!({"group": group, "names": names, "scope": "Namespaced", "versions": [version]});
        self.0.api.register_crd(json!({"spec": spec})).unwrap();
    }

    pub fn uninstall(&self, kind: Kind) {
        let resource = kind.resource();
        assert!(self.0.api.unregister_crd(&resource.group, &resource.plural), "it was installed");
    }

    pub fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.0.api.client("flux", NAMESPACE), NAMESPACE, &kind.resource())
    }

    pub fn sets(&self) -> Api<ReleaseSet> {
        Api::namespaced(self.0.api.client("user", NAMESPACE), NAMESPACE)
    }

    pub async fn create(&self, kind: Kind, name: &str, spec: Value) {
        let object = json!({"metadata": {"name": name}, "spec": spec, "kind": kind.word(),
            "apiVersion": kind.resource().api_version});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.objects(kind).create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn delete(&self, kind: Kind, name: &str) {
        self.objects(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn edit(&self, kind: Kind, name: &str, patch: Value) {
        self.objects(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// What a controller of Flux writes.
    pub async fn say(&self, kind: Kind, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.objects(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// An ImageRepository of an image in this world's registry.
    pub async fn image_repository(&self, name: &str, more: Value) {
        let mut spec = json!({"image": format!("{}/acme/{name}", self.0.registry.host()), "insecure": true});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.create(Kind::ImageRepository, name, spec).await;
    }

    /// image-reflector has scanned at `time`, and found other tags than before where `revision` is another.
    pub async fn scan(&self, name: &str, revision: &str, time: &str) {
        let scan = json!({"revision": revision, "scanTime": time, "latestTags": []});
        self.say(Kind::ImageRepository, name, json!({"lastScanResult": scan})).await;
    }

    /// image-reflector has selected `tag` for the policy as it is now.
    pub async fn select(&self, policy: &str, tag: &str) {
        let generation = self.objects(Kind::ImagePolicy).get(policy).await.unwrap().metadata.generation;
        let ready = json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": ""});
        let status =
            json!({"latestRef": {"tag": tag}, "observedGeneration": generation, "conditions": [ready]});
        self.say(Kind::ImagePolicy, policy, status).await;
    }

    pub fn push(&self, image: &str, tag: &str) {
        let push = json!({"image": image, "tag": tag, "runsFor": "0s"});
        let push: Push = serde_json::from_value(push).unwrap();
        self.0.registry.push_index(&format!("acme/{image}"), Some(tag), &index_of(&push));
    }

    pub fn push_both(&self, tag: &str) {
        self.push("app", tag);
        self.push("worker", tag);
    }

    pub async fn status(&self) -> ReleaseSetStatus {
        self.sets().get(SET).await.unwrap().status.unwrap_or_default()
    }

    /// The present instant in Kubernetes' form.
    pub fn now(&self) -> String {
        self.0.clock().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Waits until the status is as wanted, and says how long it took.
    pub async fn wait(&self, what: &str, wanted: impl Fn(&ReleaseSetStatus) -> bool) -> Duration {
        let started = tokio::time::Instant::now();
        while started.elapsed() < DEADLINE {
            if wanted(&self.status().await) {
                return started.elapsed();
            }
            tokio::time::sleep(PACE).await;
        }
        let status = serde_json::to_string_pretty(&self.status().await).unwrap();
        panic!("{what} did not come within {DEADLINE:?}:\n{status}");
    }

    pub async fn wait_promoted(&self, tag: &str) -> Duration {
        self.wait(&format!("the promotion of {tag}"), |status| promoted(status).as_deref() == Some(tag)).await
    }

    /// The same of another set, which may not be readable yet.
    pub async fn wait_other(&self, sets: &Api<DynamicObject>, name: &str, tag: &str) {
        let started = tokio::time::Instant::now();
        while sets.get(name).await.unwrap().data["status"]["promoted"]["tag"] != tag {
            assert!(
                started.elapsed() < DEADLINE,
                "{name} did not promote {tag}: {:#?}",
                sets.get(name).await
            );
            tokio::time::sleep(PACE).await;
        }
    }

    /// Waits for the state of the only target, with these words in its message.
    pub async fn wait_target(&self, state: &str, words: &str) -> Duration {
        self.wait(&format!("{state} `{words}`"), |status| {
            status.targets.iter().any(|target| {
                target.state == state && target.message.as_deref().unwrap_or_default().contains(words)
            })
        })
        .await
    }

    /// Waits until the message of a condition holds these words.
    pub async fn wait_said(&self, words: &str) -> Duration {
        self.wait(&format!("`{words}`"), |status| {
            let said = serde_json::to_string(status).unwrap();
            said.contains(words)
        })
        .await
    }

    /// Requests of the controller on a kind.
    pub fn asked(&self, kind: Kind, wanted: impl Fn(&ApiRecord) -> bool) -> usize {
        let plural = kind.resource().plural;
        self.0.api.count(|record| record.actor == "controller" && record.plural == plural && wanted(record))
    }
}

pub fn promoted(status: &ReleaseSetStatus) -> Option<String> {
    status.promoted.as_ref().map(|promoted| promoted.tag.clone())
}
