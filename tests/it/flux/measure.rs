//! How long a release takes from the push of its last sibling to Git and to the Deployments: `make bench-flux`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tidegate::telemetry::clock::Clock;

use super::stage::{SIBLINGS, Stage, Wiring, tag};
use crate::cluster::audit;
use crate::cluster::page;

/// What people type, and the mark of its numbers in the page.
const COMMAND: &str = "bench-flux";
const SUITE: &str = "Flux, measured";
/// Releases of each row.
const RUNS: u32 = 10;
/// Between two looks at the head of the branch.
const PACE: Duration = Duration::from_millis(10);
/// Pushes of following releases come so much later in the period of the looks, so that no phase is preferred.
const PHASE: Duration = Duration::from_millis(370);

/// Who says that the last sibling is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nobody: `interval: 10s`.
    ByPolling,
    /// A webhook, as `reconcile.fluxcd.io/requestedAt` on the set (or the ImageRepository).
    ByHint,
}

#[tokio::test]
#[ignore = "a measurement of minutes: make bench-flux"]
async fn from_the_last_push_to_git_and_to_the_deployments() {
    let measured = futures::join!(
        Box::pin(rows(Wiring::OneCommit, "one commit (ImagePolicy)")),
        Box::pin(rows(Wiring::ConfigMap, "one ConfigMap")),
        Box::pin(rows(Wiring::Naive, "without Tidegate, app pushed last")),
    );
    let (Some(one), Some(two), Some(naive)) = measured else { return };
    let rows = [one, two, naive].concat();
    let numbers = format!(
        "{}\n\
         | wiring | told by | push → Git commit, p50 / p99 / max, s | push → all Deployments, p50 / p99 / max, s |\n\
         | --- | --- | ---: | ---: |\n{rows}",
        page::machine(COMMAND, &format!(", {RUNS} releases each, all wirings at the same time")),
    );
    page::write(COMMAND, &numbers);
}

/// The two rows of a wiring; the wirings are at work at the same time.
async fn rows(wiring: Wiring, name: &str) -> Option<String> {
    let stage = Stage::open(SUITE, wiring, &scans(wiring)).await?;
    let mut rows = Vec::new();
    for (told, how) in [(Told::ByPolling, "interval 10s"), (Told::ByHint, "hint")] {
        let first = if told == Told::ByPolling { 2 } else { 2 + RUNS };
        let (mut committed, mut applied) = (Vec::new(), Vec::new());
        for number in first..first + RUNS {
            let (commit, apply) = release(&stage, number, told).await;
            committed.extend(commit);
            applied.push(apply);
        }
        rows.push(format!("| {name} | {how} | {} | {} |\n", spread(committed), spread(applied)));
    }
    stage.end().await;
    Some(rows.concat())
}

/// How often the lead image is scanned where nobody asks for it: Tidegate does, so that its wirings keep the five minutes of
/// the example.
fn scans(wiring: Wiring) -> Vec<(&'static str, &'static str)> {
    let scanned = ("  interval: 5m\n  insecure: true\n", "  interval: 10s\n  insecure: true\n");
    if wiring == Wiring::Naive { vec![scanned] } else { Vec::new() }
}

/// One release whose last sibling comes when the others are seen; from its push to the commit, if there is one, and to the
/// last Deployment.
async fn release(stage: &Stage, number: u32, told: Told) -> (Option<SignedDuration>, SignedDuration) {
    let [last, others @ ..] = SIBLINGS;
    for name in others {
        stage.push(name, number).await;
    }
    stage.look().await;
    stage.world.until_quiet().await;
    if told == Told::ByPolling {
        tokio::time::sleep(PHASE * (number % RUNS)).await;
    }
    let before = stage.fleet.head();
    stage.push(last, number).await;
    let pushed = Clock::system().now();
    let (committed, ()) = futures::join!(commit(stage, &before), async {
        if told == Told::ByHint {
            stage.look().await;
        }
        stage.runs(number).await;
    });
    let writes = stage.world.writes().await;
    let carries = |images: &[String]| images.iter().any(|image| audit::tag(image) == tag(number));
    let applied = writes.iter().filter(|write| carries(&write.images)).map(|write| write.at).max();
    (committed.map(|at| at.duration_since(pushed)), applied.expect("it runs").duration_since(pushed))
}

/// When the branch moved on; none where nothing is committed.
async fn commit(stage: &Stage, before: &str) -> Option<Timestamp> {
    if stage.wiring == Wiring::ConfigMap {
        return None;
    }
    loop {
        if stage.fleet.head() != before {
            return Some(Clock::system().now());
        }
        tokio::time::sleep(PACE).await;
    }
}

fn spread(mut spans: Vec<SignedDuration>) -> String {
    spans.sort();
    if spans.is_empty() {
        return "no commit".to_owned();
    }
    let at = |percent: usize| spans[(spans.len() * percent).div_ceil(100) - 1].as_secs_f64();
    format!("{:.2} / {:.2} / {:.2}", at(50), at(99), at(100))
}
