//! The guard between the real controllers of Flux and the API server: what a refusal does to siblings, and to what has `force`.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::world::{World as Guarded, install, render};
use crate::flux::git::Repository;
use crate::flux::objects::{deployment, git_repository, helm_release, kustomization};
use crate::flux::world::World;

const SUITE: &str = "guard beside Flux";
const APP: (&str, &str, &str) = ("app", "ghcr.io/acme/app", "{tag}");
const WORKER: (&str, &str, &str) = ("worker", "ghcr.io/acme/worker", "{tag}");
/// Words of every refusal.
const REFUSED: &str = "this reference is not promoted";

/// A Kustomization of these files at work, and then the guard of a set that promoted v1 and v2.
async fn guarded(world: &World, values: Value, files: &[(&str, &str)], spec: Value) -> (Guarded, Repository) {
    let repository = world.git.create("fleet", files);
    world.create(git_repository("fleet", &repository.url)).await;
    let mut apps = kustomization("apps", "fleet", "./apps", &world.namespace);
    apps["spec"].as_object_mut().unwrap().extend(spec.as_object().cloned().unwrap_or_default());
    world.create(apps).await;
    until_applied(world, &repository).await;
    let guard = Guarded::guarding(SUITE, world.plane, &world.namespace, values).await.unwrap();
    guard.set("shop", &[APP, WORKER], &["v2", "v1"]).await;
    guard.sync().await;
    guard.until_refused("ghcr.io/acme/app:v9").await;
    guard.until_passes("ghcr.io/acme/app:v2").await;
    (guard, repository)
}

fn revision(repository: &Repository) -> String {
    format!("main@sha1:{}", repository.head())
}

async fn until_applied(world: &World, repository: &Repository) {
    let head = revision(repository);
    world
        .until("the newest commit", "Kustomization", "apps", |now| {
            now["status"]["lastAppliedRevision"] == head
        })
        .await;
}

