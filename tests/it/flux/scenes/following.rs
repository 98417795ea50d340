//! What becomes of a release in Flux is told in the status: to its rollout, and where it stops, in words.

use serde_json::{Value, json};

use super::super::objects::object;
use super::super::stage::{RELEASE, SET, SIBLINGS, Stage, Wiring, tag};
use super::{ALL, SUITE, push};

const AUTOMATION: &str = "releases/image-update-automation.yaml";

#[tokio::test]
async fn a_suspended_automation_is_named_until_it_is_resumed_and_the_release_rolls_out() {
    let Some(stage) = Stage::open(SUITE, Wiring::OneCommit, &[]).await else { return };
    target(&stage, "RolledOut", &tag(1)).await;
    let (running, suspended) = ("  interval: 10m\n  git:\n", "  interval: 10m\n  suspend: true\n  git:\n");
    stage.edit(&[(AUTOMATION, running, suspended)], "Stop commits");
    stage.world.until("the edit", "ImageUpdateAutomation", SET, |now| now["spec"]["suspend"] == true).await;
    push(&stage, ALL, 2).await;
    stage.look().await;
    let told = target(&stage, "Selected", "suspended: resume it").await;
    assert!(told.contains(SET), "{told}");
    assert!(stage.world.images().await.values().all(|image| image.contains(&tag(1))));
    stage.edit(&[(AUTOMATION, suspended, running)], "Go on");
    stage.runs(2).await;
    target(&stage, "RolledOut", &tag(2)).await;
    assert_eq!(stage.proof().await, Ok(()));
    stage.end().await;
}

#[tokio::test]
async fn a_commit_to_another_branch_waits_for_its_merge() {
    let Some(stage) = Stage::open(SUITE, Wiring::OneCommit, &[]).await else { return };
    let push_to = |branch: &str| format!("    push:\n      branch: {branch}\n");
    stage.edit(&[(AUTOMATION, &push_to("main"), &push_to("releases"))], "Ask for a merge");
    let edited = |now: &Value| now["spec"]["git"]["push"]["branch"] == "releases";
    stage.world.until("the edit", "ImageUpdateAutomation", SET, edited).await;
    push(&stage, ALL, 2).await;
    stage.look().await;
    target(&stage, "AwaitingMerge", "branch releases").await;
    let file = "apps/kustomization.yaml";
    assert!(!stage.fleet.read(file).contains(&tag(2)));
    let proposed = stage.fleet.read_at("releases", file);
    assert_eq!(proposed.matches(&tag(2)).count(), SIBLINGS.len(), "{proposed}");
    assert!(stage.world.images().await.values().all(|image| image.contains(&tag(1))));
    stage.fleet.commit(&[(file, &proposed)], "Merge");
    stage.runs(2).await;
    stage.end().await;
}

#[tokio::test]
async fn an_image_policy_of_somebody_else_is_left_alone_and_the_way_to_hand_it_over_is_told() {
    let Some(stage) = Stage::prepare(SUITE, Wiring::OneCommit, &[]).await else { return };
    let theirs = json!({"imageRepositoryRef": {"name": "app"}, "policy": {"alphabetical": {}}});
    stage.world.create(object("ImagePolicy", RELEASE, &theirs)).await;
    push(&stage, ALL, 1).await;
    stage.start_tidegate().await;
    stage.apply().await;
    let stalled = |now: &Value| {
        let conditions = now["status"]["conditions"].as_array();
        let stalled = conditions.into_iter().flatten().find(|one| one["type"] == "Stalled");
        stalled.is_some_and(|one| {
            let message = one["message"].as_str().unwrap_or_default();
            one["reason"] == "TargetTaken" && message.contains("hand it over")
        })
    };
    stage.world.until("a refusal with words", "ReleaseSet", SET, stalled).await;
    let now = stage.world.read("ImagePolicy", RELEASE).await.expect("it stays");
    assert_eq!(now["spec"]["filterTags"], Value::Null, "{now:#}");
    // It is Stalled, so that what depends on the set does not start.
    let failed = |now: &Value| {
        let conditions = now["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "False")
    };
    stage.world.until("a failed health check", "Kustomization", "releases", failed).await;
    assert!(stage.world.images().await.is_empty());
    stage.end().await;
}

/// Waits until the target is in that state and says `words`; answers the whole message.
async fn target(stage: &Stage, state: &str, words: &str) -> String {
    let message =
        |now: &Value| now["status"]["targets"][0]["message"].as_str().unwrap_or_default().to_owned();
    let is_there =
        |now: &Value| now["status"]["targets"][0]["state"] == state && message(now).contains(words);
    message(&stage.world.until(&format!("{state}: {words}"), "ReleaseSet", SET, is_there).await)
}
