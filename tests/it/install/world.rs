//! One cluster, one release of the chart, one ReleaseSet in a namespace beside it.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, ReleaseSetSpec, ReleaseSetStatus};
use tidegate::embedded::image::Index;

use super::SUITE;
use super::helm::{Helm, RELEASE};
use super::image::Source;
use super::moves::Moves;
use crate::cluster::node::NodeCluster;
use crate::cluster::poll;
use crate::cluster::probe::ProbeImage;
use crate::cluster::push::Pusher;
use crate::cluster::tools::{Tools, skip};

/// How long what takes 3 to 20 s on an idle machine may take, beside whatever else runs.
const DEADLINE: Duration = Duration::from_mins(2);
/// Between two looks at what is not watched.
const PACE: Duration = Duration::from_millis(100);
/// Name of our CRD.
pub const CRD: &str = "releasesets.tidegate.dev";
/// Name of the set.
pub const SET: &str = "shop";
/// Name of the ConfigMap that follows it.
pub const TARGET: &str = "shop-release";
/// The siblings; `worker` has a smoke gate.
pub const IMAGES: [&str; 3] = ["app", "worker", "embeddings"];
/// Where the controller's image lies in the cluster's registry.
const REPOSITORY: &str = "tidegate/tidegate";

/// Everything that one story needs; ends with it.
pub struct World {
    pub helm: Helm,
    pub client: Client,
    pub moves: Moves,
    namespace: String,
    pusher: Pusher,
    host: String,
    /// Dropped last: fields are dropped in this order.
    _cluster: NodeCluster,
}

// === impl World ===

impl World {
    /// A cluster without our CRD whose registry holds these images of the controller; `None` after one printed line where
    /// that cannot be had (a panic under `CI`).
    pub async fn start(sources: &[Source]) -> Option<Self> {
        let tools = Tools::require(SUITE, &["helm"])?;
        // What the machine lacks is said before what was not built on it.
        let cluster = NodeCluster::start_own(SUITE)?;
        if let Some(why) = sources.iter().find_map(|source| source.check().err()) {
            skip(SUITE, &why);
            return None;
        }
        let client = cluster.client().await;
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        crds.delete(CRD, &DeleteParams::default()).await.expect("the script installed it");
        gone(crds, CRD).await;
        let restricted = json!({"metadata": {"name": RELEASE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let restricted = serde_json::from_value(restricted).expect("it is a namespace");
        namespaces.create(&PostParams::default(), &restricted).await.expect("it can be made");
        for source in sources {
            source.push(&cluster.registry_host(), REPOSITORY);
        }
        let namespace = cluster.namespace(&client, "shop").await;
        Some(Self {
            helm: Helm::new(tools.path("helm"), cluster.kubeconfig()),
            moves: Moves::start(&client, &namespace, SET, TARGET),
            client,
            namespace,
            pusher: cluster.pusher(),
            host: cluster.pod_registry_host(),
            _cluster: cluster,
        })
    }

    /// Values of the chart that name the image.
    pub fn values(&self, source: Source) -> Value {
        json!({"image": {"repository": format!("{}/{REPOSITORY}", self.host), "tag": source.tag()}})
    }

    /// An API of the namespace that the set lies in.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An API of the release's namespace.
    pub fn controllers<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), RELEASE)
    }

