//! What a manifest says: indexes, children, platforms, and the ways in which they lie.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use tidegate::embedded::image::{
    Content, Image, Index, MEDIA_TYPE_CONFIG, MEDIA_TYPE_INDEX, MEDIA_TYPE_LAYER, MEDIA_TYPE_MANIFEST,
};
use tidegate::embedded::registry::{Auth, Change, On, Operation, Rule, Step, When};
use tidegate::model::sighting::{DefectKind, DoubtKind};
use tidegate::model::{Digest, ImageEvidence, Sighting};

use super::scene::{APP, Scene, broken, doubt, image, images, platform, present};

/// Media type of the signed manifests of the first schema.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Stores a manifest or index as `acme/app:v1`.
fn put(scene: &Scene, media_type: &str, body: &Value) -> Digest {
    scene.registry.push_manifest(APP, Some("v1"), media_type, body.to_string()).parse().unwrap()
}

fn entry(image: &Image, platform: Option<&Value>) -> Value {
    let mut entry = image.manifest.descriptor();
    if let Some(platform) = platform {
        entry["platform"] = platform.clone();
    }
    entry
}

fn amd64() -> Value {
    json!({"os": "linux", "architecture": "amd64"})
}

fn index(entries: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MEDIA_TYPE_INDEX, "manifests": entries})
}

