//! The controller's own life on a real API server: kill, stop, pages, drift, rest.

use std::process::Command;
use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::real::Real;

const SUITE: &str = "controller";

#[tokio::test]
async fn a_killed_controller_goes_on_where_it_was() {
    let Some(mut real) = Real::start(SUITE).await else { return };
    real.create("acme", real.spec("acme-release")).await;
    real.push("app", "main-1").await;
    real.ask("acme").await;
    real.wait_for("acme", "CandidateComplete", "False/Missing", "worker linux/amd64 missing").await;
    // Starting anew kills with SIGKILL.
    real.start_controller().await;
    real.push("worker", "main-1").await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1 is promoted (sequence 1)").await;
    real.wait_for_target("acme-release", "main-1").await;
}

#[tokio::test]
async fn a_target_that_is_changed_or_deleted_is_put_back() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    let mut spec = real.spec("acme-release");
    // No poll comes while this test waits: it is the watch that tells.
    spec["interval"] = json!("10m");
    real.create("acme", spec).await;
    real.wait_for_target("acme-release", "main-1").await;
    let patch = Patch::Merge(json!({"data": {"RELEASE_TAG": "by-hand"}}));
    real.config_maps().patch("acme-release", &PatchParams::default(), &patch).await.unwrap();
    real.wait_for_target("acme-release", "main-1").await;
    real.config_maps().delete("acme-release", &DeleteParams::default()).await.unwrap();
    real.wait_for_target("acme-release", "main-1").await;
}

#[tokio::test]
async fn at_rest_nothing_is_written() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1").await;
    let version = async || real.sets().get("acme").await.unwrap().metadata.resource_version;
    let before = (version().await, lists(&real).await, sum(&real, WRITES).await);
    assert!(before.2 >= 2, "the commit and its target were counted");
    // Three more lists are one and a half intervals of looks.
    let waited = tokio::time::timeout(Duration::from_secs(40), async {
        while lists(&real).await < before.1 + 4 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    waited.await.expect("the safety poll goes on");
    assert_eq!(version().await, before.0, "L5: a look at rest wrote something");
    assert_eq!(sum(&real, WRITES).await, before.2, "L5: no write of any kind");
}

/// Writes to the API server, Events included.
const WRITES: &str = "tidegate_api_writes_total{";

/// Requests to the registry so far, by the controller's own count.
async fn lists(real: &Real) -> u64 {
    sum(real, "tidegate_registry_requests_total{").await
}

/// Sum of a counter over its labels.
async fn sum(real: &Real, counter: &str) -> u64 {
    let text = real.page("/metrics").await;
    let counts = text.lines().filter(|line| line.starts_with(counter));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn pages_answer_and_a_stop_is_graceful() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let arguments = real.arguments();
    let mut controller = Command::new("/usr/bin/env").args(&arguments).spawn().unwrap();
    let page = |path: &str| format!("http://127.0.0.1:{}{path}", real.port);
    let ready = tokio::time::timeout(Duration::from_secs(20), async {
        while !reqwest::get(page("/readyz")).await.is_ok_and(|reply| reply.status().is_success()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let is_ready = ready.await.is_ok();
    let health = real.page("/healthz").await;
    let pid = controller.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Some(status) = controller.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    if ended.is_err() {
        controller.kill().unwrap();
    }
    assert!(is_ready && health == "ok\n");
    assert_eq!(ended.expect("SIGTERM ends it within 10 s").code(), Some(0));
}

#[test]
fn without_a_cluster_it_says_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["controller", "--http-addr=127.0.0.1:0"])
        .env_clear()
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.contains("failed to find a cluster") && talk.contains("hint: set KUBECONFIG"), "{talk}");
}
