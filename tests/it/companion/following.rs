//! An imagePolicy target from Applied to RolledOut, and the one write on the way.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::embedded::api::Verb;
use tidegate::flux::kinds::Kind;

use super::world::{World, promoted, spec};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn following() -> Value {
    let mut spec = spec();
    spec["targets"] = json!([{
        "name": "flux",
        "imagePolicy": {
            "name": "acme",
            "imageRepositoryRef": {"name": "app"},
            "rolledOutBy": [{"kind": "Kustomization", "name": "apps"}],
        },
    }]);
    spec
}

/// main-1 is promoted, and image-reflector has scanned before.
async fn promoted_world() -> World {
    let world = World::new(following()).await;
    world.image_repository("app", json!({})).await;
    world.scan("app", "1", &world.now()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.push_both("main-1");
    let mut world = world;
    world.0.start_controller();
    world.wait_target("Applied", "has not scanned ImageRepository/app since main-1 was promoted").await;
    world
}

fn requests_for_scans(world: &World) -> usize {
    world.asked(Kind::ImageRepository, |record| record.verb == Verb::Patch && record.code == 200)
}

#[tokio::test(start_paused = true)]
async fn a_release_is_followed_to_its_end() {
    let world = promoted_world().await;
    let at = world.status().await.promoted.unwrap().at;
    let lead = world.objects(Kind::ImageRepository).get("app").await.unwrap();
    assert_eq!(lead.metadata.annotations.unwrap()["reconcile.fluxcd.io/requestedAt"], at);

    // Instants are whole seconds: a scan is known to be younger from the next one on.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.scan("app", "2", &world.now()).await;
    world.wait_target("Applied", "image-reflector has not selected main-1 for ImagePolicy/acme").await;
    world.select("acme", "main-1").await;
    world.wait_target("Selected", "no ImageUpdateAutomation of the namespace has taken it").await;

    let automation = json!({"sourceRef": {"kind": "GitRepository", "name": "fleet"}, "suspend": true});
    world.create(Kind::ImageUpdateAutomation, "flux", automation).await;
    world.wait_target("Selected", "ImageUpdateAutomation/flux is suspended: resume it").await;
    world.edit(Kind::ImageUpdateAutomation, "flux", json!({"spec": {"suspend": false}})).await;
    let pushed = json!({
        "observedPolicies": {"acme": {"name": "app", "tag": "main-1"}},
        "lastPushCommit": COMMIT, "lastPushTime": world.now(),
        "observedSourceRevision": format!("main@sha1:{COMMIT}"),
    });
    world.say(Kind::ImageUpdateAutomation, "flux", pushed).await;
    world.wait_target("Committed", "pushed 0123456789ab; Kustomization/apps does not exist").await;

    world
        .create(Kind::Kustomization, "apps", json!({"sourceRef": {"kind": "GitRepository", "name": "fleet"}}))
        .await;
    world.wait_target("Committed", "Kustomization/apps has not applied 0123456789ab yet").await;
    let ready = |status: &tidegate::api::ReleaseSetStatus| {
        status.conditions.iter().any(|condition| condition.condition == "Ready" && condition.status == "True")
    };
    assert!(ready(&world.status().await), "what Flux makes of it never touches Ready");
    world
        .say(Kind::Kustomization, "apps", json!({"lastAppliedRevision": format!("main@sha1:{COMMIT}")}))
        .await;
    world.wait_target("RolledOut", "Kustomization/apps applied main-1").await;
    assert_eq!(requests_for_scans(&world), 1, "one write for each promotion");

    // At rest it is read once at a look, and nothing is written.
    world.0.api.clear_log();
    tokio::time::sleep(Duration::from_mins(30)).await;
    let by_us = |record: &tidegate::embedded::api::ApiRecord| record.actor == "controller";
    let looks = world
        .0
        .api
        .count(|record| by_us(record) && record.plural == "releasesets" && record.verb == Verb::Get);
    assert!(looks >= 2, "{looks} looks");
    assert_eq!(world.0.api.writes().into_iter().filter(by_us).count(), 0, "L5");
    for kind in [Kind::ImageUpdateAutomation, Kind::Kustomization, Kind::GitRepository] {
        let reads = world.asked(kind, |record| matches!(record.verb, Verb::Get | Verb::List));
        assert_eq!(reads, 0, "{} is not read at rest", kind.word());
    }

    // Somebody edits it: it is put back, and the state is told anew.
    world.edit(Kind::ImagePolicy, "acme", json!({"spec": {"filterTags": {"pattern": "^main-0$"}}})).await;
    world.wait_target("Applied", "ImagePolicy/acme").await;
    world.select("acme", "main-1").await;
    world.wait_target("RolledOut", "Kustomization/apps applied main-1").await;
}

#[tokio::test(start_paused = true)]
async fn the_pace_slackens_while_nothing_happens() {
    let world = promoted_world().await;
    world.select("acme", "main-1").await;
    world.wait_target("Selected", "no ImageUpdateAutomation").await;
    let lists = || world.asked(Kind::ImageUpdateAutomation, |record| record.verb == Verb::List);
    let before = lists();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let first = lists() - before;
    assert!((15..=22).contains(&first), "every 3 s: {first}");
    tokio::time::sleep(Duration::from_mins(59)).await;
    let before = lists();
    tokio::time::sleep(Duration::from_mins(20)).await;
    let later = lists() - before;
    assert!((2..=8).contains(&later), "every twentieth of an hour and more: {later}");
    assert_eq!(requests_for_scans(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_set_asks_for_no_scan() {
    let mut world = World::new(following()).await;
    world.push_both("main-1");
    // There is no ImageRepository at the promotion, so that none can be asked.
    world.0.start_controller();
    world.wait_target("Applied", "ImageRepository/app does not exist").await;
    let patch = kube::api::Patch::Merge(json!({"spec": {"suspend": true}}));
    world.sets().patch("acme", &kube::api::PatchParams::default(), &patch).await.unwrap();
    world.wait_target("Held", "suspended").await;
    world.image_repository("app", json!({})).await;
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(requests_for_scans(&world), 0, "S7");
    assert_eq!(promoted(&world.status().await).as_deref(), Some("main-1"));
}

#[tokio::test(start_paused = true)]
async fn a_scan_is_asked_for_again_after_each_promotion() {
    let world = promoted_world().await;
    world.scan("app", "2", &world.now()).await;
    world.select("acme", "main-1").await;
    world.wait_target("Selected", "").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.push_both("main-2");
    world.scan("app", "3", &world.now()).await;
    world.wait_promoted("main-2").await;
    let at = world.status().await.promoted.unwrap().at;
    world.wait_target("Applied", "main-2").await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    let lead = world.objects(Kind::ImageRepository).get("app").await.unwrap();
    assert_eq!(lead.metadata.annotations.unwrap()["reconcile.fluxcd.io/requestedAt"], at);
    assert_eq!(requests_for_scans(&world), 2);
}

/// Failure sequence 5: whoever may push can move the tag that an ImagePolicy names.
#[tokio::test(start_paused = true)]
async fn sequence_05_flux_never_resolves_a_tag_by_itself_and_a_moved_one_is_reported() {
    let world = promoted_world().await;
    let spec = async || world.objects(Kind::ImagePolicy).get("acme").await.unwrap().data["spec"].clone();
    let before = spec().await;
    assert_eq!(before["digestReflectionPolicy"], "Never");
    let digest = world.status().await.promoted.unwrap().images[0].digest.clone();
    let again = json!({"image": "app", "tag": "main-1", "build": 2, "runsFor": "0s"});
    let index = tidegate::cli::demo::world::index_of(&serde_json::from_value(again).unwrap());
    world.0.registry.push_index("acme/app", Some("main-1"), &index);
    // Within `driftInterval`.
    tokio::time::sleep(Duration::from_mins(11)).await;
    let status = world.status().await;
    let moved = status.conditions.iter().find(|condition| condition.condition == "TagMoved").unwrap();
    assert_eq!(moved.status, "True");
    let short = |digest: &str| digest.strip_prefix("sha256:").unwrap()[..12].to_owned();
    for digest in [short(&digest), short(&index.manifest.digest)] {
        assert!(moved.message.contains(&digest), "both digests are named: {}", moved.message);
    }
    assert_eq!(promoted(&status).as_deref(), Some("main-1"));
    assert_eq!(spec().await, before, "nothing is written for it");
}
