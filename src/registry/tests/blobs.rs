//! `verify: Blobs`: config and layers, each asked for once.

use serde_json::json;

use super::fixture::{Fixture, Guard, Reply};
use super::*;
use crate::model::sighting::DefectKind;
use crate::registry::evidence::manifest::OCI_MANIFEST;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// An image for linux/`architecture` with these layers.
fn image(fixture: &Fixture, architecture: &str, layers: &[(&str, String)]) -> Digest {
    let config = json!({"os": "linux", "architecture": architecture});
    let config = fixture.blob(serde_json::to_vec(&config).unwrap());
    let layers: Vec<_> =
        layers.iter().map(|(kind, digest)| json!({"mediaType": kind, "digest": digest, "size": 1})).collect();
    fixture.manifest(
        OCI_MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.as_str(), "size": 1},
            "layers": layers,
        }),
    )
}

fn layer(fixture: &Fixture, text: &str) -> String {
    fixture.blob(text.as_bytes().to_vec()).to_string()
}

/// `acme/app:v1` for two platforms that share the layer "base"; both children.
fn push(fixture: &Fixture) -> [Digest; 2] {
    let base = layer(fixture, "base");
    ["amd64", "arm64"].map(|architecture| {
        let own = layer(fixture, architecture);
        image(fixture, architecture, &[(LAYER, base.clone()), (LAYER, own), (FOREIGN, digest_of_nothing())])
    })
}

fn digest_of_nothing() -> String {
    format!("sha256:{}", "f".repeat(64))
}

fn tag(fixture: &Fixture, children: &[Digest; 2]) {
    let parts = ["amd64", "arm64"].into_iter().zip(children).map(|(architecture, digest)| {
        json!({"mediaType": OCI_MANIFEST, "digest": digest.as_str(), "size": 1, "platform": {"os": "linux", "architecture": architecture}})
    });
    let body = json!({"schemaVersion": 2, "manifests": parts.collect::<Vec<_>>()});
    fixture.tag("v1", &fixture.manifest(crate::registry::evidence::manifest::OCI_INDEX, &body));
}

fn blobs(fixture: &Fixture) -> Question {
    Question { verify: Verify::Blobs, ..app(fixture) }
}

#[tokio::test]
async fn every_blob_is_asked_for_once_and_foreign_layers_are_not() {
    let fixture = Fixture::start(Guard::Open).await;
    tag(&fixture, &push(&fixture));
    let subject = Subject::new();
    assert!(
        words(&present(&subject.look(&open(), &blobs(&fixture)).await))
            .values()
            .all(|word| *word == "Present")
    );
    let log = fixture.log();
    let heads = log.iter().filter(|line| line.starts_with("HEAD /v2/acme/app/blobs/"));
    assert_eq!(
        heads.count(),
        3,
        "the shared layer once, each own layer; the configs were just read: {log:?}"
    );
    assert!(!log.iter().any(|line| line.contains(&digest_of_nothing())));
    assert_eq!(log.len(), 5 + 3);
}

#[tokio::test]
async fn a_layer_that_is_gone_breaks_its_image_alone_and_is_named() {
    let fixture = Fixture::start(Guard::Open).await;
    tag(&fixture, &push(&fixture));
    let gone: Digest = layer(&fixture, "arm64").parse().unwrap();
    fixture.forget(&gone);
    let evidence = present(&Subject::new().look(&open(), &blobs(&fixture)).await);
    assert!(evidence.cell(&platform("linux/amd64")).is_present());
    match evidence.cell(&platform("linux/arm64")) {
        Sighting::Broken(defect) => {
            assert_eq!(defect.kind, DefectKind::DanglingBlob(gone.clone()));
            assert!(defect.message.contains(gone.as_str()) && defect.message.contains("acme/app@sha256:"));
        }
        other => panic!("{other:?}"),
    }
    assert!(
        present(&Subject::new().app(&fixture).await).cell(&platform("linux/arm64")).is_present(),
        "not asked for"
    );
}

