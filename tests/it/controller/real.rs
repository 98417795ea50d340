//! One namespace, one registry and one controller process, with the rights that the chart gives it. No test may need more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, ReleaseSetSpec, ReleaseSetStatus};

use crate::cluster::audit::Request;
use crate::cluster::chart::{Account, Chart};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::push::Pusher;
use crate::cluster::registry::Registry;
use crate::cluster::server::{Server, folder, free_port};

/// How long a set may take to say what is expected: ten times the hot pace (3 s).
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two reads of a status that is waited for.
const PACE: Duration = Duration::from_millis(100);

/// Everything that one test needs; ends with it.
pub struct Real {
    pub client: Client,
    pub namespace: String,
    pub registry: Registry,
    pub pusher: Pusher,
    pub port: u16,
    /// Further flags of the controller.
    pub flags: Vec<String>,
    /// Where the controller finds the API server, when that is not the server itself.
    through: Option<PathBuf>,
    account: Account,
    plane: &'static ControlPlane,
    may_be_refused: bool,
    controller: Option<Server>,
    asked: std::cell::Cell<u32>,
}

// === impl Real ===

impl Real {
    /// A namespace and a registry, and no controller yet. `None` after one printed line when tools are missing.
    pub async fn prepare(suite: &str) -> Option<Self> {
        Self::prepare_as(suite, async |chart, plane, client, namespace| {
            Account::of(chart, plane.kubeconfig(), client, namespace).await
        })
        .await
    }

    /// The same with a release of these values; a `watchNamespace` among them becomes that of the test. What was refused is
    /// for the test to judge.
    pub async fn prepare_with(suite: &str, values: Value) -> Option<Self> {
        let mut real = Self::prepare_as(suite, async move |chart, plane, client, namespace| {
            let mut values = values.clone();
            if !values["watchNamespace"].is_null() {
                values["watchNamespace"] = json!(namespace);
            }
            Account::with(chart, plane.kubeconfig(), client, namespace, values).await
        })
        .await?;
        real.may_be_refused = true;
        Some(real)
    }

    async fn prepare_as(
        suite: &str,
        account: impl AsyncFn(&Chart, &ControlPlane, &Client, &str) -> Account,
    ) -> Option<Self> {
        let chart = Chart::require(suite)?;
        let plane = ControlPlane::shared(suite).await?;
        Self::prepare_at(suite, &chart, plane, account).await
    }

    /// The same on a control plane of the test's own.
    pub async fn prepare_on(suite: &str, plane: &'static ControlPlane) -> Option<Self> {
        let chart = Chart::require(suite)?;
        Self::prepare_at(suite, &chart, plane, async |chart, plane, client, namespace| {
            Account::of(chart, plane.kubeconfig(), client, namespace).await
        })
        .await
    }

    async fn prepare_at(
        suite: &str,
        chart: &Chart,
        plane: &'static ControlPlane,
        account: impl AsyncFn(&Chart, &ControlPlane, &Client, &str) -> Account,
    ) -> Option<Self> {
        let registry = Registry::start(suite).await?;
        let client = plane.client().await;
        crate::crd::install(&client).await;
        let namespace = plane.namespace(&client, "real").await;
        let account = account(chart, plane, &client, &namespace).await;
        Some(Self {
            pusher: Pusher::new(registry.url()),
            account,
            plane,
            may_be_refused: false,
            port: free_port(),
            flags: Vec::new(),
            through: None,
            controller: None,
            asked: std::cell::Cell::new(0),
            client,
            namespace,
            registry,
        })
    }

    /// The same with a controller that watches the namespace.
    pub async fn start(suite: &str) -> Option<Self> {
        let mut real = Self::prepare(suite).await?;
        real.start_controller().await;
        Some(real)
    }

    /// What is refused from now on is no lack of rules: an API server that begins knows none yet.
    pub fn allow_refusals(&mut self) {
        self.may_be_refused = true;
    }

