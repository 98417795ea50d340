//! Failing sequences that need two writers, or a person who interferes: `sequence_03_…` is number 3 of the research page on
//! them. Those that the API server's own fences decide run on a real one too.

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tidegate::embedded::api::{ApiFault, Verb};
use tidegate::targets::{image_policy, resource_set_input_provider};

use super::two::World;

const SUITE: &str = "two controllers";
const SET: &str = "acme";
const MAP: &str = "acme-release";
const STATUS: &str = "/releasesets/acme/status";

#[tokio::test(start_paused = true)]
async fn sequence_02_an_old_report_undoes_no_commit() {
    an_old_report_undoes_no_commit(World::embedded()).await;
}

#[tokio::test]
async fn sequence_02_an_old_report_undoes_no_commit_on_a_real_api_server() {
    let Some(world) = World::real(SUITE).await else { return };
    an_old_report_undoes_no_commit(world).await;
}

async fn an_old_report_undoes_no_commit(world: World) {
    let (a, b) = (world.leader("a"), world.leader("b"));
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    // A sees half of main-2, and is paused before it says so.
    world.registry.push("acme/app", "main-2");
    world.ask(SET, "half").await;
    let paused = a.pause(Method::PUT, STATUS);
    paused.between(a.reconcile(&world, SET), b.release(&world, SET, "main-2")).await.unwrap();
    let promoted = world.status(SET).await.promoted.unwrap();
    assert_eq!((promoted.tag.as_str(), promoted.sequence), ("main-2", 2));
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-2"));
    a.settle(&world, SET).await;
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-2"));
}

#[tokio::test(start_paused = true)]
async fn sequence_02_a_report_for_the_set_that_was_deleted_meets_no_new_one() {
    a_report_for_the_set_that_was_deleted(World::embedded()).await;
}

#[tokio::test]
async fn sequence_02_a_report_for_the_set_that_was_deleted_meets_no_new_one_on_a_real_api_server() {
    let Some(world) = World::real(SUITE).await else { return };
    a_report_for_the_set_that_was_deleted(world).await;
}

async fn a_report_for_the_set_that_was_deleted(world: World) {
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    world.registry.push("acme/app", "main-1");
    world.registry.push("acme/worker", "main-1");
    let anew = async {
        world.sets().delete(SET, &DeleteParams::default()).await.unwrap();
        world.create(SET, World::spec()).await;
    };
    a.pause(Method::PUT, STATUS).between(a.reconcile(&world, SET), anew).await.unwrap();
    assert_eq!(world.status(SET).await.promoted, None);
    assert_eq!(world.carried(MAP).await, None);
}

#[tokio::test(start_paused = true)]
async fn sequence_03_a_stale_writer_does_not_move_a_target_back() {
    a_stale_writer_does_not_move_a_target_back(World::embedded()).await;
}

#[tokio::test]
async fn sequence_03_a_stale_writer_does_not_move_a_target_back_on_a_real_api_server() {
    let Some(world) = World::real(SUITE).await else { return };
    a_stale_writer_does_not_move_a_target_back(world).await;
}

async fn a_stale_writer_does_not_move_a_target_back(world: World) {
    let (a, b) = (world.leader("a"), world.leader("b"));
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    // A commits main-2, and is paused before it writes the target.
    world.registry.push("acme/app", "main-2");
    world.registry.push("acme/worker", "main-2");
    world.ask(SET, "2").await;
    let paused = a.pause(Method::PUT, "/configmaps/acme-release");
    paused.between(a.reconcile(&world, SET), b.release(&world, SET, "main-3")).await.unwrap();
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-3"));
    assert_eq!(world.status(SET).await.promoted.unwrap().sequence, 3);
    a.settle(&world, SET).await;
    assert_eq!(world.target(SET, "config").await.0, "Applied");
}

#[tokio::test(start_paused = true)]
async fn sequence_03_b_a_stale_write_does_not_make_a_deleted_target_anew() {
    a_stale_write_does_not_make_a_deleted_target_anew(World::embedded()).await;
}

