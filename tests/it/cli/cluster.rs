//! An API server on loopback for the commands that ask a cluster, with a kubeconfig that names it.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use futures::FutureExt as _;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate::api::ReleaseSet;
use tidegate::api::crd::crd;
use tidegate::embedded::api::ApiServer;
use tidegate::telemetry::clock::Clock;

use super::fixture::{Answer, Call};
use crate::cluster::embedded::Served;

/// Largest request that is passed on: a command patches metadata.
const BODY_MAX_BYTES: usize = 64 << 10;

/// A set of two images, a smoke gate each way, and a gate of another kind.
const SPEC: &str = r#"{
    "images": [
        {"name": "app", "repository": "ghcr.io/acme/app"},
        {"name": "worker", "repository": "ghcr.io/acme/worker", "platforms": ["linux/amd64", "linux/arm64"]}
    ],
    "candidates": {"policy": {"alphabetical": {"order": "asc"}}},
    "gates": [
        {"name": "worker-boots", "smoke": {"image": "worker", "platforms": ["linux/amd64"]}},
        {"name": "same-commit", "advisory": true, "sameRevision": {"key": "org.opencontainers.image.revision"}}
    ],
    "targets": [{"name": "config", "configMap": {"name": "acme-release"}}]
}"#;

/// The server, reachable over HTTP until dropped.
pub struct Kube {
    pub api: ApiServer,
    served: Served,
    /// The set that somebody else writes to before the next patch arrives.
    meddled: Arc<Mutex<Option<(String, Value)>>>,
}

// === impl Kube ===

impl Kube {
    /// A server that knows ReleaseSets, without any.
    pub async fn with_crd(name: &str) -> Self {
        let kube = Self::start(name).await;
        kube.api.register_crd(serde_json::to_value(crd()).unwrap()).unwrap();
        kube
    }

    /// A server that knows no ReleaseSets.
    pub async fn start(name: &str) -> Self {
        let api = ApiServer::new(Clock::system());
        let meddled = Arc::new(Mutex::new(None::<(String, Value)>));
        let (other, others) = (api.client("somebody", "acme"), Arc::clone(&meddled));
        let meddle = move |request: &Request| {
            let is_patch = request.method() == http::Method::PATCH;
            let meddled = is_patch.then(|| take(&others, request.uri().path())).flatten();
            let sets: Api<ReleaseSet> = Api::namespaced(other.clone(), "acme");
            async move {
                if let Some((name, patch)) = meddled {
                    sets.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
                }
            }
            .boxed()
        };
        let served = Served::start(&format!("kube-{name}"), &api, "cli", BODY_MAX_BYTES, meddle).await;
        Self { api, served, meddled }
    }

    /// Has somebody else write to `name` when the next patch of it is on its way, once.
    pub fn meddle_with(&self, name: &str, patch: Value) {
        *self.meddled.lock().unwrap_or_else(PoisonError::into_inner) = Some((name.to_owned(), patch));
    }

    fn sets(&self) -> Api<ReleaseSet> {
        Api::namespaced(self.api.client("tests", "acme"), "acme")
    }

    /// Makes a set called `name` in the namespace `acme`.
    pub async fn create(&self, name: &str) {
        let set = ReleaseSet::new(name, serde_json::from_str(SPEC).unwrap());
        self.sets().create(&PostParams::default(), &set).await.unwrap();
    }

    /// Writes its status, as the controller would.
    pub async fn set_status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.sets().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Its annotations.
    pub fn annotations(&self, name: &str) -> Value {
        let object = self.api.object("tidegate.dev", "releasesets", "acme", name).unwrap();
        object["metadata"]["annotations"].clone()
    }

    /// The file that names this server.
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        self.served.kubeconfig()
    }

    /// Calls the binary with this server's kubeconfig.
    pub async fn call(&self, args: &[&str]) -> Answer {
        let call = Call::new(args).env("KUBECONFIG", self.kubeconfig());
        tokio::task::spawn_blocking(|| call.answer()).await.unwrap()
    }
}

/// The set of `path` if it is the one to meddle with, and then no more.
fn take(meddled: &Mutex<Option<(String, Value)>>, path: &str) -> Option<(String, Value)> {
    let mut meddled = meddled.lock().unwrap_or_else(PoisonError::into_inner);
    meddled.take_if(|(name, _)| path.ends_with(&format!("/{name}")))
}
