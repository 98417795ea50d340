//! `tidegate doctor` on a real API server with the real kinds and controllers of Flux.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::fixture::{Answer, Call, Folder};
use crate::flux::objects::{git_repository, kustomization, object};
use crate::flux::world::World;

const SUITE: &str = "doctor beside Flux";
/// A call of the API server has 10 s, a lease is watched for 6; nothing else waits.
const LIMIT: Duration = Duration::from_secs(30);

/// A set whose release is a ConfigMap, in the folder of the apps.
fn release_set(namespace: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: ReleaseSet\nmetadata: {{name: shop, namespace: {namespace}}}\nspec:\n  \
         images: [{{name: app, repository: ghcr.io/acme/app}}]\n  candidates:\n    filterTags: {{pattern: 'main-[0-9]+'}}\n    \
         policy: {{alphabetical: {{}}}}\n  targets: [{{name: config, configMap: {{name: acme-release}}}}]\n"
    )
}

/// The Kustomization that applies it, and reads the ConfigMap.
fn apps(namespace: &str, optional: bool) -> Value {
    let mut apps = kustomization("apps", "fleet", "./apps", namespace);
    let map = json!({"kind": "ConfigMap", "name": "acme-release", "optional": optional});
    apps["spec"]["postBuild"] = json!({"substituteFrom": [map]});
    apps["metadata"]["namespace"] = namespace.into();
    apps
}

async fn doctor(kubeconfig: &Path, args: &[&str]) -> Answer {
    let args = [&["doctor", "--no-registry"], args].concat();
    let call = Call::new(&args).env("KUBECONFIG", kubeconfig);
    let answer = tokio::task::spawn_blocking(|| call.answer());
    tokio::time::timeout(LIMIT, answer).await.expect("the doctor is bounded").unwrap()
}

/// The severities of one check, and what it found.
fn told(answer: &Answer, check: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.whole()));
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings.map(|finding| (text(&finding["severity"]), text(&finding["what"]))).collect()
}

fn only<'a>(told: &'a [(String, String)], severity: &str) -> &'a str {
    let [(of, what)] = told else { panic!("{told:?}") };
    assert_eq!(of, severity, "{what}");
    what
}

/// Set and apps in one Kustomization that cannot do without the set's ConfigMap: with the real kustomize-controller the set
/// never comes, and its files show why; where it came before, the cluster does.
#[tokio::test]
async fn sequence_25_a_bootstrap_deadlock_is_found_before_and_after_it_stands() {
    let Some(world) = World::start(SUITE).await else { return };
    let (namespace, admin) = (world.namespace.as_str(), world.plane.kubeconfig());
    let set = release_set(namespace);
    let repository = world.git.create("fleet", &[("apps/set.yaml", &*set)]);
    world.create(git_repository("fleet", &repository.url)).await;
    world.create(apps(namespace, false)).await;
    let fails = |now: &Value| now["status"]["conditions"].to_string().contains("acme-release");
    world.until("a build that misses the ConfigMap", "Kustomization", "apps", fails).await;
    assert_eq!(world.read("ReleaseSet", "shop").await, None, "the set waits for its own ConfigMap");

    let folder = Folder::new(&format!("doctor-{namespace}"));
    for name in ["apps", "clusters"] {
        std::fs::create_dir_all(folder.0.join(name)).unwrap();
    }
    std::fs::write(folder.0.join("apps/set.yaml"), &set).unwrap();
    std::fs::write(folder.0.join("clusters/apps.yaml"), apps(namespace, false).to_string()).unwrap();
    let path = folder.0.to_str().unwrap();
    let files = doctor(admin, &["-n", namespace, "--path", path, "-o", "json"]).await;
    assert_eq!(files.code, 1, "{}", files.whole());
    let what = only(&told(&files, "bootstrap-files"), "fail").to_owned();
    assert!(what.contains("Kustomization apps applies it and reads its ConfigMap acme-release"), "{what}");

    // It comes once the ConfigMap may be absent; taking that back is the deadlock of the next cluster.
    let optional = |optional: bool| json!({"spec": apps(namespace, optional)["spec"]});
    world.patch("Kustomization", "apps", optional(true)).await;
    world.until("the set", "ReleaseSet", "shop", |_| true).await;
    let well = doctor(admin, &["-n", namespace, "-o", "json"]).await;
    only(&told(&well, "bootstrap"), "ok");
    only(&told(&well, "substitution"), "ok");
    only(&told(&well, "patterns"), "warn");
    world.patch("Kustomization", "apps", optional(false)).await;
    let stands = doctor(admin, &["-n", namespace, "-o", "json"]).await;
    assert_eq!(stands.code, 1, "{}", stands.whole());
    let what = only(&told(&stands, "bootstrap"), "fail").to_owned();
    assert!(what.starts_with(&format!("Kustomization {namespace}/apps applies this set")), "{what}");
    world.end().await;
}

