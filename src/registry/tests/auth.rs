//! Challenges, tokens and what may never happen without them.

use std::time::Duration;

use super::fixture::{Fixture, Guard, Reply, error};
use super::*;

#[tokio::test]
async fn an_open_registry_is_never_pinged() {
    let fixture = Fixture::with_app(Guard::Open).await;
    assert!(Subject::new().app(&fixture).await.is_present());
    assert!(fixture.log().iter().all(|line| line.starts_with("GET /v2/acme/app/")), "no /v2/ alone");
}

#[tokio::test]
async fn basic_is_asked_for_once_per_host() {
    let fixture = Fixture::with_app(Guard::Basic).await;
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    let log = fixture.log();
    assert_eq!(log.iter().filter(|line| !line.contains('+')).count(), 1, "one 401: {log:?}");
    assert_eq!(subject.requests(), 6);
    let mut missing = app(&fixture);
    missing.tag = "v2".parse().unwrap();
    assert_eq!(
        subject.look(&access, &missing).await,
        Sighting::Missing,
        "an accepted credential saw nothing"
    );
    assert_eq!(subject.requests(), 1);
}

#[tokio::test]
async fn wrong_or_no_passwords_are_unknown_auth() {
    let fixture = Fixture::with_app(Guard::Basic).await;
    for access in [basic("user", "wrong-hunter2"), open()] {
        let subject = Subject::new();
        doubt(&subject.app_as(&fixture, &access).await, DoubtKind::Auth);
        doubt(&subject.app_as(&fixture, &access).await, DoubtKind::Auth);
    }
}

#[tokio::test]
async fn an_unusable_credential_asks_nobody() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let credentials = Credentials::default().with_unusable("the Secret is empty; fill it");
    let subject = Subject::new();
    let seen = subject.app_as(&fixture, &Access { credentials, ..open() }).await;
    assert!(doubt(&seen, DoubtKind::Auth).message.contains("the Secret is empty"));
    assert_eq!(subject.requests(), 0);
}

#[tokio::test]
async fn one_token_serves_a_whole_look_and_the_next() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    let log = fixture.log();
    assert_eq!(log.len(), 7, "401, token, index, 2 children, 2 configs: {log:?}");
    assert_eq!(log[1], "GET /token?service=fixture&scope=repository%3Aacme%2Fapp%3Apull +Basic");
    assert!(subject.app_as(&fixture, &access).await.is_present());
    assert_eq!(fixture.log().len(), 3, "HEAD of the tag and of both children");
    let seen = subject.tags_as(&fixture, &access).await;
    assert_eq!(present(&seen), ["v1"]);
    assert_eq!(fixture.log().len(), 1);
}

#[tokio::test]
async fn anonymous_tokens_count_as_asked_for() {
    let fixture = Fixture::start(Guard::Bearer).await;
    assert_eq!(Subject::new().app(&fixture).await, Sighting::Missing);
    fixture.world(|world| world.anonymous_tokens = false);
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Auth);
}

