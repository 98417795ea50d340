//! Every right that the chart gives is used by the feature it is given for, and no other is asked for: the built controller plays
//! all features as the chart's service account, and the audit log of the API server tells what was asked.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::smoke_by_hand;
use crate::cluster::audit::Request;
use crate::cluster::tools::Tools;
use crate::companion::real::{release_set, wiring};
use crate::controller::real::Real;
use crate::flux::controllers;
use crate::flux::world::World;

const SUITE: &str = "rights of the chart";

/// Rights that no request here uses, each with the reason why the controller needs it all the same.
const EXCEPTIONS: [(Right<'static>, &str); 0] = [];

/// API group, resource and verb.
type Right<'a> = (&'a str, &'a str, &'a str);

#[tokio::test]
async fn every_right_is_used_and_none_is_missing() {
    let Some(world) = World::start(SUITE).await else { return };
    let namespace = format!("--leader-election-namespace={}", world.namespace);
    let _tidegate = world.tidegate(&["--leader-elect=true", &namespace]).await;
    let _repository = wiring(&world).await;
    for name in ["app", "worker"] {
        world.push(name, "main-1").await;
    }
    credentials(&world).await;
    world.create(release_set(&world.namespace)).await;
    every_target(&world).await;
    smoke(&world).await;
    let rolled_out = |now: &Value| now["status"]["targets"][0]["state"] == "RolledOut";
    world.until("main-1 is rolled out", "ReleaseSet", "shop", rolled_out).await;
    // From here on the automation is looked for, and a HelmRelease is waited for.
    let target = json!({"name": "flux", "imagePolicy": {"name": "shop", "imageRepositoryRef": {"name": "app"},
        "rolledOutBy": [{"kind": "Kustomization", "name": "apps"}, {"kind": "HelmRelease", "name": "later"}]}});
    world.patch("ReleaseSet", "shop", json!({"spec": {"targets": [target]}})).await;
    for name in ["app", "worker"] {
        world.push(name, "main-2").await;
    }
    for set in ["shop", "all"] {
        let promoted = |now: &Value| now["status"]["promoted"]["tag"] == "main-2";
        world.until("main-2 is promoted", "ReleaseSet", set, promoted).await;
    }
    // Every one of them, for a set that is being deleted writes none.
    let written = |now: &Value| {
        let targets = now["status"]["targets"].as_array();
        targets
            .is_some_and(|targets| targets.len() == 3 && targets.iter().all(|target| target["sequence"] == 2))
    };
    world.until("all three targets follow", "ReleaseSet", "all", written).await;
    world.delete("ReleaseSet", "all").await;
    assert!(world.read("ConfigMap", "all").await.is_none(), "deletionPolicy Delete");
    world
        .wait("every right to be used", async || {
            let unused = unused(world.rights(), &world.plane.requests(world.user()));
            if unused.is_empty() { Ok(()) } else { Err(format!("no request used {unused:#?}")) }
        })
        .await;
    every_kind_of_write_was_recorded(&world);
    // Secrets are never listed, in whatever namespace.
    let requests = world.plane.requests(world.user());
    let secrets = requests.iter().filter(|request| request.resource == "secrets");
    assert!(secrets.into_iter().all(|request| request.verb == "get"));
    // Fails on every request that was refused, and on every write that no set declares.
    world.end().await;
}

/// S9 is held by a record in which something of each kind stands.
fn every_kind_of_write_was_recorded(world: &World) {
    let written = world.plane.record(world.user()).written;
    for kind in [
        "releasesets/",
        "releasesets/status/",
        "configmaps/",
        "imagepolicies/",
        "resourcesetinputproviders/",
        "imagerepositories/",
        "jobs/",
        "events/",
        "leases/",
    ] {
        let of_kind = format!("{}/{kind}", world.namespace);
        assert!(written.iter().any(|object| object.starts_with(&of_kind)), "no {kind} in {written:#?}");
    }
}

#[tokio::test]
async fn every_right_of_the_guard_is_used_and_none_is_missing() {
    let Some(tools) = Tools::require(SUITE, &["flux-crds"]) else { return };
    // Targets are ImagePolicies: a rule for ConfigMaps of any name would hide what the guard's lack. Flux and smoke tests are
    // played above.
    let values = json!({
        "watchNamespace": "",
        "guard": {"enabled": true},
        "rbac": {"targets": {"configMap": false, "resourceSetInputProvider": false}},
    });
    let Some(mut real) = Real::prepare_with(SUITE, values).await else { return };
    controllers::install(&real.client, tools.path("flux-crds")).await;
    real.flags.push("--guard".to_owned());
    real.start_controller().await;
    let mut spec = real.spec("unused");
    spec["targets"] =
        json!([{"name": "flux", "imagePolicy": {"name": "shop", "imageRepositoryRef": {"name": "app"}}}]);
    real.create("shop", spec).await;
    for tag in ["main-1", "main-2"] {
        real.push_both(tag).await;
        real.ask("shop").await;
        real.wait("shop", |status| match &status.promoted {
            Some(promoted)
                if promoted.tag == tag && status.targets[0].sequence == Some(promoted.sequence) =>
            {
                Vec::new()
            }
            promoted => vec![format!("expected {tag}, is {promoted:?}")],
        })
        .await;
    }
    let (user, plane) = real.account();
    let guard: Vec<Value> = real
        .objects()
        .iter()
        .filter(|object| {
            let role = object["roleRef"]["name"].as_str().or(object["metadata"]["name"].as_str());
            role.is_some_and(|name| name.ends_with("-guard"))
        })
        .cloned()
        .collect();
    let wanted = ["list", "watch", "create", "get", "update"].map(|verb| ("", "configmaps", verb));
    assert_eq!(rights(&guard), BTreeSet::from(wanted));
    assert_eq!(unused(&guard, &plane.requests(user)), []);
    let all = plane.requests(user);
    let refused: Vec<_> =
        all.iter().filter(|request| !request.is_allowed && request.resource == "configmaps").collect();
    assert!(refused.is_empty(), "the chart lacks rules for {refused:#?}");
}

/// A Secret and a ServiceAccount that the sets below name.
async fn credentials(world: &World) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": r#"{"auths": {}}"#},
    });
    world.create(secret).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), &world.namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": "puller"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
}

