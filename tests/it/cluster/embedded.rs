//! The embedded API over HTTP on loopback, with a kubeconfig that names it: what the built binary is run against.

use std::fs;
use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use futures::future::BoxFuture;
use serde_json::json;
use tidegate::embedded::api::ApiServer;
use tower::ServiceExt as _;

use super::server::folder;

/// An API server that is reachable until this is dropped.
pub struct Served {
    folder: PathBuf,
    serving: tokio::task::JoinHandle<()>,
}

// === impl Served ===

impl Served {
    /// Serves `api` to `actor`; `name` is in the name of the folder that holds the kubeconfig. `before` is awaited with each request before it is passed on, with at most `body_max_bytes`
    /// of body.
    pub async fn start(
        name: &str,
        api: &ApiServer,
        actor: &str,
        body_max_bytes: usize,
        before: impl Fn(&Request) -> BoxFuture<'static, ()> + Clone + Send + Sync + 'static,
    ) -> Self {
        let service = api.service(actor);
        let pass = move |request: Request| {
            let (service, before) = (service.clone(), before(&request));
            async move {
                before.await;
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, body_max_bytes).await.unwrap();
                let reply = service.oneshot(Request::from_parts(parts, body.into())).await.unwrap();
                reply.map(Body::new)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": server}}],
            "users": [{"name": "tests", "user": {}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": "acme"}}],
        });
        let folder = folder(name);
        fs::write(folder.join("config"), config.to_string()).unwrap();
        Self { folder, serving }
    }

    /// The file that names this server; its context is in the namespace `acme`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("config")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
        // What cannot be removed lies in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
