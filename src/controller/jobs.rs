//! Smoke Jobs of one set: what they say, which to start, which to delete.

use std::collections::BTreeMap;

use crate::api::ReleaseSetStatus;
use crate::controller::context::Context;
use crate::controller::credentials::{self, Wanted};
use crate::engine::decision::Decision;
use crate::model::{Binding, ImageName, SetName, SmokeView};
use crate::smoke::outcome::{JobEnd, SmokeJob};
use crate::smoke::runner::Jobs;

/// How starting went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// Nothing was to be started.
    Nothing,
    /// Everything was started.
    All,
    /// Something could not be started; it is tried again.
    Unfinished,
}

/// Starts the decision's smoke tests, and says what is known of each now. A refusal stops only its own test.
pub async fn start(
    context: &Context,
    set: &SetName,
    decision: &Decision,
    wanted: &BTreeMap<ImageName, Wanted>,
) -> (Started, BTreeMap<Binding, SmokeView>) {
    let mut views = BTreeMap::new();
    let jobs = Jobs::new(context.client.clone());
    let mut started = if decision.start.is_empty() { Started::Nothing } else { Started::All };
    for request in &decision.start {
        let secrets = match wanted.get(&request.image) {
            Some(wanted) => credentials::pull_secrets(context, &set.namespace, wanted).await,
            None => Vec::new(),
        };
        let view = match jobs.start(set, request, &secrets).await {
            Ok(_) => {
                context.metrics.count_write("job", "ok");
                SmokeView::Running { since: context.clock.now(), waiting_for: None }
            }
            Err(error) => {
                context.metrics.count_write("job", "error");
                tracing::warn!(%set, gate = %request.gate, "{error}");
                started = Started::Unfinished;
                SmokeView::Unknown { why: error.to_string() }
            }
        };
        views.insert(request.binding.clone(), view);
    }
    (started, views)
}

/// Deletes Jobs whose verdict stands in `status`, and those that ended without one, so that they run again.
pub async fn tidy(context: &Context, set: &SetName, status: &ReleaseSetStatus, jobs: &[SmokeJob]) {
    let runner = Jobs::new(context.client.clone());
    let kept = |job: &SmokeJob| status.verdicts.iter().any(|verdict| verdict.binding == job.binding.as_str());
    for job in jobs {
        let done = match job.end {
            JobEnd::Verdict => kept(job),
            JobEnd::NoVerdict => true,
            JobEnd::NotOver | JobEnd::Hopeless => false,
        };
        if !done {
            continue;
        }
        match runner.discard(set, job).await {
            Ok(()) => context.metrics.count_write("job", "ok"),
            Err(error) => {
                context.metrics.count_write("job", "error");
                tracing::warn!(%set, "{error}");
            }
        }
    }
}
