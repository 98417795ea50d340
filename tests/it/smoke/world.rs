//! One namespace, one ReleaseSet, one controller process.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::watch_object;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::api::v1alpha1::{GateStatus, VerdictStatus};
use tidegate::api::{ReleaseSet, ReleaseSetSpec, ReleaseSetStatus};
use tidegate::embedded::image::Index;

use super::gates::{gate_saying, runs, verdict_on};
use super::seen::Seen;
use crate::cluster::chart::{Account, Chart};
use crate::cluster::node::NodeCluster;
use crate::cluster::poll;
use crate::cluster::probe::ProbeImage;
use crate::cluster::push::Pusher;
use crate::cluster::server::{Server, folder, free_port};

/// How long a set may take to say what is expected: what takes 3 to 10 s on an idle machine, beside thirty others.
const DEADLINE: Duration = Duration::from_mins(2);
/// Between two looks at what is not watched.
const PACE: Duration = Duration::from_millis(200);
/// Name of the set.
pub const SET: &str = "acme";
/// Name of the ConfigMap that follows it.
pub const TARGET: &str = "acme-release";

/// Everything that one case needs; ends with it.
pub struct World {
    pub client: Client,
    pub namespace: String,
    pub seen: Seen,
    pusher: Pusher,
    host: String,
    port: u16,
    account: Account,
    controller: Option<Server>,
}

/// What was pushed under one tag.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Digest of the index.
    pub index: String,
    /// Digest of the child for linux/amd64.
    pub child: String,
}

// === impl World ===

impl World {
    /// A namespace and no controller yet.
    pub async fn prepare(cluster: &NodeCluster) -> Self {
        let client = cluster.client().await;
        let namespace = cluster.namespace(&client, "smoke").await;
        let chart = Chart::require(super::SUITE).expect("asked for before any case is played");
        let account = Account::of(&chart, &cluster.kubeconfig(), &client, &namespace).await;
        Self {
            seen: Seen::start(&client, &namespace),
            pusher: cluster.pusher(),
            host: cluster.registry_host(),
            port: free_port(),
            controller: None,
            client,
            namespace,
            account,
        }
    }

    /// The same with a controller that watches the namespace.
    pub async fn start(cluster: &NodeCluster) -> Self {
        let mut world = Self::prepare(cluster).await;
        world.start_controller().await;
        world
    }

    /// Images live in another registry from here on.
    pub fn keep_images_at(&mut self, host: String, pusher: Pusher) {
        (self.host, self.pusher) = (host, pusher);
    }

    /// Starts the controller and waits until it watches.
    pub async fn start_controller(&mut self) {
        let arguments = [
            format!("KUBECONFIG={}", self.account.kubeconfig().display()),
            env!("CARGO_BIN_EXE_tidegate").to_owned(),
            "controller".to_owned(),
            format!("--watch-namespace={}", self.namespace),
            format!("--http-addr=127.0.0.1:{}", self.port),
        ];
        let env = Path::new("/usr/bin/env");
        let mut server = Server::start("tidegate", folder("tidegate"), env, &arguments).unwrap();
        let ready = format!("http://127.0.0.1:{}/readyz", self.port);
        server
            .ready(async || reqwest::get(&ready).await.is_ok_and(|reply| reply.status().is_success()))
            .await;
        self.controller = Some(server);
    }

    /// SIGKILL, and nothing more is done by it once this returns.
    pub fn kill_controller(&mut self) {
        self.controller = None;
    }

    /// Makes the set of `app` and `worker` with these gates.
    pub async fn create(&self, gates: Value) {
        let mut spec = self.spec(&["app", "worker"]);
        spec["gates"] = gates;
        self.create_set(SET, &spec).await;
    }

