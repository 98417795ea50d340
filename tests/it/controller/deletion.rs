//! `deletionPolicy`: what becomes of targets when their set is deleted.

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tidegate::embedded::api::{ApiFault, Verb};
use tidegate::targets::image_policy;

use super::two::World;

const SUITE: &str = "deletion of sets";
const SET: &str = "acme";
const MAP: &str = "acme-release";
const FINALIZER: &str = "tidegate.dev/targets";

fn deleting() -> Value {
    let mut spec = World::spec();
    spec["deletionPolicy"] = json!("Delete");
    spec
}

async fn finalizers(world: &World) -> Option<Vec<String>> {
    world.sets().get_opt(SET).await.unwrap().map(|set| set.finalizers().to_vec())
}

async fn delete(world: &World) {
    world.sets().delete(SET, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn targets_go_with_their_set_when_the_policy_says_so() {
    targets_go_with_their_set(World::embedded()).await;
}

#[tokio::test]
async fn targets_go_with_their_set_on_a_real_api_server() {
    let Some(world) = World::real(SUITE).await else { return };
    targets_go_with_their_set(world).await;
}

async fn targets_go_with_their_set(world: World) {
    let a = world.leader("a");
    world.create(SET, deleting()).await;
    world.patch(SET, json!({"metadata": {"finalizers": ["example.com/theirs"]}})).await;
    a.reconcile(&world, SET).await.unwrap();
    let both = ["example.com/theirs", FINALIZER].map(str::to_owned).to_vec();
    assert_eq!(finalizers(&world).await, Some(both), "before the first target is written");
    a.release(&world, SET, "main-1").await;
    // A copy with our marks under another name is not what the spec names.
    let mut copy = world.config_map(MAP).await.unwrap();
    copy.metadata.resource_version = None;
    copy.metadata.uid = None;
    copy.metadata.name = Some("copy".to_owned());
    world.api().create(&PostParams::default(), &copy).await.unwrap();

    delete(&world).await;
    a.settle(&world, SET).await;
    assert_eq!(world.config_map(MAP).await, None);
    assert!(world.config_map("copy").await.is_some());
    assert_eq!(finalizers(&world).await, Some(vec!["example.com/theirs".to_owned()]));
    world.patch(SET, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(finalizers(&world).await, None);
}

#[tokio::test(start_paused = true)]
async fn retain_does_nothing_at_all() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    assert_eq!(finalizers(&world).await, Some(Vec::new()));
    let before = world.config_map(MAP).await;
    delete(&world).await;
    world.server.as_ref().unwrap().clear_log();
    a.settle(&world, SET).await;
    assert_eq!(world.server.as_ref().unwrap().writes().len(), 0);
    assert_eq!(world.config_map(MAP).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_becomes_retain_takes_the_finalizer_off() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, deleting()).await;
    a.release(&world, SET, "main-1").await;
    assert_eq!(finalizers(&world).await, Some(vec![FINALIZER.to_owned()]));
    world.patch(SET, json!({"spec": {"deletionPolicy": "Retain"}})).await;
    a.settle(&world, SET).await;
    assert_eq!(finalizers(&world).await, Some(Vec::new()));
    delete(&world).await;
    assert!(world.config_map(MAP).await.is_some());

    // The same when nobody saw the edit before the deletion.
    world.create(SET, deleting()).await;
    a.reconcile(&world, SET).await.unwrap();
    world.patch(SET, json!({"spec": {"deletionPolicy": "Retain"}})).await;
    delete(&world).await;
    a.settle(&world, SET).await;
    assert_eq!(finalizers(&world).await, None);
    assert!(world.config_map(MAP).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_set_leaves_its_targets() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, deleting()).await;
    a.release(&world, SET, "main-1").await;
    world.patch(SET, json!({"spec": {"suspend": true}})).await;
    delete(&world).await;
    a.settle(&world, SET).await;
    assert_eq!(finalizers(&world).await, None);
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_not_deleted_and_what_is_not_installed_holds_nothing_up() {
    let world = World::embedded();
    let a = world.leader("a");
    let mut spec = deleting();
    spec["targets"] = json!([
        {"name": "config", "configMap": {"name": MAP}},
        {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}},
        {"name": "operator", "resourceSetInputProvider": {"name": "acme"}},
    ]);
    world.create(SET, spec).await;
    a.release(&world, SET, "main-1").await;
    world.edit(MAP, json!({"metadata": {"annotations": {"tidegate.dev/target": null}}})).await;
    let server = world.server.as_ref().unwrap();
    assert!(server.unregister_crd("fluxcd.controlplane.io", "resourcesetinputproviders"));
    // Nor does a spec that breaks a rule.
    world.patch(SET, json!({"spec": {"platforms": ["linux/amd64", "linux/x86_64"]}})).await;
    delete(&world).await;
    a.settle(&world, SET).await;
    assert_eq!(finalizers(&world).await, None);
    assert!(world.config_map(MAP).await.is_some());
    assert_eq!(world.objects(&image_policy::resource()).get_opt("acme").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_the_set_and_is_told_once() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, deleting()).await;
    a.release(&world, SET, "main-1").await;
    let server = world.server.as_ref().unwrap();
    server.set_fault(Some(std::sync::Arc::new(|request| {
        (request.verb == Verb::Delete && request.plural == "configmaps").then(|| ApiFault::Refuse {
            code: 403,
            reason: "Forbidden".into(),
            message: "configmaps \"acme-release\" is forbidden: User \"tidegate\" cannot delete resource \"configmaps\" in \
                      API group \"\" in the namespace \"acme\""
                .into(),
        })
    })));
    delete(&world).await;
    a.settle(&world, SET).await;
    assert_eq!(finalizers(&world).await, Some(vec![FINALIZER.to_owned()]));
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-1"));
    let events = server.objects("events.k8s.io", "events");
    let told: Vec<&str> = events
        .iter()
        .filter(|event| event["reason"] == "TargetNotDeleted")
        .filter_map(|event| event["note"].as_str())
        .collect();
    let [words] = told.as_slice() else { panic!("{told:?}") };
    assert!(words.contains("tidegate may not delete configmaps in namespace acme: add the rule"), "{words}");
    assert!(words.ends_with("set deletionPolicy to Retain to let it go without"), "{words}");
    server.set_fault(None);
    a.settle(&world, SET).await;
    assert_eq!(finalizers(&world).await, None);
    assert_eq!(world.config_map(MAP).await, None);
}

#[tokio::test(start_paused = true)]
async fn without_its_finalizer_no_target_is_written() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, deleting()).await;
    let server = world.server.as_ref().unwrap();
    server.set_fault(Some(std::sync::Arc::new(|request| {
        (request.verb == Verb::Patch && request.actor == "a" && request.plural == "releasesets").then(|| {
            ApiFault::Refuse { code: 403, reason: "Forbidden".into(), message: "no patches here".into() }
        })
    })));
    a.release(&world, SET, "main-1").await;
    let (state, words) = world.target(SET, "config").await;
    assert_eq!((state.as_str(), world.carried(MAP).await), ("Pending", None));
    assert!(words.starts_with("is not written before the finalizer tidegate.dev/targets: "), "{words}");
    server.set_fault(None);
    a.settle(&world, SET).await;
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-1"));
}

