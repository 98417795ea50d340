//! Credentials, tokens and the servers that give them.

use std::time::Duration;

use http::StatusCode;
use tidegate::embedded::registry::{Auth, BearerAuth, Habit, On, Operation, Reply, Rule, Step, When};
use tidegate::model::Sighting;
use tidegate::model::sighting::DoubtKind;

use super::scene::{Scene, anonymous, credentials, doubt, known, login, present};

fn bearer() -> Auth {
    Auth::Bearer(BearerAuth::for_user(credentials()))
}

/// A registry that asks for tokens, whose token server answers with `reply`; the image is there. To who comes without a token
/// it says 404, so that a client that goes on without one would call the image missing.
async fn hiding(reply: Rule) -> Scene {
    let scene = Scene::with_app(bearer()).await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", scene.registry.host());
    let ask = Reply::status(StatusCode::UNAUTHORIZED).header("www-authenticate", challenge);
    scene.plan(Rule::new(On::manifest().credentials(false)).when(When::First(1)).answer(ask));
    scene.plan(Rule::new(On::manifest().credentials(false)).answer(Reply::error(
        StatusCode::NOT_FOUND,
        "NAME_UNKNOWN",
        "no",
    )));
    scene.plan(reply);
    scene
}

#[tokio::test(start_paused = true)]
async fn a_401_is_answered_with_one_token_for_the_whole_look() {
    let scene = Scene::with_app(bearer()).await;
    assert!(scene.look_as(&known(), "v1").await.is_present());
    assert_eq!(scene.count(Operation::Token), 1);
    assert!(scene.look_as(&known(), "v1").await.is_present());
    assert_eq!(scene.count(Operation::Token), 1, "and for the next look");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_on_the_way_is_refreshed_once() {
    let scene = Scene::with_app(bearer()).await;
    assert!(scene.look_as(&known(), "v1").await.is_present());
    scene.registry.revoke_tokens();
    // A tag that was not read before: a HEAD brings no text that could say so.
    scene.push("v2");
    assert!(scene.look_as(&known(), "v2").await.is_present());
    assert_eq!(scene.count(Operation::Token), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_never_good_is_unknown_auth() {
    let scene = Scene::with_app(bearer()).await;
    let useless = Reply::json(StatusCode::OK, "{\"token\":\"useless\"}");
    scene.plan(Rule::new(On::token()).answer(useless));
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
    assert!(scene.count(Operation::Token) <= 2, "one token and one refresh");
}

#[tokio::test(start_paused = true)]
async fn a_token_server_in_trouble_is_unknown_never_an_anonymous_404() {
    for (status, kind) in [
        (400, DoubtKind::Auth),
        (401, DoubtKind::Auth),
        (403, DoubtKind::Auth),
        (404, DoubtKind::Auth),
        (429, DoubtKind::Throttled),
        (500, DoubtKind::Transient),
        (503, DoubtKind::Transient),
    ] {
        let reply = Reply::error(StatusCode::from_u16(status).unwrap(), "DENIED", "no");
        let scene = hiding(Rule::new(On::token()).answer(reply)).await;
        doubt(&scene.look_as(&known(), "v1").await, kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_cannot_be_reached_is_unknown_transient() {
    let scene = hiding(Rule::new(On::token()).step(Step::Cut)).await;
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_slow_token_server_is_unknown_transient() {
    for step in [
        Step::Delay(Duration::from_hours(1)),
        Step::Trickle { piece_bytes: 1, pause: Duration::from_secs(5) },
    ] {
        let scene = hiding(Rule::new(On::token()).step(step)).await;
        doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Transient);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_answers_a_web_page_is_unknown_protocol() {
    for body in ["<html>sign in</html>", "{}", "{\"token\":\"\"}", "[]"] {
        let scene = hiding(Rule::new(On::token()).answer(Reply::html(StatusCode::OK, body))).await;
        doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Protocol);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_with_illegal_bytes_is_never_sent() {
    for token in ["hunter2\\r\\nX-Evil: 1", "hunter2\\u0000"] {
        let body = format!("{{\"token\":\"{token}\"}}");
        let scene = hiding(Rule::new(On::token()).answer(Reply::json(StatusCode::OK, body))).await;
        doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
        assert_eq!(
            scene.registry.count(|request| request.info.with_credentials),
            1,
            "the token server alone"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_larger_than_64_kib_is_unknown_corrupt() {
    let body = format!("{{\"token\":\"{}\"}}", "x".repeat(64 << 10));
    let scene = hiding(Rule::new(On::token()).answer(Reply::json(StatusCode::OK, body))).await;
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_secret_is_used_at_the_next_look() {
    let scene = Scene::with_app(bearer()).await;
    let old = login("user", "hunter2-of-yesterday");
    doubt(&scene.look_as(&old, "v1").await, DoubtKind::Auth);
    assert!(scene.look_as(&known(), "v1").await.is_present());
    doubt(&scene.look_as(&old, "v1").await, DoubtKind::Auth);
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_what_a_neighbour_with_credentials_saw() {
    let scene = Scene::with_app(bearer()).await;
    assert!(scene.look_as(&known(), "v1").await.is_present());
    doubt(&scene.look_as(&anonymous(), "v1").await, DoubtKind::Auth);
    assert!(scene.look_as(&known(), "v1").await.is_present());
}

#[tokio::test(start_paused = true)]
async fn wrong_or_absent_basic_credentials_are_unknown_auth() {
    let scene = Scene::with_app(Auth::Basic(credentials())).await;
    doubt(&scene.look_as(&anonymous(), "v1").await, DoubtKind::Auth);
    doubt(&scene.look_as(&login("user", "wrong-hunter2"), "v1").await, DoubtKind::Auth);
    assert!(scene.look_as(&known(), "v1").await.is_present());
    assert_eq!(scene.look_as(&known(), "v2").await, Sighting::Missing, "an accepted credential saw nothing");
}

#[tokio::test(start_paused = true)]
async fn a_realm_elsewhere_gets_no_credential() {
    for realm in [
        "http://169.254.169.254/token",
        "http://[fe80::1]/token",
        "http://0.0.0.0/token",
        "ftp://127.0.0.1/token",
        "/token",
        "http://user:pass@127.0.0.1/token",
    ] {
        let scene = Scene::with_app(bearer()).await;
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        let ask = Reply::status(StatusCode::UNAUTHORIZED).header("www-authenticate", challenge);
        scene.plan(Rule::new(On::manifest()).answer(ask));
        doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
        assert_eq!(scene.hosts(), [scene.registry.host()], "{realm}: one request, to the registry");
        assert_eq!(scene.registry.count(|request| request.info.with_credentials), 0, "{realm}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_redirects_elsewhere_takes_nothing_along() {
    let elsewhere = Scene::with_app(bearer()).await;
    let there = format!("http://{}/token", elsewhere.registry.host());
    let reply = Reply::status(StatusCode::TEMPORARY_REDIRECT).header("location", there);
    let scene = hiding(Rule::new(On::token()).answer(reply)).await;
    let seen = scene.look_as(&known(), "v1").await;
    assert!(seen.is_unknown(), "{seen:?}");
    assert_eq!(elsewhere.registry.count(|request| request.info.with_credentials), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_before_they_end() {
    let short = BearerAuth { token_ttl: Duration::from_secs(100), ..BearerAuth::for_user(credentials()) };
    let scene = Scene::with_app(Auth::Bearer(short)).await;
    present(&scene.look_as(&known(), "v1").await);
    scene.statuses();
    tokio::time::sleep(Duration::from_secs(95)).await;
    present(&scene.look_as(&known(), "v1").await);
    assert!(!scene.statuses().contains(&Some(401)), "the old token was still good and not sent");
    assert_eq!(scene.count(Operation::Token), 2);
}

#[tokio::test(start_paused = true)]
async fn a_403_that_says_the_token_expired_is_refreshed_once() {
    let scene = Scene::with_app(bearer()).await;
    // A credential that is not taken any more is answered by 403 "Your authorization token has expired".
    scene.registry.adopt(Habit::Ecr);
    assert!(scene.look_as(&known(), "v1").await.is_present());
    scene.registry.revoke_tokens();
    // A tag that was not read before: a HEAD brings no text that could say so.
    scene.push("v2");
    assert!(scene.look_as(&known(), "v2").await.is_present());
    assert_eq!(scene.count(Operation::Token), 2);
}
