use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::model::{DoubtKind, Repository};
use crate::registry::Access;
use crate::registry::identity::credentials::{Credential, Credentials};

/// Answers with a digest that counts the questions, after a second each.
struct Desk {
    shelf: Shelf<Digest>,
    clock: Clock,
    asked: Arc<AtomicUsize>,
}

fn digest(number: usize) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn key_of(access: &Access, repository: &str, tag: &str) -> Key {
    let repository: Repository = repository.parse().unwrap();
    Key::new(&Place::new(access, &repository).unwrap(), Subject::Pointer(tag.parse().unwrap()))
}

fn key() -> Key {
    key_of(&Access::default(), "r.io/a", "v1")
}

impl Desk {
    fn new() -> Self {
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        Self { shelf: Shelf::new(clock.clone()), clock, asked: Arc::default() }
    }

    fn ask(&self) -> BoxFuture<'static, Sighting<Digest>> {
        let asked = Arc::clone(&self.asked);
        async move {
            let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            Sighting::Present(digest(number))
        }
        .boxed()
    }

    /// The number of the question that answered somebody who accepts an age of less than `secs`.
    async fn get(&self, secs: i64) -> usize {
        let since = self.clock.now() - SignedDuration::from_secs(secs);
        let seen = self.shelf.get(key(), since, || self.ask()).await;
        assert!(seen.asked_at > since || secs == 0);
        let Sighting::Present(seen) = seen.sighting else { panic!("{seen:?}") };
        usize::from_str_radix(seen.as_str().rsplit('0').next().unwrap(), 16).unwrap()
    }

    async fn fail(&self, doubt: Doubt) {
        let since = self.clock.now();
        let fail = async move { Sighting::Unknown(doubt) }.boxed();
        assert!(self.shelf.get(key(), since, || fail).await.sighting.is_unknown());
    }

    async fn doubt(&self, secs: i64) -> Option<Doubt> {
        let since = self.clock.now() - SignedDuration::from_secs(secs);
        match self.shelf.get(key(), since, || self.ask()).await.sighting {
            Sighting::Unknown(doubt) => Some(doubt),
            _ => None,
        }
    }
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_serves_whoever_accepts_its_age() {
    let desk = Desk::new();
    assert_eq!(desk.get(3).await, 1);
    assert_eq!(desk.get(2).await, 1, "asked for a second ago");
    assert_eq!(desk.get(1).await, 2, "exactly as old as that is too old: who asked it itself asks again");
    pass(60).await;
    assert_eq!(desk.get(62).await, 2);
    assert_eq!(desk.get(0).await, 3, "now is never answered from before");
}

