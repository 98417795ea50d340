//! An OCI distribution registry in memory, served over real HTTP on a loopback port of its own.
//!
//! It follows what was measured on Debian's docker-registry 2.8.2 where the specification leaves room: an index or
//! manifest asked for with a weak `Accept` is 404 `MANIFEST_UNKNOWN`, an index whose children are absent is refused
//! at push (unless [`Options::sparse_indexes`]), and deleting a child leaves the index standing. It differs on
//! purpose in paging (`n`, `last` and `Link` work) and in deleting by tag. It passes the pull and tag parts of the
//! specification's conformance suite (`tests/it/registry/conformance.rs`).
//! [`RegistryServer::in_process`] is the same without a socket: requests are given to [`RegistryServer::answer`].
//! A fault plan ([`RegistryServer::plan`]) makes it hostile; [`Habit`] makes it like one that others run.
//! Not here: ranges of blobs, referrers, `_catalog`, schema 1, digests other than sha256.
//! Must never know: what Tidegate makes of the answers.

mod auth;
mod connection;
mod error;
mod habit;
mod log;
mod manifests;
mod on;
mod perform;
mod plan;
mod routes;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod uploads;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{
    embedded::image::{Content, Image, Index},
    telemetry::clock::Clock,
};

pub use auth::{Auth, BearerAuth, Credentials};
pub use habit::Habit;
pub use log::{Fault, FaultHook, Operation, RequestInfo, RequestRecord};
pub use on::On;
pub use plan::{Change, Reply, Rule, Step, When};
pub use store::StoreError;
pub use tls::ServerTls;

use auth::Tokens;
use connection::{Connections, Cut, Listener};
use log::RequestLog;
use plan::Plan;
use store::Store;

/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of a Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// How a [`RegistryServer`] behaves; the default asks nobody for credentials and pages nothing by itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who may read and write.
    pub auth: Auth,
    /// Whether an index may be pushed over HTTP before its children.
    pub sparse_indexes: bool,
    /// Most tags in one answer, whatever `n` says; `None` answers all when `n` is absent.
    pub page_tags_max: Option<usize>,
    /// Serves https with this instead of plain HTTP: HTTP/2 and HTTP/1.1.
    pub tls: Option<ServerTls>,
}

/// A running registry: cheap to clone; it stops accepting when the last clone is dropped.
#[derive(Clone)]
pub struct RegistryServer {
    shared: Arc<Shared>,
    _serving: Option<Arc<Serving>>,
}

/// What routes and handle share.
struct Shared {
    clock: Clock,
    address: SocketAddr,
    /// The registry part of a reference.
    host: String,
    scheme: &'static str,
    connections: Connections,
    sparse_indexes: bool,
    state: Mutex<State>,
}

struct State {
    store: Store,
    auth: Auth,
    tokens: Tokens,
    log: RequestLog,
    page_tags_max: Option<usize>,
    fault: Option<FaultHook>,
    plan: Plan,
    /// GETs of manifests that a rate limit has counted.
    pulls: u64,
}

struct Serving(AbortHandle);

// === impl Serving ===

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn new(
        options: Options,
        clock: Clock,
        address: SocketAddr,
        host: String,
        connections: Connections,
    ) -> Arc<Self> {
        let state = State {
            store: Store::default(),
            auth: options.auth,
            tokens: Tokens::default(),
            log: RequestLog::default(),
            page_tags_max: options.page_tags_max,
            fault: None,
            plan: Plan::default(),
            pulls: 0,
        };
        Arc::new(Self {
            clock,
            address,
            host,
            scheme: if options.tls.is_some() { "https" } else { "http" },
            connections,
            sparse_indexes: options.sparse_indexes,
            state: Mutex::new(state),
        })
    }

    /// The state; a holder that panicked left whole values behind, so poison is ignored.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl RegistryServer ===