    /// Has controllers ask the API server at `url`, a proxy of the test, with the same credentials.
    pub fn ask_through(&mut self, url: &str) {
        let straight = self.account.kubeconfig();
        let text = std::fs::read_to_string(&straight).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["clusters"][0]["cluster"]["server"] = json!(url);
        let path = straight.with_file_name("through");
        std::fs::write(&path, config.to_string()).unwrap();
        self.through = Some(path);
    }

    /// The command line of the controller, for tests that hold the process themselves.
    pub fn arguments(&self) -> Vec<String> {
        let port = self.port;
        let kubeconfig = self.through.clone().unwrap_or_else(|| self.account.kubeconfig());
        let mut arguments = [
            format!("KUBECONFIG={}", kubeconfig.display()),
            env!("CARGO_BIN_EXE_tidegate").to_owned(),
            "controller".to_owned(),
            format!("--watch-namespace={}", self.namespace),
            format!("--http-addr=127.0.0.1:{port}"),
        ]
        .to_vec();
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    /// Starts the controller and waits until it watches. One that runs is killed first.
    pub async fn start_controller(&mut self) {
        self.controller = None;
        let server = self.serve(&self.arguments()).await;
        self.controller = Some(server);
    }

    /// One of the namespace with more flags; it ends when it is dropped.
    pub async fn run_with(&self, flags: &[&str]) -> Server {
        let more = flags.iter().map(|flag| (*flag).to_owned());
        self.serve(&self.arguments().into_iter().chain(more).collect::<Vec<_>>()).await
    }

    /// A controller with these flags in the place of the namespace; it ends when it is dropped.
    pub async fn run(&self, flags: &[&str]) -> Server {
        let mut arguments = self.arguments();
        arguments.retain(|argument| !argument.starts_with("--watch-namespace"));
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self.serve(&arguments).await
    }

    /// Starts the controller and does not wait until it watches.
    pub fn spawn(&self) -> Server {
        Self::process(&self.arguments())
    }

    fn process(arguments: &[String]) -> Server {
        Server::start("tidegate", folder("tidegate"), Path::new("/usr/bin/env"), arguments).unwrap()
    }

    async fn serve(&self, arguments: &[String]) -> Server {
        let mut server = Self::process(arguments);
        let ready = format!("http://127.0.0.1:{}/readyz", self.port);
        server
            .ready(async || reqwest::get(&ready).await.is_ok_and(|reply| reply.status().is_success()))
            .await;
        server
    }

    /// Ends the controller.
    pub fn stop_controller(&mut self) {
        self.controller = None;
    }

    /// User name of the controller, and the control plane that it works on.
    pub fn account(&self) -> (&str, &'static ControlPlane) {
        (&self.account.user, self.plane)
    }

    /// What the chart rendered for it.
    pub fn objects(&self) -> &[Value] {
        &self.account.objects
    }

    /// What it asked for without the right to.
    pub fn refused(&self) -> Vec<Request> {
        let requests = self.plane.requests(&self.account.user);
        requests.into_iter().filter(|request| !request.is_allowed).collect()
    }

    /// What the controller serves under `path`.
    pub async fn page(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    pub fn sets(&self) -> Api<ReleaseSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A spec of two images in this registry with one ConfigMap target, as JSON to be changed.
    pub fn spec(&self, target: &str) -> Value {
        let host = self.registry.host();
        json!({
            "interval": "10s",
            "images": [
                {"name": "app", "repository": format!("{host}/acme/app")},
                {"name": "worker", "repository": format!("{host}/acme/worker")},
            ],
            "registry": {"insecure": true},
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {"order": "asc"}},
            },
            "targets": [{"name": "config", "configMap": {"name": target}}],
        })
    }

    pub async fn create(&self, name: &str, spec: Value) {
        let spec: ReleaseSetSpec = serde_json::from_value(spec).unwrap();
        self.sets().create(&PostParams::default(), &ReleaseSet::new(name, spec)).await.unwrap();
    }

