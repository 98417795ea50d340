//! Failure sequence 12: the guard admits failed tags and foreign digests, and deadlocks two sets on one repository.

use serde_json::{Value, json};

use super::world::{World, deployment, digest, template};

const SUITE: &str = "guard";
const APP: (&str, &str, &str) = ("app", "ghcr.io/acme/app", "{tag}");

#[tokio::test]
async fn sequence_12_only_what_was_promoted_passes() {
    let Some(world) = World::start(SUITE, json!({})).await else { return };
    world
        .set(
            "shop",
            &[APP, ("worker", "ghcr.io/acme/worker", "{tag}-debian"), ("hub", "acme/hub", "{tag}")],
            &["v2", "v1"],
        )
        .await;
    world.set("night", &[APP], &["nightly-7"]).await;
    world.set("new", &[("fresh", "ghcr.io/acme/fresh", "{tag}")], &[]).await;
    world.sync().await;
    world.until_refused("ghcr.io/acme/app:v9").await;
    world.until_passes("ghcr.io/acme/app:v2").await;

    let of_app = |tag: &str| digest(&format!("app {tag}"));
    let passes = [
        "ghcr.io/acme/app:v2".to_owned(),
        "ghcr.io/acme/app:v1".to_owned(),
        // Two sets share the repository: each admits the other's.
        "ghcr.io/acme/app:nightly-7".to_owned(),
        "GHCR.io:443/acme/app:v2".to_owned(),
        "ghcr.io/acme/worker:v2-debian".to_owned(),
        // The digest alone decides; the text of the tag does not.
        format!("ghcr.io/acme/app:whatever@{}", of_app("v2")),
        format!("ghcr.io/acme/app@{}", of_app("v1")),
        "docker.io/acme/hub:v2".to_owned(),
        // Nothing of theirs is judged.
        "ghcr.io/acme/fresh:anything".to_owned(),
        "ghcr.io/acme/app-tools:v9".to_owned(),
        "ghcr.io/acme/app/tools:v9".to_owned(),
        "quay.io/acme/app:v9".to_owned(),
        "nginx".to_owned(),
        "localhost:5000/app:v9".to_owned(),
        "@@::///".to_owned(),
    ];
    for image in &passes {
        assert_eq!(world.probe(image).await.0, 201, "{image}: {:?}", world.probe(image).await);
    }
    let refused = [
        "ghcr.io/acme/app:v9".to_owned(),
        "ghcr.io/acme/app".to_owned(),
        "ghcr.io/acme/app:v2-evil".to_owned(),
        "ghcr.io/acme/app:v".to_owned(),
        "ghcr.io/acme/app:v-failed".to_owned(),
        "ghcr.io/acme/app:v-superseded".to_owned(),
        // A foreign digest under a promoted tag.
        format!("ghcr.io/acme/app:v2@{}", digest("evil")),
        format!("ghcr.io/acme/app@{}", digest("evil")),
        format!("ghcr.io/acme/app:v2@sha512:{}", "a".repeat(128)),
        // Without the template.
        "ghcr.io/acme/worker:v2".to_owned(),
        // Other spellings of the same place.
        "GHCR.IO/acme/app:v9".to_owned(),
        "ghcr.io:443/acme/app:v9".to_owned(),
        "ghcr.io:0443/acme/app:v9".to_owned(),
        "acme/hub:v9".to_owned(),
        "docker.io/acme/hub:v9".to_owned(),
        "index.docker.io/acme/hub:v9".to_owned(),
        "registry-1.docker.io/acme/hub:v9".to_owned(),
        " ghcr.io/acme/app:v9".to_owned(),
        // Upon words like these kustomize-controller deletes what has `force`, whatever the code.
        "ghcr.io/acme/app:x is immutable".to_owned(),
        "ghcr.io/acme/app:immutable\tfield".to_owned(),
        // What a node has stored, by its id.
        digest("an image"),
    ];
    for image in &refused {
        let (code, words) = world.probe(image).await;
        assert_eq!(code, 403, "{image}: {words}");
        assert!(words.contains("not promoted") && words.contains("breakGlass"), "{image}: {words}");
        assert!(!words.contains("immutable"), "{words}");
    }
}

#[tokio::test]
async fn sequence_12_no_kind_and_no_place_is_a_way_around() {
    let Some(world) = World::start(SUITE, json!({})).await else { return };
    world.set("shop", &[APP], &["v1"]).await;
    world.sync().await;
    world.until_refused("ghcr.io/acme/app:v9").await;
    world.until_passes("ghcr.io/acme/app:v1").await;
    for (image, code) in [("ghcr.io/acme/app:v9", 403), ("ghcr.io/acme/app:v1", 201)] {
        for object in all_kinds(image) {
            let kind = object["kind"].clone();
            assert_eq!(world.dry(&world.client, object).await.0, code, "{kind} {image}");
        }
        let mut init = deployment("init", &["nginx"]);
        init["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "i", "image": image}]);
        assert_eq!(world.dry(&world.client, init).await.0, code);
        let second = deployment("second", &["nginx", image]);
        assert_eq!(world.dry(&world.client, second).await.0, code);
        let mut volume = deployment("volume", &["nginx"]);
        volume["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "image": {"reference": image}}]);
        assert_eq!(world.dry(&world.client, volume).await.0, code, "an image volume");
    }
    // A container that is brought into a running pod, by its own subresource.
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "running"}});
    pod["spec"] = template("running", &["nginx"])["spec"].clone();
    assert_eq!(world.create(&world.client, pod).await.0, 201);
    for (image, code) in [("ghcr.io/acme/app:v9", 403), ("ghcr.io/acme/app:v1", 201), ("busybox", 201)] {
        assert_eq!(ephemeral(&world, image).await, code, "an ephemeral container {image}");
    }
}

