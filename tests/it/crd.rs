//! The definition of ReleaseSets on a real API server: it is accepted, it defaults, it refuses what `lint` refuses with the
//! same words, and it never lets a promoted release go back (S4).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::crd::crd;
use tidegate::api::status::{lost_fields, merge_into};
use tidegate::api::{ReleaseSet, ReleaseSetStatus};

use crate::cluster::control_plane::ControlPlane;

const SUITE: &str = "custom resource";
/// How long an established definition may take to be served: ten times what it takes.
const SERVED_DEADLINE: Duration = Duration::from_secs(10);
const SERVED_PACE: Duration = Duration::from_millis(20);

/// Installs the definition and waits until it is served. Harmless when another suite did so already.
pub async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    match api.create(&PostParams::default(), &crd()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("the definition is refused: {error:?}"),
    }
    await_condition(api, "releasesets.tidegate.dev", conditions::is_crd_established())
        .await
        .expect("the definition becomes established");
    // Established is not served: until its storage is made the answer is 429.
    let sets: Api<ReleaseSet> = Api::all(client.clone());
    let served = tokio::time::timeout(SERVED_DEADLINE, async {
        while sets.list_metadata(&ListParams::default().limit(1)).await.is_err() {
            tokio::time::sleep(SERVED_PACE).await;
        }
    });
    served.await.expect("the definition is served");
}

/// A client with the definition installed and a namespace of its own.
async fn prepare() -> Option<(Client, String)> {
    let plane = ControlPlane::shared(SUITE).await?;
    let client = plane.client().await;
    install(&client).await;
    let namespace = plane.namespace(&client, "crd").await;
    Some((client, namespace))
}

/// What the server says to a YAML text that is created by strict server-side dry-run.
async fn dry_run(client: &Client, namespace: &str, text: &str) -> Result<(), String> {
    let version = text.lines().find_map(|line| line.strip_prefix("apiVersion: ")).expect("an apiVersion");
    let uri = format!("/apis/{version}/namespaces/{namespace}/releasesets?dryRun=All&fieldValidation=Strict");
    send(client, "POST", &uri, "application/yaml", text.to_owned()).await.map(|_| ())
}