/// A spec of app and worker with a registry that wants credentials.
fn spec(world: &World) -> Value {
    let images = ["app", "worker"].map(|name| json!({"name": name, "repository": world.repository(name)}));
    json!({
        "interval": "10s",
        "images": images,
        "registry": {"insecure": true, "secretRef": {"name": "pull"}, "serviceAccountName": "puller"},
        "candidates": {
            "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
            "policy": {"numerical": {"order": "asc"}},
        },
    })
}

async fn create_set(world: &World, name: &str, spec: Value) {
    let metadata = json!({"name": name});
    let set = json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "metadata": metadata, "spec": spec});
    world.create(set).await;
}

/// A set with a target of each kind, that takes them with it.
async fn every_target(world: &World) {
    let mut spec = spec(world);
    spec["deletionPolicy"] = json!("Delete");
    spec["targets"] = json!([
        {"name": "config", "configMap": {"name": "all"}},
        {"name": "policy", "imagePolicy": {"name": "all", "imageRepositoryRef": {"name": "app"}}},
        {"name": "inputs", "resourceSetInputProvider": {"name": "all"}},
    ]);
    create_set(world, "all", spec).await;
    let promoted = |now: &Value| now["status"]["promoted"]["tag"] == "main-1";
    world.until("main-1 is promoted", "ReleaseSet", "all", promoted).await;
}

