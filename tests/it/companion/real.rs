//! An imagePolicy target followed through the real controllers of Flux, and its events at a notification-controller.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::events::Receiving;
use crate::flux::objects::{
    deployment, git_repository, image_repository, image_update_automation, kustomization, kustomization_file,
    newest_main, tag_marker,
};
use crate::flux::world::World;

const SUITE: &str = "an imagePolicy target beside Flux";
const IMAGES: [&str; 2] = ["app", "worker"];

/// A set that borrows its images from Flux, with a target that ends when Kustomization `apps` has applied the commit.
pub fn release_set(namespace: &str) -> Value {
    let images = IMAGES.map(|name| json!({"name": name, "imageRepositoryRef": {"name": name}}));
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "interval": "10s",
            "images": images,
            "candidates": {
                "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
                "policy": {"numerical": {"order": "asc"}},
            },
            "targets": [{"name": "flux", "imagePolicy": {
                "name": "shop",
                "imageRepositoryRef": {"name": "app"},
                "imageUpdateAutomationRef": {"name": "updates"},
                "rolledOutBy": [{"kind": "Kustomization", "name": "apps"}],
            }}],
        },
    })
}

/// A Git repository whose Deployments take their tag from ImagePolicy `shop`, applied and committed to.
pub async fn wiring(world: &World) -> crate::flux::git::Repository {
    let names = IMAGES.map(|name| format!("acme/{name}"));
    let repositories = IMAGES.map(|name| world.repository(name));
    let images: Vec<_> = names.iter().zip(&repositories).map(|(name, to)| (&**name, &**to)).collect();
    let index = kustomization_file(
        &["app.yaml", "worker.yaml"],
        &images,
        "main-0",
        &tag_marker(&world.namespace, "shop"),
    );
    let (app, worker) = (deployment("app", "acme/app"), deployment("worker", "acme/worker"));
    let files =
        [("apps/app.yaml", &*app), ("apps/worker.yaml", &*worker), ("apps/kustomization.yaml", &*index)];
    let repository = world.git.create("fleet", &files);
    world.create(git_repository("fleet", &repository.url)).await;
    for name in IMAGES {
        // An interval that no test waits for: it is the request that brings the scan.
        let mut object = image_repository(name, &world.repository(name), "1h");
        object["spec"]["insecure"] = json!(true);
        world.create(object).await;
    }
    world.create(image_update_automation("updates", "fleet", "./apps")).await;
    world.create(kustomization("apps", "fleet", "./apps", &world.namespace)).await;
    repository
}

#[tokio::test]
async fn flux_takes_each_release_to_its_end_and_its_alerts_hear_of_it() {
    let Some(world) = World::start(SUITE).await else { return };
    let receiving = Receiving::new(&[]).await;
    let repository = wiring(&world).await;
    // The first scan is over before there is a release: of each one nobody has told Flux.
    world.push("app", "before").await;
    let scanned = |now: &Value| now["status"]["lastScanResult"].is_object();
    world.until("a first scan", "ImageRepository", "app", scanned).await;
    world.create(release_set(&world.namespace)).await;
    let _tidegate = world.tidegate(&[&format!("--flux-events-addr={}", receiving.address)]).await;
    for (number, tag) in ["main-1", "main-2"].into_iter().enumerate() {
        for name in IMAGES {
            world.push(name, tag).await;
        }
        let is_out = |now: &Value| {
            let target = &now["status"]["targets"][0];
            target["state"] == "RolledOut" && now["status"]["promoted"]["tag"] == tag
        };
        let set = world.until(&format!("{tag} is rolled out"), "ReleaseSet", "shop", is_out).await;
        assert_eq!(set["status"]["targets"][0]["message"], format!("Kustomization/apps applied {tag}"));
        assert_eq!(repository.log().len(), number + 2, "one commit for each release");
        let lead = world.read("ImageRepository", "app").await.unwrap();
        let asked = lead["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
        let at = set["status"]["promoted"]["at"].clone();
        assert_eq!(asked, at, "{tag}");
    }
    let by_us = world.writes().await.into_iter().filter(|write| write.user == "tidegate");
    let scans = by_us.filter(|write| write.resource == "imagerepositories").count();
    assert_eq!(scans, 2, "once a release");
    receiving.wait("promoted main-2").await;
    world.end().await;
}

/// The user's own policy names candidates; it decides neither whether they are complete nor that an older one comes back.
#[tokio::test]
async fn sequence_09_the_policy_of_a_real_reflector_walks_backwards_and_nothing_moves() {
    let Some(world) = World::start(SUITE).await else { return };
    for name in IMAGES {
        world.create(image_repository(name, &world.repository(name), "1h")).await;
    }
    world.create(newest_main("newest", "app")).await;
    let mut set = release_set(&world.namespace);
    set["spec"]["candidates"] = json!({"policyRef": {"name": "newest"}});
    set["spec"]["targets"] = json!([{"name": "config", "configMap": {"name": "shop-release"}}]);
    world.create(set).await;
    let _tidegate = world.tidegate(&[]).await;
    world.push("app", "main-2").await;
    world.request("ImageRepository", "app").await;
    let waits = |now: &Value| {
        now["status"]["named"] == json!(["main-2"])
            && now["status"]["summary"]["blockedBy"] == "worker linux/amd64 missing"
    };
    world.until("main-2 waits for its sibling", "ReleaseSet", "shop", waits).await;
    world.push("worker", "main-2").await;
    let is_out = |now: &Value| {
        now["status"]["promoted"]["tag"] == "main-2" && now["status"]["targets"][0]["state"] == "Applied"
    };
    world.until("main-2 is promoted", "ReleaseSet", "shop", is_out).await;
    for name in IMAGES {
        world.push(name, "main-1").await;
    }
    world.patch("ImageRepository", "app", json!({"spec": {"exclusionList": ["^main-2$"]}})).await;
    let named = |now: &Value| now["status"]["named"] == json!(["main-1", "main-2"]);
    let set = world.until("main-1 is named", "ReleaseSet", "shop", named).await;
    assert_eq!(set["status"]["promoted"]["tag"], "main-2");
    assert_eq!(set["status"]["promoted"]["sequence"], 1);
    let told = |event: &Event| event.reason.as_deref() == Some("CandidateOlder");
    world
        .wait("an Event that tells of main-1", async || {
            let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
            let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            if list.items.iter().any(told) { Ok(()) } else { Err(format!("{} others", list.items.len())) }
        })
        .await;
    world.end().await;
}
