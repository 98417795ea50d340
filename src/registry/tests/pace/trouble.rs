//! Hosts that do not answer, and what a look may cost.

use futures::FutureExt as _;
use futures::future::join_all;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_black_holed_host_slows_nobody_else() {
    async fn latencies(with_hole: bool) -> Vec<Duration> {
        let well = Host::start(|_, _| Act::Answer(Duration::from_millis(20), here())).await;
        let hole = Host::start(|_, _| Act::Silence).await;
        let subject = Subject::new();
        let access = open();
        let asked_in_vain = async {
            if with_hole {
                let seen = join_all((0..60).map(|_| hole.head(&subject, &access, "app"))).await;
                for seen in &seen {
                    why(seen, DoubtKind::Transient);
                }
            }
        };
        let measured = async {
            let mut latencies = Vec::new();
            for _ in 0..200 {
                let before = Instant::now();
                assert!(well.head(&subject, &access, "app").await.is_present());
                latencies.push(before.elapsed());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            latencies.sort();
            latencies
        };
        futures::join!(asked_in_vain, measured).1
    }
    let (alone, beside) = (latencies(false).await, latencies(true).await);
    assert!(
        beside[197] <= alone[197] * 3 / 2,
        "p99 {:?} beside a black hole, {:?} alone",
        beside[197],
        alone[197]
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_probed_and_found_again() {
    let host = Host::start(|_, _| Act::Silence).await;
    let subject = Subject::new();
    let (one, two) = (named("team/one", open()), named("team/two", open()));
    let before = Instant::now();
    join_all((0..5).map(|_| host.head(&subject, &one, "app"))).await;
    assert_eq!((before.elapsed().as_secs(), host.seen().len()), (15, 5), "silence is not tried again");
    let opened = Instant::now();
    let seen = why(&host.head(&subject, &two, "app").await, DoubtKind::Transient);
    assert!(
        seen.message.contains("has not answered since 2026-11-21T10:00:15")
            && seen.message.contains("within 15 s"),
        "{}",
        seen.message
    );
    assert_eq!((opened.elapsed(), host.seen().len()), (Duration::ZERO, 5), "at once, without a request");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let probing = host.head(&subject, &one, "app");
    let beside = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = Instant::now();
        why(&host.head(&subject, &two, "app").await, DoubtKind::Transient);
        assert_eq!(before.elapsed(), Duration::ZERO, "another set does not wait for the probe");
    };
    let (probe, ()) = futures::join!(probing, beside);
    why(&probe, DoubtKind::Transient);
    assert_eq!(host.seen().len(), 6, "one probe");
    why(&host.head(&subject, &one, "app").await, DoubtKind::Transient);
    host.rule(|_, _| at_once(here()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let found = join_all((0..6).map(|_| host.head(&subject, &one, "app"))).await;
    assert!(found.iter().all(Sighting::is_present), "the whole look of who probes is complete: {found:?}");
    assert!(host.head(&subject, &two, "app").await.is_present());
}

#[tokio::test(start_paused = true)]
async fn open_requests_grow_with_success_and_shrink_with_trouble() {
    let well = |_: usize, _: &str| Act::Answer(Duration::from_millis(100), here());
    let host = Host::start(well).await;
    let (subject, access) = (Subject::paced_by(fast()), open());
    let ask = |count: usize| join_all((0..count).map(|_| host.head(&subject, &access, "app")));
    assert!(ask(8).await.iter().all(Sighting::is_present));
    assert_eq!(host.peak(), 8, "to begin with");
    assert!(ask(400).await.iter().all(Sighting::is_present));
    let grown = host.peak();
    assert!((33..=64).contains(&grown), "{grown}");
    host.rule(|_, _| at_once(Reply::status(503)));
    for _ in 0..4 {
        ask(1).await;
    }
    host.rule(well);
    assert!(ask(4).await.iter().all(Sighting::is_present));
    assert!(host.peak() <= 2, "after twelve refusals one after the other: {}", host.peak());
    assert!(ask(100).await.iter().all(Sighting::is_present));
    assert!((3..20).contains(&host.peak()), "and grows slowly again: {}", host.peak());
}

#[tokio::test(start_paused = true)]
async fn a_look_ends_with_its_thirty_seconds() {
    for (after_secs, status, tries, most_secs) in
        [(0, 503, 3..=3, 4), (14, 500, 2..=3, 30), (40, 200, 1..=1, 15)]
    {
        let host =
            Host::start(move |_, _| Act::Answer(Duration::from_secs(after_secs), Reply::status(status)))
                .await;
        let before = Instant::now();
        why(&host.head(&Subject::new(), &open(), "app").await, DoubtKind::Transient);
        assert!(before.elapsed() <= Duration::from_secs(most_secs), "{status}: {:?}", before.elapsed());
        assert!(tries.contains(&host.seen().len()), "{status}: {}", host.seen().len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_or_no_turn_is_unknown_and_says_so() {
    let host = Host::start(|_, _| at_once(here())).await;
    let (subject, access) = (Subject::paced_by(Pace::per_second(NonZeroU32::new(1).unwrap())), open());
    let before = Instant::now();
    let seen = join_all((0..1_100).map(|_| host.head(&subject, &access, "app"))).await;
    assert_eq!(before.elapsed(), Duration::from_secs(30));
    let says = |words: &str| {
        let unknown = seen.iter().filter(|seen| !seen.is_present());
        unknown.filter(|seen| why(seen, DoubtKind::Throttled).message.contains(words)).count()
    };
    let present = seen.iter().filter(|seen| seen.is_present()).count();
    assert!((31..=32).contains(&present), "two at once and one a second: {present}");
    assert_eq!(says("too many requests wait"), 1_100 - 2 - 1_024);
    assert_eq!(says("its turn did not come"), 2 + 1_024 - present);
    assert_eq!(host.seen().len(), present);
}

/// How long after its outage a host that refuses every connection, or answers none, is found again by a set that looks every
/// three seconds.
async fn found_again_after(outage: Duration, is_silent: bool, seed: u64) -> Duration {
    let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
    let ends = Instant::now() + outage;
    let registry = move |_: http::Request<bytes::Bytes>| {
        let work = async move {
            if Instant::now() >= ends {
                let reply = http::Response::builder().status(200);
                let digest = super::super::fixture::digest_of(BODY);
                let reply = reply.header("docker-content-digest", digest.as_str());
                return Ok(reply.header("content-type", OCI_INDEX).body(bytes::Bytes::new()).unwrap());
            }
            if is_silent {
                return std::future::pending().await;
            }
            Err(std::io::ErrorKind::ConnectionRefused.into())
        };
        work.boxed()
    };
    let client = Client::new(clock)
        .paced_by(Pace { seed: Some(seed), ..Pace::default() })
        .in_process(Arc::new(registry));
    let (repository, tag) = ("registry.test/acme/app".parse().unwrap(), "v1".parse().unwrap());
    while !client.head_tag(&open(), &repository, &tag).await.is_present() {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    ends.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_at_most_a_quarter_of_its_length_more() {
    for (outage_secs, is_silent) in [(60, false), (60, true), (180, false)] {
        let outage = Duration::from_secs(outage_secs);
        // A probe that began before the end and is never answered counts as outage.
        let probe = Duration::from_secs(if is_silent { 15 } else { 0 });
        let mut longest = Duration::ZERO;
        for seed in 0..40 {
            longest = longest.max(found_again_after(outage, is_silent, seed).await);
        }
        let most = probe + (outage + probe) / 4 + Duration::from_secs(3);
        assert!(longest <= most, "found {longest:?} after {outage:?}, at most {most:?}");
    }
}
