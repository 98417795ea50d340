//! As whom: several credentials, tokens of other kinds, rotation, renewal, and what one never sees of another.

use std::time::Duration;

use super::fixture::{Fixture, Guard, Reply, error};
use super::*;
use crate::registry::identity::credentials::Candidate;

/// What Amazon ECR says of a token of yesterday (kcl-lang/kpm#698).
const ENDED: &[u8] =
    br#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate."}]}"#;
const AZURE_USER: &str = "00000000-0000-0000-0000-000000000000";

fn user(password: &str) -> Credential {
    Credential::Basic { username: "user".into(), password: password.into() }
}

fn identity_token(username: Option<&str>) -> Credential {
    Credential::IdentityToken { username: username.map(Into::into), token: "hunter2-refresh".into() }
}

fn credentials(list: impl IntoIterator<Item = (&'static str, Credential)>) -> Credentials {
    let mut credentials = Credentials::default();
    for (source, credential) in list {
        credentials.push(Candidate { credential, source: source.to_owned() });
    }
    credentials
}

fn access_as(credentials: Credentials) -> Access {
    Access { credentials, ..open() }
}

fn tagged(fixture: &Fixture, tag: &str) -> Question {
    Question { tag: tag.parse().unwrap(), ..app(fixture) }
}

fn count(log: &[String], word: &str) -> usize {
    log.iter().filter(|line| line.contains(word)).count()
}

// === several credentials ===

#[tokio::test]
async fn several_credentials_are_tried_in_turn_and_the_one_that_serves_is_remembered() {
    for guard in [Guard::Basic, Guard::Bearer] {
        let fixture = Fixture::with_app(guard).await;
        let list = [("old", user("hunter2-old")), ("new", user("hunter2")), ("never", user("hunter2-never"))];
        let (subject, access) = (Subject::new(), access_as(credentials(list)));
        assert!(subject.app_as(&fixture, &access).await.is_present());
        fixture.log();
        assert!(subject.app_as(&fixture, &access).await.is_present());
        let log = fixture.log();
        assert_eq!(log.len(), 3, "HEAD of the tag and of both children, no refusal before: {log:?}");
    }
}

#[tokio::test]
async fn when_all_fail_the_doubt_names_which_were_tried() {
    for guard in [Guard::Basic, Guard::Bearer] {
        let fixture = Fixture::with_app(guard).await;
        let list = [
            ("the entry `r.io/acme` of the Secret pull", user("hunter2-old")),
            ("the entry `r.io` of the Secret other", user("hunter2-older")),
        ];
        let credentials = credentials(list).with_unusable("the Secret third has type Opaque: create it anew");
        let seen = Subject::new().app_as(&fixture, &access_as(credentials)).await;
        let words = "; tried: the entry `r.io/acme` of the Secret pull, then the entry `r.io` of the Secret other; \
                     the Secret third has type Opaque: create it anew";
        let message = doubt(&seen, DoubtKind::Auth).message;
        assert!(message.ends_with(words), "{message}");
    }
}

#[tokio::test]
async fn a_refusal_by_403_is_followed_by_the_next_credential() {
    let fixture = Fixture::with_app(Guard::Basic).await;
    // The first credential is valid and may not read this repository.
    fixture.script("GET", "/manifests/v1", 1, Reply::status(401).header("www-authenticate", "Basic"));
    fixture.script("GET", "/manifests/v1", 1, error(403, "DENIED"));
    let access = access_as(credentials([("narrow", user("hunter2-narrow")), ("wide", user("hunter2"))]));
    assert!(Subject::new().app_as(&fixture, &access).await.is_present());
}

#[tokio::test(start_paused = true)]
async fn a_host_in_trouble_is_not_asked_with_the_next_credential() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.script("GET", "/token", 99, Reply::status(503));
    let access = access_as(credentials([("one", user("hunter2-1")), ("two", user("hunter2"))]));
    doubt(&Subject::new().app_as(&fixture, &access).await, DoubtKind::Transient);
    assert_eq!(count(&fixture.log(), "/token"), 3, "the three tries of one exchange");
}