#[tokio::test]
async fn many_ask_for_one_token_at_once_and_one_is_fetched() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    let question = app(&fixture);
    let seen = futures::future::join_all((0..6).map(|_| subject.look(&access, &question))).await;
    assert!(seen.iter().all(Sighting::is_present));
    assert_eq!(fixture.log().iter().filter(|line| line.contains("/token")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_outage_is_shared_by_all_who_wait() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.script("GET", "/token", 99, Reply::status(503));
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    let question = app(&fixture);
    let seen = futures::future::join_all((0..6).map(|_| subject.look(&access, &question))).await;
    for sighting in &seen {
        doubt(sighting, DoubtKind::Transient);
    }
    let asked = fixture.log().iter().filter(|line| line.contains("/token")).count();
    assert_eq!(asked, 3, "the three tries of one exchange");
}

#[tokio::test(start_paused = true)]
async fn a_token_server_in_trouble_is_unknown_never_an_anonymous_404() {
    let html = Reply::ok("text/html", b"<html>sign in</html>");
    for (reply, kind, tries) in [
        (error(401, "UNAUTHORIZED"), DoubtKind::Auth, 1),
        (error(403, "DENIED"), DoubtKind::Auth, 1),
        (Reply::status(400), DoubtKind::Auth, 1),
        (Reply::status(404), DoubtKind::Auth, 1),
        (Reply::status(429).header("retry-after", "9"), DoubtKind::Throttled, 1),
        (Reply::status(500), DoubtKind::Transient, 3),
        (Reply::status(503), DoubtKind::Transient, 3),
        (html, DoubtKind::Protocol, 1),
        (Reply::ok("application/json", b"{}"), DoubtKind::Protocol, 1),
        (Reply::ok("application/json", b"{\"token\":\"\"}"), DoubtKind::Protocol, 1),
        (Reply::ok("application/json", b"{\"token\":\"hunter2\\r\\nX: y\"}"), DoubtKind::Auth, 1),
        (Reply::ok("application/json", &vec![b' '; 64 * 1024 + 1]), DoubtKind::Corrupt, 1),
        (Reply { breaks: true, ..Reply::ok("application/json", b"{") }, DoubtKind::Transient, 3),
        (Reply::status(302).header("location", "http://127.0.0.1:1/token"), DoubtKind::Auth, 1),
    ] {
        // Without a token this registry would answer 404 after the first challenge.
        let fixture = Fixture::with_app(Guard::Hiding).await;
        let challenge = format!(r#"Bearer realm="http://{}/token""#, fixture.host());
        fixture.script("GET", "/manifests/", 1, Reply::status(401).header("www-authenticate", &challenge));
        fixture.script("GET", "/token", 9, reply);
        let subject = Subject::new();
        doubt(&subject.app_as(&fixture, &basic("user", "hunter2")).await, kind);
        assert_eq!(fixture.log().len(), 1 + tries, "the challenge and the token server, then nobody");
    }
}

#[tokio::test]
async fn a_token_server_that_is_down_stays_unknown_when_the_challenge_is_known() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.token_life_secs = Some(1));
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    // The registry now hides and its token server is gone: the challenge is remembered all the same.
    fixture.world(|world| {
        world.guard = Guard::Hiding;
        world.tokens.clear();
    });
    fixture.script("GET", "/token", 99, Reply::status(503));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    doubt(&subject.app_as(&fixture, &access).await, DoubtKind::Transient);
}

/// Found by the simulation: a registry that asked for tokens for a while was Unknown until the controller started anew.
#[tokio::test]
async fn a_registry_that_asks_for_tokens_no_more_is_believed_once_it_shows_something() {
    for access in [open(), basic("user", "hunter2")] {
        let fixture = Fixture::with_app(Guard::Bearer).await;
        fixture.world(|world| (world.anonymous_tokens, world.token_life_secs) = (true, Some(1)));
        let subject = Subject::new();
        assert!(subject.app_as(&fixture, &access).await.is_present());
        // Its token server is gone, and it asks for nothing any more.
        fixture.world(|world| world.guard = Guard::Open);
        let gone = || fixture.script("GET", "/token", 99, Reply::status(404));
        let later = || async {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(20)).await;
            tokio::time::resume();
        };
        // What it does not show proves nothing before it has shown something.
        gone();
        for verb in ["HEAD", "GET"] {
            fixture.script(verb, "/manifests/", 99, error(404, "MANIFEST_UNKNOWN"));
        }
        later().await;
        doubt(&subject.app_as(&fixture, &access).await, DoubtKind::Auth);
        fixture.unscript();
        gone();
        later().await;
        assert!(subject.app_as(&fixture, &access).await.is_present());
        // From then on it is as any open registry, which is not asked for tokens.
        fixture.log();
        later().await;
        assert!(subject.app_as(&fixture, &access).await.is_present());
        assert!(!fixture.log().iter().any(|line| line.contains("/token")));
    }
}