#[tokio::test(start_paused = true)]
async fn a_run_for_the_set_before_deletes_nothing_of_the_one_after() {
    a_run_for_the_set_before(World::embedded()).await;
}

#[tokio::test]
async fn a_run_for_the_set_before_deletes_nothing_of_the_one_after_on_a_real_api_server() {
    let Some(world) = World::real(SUITE).await else { return };
    a_run_for_the_set_before(world).await;
}

/// A is paused before it deletes; B finishes, the set is made anew and promotes.
async fn a_run_for_the_set_before(world: World) {
    let (a, b) = (world.leader("a"), world.leader("b"));
    world.create(SET, deleting()).await;
    a.release(&world, SET, "main-1").await;
    delete(&world).await;
    let meanwhile = async {
        b.settle(&world, SET).await;
        assert_eq!(world.sets().get_opt(SET).await.unwrap().map(|set| set.name_any()), None);
        world.create(SET, deleting()).await;
        b.release(&world, SET, "main-2").await;
    };
    let paused = a.pause(Method::DELETE, "/configmaps/acme-release");
    paused.between(a.reconcile(&world, SET), meanwhile).await.unwrap();
    a.settle(&world, SET).await;
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-2"));
    assert!(world.api::<ConfigMap>().get(MAP).await.unwrap().metadata.deletion_timestamp.is_none());
}
