//! Several sets beside each other: no cross-talk in what is written, marked, listed or run.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use super::two::World;

fn spec(pattern: &str, target: &str) -> Value {
    let mut spec = World::spec();
    spec["candidates"]["filterTags"] = json!({"pattern": pattern, "extract": "$n"});
    spec["targets"] = json!([{"name": "config", "configMap": {"name": target}}]);
    spec
}

#[tokio::test(start_paused = true)]
async fn two_sets_over_the_same_repositories_promote_their_own_tags() {
    let world = World::embedded();
    let a = world.leader("a");
    world.create("nightly", spec("^nightly-(?P<n>[0-9]+)$", "nightly")).await;
    world.create("release", spec("^v(?P<n>[0-9]+)$", "release")).await;
    for set in ["nightly", "release"] {
        a.release(&world, set, "nightly-1").await;
        a.release(&world, set, "v1").await;
    }
    let carried = async |name| world.carried(name).await.unwrap_or_default();
    assert_eq!((carried("nightly").await, carried("release").await), ("nightly-1".into(), "v1".into()));
    let before = world.config_map("release").await;
    a.release(&world, "nightly", "nightly-2").await;
    a.settle(&world, "release").await;
    assert_eq!(world.config_map("release").await, before, "another set's promotion writes nothing here");
    assert_eq!(carried("nightly").await, "nightly-2");
    // One that lets go of its targets lets go of its own.
    world.patch("nightly", json!({"spec": {"targets": []}})).await;
    a.settle(&world, "nightly").await;
    assert_eq!(world.config_map("release").await, before);
    let nightly = world.config_map("nightly").await.unwrap();
    assert!(!nightly.metadata.labels.unwrap().contains_key("tidegate.dev/set"));
}

#[tokio::test(start_paused = true)]
async fn two_sets_of_one_name_in_two_namespaces_know_nothing_of_each_other() {
    let here = World::embedded();
    let there = here.at("other");
    let a = here.leader("a");
    for world in [&here, &there] {
        let mut spec = World::spec();
        spec["deletionPolicy"] = json!("Delete");
        world.create("acme", spec).await;
    }
    a.release(&here, "acme", "main-1").await;
    assert_eq!(there.carried("acme-release").await, None, "looks of one set are none of the other");
    a.look(&there, "acme", "1").await;
    assert_eq!(there.carried("acme-release").await.as_deref(), Some("main-1"));
    let server = here.server.as_ref().unwrap();
    // The other set's sequence goes on by itself, and is no mark above this one's.
    a.release(&here, "acme", "main-2").await;
    a.release(&here, "acme", "main-3").await;
    server.clear_log();
    a.settle(&there, "acme").await;
    assert_eq!(there.target("acme", "config").await.0, "Applied");
    let elsewhere = server.count(|record| record.namespace.as_deref() != Some("other"));
    assert_eq!(elsewhere, 0, "every request names its own namespace");
    // A target that leaves here, and a set that is deleted here, leave what is there.
    let before = there.config_map("acme-release").await;
    here.patch("acme", json!({"spec": {"targets": [{"name": "new", "configMap": {"name": "new"}}]}})).await;
    a.settle(&here, "acme").await;
    here.sets().delete("acme", &DeleteParams::default()).await.unwrap();
    a.settle(&here, "acme").await;
    assert_eq!(here.sets().get_opt("acme").await.unwrap().map(|_| ()), None);
    assert_eq!(here.config_map("new").await, None);
    assert_eq!(there.config_map("acme-release").await, before);
}

#[tokio::test(start_paused = true)]
async fn two_sets_with_one_test_run_it_each_for_itself() {
    let world = World::embedded();
    let a = world.leader("a");
    for name in ["first", "second"] {
        let mut spec = World::spec();
        spec["gates"] =
            json!([{"name": "boots", "smoke": {"image": "worker", "command": ["/app", "--self-check"]}}]);
        spec["targets"] = json!([{"name": "config", "configMap": {"name": name}}]);
        world.create(name, spec).await;
    }
    a.release(&world, "first", "main-1").await;
    a.look(&world, "second", "1").await;
    let jobs = world.api::<Job>();
    let of = async |set: &str| {
        let listed =
            jobs.list(&ListParams::default().labels(&format!("tidegate.dev/set={set}"))).await.unwrap();
        let [job] = listed.items.try_into().unwrap_or_else(|jobs: Vec<Job>| panic!("{} Jobs", jobs.len()));
        let owner = job.metadata.owner_references.unwrap().remove(0);
        (job.metadata.name.unwrap(), owner.name)
    };
    let (first, second) = (of("first").await, of("second").await);
    assert_ne!(first.0, second.0);
    assert_eq!((first.1.as_str(), second.1.as_str()), ("first", "second"));
    // Without its gate a set deletes its own Job, and takes no mark off one.
    world.patch("first", json!({"spec": {"gates": []}})).await;
    a.settle(&world, "first").await;
    let left = jobs.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(left.iter().map(|job| job.metadata.name.clone().unwrap()).collect::<Vec<_>>(), [second.0]);
    assert_eq!(world.carried("first").await.as_deref(), Some("main-1"));
    assert_eq!(world.carried("second").await, None, "its own test has not ended");
}
