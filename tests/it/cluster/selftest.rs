//! The harness itself: the real parts start, answer and keep what they are given.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};

use super::control_plane::ControlPlane;
use super::push::Pusher;
use super::registry::Registry;

const SUITE: &str = "cluster self-test";

#[tokio::test]
async fn the_api_server_keeps_a_config_map() {
    let Some(plane) = ControlPlane::shared(SUITE).await else { return };
    let client = plane.client().await;
    let namespace = plane.namespace(&client, "selftest").await;
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let sent = ConfigMap {
        metadata: ObjectMeta { name: Some("kept".to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("key".to_owned(), "value".to_owned())])),
        ..ConfigMap::default()
    };
    let made = api.create(&PostParams::default(), &sent).await.unwrap();
    let read = api.get("kept").await.unwrap();
    assert_eq!(read.data, sent.data);
    assert_eq!(read.metadata.uid, made.metadata.uid);
    assert_eq!(read.metadata.resource_version, made.metadata.resource_version);
}

#[tokio::test]
async fn kubeconfig_files_say_who_asks_and_rbac_decides() {
    let Some(plane) = ControlPlane::shared(SUITE).await else { return };
    let admin = client_from(plane.kubeconfig()).await;
    assert_eq!(user_of(&admin).await, "admin");
    let guest = client_from(&plane.kubeconfig_of("guest", "guests")).await;
    assert_eq!(user_of(&guest).await, "guest");
    let refused = Api::<Namespace>::all(guest).get("default").await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused:?}");
}

async fn client_from(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn user_of(client: &Client) -> String {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    review.status.unwrap().user_info.unwrap().username.unwrap()
}

#[tokio::test]
async fn the_registry_keeps_three_images_of_two_platforms() {
    let Some(registry) = Registry::start(SUITE).await else { return };
    assert_eq!(registry.url().as_str(), format!("http://{}/", registry.host()));
    let pusher = Pusher::new(registry.url());
    for name in ["app", "worker", "embeddings"] {
        let repository = format!("acme/{name}");
        let index = two_platforms(name, "1");
        let digest = pusher.index(&repository, "main-1", &index).await;
        assert_eq!(read(&registry, &repository, "main-1").await.as_ref(), Some(&digest));
        for child in &index.images {
            let found = read(&registry, &repository, &child.manifest.digest).await;
            assert_eq!(found.as_ref(), Some(&child.manifest.digest), "{name} {}", child.platform);
        }
    }
    assert_eq!(read(&registry, "acme/app", "main-2").await, None);
}

#[tokio::test]
async fn a_tag_can_be_moved_copied_and_lost() {
    let Some(registry) = Registry::start(SUITE).await else { return };
    let pusher = Pusher::new(registry.url());
    let first = pusher.index("acme/app", "main-1", &two_platforms("app", "1")).await;
    assert_eq!(pusher.retag("acme/app", "main-1", "kept").await, first);
    let second = pusher.index("acme/app", "main-1", &two_platforms("app", "2")).await;
    assert_ne!(first, second);
    assert_eq!(read(&registry, "acme/app", "main-1").await, Some(second.clone()));
    pusher.delete("acme/app", &second).await;
    assert_eq!(read(&registry, "acme/app", "main-1").await, None);
    assert_eq!(read(&registry, "acme/app", "kept").await, Some(first));
}

fn two_platforms(name: &str, build: &str) -> Index {
    let images = ["linux/amd64", "linux/arm64"].map(|platform| {
        ImageDescription::new(ImagePlatform::parse(platform).unwrap(), format!("{name} {build}"))
            .label("tidegate.dev/smoke", "passes")
            .build()
    });
    Index::build(
        images.to_vec(),
        &BTreeMap::from([("org.opencontainers.image.revision".to_owned(), build.to_owned())]),
    )
}

/// What a reference names: its digest, or `None` when the registry knows it is absent.
async fn read(registry: &Registry, repository: &str, reference: &str) -> Option<String> {
    let url = registry.url().join(&format!("v2/{repository}/manifests/{reference}")).unwrap();
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    let reply = reqwest::Client::new().head(url).header("accept", accept).send().await.unwrap();
    match reply.status().as_u16() {
        200 => Some(reply.headers()["docker-content-digest"].to_str().unwrap().to_owned()),
        404 => None,
        other => panic!("the registry answered {other}"),
    }
}