/// What becomes of `kubectl debug` with this image.
async fn ephemeral(world: &World, image: &str) -> u16 {
    let uri = format!("/api/v1/namespaces/{}/pods/running/ephemeralcontainers?dryRun=All", world.namespace);
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": image}]}});
    let request = http::Request::patch(uri)
        .header("Content-Type", "application/strategic-merge-patch+json")
        .body(patch.to_string().into_bytes())
        .unwrap();
    match world.client.request_text(request).await {
        Ok(_) => 201,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn unchanged_images_pass_and_changed_ones_are_judged() {
    let Some(world) = World::start(SUITE, json!({})).await else { return };
    // What runs from before the guard, or fell out of every history.
    let old = deployment("app", &["ghcr.io/acme/app:v0"]);
    assert_eq!(world.create(&world.client, old.clone()).await.0, 201);
    world.set("shop", &[APP], &["v1"]).await;
    world.sync().await;
    world.until_refused("ghcr.io/acme/app:v9").await;
    world.until_passes("ghcr.io/acme/app:v1").await;
    let restarted = json!({"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}});
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c0", "image": image}]}}}});
    for (patch, code) in [
        (json!({"spec": {"replicas": 3}}), 201),
        (restarted, 201),
        (image("ghcr.io/acme/app:v0"), 201),
        (image("ghcr.io/acme/app:v9"), 403),
        (image("ghcr.io/acme/app:v1"), 201),
        // Back again is a change.
        (image("ghcr.io/acme/app:v0"), 403),
    ] {
        let answer = world.patch(&world.client, &old, patch.clone()).await;
        assert_eq!(answer.0, code, "{patch}: {answer:?}");
    }
}

#[tokio::test]
async fn broken_glass_opens_one_set_and_closes_again() {
    let Some(world) = World::start(SUITE, json!({})).await else { return };
    world.set("shop", &[APP], &["v1"]).await;
    world.set("web", &[("web", "ghcr.io/acme/web", "{tag}")], &["v1"]).await;
    assert!(world.sync().await.written);
    assert!(!world.sync().await.written, "at rest nothing is written");
    world.until_refused("ghcr.io/acme/app:v9").await;
    let set =
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "metadata": {"name": "shop"}});
    for bad in [json!({}), json!({"reason": ""}), json!({"reason": "  "}), json!({"reason": "two\nlines"})] {
        let patch = json!({"spec": {"breakGlass": bad}});
        assert_eq!(world.patch(&world.client, &set, patch).await.0, 422, "{bad}");
    }
    let patch = json!({"spec": {"breakGlass": {"reason": "v1 leaks"}}});
    assert_eq!(world.patch(&world.client, &set, patch).await.0, 201);
    assert_eq!(world.sync().await.opened[0].reason, "v1 leaks");
    world.until_passes("ghcr.io/acme/app:v9").await;
    assert_eq!(world.probe("ghcr.io/acme/web:v9").await.0, 403);
    assert_eq!(world.patch(&world.client, &set, json!({"spec": {"breakGlass": null}})).await.0, 201);
    assert_eq!(world.sync().await.closed[0].name, "shop");
    world.until_refused("ghcr.io/acme/app:v9").await;
}

/// One object of each kind that runs containers, suspended where it can be.
fn all_kinds(image: &str) -> Vec<Value> {
    let pods = template("x", &[image]);
    let mut once = pods.clone();
    once["spec"]["restartPolicy"] = json!("Never");
    let selector = json!({"matchLabels": {"app": "x"}});
    let object = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    let of_pods = json!({"selector": selector, "template": pods});
    let mut stateful = of_pods.clone();
    stateful["serviceName"] = json!("x");
    let mut idle = of_pods.clone();
    (idle["replicas"], idle["paused"]) = (json!(0), json!(true));
    let job = json!({"suspend": true, "template": once});
    vec![
        object("apps/v1", "Deployment", idle),
        object("apps/v1", "StatefulSet", stateful),
        object("apps/v1", "DaemonSet", of_pods.clone()),
        object("apps/v1", "ReplicaSet", of_pods),
        object("v1", "ReplicationController", json!({"selector": {"app": "x"}, "template": pods})),
        object("batch/v1", "Job", job.clone()),
        object(
            "batch/v1",
            "CronJob",
            json!({"schedule": "0 0 * * *", "suspend": true, "jobTemplate": {"spec": {"template": once}}}),
        ),
        object("v1", "Pod", once["spec"].clone()),
    ]
}