    /// Makes the set of three images with its smoke gate and its target.
    pub async fn create_set(&self) {
        let image = |name: &&str| json!({"name": name, "repository": format!("{}/shop/{name}", self.host)});
        let little = json!({"cpu": "10m", "memory": "16Mi"});
        let spec = json!({
            "interval": "10s",
            "images": IMAGES.iter().map(image).collect::<Vec<_>>(),
            "registry": {"insecure": true},
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {"order": "asc"}},
            },
            "gates": [{"name": "boots", "smoke": {"image": "worker", "timeout": "1m", "resources": {"requests": little}}}],
            "targets": [{"name": "config", "configMap": {"name": TARGET}}],
        });
        let spec: ReleaseSetSpec = serde_json::from_value(spec).expect("it is a spec");
        self.api().create(&PostParams::default(), &ReleaseSet::new(SET, spec)).await.expect("it is valid");
    }

    /// Pushes one image; `steps` is what its program does, and one digest differs from another by the tag.
    pub async fn push(&self, image: &str, tag: &str, steps: &str) {
        let probe = ProbeImage::new(steps).label("tidegate.dev/test", &format!("{image} {tag}"));
        let index = Index::build(vec![probe.build()], &std::collections::BTreeMap::default());
        self.pusher.index(&format!("shop/{image}"), tag, &index).await;
    }

    /// Pushes all three, and the worker passes at once.
    pub async fn release(&self, tag: &str) {
        for image in IMAGES {
            self.push(image, tag, "exit 0").await;
        }
    }

    /// Tells the controller to look now, as `kubectl annotate` or a webhook does.
    pub async fn hint(&self, word: &str) {
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": word}}});
        let sets = self.api::<ReleaseSet>();
        sets.patch(SET, &PatchParams::default(), &Patch::Merge(patch)).await.expect("it can be annotated");
    }

    pub async fn set(&self) -> ReleaseSet {
        self.api().get(SET).await.expect("the set is there")
    }

    pub async fn target(&self) -> ConfigMap {
        self.api().get(TARGET).await.expect("the target is there")
    }

    /// Waits until status is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&ReleaseSetStatus) -> bool) -> ReleaseSetStatus {
        let mut versions = pin!(watch_object(self.api::<ReleaseSet>(), SET));
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let Some(version) = versions.next().await else { panic!("the watch of the set ended") };
                let status = version.ok().flatten().and_then(|set| set.status);
                if let Some(status) = status.filter(|status| wanted(status)) {
                    return status;
                }
            }
        });
        let Ok(status) = waited.await else {
            let status = serde_json::to_string_pretty(&self.set().await.status).expect("it is JSON");
            panic!("{what}: never\n{status}\n{}", self.controllers_said().await);
        };
        status
    }

    /// Waits for the release to be promoted, and to be carried by the target.
    pub async fn promoted(&self, tag: &str) -> ReleaseSetStatus {
        self.until(&format!("{tag} is promoted and applied"), |status| {
            status.promoted.as_ref().is_some_and(|promoted| promoted.tag == tag)
                && status.targets.iter().all(|target| target.state == "Applied")
        })
        .await
    }

    /// Waits for something that nothing watches.
    pub async fn poll<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        match poll(DEADLINE, PACE, look).await {
            Some(found) => found,
            None => panic!("{what}: never\n{}", self.controllers_said().await),
        }
    }

    /// Waits until the smoke test of a candidate runs.
    pub async fn smoke_runs(&self) {
        self.poll("the smoke test runs", async || {
            let pods = self.api::<Pod>().list(&ListParams::default()).await.ok()?.items;
            let runs = |pod: &Pod| {
                pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
            };
            pods.iter().any(runs).then_some(())
        })
        .await;
    }

    /// The pods of the release that are not being deleted.
    pub async fn pods(&self) -> Vec<Pod> {
        let ours = ListParams::default().labels("app.kubernetes.io/name=tidegate");
        let listed = self.controllers::<Pod>().list(&ours).await;
        let mut pods = listed.expect("pods can be listed").items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// Waits until no process of the controller runs: a pod that is told to end goes on until it was.
    pub async fn no_controller_is_left(&self) {
        let all = ListParams::default();
        self.poll("no controller is left", async || {
            let pods = self.controllers::<Pod>().list(&all).await.expect("pods can be listed");
            // That of `helm test` is helm's, and stays until it is run again.
            pods.items.iter().all(|pod| pod.name_any().ends_with("-test")).then_some(())
        })
        .await;
    }

    /// Who holds the lease: `POD_MARK`.
    pub async fn leader(&self) -> Option<String> {
        let lease = self.controllers::<Lease>().get_opt("tidegate").await.expect("leases can be read")?;
        lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
    }

    /// The pods of the release and the end of what each said.
    pub async fn controllers_said(&self) -> String {
        let mut text = String::new();
        for pod in self.pods().await {
            let log = self.log(&pod.name_any()).await;
            let status = serde_json::to_string(&pod.status.and_then(|status| status.container_statuses));
            text += &format!(
                "{}: {}\n{log}\n",
                pod.metadata.name.unwrap_or_default(),
                status.unwrap_or_default()
            );
        }
        text
    }

    /// The last lines that a pod's container wrote; those of the one before where the present one has not begun.
    pub async fn log(&self, pod: &str) -> String {
        let tail = LogParams { tail_lines: Some(30), ..LogParams::default() };
        let pods = self.controllers::<Pod>();
        match pods.logs(pod, &tail).await {
            Ok(log) if !log.is_empty() => log,
            _ => pods.logs(pod, &LogParams { previous: true, ..tail }).await.unwrap_or_default(),
        }
    }
}

/// Waits until an object is gone.
pub async fn gone<K>(api: Api<K>, name: &str)
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let Some(object) = api.get_opt(name).await.expect("it can be read") else { return };
    let uid = object.meta().uid.clone().expect("the server gives one");
    let ended = tokio::time::timeout(DEADLINE, await_condition(api, name, is_deleted(&uid))).await;
    assert!(ended.is_ok(), "{name} does not go; finalizers: {:?}", object.meta().finalizers);
}
