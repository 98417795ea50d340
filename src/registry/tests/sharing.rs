//! What sets share, and what they never do (ADR 3).

use jiff::SignedDuration;

use super::fixture::{Fixture, Guard, Reply};
use super::*;
use crate::model::Sighted;

impl Subject {
    async fn shared(&self, fixture: &Fixture, access: &Access) -> Sighted<ImageEvidence> {
        self.client.look(access, &app(fixture), "2026-11-21T09:00:00Z".parse().unwrap()).await
    }
}

#[tokio::test(start_paused = true)]
async fn equal_looks_of_many_sets_are_one() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let (subject, access) = (Subject::new(), open());
    let seen = futures::future::join_all((0..50).map(|_| subject.shared(&fixture, &access))).await;
    assert!(seen.iter().all(|seen| seen.sighting.is_present() && seen.asked_at < Timestamp::MAX));
    assert_eq!(subject.requests(), 5);
    assert!(subject.shared(&fixture, &access).await.sighting.is_present());
    assert_eq!(subject.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_set_without_credentials_is_not_shown_what_its_neighbour_sees() {
    for guard in [Guard::Basic, Guard::Bearer, Guard::Hiding] {
        let fixture = Fixture::with_app(guard).await;
        fixture.world(|world| world.anonymous_tokens = false);
        let (subject, user) = (Subject::new(), basic("user", "hunter2"));
        assert!(subject.shared(&fixture, &user).await.sighting.is_present());
        assert!(
            subject.client.tags(&user, &repository(&fixture), Timestamp::MIN).await.sighting.is_present()
        );
        let stranger = subject.shared(&fixture, &open()).await.sighting;
        let list = subject.client.tags(&open(), &repository(&fixture), Timestamp::MIN).await.sighting;
        let pointer = subject
            .client
            .pointer(&open(), &repository(&fixture), &"v1".parse().unwrap(), Timestamp::MIN)
            .await;
        assert!(!stranger.is_present() && !list.is_present() && !pointer.sighting.is_present());
        if guard != Guard::Hiding {
            doubt(&stranger, DoubtKind::Auth);
        }
        doubt(&subject.shared(&fixture, &basic("user", "wrong-hunter2")).await.sighting, DoubtKind::Auth);
        assert!(subject.shared(&fixture, &user).await.sighting.is_present(), "and takes nothing from it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirming_head_is_never_from_before() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let subject = Subject::new();
    let tag = "v1".parse().unwrap();
    let old = subject.client.pointer(&open(), &repository(&fixture), &tag, Timestamp::MIN).await.sighting;
    let amd64 = fixture.image("linux", "amd64", "");
    let new = fixture.index("v1", &[amd64]);
    let kept = subject.client.pointer(&open(), &repository(&fixture), &tag, Timestamp::MIN).await.sighting;
    assert_eq!(kept, old);
    assert_eq!(subject.head(&fixture).await, Sighting::Present(new));
    subject.requests();
    let heads = futures::future::join_all((0..3).map(|_| subject.head(&fixture))).await;
    assert!(heads.iter().all(Sighting::is_present));
    assert_eq!(subject.requests(), 3, "it joins nothing");
}

#[tokio::test(start_paused = true)]
async fn after_a_429_nobody_asks_before_its_retry_after() {
    let fixture = Fixture::with_app(Guard::Open).await;
    fixture.script("GET", "/manifests/v1", 1, Reply::status(429).header("retry-after", "30"));
    let subject = Subject::new();
    for left in [30, 20, 10] {
        let seen = doubt(&subject.shared(&fixture, &open()).await.sighting, DoubtKind::Throttled);
        assert_eq!(seen.retry_after_secs, Some(left));
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
    }
    assert_eq!(subject.requests(), 1);
    assert!(subject.shared(&fixture, &open()).await.sighting.is_present());
}

#[tokio::test(start_paused = true)]
async fn questions_that_differ_are_not_mixed() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let subject = Subject::new();
    let one = Question { platforms: vec![platform("linux/amd64")], ..app(&fixture) };
    let shallow = Question { depth: Depth::Manifests, ..app(&fixture) };
    let keyless = Question { revision_keys: Vec::new(), ..app(&fixture) };
    let deep = Question { verify: Verify::Blobs, ..app(&fixture) };
    let since = subject.shared(&fixture, &open()).await.asked_at - SignedDuration::from_secs(1);
    subject.requests();
    for question in [one, shallow, keyless, deep] {
        assert!(subject.client.look(&open(), &question, since).await.sighting.is_present());
        assert!(subject.requests() > 0, "{question:?}");
    }
}
