//! A real API server: etcd and kube-apiserver on loopback, started once per test process and shared by its tests.
//!
//! No controller and no node runs here: Jobs stay as they were written, owners are not garbage-collected, a deleted namespace
//! stays `Terminating`. Tests keep apart by namespaces of their own ([`ControlPlane::namespace`]).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::audit::{self, Request, Write};
use super::certificates::{Authority, Identity, write_service_account_keys};
use super::declared::{self, Record};
use super::server::{Server, folder, free_port};
use super::tools::Tools;

/// What [`ControlPlane::shared`] needs, for `hack/tools`.
pub const TOOLS: [&str; 2] = ["etcd", "kube-apiserver"];

/// A running etcd and kube-apiserver, and how to reach them as administrator.
pub struct ControlPlane {
    url: String,
    authority: Authority,
    kubeconfig: PathBuf,
    files: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    etcd_url: String,
    /// Ends before etcd: fields are dropped in this order. `None` once ended.
    apiserver: Mutex<Option<Server>>,
    etcd: Mutex<Option<Server>>,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// The control plane of this process, started by the first test that asks and ready when this returns;
    /// `None` after one printed line when the tools are missing (a panic under `CI`).
    pub async fn shared(suite: &str) -> Option<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        let tools = Tools::require(suite, &TOOLS)?;
        Some(SHARED.get_or_init(|| Self::start(tools)).await)
    }

    /// Another one of this process, on which no controller of Flux ever runs. On [`Self::shared`] image-reflector-controller
    /// writes a finalizer and a status to each ImagePolicy, at any moment once a suite has started it: a test that compares
    /// whole objects would see that, or not.
    pub async fn without_flux(suite: &str) -> Option<&'static Self> {
        static WITHOUT_FLUX: OnceCell<ControlPlane> = OnceCell::const_new();
        let tools = Tools::require(suite, &TOOLS)?;
        Some(WITHOUT_FLUX.get_or_init(|| Self::start(tools)).await)
    }

    /// One of the caller's own, ended on drop; for tests that change what all share, such as definitions.
    pub async fn start_own(suite: &str) -> Option<Self> {
        Some(Self::start(Tools::require(suite, &TOOLS)?).await)
    }

    /// A new client with the rights of `system:masters`. One per test: a client belongs to the runtime that made it.
    pub async fn client(&self) -> Client {
        client(&self.kubeconfig).await
    }

    /// A kubeconfig file with the same rights, for the built binary.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig file for a user of that name and group, who may do only what RBAC objects of the test allow.
    pub fn kubeconfig_of(&self, user: &str, group: &str) -> PathBuf {
        let path = self.files.join(format!("{user}.kubeconfig"));
        write_kubeconfig(&path, &self.url, &self.authority, &self.authority.user(user, group));
        path
    }

    /// What was written to objects of that namespace so far, oldest first; of which kinds: [`audit::POLICY`].
    pub fn writes(&self, namespace: &str) -> Vec<Write> {
        audit::read(&self.files.join("audit.log"), namespace)
    }

    /// Messages by which admission policies in the mode Audit noted objects of that namespace.
    pub fn noted(&self, namespace: &str) -> Vec<String> {
        audit::noted(&self.files.join("audit.log"), namespace)
    }

    /// The distinct requests of that user so far, if it is a service account: `system:serviceaccount:NAMESPACE:NAME`.
    pub fn requests(&self, user: &str) -> BTreeSet<Request> {
        audit::requests(&self.files.join("audit.log"), user)
    }

    /// Everything that a controller wrote so far, by its user name as for [`Self::requests`], held against what its sets declare.
    pub fn record(&self, user: &str) -> Record {
        let log = fs::read_to_string(self.files.join("audit.log")).expect("the API server writes its log");
        declared::record(&log, user)
    }

    /// Makes a namespace whose name begins with `prefix` and is not used by any other test.
    pub async fn namespace(&self, client: &Client, prefix: &str) -> String {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let api: Api<Namespace> = Api::all(client.clone());
        let made = api.create(&PostParams::default(), &namespace).await.expect("a namespace can be made");
        made.metadata.name.expect("the server names it")
    }

    async fn start(tools: Tools) -> Self {
        super::install_crypto();
        let (etcd, etcd_url) = start_etcd(&tools).await;
        let files = folder("apiserver");
        let authority = Authority::new();
        let port = free_port();
        let url = format!("https://127.0.0.1:{port}");
        write_pair(&files, "server", &authority.server());
        write_pair(
            &files,
            "kubelet-client",
            &authority.user("kube-apiserver-kubelet-client", "system:masters"),
        );
        fs::write(files.join("ca.crt"), &authority.certificate).expect("the folder is ours");
        fs::write(files.join("audit-policy.yaml"), audit::POLICY).expect("the folder is ours");
        write_service_account_keys(&files);
        let kubeconfig = files.join("admin.kubeconfig");
        write_kubeconfig(&kubeconfig, &url, &authority, &authority.user("admin", "system:masters"));

        let plane = Self {
            url,
            authority,
            kubeconfig,
            files,
            program: tools.path("kube-apiserver").to_owned(),
            arguments: apiserver_arguments(port, &etcd_url),
            etcd_url,
            apiserver: Mutex::new(None),
            etcd: Mutex::new(Some(etcd)),
        };
        plane.serve().await;
        plane
    }

    /// Starts the API server in its folder, and waits until it is ready.
    async fn serve(&self) {
        let mut apiserver =
            Server::start("kube-apiserver", self.files.clone(), &self.program, &self.arguments)
                .expect("kube-apiserver can be started");
        let client = client(&self.kubeconfig).await;
        apiserver
            .ready(async || {
                let request = http::Request::get("/readyz").body(Vec::new()).expect("the request is valid");
                client.request_text(request).await.is_ok()
            })
            .await;
        *lock(&self.apiserver) = Some(apiserver);
    }

    /// Where the API server answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The authority that signed the API server's certificate, as PEM text.
    pub fn authority(&self) -> &str {
        &self.authority.certificate
    }

    /// Sends a signal to the API server, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        lock(&self.apiserver).as_ref().expect("it runs").signal(name);
    }

    /// Kills the API server. Its folder stays for [`Self::begin`].
    pub fn kill(&self) {
        // A server takes its folder with it when it ends, by name: so it is not there under its name.
        let kept = self.files.with_extension("kept");
        fs::rename(&self.files, &kept).expect("the folder is ours");
        drop(lock(&self.apiserver).take());
        fs::rename(&kept, &self.files).expect("the folder is ours");
    }

    /// Starts the API server anew, on the same etcd and port.
    pub async fn begin(&self) {
        self.serve().await;
    }

    /// Drops all versions of all objects but the last from etcd.
    pub async fn compact(&self) {
        let http = reqwest::Client::new();
        let ask = async |path: &str, body: Value| -> Value {
            let url = format!("{}/v3/kv/{path}", self.etcd_url);
            let reply = http.post(url).body(body.to_string()).send().await.expect("etcd answers");
            let text = reply.error_for_status().expect("etcd agrees").text().await.expect("etcd answers");
            serde_json::from_str(&text).expect("etcd answers JSON")
        };
        let now = ask("range", json!({"key": BASE64_STANDARD.encode("/"), "limit": 1})).await;
        let revision = now["header"]["revision"].as_str().expect("a revision").to_owned();
        ask("compaction", json!({"revision": revision, "physical": true})).await;
    }

    /// Ends both servers; nothing else of it can be used then. For planes that are not dropped.
    pub fn end(&self) {
        drop(lock(&self.apiserver).take());
        drop(lock(&self.etcd).take());
    }
}

