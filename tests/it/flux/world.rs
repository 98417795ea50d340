//! One namespace with its own registry, Git server and source, beside the controllers of Flux that all tests share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::telemetry::clock::Clock;
use tokio::time::Instant;

use super::controllers::Controllers;
use super::git::GitServer;
use super::objects;
use super::source::Source;
use crate::cluster::audit::{self, State, Write};
use crate::cluster::chart::{Account, Chart};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::push::Pusher;
use crate::cluster::registry::Registry;
use crate::cluster::server::{Server, folder, free_port};

/// How long Flux may take to do what is expected: ten times what the slowest step (a Helm upgrade) takes on two busy cores.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// Between two reads of what is waited for.
const PACE: Duration = Duration::from_millis(50);
/// How long nothing may be written until the world counts as at rest: several times what a controller takes to react.
const QUIET: Duration = Duration::from_secs(2);

/// Everything that one test needs. End it with [`World::end`].
pub struct World {
    /// With the rights of an administrator.
    pub client: Client,
    /// The control plane of the test process.
    pub plane: &'static ControlPlane,
    /// Of this test alone.
    pub namespace: String,
    /// Where images are pushed to: plain HTTP.
    pub registry: Registry,
    /// Pushes to it.
    pub pusher: Pusher,
    /// Where controllers clone from and push to.
    pub git: Arc<GitServer>,
    source: Source,
    account: Account,
}

// === impl World ===

impl World {
    /// A new world, with nothing in it; `None` after one printed line when parts are missing (a panic under `CI`).
    pub async fn start(suite: &str) -> Option<Self> {
        let (_, plane) = Controllers::shared(suite).await?;
        let registry = Registry::start(suite).await?;
        let git = Arc::new(GitServer::start(suite).await?);
        let client = plane.client().await;
        let namespace = plane.namespace(&client, "flux").await;
        let source = Source::start(&client, &namespace, Arc::clone(&git)).await;
        let pusher = Pusher::new(registry.url());
        let account = Account::of(&Chart::require(suite)?, plane.kubeconfig(), &client, &namespace).await;
        Some(Self { client, plane, namespace, registry, pusher, git, source, account })
    }

    /// The repository of a sibling in the registry.
    pub fn repository(&self, name: &str) -> String {
        format!("{}/acme/{name}", self.registry.host())
    }

    /// Pushes `acme/<name>:<tag>` for linux/amd64 and linux/arm64, as one index. Answers its digest.
    pub async fn push(&self, name: &str, tag: &str) -> String {
        let images = ["linux/amd64", "linux/arm64"].map(|platform| {
            ImageDescription::new(ImagePlatform::parse(platform).unwrap(), format!("{name} {tag}")).build()
        });
        let revision = ("org.opencontainers.image.revision".to_owned(), tag.to_owned());
        let index = Index::build(images.to_vec(), &BTreeMap::from([revision]));
        self.pusher.index(&format!("acme/{name}"), tag, &index).await
    }

    /// Makes OCIRepository `name` carry a chart with these files (path in the chart and content), made on the first call.
    pub async fn chart(&self, name: &str, version: &str, files: &[(&str, &str)]) {
        if self.read("OCIRepository", name).await.is_none() {
            self.create(objects::oci_repository(name)).await;
        }
        self.source.chart(&self.client, &self.namespace, name, version, files).await;
    }

