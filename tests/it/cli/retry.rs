//! `tidegate retry` against an API server over HTTP.

use serde_json::{Value, json};
use tidegate::embedded::api::Verb;

use super::cluster::Kube;
use super::fixture::{Call, Folder};

const KEY: &str = "retry.tidegate.dev/worker-boots";

fn failed_candidate() -> Value {
    json!({"observedGeneration": 1, "candidates": [{
        "tag": "main-7",
        "phase": "Failed",
        "firstSeen": "2026-01-01T00:00:00Z",
        "gates": [{"name": "worker-boots", "state": "Failed", "message": "failed: exited with code 3"}],
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_is_shown_and_made_once() {
    let kube = Kube::with_crd("retry").await;
    kube.create("shop").await;
    kube.set_status("shop", failed_candidate()).await;
    let first = kube.call(&["retry", "shop", "--gate", "worker-boots", "--yes"]).await;
    insta::assert_snapshot!("retry_first", first.whole());
    assert_eq!(kube.annotations("shop"), json!({KEY: "1"}));
    let again = kube.call(&["retry", "shop", "-g", "worker-boots", "-n", "acme", "-y"]).await;
    assert_eq!(again.code, 0, "{}", again.whole());
    assert!(again.stdout.contains(&format!("- {KEY}: \"1\"\n+ {KEY}: \"2\"\n")), "{}", again.whole());
    assert_eq!(kube.annotations("shop"), json!({KEY: "2"}));
    let patches = kube.api.count(|record| record.verb == Verb::Patch && record.actor == "cli");
    assert_eq!(patches, 2, "{:?}", kube.api.writes());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_when_nobody_agreed() {
    let kube = Kube::with_crd("retry-no").await;
    kube.create("shop").await;
    insta::assert_snapshot!(
        "retry_nobody",
        kube.call(&["retry", "shop", "--gate", "worker-boots"]).await.whole()
    );
    assert_eq!(kube.annotations("shop"), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named_with_what_is() {
    let kube = Kube::with_crd("retry-unknown").await;
    kube.create("shop").await;
    kube.create("bakery").await;
    let retry =
        async |name: &str, gate: &str| kube.call(&["retry", name, "--gate", gate, "-y"]).await.whole();
    insta::assert_snapshot!("retry_unknown_gate", retry("shop", "boots").await);
    insta::assert_snapshot!("retry_no_smoke_gate", retry("shop", "same-commit").await);
    insta::assert_snapshot!("retry_unknown_set", retry("shop2", "worker-boots").await);
    let elsewhere = kube.call(&["retry", "shop", "--gate", "worker-boots", "-n", "other", "-y"]).await;
    assert!(elsewhere.stderr.contains("the namespace has none"), "{}", elsewhere.whole());
    assert_eq!((kube.annotations("shop"), kube.annotations("bakery")), (Value::Null, Value::Null));
}

/// Somebody took the annotation away: a lower count than that of the verdict would change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_count_goes_beyond_that_of_the_verdict() {
    let kube = Kube::with_crd("retry-count").await;
    kube.create("shop").await;
    let object = kube.api.object("tidegate.dev", "releasesets", "acme", "shop").unwrap();
    let spec = serde_json::from_value(object["spec"].clone()).unwrap();
    let policy = tidegate::api::validate::policy(&spec, 1).unwrap();
    let tidegate::engine::policy::GateKind::Smoke(smoke) = &policy.gates[0].kind else {
        panic!("{policy:?}")
    };
    let binding = format!("ghcr.io/acme/worker@sha256:{} linux/amd64 {}", "ab".repeat(32), smoke.hash);
    let verdict = json!({"binding": binding, "outcome": "Failed", "at": "2026-01-01T00:00:00Z", "retry": 4});
    kube.set_status("shop", json!({"observedGeneration": 1, "verdicts": [verdict]})).await;
    let answer = kube.call(&["retry", "shop", "--gate", "worker-boots", "-y"]).await;
    assert_eq!(answer.code, 0, "{}", answer.whole());
    assert_eq!(kube.annotations("shop"), json!({KEY: "5"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_or_a_crd_the_next_step_is_said() {
    let nowhere = Folder::new("no-kubeconfig");
    let call = Call::new(&["retry", "shop", "--gate", "boots"]).env("KUBECONFIG", nowhere.0.join("none"));
    let answer = call.answer();
    assert_eq!(answer.code, 1, "{}", answer.whole());
    assert!(
        answer.stderr.contains("failed to find a cluster") && answer.stderr.contains("hint: set KUBECONFIG"),
        "{}",
        answer.whole()
    );
    let kube = Kube::start("retry-no-crd").await;
    let answer = kube.call(&["retry", "shop", "--gate", "boots"]).await;
    insta::assert_snapshot!("retry_no_crd", answer.whole());
}
