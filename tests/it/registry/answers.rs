//! Verdict by answer: what each status and each body means, whoever sent it.

use std::time::Duration;

use http::{Method, StatusCode};
use tidegate::embedded::image::{MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST};
use tidegate::embedded::registry::{Auth, BearerAuth, On, Operation, Reply, Rule, Step, When};
use tidegate::model::Sighting;
use tidegate::model::sighting::DoubtKind;
use tidegate::registry::Access;

use super::scene::{Scene, anonymous, credentials, doubt, images, known, look, present};

/// Larger than any manifest that is read.
const TOO_LARGE_BYTES: usize = (4 << 20) + 1;

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

fn manifests(reply: Reply) -> Rule {
    Rule::new(On::manifest()).answer(reply)
}

#[tokio::test(start_paused = true)]
async fn a_200_with_a_verified_digest_is_present() {
    let scene = Scene::open().await;
    let digest = scene.push("v1");
    assert_eq!(present(&scene.look().await).digest, digest);
    assert_eq!(present(&scene.head().await), digest);
}

#[tokio::test(start_paused = true)]
async fn a_404_of_a_registry_that_asks_for_nothing_is_missing() {
    let scene = Scene::open().await;
    assert_eq!(scene.look().await, Sighting::Missing, "the repository is not there");
    scene.push("v2");
    assert_eq!(scene.look().await, Sighting::Missing, "the tag is not there");
    assert_eq!(scene.head().await, Sighting::Missing);
}

#[tokio::test(start_paused = true)]
async fn a_404_to_a_valid_token_is_missing() {
    let scene = Scene::with(Auth::Bearer(BearerAuth::for_user(credentials()))).await;
    assert_eq!(scene.look_as(&known(), "v1").await, Sighting::Missing);
    assert_eq!(scene.count(Operation::Token), 1);
}