    /// Pushes both images of [`Self::spec`] under a tag.
    pub async fn push_both(&self, tag: &str) {
        for image in ["app", "worker"] {
            self.push(image, tag).await;
        }
    }

    pub async fn push(&self, image: &str, tag: &str) {
        self.push_to(&format!("acme/{image}"), image, tag).await;
    }

    /// Pushes what is built as `image` to a repository of another name.
    pub async fn push_to(&self, repository: &str, image: &str, tag: &str) {
        let push: tidegate::cli::demo::scenario::Push =
            serde_json::from_value(json!({"image": image, "tag": tag, "runsFor": "0s"})).unwrap();
        let index = tidegate::cli::demo::world::index_of(&push);
        self.pusher.index(repository, tag, &index).await;
    }

    pub async fn patch(&self, name: &str, patch: Value) {
        self.sets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Asks the set to look now, as `flux reconcile` does.
    pub async fn ask(&self, name: &str) {
        self.asked.set(self.asked.get() + 1);
        let asked = self.asked.get().to_string();
        self.patch(name, json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": asked}}}))
            .await;
    }

    pub async fn status(&self, name: &str) -> ReleaseSetStatus {
        self.sets().get(name).await.unwrap().status.unwrap_or_default()
    }

    /// Waits until the status is as wanted: `differs` says how it is not.
    pub async fn wait(
        &self,
        name: &str,
        differs: impl Fn(&ReleaseSetStatus) -> Vec<String>,
    ) -> ReleaseSetStatus {
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let status = self.status(name).await;
                if differs(&status).is_empty() {
                    return status;
                }
                tokio::time::sleep(PACE).await;
            }
        });
        if let Ok(status) = waited.await {
            return status;
        }
        let status = self.status(name).await;
        let log = self.controller.as_ref().map(Server::log_tail).unwrap_or_default();
        panic!(
            "{name}: {:?}\n{}\nthe controller said:\n{log}",
            differs(&status),
            serde_json::to_string_pretty(&status).unwrap()
        );
    }

    /// Asks the set to look, and waits until a status that answers this very look is as wanted: what was true
    /// before says nothing of what was pushed since.
    pub async fn look(
        &self,
        name: &str,
        differs: impl Fn(&ReleaseSetStatus) -> Vec<String>,
    ) -> ReleaseSetStatus {
        self.ask(name).await;
        let asked = self.asked.get().to_string();
        self.wait(name, |status| {
            let mut differences = differs(status);
            if status.last_handled_reconcile_at.as_ref() != Some(&asked) {
                differences.push(format!("lastHandledReconcileAt: expected {asked}"));
            }
            differences
        })
        .await
    }

    /// Waits for a condition, written `True/Succeeded`, whose message holds `words`.
    pub async fn wait_for(&self, name: &str, condition: &str, wanted: &str, words: &str) -> ReleaseSetStatus {
        self.wait(name, |status| {
            let found = status.conditions.iter().find(|known| known.condition == condition);
            let fits = found.is_some_and(|known| {
                format!("{}/{}", known.status, known.reason) == wanted && known.message.contains(words)
            });
            if fits {
                Vec::new()
            } else {
                vec![format!("{condition}: expected {wanted} `{words}`, is {found:?}")]
            }
        })
        .await
    }

    /// Waits until a ConfigMap carries the tag.
    pub async fn wait_for_target(&self, name: &str, tag: &str) {
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let found = self.config_maps().get_opt(name).await.unwrap();
                if found.and_then(|map| map.data?.get("RELEASE_TAG").cloned()).as_deref() == Some(tag) {
                    return;
                }
                tokio::time::sleep(PACE).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{name} never carried {tag}"));
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.controller = None;
        if std::thread::panicking() {
            return;
        }
        let refused = if self.may_be_refused { Vec::new() } else { self.refused() };
        assert!(refused.is_empty(), "the chart lacks rules for {refused:#?}");
        let broken = self.plane.record(&self.account.user).broken;
        assert!(broken.is_empty(), "{broken:#?}");
    }
}
