//! The cases that a real server can be brought into, before docker-registry 2.8.2, distribution v3 and go-containerregistry's
//! registry. In real time: they are other processes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate::embedded::image::{Content, Image, Index, MEDIA_TYPE_INDEX, sha256};
use tidegate::embedded::registry::{DOCKER_LIST, DOCKER_MANIFEST};
use tidegate::model::sighting::{DefectKind, DoubtKind};
use tidegate::model::{Digest, ImageEvidence, Repository, Sighting, Verify};
use tidegate::registry::{Access, Client, Depth, Question};
use tidegate::telemetry::clock::Clock;

use super::scene::{
    APP, anonymous, broken, doubt, head, image, images, login, look, platform, present, tags,
};
use crate::cluster::push::Pusher;
use crate::cluster::registries::{Kind, RealRegistry, USER};

/// More than one page of a thousand.
const MANY_TAGS: usize = 1_200;

/// A client before a real registry.
struct Real {
    registry: RealRegistry,
    pusher: Pusher,
    client: Client,
}

// === impl Real ===

impl Real {
    async fn start(kind: Kind) -> Option<Self> {
        let registry = RealRegistry::start(kind).await?;
        let pusher = Pusher::new(registry.url());
        Some(Self { registry, pusher, client: Client::new(Clock::system()) })
    }

    async fn guarded(kind: Kind) -> Option<Self> {
        let registry = RealRegistry::guarded(kind).await?;
        let pusher = Pusher::new(registry.url()).login(USER.0, USER.1);
        Some(Self { registry, pusher, client: Client::new(Clock::system()) })
    }

    fn repository(&self) -> Repository {
        format!("{}/{APP}", self.registry.host()).parse().unwrap()
    }

    async fn look(&self) -> Sighting<ImageEvidence> {
        self.look_as(&anonymous(), "v1").await
    }

    async fn look_as(&self, access: &Access, tag: &str) -> Sighting<ImageEvidence> {
        look(&self.client, access, &self.question(tag, Verify::Manifests)).await
    }

    fn question(&self, tag: &str, verify: Verify) -> Question {
        Question {
            repository: self.repository(),
            tag: tag.parse().unwrap(),
            platforms: vec![platform("linux/amd64"), platform("linux/arm64")],
            revision_keys: Vec::new(),
            depth: Depth::Configs,
            verify,
        }
    }

    /// Looks at `v1` and at every blob that it names.
    async fn look_at_blobs(&self) -> Sighting<ImageEvidence> {
        look(&self.client, &anonymous(), &self.question("v1", Verify::Blobs)).await
    }

    async fn push(&self, images: Vec<Image>) -> Digest {
        let index = Index::build(images, &BTreeMap::new());
        self.pusher.index(APP, "v1", &index).await.parse().unwrap()
    }

    async fn cell(&self, name: &str) -> Sighting<Digest> {
        present(&self.look().await).cell(&platform(name))
    }
}

async fn present_index(real: Real) {
    let digest = real.push(images("v1")).await;
    let evidence = present(&real.look().await);
    assert_eq!(evidence.digest, digest);
    assert!(evidence.children.len() == 2 && evidence.children.values().all(Sighting::is_present));
    let head = head(&real.client, &anonymous(), &real.repository(), "v1").await;
    assert_eq!(present(&head), digest, "HEAD tells the digest");
    assert_eq!(present(&real.look().await), evidence, "and a second look sees the same");
}

/// A Docker list needs Docker manifests, which are the same JSON under other media types.
async fn present_docker_list(real: Real) {
    let mut entries = Vec::new();
    for image in images("v1") {
        real.pusher.image(APP, None, &image).await;
        let mut body: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
        body["mediaType"] = json!(DOCKER_MANIFEST);
        body["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
        body["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar");
        let manifest = content(DOCKER_MANIFEST, &body);
        real.pusher.manifest(APP, &manifest.digest, &manifest).await;
        let mut entry = manifest.descriptor();
        entry["platform"] = json!({"os": image.platform.os, "architecture": image.platform.architecture});
        entries.push(entry);
    }
    let list =
        content(DOCKER_LIST, &json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}));
    real.pusher.manifest(APP, "v1", &list).await;
    let evidence = present(&real.look().await);
    assert_eq!(evidence.digest.as_str(), list.digest);
    assert!(evidence.children.len() == 2 && evidence.children.values().all(Sighting::is_present));
}

fn content(media_type: &'static str, body: &Value) -> Content {
    let bytes = body.to_string();
    Content { media_type, digest: sha256(bytes.as_bytes()), bytes: bytes.into() }
}

async fn single_manifest(real: Real) {
    let digest = real.pusher.image(APP, Some("v1"), &image("linux/arm64", "v1")).await;
    assert_eq!(present(&real.cell("linux/arm64").await).as_str(), digest);
    assert_eq!(real.cell("linux/amd64").await, Sighting::Missing);
}

async fn missing_repository_and_tag(real: Real) {
    assert_eq!(real.look().await, Sighting::Missing);
    real.push(images("v1")).await;
    assert_eq!(real.look_as(&anonymous(), "v2").await, Sighting::Missing);
}

async fn dangling_child(real: Real) {
    real.push(images("v1")).await;
    let child = images("v1")[1].manifest.digest.clone();
    real.pusher.delete(APP, &child).await;
    assert!(real.cell("linux/amd64").await.is_present());
    broken(&real.cell("linux/arm64").await, &DefectKind::DanglingChild(child.parse().unwrap()));
}

