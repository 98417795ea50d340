//! The embedded world: a scenario played by the real controller on an embedded registry, API and node, on one
//! runtime with virtual time.
//!
//! Simulated are the registry's storage, the API server and the node; the registry client, the controller, the
//! engine and every byte between them are what production runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api::{ReleaseSet, crd};
use crate::cli::demo::held;
use crate::cli::demo::invariants::Invariants;
use crate::cli::demo::scenario::{Push, Scenario, Seen, Step};
use crate::controller::context::Context;
use crate::controller::watch::{self, WatchOptions};
use crate::embedded::api::ApiServer;
use crate::embedded::api::rules::promoted_never_goes_back;
use crate::embedded::image::{ImageDescription, ImagePlatform, Index};
use crate::embedded::node::{EXIT_CODE_LABEL, Node, NodeOptions, RUN_FOR_LABEL};

use crate::embedded::registry::{Fault, Options, RegistryServer};
use crate::registry::{Client, Pace};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::web::Pages;

/// Namespace of the set.
pub const NAMESPACE: &str = "acme";
/// Name of the set.
pub const SET: &str = "acme";
/// The first instant of every scenario.
const BEGINNING: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// From a Job to its pod: a scheduler and a kubelet at rest take about this long.
const POD_START: Duration = Duration::from_secs(2);

