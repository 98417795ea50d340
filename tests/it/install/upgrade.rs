//! From the commit before the chart to the chart, in the middle of a promotion; back again; and a CRD that is older than
//! the controller.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::api::crd;
use tidegate::controller::startup::check_crd;

use super::before::{Before, VERSION};
use super::helm::RELEASE;
use super::image::Source;
use super::world::{CRD, World};
use crate::cluster::chart::Chart;

#[tokio::test]
async fn an_upgrade_in_the_middle_of_a_promotion_moves_nothing_back() {
    let Some(world) = World::start(&[Source::Before, Source::Tree]).await else { return };
    let before = Before::write();
    world.helm.install(before.path(), &world.values(Source::Before)).await;
    assert_eq!(chart_of_crd(&world).await, None, "the files are as they were");
    world.create_set().await;
    world.release("main-1").await;
    world.promoted("main-1").await;

    // Its test runs through the upgrade, and one sibling comes after it.
    world.push("app", "main-2", "exit 0").await;
    world.push("worker", "main-2", "sleep 6s exit 0").await;
    world.hint("main-2").await;
    world.smoke_runs().await;
    world.helm.upgrade(&Chart::folder(), &world.values(Source::Tree)).await;
    let chart = chart_of_crd(&world).await.expect("the chart labels it");
    assert!(chart.starts_with("tidegate-") && chart != format!("tidegate-{VERSION}"), "{chart}");
    check_crd(&world.client).await.expect("the CRD was upgraded");
    world.push("embeddings", "main-2", "exit 0").await;
    world.hint("embeddings").await;
    assert_eq!(world.promoted("main-2").await.promoted.unwrap().sequence, 2);
    assert_eq!(world.moves.promoted(), ["main-1 1", "main-2 2"]);
    assert_eq!(world.moves.target(), ["main-1", "main-2"]);

    back_and_again(&world).await;
    an_older_crd_is_not_written_past(&world).await;
    assert_eq!(world.moves.promoted(), ["main-1 1", "main-2 2", "main-3 3", "main-4 4"]);
    assert_eq!(world.moves.target(), ["main-1", "main-2", "main-3", "main-4"]);
}

/// The older program goes on from what the newer one left, and the newer one from what that left.
async fn back_and_again(world: &World) {
    world.helm.rollback(1).await;
    world.release("main-3").await;
    world.hint("main-3").await;
    assert_eq!(world.promoted("main-3").await.promoted.unwrap().sequence, 3);
    world.helm.upgrade(&Chart::folder(), &world.values(Source::Tree)).await;
    check_crd(&world.client).await.expect("the CRD was upgraded");
}

async fn an_older_crd_is_not_written_past(world: &World) {
    scale(world, 0).await;
    world.no_controller_is_left().await;
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let mut older = serde_json::to_value(crds.get(CRD).await.unwrap()).unwrap();
    let status =
        older.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties").unwrap();
    status.as_object_mut().unwrap().remove("recent").expect("the status has it");
    crds.replace(CRD, &PostParams::default(), &serde_json::from_value(older).unwrap()).await.unwrap();
    let set = world.set().await;
    world.release("main-4").await;
    scale(world, 2).await;
    let words = "the installed CRD is older than this controller: it has no status.recent";
    world
        .poll("both say what is wrong", async || {
            let pods = world.pods().await;
            for pod in &pods {
                let log = world.log(&pod.name_any()).await;
                if !(log.contains(words) && log.contains("crd | kubectl apply --server-side -f -")) {
                    return None;
                }
            }
            (pods.len() == 2).then_some(())
        })
        .await;
    let deployment = world.controllers::<Deployment>().get(RELEASE).await.unwrap();
    assert_eq!(deployment.status.unwrap().ready_replicas, None);
    assert_eq!(world.set().await.resource_version(), set.resource_version(), "nothing was written");

    // What they say to do.
    let present: Value = serde_saphyr::from_str(&crd::crd_yaml().unwrap()).unwrap();
    let apply = PatchParams::apply("kubectl").force();
    crds.patch(CRD, &apply, &Patch::Apply(present)).await.unwrap();
    check_crd(&world.client).await.expect("the CRD is as new as the controller");
    assert_eq!(world.promoted("main-4").await.promoted.unwrap().sequence, 4);
}

async fn scale(world: &World, replicas: u32) {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    world.controllers::<Deployment>().patch_scale(RELEASE, &PatchParams::default(), &patch).await.unwrap();
}

/// Which chart says that the CRD is its own.
async fn chart_of_crd(world: &World) -> Option<String> {
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    crds.get(CRD).await.unwrap().labels().get("helm.sh/chart").cloned()
}