/// What the kinds of Flux say about the way of an imagePolicy target, and the CRDs about versions.
#[tokio::test]
async fn the_way_of_a_release_through_flux_is_read_from_its_real_kinds() {
    let Some(world) = World::start(SUITE).await else { return };
    let (namespace, admin) = (world.namespace.as_str(), world.plane.kubeconfig());
    let mut set = object(
        "ReleaseSet",
        "shop",
        &json!({
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {"policy": {"alphabetical": {}}},
            "targets": [{"name": "flux", "imagePolicy": {"name": "shop", "imageRepositoryRef": {"name": "app"}}}],
        }),
    );
    set["metadata"]["namespace"] = namespace.into();
    world.create(set).await;
    let empty = doctor(admin, &["shop", "-n", namespace, "-o", "json"]).await;
    let missing = told(&empty, "flux");
    assert!(missing.iter().all(|(severity, _)| severity == "fail") && missing.len() == 2, "{missing:?}");
    // The label of Flux's Deployments is not there; its kinds are.
    only(&told(&empty, "flux-version"), "unknown");
    only(&told(&empty, "crd"), "ok");
    only(&told(&empty, "clock"), "ok");
    only(&told(&empty, "rights"), "ok");
    let spec =
        json!({"image": "ghcr.io/acme/app", "interval": "1h", "suspend": true, "exclusionList": ["^main-"]});
    world.create(object("ImageRepository", "app", &spec)).await;
    let spec = json!({
        "interval": "1h", "suspend": true, "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        "git": {"commit": {"author": {"email": "flux@example.org"}}, "push": {"branch": "releases"},
            "checkout": {"ref": {"branch": "main"}}},
    });
    world.create(object("ImageUpdateAutomation", "updates", &spec)).await;
    let found = told(&doctor(admin, &["shop", "-n", namespace, "-o", "json"]).await, "flux");
    let words: Vec<&str> = found.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(
        words,
        [
            "ImageRepository app is suspended",
            "ImageUpdateAutomation updates is suspended",
            "updates pushes to branch releases, and checks out main"
        ]
    );
    world.end().await;
}

/// Somebody who may read sets of one namespace and nothing else: every other check says that it could not be told.
#[tokio::test]
async fn who_may_read_nothing_else_is_told_what_could_not_be_told() {
    let Some(world) = World::start(SUITE).await else { return };
    let namespace = world.namespace.as_str();
    world.apply(&release_set(namespace)).await;
    let user = format!("reader-{namespace}");
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": ["tidegate.dev"], "resources": ["releasesets"], "verbs": ["get", "list"]}],
    }))
    .unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }))
    .unwrap();
    let params = PostParams::default();
    Api::namespaced(world.client.clone(), namespace).create(&params, &role).await.unwrap();
    Api::namespaced(world.client.clone(), namespace).create(&params, &binding).await.unwrap();
    let kubeconfig = world.plane.kubeconfig_of(&user, "people");
    let answer = world
        .wait("what RBAC allows to be in force", async || {
            let answer = doctor(&kubeconfig, &["-n", namespace, "-o", "json"]).await;
            if answer.stdout.is_empty() { Err(answer.whole()) } else { Ok(answer) }
        })
        .await;
    for check in ["crd", "controller", "lease", "guard", "watched", "controller-rights"] {
        only(&told(&answer, check), "unknown");
    }
    let readers = told(&answer, "substitution");
    assert!(readers.len() == 3 && readers.iter().all(|(severity, _)| severity == "unknown"), "{readers:?}");
    // Discovery, the own rights and the Date of an answer are everybody's.
    let rights = only(&told(&answer, "rights"), "info").to_owned();
    assert!(rights.contains("patch releasesets.tidegate.dev"), "{rights}");
    only(&told(&answer, "clock"), "ok");
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    let why = report["findings"][0]["why"].as_str().unwrap();
    assert!(why.contains("you may not read it") && why.contains(&user), "{why}");
    world.end().await;
}