#[tokio::test]
async fn sequence_03_b_a_stale_write_does_not_make_a_deleted_target_anew_on_a_real_api_server() {
    let Some(world) = World::real(SUITE).await else { return };
    a_stale_write_does_not_make_a_deleted_target_anew(world).await;
}

async fn a_stale_write_does_not_make_a_deleted_target_anew(world: World) {
    let (a, b) = (world.leader("a"), world.leader("b"));
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    world.registry.push("acme/app", "main-2");
    world.registry.push("acme/worker", "main-2");
    world.ask(SET, "2").await;
    let meanwhile = async {
        b.release(&world, SET, "main-3").await;
        world.api::<ConfigMap>().delete(MAP, &DeleteParams::default()).await.unwrap();
    };
    let paused = a.pause(Method::PUT, "/configmaps/acme-release");
    paused.between(a.reconcile(&world, SET), meanwhile).await.unwrap();
    assert_eq!(world.carried(MAP).await, None, "not main-2");
    b.settle(&world, SET).await;
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-3"), "drift is put back by who knows");
}

#[tokio::test(start_paused = true)]
async fn sequence_03_c_of_two_sets_that_name_one_target_the_first_has_it() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    let before = world.config_map(MAP).await;
    let mut other = World::spec();
    other["images"] = json!([{"name": "other", "repository": "ghcr.io/acme/app"}]);
    world.create("other", other).await;
    a.release(&world, "other", "main-2").await;
    let (state, words) = world.target("other", "config").await;
    assert_eq!(state, "Taken");
    let whose = "ConfigMap/acme-release exists and belongs to target config of ReleaseSet acme, so it is not touched: remove \
                 that target there, then to hand it over delete it, or set its label tidegate.dev/set to other";
    assert!(words.starts_with(whose), "{words}");
    assert_eq!(world.config_map(MAP).await, before);

    // As the words say: the first lets go, the marks are set, and the second follows on without a gap.
    world.patch(SET, json!({"spec": {"targets": []}})).await;
    a.settle(&world, SET).await;
    let marks = json!({"metadata": {"labels": {"tidegate.dev/set": "other"},
        "annotations": {"tidegate.dev/target": r#"{"set":"other","target":"config"}"#}}});
    world.edit(MAP, marks).await;
    a.settle(&world, "other").await;
    assert_eq!(world.target("other", "config").await.0, "Applied");
    let data = world.config_map(MAP).await.unwrap().data.unwrap();
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["OTHER_IMAGE", "RELEASE_SEQUENCE", "RELEASE_TAG"], "no key of the other set's release");
}

#[tokio::test(start_paused = true)]
async fn sequence_03_d_a_set_that_is_being_deleted_makes_no_target_anew() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    world.patch(SET, json!({"metadata": {"finalizers": ["foregroundDeletion"]}})).await;
    world.sets().delete(SET, &DeleteParams::foreground()).await.unwrap();
    world.api::<ConfigMap>().delete(MAP, &DeleteParams::default()).await.unwrap();
    a.settle(&world, SET).await;
    world.leader("b").settle(&world, SET).await;
    assert_eq!(world.carried(MAP).await, None);
    let left = world.sets().get(SET).await.unwrap();
    assert_eq!(left.finalizers(), ["foregroundDeletion"], "finalizers of others are left alone");
}

/// The annotation with another sequence.
fn mark(sequence: &str) -> Value {
    let mark = format!(r#"{{"set":"acme","target":"config","sequence":{sequence},"tag":"main-1"}}"#);
    json!({"metadata": {"annotations": {"tidegate.dev/target": mark}}})
}

#[tokio::test(start_paused = true)]
async fn sequence_03_e_a_mark_above_the_set_stops_every_target_and_is_told() {
    let world = World::embedded();
    let a = world.leader("a");
    let mut spec = World::spec();
    spec["targets"] = json!([
        {"name": "first", "configMap": {"name": "first"}},
        {"name": "config", "configMap": {"name": "acme-release"}},
    ]);
    world.create(SET, spec).await;
    a.release(&world, SET, "main-1").await;
    // A sequence that nobody can have committed, or a lower one, is drift and put back.
    for sequence in ["0", "\"9999\"", "9223372036854775807"] {
        world.edit(MAP, mark(sequence)).await;
        a.settle(&world, SET).await;
        assert_eq!(world.target(SET, "config").await.0, "Applied", "{sequence}");
    }
    world.edit(MAP, mark("9999")).await;
    world.edit("first", json!({"data": {"RELEASE_TAG": "by hand"}})).await;
    a.reconcile(&world, SET).await.unwrap();
    let (state, words) = world.target(SET, "config").await;
    assert_eq!(state, "Ahead");
    assert!(words.contains("carries main-1 (sequence 9999) and the ReleaseSet only sequence 1"), "{words}");
    assert!(words.ends_with("is complete and passes, it is committed as sequence 10000"), "{words}");
    let (state, words) = world.target(SET, "first").await;
    assert_eq!(state, "Pending", "no target is written: {words}");
    assert_eq!(world.carried("first").await.as_deref(), Some("by hand"));
}

#[tokio::test(start_paused = true)]
async fn sequence_03_e_a_target_without_its_label_or_annotation_is_taken() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    let marked = world.config_map(MAP).await.unwrap();
    for patch in [
        json!({"metadata": {"labels": {"tidegate.dev/set": null}}}),
        json!({"metadata": {"annotations": {"tidegate.dev/target": null}}}),
        json!({"metadata": {"annotations": {"tidegate.dev/target": "nonsense"}}}),
    ] {
        world.edit(MAP, patch.clone()).await;
        a.settle(&world, SET).await;
        let (state, words) = world.target(SET, "config").await;
        assert_eq!(state, "Taken", "{patch}");
        assert!(words.contains("was not made by this ReleaseSet"), "{words}");
        // Set again as the words say, it is followed again.
        let marks = json!({"metadata": {"labels": {"tidegate.dev/set": "acme"},
            "annotations": {"tidegate.dev/target": r#"{"set":"acme","target":"config"}"#}}});
        world.edit(MAP, marks).await;
        a.settle(&world, SET).await;
        let mut again = world.config_map(MAP).await.unwrap();
        again.metadata.resource_version.clone_from(&marked.metadata.resource_version);
        assert_eq!(again, marked);
    }
}

#[tokio::test(start_paused = true)]
async fn sequence_04_a_a_set_that_is_deleted_and_made_again_leaves_its_targets() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    a.release(&world, SET, "main-1").await;
    let before = world.config_map(MAP).await.unwrap();
    assert_eq!(before.metadata.owner_references, None);
    world.sets().delete(SET, &DeleteParams::default()).await.unwrap();
    a.reconcile(&world, SET).await.unwrap();
    assert_eq!(world.config_map(MAP).await.as_ref(), Some(&before));
    // main-2 is half there: the new object writes nothing.
    world.registry.push("acme/app", "main-2");
    world.create(SET, World::spec()).await;
    world.patch(SET, json!({"spec": {"suspend": true}})).await;
    a.settle(&world, SET).await;
    assert_eq!(world.config_map(MAP).await.as_ref(), Some(&before));
}

#[tokio::test(start_paused = true)]
async fn sequence_06_an_advisory_image_is_written_to_no_target() {
    let world = World::embedded();
    let a = world.leader("a");
    let mut spec = World::spec();
    spec["images"][1]["advisory"] = json!(true);
    spec["targets"] = json!([
        {"name": "config", "configMap": {"name": "acme-release"}},
        {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}},
        {"name": "operator", "resourceSetInputProvider": {"name": "acme"}},
    ]);
    world.create(SET, spec).await;
    // The advisory image is there, at the very tag.
    a.release(&world, SET, "main-1").await;
    let data = world.config_map(MAP).await.unwrap().data.unwrap();
    assert!(data.contains_key("APP_IMAGE") && !data.contains_key("WORKER_IMAGE"), "{data:?}");
    let provider = world.objects(&resource_set_input_provider::resource()).get("acme").await.unwrap();
    let images = provider.data["spec"]["defaultValues"]["images"].as_object().unwrap();
    assert_eq!(images.keys().collect::<Vec<_>>(), ["app"]);
    let policy = world.objects(&image_policy::resource()).get("acme").await.unwrap();
    assert_eq!(policy.data["spec"]["imageRepositoryRef"]["name"], "app");
}

#[tokio::test(start_paused = true)]
async fn sequence_06_an_image_policy_that_cannot_carry_the_tags_is_refused() {
    let world = World::embedded();
    let a = world.leader("a");
    let mut spec = World::spec();
    spec["images"][1]["tagTemplate"] = json!("{tag}-debian");
    spec["targets"] =
        json!([{"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}}]);
    // The embedded API knows no CEL: it is the policy itself that is refused.
    let spec = serde_json::from_value(spec).unwrap();
    let set = tidegate::api::ReleaseSet::new(SET, spec);
    world.sets().create(&PostParams::default(), &set).await.unwrap();
    a.release(&world, SET, "main-1").await;
    let status = world.status(SET).await;
    let stalled = status.conditions.iter().find(|condition| condition.condition == "Stalled").unwrap();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "InvalidSpec"));
    assert_eq!(world.objects(&image_policy::resource()).get_opt("acme").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn sequence_11_b_a_target_that_waits_for_its_write_is_held_by_a_suspension() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create(SET, World::spec()).await;
    let server = world.server.as_ref().unwrap();
    server.set_fault(Some(std::sync::Arc::new(|request| {
        (request.verb == Verb::Create && request.plural == "configmaps").then(|| ApiFault::Refuse {
            code: 429,
            reason: "TooManyRequests".into(),
            message: "too many requests".into(),
        })
    })));
    a.release(&world, SET, "main-1").await;
    assert_eq!(world.status(SET).await.promoted.unwrap().tag, "main-1");
    assert_eq!(world.target(SET, "config").await.0, "Failed");
    world.patch(SET, json!({"spec": {"suspend": true}})).await;
    server.set_fault(None);
    a.settle(&world, SET).await;
    assert_eq!(world.target(SET, "config").await.0, "Held");
    assert_eq!(world.carried(MAP).await, None);
    world.patch(SET, json!({"spec": {"suspend": null}})).await;
    a.settle(&world, SET).await;
    assert_eq!(world.carried(MAP).await.as_deref(), Some("main-1"));
}

#[tokio::test(start_paused = true)]
async fn sequence_11_c_a_suspension_between_two_targets_holds_the_second() {
    let world = World::embedded();
    let a = world.leader("a");
    let mut spec = World::spec();
    let target = |name: &str| json!({"name": name, "configMap": {"name": name}});
    spec["targets"] = json!([target("first"), target("second")]);
    world.create(SET, spec).await;
    a.release(&world, SET, "main-1").await;
    world.registry.push("acme/app", "main-2");
    world.registry.push("acme/worker", "main-2");
    world.ask(SET, "2").await;
    let suspend = world.patch(SET, json!({"spec": {"suspend": true}}));
    a.pause(Method::PUT, "/configmaps/first").between(a.reconcile(&world, SET), suspend).await.unwrap();
    a.settle(&world, SET).await;
    let carried = async |name| world.carried(name).await.unwrap();
    assert_eq!((carried("first").await, carried("second").await), ("main-2".into(), "main-1".into()));
    for target in ["first", "second"] {
        assert_eq!(world.target(SET, target).await.0, "Held");
    }
    world.patch(SET, json!({"spec": {"suspend": null}})).await;
    a.settle(&world, SET).await;
    assert_eq!(carried("second").await, "main-2");
}
