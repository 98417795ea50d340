//! L1 under load: the built binary on a real API server and registry promotes in time while fifty other sets are released too.

use futures::StreamExt as _;
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate::api::{ReleaseSetSpec, status, validate};
use tidegate::invariants::l1_promoted;
use tidegate::telemetry::clock::Clock;

use super::real::Real;
use crate::cluster::tools::say_once;

const SUITE: &str = "load";
/// Sets beside the one that is measured, each with images of its own.
const OTHERS: usize = 50;
/// Releases that are measured.
const RELEASES: usize = 3;
/// The promise.
const LIMIT: SignedDuration = SignedDuration::from_secs(10);
/// What is pushed at once.
const PUSHERS: usize = 4;

/// A set like that of [`Real::spec`] whose images lie below its own name.
fn spec(real: &Real, name: &str) -> Value {
    let mut spec = real.spec(&format!("{name}-release"));
    for (index, image) in ["app", "worker"].into_iter().enumerate() {
        let repository = format!("{}/{name}/{image}", real.registry.host());
        spec["images"][index]["repository"] = json!(repository);
    }
    spec
}

async fn push(real: &Real, name: &str, images: &[&str], tag: &str) {
    for image in images {
        real.push_to(&format!("{name}/{image}"), image, tag).await;
    }
}

/// Releases a tag of all others, each when its images are there.
async fn release_others(real: &Real, tag: &str) {
    let work = (0..OTHERS).map(|number| async move {
        let name = format!("other-{number:02}");
        push(real, &name, &["app", "worker"], tag).await;
    });
    stream::iter(work).buffer_unordered(PUSHERS).collect::<Vec<()>>().await;
}

/// How long the set took from `since` to the commit of that release, whichever others it left out.
async fn judged(
    real: &Real,
    name: &str,
    tag: &str,
    since: Timestamp,
    limit: SignedDuration,
) -> SignedDuration {
    let read = real
        .wait(name, |status| match &status.promoted {
            Some(promoted) if promoted.tag == tag => Vec::new(),
            promoted => vec![format!("expected {tag}, is {promoted:?}")],
        })
        .await;
    let record = status::record(&read).unwrap();
    let spec: ReleaseSetSpec = serde_json::from_value(spec(real, name)).unwrap();
    let policy = validate::policy(&spec, 1).unwrap();
    let promoted = record.promoted.as_ref();
    let waited = promoted.unwrap().at.duration_since(since);
    assert_eq!(l1_promoted(&policy, &tag.parse().unwrap(), promoted, waited, limit), None, "{name}");
    waited
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_promoted_in_time_while_fifty_other_sets_are_released() {
    let Some(mut real) = Real::prepare(SUITE).await else { return };
    // A registry of one's own, as the flag is meant for: 51 sets ask it.
    real.flags.push("--registry-requests-per-second-per-host=500".to_owned());
    real.create("acme", spec(&real, "acme")).await;
    for number in 0..OTHERS {
        let name = format!("other-{number:02}");
        real.create(&name, spec(&real, &name)).await;
    }
    real.start_controller().await;
    let (clock, mut waited) = (Clock::system(), Vec::new());
    for number in 1..=RELEASES {
        let tag = format!("main-{number}");
        push(&real, "acme", &["app"], &tag).await;
        real.ask("acme").await;
        real.wait_for("acme", "CandidateComplete", "False/Missing", "worker linux/amd64 missing").await;
        // The last condition comes true in the middle of the load.
        let mine = async {
            push(&real, "acme", &["worker"], &tag).await;
            let since = clock.now();
            judged(&real, "acme", &tag, since, LIMIT).await
        };
        let ((), mine) = futures::join!(release_others(&real, &tag), mine);
        waited.push(mine);
    }
    let (since, last) = (clock.now(), format!("main-{RELEASES}"));
    // A look at rest comes within `interval`; then the promise holds for each of the others too.
    for number in 0..OTHERS {
        judged(&real, &format!("other-{number:02}"), &last, since, LIMIT + LIMIT).await;
    }
    let millis: Vec<_> = waited.iter().map(SignedDuration::as_millis).collect();
    say_once(format!("L1: promoted {millis:?} ms after the last push beside {OTHERS} releases"));
}