    /// A spec of these images, with a ConfigMap that follows, as JSON to be changed.
    pub fn spec(&self, images: &[&str]) -> Value {
        let image = |name: &&str| json!({"name": name, "repository": self.repository(name)});
        json!({
            "interval": "10s",
            "images": images.iter().map(image).collect::<Vec<_>>(),
            "registry": {"insecure": true},
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {"order": "asc"}},
            },
            "targets": [{"name": "config", "configMap": {"name": TARGET}}],
        })
    }

    pub async fn create_set(&self, name: &str, spec: &Value) -> ReleaseSet {
        let spec: ReleaseSetSpec = serde_json::from_value(spec.clone()).unwrap();
        self.api::<ReleaseSet>().create(&PostParams::default(), &ReleaseSet::new(name, spec)).await.unwrap()
    }

    pub fn repository(&self, image: &str) -> String {
        format!("{}/{}/{image}", self.host, self.namespace)
    }

    /// Pushes an index of linux/amd64 alone, whose bytes no other case has.
    pub async fn push(&self, image: &str, tag: &str, probe: &ProbeImage) -> Pushed {
        self.push_for(&["linux/amd64"], image, tag, probe).await
    }

    pub async fn push_for(&self, platforms: &[&str], image: &str, tag: &str, probe: &ProbeImage) -> Pushed {
        // What another case pulled is on the node already.
        let probe = probe.clone().label("tidegate.dev/test", &format!("{} {image}", self.namespace));
        let children: Vec<_> =
            platforms.iter().map(|platform| probe.clone().platform(platform).build()).collect();
        let child = children[0].manifest.digest.clone();
        let index = Index::build(children, &BTreeMap::default());
        let path = format!("{}/{image}", self.namespace);
        Pushed { index: self.pusher.index(&path, tag, &index).await, child }
    }

    /// Deletes a manifest from the registry.
    pub async fn unpush(&self, image: &str, digest: &str) {
        self.pusher.delete(&format!("{}/{image}", self.namespace), digest).await;
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn patch(&self, patch: Value) {
        self.api::<ReleaseSet>().patch(SET, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn status(&self) -> ReleaseSetStatus {
        self.api::<ReleaseSet>().get(SET).await.unwrap().status.unwrap_or_default()
    }

    /// Watches the status of a set until something is read from it.
    pub async fn until_set<T>(
        &self,
        set: &str,
        what: &str,
        read: impl Fn(&ReleaseSetStatus) -> Option<T>,
    ) -> T {
        let mut versions = pin!(watch_object(self.api::<ReleaseSet>(), set));
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let Some(version) = versions.next().await else { panic!("the watch of {set} ended") };
                let found = version.ok().flatten().and_then(|set| read(&set.status.unwrap_or_default()));
                if let Some(found) = found {
                    return found;
                }
            }
        });
        if let Ok(found) = waited.await {
            return found;
        }
        let status = self.api::<ReleaseSet>().get(set).await.unwrap().status.unwrap_or_default();
        let log = self.controller.as_ref().map(Server::log_tail).unwrap_or_default();
        panic!(
            "{what}: never\n{}\nthe controller said:\n{log}",
            serde_json::to_string_pretty(&status).unwrap()
        );
    }

    pub async fn until<T>(&self, what: &str, read: impl Fn(&ReleaseSetStatus) -> Option<T>) -> T {
        self.until_set(SET, what, read).await
    }

    /// Waits for the tag to be promoted, and to be carried by the target.
    pub async fn promoted(&self, tag: &str) -> ReleaseSetStatus {
        let is_carried = |status: &ReleaseSetStatus| {
            let tells = status.promoted.as_ref().is_some_and(|promoted| promoted.tag == tag);
            (tells && status.targets.iter().all(|target| target.state == "Applied")).then(|| status.clone())
        };
        let status = self.until(&format!("{tag} is promoted"), is_carried).await;
        assert_eq!(self.carried().await.as_deref(), Some(tag));
        status
    }

    /// The tag that the target carries.
    pub async fn carried(&self) -> Option<String> {
        let target = self.api::<ConfigMap>().get_opt(TARGET).await.unwrap();
        target.and_then(|target| target.data?.get("RELEASE_TAG").cloned())
    }

    /// That no release but `tag` was ever promoted: status never forgets one.
    pub async fn assert_only_promoted(&self, tag: Option<&str>) {
        let status = self.status().await;
        let history: Vec<&str> = status.history.iter().map(|release| release.tag.as_str()).collect();
        assert_eq!(history, tag.into_iter().collect::<Vec<_>>());
        assert_eq!(status.promoted.as_ref().map(|promoted| promoted.tag.as_str()), tag);
        assert_eq!(self.carried().await.as_deref(), tag);
    }

    /// Waits for the verdict on a digest, and asserts its word.
    pub async fn verdict(&self, digest: &str, outcome: &str) -> VerdictStatus {
        let verdict =
            self.until(&format!("{outcome} on {digest}"), |status| verdict_on(status, digest)).await;
        assert_eq!(verdict.outcome, outcome, "{verdict:?}");
        verdict
    }

    /// Waits for a gate of the printed candidate to say so: the word of its reason, and words of its message.
    pub async fn gate(&self, reason: &str, words: &str) -> GateStatus {
        self.until(&format!("a gate says {reason}: {words}"), |status| gate_saying(status, reason, words))
            .await
    }

    /// Waits for something that nothing watches.
    pub async fn poll<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        match poll(DEADLINE, PACE, look).await {
            Some(found) => found,
            None => {
                let status = serde_json::to_string_pretty(&self.status().await).unwrap();
                let log = self.controller.as_ref().map(Server::log_tail).unwrap_or_default();
                panic!("{what}: never\n{status}\nthe controller said:\n{log}");
            }
        }
    }

    /// Waits for a pod whose container runs, and which is none of `known`.
    pub async fn running_pod(&self, known: &[String]) -> Pod {
        self.poll("a pod runs", async || {
            let pods = self.api::<Pod>().list(&ListParams::default()).await.unwrap();
            pods.items.into_iter().find(|pod| runs(pod) && !known.contains(&pod.uid().unwrap()))
        })
        .await
    }

    /// Waits until no Job of the namespace is left.
    pub async fn jobs_gone(&self) {
        self.poll("no Job is left", async || {
            self.api::<Job>().list(&ListParams::default()).await.unwrap().items.is_empty().then_some(())
        })
        .await;
    }
}