#[tokio::test]
async fn absence_is_believed_of_who_was_shown_something_or_of_all() {
    let fixture = Fixture::start(Guard::Bearer).await;
    let two = || access_as(credentials([("right", user("hunter2")), ("wrong", user("hunter2-wrong"))]));
    let subject = Subject::new();
    // The repository is empty: the right one says 404, and the other might see more if it were mended.
    let seen = subject.app_as(&fixture, &two()).await;
    assert!(doubt(&seen, DoubtKind::Auth).message.contains("tried: right, then wrong"));
    fixture.push_app();
    assert!(subject.app_as(&fixture, &two()).await.is_present());
    fixture.log();
    assert_eq!(subject.look(&two(), &tagged(&fixture, "v2")).await, Sighting::Missing);
    assert_eq!(fixture.log().len(), 1, "nobody else is asked");
    // One credential alone needs no such proof.
    let alone = access_as(credentials([("right", user("hunter2"))]));
    assert_eq!(Subject::new().look(&alone, &tagged(&fixture, "v2")).await, Sighting::Missing);
}

#[tokio::test]
async fn a_pull_secret_that_was_passed_over_makes_a_404_unknown() {
    let mut skipped = Credentials::default();
    skipped.skip("the Secret gone does not exist in acme: create it");
    let access = access_as(skipped);
    for guard in [Guard::Open, Guard::Bearer] {
        let fixture = Fixture::with_app(guard).await;
        let subject = Subject::new();
        assert!(subject.app_as(&fixture, &access).await.is_present(), "what is public is seen");
        let seen = subject.look(&access, &tagged(&fixture, "v2")).await;
        let message = doubt(&seen, DoubtKind::Auth).message;
        assert!(message.ends_with("; the Secret gone does not exist in acme: create it"), "{message}");
    }
}

// === other tokens ===

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.identity_token = Some("hunter2-refresh"));
    let (subject, access) = (Subject::new(), access_as(identity_token(None).into()));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    let log = fixture.log();
    assert_eq!(log.len(), 7, "401, token, index, 2 children, 2 configs: {log:?}");
    assert_eq!(log[1], "POST /token", "nothing of it stands in the address");
    let form = fixture.world(|world| world.forms.join("\n"));
    assert_eq!(
        form,
        "grant_type=refresh_token&service=fixture&client_id=tidegate&scope=repository%3Aacme%2Fapp%3Apull\
         &refresh_token=hunter2-refresh"
    );
    assert!(subject.app_as(&fixture, &access).await.is_present());
    assert_eq!(count(&fixture.log(), "POST"), 0, "the token is kept");
}

#[tokio::test]
async fn a_refused_identity_token_is_unknown_auth() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let seen = Subject::new().app_as(&fixture, &access_as(identity_token(None).into())).await;
    doubt(&seen, DoubtKind::Auth);
    assert_eq!(fixture.log().len(), 2, "401, POST 401");
}

#[tokio::test]
async fn a_token_server_without_post_gets_the_users_name_or_nothing() {
    for status in [404, 405] {
        let fixture = Fixture::with_app(Guard::Bearer).await;
        fixture.script("POST", "/token", 99, Reply::status(status));
        let subject = Subject::new();
        let seen = subject.app_as(&fixture, &access_as(identity_token(None).into())).await;
        let message = doubt(&seen, DoubtKind::Auth).message;
        assert!(message.contains("it takes no identity tokens: use a user name"), "{message}");
        fixture.log();
        let azure = access_as(identity_token(Some(AZURE_USER)).into());
        doubt(&subject.app_as(&fixture, &azure).await, DoubtKind::Auth);
        let log = fixture.log();
        assert!(log[1] == "POST /token" && log[2].starts_with("GET /token?") && log[2].ends_with("+Basic"));
    }
}

#[tokio::test]
async fn an_identity_token_follows_no_redirect() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.script("POST", "/token", 9, Reply::status(307).header("location", "/token2"));
    let seen = Subject::new().app_as(&fixture, &access_as(identity_token(None).into())).await;
    doubt(&seen, DoubtKind::Auth);
    assert_eq!(count(&fixture.log(), "POST"), 1);
}

