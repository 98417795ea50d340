//! How long it takes from `helm install` to the first promotion, measured: `make bench-install`.

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::DeleteParams;
use tidegate::telemetry::clock::Clock;

use super::helm::RELEASE;
use super::image::Source;
use super::world::{CRD, TARGET, World, gone};
use crate::cluster::chart::Chart;
use crate::cluster::page;

/// What people type, and the mark of its numbers in the page.
const COMMAND: &str = "bench-install";
/// Installations after the first, for which the node has pulled the images already.
const AGAIN: usize = 5;

/// One installation.
struct Spans {
    /// `helm install --wait`.
    install: SignedDuration,
    /// The set is made → its release is promoted and applied.
    promote: SignedDuration,
}

#[tokio::test]
#[ignore = "a measurement of a minute: make bench-install"]
async fn what_an_installation_takes() {
    let Some(world) = World::start(&[Source::Tree]).await else { return };
    world.release("main-1").await;
    let mut rows =
        vec![row("the node pulls the controller's image and the worker's", &[measure(&world).await])];
    let mut again = Vec::new();
    for _ in 0..AGAIN {
        again.push(measure(&world).await);
    }
    rows.push(row(&format!("they are on the node, median of {AGAIN}"), &again));
    page::write(
        COMMAND,
        &format!(
            "{}\n| images | `helm install --wait`, 2 replicas, s | ReleaseSet → promoted, s | both, s |\n\
             | --- | ---: | ---: | ---: |\n{}",
            page::machine(COMMAND, ", the image's program in its release profile"),
            rows.concat()
        ),
    );
}

async fn measure(world: &World) -> Spans {
    let clock = Clock::system();
    let begun = clock.now();
    world.helm.install(&Chart::folder(), &world.values(Source::Tree)).await;
    let installed = clock.now();
    world.create_set().await;
    world.promoted("main-1").await;
    let promoted = clock.now();
    world.helm.uninstall().await;
    world.no_controller_is_left().await;
    // The rights go with the controller, which cannot give its lease back: the next one would wait until it expires.
    world.controllers::<Lease>().delete(RELEASE, &DeleteParams::default()).await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    crds.delete(CRD, &DeleteParams::default()).await.unwrap();
    gone(crds, CRD).await;
    world
        .api::<k8s_openapi::api::core::v1::ConfigMap>()
        .delete(TARGET, &DeleteParams::default())
        .await
        .unwrap();
    Spans { install: installed.duration_since(begun), promote: promoted.duration_since(installed) }
}

fn row(images: &str, spans: &[Spans]) -> String {
    let median = |read: fn(&Spans) -> SignedDuration| {
        let mut spans: Vec<_> = spans.iter().map(read).collect();
        spans.sort();
        spans[spans.len() / 2].as_secs_f64()
    };
    format!(
        "| {images} | {:.1} | {:.1} | {:.1} |\n",
        median(|spans| spans.install),
        median(|spans| spans.promote),
        median(|spans| spans.install + spans.promote)
    )
}
