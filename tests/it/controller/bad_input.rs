//! Bad input that only a cluster shows: each says what is wrong, loses nothing, and stops nothing else.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;

use super::real::Real;
use crate::cluster::secret;

const SUITE: &str = "bad input in a cluster";

#[tokio::test]
async fn an_invalid_set_names_its_field_and_stops_no_other() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    let mut wrong = real.spec("wrong-release");
    // One platform by two names: CEL compares texts, so that only the controller sees it.
    wrong["platforms"] = json!(["linux/amd64", "linux/x86_64"]);
    real.create("wrong", wrong).await;
    real.create("right", real.spec("right-release")).await;
    real.wait_for("wrong", "Stalled", "True/InvalidSpec", "platforms").await;
    real.wait_for("right", "Ready", "True/Succeeded", "main-1").await;
    // Mended, it goes on.
    real.patch("wrong", json!({"spec": {"platforms": ["linux/amd64"]}})).await;
    real.wait_for("wrong", "Ready", "True/Succeeded", "main-1").await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_named() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    let with_secret = |target: &str, secret: &str| {
        let mut spec = real.spec(target);
        spec["registry"]["secretRef"] = json!({"name": secret});
        spec
    };
    let secrets: Api<Secret> = Api::namespaced(real.client.clone(), &real.namespace);
    let opaque = secret("opaque", "Opaque", &[("password", "canary-of-a-secret")]);
    secrets.create(&PostParams::default(), &opaque).await.unwrap();
    real.create("absent", with_secret("absent-release", "gone")).await;
    real.create("opaque", with_secret("opaque-release", "opaque")).await;
    real.create("right", real.spec("right-release")).await;
    real.wait_for("absent", "Ready", "False/NothingPromoted", "the Secret gone does not exist").await;
    let status = real.wait_for("opaque", "Ready", "False/NothingPromoted", "has type Opaque").await;
    assert!(!serde_json::to_string(&status).unwrap().contains("canary"), "S8");
    real.wait_for("right", "Ready", "True/Succeeded", "main-1").await;
}

#[tokio::test]
async fn a_target_of_somebody_else_is_not_touched() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    let foreign = ConfigMap {
        metadata: ObjectMeta { name: Some("theirs".to_owned()), ..ObjectMeta::default() },
        data: Some([("RELEASE_TAG".to_owned(), "theirs".to_owned())].into()),
        ..ConfigMap::default()
    };
    let made = real.config_maps().create(&PostParams::default(), &foreign).await.unwrap();
    real.create("acme", real.spec("theirs")).await;
    real.wait_for("acme", "Stalled", "True/TargetTaken", "theirs").await;
    assert_eq!(real.config_maps().get("theirs").await.unwrap(), made);
}

#[tokio::test]
async fn of_two_sets_with_one_target_the_first_has_it() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    real.create("first", real.spec("shared")).await;
    real.wait_for_target("shared", "main-1").await;
    real.create("second", real.spec("shared")).await;
    real.wait_for("second", "Stalled", "True/TargetTaken", "shared").await;
    real.wait_for("first", "Ready", "True/Succeeded", "main-1").await;
}

#[tokio::test]
async fn a_pin_that_exists_nowhere_is_waited_for() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1").await;
    real.patch("acme", json!({"spec": {"pin": "main-typo"}})).await;
    real.wait_for("acme", "Ready", "False/PinNotPromoted", "main-typo is pinned and not promoted yet: app")
        .await;
    real.patch("acme", json!({"spec": {"pin": null}})).await;
    // Judged again under the spec of now.
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1 is promoted (sequence 2)").await;
}

#[tokio::test]
async fn a_first_release_that_is_pinned_and_exists_nowhere_is_waited_for() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    let mut spec = real.spec("acme-release");
    spec["pin"] = json!("main-typo");
    real.create("acme", spec).await;
    let words = "nothing was promoted yet; main-typo: app linux/amd64 missing";
    let status = real.wait_for("acme", "Ready", "False/NothingPromoted", words).await;
    assert!(status.promoted.is_none());
    assert_eq!(real.config_maps().get_opt("acme-release").await.unwrap(), None);
}

#[tokio::test]
async fn a_sibling_whose_secret_is_missing_is_unknown_until_it_is_made() {
    let Some(real) = Real::start(SUITE).await else { return };
    real.push_both("main-1").await;
    let mut spec = real.spec("acme-release");
    spec["images"][1]["registry"] = json!({"insecure": true, "secretRef": {"name": "pull"}});
    real.create("acme", spec).await;
    let words = "the Secret pull does not exist";
    let status = real.wait_for("acme", "CandidateComplete", "False/Unknown", words).await;
    assert!(status.promoted.is_none());
    let config = format!(r#"{{"auths":{{"{}":{{"username":"ci","password":"x"}}}}}}"#, real.registry.host());
    let pull = secret("pull", "kubernetes.io/dockerconfigjson", &[(".dockerconfigjson", &config)]);
    let secrets: Api<Secret> = Api::namespaced(real.client.clone(), &real.namespace);
    secrets.create(&PostParams::default(), &pull).await.unwrap();
    real.ask("acme").await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1").await;
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_unknown() {
    let Some(real) = Real::start(SUITE).await else { return };
    let mut spec = real.spec("acme-release");
    let nobody = format!("127.0.0.1:{}", crate::cluster::server::free_port());
    spec["images"][0]["repository"] = json!(format!("{nobody}/acme/app"));
    real.push_both("main-1").await;
    real.create("acme", spec).await;
    real.wait_for("acme", "CandidateComplete", "False/Unknown", "app linux/amd64 unknown").await;
    real.wait_for("acme", "Ready", "False/NothingPromoted", &nobody).await;
}
