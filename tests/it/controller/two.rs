//! Controllers without processes: any number of them reconcile by hand against one API server, embedded or real, over a
//! registry on paper. Each can be paused between a read and its write, as a leader that lost its lease is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate::api::{ReleaseSet, ReleaseSetSpec, ReleaseSetStatus};
use tidegate::controller::context::Context;
use tidegate::controller::reconcile::{ReconcileError, reconcile};
use tidegate::embedded::api::ApiServer;
use tidegate::embedded::api::rules::promoted_never_goes_back;
use tidegate::model::{Digest, ImageEvidence, Repository, Sighted, Sighting, Tag, TagList};
use tidegate::registry::{Access, Question, Registry};
use tidegate::telemetry::clock::Clock;
use tidegate::telemetry::metrics::Metrics;

use crate::cluster::control_plane::ControlPlane;

/// How long something may take to come true: the deadline of one call of a controller.
const DEADLINE: Duration = Duration::from_secs(10);

/// A registry that holds what was pushed. Digests are those of repository and tag.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<BTreeSet<(String, String)>>>);

/// One API server, one registry.
pub struct World {
    pub registry: Paper,
    pub client: Client,
    pub namespace: String,
    /// `None` on a real API server.
    pub server: Option<ApiServer>,
    clock: Clock,
}

/// One controller: what it may do goes through `gate`.
pub struct Leader {
    pub context: Context,
    gate: Gate,
}

/// Where the requests of one controller wait.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Option<Pause>>>);

struct Pause {
    method: http::Method,
    path: String,
    reached: Arc<tokio::sync::Notify>,
    go_on: Arc<tokio::sync::Notify>,
}

/// A request that waits on its way to the API server.
pub struct Paused {
    reached: Arc<tokio::sync::Notify>,
    go_on: Arc<tokio::sync::Notify>,
}

// === impl World ===

impl World {
    /// On an embedded API, in virtual time.
    pub fn embedded() -> Self {
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        let server = ApiServer::new(clock.clone());
        server.register_crd(serde_json::to_value(tidegate::api::crd::crd()).unwrap()).unwrap();
        server.add_rule("tidegate.dev", "releasesets", "status", Arc::new(promoted_never_goes_back));
        let client = server.client("user", "acme");
        Self { registry: Paper::default(), client, namespace: "acme".into(), server: Some(server), clock }
    }

    /// On a real API server, in a namespace of its own.
    pub async fn real(suite: &str) -> Option<Self> {
        Some(Self::real_on(ControlPlane::shared(suite).await?).await)
    }

    /// The same on that control plane.
    pub async fn real_on(plane: &ControlPlane) -> Self {
        let client = plane.client().await;
        crate::crd::install(&client).await;
        let namespace = plane.namespace(&client, "two").await;
        Self { registry: Paper::default(), client, namespace, server: None, clock: Clock::system() }
    }

    /// The same world, seen from another namespace of its embedded API.
    pub fn at(&self, namespace: &str) -> Self {
        let client = self.server.as_ref().unwrap().client("user", namespace);
        let (registry, server) = (self.registry.clone(), self.server.clone());
        Self { registry, client, namespace: namespace.into(), server, clock: self.clock.clone() }
    }

