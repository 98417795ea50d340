//! Runs helm as an administrator of one cluster, with files of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cluster::server::folder;

/// The namespace of the release, which is its name too.
pub const RELEASE: &str = "tidegate";
/// How long helm waits for what it made to be ready: ten times the usual, for machines that build beside it.
const TIMEOUT: &str = "--timeout=1m";

/// Helm and the cluster that it works on.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

// === impl Helm ===

impl Helm {
    pub fn new(program: &Path, kubeconfig: PathBuf) -> Self {
        Self { program: program.to_owned(), kubeconfig, folder: folder("helm") }
    }

    /// Installs the chart and waits until its pods are ready.
    pub async fn install(&self, chart: &Path, values: &Value) {
        self.must(&["install", RELEASE, &chart.display().to_string(), "--wait", "--values=-"], values).await;
    }

    /// Upgrades to the chart, whatever it was, and waits until its pods are ready.
    pub async fn upgrade(&self, chart: &Path, values: &Value) {
        self.must(&["upgrade", RELEASE, &chart.display().to_string(), "--wait", "--values=-"], values).await;
    }

    /// Goes back to a revision, and waits until its pods are ready.
    pub async fn rollback(&self, revision: u32) {
        self.must(&["rollback", RELEASE, &revision.to_string(), "--wait"], &Value::Null).await;
    }

    /// Removes the release and waits until its pods are gone.
    pub async fn uninstall(&self) {
        self.must(&["uninstall", RELEASE, "--wait"], &Value::Null).await;
    }

    /// Runs the chart's tests, and answers what their pods said.
    pub async fn test(&self) -> String {
        self.must(&["test", RELEASE, "--logs"], &Value::Null).await
    }

    async fn must(&self, arguments: &[&str], values: &Value) -> String {
        self.run(arguments, values)
            .await
            .unwrap_or_else(|said| panic!("helm {}:\n{said}", arguments.join(" ")))
    }

    /// What it printed; the Err is its words. Others work on while it runs.
    async fn run(&self, arguments: &[&str], values: &Value) -> Result<String, String> {
        let mut helm = Command::new(&self.program);
        helm.args(arguments)
            .args(["--namespace", RELEASE, TIMEOUT])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", self.folder.join("cache"))
            .env("HELM_CONFIG_HOME", self.folder.join("config"))
            .env("HELM_DATA_HOME", self.folder.join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let values = values.to_string();
        let ended = tokio::task::spawn_blocking(move || {
            let mut helm = helm.spawn().expect("helm runs");
            // A command that takes no values may have ended before.
            let _ = helm.stdin.take().expect("it is piped").write_all(values.as_bytes());
            helm.wait_with_output().expect("helm ends")
        });
        let output = ended.await.expect("the thread ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