    /// Starts the controller of Tidegate on this namespace, with the rights that the chart gives it, and waits until it
    /// watches. It ends when it is dropped.
    pub async fn tidegate(&self, flags: &[&str]) -> Server {
        let port = free_port();
        let mut arguments = vec![
            format!("KUBECONFIG={}", self.account.kubeconfig().display()),
            env!("CARGO_BIN_EXE_tidegate").to_owned(),
            "controller".to_owned(),
            format!("--watch-namespace={}", self.namespace),
            format!("--http-addr=127.0.0.1:{port}"),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let mut server = Server::start("tidegate", folder("tidegate"), Path::new("/usr/bin/env"), &arguments)
            .expect("the controller can be started");
        let ready = format!("http://127.0.0.1:{port}/readyz");
        server
            .ready(async || reqwest::get(&ready).await.is_ok_and(|reply| reply.status().is_success()))
            .await;
        server
    }

    /// Objects of that kind in the namespace.
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &objects::resource(kind))
    }

    /// Creates an object of any kind that [`objects::resource`] knows.
    pub async fn create(&self, object: Value) {
        let object: DynamicObject = serde_json::from_value(object).expect("an object with its kind");
        let kind = object.types.as_ref().expect("it says its kind").kind.clone();
        self.api(&kind).create(&PostParams::default(), &object).await.expect("the object is accepted");
    }

    /// Creates all objects of a file as a user would write it, in their order; `namespace` in it is ignored.
    pub async fn apply(&self, yaml: &str) {
        for mut object in serde_saphyr::from_multiple::<Value>(yaml).expect("the file is YAML") {
            object["metadata"]["namespace"] = json!(self.namespace);
            self.create(object).await;
        }
    }

    /// Changes an object by a JSON merge patch.
    pub async fn patch(&self, kind: &str, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.api(kind).patch(name, &PatchParams::default(), &patch).await.expect("the patch is accepted");
    }

    /// Asks the controller of an object to reconcile it now.
    pub async fn request(&self, kind: &str, name: &str) {
        let now = Clock::system().now().to_string();
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": now}}});
        self.patch(kind, name, patch).await;
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.expect("the object is there");
        self.wait(&format!("{kind} {name} to be gone"), async || {
            if self.read(kind, name).await.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
        })
        .await;
    }

    /// An object as it is now.
    pub async fn read(&self, kind: &str, name: &str) -> Option<Value> {
        let found = self.api(kind).get_opt(name).await.expect("the server answers");
        found.map(|object| serde_json::to_value(object).expect("it was JSON"))
    }

    /// Waits until an object is there and `holds`; answers it. `what` is what is waited for, for the failure.
    pub async fn until(&self, what: &str, kind: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, async || match self.read(kind, name).await {
            Some(object) if holds(&object) => Ok(object),
            Some(object) => Err(format!("{kind} {name} is {object:#}")),
            None => Err(format!("there is no {kind} {name}")),
        })
        .await
    }

    /// Waits until `answers` is Ok; answers that.
    ///
    /// # Panics
    /// With the last Err when [`DEADLINE`] passes.
    pub async fn wait<T>(&self, what: &str, answers: impl AsyncFn() -> Result<T, String>) -> T {
        let begun = Instant::now();
        loop {
            match answers().await {
                Ok(answer) => return answer,
                Err(last) => assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}; {last}"),
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Waits until every Deployment of `expected` (name and image) carries its image.
    pub async fn until_running(&self, expected: &[(&str, &str)]) {
        self.wait(&format!("Deployments {expected:?}"), async || {
            let now = self.images().await;
            let all =
                expected.iter().all(|(name, image)| now.get(*name).is_some_and(|carried| carried == image));
            if all { Ok(()) } else { Err(format!("they carry {now:?}")) }
        })
        .await;
    }

    /// Waits until nothing was written for [`QUIET`] to what the audit log watches, scans of images apart.
    pub async fn until_quiet(&self) {
        let (begun, mut last) = (Instant::now(), Instant::now());
        let mut seen = 0;
        while last.elapsed() < QUIET {
            tokio::time::sleep(PACE).await;
            let mut writes = self.plane.writes(&self.namespace);
            // Each scan is written down, whatever it finds.
            writes.retain(|write| write.resource != "imagerepositories/status");
            if writes.len() != seen {
                (seen, last) = (writes.len(), Instant::now());
            }
            let newest = &writes[writes.len().saturating_sub(5)..];
            assert!(begun.elapsed() < DEADLINE, "writes go on: {newest:#?}");
        }
    }

    /// First image by name of every Deployment as it is now.
    pub async fn images(&self) -> BTreeMap<String, String> {
        let list = self.api("Deployment").list(&ListParams::default()).await.expect("the server answers");
        let image = |object: &DynamicObject| {
            object.data["spec"]["template"]["spec"]["containers"][0]["image"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        list.items.iter().map(|object| (object.name_any(), image(object))).collect()
    }

    /// What was written to the namespace so far, oldest first: by whom, when, and to which images. The server answers a write
    /// before it logs it, so this waits until the log has caught up with the Deployments; for other kinds see
    /// [`World::until_quiet`].
    pub async fn writes(&self) -> Vec<Write> {
        self.wait("the audit log to tell of every Deployment", async || {
            let writes = self.plane.writes(&self.namespace);
            let told = audit::states(&writes).pop().map(|state| state.images).unwrap_or_default();
            let now = self.images().await;
            if told == now { Ok(writes) } else { Err(format!("it tells {told:?}, they carry {now:?}")) }
        })
        .await
    }

    /// What the Deployments carried from when on, oldest first. While one sync writes them one after the other, a state is
    /// mixed for some milliseconds; one that is mixed for seconds, or whose tag was never promoted, half-rolled.
    pub async fn states(&self) -> Vec<State> {
        audit::states(&self.writes().await)
    }

    /// The user name of its controller, as the audit log calls it.
    pub fn user(&self) -> &str {
        &self.account.user
    }

    /// What the chart rendered for its controller.
    pub fn rights(&self) -> &[Value] {
        &self.account.objects
    }

    /// Deletes what would keep the shared controllers busy after the test.
    ///
    /// # Panics
    /// When Tidegate asked for something that the chart gives it no right to, or wrote what no set declares.
    pub async fn end(self) {
        let broken = self.plane.record(&self.account.user).broken;
        assert!(broken.is_empty(), "{broken:#?}");
        let requests = self.plane.requests(&self.account.user);
        let refused: Vec<_> = requests.iter().filter(|request| !request.is_allowed).collect();
        assert!(refused.is_empty(), "the chart lacks rules for {refused:#?}");
        for kind in
            ["ImageUpdateAutomation", "ImagePolicy", "ImageRepository", "Kustomization", "HelmRelease"]
        {
            let api = self.api(kind);
            api.delete_collection(&DeleteParams::default(), &ListParams::default())
                .await
                .expect("it is allowed");
        }
    }
}
