//! Outages around a running controller, all at once: each mostly waits. Nothing moves meanwhile, and what was pushed meanwhile
//! is promoted afterwards.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::{api_server, half_open, registry};
use crate::cluster::tools::say_once;
use crate::controller::real::Real;

pub const SUITE: &str = "faults";
pub const PACE: Duration = Duration::from_millis(100);

/// Waits until the set promoted that sequence and its target carries the tag.
pub async fn promoted(real: &Real, name: &str, sequence: i64, tag: &str, within: Duration) -> Duration {
    let began = Instant::now();
    let waited = tokio::time::timeout(within, async {
        loop {
            let promoted = real.status(name).await.promoted;
            let target = real.config_maps().get_opt(&format!("{name}-release")).await.unwrap();
            let carried = target.and_then(|map| map.data?.remove("RELEASE_TAG"));
            if promoted.is_some_and(|promoted| promoted.sequence == sequence)
                && carried.as_deref() == Some(tag)
            {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    });
    if waited.await.is_err() {
        let status = serde_json::to_string_pretty(&real.status(name).await).unwrap();
        panic!("{tag} was not promoted within {within:?}: {status}");
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pushed_in_an_outage_is_promoted_after_it() {
    let began = Instant::now();
    let scenes = [
        half_open::api_server_swallows().boxed_local(),
        half_open::api_server_is_slow(half_open::Slow::FromTheStart).boxed_local(),
        half_open::api_server_is_slow(half_open::Slow::Later).boxed_local(),
        half_open::one_watch_fails().boxed_local(),
        registry::is_away(registry::Way::HangsUp).boxed_local(),
        registry::is_away(registry::Way::Swallows).boxed_local(),
        registry::is_away(registry::Way::IsKilled).boxed_local(),
        api_server::is_paused_killed_and_compacted().boxed_local(),
    ];
    let told = futures::future::join_all(scenes).await;
    if let Some(told) = told.into_iter().collect::<Option<Vec<String>>>() {
        let (count, took) = (told.len(), began.elapsed().as_secs());
        say_once(format!("faults: {count} outages in {took} s: {}", told.join("; ")));
    }
}
