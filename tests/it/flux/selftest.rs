//! The parts themselves, without Tidegate: each does what the scenarios build on, and the naive wiring half-rolls.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::git::Repository;
use super::objects::{
    deployment, git_repository, helm_release, image_repository, image_update_automation, kustomization,
    kustomization_file, marker, newest_main, object, tag_marker,
};
use super::world::World;
use crate::cluster::audit::{self, State, Write};

const SUITE: &str = "parts of Flux";

/// One image, one marker each.
const SIBLINGS: [&str; 3] = ["app", "worker", "embeddings"];

#[tokio::test]
async fn a_pushed_commit_is_applied_and_its_drift_is_mended() {
    let Some(world) = World::start(SUITE).await else { return };
    let repository = world.git.create("fleet", &[("apps/app.yaml", &deployment("app", "acme/app:main-1"))]);
    world.create(git_repository("fleet", &repository.url)).await;
    world.create(kustomization("apps", "fleet", "./apps", &world.namespace)).await;
    world.until_running(&[("app", "acme/app:main-1")]).await;

    let commit = repository.commit(&[("apps/app.yaml", &deployment("app", "acme/app:main-2"))], "Roll 2");
    world.until_running(&[("app", "acme/app:main-2")]).await;
    let applied = format!("main@sha1:{commit}");
    world
        .until("the revision", "Kustomization", "apps", |now| now["status"]["lastAppliedRevision"] == applied)
        .await;

    let edit = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "acme/app:oops"}]);
    let edit: Patch<()> = Patch::Json(serde_json::from_value(edit).unwrap());
    world.api("Deployment").patch("app", &PatchParams::default(), &edit).await.unwrap();
    world.request("Kustomization", "apps").await;
    world.until_running(&[("app", "acme/app:main-2")]).await;

    let carried: Vec<_> = world.states().await.iter().flat_map(State::tags).collect();
    assert_eq!(carried, ["main-1", "main-2", "oops", "main-2"]);
    let writers: Vec<_> =
        world.writes().await.into_iter().filter(|write| write.resource == "deployments").collect();
    let writers: Vec<_> = writers.iter().map(|write| write.user.as_str()).collect();
    assert_eq!(writers, ["kustomize-controller", "kustomize-controller", "admin", "kustomize-controller"]);
    world.end().await;
}

#[tokio::test]
async fn a_watched_config_map_is_applied_at_once_in_both_ways() {
    let Some(world) = World::start(SUITE).await else { return };
    let files = [("apps/app.yaml", &*deployment("app", "acme/app:${RELEASE_TAG}"))];
    let repository = world.git.create("fleet", &files);
    world.create(config_map("main-1")).await;
    world.create(git_repository("fleet", &repository.url)).await;
    let mut apps = kustomization("apps", "fleet", "./apps", &world.namespace);
    apps["spec"]["postBuild"] = json!({"substituteFrom": [{"kind": "ConfigMap", "name": "release"}]});
    world.create(apps).await;
    let template = deployment("worker", "acme/worker:{{ .Values.release.tag }}");
    let chart = [
        ("Chart.yaml", "apiVersion: v2\nname: worker\nversion: 1.0.0\n"),
        ("values.yaml", "release: {tag: none}\n"),
    ];
    world.chart("worker", "1.0.0", &[chart[0], chart[1], ("templates/deployment.yaml", &template)]).await;
    let values = json!([{"kind": "ConfigMap", "name": "release", "valuesKey": "RELEASE_TAG", "targetPath": "release.tag"}]);
    world.create(helm_release("worker", "worker", &values)).await;
    world.until_running(&[("app", "acme/app:main-1"), ("worker", "acme/worker:main-1")]).await;
    // A change while an upgrade is written down would be taken up with the next one.
    world.until_quiet().await;

    let begun = Instant::now();
    world.patch("ConfigMap", "release", json!({"data": {"RELEASE_TAG": "main-2"}})).await;
    world.until_running(&[("app", "acme/app:main-2"), ("worker", "acme/worker:main-2")]).await;
    println!("ConfigMap to Deployments of both {:?}", begun.elapsed());
    // Their intervals are ten minutes.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let writes = world.writes().await;
    let upgraded = |write: &Write| write.user == "helm-controller" && write.images == ["acme/worker:main-2"];
    assert!(writes.iter().any(upgraded), "{writes:#?}");
    world.end().await;
}

