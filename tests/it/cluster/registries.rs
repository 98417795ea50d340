//! Three registries that others wrote, each started on loopback for one test: distribution's v3 ([`super::registry`] starts it
//! without credentials), Debian's docker-registry and go-containerregistry's.

use url::Url;

use super::server::{Server, folder, free_port};
use super::tools::Tools;

/// User and password of [`RealRegistry::guarded`].
pub const USER: (&str, &str) = ("user", "correct horse");
/// `htpasswd -B` of [`USER`] with the cheapest cost; a password of tests is no secret.
const HTPASSWD: &str = "user:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n";

/// Which registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// docker-registry 2.8.2 of Debian.
    DockerRegistry,
    /// distribution v3.
    Distribution,
    /// cmd/registry of go-containerregistry: in memory, knows no credentials.
    Ggcr,
}

/// A running registry, ended on drop.
pub struct RealRegistry {
    url: Url,
    server: Server,
}

// === impl Kind ===

impl Kind {
    /// Its name for `hack/tools`.
    fn tool(self) -> &'static str {
        match self {
            Self::DockerRegistry => "docker-registry",
            Self::Distribution => "registry",
            Self::Ggcr => "ggcr-registry",
        }
    }
}

// === impl RealRegistry ===

impl RealRegistry {
    /// Starts an empty registry that asks for nothing; `None` after one printed line when the tool is missing (a panic under
    /// `CI`).
    pub async fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, "").await
    }

    /// The same that asks for [`USER`] by Basic.
    pub async fn guarded(kind: Kind) -> Option<Self> {
        assert_ne!(kind, Kind::Ggcr, "it knows no credentials");
        Self::start_with(kind, "auth: {htpasswd: {realm: test, path: htpasswd}}\n").await
    }

    async fn start_with(kind: Kind, auth: &str) -> Option<Self> {
        let tool = kind.tool();
        let tools = Tools::require(&format!("real registries ({tool})"), &[tool])?;
        super::install_crypto();
        let folder = folder(tool);
        let port = free_port();
        std::fs::write(folder.join("htpasswd"), HTPASSWD).expect("the folder is ours");
        std::fs::write(folder.join("config.yml"), configuration(port, auth)).expect("the folder is ours");
        let arguments = match kind {
            Kind::Ggcr => vec!["-port".to_owned(), port.to_string()],
            _ => vec!["serve".to_owned(), "config.yml".to_owned()],
        };
        let mut server =
            Server::start(tool, folder, tools.path(tool), &arguments).expect("registry can be started");
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("the URL is valid");
        let root = url.join("v2/").expect("the path is valid");
        // 401 is an answer too.
        server.ready(async || reqwest::get(root.clone()).await.is_ok()).await;
        Some(Self { url, server })
    }

    /// Points a tag at a manifest that was pushed, by writing the link that distribution (and docker-registry) keeps on disk: a
    /// push costs several syncs, which makes thousands slow.
    pub fn link(&self, repository: &str, tag: &str, digest: &str) {
        let tags = format!("data/docker/registry/v2/repositories/{repository}/_manifests/tags");
        let place = self.server.folder().join(tags).join(tag).join("current");
        std::fs::create_dir_all(&place).expect("the folder is ours");
        std::fs::write(place.join("link"), digest).expect("the folder is ours");
    }

    /// Where it answers: plain HTTP.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// `host:port`, the first part of an image's repository name.
    pub fn host(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port().unwrap_or_default())
    }
}

/// Content on disk in the registry's own folder, everything deletable, nothing written about requests.
fn configuration(port: u16, auth: &str) -> String {
    format!(
        "version: 0.1\n\
         log: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: data}}, delete: {{enabled: true}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}\n\
         http: {{addr: '127.0.0.1:{port}'}}\n\
         {auth}"
    )
}