/// A smoke test without a pod, then one whose Job is not found and is made again, then one that fails.
async fn smoke(world: &World) {
    let mut spec = spec(world);
    let test = json!({"image": "worker", "command": ["/app", "--self-check"], "attempts": 1});
    spec["gates"] = json!([{"name": "boots", "smoke": test}]);
    create_set(world, "tested", spec).await;
    let job = smoke_by_hand::job(world).await;
    asked(world, ("", "events", "list")).await;
    smoke_by_hand::label(world, &job, None).await;
    asked(world, ("batch", "jobs", "get")).await;
    smoke_by_hand::label(world, &job, Some("tested")).await;
    smoke_by_hand::fail(world, &job).await;
    let failed = |now: &Value| now["status"]["verdicts"][0]["outcome"] == "Failed";
    world.until("the test has failed", "ReleaseSet", "tested", failed).await;
}

/// Has the set looked at until the controller made such a request.
async fn asked(world: &World, right: Right<'_>) {
    world
        .wait(&format!("a request {right:?}"), async || {
            world.request("ReleaseSet", "tested").await;
            let requests = world.plane.requests(world.user());
            if is_used(right, &requests) { Ok(()) } else { Err("none came".to_owned()) }
        })
        .await;
}

fn is_used((group, resource, verb): Right<'_>, requests: &BTreeSet<Request>) -> bool {
    requests.iter().any(|request| {
        request.is_allowed && (&*request.group, &*request.resource, &*request.verb) == (group, resource, verb)
    })
}

/// Rights of the bound roles among `objects` that no request used, and exceptions that are none.
fn unused<'a>(objects: &'a [Value], requests: &BTreeSet<Request>) -> Vec<Right<'a>> {
    let is_excepted = |right: &Right<'_>| EXCEPTIONS.iter().any(|(except, _)| except == right);
    let rights = rights(objects);
    assert!(EXCEPTIONS.iter().all(|(right, _)| rights.contains(right)), "an exception for no right");
    rights.into_iter().filter(|right| !is_used(*right, requests) && !is_excepted(right)).collect()
}

/// All of the roles that are bound.
fn rights(objects: &[Value]) -> BTreeSet<Right<'_>> {
    let bound: BTreeSet<_> = objects
        .iter()
        .filter_map(|object| Some((object["roleRef"]["kind"].as_str()?, object["roleRef"]["name"].as_str()?)))
        .collect();
    let is_bound = |object: &&Value| {
        let named = (object["kind"].as_str(), object["metadata"]["name"].as_str());
        matches!(named, (Some(kind), Some(name)) if bound.contains(&(kind, name)))
    };
    let rules = objects.iter().filter(is_bound).flat_map(|role| items(&role["rules"]));
    rules
        .flat_map(|rule| {
            items(&rule["apiGroups"]).flat_map(move |group| {
                items(&rule["resources"]).flat_map(move |resource| {
                    items(&rule["verbs"])
                        .filter_map(move |verb| Some((group.as_str()?, resource.as_str()?, verb.as_str()?)))
                })
            })
        })
        .collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[test]
fn an_unused_right_of_a_bound_role_is_found() {
    let objects = [
        json!({"kind": "Role", "metadata": {"name": "a"}, "rules": [
            {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}]}),
        json!({"kind": "Role", "metadata": {"name": "unbound"}, "rules": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]}),
        json!({"kind": "RoleBinding", "roleRef": {"kind": "Role", "name": "a"}}),
    ];
    let request = |resource: &str, verb: &str, is_allowed: bool| Request {
        group: String::new(),
        resource: resource.to_owned(),
        verb: verb.to_owned(),
        namespace: String::new(),
        is_allowed,
    };
    let requests =
        [("pods", "get", true), ("pods", "list", true), ("secrets", "get", true), ("secrets", "list", false)];
    let requests = requests.map(|(resource, verb, is_allowed)| request(resource, verb, is_allowed)).into();
    assert_eq!(unused(&objects, &requests), [("", "secrets", "list")]);
}