fn lock(server: &Mutex<Option<Server>>) -> MutexGuard<'_, Option<Server>> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn start_etcd(tools: &Tools) -> (Server, String) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let peer_url = format!("http://127.0.0.1:{}", free_port());
    let arguments = [
        "--data-dir=data".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer_url}"),
        // The data is thrown away; a test run shall not wait for the disk.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    let mut etcd =
        Server::start("etcd", folder("etcd"), tools.path("etcd"), &arguments).expect("etcd can be started");
    let health = format!("{url}/health");
    etcd.ready(async || reqwest::get(&health).await.is_ok_and(|reply| reply.status().is_success())).await;
    (etcd, url)
}

/// Relative file names: a server runs in its own folder.
fn apiserver_arguments(port: u16, etcd_url: &str) -> Vec<String> {
    let mut arguments = vec![format!("--secure-port={port}"), format!("--etcd-servers={etcd_url}")];
    arguments.extend(
        [
            "--bind-address=127.0.0.1",
            "--cert-dir=generated",
            "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt",
            "--authorization-mode=RBAC,Node",
            // Nothing makes service accounts here, so nothing may demand them of a pod.
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=service-accounts.pub",
            "--service-account-signing-key-file=service-accounts.key",
            "--service-cluster-ip-range=10.96.0.0/16",
            // On by default from 1.35; the guard judges them.
            "--feature-gates=ImageVolume=true",
            "--audit-policy-file=audit-policy.yaml",
            "--audit-log-path=audit.log",
            "--kubelet-client-certificate=kubelet-client.crt",
            "--kubelet-client-key=kubelet-client.key",
        ]
        .map(str::to_owned),
    );
    arguments
}

fn write_pair(folder: &Path, name: &str, identity: &Identity) {
    fs::write(folder.join(format!("{name}.crt")), &identity.certificate).expect("the folder is ours");
    fs::write(folder.join(format!("{name}.key")), &identity.key).expect("the folder is ours");
}

/// JSON is YAML, and needs no serializer of its own.
fn write_kubeconfig(path: &Path, url: &str, authority: &Authority, user: &Identity) {
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [{ "name": "tests", "cluster": {
            "server": url, "certificate-authority-data": encode(&authority.certificate) } }],
        "users": [{ "name": "tests", "user": {
            "client-certificate-data": encode(&user.certificate), "client-key-data": encode(&user.key) } }],
        "contexts": [{ "name": "tests", "context": { "cluster": "tests", "user": "tests", "namespace": "default" } }],
    });
    // Renamed into place: another test may be reading the file of the same user.
    let new = path.with_extension(format!("{:?}.new", std::thread::current().id()));
    fs::write(&new, config.to_string()).expect("the folder is ours");
    fs::rename(new, path).expect("the folder is ours");
}

/// A client of the user in that file.
pub async fn client(kubeconfig: &Path) -> Client {
    super::install_crypto();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig is ours");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the kubeconfig is whole");
    // A test shall see what the server answered first.
    config.default_retry = false;
    Client::try_from(config).expect("the configuration is whole")
}