#[tokio::test]
async fn one_policy_moves_all_markers_in_one_commit_and_keeps_its_tag_when_nothing_matches() {
    let Some(world) = World::start(SUITE).await else { return };
    for name in SIBLINGS {
        world.push(name, "main-1").await;
        world.push(name, "main-2").await;
    }
    let repository = markers(&world, "shop").await;
    let exact = |tag: &str| {
        json!({"imageRepositoryRef": {"name": "app"}, "filterTags": {"pattern": format!("^{tag}$")},
            "policy": {"alphabetical": {"order": "asc"}}})
    };
    world.create(object("ImagePolicy", "shop", &exact("main-1"))).await;
    world.until("the tag", "ImagePolicy", "shop", |now| now["status"]["latestRef"]["tag"] == "main-1").await;
    world.until_quiet().await;
    assert_eq!(repository.log().len(), 1, "the files held that tag already");

    world.patch("ImagePolicy", "shop", json!({"spec": {"filterTags": {"pattern": "^main-2$"}}})).await;
    running(&world, "main-2").await;
    let log = repository.log();
    assert_eq!(log.len(), 2, "{log:#?}");
    assert_eq!(log[0].author, "flux");
    let told = |now: &Value| {
        let status = &now["status"];
        status["lastPushCommit"] == log[0].hash.as_str()
            && status["observedPolicies"]["shop"]["tag"] == "main-2"
    };
    world.until("the commit to be told", "ImageUpdateAutomation", "updates", told).await;

    world.patch("ImagePolicy", "shop", json!({"spec": {"filterTags": {"pattern": "^main-3$"}}})).await;
    let refused = |now: &Value| {
        let conditions = now["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "False"))
    };
    let unmatched = world.until("a refusal", "ImagePolicy", "shop", refused).await;
    assert_eq!(unmatched["status"]["latestRef"]["tag"], "main-2");
    assert!(
        unmatched["status"]["observedGeneration"].as_i64() < unmatched["metadata"]["generation"].as_i64()
    );
    // The tag arrives late; a scan on demand finds it (the interval is ten minutes).
    world.push("app", "main-3").await;
    world.request("ImageRepository", "app").await;
    running(&world, "main-3").await;

    world.delete("ImagePolicy", "shop").await;
    world.request("ImageUpdateAutomation", "updates").await;
    world.until_quiet().await;
    assert_eq!(repository.log().len(), 3, "without the policy nothing moves");
    assert!(repository.read("apps/kustomization.yaml").contains("newTag: main-3 #"));
    assert!(repository.read_at(&log[0].hash, "apps/kustomization.yaml").contains("newTag: main-2 #"));
    world.end().await;
}

#[tokio::test]
async fn without_tidegate_the_siblings_follow_the_app_to_images_that_are_not_there() {
    let Some(world) = World::start(SUITE).await else { return };
    for name in SIBLINGS {
        world.push(name, "main-1").await;
    }
    let repository = markers(&world, "app").await;
    world.create(newest_main("app", "app")).await;
    world.patch("ImageRepository", "app", json!({"spec": {"interval": "1s"}})).await;
    running(&world, "main-1").await;

    world.push("app", "main-2").await;
    running(&world, "main-2").await;
    assert_eq!(repository.log().len(), 2);
    let missing = format!("{}v2/acme/worker/manifests/main-2", world.registry.url());
    assert_eq!(reqwest::get(missing).await.unwrap().status(), 404);
    world.end().await;
}

#[tokio::test]
async fn without_tidegate_a_policy_per_image_mixes_releases() {
    let Some(world) = World::start(SUITE).await else { return };
    let mut files = Vec::new();
    for name in ["app", "worker"] {
        world.push(name, "main-1").await;
        world.create(image_repository(name, &world.repository(name), "1s")).await;
        world.create(newest_main(name, name)).await;
        let image = format!("{}:main-1 {}", world.repository(name), marker(&world.namespace, name));
        files.push((format!("apps/{name}.yaml"), deployment(name, &image)));
    }
    let files: Vec<_> = files.iter().map(|(path, content)| (&**path, &**content)).collect();
    let repository = world.git.create("fleet", &files);
    world.create(git_repository("fleet", &repository.url)).await;
    world.create(image_update_automation("updates", "fleet", "./apps")).await;
    world.create(kustomization("apps", "fleet", "./apps", &world.namespace)).await;
    let (app, worker) = (world.repository("app"), world.repository("worker"));
    let image = |name: &str, tag: &str| format!("{name}:{tag}");
    world.until_running(&[("app", &image(&app, "main-1")), ("worker", &image(&worker, "main-1"))]).await;
    world.push("app", "main-2").await;
    world.until_running(&[("app", &image(&app, "main-2")), ("worker", &image(&worker, "main-1"))]).await;
    world.until_quiet().await;
    assert!(world.states().await.last().is_some_and(State::is_mixed), "{:#?}", world.states().await);
    world.end().await;
}

#[tokio::test]
async fn beside_tidegate_the_release_waits_for_its_sibling() {
    let Some(world) = World::start(SUITE).await else { return };
    for name in ["app", "worker"] {
        world.push(name, "main-1").await;
    }
    let files = [("app", "${APP_IMAGE}"), ("worker", "${WORKER_IMAGE}")]
        .map(|(name, image)| (format!("apps/{name}.yaml"), deployment(name, image)));
    let files: Vec<_> = files.iter().map(|(path, content)| (&**path, &**content)).collect();
    let repository = world.git.create("fleet", &files);
    world.create(git_repository("fleet", &repository.url)).await;
    let mut apps = kustomization("apps", "fleet", "./apps", &world.namespace);
    apps["spec"]["postBuild"] = json!({"substituteFrom": [{"kind": "ConfigMap", "name": "release"}]});
    world.create(apps).await;
    world.apply(&release_set(&world, "configMap: {name: release}")).await;
    let _tidegate = world.tidegate(&[]).await;
    let carried = async |tag: &str| {
        world
            .wait(&format!("{tag} in both"), async || {
                let now = world.images().await;
                let all = now.len() == 2 && now.values().all(|image| audit::tag(image) == tag);
                if all { Ok(()) } else { Err(format!("they carry {now:?}")) }
            })
            .await;
    };
    carried("main-1").await;
    world.push("app", "main-2").await;
    world.until_quiet().await;
    let begun = Instant::now();
    world.push("worker", "main-2").await;
    carried("main-2").await;
    println!("last push to the applied Deployments {:?}", begun.elapsed());
    let tags: Vec<_> = world.states().await.iter().map(State::tags).collect();
    // The Deployments of one sync are written one after the other.
    let one_sync = |old: &str, new: &str| vec![vec![old.to_owned(), new.to_owned()], vec![new.to_owned()]];
    assert_eq!(tags[0], ["main-1"]);
    assert_eq!(tags[2..], one_sync("main-1", "main-2"));
    let writers: Vec<_> =
        world.writes().await.into_iter().filter(|write| write.resource == "configmaps").collect();
    assert_eq!(writers.iter().map(|write| &*write.user).collect::<Vec<_>>(), ["tidegate", "tidegate"]);
    world.end().await;
}

#[tokio::test]
async fn beside_tidegate_one_commit_moves_all_siblings() {
    let Some(world) = World::start(SUITE).await else { return };
    for name in SIBLINGS {
        world.push(name, "main-1").await;
    }
    let repository = markers(&world, "shop").await;
    world.patch("ImageRepository", "app", json!({"spec": {"interval": "1s"}})).await;
    world.apply(&release_set(&world, "imagePolicy: {name: shop, imageRepositoryRef: {name: app}}")).await;
    let _tidegate = world.tidegate(&[]).await;
    let selects = |tag: &'static str| move |now: &Value| now["status"]["latestRef"]["tag"] == tag;
    world.until("the first release", "ImagePolicy", "shop", selects("main-1")).await;
    world.push("app", "main-2").await;
    world.push("embeddings", "main-2").await;
    world.until_quiet().await;
    let begun = Instant::now();
    world.push("worker", "main-2").await;
    world
        .wait("the commit", async || if repository.log().len() == 2 { Ok(()) } else { Err(String::new()) })
        .await;
    let committed = begun.elapsed();
    running(&world, "main-2").await;
    println!("last push to commit {committed:?}, to the applied Deployments {:?}", begun.elapsed());
    world.until_quiet().await;
    assert_eq!(repository.log().len(), 2, "{:#?}", repository.log());
    world.end().await;
}

/// A ReleaseSet of `app` and `worker` with this target.
fn release_set(world: &World, target: &str) -> String {
    let (app, worker) = (world.repository("app"), world.repository("worker"));
    format!(
        "apiVersion: tidegate.dev/v1alpha1
kind: ReleaseSet
metadata:
  name: shop
spec:
  interval: 10s
  images:
  - {{name: app, repository: {app}}}
  - {{name: worker, repository: {worker}}}
  registry: {{insecure: true}}
  candidates:
    filterTags: {{pattern: '^main-(?P<n>[0-9]+)$', extract: $n}}
    policy: {{numerical: {{order: asc}}}}
  targets:
  - {{name: target, {target}}}
"
    )
}

/// A Git repository whose three Deployments take their tag from `policy`, applied, committed to, and scanned.
async fn markers(world: &World, policy: &str) -> Repository {
    let names = SIBLINGS.map(|name| format!("acme/{name}"));
    let repositories = SIBLINGS.map(|name| world.repository(name));
    let files = SIBLINGS.map(|name| (format!("apps/{name}.yaml"), deployment(name, &format!("acme/{name}"))));
    let images: Vec<_> = names.iter().zip(&repositories).map(|(name, to)| (&**name, &**to)).collect();
    let resources = SIBLINGS.map(|name| format!("{name}.yaml"));
    let resources: Vec<_> = resources.iter().map(String::as_str).collect();
    let index = kustomization_file(&resources, &images, "main-1", &tag_marker(&world.namespace, policy));
    let mut files: Vec<_> = files.iter().map(|(path, content)| (&**path, &**content)).collect();
    files.push(("apps/kustomization.yaml", &index));
    let repository = world.git.create("fleet", &files);
    world.create(git_repository("fleet", &repository.url)).await;
    world.create(image_repository("app", &world.repository("app"), "10m")).await;
    world.create(image_update_automation("updates", "fleet", "./apps")).await;
    world.create(kustomization("apps", "fleet", "./apps", &world.namespace)).await;
    running(world, "main-1").await;
    repository
}

async fn running(world: &World, tag: &str) {
    let images = SIBLINGS.map(|name| format!("{}:{tag}", world.repository(name)));
    let expected: Vec<_> = SIBLINGS.into_iter().zip(images.iter().map(String::as_str)).collect();
    world.until_running(&expected).await;
}

fn config_map(tag: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"RELEASE_TAG": tag},
        "metadata": {"name": "release", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}},
    })
}
