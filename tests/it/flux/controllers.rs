//! The controllers of Flux, started once per test process on its control plane and shared by its tests.

use std::fs;
use std::path::Path;

use futures::future::join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};
use tokio::sync::OnceCell;

use crate::cluster::control_plane::ControlPlane;
use crate::cluster::server::{Server, folder, free_port};
use crate::cluster::tools::Tools;

/// What [`Controllers::shared`] needs beside a control plane, for `hack/tools`.
const TOOLS: [&str; 5] = [
    "flux-crds",
    "kustomize-controller",
    "helm-controller",
    "image-reflector-controller",
    "image-automation-controller",
];

/// Of Flux Operator only what Tidegate writes; no controller of it runs here.
const OPERATOR: &str = "fluxcd.controlplane.io_";
const INPUT_PROVIDERS: &str = "fluxcd.controlplane.io_resourcesetinputproviders.yaml";

/// Four running controllers that watch all namespaces, none of which sends events anywhere.
pub struct Controllers {
    _servers: Vec<Server>,
}

// === impl Controllers ===

impl Controllers {
    /// The controllers of this process and the control plane that they watch, started by the first test that asks and ready
    /// when this returns; `None` after one printed line when tools are missing (a panic under `CI`).
    pub async fn shared(suite: &str) -> Option<(&'static Self, &'static ControlPlane)> {
        static SHARED: OnceCell<Controllers> = OnceCell::const_new();
        let tools = Tools::require(suite, &TOOLS)?;
        let plane = ControlPlane::shared(suite).await?;
        Some((SHARED.get_or_init(|| Self::start(tools, plane)).await, plane))
    }

    async fn start(tools: Tools, plane: &ControlPlane) -> Self {
        let client = plane.client().await;
        install(&client, tools.path("flux-crds")).await;
        crate::crd::install(&client).await;
        let started = TOOLS[1..].iter().map(|name| start(name, tools.path(name), plane));
        Self { _servers: join_all(started).await }
    }
}

async fn start(name: &'static str, program: &Path, plane: &ControlPlane) -> Server {
    let folder = folder(name);
    fs::create_dir(folder.join("tmp")).expect("the folder is ours");
    // A user of its own, so that the audit log tells who wrote.
    let kubeconfig = plane.kubeconfig_of(name, "system:masters");
    let health = format!("127.0.0.1:{}", free_port());
    let mut arguments = vec![
        format!("KUBECONFIG={}", kubeconfig.display()),
        // What a killed controller leaves goes with its folder.
        format!("TMPDIR={}", folder.join("tmp").display()),
        program.display().to_string(),
        format!("--health-addr={health}"),
        "--metrics-addr=0".to_owned(),
        "--events-addr=".to_owned(),
        // A test shall not wait for the default back-off of up to 15 minutes.
        "--min-retry-delay=200ms".to_owned(),
        "--max-retry-delay=2s".to_owned(),
    ];
    if name == "kustomize-controller" {
        // One that waits for the health of a set holds a place.
        arguments.push("--concurrent=16".to_owned());
    }
    if name != "image-automation-controller" {
        arguments.push("--requeue-dependency=1s".to_owned());
    }
    if name == "image-reflector-controller" {
        arguments.push("--storage-path=data".to_owned());
    }
    let mut server = Server::start(name, folder, Path::new("/usr/bin/env"), &arguments)
        .expect("a controller can be started");
    let ready = format!("http://{health}/readyz");
    server.ready(async || reqwest::get(&ready).await.is_ok_and(|reply| reply.status().is_success())).await;
    server
}

/// Installs the definitions that lie in `folder` and waits until they are served. Harmless when another suite did so
/// already.
pub async fn install(client: &Client, folder: &Path) {
    let files =
        fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is readable"));
    let wanted = files.filter(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        !name.starts_with(OPERATOR) || name == INPUT_PROVIDERS
    });
    join_all(wanted.map(|file| define(client, fs::read(file.path()).expect("it is readable")))).await;
}

async fn define(client: &Client, definition: Vec<u8>) {
    let request = http::Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        .header("Content-Type", "application/yaml")
        .body(definition)
        .expect("the request is valid");
    let name = match client.request::<CustomResourceDefinition>(request).await {
        Ok(made) => made.metadata.name.expect("it has a name"),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            status.details.as_ref().expect("it says which").name.clone()
        }
        Err(error) => panic!("the definition is refused: {error:?}"),
    };
    await_condition(Api::all(client.clone()), &name, conditions::is_crd_established())
        .await
        .expect("the definition becomes established");
}