async fn lost_config(real: Real) {
    real.push(images("v1")).await;
    let config = images("v1")[0].config.digest.clone();
    real.pusher.delete_blob(APP, &config).await;
    broken(&real.cell("linux/amd64").await, &DefectKind::DanglingBlob(config.parse().unwrap()));
}

async fn lost_layer(real: Real) {
    real.push(images("v1")).await;
    let layer = images("v1")[0].layer.digest.clone();
    real.pusher.delete_blob(APP, &layer).await;
    assert!(real.cell("linux/amd64").await.is_present(), "a manifest says nothing of its layers");
    let evidence = present(&real.look_at_blobs().await);
    let amd64 = evidence.cell(&platform("linux/amd64"));
    broken(&amd64, &DefectKind::DanglingBlob(layer.parse().unwrap()));
}

async fn missing_platform(real: Real) {
    real.push(vec![image("linux/amd64", "v1")]).await;
    assert!(real.cell("linux/amd64").await.is_present());
    assert_eq!(real.cell("linux/arm64").await, Sighting::Missing);
}

async fn attestations(real: Real) {
    let (app, proof) = (image("linux/amd64", "v1"), image("unknown/unknown", "proof"));
    let index = Index::build(vec![app, proof], &BTreeMap::new());
    for image in &index.images {
        real.pusher.image(APP, None, image).await;
    }
    let mut body: Value = serde_json::from_slice(&index.manifest.bytes).unwrap();
    body["manifests"][1]["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    real.pusher.manifest(APP, "v1", &content(MEDIA_TYPE_INDEX, &body)).await;
    let evidence = present(&real.look().await);
    assert_eq!(evidence.children.keys().map(ToString::to_string).collect::<Vec<_>>(), ["linux/amd64"]);
}

async fn moved_tag(real: Real) {
    let before = real.push(images("v1")).await;
    assert_eq!(present(&real.look().await).digest, before);
    let after = real.push(images("v1 again")).await;
    assert_ne!(before, after);
    let head = head(&real.client, &anonymous(), &real.repository(), "v1").await;
    assert_eq!(present(&head), after);
    assert_eq!(present(&real.look().await).digest, after);
}

/// docker-registry ignores `n` and answers all at once, distribution pages with `Link`.
async fn many_tags(real: Real) {
    let digest = real.pusher.image(APP, Some("v1"), &image("linux/amd64", "v1")).await;
    for number in 1..MANY_TAGS {
        real.registry.link(APP, &format!("main-{number:05}"), &digest);
    }
    let tags = present(&tags(&real.client, &anonymous(), &real.repository()).await);
    assert_eq!(tags.len(), MANY_TAGS);
    let head = head(&real.client, &anonymous(), &real.repository(), &tags[700]).await;
    assert_eq!(present(&head).as_str(), digest, "what was linked is there");
}

async fn basic_credentials(real: Real) {
    real.push(images("v1")).await;
    doubt(&real.look_as(&anonymous(), "v1").await, DoubtKind::Auth);
    doubt(&real.look_as(&login(USER.0, "wrong"), "v1").await, DoubtKind::Auth);
    let known = login(USER.0, USER.1);
    assert!(real.look_as(&known, "v1").await.is_present());
    assert_eq!(real.look_as(&known, "v2").await, Sighting::Missing);
    doubt(&real.look_as(&anonymous(), "v1").await, DoubtKind::Auth);
}

/// ggcr cuts a list off at `n`, gives no Link, and begins again beyond the end.
async fn many_tags_without_link(real: Real) {
    let app = image("linux/amd64", "v1");
    real.pusher.image(APP, Some("v1"), &app).await;
    for number in 1..MANY_TAGS {
        real.pusher.manifest(APP, &format!("main-{number:05}"), &app.manifest).await;
    }
    let tags = present(&tags(&real.client, &anonymous(), &real.repository()).await);
    assert_eq!(tags.len(), MANY_TAGS);
}

/// One test per case and registry; skipped with a word when the registry is not built.
macro_rules! before {
    ($module:ident, $kind:expr, $start:ident: $($case:ident),+) => {
        mod $module {
            use super::{Kind, Real};

            $(
                #[tokio::test]
                async fn $case() {
                    if let Some(real) = Real::$start($kind).await {
                        super::$case(real).await;
                    }
                }
            )+
        }
    };
}

before!(docker_registry, Kind::DockerRegistry, start:
    present_index, present_docker_list, single_manifest, missing_repository_and_tag, dangling_child, lost_config, lost_layer,
    missing_platform, attestations, moved_tag, many_tags);
before!(docker_registry_guarded, Kind::DockerRegistry, guarded: basic_credentials);
before!(distribution, Kind::Distribution, start:
    present_index, present_docker_list, single_manifest, missing_repository_and_tag, dangling_child, lost_config, lost_layer,
    missing_platform, attestations, moved_tag, many_tags);
before!(distribution_guarded, Kind::Distribution, guarded: basic_credentials);
before!(ggcr, Kind::Ggcr, start:
    present_index, present_docker_list, single_manifest, missing_repository_and_tag, dangling_child, lost_config, lost_layer,
    missing_platform, attestations, moved_tag, many_tags_without_link);
