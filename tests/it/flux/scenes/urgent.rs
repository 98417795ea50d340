//! Incident D: a release must be held, or go ahead of others; somebody takes the short way; a check that must not block fails.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::super::stage::{RELEASE, SET, SIBLINGS, Wiring, tag};
use super::{ALL, in_both, push};

#[tokio::test]
async fn a_hold_stops_everything_until_it_is_lifted() {
    in_both(&[], async |stage| {
        stage.hand(&["suspend", SET, "--reason", "no release on Friday", "--yes"]).await;
        push(stage, ALL, 2).await;
        stage.stays(1).await;
        // Drift correction of Flux goes on, with what was promoted.
        by_hand(stage, "worker", 2).await;
        stage.reconcile("Kustomization", "apps").await;
        stage.runs(1).await;
        stage.hand(&["resume", SET, "--yes"]).await;
        stage.moves(2).await;
    })
    .await;
}

#[tokio::test]
async fn a_pinned_release_goes_ahead_of_all_others_until_it_is_unpinned() {
    in_both(&[], async |stage| {
        push(stage, ALL, 2).await;
        stage.moves(2).await;
        // Back to the first, and nothing newer until it is lifted.
        stage.hand(&["pin", SET, &tag(1), "--reason", "2 leaks", "--yes"]).await;
        stage.moves(1).await;
        push(stage, ALL, 3).await;
        stage.stays(1).await;
        stage.hand(&["unpin", SET, "--yes"]).await;
        stage.moves(3).await;
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_a_person_applies_by_hand_is_put_back() {
    in_both(&[], async |stage| {
        stage.brought_in_by_hand(2);
        stage.push("app", 2).await;
        by_hand(stage, "app", 2).await;
        stage.reconcile("Kustomization", "apps").await;
        stage.runs(1).await;
        if stage.wiring == Wiring::OneCommit {
            stage.edit(&[("apps/kustomization.yaml", &tag(1), &tag(2))], "Hurry");
            stage.runs(2).await;
            // Its interval is ten minutes; nothing of Tidegate's stands against a commit by hand until then.
            stage.world.request("ImageUpdateAutomation", SET).await;
        } else {
            let image = format!("{}:{}", stage.world.repository("app"), tag(2));
            stage.world.patch("ConfigMap", RELEASE, json!({"data": {"APP_IMAGE": image}})).await;
        }
        stage.runs(1).await;
    })
    .await;
}

#[tokio::test]
async fn an_advisory_gate_that_fails_blocks_nothing_until_it_is_required() {
    let gate = "  gates:\n  - name: same-commit\n    advisory: true\n    sameRevision: {key: org.example.none}\n  targets:\n";
    in_both(&[("  targets:\n", gate)], async |stage| {
        push(stage, ALL, 2).await;
        stage.moves(2).await;
        stage.edit(&[("releases/release-set.yaml", "    advisory: true\n", "")], "Require it");
        let required = |now: &Value| {
            now["spec"]["gates"][0]["advisory"] != true
                && now["status"]["observedGeneration"] == now["metadata"]["generation"]
        };
        stage.world.until("the edit", "ReleaseSet", SET, required).await;
        push(stage, ALL, 3).await;
        stage.stays(2).await;
        let now = stage.set().await;
        assert!(now["status"].to_string().contains("same-commit"), "{now:#}");
    })
    .await;
}

/// What `kubectl set image` does.
async fn by_hand(stage: &super::Stage, name: &str, number: u32) {
    assert!(SIBLINGS.contains(&name));
    stage.brought_in_by_hand(number);
    let image = format!("{}:{}", stage.world.repository(name), tag(number));
    let path = "/spec/template/spec/containers/0/image";
    let edit: Value = json!([{"op": "replace", "path": path, "value": image}]);
    let edit: Patch<()> = Patch::Json(serde_json::from_value(edit).expect("a patch"));
    let params = PatchParams { field_manager: Some("kubectl-set".to_owned()), ..PatchParams::default() };
    stage.world.api("Deployment").patch(name, &params, &edit).await.expect("the edit is accepted");
}