impl RegistryServer {
    /// Listens on `127.0.0.1`, port chosen by the system, and serves on the current tokio runtime.
    /// Under paused time client and registry must share one runtime. Fails as binding a socket fails, and when
    /// the TLS material cannot be used.
    pub async fn start(options: Options, clock: Clock) -> io::Result<Self> {
        let acceptor = options.tls.as_ref().map(ServerTls::acceptor).transpose()?;
        let connections = Connections::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Shared::new(options, clock, address, address.to_string(), connections.clone());
        let service = routes::router(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            let served = axum::serve(Listener::new(listener, acceptor, connections), service).await;
            if let Err(error) = served {
                tracing::warn!(%error, "embedded registry stopped");
            }
        });
        Ok(Self { shared, _serving: Some(Arc::new(Serving(serving.abort_handle()))) })
    }

    /// A registry named `host` that nobody can connect to: it answers what [`Self::answer`] is given.
    pub fn in_process(host: &str, options: Options, clock: Clock) -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let shared = Shared::new(options, clock, address, host.to_owned(), Connections::default());
        Self { shared, _serving: None }
    }

    /// Answers one request as if it had come over a connection. Fails where that would have been cut.
    pub async fn answer(&self, request: http::Request<Bytes>) -> io::Result<http::Response<Bytes>> {
        let cut = Cut::default();
        let is_head = request.method() == http::Method::HEAD;
        let request = request.map(axum::body::Body::from);
        let response = routes::serve(Arc::clone(&self.shared), cut.clone(), request).await;
        cut.check()?;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
        Ok(http::Response::from_parts(parts, if is_head { Bytes::new() } else { body }))
    }

    /// Where it listens; the unspecified address when it does not.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The registry part of a reference: `127.0.0.1:PORT` where it listens.
    pub fn host(&self) -> String {
        self.shared.host.clone()
    }

    // --- contents, without HTTP: no credentials, no log entry, no check of children ---

    /// Stores a blob and returns its digest.
    pub fn put_blob(&self, repository: &str, content: impl Into<Bytes>) -> String {
        self.shared.state().store.put_blob(repository, content.into())
    }

    /// Stores a manifest or an index, points `tag` at it when given, and returns its digest. What it refers to need
    /// not exist, so that a scenario can push an index before its children.
    pub fn push_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        content: impl Into<Bytes>,
    ) -> String {
        self.shared.state().store.put_manifest(repository, tag, media_type, content.into())
    }

    /// Stores an image, points `tag` at it when given, and returns its digest.
    pub fn push_image(&self, repository: &str, tag: Option<&str>, image: &Image) -> String {
        let mut state = self.shared.state();
        state.store.put_blob(repository, image.layer.bytes.clone());
        state.store.put_blob(repository, image.config.bytes.clone());
        let Content { media_type, bytes, .. } = &image.manifest;
        state.store.put_manifest(repository, tag, media_type, bytes.clone())
    }

    /// Stores an index with its images, points `tag` at it when given, and returns its digest.
    pub fn push_index(&self, repository: &str, tag: Option<&str>, index: &Index) -> String {
        for image in &index.images {
            self.push_image(repository, None, image);
        }
        self.push_manifest(repository, tag, index.manifest.media_type, index.manifest.bytes.clone())
    }

    /// Points a tag at a stored manifest. Fails if the repository does not hold `digest`.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) -> Result<(), StoreError> {
        self.shared.state().store.tag(repository, tag, digest)
    }

    /// Removes a tag, its manifest stays; whether there was one.
    pub fn delete_tag(&self, repository: &str, tag: &str) -> bool {
        self.shared.state().store.delete_tag(repository, tag)
    }

    /// Removes a manifest and every tag that points to it; indexes that name it stay. Whether there was one.
    pub fn delete_manifest(&self, repository: &str, digest: &str) -> bool {
        self.shared.state().store.delete_manifest(repository, digest)
    }

    /// Removes a blob, manifests that name it stay; whether there was one.
    pub fn delete_blob(&self, repository: &str, digest: &str) -> bool {
        self.shared.state().store.delete_blob(repository, digest)
    }

    /// The digest a tag points to.
    pub fn resolve(&self, repository: &str, tag: &str) -> Option<String> {
        self.shared.state().store.resolve(repository, tag)
    }

    /// Every tag of a repository in byte order; empty when the repository is absent.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.shared.state().store.tags(repository).unwrap_or_default()
    }

    /// Media type and bytes of a manifest or index by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Bytes)> {
        let state = self.shared.state();
        let (_, manifest) = state.store.manifest(repository, reference)?;
        Some((manifest.media_type.clone(), manifest.content.clone()))
    }

    /// The bytes of a blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.shared.state().store.blob(repository, digest)
    }

    /// The config JSON of an image as a container runtime on `platform` (`os/architecture`) would get it, from a
    /// reference `127.0.0.1:PORT/REPOSITORY[:TAG][@DIGEST]` to this registry. `None` when any part is absent.
    pub fn image_config(&self, reference: &str, platform: &str) -> Option<Value> {
        let path = reference.strip_prefix(&self.host())?.strip_prefix('/')?;
        let (repository, reference) = store::split_reference(path);
        self.shared.state().store.image_config(repository, reference, platform)
    }

    // --- behaviour ---

    /// Changes who may read and write from the next request on; tokens already given stay good until they expire.
    pub fn set_auth(&self, auth: Auth) {
        self.shared.state().auth = auth;
    }

    /// Forgets every token given so far, as a registry does that restarts or revokes.
    pub fn revoke_tokens(&self) {
        self.shared.state().tokens = Tokens::default();
    }

    /// Asks `hook` before every request, until it is replaced; `None` removes it. It runs under the registry's
    /// lock: it must not call back into this registry.
    pub fn set_fault(&self, hook: Option<FaultHook>) {
        self.shared.state().fault = hook;
    }

    /// Adds a rule to the fault plan. The hook of [`Self::set_fault`] goes first; of the rules that are due the one
    /// added first acts.
    pub fn plan(&self, rule: Rule) {
        self.shared.state().plan.add(rule);
    }

    /// Ends all faults of the plan, habits among them.
    pub fn clear_plan(&self) {
        self.shared.state().plan.clear();
    }

    /// Answers as that registry does from now on: its rules are added to the plan, its way to page is taken. Who may
    /// read is left as it is, see [`Habit::auth`].
    pub fn adopt(&self, habit: Habit) {
        let mut state = self.shared.state();
        for rule in habit.rules(&self.host()) {
            state.plan.add(rule);
        }
        if let Some(tags) = habit.page_tags_max() {
            state.page_tags_max = Some(tags);
        }
    }

    // --- the log ---

    /// The requests since the start or the last [`Self::clear_log`], oldest first; the newest 200,000 are kept.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.state().log.records()
    }

    /// How many logged requests satisfy `wanted`.
    pub fn count(&self, wanted: impl Fn(&RequestRecord) -> bool) -> usize {
        self.shared.state().log.count(wanted)
    }

    /// How many requests came since the start or the last [`Self::clear_log`].
    pub fn total(&self) -> u64 {
        self.shared.state().log.total()
    }

    /// How many connections were accepted since the start, whatever became of them.
    pub fn connections(&self) -> u64 {
        self.shared.connections.count()
    }

    /// Forgets the logged requests and starts counting at 0.
    pub fn clear_log(&self) {
        self.shared.state().log.clear();
    }
}
