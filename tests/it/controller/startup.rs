//! A controller does not start over a CRD that cannot hold what it writes.

use std::process::{Command, Output};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::ready;
use serde_json::json;
use tidegate::api::crd::crd;
use tidegate::controller::startup::{StartError, check_crd};
use tidegate::embedded::api::ApiServer;
use tidegate::telemetry::clock::Clock;

use crate::cluster::embedded::Served;

/// Largest request that is passed on: a controller that does not start sends none with a body.
const BODY_MAX_BYTES: usize = 1024;

/// Runs the built binary against `api`, over HTTP on loopback, until it ends.
async fn start_against(api: &ApiServer) -> Output {
    let served = Served::start("startup", api, "controller", BODY_MAX_BYTES, |_| ready(()).boxed()).await;
    let mut controller = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    controller
        .args(["controller", "--http-addr=127.0.0.1:0"])
        .env_clear()
        .env("KUBECONFIG", served.kubeconfig());
    tokio::task::spawn_blocking(move || controller.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_binary_ends_with_words_and_the_next_step() {
    let api = ApiServer::new(Clock::system());
    let mut older = serde_json::to_value(crd()).unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    older.pointer_mut(status).unwrap().as_object_mut().unwrap().remove("floor");
    let absent = start_against(&api).await;
    api.register_crd(older).unwrap();
    let outdated = start_against(&api).await;
    for (output, words) in [
        (absent, "the kind ReleaseSet is not installed in this cluster"),
        (outdated, "the installed CRD is older than this controller: it has no status.floor"),
    ] {
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{talk}");
        assert!(talk.contains(words) && talk.contains("crd | kubectl apply"), "{talk}");
    }
}

#[tokio::test]
async fn an_absent_or_older_crd_is_refused_with_words() {
    let api = ApiServer::new(Clock::system());
    let client = api.client("controller", "default");
    let absent = check_crd(&client).await.unwrap_err();
    assert!(matches!(absent, StartError::CrdAbsent), "{absent}");
    let mut older = serde_json::to_value(crd()).unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    older.pointer_mut(status).unwrap().as_object_mut().unwrap().remove("floor");
    api.register_crd(older).unwrap();
    let outdated = check_crd(&client).await.unwrap_err();
    assert_eq!(
        outdated.to_string(),
        "the installed CRD is older than this controller: it has no status.floor"
    );
    api.register_crd(serde_json::to_value(crd()).unwrap()).unwrap();
    check_crd(&client).await.unwrap();
}

/// The reply to a status write is compared with what was sent (design §4 Commit): an old CRD drops fields
/// silently, and then nothing more is written.
#[tokio::test(start_paused = true)]
async fn a_reply_that_lost_fields_stops_the_set() {
    let api = ApiServer::new(Clock::following_tokio("2026-01-01T00:00:00Z".parse().unwrap()));
    let mut older = serde_json::to_value(crd()).unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    older.pointer_mut(status).unwrap().as_object_mut().unwrap().remove("listed");
    api.register_crd(older).unwrap();
    let clock = Clock::following_tokio("2026-01-01T00:00:00Z".parse().unwrap());
    let client = api.client("controller", "acme");
    let sets: kube::Api<tidegate::api::ReleaseSet> = kube::Api::namespaced(client.clone(), "acme");
    let spec = serde_json::from_value(json!({
        "images": [{"name": "app", "repository": "127.0.0.1:1/app"}],
        "registry": {"insecure": true},
        "candidates": {"policy": {"alphabetical": {"order": "asc"}}},
    }));
    let set = tidegate::api::ReleaseSet::new("acme", spec.unwrap());
    sets.create(&kube::api::PostParams::default(), &set).await.unwrap();
    let registry = Arc::new(tidegate::registry::Client::new(clock.clone()));
    let metrics = tidegate::telemetry::metrics::Metrics::default();
    let context = tidegate::controller::context::Context::new(client, registry, clock, metrics);
    let error =
        Box::pin(tidegate::controller::reconcile::reconcile(&context, "acme", "acme")).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("CRD is older") && text.contains("status.listed") && text.contains("tidegate crd"),
        "{text}"
    );
}
