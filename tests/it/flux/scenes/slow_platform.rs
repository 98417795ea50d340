//! Incident B: arm64 takes longer than amd64, and the index is pushed again, under the same tag, when it is done.

use serde_json::Value;

use super::super::stage::{PLATFORMS, tag};
use super::{ALL, in_both, push};

const AMD64: &[&str] = &["linux/amd64"];
/// What a user writes to require arm64 as well, in front of a field that both examples hold.
const REQUIRED: (&str, &str) =
    ("  images:\n  - name: app\n", "  platforms: [linux/amd64, linux/arm64]\n  images:\n  - name: app\n");
const ADVISORY: (&str, &str) =
    ("  images:\n  - name: app\n", "  images:\n  - name: app\n    advisoryPlatforms: [linux/arm64]\n");

#[tokio::test]
async fn a_late_arm64_that_is_required_holds_the_release_until_the_index_is_pushed_again() {
    in_both(&[REQUIRED], async |stage| {
        push(stage, &["worker", "embeddings"], 2).await;
        stage.push_for("app", 2, AMD64, "").await;
        stage.stays(1).await;
        stage.becomes_complete(2);
        stage.push_for("app", 2, &PLATFORMS, "").await;
        stage.moves(2).await;
    })
    .await;
}

#[tokio::test]
async fn a_late_arm64_that_is_advisory_holds_nothing_and_extends_the_tag_later() {
    in_both(&[ADVISORY], async |stage| {
        push(stage, &["worker", "embeddings"], 2).await;
        stage.becomes_complete(2);
        stage.push_for("app", 2, AMD64, "").await;
        stage.moves(2).await;
        let before = stage.set().await["status"]["promoted"].clone();
        stage.push_for("app", 2, &PLATFORMS, "").await;
        stage.stays(2).await;
        let now = stage.set().await;
        assert_eq!(now["status"]["promoted"]["sequence"], before["sequence"]);
        assert_eq!(condition(&now, "TagMoved")["status"], "False", "{now:#}");
        assert_eq!(condition(&now, "Ready")["status"], "True");
    })
    .await;
}

#[tokio::test]
async fn a_superseded_candidate_has_not_failed_and_caches_are_no_candidates() {
    in_both(&[], async |stage| {
        let registry = &stage.world.pusher;
        push(stage, &["app", "worker"], 2).await;
        for name in ALL {
            let repository = format!("acme/{name}");
            let first = tag(1);
            for other in ["buildcache-arm64", "sha256-00.sig", "latest"] {
                registry.retag(&repository, &first, other).await;
            }
        }
        stage.stays(1).await;
        push(stage, ALL, 3).await;
        stage.moves(3).await;
        let now = stage.set().await;
        let recent = now["status"]["recent"].as_array().cloned().unwrap_or_default();
        let superseded = |one: &Value| one["tag"] == tag(2) && one["outcome"] == "Superseded";
        assert!(recent.iter().any(superseded), "{now:#}");
        assert_eq!(condition(&now, "Ready")["status"], "True");
        // Of three images: three tags, three and two.
        assert_eq!(now["status"]["listed"]["matched"], 8, "{now:#}");
    })
    .await;
}

fn condition(set: &Value, kind: &str) -> Value {
    let all = set["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["type"] == kind).unwrap_or_default()
}