/// Why a scenario cannot be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The embedded registry cannot listen on loopback.
    #[error("failed to start the embedded registry on loopback: {0}")]
    Registry(#[source] std::io::Error),
    /// The embedded API refused what the scenario wants.
    #[error("the embedded API refused: {0}")]
    Api(#[from] kube::Error),
    /// Our own CRD cannot be served.
    #[error("failed to serve the CRD: {0}")]
    Crd(String),
    /// The scenario's set breaks a rule.
    #[error("the scenario's set is invalid: {0}")]
    Spec(String),
    /// A step names something that the set does not have.
    #[error("the scenario names {0}, which its set does not have")]
    Unknown(String),
}

/// A scenario's world while it is played.
pub struct EmbeddedWorld {
    /// The API server.
    pub api: ApiServer,
    /// The registry.
    pub registry: RegistryServer,
    /// Checked at every commit.
    pub invariants: Invariants,
    scenario: Scenario,
    clock: Clock,
    refused: Arc<Mutex<Vec<String>>>,
    sets: Api<ReleaseSet>,
    controller: CancellationToken,
    started: tokio::time::Instant,
    node: tokio::task::JoinHandle<()>,
}

// === impl EmbeddedWorld ===

impl EmbeddedWorld {
    /// A world with the scenario's set, nothing pushed and no controller. Time must be paused.
    ///
    /// # Errors
    /// When the registry cannot listen or the set is refused.
    pub async fn new(scenario: &Scenario) -> Result<Self, WorldError> {
        let clock = Clock::following_tokio(BEGINNING);
        let registry =
            RegistryServer::start(Options::default(), clock.clone()).await.map_err(WorldError::Registry)?;
        let api = ApiServer::new(clock.clone());
        serve_crd(&api)?;
        let invariants = Invariants::watch(&api, &registry);
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        refuse_by(&registry, &refused);
        let node = start_node(&api, &registry, &clock);
        let sets: Api<ReleaseSet> = Api::namespaced(api.client("user", NAMESPACE), NAMESPACE);
        let mut spec = scenario.spec_at(&registry.host());
        // The embedded registry speaks plain HTTP.
        spec.registry.get_or_insert_default().insecure = true;
        sets.create(&PostParams::default(), &ReleaseSet::new(SET, spec)).await?;
        Ok(Self {
            api,
            registry,
            invariants,
            scenario: scenario.clone(),
            clock,
            refused,
            sets,
            controller: CancellationToken::new(),
            started: tokio::time::Instant::now(),
            node,
        })
    }

    /// The world's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> SignedDuration {
        self.clock.now().duration_since(BEGINNING)
    }

    /// Lets time pass until the step's instant and does what it says; its expectation is the caller's.
    ///
    /// # Errors
    /// When the step names something that is not there, or the API refuses an edit.
    pub async fn advance(&mut self, step: &Step) -> Result<(), WorldError> {
        self.sleep_until(step.at).await;
        for push in &step.push {
            let path = self.path_of(&push.image)?;
            self.registry.push_index(&path, Some(&push.tag), &index_of(push));
        }
        for gone in &step.delete {
            let path = self.path_of(&gone.image)?;
            self.registry.delete_tag(&path, &gone.tag);
        }
        for image in &step.refuse {
            let path = self.path_of(image)?;
            self.refused().push(path);
        }
        for image in &step.admit {
            let path = self.path_of(image)?;
            self.refused().retain(|refused| *refused != path);
        }
        if let Some(edit) = step.edit_at(&self.registry.host()) {
            let patch = Patch::Merge(json!({ "spec": edit }));
            self.sets.patch(SET, &PatchParams::default(), &patch).await?;
        }
        if step.restart {
            self.start_controller();
        }
        Ok(())
    }

    /// Lets time pass until `at`, counted from the beginning.
    pub async fn sleep_until(&self, at: SignedDuration) {
        let at = Duration::try_from(at).unwrap_or_default();
        tokio::time::sleep_until(self.started + at).await;
    }

    /// What the set says now.
    ///
    /// # Errors
    /// When the API has no such set any more.
    pub async fn seen(&self) -> Result<Seen, WorldError> {
        let set = self.sets.get(SET).await?;
        Ok(Seen::of(&set.status.unwrap_or_default()))
    }

    /// Path of an image's repository in the registry.
    ///
    /// # Errors
    /// When the set has no such image.
    pub fn path_of(&self, image: &str) -> Result<String, WorldError> {
        let path = self.scenario.path_of(image);
        path.map(str::to_owned).ok_or_else(|| WorldError::Unknown(image.to_owned()))
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the controller in a process of its own, as it were; one that runs is killed.
    pub fn start_controller(&mut self) {
        self.controller.cancel();
        self.controller = CancellationToken::new();
        let pace = Pace { seed: Some(0), ..Pace::default() };
        let registry = Arc::new(Client::new(self.clock.clone()).paced_by(pace));
        let client = self.api.client("controller", NAMESPACE);
        let metrics = Metrics::default();
        let context = Context::new(client, registry, self.clock.clone(), metrics.clone());
        let options = WatchOptions { namespace: None, selector: None, concurrency: 1 };
        let killed = self.controller.clone();
        tokio::spawn(async move {
            let running = watch::run(context, options, Pages::new(metrics), std::future::pending());
            // A killed process finishes nothing.
            tokio::select! {
                () = killed.cancelled() => {}
                () = running => {}
            }
        });
    }
}

impl Drop for EmbeddedWorld {
    fn drop(&mut self) {
        self.controller.cancel();
        self.node.abort();
    }
}

/// Serves ReleaseSets: our definition, and the rules that it holds by CEL.
///
/// # Errors
/// When the definition cannot be served.
pub fn serve_crd(api: &ApiServer) -> Result<(), WorldError> {
    let definition = serde_json::to_value(crd::crd()).map_err(|error| WorldError::Crd(error.to_string()))?;
    api.register_crd(definition).map_err(|error| WorldError::Crd(error.to_string()))?;
    api.add_rule("tidegate.dev", "releasesets", "status", Arc::new(promoted_never_goes_back));
    api.add_validation("tidegate.dev", "releasesets", Arc::new(held::refusals));
    Ok(())
}

fn refuse_by(registry: &RegistryServer, refused: &Arc<Mutex<Vec<String>>>) {
    let refused = Arc::clone(refused);
    registry.set_fault(Some(Arc::new(move |request| {
        let refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
        let of_refused = request.repository.as_ref().is_some_and(|path| refused.contains(path));
        of_refused.then(|| Fault::Respond {
            status: http::StatusCode::UNAUTHORIZED,
            headers: vec![("www-authenticate".into(), "Basic realm=\"registry\"".into())],
            body: bytes::Bytes::from_static(br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#),
        })
    })));
}

fn start_node(api: &ApiServer, registry: &RegistryServer, clock: &Clock) -> tokio::task::JoinHandle<()> {
    let images = registry.clone();
    let resolver =
        move |reference: &str| images.image_config(reference, "linux/amd64").map(|config| labels_of(&config));
    let options = NodeOptions { architecture: "amd64".to_owned(), start_delay: POD_START };
    let node = Node::new(api, Arc::new(resolver), options, clock.clone());
    tokio::spawn(async move { node.run().await })
}

fn labels_of(config: &Value) -> BTreeMap<String, String> {
    let labels = config.pointer("/config/Labels").cloned().unwrap_or_default();
    serde_json::from_value(labels).unwrap_or_default()
}

/// The index that a push step puts under its tag: other builds have other digests, equal ones the same.
pub fn index_of(push: &Push) -> Index {
    let images =
        push.platforms.iter().filter_map(|platform| ImagePlatform::parse(platform)).map(|platform| {
            let content = format!("{} {} build {}", push.image, push.tag, push.build);
            ImageDescription::new(platform, content)
                .label(EXIT_CODE_LABEL, push.exit_code.to_string())
                .label(RUN_FOR_LABEL, push.runs_for.as_secs().to_string())
                .build()
        });
    let revision = push.revision.clone().unwrap_or_else(|| format!("commit-of-{}", push.tag));
    let annotations = [("org.opencontainers.image.revision".to_owned(), revision)].into();
    Index::build(images.collect(), &annotations)
}
