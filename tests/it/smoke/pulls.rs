//! The node pulls with the Secrets that the image's own `registry` names, as the controller looks with them.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use serde_json::json;

use super::gates::{gate, gate_named};
use super::world::{SET, TARGET, World};
use super::{Case, cases, play};
use crate::cluster::node::NodeCluster;
use crate::cluster::probe::ProbeImage;
use crate::cluster::push::Pusher;
use crate::cluster::registries::{Kind, RealRegistry, USER};

#[tokio::test]
async fn a_test_pulls_as_its_image_says() {
    const CASES: [Case; 1] = cases![guarded_registry];
    play(&CASES).await;
}

/// app by a Secret, worker by those of a service account; a Job gets its own image's and no others.
async fn guarded_registry(cluster: &NodeCluster) {
    let Some(registry) = RealRegistry::guarded(Kind::Distribution).await else { return };
    let (user, password) = USER;
    let mut world = World::start(cluster).await;
    world.keep_images_at(registry.host(), Pusher::new(registry.url()).login(user, password));
    for name in ["of-app", "of-worker"] {
        let logins = json!({"auths": {registry.host(): {"username": user, "password": password}}});
        let secret = json!({
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": logins.to_string()},
        });
        let secret = serde_json::from_value(secret).unwrap();
        world.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    }
    let account = json!({"metadata": {"name": "puller"}, "imagePullSecrets": [{"name": "of-worker"}]});
    let account = serde_json::from_value(account).unwrap();
    world.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();

    let mut spec = world.spec(&["app", "worker"]);
    spec["registry"] = json!({"insecure": true, "secretRef": {"name": "of-app"}});
    spec["images"][1]["registry"] = json!({"insecure": true, "serviceAccountName": "puller"});
    spec["gates"] = json!([gate(&json!({})), gate_named("app-boots", &json!({"image": "app"}))]);
    world.push("app", "main-1", &ProbeImage::new("exit 0")).await;
    world.push("worker", "main-1", &ProbeImage::new("exit 0")).await;
    world.create_set(SET, &spec).await;
    world.promoted("main-1").await;

    let secrets_of = |gate: &str| {
        let jobs = world.seen.jobs();
        let is_its =
            |labels: &std::collections::BTreeMap<String, String>| labels["tidegate.dev/gate"] == gate;
        let job = jobs.into_values().find(|job| job.metadata.labels.as_ref().is_some_and(is_its)).unwrap();
        let pod = job.spec.unwrap().template.spec.unwrap();
        let secrets = pod.image_pull_secrets.unwrap_or_default();
        secrets.into_iter().map(|secret| secret.name).collect::<Vec<_>>()
    };
    assert_eq!(
        (secrets_of("boots"), secrets_of("app-boots")),
        (vec!["of-worker".into()], vec!["of-app".into()])
    );
    // S8: nothing that the controller wrote holds the password.
    let written = serde_json::to_string(&world.status().await).unwrap();
    let target = world.api::<k8s_openapi::api::core::v1::ConfigMap>().get(TARGET).await.unwrap();
    assert!(!written.contains(password) && !format!("{target:?}").contains(password));
}
