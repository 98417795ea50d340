//! The world of one run: an embedded API, registry and node, the line, and a supervisor that starts the controller
//! again when it dies. One runtime, one thread, virtual time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, crd};
use tidegate::cli::demo::scenario::Push;
use tidegate::cli::demo::world::index_of;
use tidegate::embedded::api::rules::promoted_never_goes_back;
use tidegate::embedded::api::{ApiServer, OUTSIDER};
use tidegate::embedded::node::{Node, NodeOptions};
use tidegate::embedded::registry::{Fault, Options, RegistryServer};
use tidegate::telemetry::clock::Clock;
use tokio::task::AbortHandle;

use super::fault::Plan;
use super::fences::{Fence, Fences};
use super::line::{Ends, Line};
use super::process::{Pace, Process};
use super::story::Act;
use super::trouble::Lock;
use super::truth::Past;
use super::witness::Witness;

/// Namespace of everything.
pub const NAMESPACE: &str = "acme";
/// The set of a story.
pub const SET: &str = "acme";
/// The registry's name.
pub const HOST: &str = "registry.test";
/// Another registry, which takes every request and answers none.
pub const HOLE: &str = "hole.test";
/// The first instant of every run.
pub const BEGINNING: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// From a Job to its pod.
const POD_START: Duration = Duration::from_secs(1);
/// From a death to the next process.
const RESTART: Duration = Duration::from_secs(1);
/// Secret with the registry's credential.
const SECRET: &str = "pull";

/// One world.
pub struct World {
    pub api: ApiServer,
    pub registry: RegistryServer,
    pub clock: Clock,
    pub line: Line,
    pub witness: Witness,
    past: Past,
    user: kube::Client,
    alive: Arc<Mutex<BTreeSet<u32>>>,
    tasks: Vec<AbortHandle>,
}

// === impl World ===

impl World {
    /// Empty: no set, nothing pushed, no controller.
    pub fn new(plan: Plan, lock: Lock, fences: Fences) -> Self {
        static DEFINITION: OnceLock<Value> = OnceLock::new();
        let clock = Clock::following_tokio(BEGINNING);
        let registry = RegistryServer::in_process(HOST, Options::default(), clock.clone());
        let api = ApiServer::new(clock.clone());
        let definition = DEFINITION.get_or_init(|| serde_json::to_value(crd::crd()).unwrap());
        api.register_crd(definition.clone()).unwrap();
        if fences.hold(Fence::Rule) {
            api.add_rule("tidegate.dev", "releasesets", "status", Arc::new(promoted_never_goes_back));
        }
        let past = Past::new(registry.clone(), clock.clone());
        let witness = Witness::new(api.clone(), past.clone(), clock.clone());
        let (moving, moved) = (registry.clone(), past.clone());
        let mover = Box::new(move || push(&moving, &moved, &moved_push()));
        let ends = Ends {
            api: api.clone(),
            registry: registry.clone(),
            lock,
            clock: clock.clone(),
            witness: witness.clone(),
            past: past.clone(),
            fences,
            mover,
        };
        let line = Line::new(ends, plan);
        let user = api.client(OUTSIDER, NAMESPACE);
        let mut world = Self {
            api,
            registry,
            clock,
            line,
            witness,
            past,
            user,
            alive: Arc::default(),
            tasks: Vec::new(),
        };
        world.start_node();
        world
    }

    fn start_node(&mut self) {
        let images = self.registry.clone();
        let resolver = move |reference: &str| {
            let config = images.image_config(reference, "linux/amd64")?;
            let labels = config.pointer("/config/Labels").cloned().unwrap_or_default();
            Some(serde_json::from_value(labels).unwrap_or_default())
        };
        let options = NodeOptions { architecture: "amd64".to_owned(), start_delay: POD_START };
        let node = Node::new(&self.api, Arc::new(resolver), options, self.clock.clone());
        self.tasks.push(tokio::spawn(async move { node.run().await }).abort_handle());
    }

    /// Starts a controller, and another one each time that it dies. `first` is its number; the next one has a number that is
    /// higher by `step`.
    pub fn start_controllers(&mut self, first: u32, step: u32, pace: Pace) {
        let (line, clock) = (self.line.clone(), self.clock_at(pace));
        let alive = Arc::clone(&self.alive);
        let supervisor = tokio::spawn(async move {
            let living = || alive.lock().unwrap_or_else(PoisonError::into_inner);
            for id in (first..).step_by(usize::try_from(step).unwrap()) {
                living().insert(id);
                let process = Process::new(id, pace);
                process.run(process.clone().controller(line.clone(), clock.clone())).await;
                process.die();
                living().remove(&id);
                tokio::time::sleep(RESTART).await;
            }
        });
        self.tasks.push(supervisor.abort_handle());
    }

