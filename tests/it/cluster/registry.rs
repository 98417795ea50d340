//! A real registry: distribution v3 on loopback, one per test, without authentication.

use std::path::Path;

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
    _server: Server,
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
        let arguments = ["serve".to_owned(), "config.yml".to_owned()];
        let mut server =
            Server::start("registry", folder, program, &arguments).expect("registry can be started");
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("the URL is valid");
        let root = url.join("v2/").expect("the path is valid");
        server
            .ready(async || reqwest::get(root.clone()).await.is_ok_and(|reply| reply.status().is_success()))
            .await;
        Self { url, _server: server }
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
