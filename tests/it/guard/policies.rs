//! Who may write what is promoted, who is exempt, and what is only warned of.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::world::{CONTROLLER, World, deployment, render, template};
use crate::cluster::control_plane;

const SUITE: &str = "guard";
const APP: (&str, &str, &str) = ("app", "ghcr.io/acme/app", "{tag}");

#[test]
fn every_validation_is_forbidden_and_nothing_is_there_unasked() {
    let Some(none) = render(SUITE, &json!({})) else { return };
    assert_eq!(none, Vec::<Value>::new());
    let values = json!({"guard": {"enabled": true, "helmReleases": [{"imagePath": "image"}]}});
    let all = render(SUITE, &values).unwrap();
    let policies: Vec<_> = all.iter().filter(|one| one["kind"] == "ValidatingAdmissionPolicy").collect();
    assert_eq!(policies.len(), 3);
    for validation in policies.iter().flat_map(|policy| policy["spec"]["validations"].as_array().unwrap()) {
        assert_eq!(validation["reason"], "Forbidden");
        let words = validation["message"].as_str().unwrap();
        assert!(!words.contains("immutable") && !words.contains('\n'), "{words}");
    }
    for binding in bindings(&all) {
        assert_eq!(binding["spec"]["validationActions"], json!(["Warn", "Audit"]));
        let chosen = &binding["spec"]["matchResources"]["namespaceSelector"];
        assert_eq!(chosen, &json!({"matchLabels": {"tidegate.dev/guard": "enabled"}}));
        let params = &binding["spec"]["paramRef"];
        assert!(params.is_null() || params["parameterNotFoundAction"] == "Allow");
    }
}

fn bindings(all: &[Value]) -> impl Iterator<Item = &Value> {
    all.iter().filter(|one| one["kind"] == "ValidatingAdmissionPolicyBinding")
}

#[test]
fn each_mode_is_said_to_every_binding_and_a_release_for_one_namespace_judges_that_alone() {
    let values = |mode: &str| json!({"watchNamespace": "shop", "guard": {"enabled": true, "mode": mode, "helmReleases": [{"imagePath": "image"}]}});
    for (mode, actions) in
        [("Warn", json!(["Warn", "Audit"])), ("Audit", json!(["Audit"])), ("Deny", json!(["Deny"]))]
    {
        let Some(all) = render(SUITE, &values(mode)) else { return };
        assert_eq!(bindings(&all).count(), 3);
        for binding in bindings(&all) {
            assert_eq!(binding["spec"]["validationActions"], actions);
            let chosen = &binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"];
            assert_eq!(
                chosen,
                &json!({"tidegate.dev/guard": "enabled", "kubernetes.io/metadata.name": "shop"})
            );
        }
    }
}

#[tokio::test]
async fn what_is_promoted_is_written_by_the_controller_alone() {
    let Some(world) = World::start(SUITE, json!({})).await else { return };
    world.set("shop", &[APP], &["v1"]).await;
    world.sync().await;
    world.until_refused("ghcr.io/acme/app:v9").await;
    let map = |name: &str, labels: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels},
            "data": {"RELEASE_TAG": "v1"}})
    };
    let list = map("tidegate-guard", json!({}));
    let target = map("release", json!({"tidegate.dev/set": "shop"}));
    assert_eq!(world.create(&world.client, target.clone()).await.0, 403);
    assert_eq!(world.create(&world.controller, target.clone()).await.0, 201);
    assert_eq!(world.create(&world.client, map("other", json!({}))).await.0, 201);
    for (object, patch, code) in [
        (&list, json!({"data": {"allowed": "ghcr.io/acme/app:v9\n"}}), 403),
        (&target, json!({"data": {"RELEASE_TAG": "v9"}}), 403),
        // The label cannot be taken off, nor a way be made for garbage collection.
        (&target, json!({"metadata": {"labels": {"tidegate.dev/set": null}}}), 403),
        (
            &target,
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1"}]}}),
            403,
        ),
        (&target, json!({"immutable": true}), 403),
        (&target, json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}), 201),
        (&target, json!({"metadata": {"finalizers": ["finalizers.fluxcd.io/x"]}}), 201),
        (&target, json!({"metadata": {"finalizers": null}}), 201),
        (&map("other", json!({})), json!({"metadata": {"labels": {"tidegate.dev/set": "shop"}}}), 403),
    ] {
        let answer = world.patch(&world.client, object, patch.clone()).await;
        assert_eq!(answer.0, code, "{patch}: {answer:?}");
    }
    for object in [list, target.clone()] {
        let (api, object) = world.of(&world.client, object);
        let refused = api.delete(&object.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap_err();
        assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    }
    let status = json!({"status": {"promoted": {"tag": "v9", "sequence": 9}}});
    let (api, _) = world.of(
        &world.client,
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "metadata": {"name": "shop"}}),
    );
    let params = kube::api::PatchParams::default();
    let refused = api.patch_status("shop", &params, &kube::api::Patch::Merge(status)).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403), "a person's status");
    assert_eq!(world.patch(&world.controller, &target, json!({"data": {"RELEASE_TAG": "v2"}})).await.0, 201);
}

#[tokio::test]
async fn exempt_is_who_asks_and_nothing_that_an_object_says() {
    let Some(world) = World::start(SUITE, json!({})).await else { return };
    world.set("shop", &[APP], &["v1"]).await;
    world.sync().await;
    world.until_refused("ghcr.io/acme/app:v9").await;
    let image = "ghcr.io/acme/app:v9";
    let mut pods = template("x", &[image]);
    pods["spec"]["restartPolicy"] = json!("Never");
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "1", "controller": true}]);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "labels": {"tidegate.dev/set": "shop"}},
        "spec": {"template": pods}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "ownerReferences": owner},
        "spec": pods["spec"]});
    for (user, object, code) in [
        (CONTROLLER, &job, 201),
        (CONTROLLER, &deployment("x", &[image]), 403),
        ("admin", &job, 403),
        ("admin", &pod, 403),
        ("system:serviceaccount:kube-system:replicaset-controller", &pod, 201),
        ("system:serviceaccount:kube-system:job-controller", &pod, 201),
        ("system:serviceaccount:kube-system:replicaset-controller", &deployment("x", &[image]), 403),
        ("system:serviceaccount:other:replicaset-controller", &pod, 403),
    ] {
        let client = control_plane::client(&world.plane.kubeconfig_of(user, "system:masters")).await;
        let answer = world.dry(&client, object.clone()).await;
        assert_eq!(answer.0, code, "{user} {}: {answer:?}", object["kind"]);
    }
}
