//! Hosts that say when they want to be asked, and hosts that more is asked of than they are given.

use std::collections::BTreeSet;

use futures::future::join_all;
use jiff::Timestamp;

use super::*;
use crate::registry::{HostState, Quota};

#[tokio::test(start_paused = true)]
async fn retry_after_pauses_the_host_for_every_set_and_identity() {
    for (status, value) in [
        (429, "120"),
        (503, "120"),
        (429, "Sat, 21 Nov 2026 10:02:00 GMT"),
        (429, "Saturday, 21-Nov-26 10:02:00 GMT"),
    ] {
        let refusal = Reply::status(status).header("retry-after", value);
        let host =
            Host::start(move |number, _| at_once(if number == 0 { refusal.clone() } else { here() })).await;
        let (subject, start) = (Subject::new(), Instant::now());
        let first = host.head(&subject, &named("team/one", open()), "app").await;
        let Sighting::Unknown(first) = first else { panic!("{first:?}") };
        assert_eq!(first.retry_after_secs, Some(120), "{value}");
        let others = [
            named("team/two", open()),
            named("team/one", basic("user", "hunter2")),
            Access { insecure: true, ..Access::default() },
        ];
        for after_secs in [0, 60] {
            tokio::time::sleep_until(start + Duration::from_secs(after_secs)).await;
            for access in &others {
                let before = Instant::now();
                let seen = why(&host.head(&subject, access, "other").await, DoubtKind::Throttled);
                assert_eq!(before.elapsed(), Duration::ZERO, "answered at once");
                assert_eq!(seen.retry_after_secs, Some(120 - u32::try_from(after_secs).unwrap()));
                assert!(
                    seen.message
                        .contains(&format!("answered {status} and is left alone until 2026-11-21T10:02:0")),
                    "{}",
                    seen.message
                );
            }
        }
        assert_eq!(host.seen().len(), 1, "nobody asked");
        // The last second is waited for within the look.
        tokio::time::sleep_until(start + Duration::from_secs(119)).await;
        let seen = join_all(others.iter().map(|access| host.head(&subject, access, "other"))).await;
        assert!(seen.iter().all(Sighting::is_present), "{seen:?}");
        let asked = host.seen();
        assert!(asked[1..].iter().all(|seen| seen.at >= asked[0].at + Duration::from_mins(2)), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_is_waited_for_within_the_look() {
    let host = Host::start(|number, _| at_once(if number == 0 { throttled("3") } else { here() })).await;
    assert!(host.head(&Subject::new(), &open(), "app").await.is_present());
    let asked = host.seen();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(3), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_429_without_a_pause_is_asked_again_later_and_later() {
    let host = Host::start(|_, _| at_once(throttled("0"))).await;
    let (subject, start) = (Subject::new(), Instant::now());
    while start.elapsed() < Duration::from_mins(10) {
        why(&host.head(&subject, &open(), "app").await, DoubtKind::Throttled);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let asked = host.seen().len();
    // Drawn between nothing and 60 s, a pause is 30 s on average; the first six are shorter.
    assert!((15..60).contains(&asked), "{asked} requests in ten minutes");
}

/// getwud/wud#1153: 51 checks start in 18 ms and 9 of 10 lists get 429.
#[tokio::test(start_paused = true)]
async fn fifty_one_sets_that_start_together_get_their_lists_from_a_host_that_allows_five_a_second() {
    let mut allowed: Vec<Instant> = Vec::new();
    let host = Host::start(move |_, _| {
        let now = Instant::now();
        allowed.retain(|at| now - *at < Duration::from_secs(1));
        if allowed.len() >= 5 {
            return at_once(throttled("1"));
        }
        allowed.push(now);
        at_once(Reply::ok("application/json", br#"{"name":"x","tags":["v1"]}"#))
    })
    .await;
    let (subject, start) = (Subject::new(), Instant::now());
    let accesses: Vec<Access> = (0..51).map(|set| named(&format!("team/set-{set}"), open())).collect();
    let lists = accesses.iter().enumerate().map(|(set, access)| {
        let (subject, host) = (&subject, &host);
        async move {
            // As the engine: who is told when to ask again asks then.
            for looks in 1.. {
                let repository = host.repository(&format!("app-{set}"));
                match subject.client.tags(access, &repository, Timestamp::MAX).await.sighting {
                    Sighting::Present(_) => return looks,
                    other => {
                        let secs = why(&other, DoubtKind::Throttled).retry_after_secs.unwrap();
                        tokio::time::sleep(Duration::from_secs(secs.into())).await;
                    }
                }
            }
            unreachable!()
        }
    });
    let lists: Vec<usize> = join_all(lists).await;
    let (took, asked) = (start.elapsed(), host.seen());
    assert!(
        lists.iter().filter(|looks| **looks > 1).count() <= 2,
        "one look is enough for nearly all: {lists:?}"
    );
    assert!(lists.iter().all(|looks| *looks <= 2), "{lists:?}");
    assert!(took < Duration::from_secs(20), "{took:?}, where 51 at five a second need ten");
    let refused: Vec<&Seen> = asked.iter().filter(|seen| seen.status == 429).collect();
    assert!(refused.len() * 3 < lists.len(), "{} of {} refused", refused.len(), asked.len());
    for refusal in refused {
        let pause = refusal.at..refusal.at + Duration::from_secs(1);
        // In the very instant of the refusal others are on their way already.
        let within = asked.iter().filter(|seen| seen.at != refusal.at && pause.contains(&seen.at)).count();
        assert_eq!(within, 0, "asked before Retry-After");
    }
}

#[tokio::test(start_paused = true)]
async fn sets_take_turns_however_much_one_of_them_asks() {
    let host = Host::start(|_, _| at_once(here())).await;
    let subject = Subject::new();
    let greedy = named("team/greedy", open());
    let modest: Vec<Access> = (0..49).map(|set| named(&format!("team/set-{set}"), open())).collect();
    let much = join_all((0..500).map(|_| host.head(&subject, &greedy, "greedy")));
    let little = join_all(modest.iter().enumerate().map(|(set, access)| {
        let (host, subject) = (&host, &subject);
        async move { host.head(subject, access, &format!("set-{set}")).await }
    }));
    let start = Instant::now();
    let (much, little) = futures::join!(much, little);
    assert!(much.iter().chain(&little).all(Sighting::is_present));
    let asked = host.seen();
    let latest = asked.iter().filter(|seen| seen.repository != "greedy").map(|seen| seen.at - start).max();
    // The first 8 were the greedy one's, as nobody else was there yet; then 50 take turns, the rest of the burst
    // of 40 at once and 20 a second after it.
    assert!(latest.unwrap() <= Duration::from_secs(3), "{latest:?}");
    let repositories: BTreeSet<&str> = asked.iter().map(|seen| seen.repository.as_str()).collect();
    assert_eq!((asked.len(), repositories.len()), (549, 50));
    // The bucket, as the host saw it.
    for (first, from) in asked.iter().enumerate() {
        for (count, until) in
            asked.iter().enumerate().skip(first).map(|(last, seen)| (last - first + 1, seen))
        {
            let most = (until.at - from.at).as_millis() * 20 / 1_000 + 41;
            assert!(count as u128 <= most, "{count} in {:?}", until.at - from.at);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pull_limits_are_read_told_and_kept() {
    let limited = |remaining: &'static str| {
        move |_: usize, _: &str| {
            at_once(here().header("ratelimit-limit", "100;w=21600").header("ratelimit-remaining", remaining))
        }
    };
    let host = Host::start(limited("10;w=21600")).await;
    let mut subject = Subject::new();
    let told: Arc<Mutex<Vec<(String, HostState)>>> = Arc::default();
    let kept = Arc::clone(&told);
    subject.client =
        subject.client.hosts_observed_by(Arc::new(move |host: &str, state: Option<&HostState>| {
            kept.lock().unwrap().push((host.to_owned(), state.unwrap().clone()));
        }));
    let (anonymous, known) = (open(), basic("user", "hunter2"));
    assert!(host.head(&subject, &anonymous, "app").await.is_present());
    let quota = Quota { limit: 100, remaining: 10, window: Duration::from_hours(6) };
    let state = HostState { quota: Some(quota), paused_until: None, is_open: false };
    assert_eq!(*told.lock().unwrap(), [(host.address.to_string(), state)]);
    let seen = why(&host.get(&subject, &anonymous, "other").await, DoubtKind::Throttled);
    assert_eq!(seen.retry_after_secs, Some(216));
    assert!(
        seen.message.contains("100 pulls in 21600 s") && seen.message.contains("credential"),
        "{}",
        seen.message
    );
    assert_eq!(host.seen().len(), 1, "no GET that would count");
    assert!(host.head(&subject, &anonymous, "app").await.is_present(), "a HEAD does not count");
    assert!(host.get(&subject, &known, "known").await.is_present(), "another identity has another limit");
    tokio::time::sleep(Duration::from_secs(216)).await;
    assert!(host.get(&subject, &anonymous, "other").await.is_present(), "its share of the window");
    why(&host.get(&subject, &anonymous, "third").await, DoubtKind::Throttled);
    host.rule(limited("50;w=21600"));
    assert!(host.head(&subject, &anonymous, "app").await.is_present());
    // The third was told to wait, and is not asked for again before.
    assert!(host.get(&subject, &anonymous, "fourth").await.is_present(), "a HEAD showed that there is more");
}
