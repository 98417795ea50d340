//! `tidegate explain` against an API server over HTTP.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::cluster::Kube;
use super::fixture::BINARY;

fn partial() -> Value {
    json!({"observedGeneration": 1, "candidates": [{
        "tag": "main-7",
        "phase": "Partial",
        "firstSeen": "2026-01-01T00:00:00Z",
        "blockedBy": "worker linux/arm64 missing",
        "blockedSince": "2026-01-01T00:00:00Z",
        "cells": [{"image": "worker", "platform": "linux/arm64", "required": true, "state": "Missing"}],
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_explained_for_people_and_for_programs() {
    let kube = Kube::with_crd("explain").await;
    kube.create("shop").await;
    let fresh = kube.call(&["explain", "shop"]).await;
    insta::assert_snapshot!("explain_fresh", fresh.whole());
    kube.set_status("shop", partial()).await;
    let table = kube.call(&["explain", "shop", "-n", "acme"]).await;
    assert_eq!(table.code, 0, "{}", table.whole());
    assert!(
        table
            .stdout
            .contains("next action: push ghcr.io/acme/worker:main-7 again with linux/arm64 in its index\n")
    );
    let answer = kube.call(&["explain", "shop", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(json["candidates"][0]["images"][1]["cells"][1]["state"], "Missing");
    assert_eq!((json["namespace"].as_str(), answer.stderr.as_str()), (Some("acme"), ""));
    let writes = kube.api.writes();
    assert!(writes.iter().all(|write| write.actor != "cli"), "explain writes nothing: {writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_says_what_is() {
    let kube = Kube::with_crd("explain-unknown").await;
    kube.create("shop").await;
    insta::assert_snapshot!("explain_unknown_set", kube.call(&["explain", "shpo"]).await.whole());
    let bare = Kube::start("explain-no-crd").await;
    insta::assert_snapshot!("explain_no_crd", bare.call(&["explain", "shop"]).await.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_prints_every_change_and_ends_well() {
    let kube = Kube::with_crd("explain-watch").await;
    kube.create("shop").await;
    let mut child = Command::new(BINARY)
        .args(["explain", "shop", "--watch", "-o", "json"])
        .env_clear()
        .env("KUBECONFIG", kube.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["candidates"], json!([]));
    kube.set_status("shop", partial()).await;
    assert_eq!(next()["candidates"][0]["tag"], "main-7");
    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}
