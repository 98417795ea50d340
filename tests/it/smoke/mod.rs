//! The smoke gate on a real node: the built controller, with the rights that the chart gives it and no others, judges
//! images that a real container runtime pulls from a real registry and runs.
//!
//! Each case has a namespace and a controller of its own on one shared cluster, and all cases of a file run beside one
//! another: what they do is wait for pods. `TIDEGATE_SMOKE_CASE=NAME` plays the cases whose name holds NAME.

mod disruptions;
mod gates;
mod hindrances;
mod incident;
mod jobs;
mod measure;
mod pulls;
mod seen;
mod services;
mod verdicts;
mod world;

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, join_all};

use crate::cluster::chart::Chart;
use crate::cluster::node::NodeCluster;

/// Name of this suite in the line that says why it is skipped.
const SUITE: &str = "smoke gate on a real node";

/// One case: its name and what it does with the cluster.
type Case = (&'static str, fn(&'static NodeCluster) -> LocalBoxFuture<'static, ()>);

/// A [`Case`] for each function, by the function's name.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => { [$((stringify!($case), |cluster| Box::pin($case(cluster)))),+] };
}
use cases;

/// Plays the cases beside one another, and names those that failed; each has said why by then.
async fn play(cases: &[Case]) {
    let Some(cluster) = NodeCluster::shared(SUITE).await else { return };
    if Chart::require(SUITE).is_none() {
        return;
    }
    let chosen = cases.iter().filter(|(name, _)| is_chosen(name));
    let played = chosen.map(|(name, case)| async move {
        let ended = AssertUnwindSafe(case(cluster)).catch_unwind().await;
        ended.is_err().then_some(*name)
    });
    let failed: Vec<&str> = join_all(played).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// Whether the case is to be played: all are unless somebody named one.
fn is_chosen(name: &str) -> bool {
    std::env::var_os("TIDEGATE_SMOKE_CASE")
        .is_none_or(|only| only.to_str().is_some_and(|only| name.contains(only)))
}