#[tokio::test]
async fn a_layer_that_cannot_be_told_is_unknown_and_one_that_is_gone_outweighs_it() {
    for (also_gone, word) in [(false, "Unknown"), (true, "Broken")] {
        let fixture = Fixture::start(Guard::Open).await;
        tag(&fixture, &push(&fixture));
        fixture.script("HEAD", &layer(&fixture, "base"), 9, Reply::status(503));
        if also_gone {
            fixture.forget(&layer(&fixture, "amd64").parse().unwrap());
        }
        let evidence = present(&Subject::new().look(&open(), &blobs(&fixture)).await);
        assert_eq!(evidence.cell(&platform("linux/amd64")).word(), word);
        assert_eq!(evidence.cell(&platform("linux/arm64")).word(), "Unknown");
    }
}

#[tokio::test]
async fn layers_that_no_runtime_reads_are_broken_unsupported() {
    let fixture = Fixture::start(Guard::Open).await;
    let odd = image(&fixture, "amd64", &[(LAYER, "sha512:00".to_owned())]);
    let many: Vec<(&str, String)> = (0..513).map(|_| (LAYER, layer(&fixture, "base"))).collect();
    let many = image(&fixture, "arm64", &many);
    tag(&fixture, &[odd, many]);
    let evidence = present(&Subject::new().look(&open(), &blobs(&fixture)).await);
    for name in ["linux/amd64", "linux/arm64"] {
        let cell = evidence.cell(&platform(name));
        assert!(
            matches!(&cell, Sighting::Broken(defect) if defect.kind == DefectKind::Unsupported),
            "{cell:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_trusts_a_blob_for_half_a_minute_and_a_confirming_one_never() {
    let fixture = Fixture::start(Guard::Open).await;
    let children = push(&fixture);
    tag(&fixture, &children);
    let subject = Subject::new();
    assert!(subject.look(&open(), &blobs(&fixture)).await.is_present());
    fixture.log();
    let heads = |log: Vec<String>| log.iter().filter(|line| line.contains("/blobs/")).count();
    assert!(subject.look(&open(), &blobs(&fixture)).await.is_present());
    assert_eq!(heads(fixture.log()), 0);
    let seen = subject.client.head_blobs(&open(), &repository(&fixture), &children).await;
    assert_eq!(seen, [Sighting::Present(()), Sighting::Present(())]);
    assert_eq!(fixture.log().len(), 5, "2 configs, 3 layers, and no manifest: what it holds is known");
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    assert!(subject.look(&open(), &blobs(&fixture)).await.is_present());
    assert_eq!(heads(fixture.log()), 5);
}

#[tokio::test]
async fn a_confirming_look_finds_what_is_gone_also_without_knowing_the_image() {
    let fixture = Fixture::start(Guard::Open).await;
    let children = push(&fixture);
    fixture.forget(&layer(&fixture, "arm64").parse().unwrap());
    let seen = Subject::new().client.head_blobs(&open(), &repository(&fixture), &children).await;
    assert_eq!((seen[0].word(), seen[1].word()), ("Present", "Broken"));
    fixture.forget(&children[0]);
    let seen = Subject::new().client.head_blobs(&open(), &repository(&fixture), &children).await;
    assert_eq!((seen[0].word(), seen[1].word()), ("Missing", "Broken"));
}

#[tokio::test]
async fn a_page_that_answers_every_address_is_no_blob() {
    let fixture = Fixture::start(Guard::Open).await;
    tag(&fixture, &push(&fixture));
    fixture.script("HEAD", "/blobs/", 99, Reply::ok("text/html", b""));
    let evidence = present(&Subject::new().look(&open(), &blobs(&fixture)).await);
    doubt(&evidence.cell(&platform("linux/amd64")), DoubtKind::Protocol);
}