#[tokio::test(start_paused = true)]
async fn a_404_that_asked_for_no_credential_though_one_is_configured_is_unknown_auth() {
    let scene = Scene::open().await;
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_and_an_unknown_manifest_are_both_missing_to_who_may_see() {
    for code in ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "NOT_FOUND"] {
        let scene = Scene::with_app(Auth::Open).await;
        scene.plan(manifests(Reply::error(status(404), code, "no")));
        assert_eq!(scene.look().await, Sighting::Missing, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_or_403_that_stays_is_unknown_auth() {
    for code in [401, 403] {
        let scene = Scene::with_app(Auth::Bearer(BearerAuth::for_user(credentials()))).await;
        scene.plan(Rule::new(On::manifest().credentials(true)).answer(Reply::error(
            status(code),
            "DENIED",
            "no",
        )));
        let seen = doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
        assert!(seen.message.contains("not found or no access"), "{}", seen.message);
        assert!(scene.statuses().len() <= 4, "one refresh at most: 401, token, refused, and that once more");
    }
}

#[tokio::test(start_paused = true)]
async fn an_envelope_without_errors_and_a_body_that_is_no_json_change_no_verdict() {
    for body in ["{\"errors\":[]}", "{\"errors\":null}", "not json", "[]", ""] {
        for (code, kind) in [(403, DoubtKind::Auth), (429, DoubtKind::Throttled), (500, DoubtKind::Transient)]
        {
            let scene = Scene::with_app(Auth::Open).await;
            scene.plan(manifests(Reply::json(status(code), body)));
            doubt(&scene.look().await, kind);
        }
        let scene = Scene::with_app(Auth::Open).await;
        scene.plan(manifests(Reply::json(status(404), body)));
        assert_eq!(scene.look().await, Sighting::Missing, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_is_unknown_transient() {
    for code in [408, 499, 500, 502, 503, 504, 522] {
        let scene = Scene::with_app(Auth::Open).await;
        scene.plan(manifests(Reply::status(status(code))));
        doubt(&scene.look().await, DoubtKind::Transient);
        doubt(&scene.head().await, DoubtKind::Transient);
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_is_unknown_throttled_with_its_pause_and_without_one() {
    for (pause, secs) in
        [(Some("60"), Some(60)), (Some("Sat, 21 Nov 2026 10:02:00 GMT"), Some(120)), (None, None)]
    {
        let scene = Scene::with_app(Auth::Open).await;
        let reply = Reply::error(status(429), "TOOMANYREQUESTS", "slow down");
        let reply = pause.into_iter().fold(reply, |reply, pause| reply.header("retry-after", pause));
        scene.plan(manifests(reply));
        let seen = doubt(&scene.look().await, DoubtKind::Throttled);
        // A date is read against a clock that has gone on since.
        let close = |told: u32| secs.is_some_and(|secs| (secs - 2..=secs).contains(&told));
        assert!(secs.is_none() || seen.retry_after_secs.is_some_and(close), "{pause:?}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_unknown_transient() {
    let scene = Scene::with_app(Auth::Open).await;
    scene.plan(Rule::new(On::manifest()).step(Step::Cut));
    doubt(&scene.look().await, DoubtKind::Transient);
    doubt(&scene.head().await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_is_unknown_transient() {
    let scene = Scene::with_app(Auth::Open).await;
    scene.plan(Rule::new(On::manifest()).step(Step::Delay(Duration::from_hours(1))));
    let begun = tokio::time::Instant::now();
    doubt(&scene.look().await, DoubtKind::Transient);
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_host_without_an_address_is_unknown_transient() {
    let scene = Scene::open().await;
    let mut question = scene.question("v1");
    question.repository = "no-such-host.invalid/acme/app".parse().unwrap();
    doubt(&look(&scene.client, &anonymous(), &question).await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_registry_without_tls_is_unknown_transient() {
    let scene = Scene::with_app(Auth::Open).await;
    doubt(&scene.look_as(&Access::default(), "v1").await, DoubtKind::Transient);
    assert_eq!(scene.registry.total(), 0, "and nothing was asked in the clear");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_unknown_transient() {
    let scene = Scene::with_app(Auth::Open).await;
    let slowly = Step::Trickle { piece_bytes: 1, pause: Duration::from_secs(1) };
    scene.plan(Rule::new(On::manifest()).step(slowly));
    let begun = tokio::time::Instant::now();
    doubt(&scene.look().await, DoubtKind::Transient);
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_truncated_body_is_unknown_transient() {
    let scene = Scene::with_app(Auth::Open).await;
    scene.plan(Rule::new(On::manifest()).step(Step::Truncate(50)));
    doubt(&scene.look().await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_web_page_with_200_is_unknown_protocol() {
    let scene = Scene::with_app(Auth::Open).await;
    scene.plan(manifests(Reply::html(status(200), "<html>sign in</html>")));
    doubt(&scene.look().await, DoubtKind::Protocol);
    doubt(&scene.head().await, DoubtKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn wrong_json_with_200_is_unknown_protocol() {
    for body in ["{}", "[]", "null", "\"v1\"", "{\"schemaVersion\":2}", "<html>"] {
        let scene = Scene::with_app(Auth::Open).await;
        scene.plan(manifests(Reply::status(status(200)).header("content-type", MEDIA_TYPE_INDEX).body(body)));
        doubt(&scene.look().await, DoubtKind::Protocol);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_content_type_is_refused() {
    for (content_type, kind) in [
        ("application/json", DoubtKind::Protocol),
        ("application/octet-stream", DoubtKind::Protocol),
        ("text/plain", DoubtKind::Protocol),
        // It says image and is an index: two readings of the same bytes.
        (MEDIA_TYPE_MANIFEST, DoubtKind::Corrupt),
    ] {
        let scene = Scene::with_app(Auth::Open).await;
        let lie = Step::SetHeader("content-type", content_type.to_owned());
        scene.plan(Rule::new(On::manifest().by_tag()).step(lie));
        doubt(&scene.look().await, kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_digest_header_is_unknown_corrupt() {
    let scene = Scene::with_app(Auth::Open).await;
    let wrong = Step::SetHeader("docker-content-digest", format!("sha256:{}", "1".repeat(64)));
    scene.plan(Rule::new(On::manifest().by_tag()).step(wrong));
    doubt(&scene.look().await, DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn without_a_digest_header_the_bytes_are_hashed() {
    let scene = Scene::open().await;
    let digest = scene.push("v1");
    scene.plan(Rule::new(On::manifest()).step(Step::RemoveHeader("docker-content-digest")));
    assert_eq!(present(&scene.look().await).digest, digest);
    assert_eq!(present(&scene.head().await), digest);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_hash_to_its_digest_is_unknown_corrupt() {
    let scene = Scene::with_app(Auth::Open).await;
    let other = Step::Body("{\"schemaVersion\":2,\"manifests\":[]}".into());
    scene.plan(Rule::new(On::manifest().by_tag()).step(other));
    doubt(&scene.look().await, DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_larger_than_4_mib_is_unknown_corrupt_announced_or_not() {
    let large = || {
        Reply::status(status(200)).header("content-type", MEDIA_TYPE_INDEX).body(vec![b' '; TOO_LARGE_BYTES])
    };
    for chunked in [false, true] {
        let scene = Scene::with_app(Auth::Open).await;
        let rule = manifests(large());
        scene.plan(if chunked { rule.step(Step::Chunked) } else { rule });
        doubt(&scene.look().await, DoubtKind::Corrupt);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_becomes_one_get_and_is_remembered() {
    for code in [405, 501] {
        let scene = Scene::open().await;
        let digest = scene.push("v1");
        scene.plan(Rule::new(On::manifest().method(Method::HEAD)).answer(Reply::status(status(code))));
        assert_eq!(present(&scene.head().await), digest);
        assert_eq!(present(&scene.head().await), digest);
        assert_eq!(scene.statuses(), [Some(code), Some(200), Some(200)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_of_a_manifest_to_another_host_is_not_followed() {
    let scene = Scene::with_app(Auth::Open).await;
    let elsewhere = Scene::with_app(Auth::Open).await;
    for code in [301, 302, 307, 308] {
        let there = format!("http://{}/v2/acme/app/manifests/v1", elsewhere.registry.host());
        scene.registry.clear_plan();
        scene.plan(manifests(Reply::status(status(code)).header("location", there)));
        doubt(&scene.look().await, DoubtKind::Protocol);
    }
    assert_eq!(elsewhere.registry.total(), 0, "not even asked");
}

#[tokio::test(start_paused = true)]
async fn a_blob_elsewhere_is_read_without_the_credential_and_only_where_it_may_lie() {
    let scene = Scene::with_app(Auth::Basic(credentials())).await;
    let storage = Scene::with_app(Auth::Open).await;
    let to = |place: &str| {
        let reply = Reply::status(status(307)).header("location", place);
        scene.registry.clear_plan();
        scene.plan(Rule::new(On::blob()).answer(reply));
    };
    to("http://169.254.169.254/latest/meta-data");
    let evidence = present(&scene.look_as(&known(), "v1").await);
    assert!(evidence.children.values().all(Sighting::is_unknown), "{evidence:?}");
    // One child: its config lies elsewhere.
    let mut question = scene.question("v1");
    question.platforms.truncate(1);
    let config = &images("v1")[0].config.digest;
    to(&format!("http://{}/v2/acme/app/blobs/{config}", storage.registry.host()));
    let evidence = present(&look(&scene.client, &known(), &question).await);
    assert!(evidence.children.values().all(Sighting::is_present), "{evidence:?}");
    assert_eq!(storage.registry.count(|request| request.info.with_credentials), 0);
    assert_eq!(storage.registry.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_ends_leaves_nothing_behind() {
    let scene = Scene::with_app(Auth::Open).await;
    scene.plan(manifests(Reply::status(status(404))).when(When::First(1)));
    assert_eq!(scene.look().await, Sighting::Missing, "the 404 was believed once");
    assert!(scene.look().await.is_present(), "and asked again");
}