    /// A controller that remembers nothing yet.
    pub fn leader(&self, name: &str) -> Leader {
        let inner = self.server.as_ref().map_or_else(|| self.client.clone(), |api| api.client(name, "acme"));
        let gate = Gate::default();
        let held = gate.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (inner, held) = (inner.clone(), held.clone());
            async move {
                let pause = held.meets(request.method(), request.uri().path());
                if let Some(pause) = pause {
                    pause.reached.notify_one();
                    pause.go_on.notified().await;
                }
                inner.send(request).await
            }
        });
        let client = Client::new(service, self.namespace.clone());
        let registry = Arc::new(self.registry.clone());
        Leader { context: Context::new(client, registry, self.clock.clone(), Metrics::default()), gate }
    }

    /// The objects of one kind in this world's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn sets(&self) -> Api<ReleaseSet> {
        self.api()
    }

    pub fn objects(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    /// Two images and one ConfigMap target, as JSON to be changed.
    pub fn spec() -> Value {
        json!({
            "images": [
                {"name": "app", "repository": "ghcr.io/acme/app"},
                {"name": "worker", "repository": "ghcr.io/acme/worker"},
            ],
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {"order": "asc"}},
            },
            "targets": [{"name": "config", "configMap": {"name": "acme-release"}}],
        })
    }

    pub async fn create(&self, name: &str, spec: Value) {
        let spec: ReleaseSetSpec = serde_json::from_value(spec).unwrap();
        self.sets().create(&PostParams::default(), &ReleaseSet::new(name, spec)).await.unwrap();
    }

    pub async fn patch(&self, name: &str, patch: Value) {
        self.sets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Asks a set to look, a second after whatever was seen before.
    pub async fn ask(&self, name: &str, asked: &str) {
        if self.server.is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.patch(name, json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": asked}}}))
            .await;
    }

    pub async fn status(&self, name: &str) -> ReleaseSetStatus {
        self.sets().get(name).await.unwrap().status.unwrap_or_default()
    }

    /// State and message of a target.
    pub async fn target(&self, set: &str, target: &str) -> (String, String) {
        let status = self.status(set).await;
        let found = status.targets.into_iter().find(|known| known.name == target).unwrap();
        (found.state, found.message.unwrap_or_default())
    }

    pub async fn config_map(&self, name: &str) -> Option<ConfigMap> {
        self.api::<ConfigMap>().get_opt(name).await.unwrap()
    }

    /// `RELEASE_TAG` of a ConfigMap.
    pub async fn carried(&self, name: &str) -> Option<String> {
        self.config_map(name).await?.data?.get("RELEASE_TAG").cloned()
    }

    pub async fn edit(&self, name: &str, patch: Value) {
        let maps = self.api::<ConfigMap>();
        maps.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Writes of the embedded API's log that changed something, as `verb plural name`, Events left out.
    pub fn written(&self) -> Vec<String> {
        let writes = self.server.as_ref().unwrap().writes();
        let changed = writes.iter().filter(|write| write.revision.is_some() && write.plural != "events");
        let line = |write: &tidegate::embedded::api::ApiRecord| {
            let subresource = write.subresource.as_ref().map_or_else(String::new, |sub| format!("/{sub}"));
            let name = write.name.as_deref().unwrap_or_default();
            format!("{:?} {}{subresource} {name}", write.verb, write.plural)
        };
        changed.map(line).collect()
    }
}

// === impl Leader ===

impl Leader {
    pub async fn reconcile(&self, world: &World, set: &str) -> Result<(), ReconcileError> {
        Box::pin(reconcile(&self.context, &world.namespace, set)).await.map(|_| ())
    }

    /// Reconciles until nothing more is written: three times, as looks and their pace need no more here.
    pub async fn settle(&self, world: &World, set: &str) {
        for _ in 0..3 {
            self.reconcile(world, set).await.unwrap();
        }
    }

    /// Pushes a tag to both images, asks for a look, and reconciles.
    pub async fn release(&self, world: &World, set: &str, tag: &str) {
        world.registry.push("acme/app", tag);
        world.registry.push("acme/worker", tag);
        self.look(world, set, tag).await;
    }

    /// Asks for a look, and reconciles.
    pub async fn look(&self, world: &World, set: &str, asked: &str) {
        world.ask(set, asked).await;
        self.settle(world, set).await;
    }

    /// The next request of this method whose path ends so waits.
    pub fn pause(&self, method: http::Method, path: &str) -> Paused {
        let paused = Paused { reached: Arc::default(), go_on: Arc::default() };
        let (reached, go_on) = (Arc::clone(&paused.reached), Arc::clone(&paused.go_on));
        *self.gate.0.lock().unwrap() = Some(Pause { method, path: path.to_owned(), reached, go_on });
        paused
    }
}

// === impl Gate ===

impl Gate {
    /// The pause that this request is to make, once.
    fn meets(&self, method: &http::Method, path: &str) -> Option<Pause> {
        let mut pause = self.0.lock().unwrap();
        let meets = |pause: &Pause| pause.method == *method && path.ends_with(&pause.path);
        if pause.as_ref().is_some_and(meets) { pause.take() } else { None }
    }
}

// === impl Paused ===

impl Paused {
    /// Runs `paused` until its request waits, then `meanwhile`, then `paused` to its end.
    pub async fn between<T>(self, paused: impl Future<Output = T>, meanwhile: impl Future<Output = ()>) -> T {
        let waits = async {
            tokio::time::timeout(DEADLINE, self.reached.notified()).await.expect("the request is made");
            meanwhile.await;
            self.go_on.notify_one();
        };
        futures::join!(paused, waits).0
    }
}

// === impl Paper ===

impl Paper {
    pub fn push(&self, path: &str, tag: &str) {
        self.0.lock().unwrap().insert((path.to_owned(), tag.to_owned()));
    }

    pub fn remove(&self, path: &str, tag: &str) {
        self.0.lock().unwrap().remove(&(path.to_owned(), tag.to_owned()));
    }

    fn digest(&self, repository: &Repository, tag: &Tag) -> Sighting<Digest> {
        let key = (repository.path().to_owned(), tag.to_string());
        if self.0.lock().unwrap().contains(&key) {
            Sighting::Present(digest_of(&format!("{}:{}", key.0, key.1)))
        } else {
            Sighting::Missing
        }
    }
}

/// The digest of what lies at `path:tag`.
pub fn digest_of(text: &str) -> Digest {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(text) {
        write!(digest, "{byte:02x}").unwrap();
    }
    digest.parse().unwrap()
}

impl Registry for Paper {
    fn tags<'a>(
        &'a self,
        _access: &'a Access,
        repository: &'a Repository,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<Arc<TagList>>> {
        let held = self.0.lock().unwrap();
        let tags = held.iter().filter(|(path, _)| path == repository.path()).map(|(_, tag)| tag.as_str());
        let sighting = Sighting::Present(Arc::new(tags.collect()));
        async move { Sighted { asked_at: since, sighting } }.boxed()
    }

    fn look<'a>(
        &'a self,
        _access: &'a Access,
        question: &'a Question,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<ImageEvidence>> {
        let sighting = match self.digest(&question.repository, &question.tag) {
            Sighting::Present(digest) => {
                let child = Sighting::Present(digest_of(&format!("child of {digest}")));
                let children = question.platforms.iter().map(|platform| (platform.clone(), child.clone()));
                let children = children.collect();
                Sighting::Present(ImageEvidence { digest, children, revisions: BTreeMap::new() })
            }
            _ => Sighting::Missing,
        };
        async move { Sighted { asked_at: since, sighting } }.boxed()
    }

    fn pointer<'a>(
        &'a self,
        _access: &'a Access,
        repository: &'a Repository,
        tag: &'a Tag,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<Digest>> {
        let sighting = self.digest(repository, tag);
        async move { Sighted { asked_at: since, sighting } }.boxed()
    }

    fn head_tag<'a>(
        &'a self,
        _access: &'a Access,
        repository: &'a Repository,
        tag: &'a Tag,
    ) -> BoxFuture<'a, Sighting<Digest>> {
        let sighting = self.digest(repository, tag);
        async move { sighting }.boxed()
    }

    fn head_manifest<'a>(
        &'a self,
        _access: &'a Access,
        _repository: &'a Repository,
        _digest: &'a Digest,
    ) -> BoxFuture<'a, Sighting<()>> {
        async { Sighting::Present(()) }.boxed()
    }

    fn head_blobs<'a>(
        &'a self,
        _access: &'a Access,
        _repository: &'a Repository,
        images: &'a [Digest],
    ) -> BoxFuture<'a, Vec<Sighting<()>>> {
        async { images.iter().map(|_| Sighting::Present(())).collect() }.boxed()
    }
}