#[tokio::test]
async fn a_realm_elsewhere_gets_no_credential() {
    for (realm, why) in [
        ("http://169.254.169.254/token", "link-local"),
        ("/token", "no absolute"),
        ("ftp://127.0.0.1/token", "no absolute"),
        ("http://user:hunter2@127.0.0.1/token", "user name"),
    ] {
        let fixture = Fixture::with_app(Guard::Bearer).await;
        fixture.world(|world| realm.clone_into(&mut world.realm));
        let seen = Subject::new().app_as(&fixture, &basic("user", "hunter2")).await;
        let seen = doubt(&seen, DoubtKind::Auth);
        assert!(seen.message.contains(why), "{}", seen.message);
        assert_eq!(fixture.log().len(), 1);
    }
}

#[tokio::test]
async fn a_token_that_ends_early_is_replaced_once() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let subject = Subject::new();
    assert!(subject.app(&fixture).await.is_present());
    fixture.world(|world| world.tokens.clear());
    fixture.log();
    assert!(subject.app(&fixture).await.is_present());
    assert_eq!(fixture.log().len(), 5, "HEAD 401, token, HEAD, 2 HEADs of children");
    // A registry that refuses every token is asked twice and no more.
    fixture.script("HEAD", "/manifests/", 99, {
        let challenge = format!(r#"Bearer realm="http://{}/token""#, fixture.host());
        Reply::status(401).header("www-authenticate", &challenge)
    });
    doubt(&subject.app(&fixture).await, DoubtKind::Auth);
    assert_eq!(fixture.log().len(), 3, "HEAD 401, token, HEAD 401");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_at_eight_tenths_of_their_life() {
    for (life, fresh_secs) in [(Some(300), 240), (None, 48), (Some(86_400), 2_880)] {
        let fixture = Fixture::with_app(Guard::Bearer).await;
        fixture.world(|world| world.token_life_secs = life);
        let subject = Subject::new();
        assert!(subject.app(&fixture).await.is_present());
        for (wait, tokens) in [(fresh_secs - 1, 0), (2, 1)] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            fixture.log();
            assert!(subject.head(&fixture).await.is_present());
            assert_eq!(
                fixture.log().iter().filter(|line| line.contains("/token")).count(),
                tokens,
                "{life:?}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_rides_on_anothers_token_or_knowledge() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.anonymous_tokens = false);
    let subject = Subject::new();
    assert!(subject.app_as(&fixture, &basic("user", "hunter2")).await.is_present());
    doubt(&subject.app_as(&fixture, &open()).await, DoubtKind::Auth);
    doubt(&subject.app_as(&fixture, &basic("user", "old-hunter2")).await, DoubtKind::Auth);
}

#[tokio::test]
async fn a_404_without_a_challenge_does_not_prove_absence_to_who_has_a_credential() {
    let fixture = Fixture::start(Guard::Open).await;
    let seen = Subject::new().app_as(&fixture, &basic("user", "hunter2")).await;
    let seen = doubt(&seen, DoubtKind::Auth);
    assert!(seen.message.contains("remove the credential"), "{}", seen.message);
}

#[tokio::test]
async fn a_registry_that_hides_shows_itself_to_the_credential() {
    let fixture = Fixture::with_app(Guard::Hiding).await;
    let subject = Subject::new();
    assert!(subject.app_as(&fixture, &basic("user", "hunter2")).await.is_present());
    fixture.log();
    let mut missing = app(&fixture);
    missing.tag = "v2".parse().unwrap();
    assert_eq!(subject.look(&basic("user", "hunter2"), &missing).await, Sighting::Missing);
    assert_eq!(fixture.log(), ["GET /v2/acme/app/manifests/v2 +Basic"]);
}

#[tokio::test]
async fn a_401_without_a_challenge_is_unknown_auth() {
    let fixture = Fixture::with_app(Guard::Open).await;
    fixture.script("GET", "/manifests/v1", 9, Reply::status(401).header("www-authenticate", "Negotiate"));
    let subject = Subject::new();
    doubt(&subject.app_as(&fixture, &basic("user", "hunter2")).await, DoubtKind::Auth);
    assert_eq!(subject.requests(), 1);
}
