//! A double of source-controller: for each GitRepository of one namespace it packs every new commit of its branch and writes
//! `status.artifact`, and it holds charts for OCIRepositories. Like the real one it stops at `suspend`, echoes `requestedAt` and
//! leaves the last artifact in place when it cannot read the branch. Unlike it, it does not wait for `interval`: it looks at the
//! branch all the time, as if each push came with a webhook.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _, api::DynamicObject};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate::telemetry::clock::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::git::{self, BRANCH, GitServer};
use super::objects;
use crate::cluster::server::folder;

/// Between two looks at the branches: short beside the second that a push through a webhook takes.
const PACE: Duration = Duration::from_millis(200);

/// Serves artifacts and keeps the objects of one namespace up to date until it is dropped.
pub struct Source {
    host: String,
    files: Files,
    tasks: [JoinHandle<()>; 2],
}

/// Artifacts by path.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

// === impl Source ===

impl Source {
    /// Starts on the current runtime; repositories are those of `server`.
    pub async fn start(client: &Client, namespace: &str, server: Arc<GitServer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback can be bound");
        let host = listener.local_addr().expect("a bound socket has an address").to_string();
        let files = Files::default();
        let router = Router::new().fallback(answer).with_state(files.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        let api = Api::namespaced_with(client.clone(), namespace, &objects::resource("GitRepository"));
        let watching = tokio::spawn(watch(api, server, files.clone(), host.clone()));
        Self { host, files, tasks: [serving, watching] }
    }

    /// Makes an OCIRepository carry a chart of that version with these files (path in the chart and content), for the
    /// `chartRef` of HelmReleases.
    pub async fn chart(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
        version: &str,
        files: &[(&str, &str)],
    ) {
        let bytes = chart(name, files);
        let digest = sha256(&bytes);
        let path = format!("ocirepository/{namespace}/{name}/{version}.tgz");
        let artifact = self.files.put(&self.host, &path, bytes, &format!("{version}@{digest}"));
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &objects::resource("OCIRepository"));
        write(&api, name, &status(1, "", &artifact)).await.expect("the OCIRepository is there");
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

// === impl Files ===

impl Files {
    /// Keeps a file and answers the `status.artifact` that names it.
    fn put(&self, host: &str, path: &str, bytes: Vec<u8>, revision: &str) -> Value {
        let artifact = json!({
            "path": path,
            "url": format!("http://{host}/{path}"),
            "revision": revision,
            "digest": sha256(&bytes),
            "size": bytes.len(),
            "lastUpdateTime": now(),
        });
        self.lock().insert(format!("/{path}"), bytes);
        artifact
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(files): State<Files>, uri: Uri) -> Response {
    match files.lock().get(uri.path()) {
        Some(bytes) => Body::from(bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn watch(api: Api<DynamicObject>, server: Arc<GitServer>, files: Files, host: String) {
    loop {
        for object in
            api.list(&kube::api::ListParams::default()).await.map(|list| list.items).unwrap_or_default()
        {
            // What fails now (a conflict, an object just deleted) is looked at again at once.
            let _ = reconcile(&api, &server, &files, &host, &object).await;
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn reconcile(
    api: &Api<DynamicObject>,
    server: &GitServer,
    files: &Files,
    host: &str,
    object: &DynamicObject,
) -> Result<(), kube::Error> {
    let (spec, seen) = (&object.data["spec"], &object.data["status"]);
    let Some(bare) = server.folder_of(spec["url"].as_str().unwrap_or_default()) else { return Ok(()) };
    let branch = spec["ref"]["branch"].as_str().unwrap_or(BRANCH);
    let Some(commit) = git::head(&bare, branch) else { return Ok(()) };
    let revision = format!("{branch}@sha1:{commit}");
    let requested = object.annotations().get("reconcile.fluxcd.io/requestedAt").map_or("", String::as_str);
    let generation = object.metadata.generation.unwrap_or_default();
    let current = seen["artifact"]["revision"] == revision
        && seen["observedGeneration"] == generation
        && seen["lastHandledReconcileAt"].as_str().unwrap_or_default() == requested;
    if spec["suspend"] == true || current {
        return Ok(());
    }
    let artifact = if seen["artifact"]["revision"] == revision {
        seen["artifact"].clone()
    } else {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let path = format!("gitrepository/{namespace}/{name}/{commit}.tar.gz");
        files.put(host, &path, git::archive(&bare, &commit), &revision)
    };
    write(api, &object.name_any(), &status(generation, requested, &artifact)).await
}

fn status(generation: i64, requested: &str, artifact: &Value) -> Value {
    let message =
        format!("stored artifact for revision '{}'", artifact["revision"].as_str().unwrap_or_default());
    let mut status = json!({
        "observedGeneration": generation,
        "artifact": artifact,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": message,
            "observedGeneration": generation, "lastTransitionTime": now(),
        }],
    });
    if !requested.is_empty() {
        status["lastHandledReconcileAt"] = json!(requested);
    }
    status
}

async fn write(api: &Api<DynamicObject>, name: &str, status: &Value) -> Result<(), kube::Error> {
    let patch = Patch::Merge(json!({ "status": status }));
    api.patch_status(name, &PatchParams::default(), &patch).await.map(drop)
}

/// A chart archive: one folder of the chart's name.
fn chart(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let place = folder("chart");
    for (path, content) in files {
        let path = place.join(name).join(path);
        std::fs::create_dir_all(path.parent().expect("it lies in the chart")).expect("the folder is ours");
        std::fs::write(path, content).expect("the folder is ours");
    }
    let packed = pack(&place, name);
    std::fs::remove_dir_all(&place).expect("the folder is ours");
    packed
}

fn pack(place: &Path, name: &str) -> Vec<u8> {
    let output =
        Command::new("tar").arg("-C").arg(place).args(["-czf", "-", name]).output().expect("tar runs");
    assert!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn sha256(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("sha256:{hex}")
}

/// Whole seconds, as Kubernetes writes times.
fn now() -> String {
    Timestamp::from_second(Clock::system().now().as_second()).expect("it is a time").to_string()
}