fn cell(evidence: &ImageEvidence, name: &str) -> Sighting<Digest> {
    evidence.cell(&platform(name))
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_shape_is_unknown_corrupt() {
    let config = Content::new(MEDIA_TYPE_CONFIG, "{}").descriptor();
    for (media_type, body) in [
        (MEDIA_TYPE_INDEX, json!({"schemaVersion": 2, "manifests": [], "config": config, "layers": []})),
        (MEDIA_TYPE_MANIFEST, json!({"schemaVersion": 2, "manifests": [], "config": config, "layers": []})),
        (MEDIA_TYPE_INDEX, json!({"schemaVersion": 2, "mediaType": MEDIA_TYPE_MANIFEST, "manifests": []})),
    ] {
        let scene = Scene::open().await;
        put(&scene, media_type, &body);
        doubt(&scene.look().await, DoubtKind::Corrupt);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_gone_is_broken_and_named() {
    let scene = Scene::with_app(Auth::Open).await;
    let child = images("v1")[1].manifest.digest.clone();
    assert!(scene.registry.delete_manifest(APP, &child));
    let evidence = present(&scene.look().await);
    assert!(cell(&evidence, "linux/amd64").is_present());
    let defect = broken(&cell(&evidence, "linux/arm64"), &DefectKind::DanglingChild(child.parse().unwrap()));
    assert!(defect.message.contains(&child), "{}", defect.message);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_vanishes_between_two_looks_is_noticed() {
    let scene = Scene::with_app(Auth::Open).await;
    let digest = images("v1")[0].manifest.digest.clone();
    let gone = Change::DeleteManifest { repository: APP.to_owned(), digest: digest.clone() };
    scene.plan(Rule::new(On::manifest().by_tag()).when(When::Nth(2)).step(Step::Change(gone)));
    assert!(cell(&present(&scene.look().await), "linux/amd64").is_present());
    let evidence = present(&scene.look().await);
    broken(&cell(&evidence, "linux/amd64"), &DefectKind::DanglingChild(digest.parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_config_that_is_gone_is_broken_and_named() {
    let scene = Scene::with_app(Auth::Open).await;
    let config = images("v1")[0].config.digest.clone();
    assert!(scene.registry.delete_blob(APP, &config));
    let evidence = present(&scene.look().await);
    broken(&cell(&evidence, "linux/amd64"), &DefectKind::DanglingBlob(config.parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_gone_is_broken_where_blobs_are_verified() {
    let scene = Scene::with_app(Auth::Open).await;
    let layer = images("v1")[0].layer.digest.clone();
    assert!(scene.registry.delete_blob(APP, &layer));
    assert!(cell(&present(&scene.look().await), "linux/amd64").is_present());
    let evidence = present(&scene.look_at_blobs().await);
    broken(&cell(&evidence, "linux/amd64"), &DefectKind::DanglingBlob(layer.parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn nested_indexes_are_followed_to_a_bound() {
    let scene = Scene::open().await;
    let app = image("linux/amd64", "v1");
    scene.registry.push_image(APP, None, &app);
    let mut inner = index(&[entry(&app, Some(&amd64()))]);
    for depth in 1..=4 {
        let content = Content::new(MEDIA_TYPE_INDEX, inner.to_string());
        scene.registry.push_manifest(APP, None, MEDIA_TYPE_INDEX, content.bytes.clone());
        inner = index(&[content.descriptor()]);
        put(&scene, MEDIA_TYPE_INDEX, &inner);
        let seen = cell(&present(&scene.look().await), "linux/amd64");
        match depth {
            1..=3 => assert_eq!(present(&seen).as_str(), app.manifest.digest, "{depth} deep"),
            _ => drop(doubt(&seen, DoubtKind::Corrupt)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attestations_are_no_platform() {
    let scene = Scene::open().await;
    let (app, proof) = (image("linux/amd64", "v1"), image("unknown/unknown", "proof"));
    scene.registry.push_image(APP, None, &app);
    let mut attestation = entry(&proof, Some(&json!({"os": "unknown", "architecture": "unknown"})));
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    put(&scene, MEDIA_TYPE_INDEX, &index(&[entry(&app, Some(&amd64())), attestation]));
    let evidence = present(&scene.look().await);
    assert!(cell(&evidence, "linux/amd64").is_present());
    assert_eq!(cell(&evidence, "linux/arm64"), Sighting::Missing);
    assert_eq!(scene.count(Operation::Manifest), 2, "the index and one child: the attestation is not read");
}

#[tokio::test(start_paused = true)]
async fn schema_1_and_artifacts_without_a_config_are_broken_unsupported() {
    for (media_type, body) in [
        (SCHEMA_1, json!({"schemaVersion": 1, "fsLayers": []})),
        (MEDIA_TYPE_MANIFEST, json!({"schemaVersion": 2, "mediaType": MEDIA_TYPE_MANIFEST, "layers": []})),
    ] {
        let scene = Scene::open().await;
        put(&scene, media_type, &body);
        broken(&scene.look().await, &DefectKind::Unsupported);
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_image_is_for_the_platform_of_its_config_alone() {
    let scene = Scene::open().await;
    let digest = scene.registry.push_image(APP, Some("v1"), &image("linux/arm64", "v1"));
    let evidence = present(&scene.look().await);
    assert_eq!(present(&cell(&evidence, "linux/arm64")).as_str(), digest);
    assert_eq!(cell(&evidence, "linux/amd64"), Sighting::Missing);
}

#[tokio::test(start_paused = true)]
async fn a_build_for_another_platform_than_its_label_is_broken() {
    let scene = Scene::open().await;
    let mislabelled = image("linux/arm64", "v1");
    scene.registry.push_image(APP, None, &mislabelled);
    put(&scene, MEDIA_TYPE_INDEX, &index(&[entry(&mislabelled, Some(&amd64()))]));
    let evidence = present(&scene.look().await);
    broken(&cell(&evidence, "linux/amd64"), &DefectKind::PlatformMismatch);
}

#[tokio::test(start_paused = true)]
async fn an_entry_without_a_platform_is_not_taken_for_amd64() {
    let scene = Scene::open().await;
    let app = image("linux/arm64", "v1");
    scene.registry.push_image(APP, None, &app);
    put(&scene, MEDIA_TYPE_INDEX, &index(&[entry(&app, None)]));
    let evidence = present(&scene.look().await);
    assert_eq!(cell(&evidence, "linux/amd64"), Sighting::Missing);
    assert!(cell(&evidence, "linux/arm64").is_present());
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_comes_late_extends_what_was_there() {
    let scene = Scene::open().await;
    let push = |images: Vec<Image>| {
        scene.registry.push_index(APP, Some("v1"), &Index::build(images, &BTreeMap::new()))
    };
    push(vec![image("linux/amd64", "v1")]);
    let before = present(&scene.look().await);
    assert_eq!(cell(&before, "linux/arm64"), Sighting::Missing);
    push(images("v1"));
    let after = present(&scene.look().await);
    assert!(after.extends(&before) && !before.extends(&after) && after.digest != before.digest);
    assert!(cell(&after, "linux/arm64").is_present());
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_between_check_and_commit_shows_its_new_digest() {
    let scene = Scene::with_app(Auth::Open).await;
    let moved = scene.push("v2");
    let digest = moved.to_string();
    let change = Change::Tag { repository: APP.to_owned(), tag: "v1".to_owned(), digest };
    let head = On::manifest().reference("v1").method(Method::HEAD);
    scene.plan(Rule::new(head).when(When::Nth(1)).step(Step::Change(change)));
    assert_ne!(present(&scene.look().await).digest, moved);
    assert_eq!(present(&scene.head().await), moved);
}

#[tokio::test(start_paused = true)]
async fn a_tag_deleted_after_it_was_seen_is_missing() {
    let scene = Scene::with_app(Auth::Open).await;
    assert!(scene.look().await.is_present());
    let change = Change::DeleteTag { repository: APP.to_owned(), tag: "v1".to_owned() };
    scene.plan(Rule::new(On::manifest().by_tag()).when(When::First(1)).step(Step::Change(change)));
    assert_eq!(scene.head().await, Sighting::Missing);
    assert_eq!(scene.look().await, Sighting::Missing);
}

#[tokio::test(start_paused = true)]
async fn layers_that_may_not_be_distributed_are_not_asked_for() {
    let scene = Scene::open().await;
    let app = image("linux/amd64", "v1");
    scene.registry.push_image(APP, None, &app);
    let away = Content::new(MEDIA_TYPE_LAYER, "elsewhere");
    let mut layer = away.descriptor();
    layer["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar");
    layer["urls"] = json!(["http://169.254.169.254/layer"]);
    let body = json!({
        "schemaVersion": 2, "mediaType": MEDIA_TYPE_MANIFEST,
        "config": app.config.descriptor(), "layers": [layer],
    });
    put(&scene, MEDIA_TYPE_MANIFEST, &body);
    assert!(cell(&present(&scene.look().await), "linux/amd64").is_present());
    assert!(scene.hosts().iter().all(|host| *host == scene.registry.host()));
}
