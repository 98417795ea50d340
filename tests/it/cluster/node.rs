//! A real cluster with one node: kubelet, containerd and runc run real pods. Started and ended by `hack/cluster run`, which
//! holds the read end of a pipe from us: however this process ends, the pipe closes and the cluster is taken down.
//!
//! Tests share one ([`NodeCluster::shared`]) and keep apart by namespaces and repositories of their own. Garbage collection is
//! real here: an object whose owner does not exist is deleted, so Jobs need a ReleaseSet that exists. Pods reach the API
//! server as in any cluster, and the registry ([`NodeCluster::pod_registry_host`]), and nothing else: no DNS, no services.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use tidegate::telemetry::clock::Clock;
use tokio::sync::OnceCell;
use url::Url;

use super::control_plane;
use super::push::Pusher;
use super::tools::skip;

/// Name of the one node; its platform is linux/amd64.
pub const NODE: &str = "tidegate";

/// How long the cluster's own controllers may take to give a new namespace what it has by default: 60 times the usual half
/// second, for machines that build beside it.
const NAMESPACE_DEADLINE: Duration = Duration::from_secs(30);

/// A running cluster with a Ready node, the CRD of ReleaseSets and a registry.
#[derive(Debug)]
pub struct NodeCluster {
    folder: PathBuf,
    registry: Url,
    took: SignedDuration,
    script: Child,
    /// Held open as long as the cluster shall run.
    pipe: Option<ChildStdin>,
}

// === impl NodeCluster ===

impl NodeCluster {
    /// The cluster of this process, started by the first test that asks; `None` after one printed line on a machine that
    /// cannot run a node (a panic under `CI`). It ends with this process: `hack/cluster sweep` waits for that.
    pub async fn shared(suite: &str) -> Option<&'static Self> {
        static SHARED: OnceCell<Result<NodeCluster, String>> = OnceCell::const_new();
        let started = SHARED.get_or_init(|| async {
            check()?;
            Ok(start())
        });
        match started.await {
            Ok(cluster) => Some(cluster),
            Err(why) => {
                skip(suite, why);
                None
            }
        }
    }

    /// A cluster of the caller's own, ended on drop; for tests of starting and ending.
    pub fn start_own(suite: &str) -> Option<Self> {
        match check() {
            Ok(()) => Some(start()),
            Err(why) => {
                skip(suite, &why);
                None
            }
        }
    }

    /// A new client with the rights of `system:masters`. One per test: a client belongs to the runtime that made it.
    pub async fn client(&self) -> Client {
        control_plane::client(&self.kubeconfig()).await
    }

    /// A kubeconfig file with the same rights, for the built binary.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Where the cluster's registry answers: plain HTTP, and containerd pulls from it. Any other registry on 127.0.0.1 is
    /// pulled from as well.
    pub fn registry(&self) -> &Url {
        &self.registry
    }

    /// `host:port` of the registry, the first part of an image's repository name.
    pub fn registry_host(&self) -> String {
        self.registry().authority().to_owned()
    }

    /// The same registry by the name that pods reach it by; kubelet pulls by it too.
    pub fn pod_registry_host(&self) -> String {
        let address = fs::read_to_string(self.folder.join("registry.pod-address"));
        address.expect("a ready cluster names it").trim_end().to_owned()
    }

    /// Pushes to the registry.
    pub fn pusher(&self) -> Pusher {
        Pusher::new(self.registry())
    }

    /// How long it took from nothing to Ready.
    pub fn took(&self) -> SignedDuration {
        self.took
    }

    /// The folder of its files: `logs/kubelet.log` and the like. Removed with the cluster.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills the script that keeps the cluster, as an out-of-memory killer would: only `hack/cluster sweep` ends it then.
    pub fn kill_script(&mut self) {
        self.script.kill().expect("it is our child");
        self.script.wait().expect("it is our child");
    }

    /// Makes a namespace whose name begins with `prefix`, in which only pods of the PodSecurity standard "restricted" may
    /// run, and waits until pods can be made there.
    pub async fn namespace(&self, client: &Client, prefix: &str) -> String {
        let restricted = ("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned());
        let metadata = ObjectMeta {
            generate_name: Some(format!("{prefix}-")),
            labels: Some([restricted].into()),
            ..ObjectMeta::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = Namespace { metadata, ..Namespace::default() };
        let made =
            namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace can be made");
        let name = made.metadata.name.expect("the server names it");
        // A pod without its service account is refused, and the Job controller then waits.
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
        let there =
            await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some());
        tokio::time::timeout(NAMESPACE_DEADLINE, there)
            .await
            .expect("the controller manager makes the account in time")
            .expect("it can be watched");
        name
    }
}

impl Drop for NodeCluster {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The script ends when nothing is left; a failure here leaves nothing to do in a drop.
        let _ = self.script.wait();
    }
}

/// Asks `hack/cluster` what this machine lacks; its one line is the error.
fn check() -> Result<(), String> {
    let output = script("check").output().expect("hack/cluster runs");
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim().trim_start_matches("hack/cluster: ").to_owned())
}

/// # Panics
/// With the script's own words when the cluster did not start.
fn start() -> NodeCluster {
    super::install_crypto();
    let clock = Clock::system();
    let begun = clock.now();
    let log = super::server::folder("node").join("log");
    let mut script = script("run")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).expect("the folder is ours"))
        // A Ctrl+C is for us; the script cleans up once we are gone.
        .process_group(0)
        .spawn()
        .expect("hack/cluster runs");
    let pipe = script.stdin.take();
    let mut line = String::new();
    let output = script.stdout.take().expect("it is piped");
    // The script has a time limit of its own.
    BufReader::new(output).read_line(&mut line).expect("the script writes text");
    let said = fs::read_to_string(&log).unwrap_or_default();
    let _ = fs::remove_dir_all(log.parent().expect("it lies in a folder"));
    let Some(folder) = line.trim_end().strip_prefix("ready ").map(PathBuf::from) else {
        let _ = script.wait();
        panic!("the node cluster did not start:\n{said}");
    };
    let address = fs::read_to_string(folder.join("registry.address")).expect("a ready cluster names it");
    let registry = Url::parse(&format!("http://{}/", address.trim_end())).expect("the URL is valid");
    NodeCluster { folder, registry, took: clock.now().duration_since(begun), script, pipe }
}

fn script(command: &str) -> Command {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster"));
    script.arg(command);
    script
}