#[tokio::test(start_paused = true)]
async fn questions_join_the_one_on_its_way() {
    let desk = Desk::new();
    let seen = futures::future::join_all((0..20).map(|_| desk.get(3))).await;
    assert_eq!((seen, desk.asked.load(Ordering::Relaxed)), (vec![1; 20], 1));
    let (first, second) = futures::join!(desk.get(0), desk.get(0));
    assert_eq!((first, second), (2, 3), "a question of this instant joins nothing");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_too_late_to_join_is_asked_anew_and_the_newer_answer_stays() {
    let desk = Desk::new();
    let late = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        desk.get(0).await
    };
    assert_eq!(futures::join!(desk.get(3), late), (1, 2));
    assert_eq!(desk.get(3).await, 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_not_stranded_when_the_first_leaves() {
    let desk = Desk::new();
    let leaves = tokio::time::timeout(Duration::from_millis(300), desk.get(3));
    let waits = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        desk.get(3).await
    };
    let (left, waited) = futures::join!(leaves, waits);
    assert!(left.is_err());
    assert_eq!((waited, desk.asked.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_waits_for_is_dropped_and_asked_again() {
    let desk = Desk::new();
    assert!(tokio::time::timeout(Duration::from_millis(300), desk.get(3)).await.is_err());
    assert_eq!(desk.get(3).await, 2);
}

#[tokio::test(start_paused = true)]
async fn unknown_is_given_to_others_for_five_seconds_only() {
    let desk = Desk::new();
    desk.fail(Doubt::new(DoubtKind::Transient, "down")).await;
    pass(4).await;
    assert!(desk.doubt(60).await.is_some(), "a host that fails is not asked by one set after another");
    pass(1).await;
    assert!(desk.doubt(60).await.is_none(), "L1: what mended is seen");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_said_when_is_not_asked_before() {
    let desk = Desk::new();
    desk.fail(Doubt { retry_after_secs: Some(120), ..Doubt::new(DoubtKind::Throttled, "429") }).await;
    pass(100).await;
    let seen = desk.doubt(3).await.unwrap();
    assert_eq!((seen.retry_after_secs, desk.asked.load(Ordering::Relaxed)), (Some(20), 0));
    pass(20).await;
    assert!(desk.doubt(3).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_part_of_an_identity_keeps_answers_apart() {
    let basic = |user: &str| Access {
        credentials: Credential::Basic { username: user.into(), password: "p".to_owned().into() }.into(),
        ..Access::default()
    };
    let unusable = |why: &str| Access {
        credentials: Credentials::default().with_unusable(why.to_owned()),
        ..Access::default()
    };
    let insecure = Access { insecure: true, ..Access::default() };
    let keys = [
        key(),
        key_of(&Access::default(), "r.io/b", "v1"),
        key_of(&Access::default(), "s.io/a", "v1"),
        key_of(&Access::default(), "r.io/a", "v2"),
        key_of(&basic("u"), "r.io/a", "v1"),
        key_of(&basic("w"), "r.io/a", "v1"),
        key_of(&insecure, "r.io/a", "v1"),
        key_of(&unusable("the Secret one is empty"), "r.io/a", "v1"),
        key_of(&unusable("the Secret two is empty"), "r.io/a", "v1"),
    ];
    let desk = Desk::new();
    for (number, key) in keys.iter().enumerate() {
        let since = desk.clock.now() - SignedDuration::from_mins(10);
        let seen = desk.shelf.get(key.clone(), since, || desk.ask()).await;
        assert_eq!(seen.sighting, Sighting::Present(digest(number + 1)), "each is asked for itself");
    }
}

#[test]
fn what_is_kept_is_bounded_in_number_and_bytes_and_age() {
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut inner = Inner { entries: HashMap::new(), total_bytes: 0, uses: 0, swept_at: now };
    for number in 0..2 * ENTRIES_MAX {
        inner.uses += 1;
        let key = key_of(&Access::default(), &format!("r.io/a{number}"), "v1");
        inner.keep(key, Sighted { asked_at: now, sighting: Sighting::Present(digest(number)) }, now);
        assert!(inner.entries.len() <= ENTRIES_MAX && inner.total_bytes <= TOTAL_MAX_BYTES);
    }
    let newest = key_of(&Access::default(), &format!("r.io/a{}", 2 * ENTRIES_MAX - 1), "v1");
    assert!(inner.entries.contains_key(&newest));
    let later = now + AGE_MAX;
    inner.keep(key(), Sighted { asked_at: later, sighting: Sighting::Missing }, later);
    assert_eq!((inner.entries.len(), inner.total_bytes), (1, ENTRY_BYTES), "nobody wants what is so old");

    let mut lists = Inner { entries: HashMap::new(), total_bytes: 0, uses: 0, swept_at: now };
    let list: Arc<TagList> = Arc::new((0..20_000).map(|number| format!("main-{number:0>40}")).collect());
    for number in 0..100 {
        lists.uses += 1;
        let key = key_of(&Access::default(), &format!("r.io/a{number}"), "v1");
        lists.keep(key, Sighted { asked_at: now, sighting: Sighting::Present(Arc::clone(&list)) }, now);
        assert!(lists.total_bytes <= TOTAL_MAX_BYTES && !lists.entries.is_empty());
    }
}

#[test]
fn an_older_answer_never_replaces_a_newer_one() {
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut inner = Inner { entries: HashMap::new(), total_bytes: 0, uses: 0, swept_at: now };
    inner.keep(key(), Sighted { asked_at: now, sighting: Sighting::Present(digest(2)) }, now);
    let before = now - SignedDuration::from_secs(1);
    inner.keep(key(), Sighted { asked_at: before, sighting: Sighting::Present(digest(1)) }, now);
    assert_eq!(inner.entries[&key()].kept.as_ref().unwrap().sighting, Sighting::Present(digest(2)));
}
