//! Each row of registry research §3, as a look and as a HEAD where both can meet it.

use std::time::Duration;

use serde_json::json;

use super::fixture::{Fixture, Guard, Reply, error};
use super::*;
use crate::model::sighting::DefectKind;
use crate::registry::evidence::manifest::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

const V1: &str = "/manifests/v1";

#[tokio::test(start_paused = true)]
async fn a_200_with_verified_bytes_is_present() {
    let fixture = Fixture::start(Guard::Open).await;
    let digest = fixture.push_app();
    let subject = Subject::new();
    let evidence = present(&subject.app(&fixture).await);
    assert_eq!(evidence.digest, digest);
    assert_eq!(present(&subject.head(&fixture).await), digest);
}

#[tokio::test(start_paused = true)]
async fn a_404_of_an_open_registry_is_missing() {
    let fixture = Fixture::start(Guard::Open).await;
    let subject = Subject::new();
    assert_eq!(subject.app(&fixture).await, Sighting::Missing);
    assert_eq!(subject.head(&fixture).await, Sighting::Missing);
    let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let seen = subject.client.head_manifest(&open(), &repository(&fixture), &digest).await;
    assert_eq!(seen, Sighting::Missing);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_unknown_auth() {
    for status in [401, 403] {
        let fixture = Fixture::with_app(Guard::Open).await;
        fixture.script("GET", V1, 9, error(status, "DENIED"));
        fixture.script("HEAD", V1, 9, Reply::status(status));
        let subject = Subject::new();
        let seen = doubt(&subject.app(&fixture).await, DoubtKind::Auth);
        assert!(
            seen.message.contains("not found or no access") && seen.message.contains("DENIED"),
            "{}",
            seen.message
        );
        doubt(&subject.head(&fixture).await, DoubtKind::Auth);
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_is_unknown_transient() {
    for status in [408, 499, 500, 502, 503, 504, 522] {
        let fixture = Fixture::with_app(Guard::Open).await;
        fixture.script("GET", V1, 3, Reply::status(status).header("retry-after", "30"));
        fixture.script("HEAD", V1, 3, Reply::status(status));
        let seen = doubt(&Subject::new().app(&fixture).await, DoubtKind::Transient);
        assert_eq!(seen.retry_after_secs, Some(30));
        let subject = Subject::new();
        doubt(&subject.head(&fixture).await, DoubtKind::Transient);
        assert_eq!(subject.requests(), 3, "{status}: three tries");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_is_unknown_throttled_with_its_pause() {
    for (value, secs) in
        [("17", 17), ("999999", 3_600), ("Sat, 21 Nov 2026 10:01:00 GMT", 60), ("never", u32::MAX)]
    {
        let fixture = Fixture::with_app(Guard::Open).await;
        let reply = Reply { body: b"<html>slow down".to_vec(), ..Reply::status(429) };
        fixture.script("GET", V1, 3, reply.header("retry-after", value));
        let seen = doubt(&Subject::new().app(&fixture).await, DoubtKind::Throttled);
        let expected = (secs != u32::MAX).then_some(secs);
        // The clock ran on by some milliseconds between the request and its reading.
        let close = seen.retry_after_secs.zip(expected).is_none_or(|(a, b)| b - a <= 1);
        assert!(close && seen.retry_after_secs.is_some() == expected.is_some(), "{value}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_or_wrong_json_with_200_is_unknown_protocol() {
    for reply in [
        Reply::ok("text/html", b"<html>sign in</html>"),
        Reply::ok("application/json", b"{}"),
        Reply::ok("", b"{}"),
        Reply::ok(OCI_INDEX, b"<html>sign in</html>"),
        Reply::ok(OCI_INDEX, b"[]"),
        Reply::ok(OCI_INDEX, b"{\"schemaVersion\":2}"),
        Reply::ok(OCI_INDEX, b""),
    ] {
        let fixture = Fixture::with_app(Guard::Open).await;
        fixture.script("GET", V1, 1, reply);
        doubt(&Subject::new().app(&fixture).await, DoubtKind::Protocol);
    }
    let fixture = Fixture::with_app(Guard::Open).await;
    fixture.script("HEAD", V1, 1, Reply::ok("text/html", b""));
    doubt(&Subject::new().head(&fixture).await, DoubtKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_digest_header_is_unknown_corrupt() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let wrong = format!("sha256:{}", "1".repeat(64));
    let reply = Reply::ok(OCI_INDEX, b"{\"manifests\":[]}").header("docker-content-digest", &wrong);
    fixture.script("GET", V1, 1, reply);
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn a_child_with_other_bytes_is_unknown_corrupt() {
    let fixture = Fixture::start(Guard::Open).await;
    let part = fixture.image("linux", "amd64", "");
    let path = format!("/manifests/{}", part.digest);
    fixture.index("v1", &[part]);
    fixture.script("GET", &path, 1, Reply::ok(OCI_MANIFEST, b"{\"config\":{\"digest\":\"x\"}}"));
    let evidence = present(&Subject::new().app(&fixture).await);
    doubt(&evidence.cell(&platform("linux/amd64")), DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn too_large_is_unknown_corrupt_announced_or_not() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    fixture.script("GET", V1, 1, Reply::ok(OCI_INDEX, &large));
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Corrupt);
    fixture.script("GET", V1, 1, Reply { breaks: true, ..Reply::ok(OCI_INDEX, &large) });
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn ambiguous_shapes_are_unknown_corrupt() {
    let digest = format!("sha256:{}", "2".repeat(64));
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest});
    for (content_type, body) in [
        (OCI_INDEX, json!({"manifests": [], "config": config})),
        (OCI_INDEX, json!({"manifests": [], "layers": []})),
        (OCI_MANIFEST, json!({"manifests": [], "config": config})),
        (OCI_MANIFEST, json!({"manifests": []})),
        (OCI_INDEX, json!({"config": config, "layers": []})),
        (OCI_INDEX, json!({"mediaType": OCI_MANIFEST, "manifests": []})),
        (DOCKER_MANIFEST, json!({"mediaType": OCI_MANIFEST, "config": config})),
    ] {
        let fixture = Fixture::start(Guard::Open).await;
        fixture.tag("v1", &fixture.manifest(content_type, &body));
        doubt(&Subject::new().app(&fixture).await, DoubtKind::Corrupt);
    }
    let fixture = Fixture::with_app(Guard::Open).await;
    for body in [
        &br#"{"manifests":[],"manifests":[]}"#[..],
        br#"{"manifests":[],"Manifests":[]}"#,
        "{\"manifests\":[],\"manife\u{17f}ts\":[]}".as_bytes(),
        br#"{"manifests":[],"Layers":[]}"#,
        br#"{"manifests":[{"digest":"x","Digest":"y"}]}"#,
    ] {
        fixture.script("GET", V1, 1, Reply::ok(OCI_INDEX, body));
        doubt(&Subject::new().app(&fixture).await, DoubtKind::Corrupt);
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_runtime_starts_is_broken_unsupported() {
    let digest = format!("sha256:{}", "3".repeat(64));
    let schema_1 = "application/vnd.docker.distribution.manifest.v1";
    for (content_type, body) in [
        (&*format!("{schema_1}+prettyjws"), json!({"schemaVersion": 1, "fsLayers": []})),
        (&*format!("{schema_1}+json"), json!({"schemaVersion": 1})),
        (DOCKER_MANIFEST, json!({"schemaVersion": 1, "fsLayers": []})),
        (OCI_MANIFEST, json!({"schemaVersion": 2, "layers": []})),
        (
            OCI_MANIFEST,
            json!({"config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest}}),
        ),
        (
            OCI_MANIFEST,
            json!({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest}}),
        ),
    ] {
        let fixture = Fixture::start(Guard::Open).await;
        fixture.tag("v1", &fixture.manifest(content_type, &body));
        let seen = Subject::new().app(&fixture).await;
        assert!(
            matches!(&seen, Sighting::Broken(defect) if defect.kind == DefectKind::Unsupported),
            "{seen:?}"
        );
    }
}

/// A tag that was good and is schema 1 now: also met by HEAD, since what the tag held is remembered.
#[tokio::test(start_paused = true)]
async fn schema_1_in_place_of_a_known_tag_is_broken_unsupported() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let subject = Subject::new();
    assert!(subject.app(&fixture).await.is_present());
    let schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    fixture.tag("v1", &fixture.manifest(schema_1, &json!({"schemaVersion": 1, "fsLayers": []})));
    for _ in 0..2 {
        let seen = subject.app(&fixture).await;
        assert!(
            matches!(&seen, Sighting::Broken(defect) if defect.kind == DefectKind::Unsupported),
            "{seen:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_unknown_transient() {
    let fixture = Fixture::with_app(Guard::Open).await;
    fixture.script("GET", V1, 3, Reply { breaks: true, ..Reply::ok(OCI_INDEX, b"{\"manifests\":[") });
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_is_unknown_transient() {
    let fixture = Fixture::with_app(Guard::Open).await;
    // Bound and closed again: nobody listens on that port now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut question = app(&fixture);
    question.repository = format!("127.0.0.1:{port}/acme/app").parse().unwrap();
    let seen = doubt(&Subject::new().look(&open(), &question).await, DoubtKind::Transient);
    assert!(seen.message.contains("refused"), "{}", seen.message);
}

#[tokio::test(start_paused = true)]
async fn a_plain_http_registry_without_insecure_says_what_to_set() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let secure = Access { insecure: false, ..open() };
    let seen = doubt(&Subject::new().app_as(&fixture, &secure).await, DoubtKind::Transient);
    // Without CA certificates on this machine the sentence is about those instead.
    let hints = ["insecure: true", "CA certificates"];
    assert!(hints.iter().any(|hint| seen.message.contains(hint)), "{}", seen.message);
}

#[tokio::test(start_paused = true)]
async fn silence_is_unknown_transient_after_fifteen_seconds() {
    let fixture = Fixture::with_app(Guard::Open).await;
    fixture.script("GET", V1, 1, Reply { hangs: true, ..Reply::status(200) });
    let subject = Subject::new();
    let before = tokio::time::Instant::now();
    let seen = doubt(&subject.app(&fixture).await, DoubtKind::Transient);
    assert!(seen.message.contains("15 s"), "{}", seen.message);
    assert_eq!(before.elapsed().as_secs(), Duration::from_secs(15).as_secs());
    assert_eq!(subject.records.lock().unwrap()[0].status, None, "counted though never answered");
    assert!(subject.app(&fixture).await.is_present(), "and the next look is a new one");
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_becomes_a_get_once_and_is_remembered() {
    for status in [405, 501] {
        let fixture = Fixture::start(Guard::Open).await;
        let digest = fixture.push_app();
        fixture.script("HEAD", V1, 9, Reply::status(status));
        let subject = Subject::new();
        assert_eq!(present(&subject.head(&fixture).await), digest);
        assert_eq!(present(&subject.head(&fixture).await), digest);
        let target = format!("/v2/acme/app{V1}");
        assert_eq!(
            fixture.log(),
            [format!("HEAD {target}"), format!("GET {target}"), format!("GET {target}")]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_digest_becomes_a_get_that_is_hashed() {
    let fixture = Fixture::start(Guard::Open).await;
    let digest = fixture.push_app();
    fixture.world(|world| world.digest_header = false);
    let subject = Subject::new();
    assert_eq!(present(&subject.head(&fixture).await), digest);
    let seen = subject.client.head_manifest(&open(), &repository(&fixture), &digest).await;
    assert_eq!(seen, Sighting::Present(()));
    assert_eq!(subject.requests(), 3, "HEAD, GET; GET");
}

#[tokio::test(start_paused = true)]
async fn redirects_of_manifests_stay_on_the_host() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let elsewhere = Fixture::with_app(Guard::Open).await;
    let there = format!("http://{}/v2/acme/app/manifests/v1", elsewhere.host());
    fixture.script("GET", V1, 1, Reply::status(307).header("location", &there));
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Protocol);
    assert!(elsewhere.log().is_empty(), "not even asked");
    fixture.script("GET", V1, 1, Reply::status(307).header("location", "/v2/acme/app/manifests/v1?again"));
    assert!(Subject::new().app(&fixture).await.is_present());
    fixture.script("GET", V1, 9, Reply::status(307).header("location", "/v2/acme/app/manifests/v1"));
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn blobs_may_lie_elsewhere_and_get_no_credential_there() {
    let fixture = Fixture::start(Guard::Basic).await;
    let storage = Fixture::start(Guard::Open).await;
    let (part, twin) = (fixture.image("linux", "amd64", ""), storage.image("linux", "amd64", ""));
    let config = fixture.config_of(&part.digest);
    assert_eq!(config, storage.config_of(&twin.digest));
    fixture.index("v1", &[part]);
    let there = format!("http://{}/v2/acme/app/blobs/{config}", storage.host());
    fixture.script("GET", "/blobs/", 9, Reply::status(307).header("location", &there));
    let access = basic("user", "hunter2");
    let evidence = present(&Subject::new().app_as(&fixture, &access).await);
    assert!(evidence.cell(&platform("linux/amd64")).is_present());
    assert_eq!(storage.log(), [format!("GET /v2/acme/app/blobs/{config}")], "without Authorization");
    storage.forget(&config);
    let evidence = present(&Subject::new().app_as(&fixture, &access).await);
    doubt(&evidence.cell(&platform("linux/amd64")), DoubtKind::Transient);
}