    /// A clock that is wrong.
    pub fn clock_at(&self, pace: Pace) -> Clock {
        Clock::following_tokio_at(self.clock.now().checked_add(pace.skew).unwrap(), pace.percent)
    }

    fn alive(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` until the world ends.
    pub fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(work).abort_handle());
    }

    // --- what people and CI do ---

    fn sets(&self) -> Api<ReleaseSet> {
        Api::namespaced(self.user.clone(), NAMESPACE)
    }

    pub async fn create(&self, name: &str, spec: &Value) {
        let mut spec = spec.clone();
        spec["registry"] = json!({"insecure": true});
        if self.api.object("", "secrets", NAMESPACE, SECRET).is_some() {
            spec["registry"]["secretRef"] = json!({"name": SECRET});
        }
        let set = ReleaseSet::new(name, serde_json::from_value(spec).unwrap());
        self.sets().create(&PostParams::default(), &set).await.unwrap();
    }

    pub async fn edit(&self, name: &str, spec: &Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.sets().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Deletes a set and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.sets().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Puts a status back over the set, as the restore of a backup does.
    pub async fn restore(&self, name: &str, status: &Value) {
        self.witness.restored(name, status);
        loop {
            let set = self.sets().get(name).await.unwrap();
            let mut set = serde_json::to_value(set).unwrap();
            set["status"] = status.clone();
            let set: ReleaseSet = serde_json::from_value(set).unwrap();
            match self.sets().replace_status(name, &PostParams::default(), &set).await {
                // The controller wrote in between.
                Err(kube::Error::Api(refused)) if refused.code == 409 => {}
                // It promoted something already: the API server holds that, and a restore fails.
                Err(kube::Error::Api(refused)) if refused.code == 422 => return,
                restored => return drop(restored.unwrap()),
            }
        }
    }

    pub fn push(&self, pushed: &Push) {
        push(&self.registry, &self.past, pushed);
    }

    pub fn delete_tag(&self, image: &str, tag: &str) {
        let path = format!("acme/{image}");
        self.registry.delete_tag(&path, tag);
        self.past.note_tag(&path, tag);
    }

    /// Nothing was wrong so far.
    pub fn is_well(&self) -> bool {
        self.line.injected().is_empty() && !self.past.was_silent()
    }

    /// From now on the registry answers 503 to everything, or answers again.
    pub fn outage(&self, is_out: bool) {
        self.past.note_answers(!is_out);
        let out = |_: &_| {
            Some(Fault::Respond {
                status: http::StatusCode::SERVICE_UNAVAILABLE,
                headers: Vec::new(),
                body: bytes::Bytes::new(),
            })
        };
        self.registry.set_fault(is_out.then(|| Arc::new(out) as _));
    }

    /// The registry takes only this password from now on.
    pub fn lock_registry(&self, password: &str) {
        self.registry.set_auth(self.line.ends().lock.auth(password));
    }

    /// The Secret holds this password from now on.
    pub async fn write_secret(&self, password: &str) {
        let config = json!({"auths": {HOST: {"username": "ci", "password": password}}}).to_string();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET},
            "type": "kubernetes.io/dockerconfigjson", "stringData": null,
            "data": {".dockerconfigjson": base64_of(&config)}});
        let secret: DynamicObject = serde_json::from_value(secret).unwrap();
        let resource = kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        let secrets: Api<DynamicObject> = Api::namespaced_with(self.user.clone(), NAMESPACE, &resource);
        if secrets.get_opt(SECRET).await.unwrap().is_some() {
            secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
        }
        secrets.create(&PostParams::default(), &secret).await.unwrap();
    }

    // --- a look from outside ---

    /// Who holds the lease, if it is a process that lives.
    pub fn leader(&self) -> Option<String> {
        let lease = self.api.object("coordination.k8s.io", "leases", NAMESPACE, "tidegate");
        let holder = lease.and_then(|lease| lease["spec"]["holderIdentity"].as_str().map(str::to_owned));
        let alive = self.alive();
        holder.filter(|holder| alive.iter().any(|id| *holder == format!("tidegate-{id}")))
    }

    pub fn set(&self, name: &str) -> Option<Arc<Value>> {
        self.api.object("tidegate.dev", "releasesets", NAMESPACE, name)
    }

    pub fn target(&self, name: &str) -> Option<Arc<Value>> {
        self.api.object("", "configmaps", NAMESPACE, name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn push(registry: &RegistryServer, past: &Past, push: &Push) {
    let path = format!("acme/{}", push.image);
    registry.push_index(&path, Some(&push.tag), &index_of(push));
    past.note_tag(&path, &push.tag);
}

/// What is built anew where a plan moves a tag.
fn moved_push() -> Push {
    Act::pushed("worker", "main-1", 1)
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