async fn send(client: &Client, method: &str, uri: &str, kind: &str, body: String) -> Result<Value, String> {
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("Content-Type", kind)
        .body(body.into_bytes())
        .expect("the request is valid");
    match client.request_text(request).await {
        Ok(text) => Ok(serde_json::from_str(&text).expect("the reply is JSON")),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("no answer: {error:?}"),
    }
}

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Files of `examples/` and its folders that hold a ReleaseSet, sorted.
pub fn examples() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec!["examples".to_owned()]);
    while let Some(name) = folders.pop() {
        for path in folder(&name) {
            if path.is_dir() {
                folders.push(path.display().to_string());
            } else if path.extension().is_some_and(|extension| extension == "yaml")
                && fs::read_to_string(&path).unwrap().contains("\nkind: ReleaseSet\n")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn bad_files_are_refused_with_the_words_of_lint() {
    let Some((client, namespace)) = prepare().await else { return };
    let mut wrong = Vec::new();
    let paths = folder("tests/corpus/bad");
    for path in &paths {
        let text = fs::read_to_string(path).unwrap();
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        // Where the server cannot hold a rule, or says it in words of its own, the file says so.
        let expected =
            line("# server: ").or_else(|| line("# expect: ")).expect("the file says what is expected");
        let answer = dry_run(&client, &namespace, &text).await;
        let is_right = match &answer {
            Ok(()) => expected == "accepts",
            Err(message) => message.contains(&expected),
        };
        if !is_right {
            wrong.push(format!("{}: expected `{expected}`, the server said {answer:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(paths.len() >= 40, "only {} files were tried", paths.len());
}

#[tokio::test]
async fn examples_are_accepted() {
    let Some((client, namespace)) = prepare().await else { return };
    for path in examples() {
        let text = fs::read_to_string(&path).unwrap();
        // An example names its own namespace; this suite has another.
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("  namespace: ")).collect();
        let text = lines.join(
            "
",
        );
        assert_eq!(dry_run(&client, &namespace, &text).await, Ok(()), "{}", path.display());
    }
}

/// A set with as little as possible, made for good.
async fn small_set(client: &Client, namespace: &str) -> Value {
    let set = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ReleaseSet",
        "metadata": {"name": "acme"},
        "spec": {
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {"policy": {"numerical": {}}},
        },
    });
    let uri = format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/releasesets");
    send(client, "POST", &uri, "application/json", set.to_string()).await.unwrap()
}

#[tokio::test]
async fn sequence_23_a_fresh_set_has_its_defaults_and_was_never_observed() {
    let Some((client, namespace)) = prepare().await else { return };
    let made = small_set(&client, &namespace).await;
    assert_eq!(made["status"], json!({"observedGeneration": -1}));
    assert_eq!(
        made["spec"],
        json!({
            "interval": "1m",
            "driftInterval": "10m",
            "platforms": ["linux/amd64"],
            "verify": "Manifests",
            "images": [{"name": "app", "repository": "ghcr.io/acme/app", "tagTemplate": "{tag}", "advisory": false}],
            "candidates": {"policy": {"numerical": {"order": "asc"}}, "maxFollowed": 5, "settle": "60s"},
            "deadline": "45m",
            "onTagMoved": "Report",
            "deletionPolicy": "Retain",
            "historyLimit": 10,
        })
    );
    let spec = serde_json::from_value(made["spec"].clone()).unwrap();
    assert!(tidegate::api::validate::policy(&spec, 1).is_ok(), "what the server stores is what we accept");
}

#[tokio::test]
async fn a_promoted_release_never_goes_back() {
    let Some((client, namespace)) = prepare().await else { return };
    small_set(&client, &namespace).await;
    let uri = format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/releasesets/acme/status");
    let write = async |status: Value| {
        let body = json!({ "status": status }).to_string();
        send(&client, "PATCH", &uri, "application/merge-patch+json", body).await
    };
    let promoted = |tag: &str, sequence: i64| json!({"promoted": {"tag": tag, "sequence": sequence, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []}});
    write(promoted("v5", 5)).await.unwrap();
    for (what, status) in [
        ("an older sequence", promoted("v4", 4)),
        ("another tag under the same sequence", promoted("v6", 5)),
        ("no release", json!({"promoted": null})),
        ("no status", Value::Null),
    ] {
        let refusal = write(status).await.expect_err(what);
        assert!(refusal.contains("status.promoted never goes back"), "{what}: {refusal}");
    }
    write(json!({"lastHandledReconcileAt": "now"})).await.unwrap();
    write(promoted("v5", 5)).await.unwrap();
    let forward = write(promoted("v4", 6)).await.unwrap();
    assert_eq!(forward["status"]["promoted"]["sequence"], 6, "a pin goes back by a new sequence");
    assert_eq!(forward["status"]["observedGeneration"], -1);
}

/// A status that uses every field.
fn full_status() -> ReleaseSetStatus {
    let (at, digest) = ("2026-01-01T00:00:00Z", format!("sha256:{}", "0a".repeat(32)));
    serde_json::from_value(json!({
        "observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": "False", "reason": "NothingPromoted", "message": "m".repeat(32_768),
            "lastTransitionTime": at, "observedGeneration": 1}],
        "promoted": {"tag": "v1", "sequence": 1, "at": at, "revision": "3f9ac1d", "generation": 1, "images": [
            {"name": "app", "repository": "ghcr.io/acme/app", "tag": "v1", "digest": digest,
                "platforms": [{"platform": "linux/amd64", "digest": digest}]}]},
        "floor": {"tag": "v1", "key": "1"},
        "history": [{"tag": "v1", "sequence": 1, "at": at, "digests": {"app": digest}}],
        "candidates": [{"tag": "v2", "phase": "Testing", "firstSeen": at, "completeAt": at, "changedAt": at,
            "digests": {"app": digest}, "unknownSince": at, "clock": {"consumed": "12m", "runningSince": at},
            "blockedBy": "app linux/amd64 missing", "blockedSince": at,
            "cells": [{"image": "app", "platform": "linux/amd64", "required": true, "state": "Unknown", "reason": "503"}],
            "gates": [{"name": "boots", "state": "Running", "message": "waits for a node"}]}],
        "verdicts": [{"binding": "b", "outcome": "Passed", "at": at, "exitCode": 0, "message": "m"}],
        "recent": [{"tag": "v0", "outcome": "Superseded", "at": at, "message": "m"}],
        "targets": [{"name": "config", "state": "Applied", "sequence": 1, "since": at, "message": "m"}],
        "summary": {"candidate": "v2", "images": "5/6", "gates": "0/1", "blockedBy": "m", "blockedSince": at},
        "listed": {"tags": 312, "matched": 40, "notNumbers": 1},
        "lastHandledReconcileAt": "now",
    }))
    .unwrap()
}

#[tokio::test]
async fn sequence_23_the_server_keeps_every_field_that_is_written_and_lost_ones_are_named() {
    let Some((client, namespace)) = prepare().await else { return };
    let live = small_set(&client, &namespace).await;
    let uri = format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/releasesets/acme/status");
    let put =
        async |sent: &Value| send(&client, "PUT", &uri, "application/json", sent.to_string()).await.unwrap();

    let sent = merge_into(&live, &full_status());
    let reply = put(&sent).await;
    assert_eq!(lost_fields(&sent, &reply), Vec::<String>::new());
    assert_eq!(reply["status"], sent["status"], "nothing was changed either");
    assert_eq!(serde_json::from_value::<ReleaseSetStatus>(reply["status"].clone()).unwrap(), full_status());

    // As when this controller were newer than the definition.
    let mut newer = reply.clone();
    newer["status"]["fromTheFuture"] = json!(1);
    newer["status"]["promoted"]["images"][0]["signature"] = json!("x");
    let reply = put(&newer).await;
    assert_eq!(lost_fields(&newer, &reply), ["status.fromTheFuture", "status.promoted.images[0].signature"]);
}

#[tokio::test]
async fn names_that_no_label_can_hold_are_refused() {
    let Some((client, namespace)) = prepare().await else { return };
    let text = fs::read_to_string("examples/arm64-advisory.yaml").unwrap();
    let text =
        text.replacen("  name: shop\n  namespace: shop\n", &format!("  name: {}\n", "a".repeat(64)), 1);
    let refusal = dry_run(&client, &namespace, &text).await.unwrap_err();
    assert!(refusal.contains("metadata.name has more than 63 characters"), "{refusal}");
}