#[tokio::test]
async fn an_identity_token_is_no_password() {
    let fixture = Fixture::with_app(Guard::Basic).await;
    let seen = Subject::new().app_as(&fixture, &access_as(identity_token(None).into())).await;
    assert!(doubt(&seen, DoubtKind::Auth).message.contains("is a token without them"));
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.tokens.insert("hunter2-bearer".to_owned()));
    let token = |token: &str| access_as(Credential::RegistryToken { token: token.into() }.into());
    assert!(Subject::new().app_as(&fixture, &token("hunter2-bearer")).await.is_present());
    doubt(&Subject::new().app_as(&fixture, &token("hunter2-other")).await, DoubtKind::Auth);
    doubt(&Subject::new().app_as(&fixture, &token("hunter2\r\nX: y")).await, DoubtKind::Auth);
    assert_eq!(count(&fixture.log(), "/token"), 0);
}

// === rotation, renewal, refusal ===

#[tokio::test]
async fn a_rotated_credential_is_used_at_the_next_look() {
    for guard in [Guard::Basic, Guard::Bearer] {
        let fixture = Fixture::with_app(guard).await;
        let subject = Subject::new();
        assert!(subject.app_as(&fixture, &basic("user", "hunter2")).await.is_present());
        fixture.world(|world| {
            world.password = "hunter2-next".to_owned();
            world.tokens.clear();
        });
        doubt(&subject.app_as(&fixture, &basic("user", "hunter2")).await, DoubtKind::Auth);
        assert!(subject.app_as(&fixture, &basic("user", "hunter2-next")).await.is_present());
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_keeps_the_token_that_is_still_good() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let subject = Subject::new();
    assert!(subject.app(&fixture).await.is_present());
    fixture.script("GET", "/token", 99, Reply::status(401));
    fixture.log();
    // Of 300 s: late from 240, over at 270; after a failure nobody tries for 15 s.
    for (wait_secs, renewals) in [(241, 1), (5, 0), (5, 0), (6, 1)] {
        tokio::time::advance(Duration::from_secs(wait_secs)).await;
        assert!(subject.head(&fixture).await.is_present());
        assert_eq!(count(&fixture.log(), "/token"), renewals, "{wait_secs}");
    }
    tokio::time::advance(Duration::from_secs(20)).await;
    doubt(&subject.head(&fixture).await, DoubtKind::Auth);
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_hangs_holds_up_no_renewal_for_long() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let subject = Subject::new();
    assert!(subject.app(&fixture).await.is_present());
    fixture.script("GET", "/token", 99, Reply { hangs: true, ..Reply::default() });
    tokio::time::advance(Duration::from_secs(241)).await;
    let before = tokio::time::Instant::now();
    assert!(subject.head(&fixture).await.is_present());
    assert!(before.elapsed() <= Duration::from_secs(3), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_403_that_says_the_token_has_expired_renews_it_once() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    fixture.log();
    let ended = || Reply { status: 403, ..Reply::ok("application/json", ENDED) };
    fixture.script("GET", "/tags/list", 1, ended());
    assert!(subject.client.tags(&access, &repository(&fixture), Timestamp::MAX).await.sighting.is_present());
    assert_eq!(fixture.log().len(), 3, "403, token, list");
    // A second refusal is the end of it.
    fixture.script("GET", "/tags/list", 99, ended());
    let seen = subject.client.tags(&access, &repository(&fixture), Timestamp::MAX).await.sighting;
    assert!(doubt(&seen, DoubtKind::Auth).message.contains("renew the credential"));
    assert_eq!(fixture.log().len(), 3, "403, token, 403");
    // Any other 403 is an answer.
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.script("GET", "/tags/list", 99, error(403, "DENIED"));
    doubt(
        &subject.client.tags(&access, &repository(&fixture), Timestamp::MAX).await.sighting,
        DoubtKind::Auth,
    );
    assert_eq!(fixture.log().len(), 1);
}

#[tokio::test]
async fn a_password_that_has_expired_is_said_so() {
    let fixture = Fixture::with_app(Guard::Basic).await;
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    fixture.script("GET", "/tags/list", 99, Reply { status: 403, ..Reply::ok("application/json", ENDED) });
    fixture.log();
    let seen = subject.client.tags(&access, &repository(&fixture), Timestamp::MAX).await.sighting;
    assert!(doubt(&seen, DoubtKind::Auth).message.contains("renew the credential"));
    assert_eq!(fixture.log().len(), 1, "the same password would be refused again");
}

// === challenges ===

#[tokio::test(start_paused = true)]
async fn a_token_server_that_moved_is_found_without_an_anonymous_question() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.token_life_secs = Some(10));
    let (subject, access) = (Subject::new(), basic("user", "hunter2"));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    fixture.script("GET", "/token?", 99, Reply::status(404));
    tokio::time::advance(Duration::from_secs(11)).await;
    fixture.log();
    doubt(&subject.app_as(&fixture, &access).await, DoubtKind::Auth);
    let log = fixture.log();
    assert!(log.len() == 2 && log[1] == "GET /v2/", "it did not move: {log:?}");
    fixture.world(|world| world.realm = world.realm.replace("/token", "/token2"));
    assert!(subject.app_as(&fixture, &access).await.is_present());
    let log = fixture.log();
    assert!(log[1] == "GET /v2/" && log[2].starts_with("GET /token2?"), "{log:?}");
    assert_eq!(log.iter().filter(|line| line.contains("/acme/app/") && !line.contains('+')).count(), 0);
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(subject.app_as(&fixture, &access).await.is_present());
    assert_eq!(count(&fixture.log(), "GET /token?"), 0, "the old one is forgotten");
}