/// Waits until the newest commit was tried and refused, and once more when asked; the words.
async fn until_refused(world: &World, repository: &Repository) -> String {
    let head = revision(repository);
    let words = |now: &Value| {
        let conditions = now["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|one| one["type"] == "Ready" && one["status"] == "False");
        ready.and_then(|ready| ready["message"].as_str().map(str::to_owned)).unwrap_or_default()
    };
    let refused =
        |now: &Value| now["status"]["lastAttemptedRevision"] == head && words(now).contains(REFUSED);
    world.until("a refusal", "Kustomization", "apps", refused).await;
    world.request("Kustomization", "apps").await;
    let again = |now: &Value| {
        let asked = &now["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
        refused(now) && &now["status"]["lastHandledReconcileAt"] == asked
    };
    words(&world.until("another refusal", "Kustomization", "apps", again).await)
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (&**path, &**text)).collect()
}

fn images(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
}

#[tokio::test]
async fn a_refused_deployment_leaves_its_siblings_unapplied() {
    let Some(world) = World::start(SUITE).await else { return };
    let files = |app: &str, worker: &str, web: &str| {
        [("app", app), ("worker", worker), ("web", web)]
            .map(|(name, image)| (format!("apps/{name}.yaml"), deployment(name, image)))
    };
    let before = files("ghcr.io/acme/app:v1", "ghcr.io/acme/worker:v1", "nginx:1");
    let before = borrowed(&before);
    let (_guard, repository) = guarded(&world, json!({}), &before, json!({})).await;
    let running =
        images(&[("app", "ghcr.io/acme/app:v1"), ("worker", "ghcr.io/acme/worker:v1"), ("web", "nginx:1")]);
    assert_eq!(world.images().await, running);

    // One of three is refused; the others would pass, and one is new.
    let mixed = files("ghcr.io/acme/app:v9", "ghcr.io/acme/worker:v2", "nginx:2");
    let late = deployment("a-new-one", "nginx:2");
    let mut mixed = borrowed(&mixed);
    mixed.push(("apps/a-new-one.yaml", &late));
    repository.commit(&mixed, "Half a release");
    let words = until_refused(&world, &repository).await;
    assert!(words.contains("Deployment/") && words.contains("/app dry-run failed (Forbidden)"), "{words}");
    assert_eq!(world.images().await, running, "all or nothing");
    assert_eq!(world.states().await.last().unwrap().images, running);
    let writes = world.writes().await.iter().filter(|write| write.resource == "deployments").count();
    assert_eq!(writes, 3, "the three of the first commit");

    let whole = files("ghcr.io/acme/app:v2", "ghcr.io/acme/worker:v2", "nginx:2");
    repository.commit(&borrowed(&whole), "A promoted release");
    until_applied(&world, &repository).await;
    world
        .until_running(&[
            ("app", "ghcr.io/acme/app:v2"),
            ("worker", "ghcr.io/acme/worker:v2"),
            ("a-new-one", "nginx:2"),
        ])
        .await;
    world.end().await;
}

#[tokio::test]
async fn a_refusal_deletes_nothing_where_the_kustomization_has_force() {
    forced(json!({"force": true}), "").await;
}

#[tokio::test]
async fn a_refusal_deletes_nothing_where_the_deployment_has_force() {
    forced(json!({}), "  annotations: {kustomize.toolkit.fluxcd.io/force: enabled}\n").await;
}

/// What kustomize-controller may delete and make anew stays as it is upon our 403, and is lost upon the very same policy with the
/// reason that a policy has by default.
async fn forced(spec: Value, metadata: &str) {
    let Some(world) = World::start(SUITE).await else { return };
    let app = |tag: &str| {
        let name = "  name: app\n";
        deployment("app", &format!("ghcr.io/acme/app:{tag}")).replacen(name, &format!("{name}{metadata}"), 1)
    };
    let (guard, repository) = guarded(&world, json!({}), &[("apps/app.yaml", &app("v1"))], spec).await;
    let uid = async || Some(world.read("Deployment", "app").await?["metadata"]["uid"].clone());
    let running = uid().await;
    assert!(running.is_some());
    repository.commit(&[("apps/app.yaml", &app("v9"))], "Not promoted");
    let words = until_refused(&world, &repository).await;
    assert!(words.contains("dry-run failed (Forbidden)"), "{words}");
    assert_eq!(uid().await, running);
    assert_eq!(world.images().await, images(&[("app", "ghcr.io/acme/app:v1")]));
    let deleted = |writes: &[crate::cluster::audit::Write]| {
        writes.iter().any(|write| write.resource == "deployments" && write.verb == "delete")
    };
    assert!(!deleted(&world.writes().await));

    // The same expressions with the default reason, as if nobody had thought of it.
    world.patch("Kustomization", "apps", json!({"spec": {"suspend": true}})).await;
    world.until_quiet().await;
    as_invalid(&guard).await;
    world.patch("Kustomization", "apps", json!({"spec": {"suspend": false}})).await;
    world.request("Kustomization", "apps").await;
    world
        .wait("kustomize-controller to delete what runs", async || match uid().await {
            None => Ok(()),
            found => Err(format!("{found:?} runs")),
        })
        .await;
    let writes = world.plane.writes(&world.namespace);
    let by = writes.iter().find(|write| write.resource == "deployments" && write.verb == "delete").unwrap();
    assert_eq!(by.user, "kustomize-controller");
    world.end().await;
}

/// Puts the reason `Invalid` in the place of `Forbidden`, and waits until that holds.
async fn as_invalid(guard: &Guarded) {
    let values = json!({"guard": {"enabled": true, "mode": "Deny"}});
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(guard.client.clone());
    for mut object in render(SUITE, &values).unwrap() {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if !name.ends_with("-guard") {
            continue;
        }
        if object["kind"] == "ValidatingAdmissionPolicyBinding" {
            object["spec"]["policyName"] = json!(format!("{name}-invalid"));
            bindings.delete(&format!("{name}-{}", guard.namespace), &DeleteParams::default()).await.unwrap();
        } else {
            for validation in object["spec"]["validations"].as_array_mut().unwrap() {
                validation["reason"] = json!("Invalid");
            }
        }
        object["metadata"]["name"] = json!(format!("{name}-invalid"));
        install(&guard.client, &guard.namespace, object).await;
    }
    super::following::until("the other reason", async || match guard.probe("ghcr.io/acme/app:v9").await {
        (422, _) => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;
}

#[tokio::test]
async fn values_of_a_helm_release_are_refused_with_their_siblings() {
    let Some(world) = World::start(SUITE).await else { return };
    let template = deployment("worker", "ghcr.io/acme/worker:{{ .Values.release.tag }}");
    let chart = [
        ("Chart.yaml", "apiVersion: v2\nname: worker\nversion: 1.0.0\n"),
        ("values.yaml", "release: {tag: none}\n"),
        ("templates/deployment.yaml", &template),
    ];
    world.chart("worker", "1.0.0", &chart).await;
    let release = |tag: &str| {
        let mut release = helm_release("worker", "worker", &json!([]));
        release["spec"]["values"] = json!({"release": {"tag": tag}});
        release.to_string()
    };
    let app = |tag: &str| deployment("app", &format!("ghcr.io/acme/app:{tag}"));
    let values = json!({"helmReleases": [{"repository": "ghcr.io/acme/worker", "tagPath": "release.tag"}]});
    let before = [("apps/worker.yaml", &*release("v1")), ("apps/app.yaml", &*app("v1"))];
    let (_guard, repository) = guarded(&world, values, &before, json!({})).await;
    let both = |tag: &str| {
        [("app", format!("ghcr.io/acme/app:{tag}")), ("worker", format!("ghcr.io/acme/worker:{tag}"))]
    };
    let until_both = async |tag: &str| {
        let both = both(tag);
        world.until_running(&both.each_ref().map(|(name, image)| (*name, &**image))).await;
    };
    until_both("v1").await;
    world.until_quiet().await;

    repository
        .commit(&[("apps/worker.yaml", &release("v9")), ("apps/app.yaml", &app("v2"))], "Half a release");
    let words = until_refused(&world, &repository).await;
    assert!(
        words.contains("HelmRelease/") && words.contains("/worker dry-run failed (Forbidden)"),
        "{words}"
    );
    let kept = world.read("HelmRelease", "worker").await.unwrap();
    assert_eq!(kept["spec"]["values"]["release"]["tag"], "v1");
    assert_eq!(world.images().await, both("v1").map(|(name, image)| (name.to_owned(), image)).into());

    repository
        .commit(&[("apps/worker.yaml", &release("v2")), ("apps/app.yaml", &app("v2"))], "A promoted release");
    until_both("v2").await;
    world.end().await;
}
