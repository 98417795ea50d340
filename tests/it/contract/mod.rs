//! The embedded world is true: one table of exchanges is sent to the embedded API and to a real kube-apiserver, and the
//! suite fails where their answers differ.
//!
//! ```text
//!   story (exchanges in order) ─▶ side: embedded API   ─▶ answers ┐
//!                              └▶ side: kube-apiserver ─▶ answers ┴▶ same names for uids, revisions, times ─▶ differences
//! ```
//!
//! What the controller relies on is what the chart lets it do: a right without an exchange fails [`coverage`]. An
//! answer is compared as a whole but for what an exchange leaves out, with the reason beside it.

mod compare;
mod coverage;
mod exchange;
mod lists;
mod objects;
mod product;
mod sets;
mod side;
mod watches;
mod workloads;

use compare::{Names, differences};
use exchange::Exchange;

use crate::cluster::control_plane::ControlPlane;

const SUITE: &str = "contract of the embedded API";

/// Exchanges in order, in a namespace of their own.
struct Story {
    name: &'static str,
    exchanges: fn(&str) -> Vec<Exchange>,
}

/// The whole contract.
const STORIES: [Story; 23] = [
    Story { name: "writes", exchanges: objects::writes },
    Story { name: "refused-writes", exchanges: objects::refused },
    Story { name: "dry-runs", exchanges: objects::dry_runs },
    Story { name: "deletions", exchanges: objects::deletions },
    Story { name: "patches", exchanges: objects::patches },
    Story { name: "not-served", exchanges: objects::not_served },
    Story { name: "pages", exchanges: lists::pages },
    Story { name: "selectors", exchanges: lists::selectors },
    Story { name: "revisions", exchanges: lists::revisions },
    Story { name: "defaults", exchanges: sets::defaults },
    Story { name: "set-writes", exchanges: sets::writes },
    Story { name: "status", exchanges: sets::status },
    Story { name: "status-kept", exchanges: sets::status_kept },
    Story { name: "never-back", exchanges: sets::never_back },
    Story { name: "hands", exchanges: sets::hands },
    Story { name: "set-deletions", exchanges: sets::deletions },
    Story { name: "corpus", exchanges: sets::corpus },
    Story { name: "changes", exchanges: watches::changes },
    Story { name: "seen-through-selectors", exchanges: watches::selectors },
    Story { name: "old-revisions", exchanges: watches::old_revisions },
    Story { name: "smoke", exchanges: workloads::smoke },
    Story { name: "leases-and-events", exchanges: workloads::leases_and_events },
    Story { name: "flux", exchanges: product::flux },
];

/// Tells the stories of these names to both sides.
async fn told(names: &[&str]) {
    let Some(real) = side::real(SUITE).await else { return };
    told_to(&real, names).await;
}

async fn told_to(real: &side::Real<'_>, names: &[&str]) {
    let mut wrong = Vec::new();
    let stories = STORIES.iter().filter(|story| names.contains(&story.name));
    for outcome in futures::future::join_all(stories.map(|story| tell(story, real))).await {
        wrong.extend(outcome);
    }
    assert!(wrong.is_empty(), "\n{}\n{} differences\n", wrong.join("\n"), wrong.len());
}

/// The differences of one story.
async fn tell(story: &Story, real: &side::Real<'_>) -> Vec<String> {
    let embedded = side::embedded(real.flux_crds());
    let namespace = real.namespace(story.name).await;
    let exchanges = (story.exchanges)(&namespace);
    let (mut one, mut other) = (real.side(), embedded.side());
    let (mut one_names, mut other_names) = (Names::default(), Names::default());
    let mut wrong = Vec::new();
    for exchange in &exchanges {
        let (expected, is) = futures::join!(one.exchange(exchange), other.exchange(exchange));
        let expected = exchange.compared(&mut one_names, &expected);
        let is = exchange.compared(&mut other_names, &is);
        let place = format!("{} · {}", story.name, exchange.name);
        wrong.extend(differences(&place, &expected, &is));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_answer_alike() {
    told(&["writes", "refused-writes", "dry-runs", "deletions", "patches", "not-served"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_watches_answer_alike() {
    told(&["pages", "selectors", "revisions", "changes", "seen-through-selectors", "old-revisions"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_sets_answer_alike() {
    told(&[
        "defaults",
        "set-writes",
        "status",
        "status-kept",
        "never-back",
        "hands",
        "set-deletions",
        "corpus",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_controller_makes_answers_alike() {
    told(&["smoke", "leases-and-events"]).await;
}

/// On an API server of its own: on the one that most suites share, controllers of Flux write these kinds too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_of_flux_answer_alike() {
    let Some(plane) = ControlPlane::without_flux(SUITE).await else { return };
    let Some(real) = side::real_on(SUITE, plane).await else { return };
    told_to(&real, &["flux"]).await;
}
