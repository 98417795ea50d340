//! A real registry: distribution v3 on loopback, one per test, without authentication.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use super::server::{Server, folder, free_port};
use super::tools::Tools;

/// What [`Registry::start`] needs, for `hack/tools`.
pub const TOOLS: [&str; 1] = ["registry"];

/// What [`Registry::start_each`] needs.
pub const BOTH: [&str; 2] = ["registry", "docker-registry"];

/// A running registry that keeps its content on disk until it is dropped.
pub struct Registry {
    url: Url,
    program: PathBuf,
    folder: PathBuf,
    /// `None` once killed.
    server: Mutex<Option<Server>>,
}

// === impl Registry ===

impl Registry {
    /// Starts an empty registry that answers when this returns; `None` after one printed line when the tool is missing
    /// (a panic under `CI`).
    pub async fn start(suite: &str) -> Option<Self> {
        let tools = Tools::require(suite, &TOOLS)?;
        Some(Self::run(tools.path("registry")).await)
    }

    /// Starts both real registries that keep to the same configuration: distribution, and its older version
    /// docker-registry; none after one printed line when a tool is missing (a panic under `CI`).
    pub async fn start_each(suite: &str) -> Vec<Self> {
        let mut started = Vec::new();
        if let Some(tools) = Tools::require(suite, &BOTH) {
            for name in BOTH {
                started.push(Self::run(tools.path(name)).await);
            }
        }
        started
    }

    /// Starts an empty registry from the executable `program`: distribution, or its older version docker-registry.
    pub async fn run(program: &Path) -> Self {
        super::install_crypto();
        let folder = folder("registry");
        let port = free_port();
        std::fs::write(folder.join("config.yml"), configuration(port)).expect("the folder is ours");
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("the URL is valid");
        let registry = Self { url, program: program.to_owned(), folder, server: Mutex::new(None) };
        registry.begin().await;
        registry
    }

    /// Starts it in its folder, and waits until it answers: after [`Self::kill`] with what was pushed to it.
    pub async fn begin(&self) {
        let arguments = ["serve".to_owned(), "config.yml".to_owned()];
        let mut server = Server::start("registry", self.folder.clone(), &self.program, &arguments)
            .expect("registry can be started");
        let root = self.url.join("v2/").expect("the path is valid");
        server
            .ready(async || reqwest::get(root.clone()).await.is_ok_and(|reply| reply.status().is_success()))
            .await;
        *self.lock() = Some(server);
    }

    /// Kills it: nobody listens any more. What it holds stays for [`Self::begin`].
    pub fn kill(&self) {
        // A server takes its folder with it when it ends, by name: so it is not there under its name.
        let kept = self.folder.with_extension("kept");
        std::fs::rename(&self.folder, &kept).expect("the folder is ours");
        drop(self.lock().take());
        std::fs::rename(&kept, &self.folder).expect("the folder is ours");
    }

    fn lock(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `host:port`, the first part of an image's repository name.
    pub fn host(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port().unwrap_or_default())
    }

    /// Where it answers: plain HTTP.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Content on disk in the registry's own folder, manifests deletable, no traces sent anywhere, quiet.
fn configuration(port: u16) -> String {
    format!(
        "version: 0.1\n\
         log: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: data}}, delete: {{enabled: true}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}\n\
         http: {{addr: '127.0.0.1:{port}'}}\n"
    )
}
