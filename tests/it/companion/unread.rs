//! A set that this controller cannot read, as after a downgrade or a hand in the CRD: it says so where it can, and no other set
//! is held up (kube-rs#774: one such object wedges a typed watch).

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate::api::ReleaseSet;
use tidegate::cli::demo::world::{NAMESPACE, SET};

use super::world::{World, spec};

/// A world whose definition of ReleaseSets lets everything pass.
async fn world() -> (World, Api<DynamicObject>) {
    let world = World::new(spec()).await;
    assert!(world.0.api.unregister_crd("tidegate.dev", "releasesets"));
    world.install_as("tidegate.dev", "v1alpha1", "releasesets", "ReleaseSet");
    let kind = ApiResource::erase::<ReleaseSet>(&());
    let sets = Api::namespaced_with(world.0.api.client("user", NAMESPACE), NAMESPACE, &kind);
    (world, sets)
}

async fn create(sets: &Api<DynamicObject>, name: &str, spec: Value) {
    let mut set = DynamicObject::new(name, &ApiResource::erase::<ReleaseSet>(&()));
    set.data = json!({"spec": spec});
    sets.create(&PostParams::default(), &set).await.unwrap();
}

/// Status and message of the condition Stalled.
fn stalled(set: &DynamicObject) -> (String, String) {
    let conditions = set.data["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == "Stalled");
    let text = |key: &str| found.and_then(|found| found[key].as_str()).unwrap_or_default().to_owned();
    (format!("{}/{}", text("status"), text("reason")), text("message"))
}

#[tokio::test(start_paused = true)]
async fn a_set_that_cannot_be_read_says_so_and_stops_no_other() {
    let (mut world, sets) = world().await;
    create(&sets, "spec", json!({"images": "app"})).await;
    let mut sound = sets.get(SET).await.unwrap().data["spec"].clone();
    sound["targets"][0]["configMap"]["name"] = json!("of-status");
    create(&sets, "status", sound.clone()).await;
    let patch = Patch::Merge(json!({"status": {"promoted": "main-0"}}));
    sets.patch_status("status", &PatchParams::default(), &patch).await.unwrap();
    world.0.start_controller();
    world.push_both("main-1");
    world.wait_promoted("main-1").await;
    let (status, words) = stalled(&sets.get("spec").await.unwrap());
    assert_eq!(status, "True/Undecodable");
    assert!(words.contains("images"), "{words}");
    // What cannot be read is not written over either.
    assert_eq!(sets.get("status").await.unwrap().data["status"], json!({"promoted": "main-0"}));

    let mended = Patch::Merge(json!({"status": null}));
    sets.patch_status("status", &PatchParams::default(), &mended).await.unwrap();
    sound["targets"][0]["configMap"]["name"] = json!("of-spec");
    sets.patch("spec", &PatchParams::default(), &Patch::Merge(json!({"spec": sound}))).await.unwrap();
    for name in ["spec", "status"] {
        world.wait_other(&sets, name, "main-1").await;
    }
    assert_eq!(stalled(&sets.get("spec").await.unwrap()).0, "/", "Stalled is there only when it is true");
}
