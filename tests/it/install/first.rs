//! The first installation, and its end: what was promoted stays.

use std::process::Command;

use jiff::SignedDuration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use tidegate::api::ReleaseSet;
use tidegate::telemetry::clock::Clock;

use super::SUITE;
use super::image::Source;
use super::world::{CRD, SET, TARGET, World, gone};
use crate::cluster::chart::Chart;
use crate::cluster::tools::say_once;

/// How soon another leads after a crash (design §9 G9).
const TAKEN_OVER_WITHIN: SignedDuration = SignedDuration::from_secs(20);

#[tokio::test]
async fn what_was_promoted_outlives_the_controller() {
    let Some(world) = World::start(&[Source::Tree]).await else { return };
    world.release("main-1").await;
    let clock = Clock::system();
    let begun = clock.now();
    world.helm.install(&Chart::folder(), &world.values(Source::Tree)).await;
    let ready = clock.now().duration_since(begun);
    world.create_set().await;
    world.promoted("main-1").await;
    say_once(format!(
        "{SUITE}: two controllers were ready {:.1} s after `helm install` began, a release of three images was promoted after {:.1} s",
        ready.as_secs_f64(),
        clock.now().duration_since(begun).as_secs_f64()
    ));
    assert_eq!(world.pods().await.len(), 2);
    let said = world.helm.test().await;
    assert!(said.contains("Succeeded"), "{said}");

    another_takes_over(&world, &clock).await;
    uninstall(&world).await;
    install_again(&world).await;
    assert_eq!(world.moves.promoted(), ["main-1 1", "main-2 2", "main-3 3"]);
    assert_eq!(world.moves.target(), ["main-1", "main-2", "main-3"]);

    // Nothing of ours holds anything back: with no controller left, the set goes when it is deleted, and its target stays.
    world.helm.uninstall().await;
    world.api::<ReleaseSet>().delete(SET, &DeleteParams::default()).await.unwrap();
    gone(world.api::<ReleaseSet>(), SET).await;
    assert_eq!(world.target().await.data.unwrap()["RELEASE_TAG"], "main-3");
}

/// The leader crashes while a candidate is tested, and the other one brings it to its end.
async fn another_takes_over(world: &World, clock: &Clock) {
    for image in ["app", "embeddings"] {
        world.push(image, "main-2", "exit 0").await;
    }
    world.push("worker", "main-2", "sleep 2s exit 0").await;
    world.hint("main-2").await;
    world.smoke_runs().await;
    let leader = world.leader().await.expect("somebody leads");
    let (pod, _) = leader.rsplit_once('_').expect("the identity begins with the pod");
    let crashed = clock.now();
    kill(pod);
    let next =
        world.poll("another leads", async || world.leader().await.filter(|holder| *holder != leader)).await;
    let took = clock.now().duration_since(crashed);
    assert!(took <= TAKEN_OVER_WITHIN, "{next} leads after {took:#}");
    world.promoted("main-2").await;
    say_once(format!("{SUITE}: another led {:.1} s after the leader crashed", took.as_secs_f64()));
}

/// SIGKILL to the one process of a pod, which has the pod's name in its environment.
fn kill(pod: &str) {
    let name = format!("HOSTNAME={pod}");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let environment = std::fs::read(path.join("environ")).ok()?;
        let command = std::fs::read(path.join("cmdline")).ok()?;
        let is_it = command.starts_with(b"/tidegate\0")
            && environment.split(|byte| *byte == 0).any(|variable| variable == name.as_bytes());
        is_it.then(|| path.file_name().expect("it has one").to_owned())
    });
    let processes: Vec<_> = processes.collect();
    assert_eq!(processes.len(), 1, "{pod} runs one process: {processes:?}");
    assert!(Command::new("kill").arg("-KILL").arg(&processes[0]).status().unwrap().success());
}

async fn uninstall(world: &World) {
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let (set, target, crd) = (world.set().await, world.target().await, crds.get(CRD).await.unwrap());
    world.helm.uninstall().await;
    world.no_controller_is_left().await;
    let (set_after, target_after) = (world.set().await, world.target().await);
    assert_eq!(crds.get(CRD).await.unwrap().uid(), crd.uid());
    assert_eq!(set_after.metadata.deletion_timestamp, None);
    assert_eq!(set_after.metadata.finalizers, None);
    let status = |set: &ReleaseSet| serde_json::to_value(&set.status).unwrap();
    assert_eq!(status(&set_after), status(&set));
    assert_eq!(target_after.resource_version(), target.resource_version());
    assert_eq!(target_after.data.unwrap()["RELEASE_TAG"], "main-2");
}

/// It goes on from what it finds: the same sequence, and no write to the target.
async fn install_again(world: &World) {
    let (set, target) = (world.set().await, world.target().await);
    world.helm.install(&Chart::folder(), &world.values(Source::Tree)).await;
    world.hint("again").await;
    let seen = world
        .until("it has looked", |status| status.last_handled_reconcile_at.as_deref() == Some("again"))
        .await;
    let promoted = |status: Option<&tidegate::api::ReleaseSetStatus>| {
        serde_json::to_value(status.map(|status| (&status.promoted, &status.floor, &status.history))).unwrap()
    };
    assert_eq!(promoted(Some(&seen)), promoted(set.status.as_ref()));
    let after = world.target().await;
    assert_eq!(
        (after.uid(), after.resource_version()),
        (target.uid(), target.resource_version()),
        "{TARGET}"
    );
    world.release("main-3").await;
    world.hint("main-3").await;
    assert_eq!(world.promoted("main-3").await.promoted.unwrap().sequence, 3);
}