#[tokio::test]
async fn the_newest_challenge_of_a_host_counts() {
    for (before, after) in [(Guard::Basic, Guard::Bearer), (Guard::Bearer, Guard::Basic)] {
        let fixture = Fixture::with_app(before).await;
        let (subject, access) = (Subject::new(), basic("user", "hunter2"));
        assert!(subject.app_as(&fixture, &access).await.is_present());
        fixture.world(|world| world.guard = after);
        assert!(subject.app_as(&fixture, &access).await.is_present());
        fixture.log();
        assert!(subject.app_as(&fixture, &access).await.is_present());
        assert_eq!(fixture.log().len(), 3, "learnt: HEAD of the tag and of both children");
    }
}

// === isolation ===

#[tokio::test]
async fn a_set_without_credentials_sees_nothing_of_its_neighbours() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    fixture.world(|world| world.anonymous_tokens = false);
    let subject = Subject::new();
    let with = basic("user", "hunter2");
    for _ in 0..2 {
        assert!(subject.app_as(&fixture, &with).await.is_present());
        assert!(
            subject.client.tags(&with, &repository(&fixture), Timestamp::MAX).await.sighting.is_present()
        );
        fixture.log();
        doubt(&subject.app(&fixture).await, DoubtKind::Auth);
        doubt(&subject.head(&fixture).await, DoubtKind::Auth);
        doubt(
            &subject.client.tags(&open(), &repository(&fixture), Timestamp::MAX).await.sighting,
            DoubtKind::Auth,
        );
        assert_eq!(count(&fixture.log(), "+Bearer"), 0, "never with the neighbour's token");
    }
}

#[tokio::test]
async fn lists_that_share_a_credential_share_nothing_that_was_seen() {
    let fixture = Fixture::with_app(Guard::Bearer).await;
    let subject = Subject::new();
    let one = access_as(credentials([("a", user("hunter2"))]));
    let two = access_as(credentials([("a", user("hunter2")), ("b", user("hunter2-b"))]));
    assert!(subject.app_as(&fixture, &one).await.is_present());
    fixture.log();
    assert!(subject.app_as(&fixture, &two).await.is_present());
    assert_eq!(fixture.log().len(), 7, "everything is asked for anew");
}
