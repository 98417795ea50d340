//! Smoke Jobs of one set: what they say, which to start, which to delete.

use std::collections::BTreeMap;

use crate::api::ReleaseSetStatus;
use crate::controller::context::Context;
use crate::controller::credentials::{self, Wanted};
use crate::controller::reader::Reader;
use crate::engine::decision::Decision;
use crate::engine::policy::Policy;
use crate::model::smoke::SmokeLog;
use crate::model::{
    Binding, GateName, Hindrance, HindranceKind, ImageName, SetName, SmokeOutcome, SmokeView,
};
use crate::smoke::outcome::{JobEnd, SmokeJob};
use crate::smoke::runner::{Jobs, SmokeError};

/// Prefix of the annotations by which a person has a gate's failed tests run again; the gate's name follows, and
/// the value is how often (`tidegate retry`).
pub const RETRY_ANNOTATION_PREFIX: &str = "retry.tidegate.dev/";

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

/// How often a person asked for each gate to be run again. What is no number counts as nothing asked.
pub fn retries(annotations: &BTreeMap<String, String>) -> BTreeMap<GateName, u32> {
    let retry = |(key, value): (&String, &String)| {
        let gate = key.strip_prefix(RETRY_ANNOTATION_PREFIX)?;
        Some((gate.parse().ok()?, value.parse().ok()?))
    };
    annotations.iter().filter_map(retry).collect()
}

/// The set's Jobs with what they say; a failure that `status` does not know yet comes with the end of its log.
///
/// # Errors
/// Jobs or pods could not be listed.
pub async fn observe(
    context: &Context,
    set: &SetName,
    status: &ReleaseSetStatus,
) -> Result<Vec<SmokeJob>, SmokeError> {
    let runner = Jobs::new(context.client.clone());
    let mut jobs = runner.observe(set, context.clock.now()).await?;
    for job in &mut jobs {
        let SmokeView::Ended(verdict) = &mut job.view else { continue };
        let (Some(pod), Ok(gate)) = (&job.failed_pod, job.identity.gate.parse()) else { continue };
        if verdict.outcome == SmokeOutcome::Passed || is_kept(status, &verdict.binding, verdict.retry) {
            continue;
        }
        let text = match runner.log(set, pod).await {
            Ok(text) => text,
            Err(error) => format!("the log could not be read: {error}"),
        };
        verdict.log = Some(SmokeLog { gate, text });
    }
    Ok(jobs)
}

/// The same of a set without smoke gates. Where Jobs may not be listed none was ever made.
///
/// # Errors
/// Jobs or pods could not be listed, for another reason.
pub async fn left_over(
    context: &Context,
    set: &SetName,
    status: &ReleaseSetStatus,
) -> Result<Vec<SmokeJob>, SmokeError> {
    match observe(context, set, status).await {
        Err(SmokeError::List { source, .. }) if source.status().is_some_and(|said| said.code == 403) => {
            Ok(Vec::new())
        }
        observed => observed,
    }
}

fn is_kept(status: &ReleaseSetStatus, binding: &Binding, retry: u32) -> bool {
    status.verdicts.iter().any(|kept| kept.binding == binding.as_str() && kept.retry >= retry)
}

/// Starts the decision's smoke tests as far as the controller has room for them, and says what is known of each now.
/// A refusal stops only its own test.
pub async fn start(
    context: &Context,
    set: &SetName,
    decision: &Decision,
    wanted: &BTreeMap<ImageName, Wanted>,
    reader: &Reader<'_>,
) -> (Started, BTreeMap<Binding, SmokeView>) {
    let mut views = BTreeMap::new();
    let jobs = Jobs::new(context.client.clone());
    let mut started = if decision.start.is_empty() { Started::Nothing } else { Started::All };
    for request in &decision.start {
        if !context.smoke_room.take(set) {
            tracing::info!(%set, gate = %request.gate, "waits for another set's smoke test to end");
            started = Started::Unfinished;
            break;
        }
        let secrets = match wanted.get(&request.image) {
            Some(wanted) => credentials::pull_secrets(reader, wanted).await,
            None => Vec::new(),
        };
        let view = match jobs.start(set, request, &secrets).await {
            Ok(_) => {
                context.metrics.count_write("job", "ok");
                SmokeView::Running { since: context.clock.now(), waiting_for: None, due_at: None }
            }
            Err(error) => {
                context.metrics.count_write("job", "error");
                context.smoke_room.give_back(set);
                tracing::warn!(%set, gate = %request.gate, "{error}");
                started = Started::Unfinished;
                let kind = match error {
                    SmokeError::Start { .. } => HindranceKind::ConfigRefused,
                    _ => HindranceKind::Unreadable,
                };
                let why = Hindrance { kind, message: error.to_string() };
                SmokeView::NoVerdict { why, run: request.run, again: None }
            }
        };
        views.insert(request.binding.clone(), view);
    }
    (started, views)
}

/// Deletes Jobs that are of no use any more: their verdict stands in `status`, a later run of the same test was made,
/// or their gate is gone.
pub async fn tidy(
    context: &Context,
    set: &SetName,
    policy: &Policy,
    status: &ReleaseSetStatus,
    jobs: &[SmokeJob],
) {
    let runner = Jobs::new(context.client.clone());
    let has_gate = |job: &SmokeJob| policy.gates.iter().any(|gate| gate.name.as_str() == job.identity.gate);
    for job in jobs {
        let later = |other: &SmokeJob| {
            let (run, other_run) = (job.identity.run, other.identity.run);
            other.identity.binding == job.identity.binding
                && (other_run.retry, other_run.number) > (run.retry, run.number)
        };
        let done = match job.end {
            JobEnd::Verdict => is_kept(status, &job.identity.binding, job.identity.run.retry),
            JobEnd::NoVerdict => jobs.iter().any(later),
            JobEnd::NotOver => false,
        };
        if !done && has_gate(job) {
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

/// How many of the set's Jobs have not ended.
pub fn running(jobs: &[SmokeJob]) -> usize {
    jobs.iter().filter(|job| job.end == JobEnd::NotOver).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_read_by_gate_and_nonsense_counts_for_nothing() {
        let annotations = [
            ("retry.tidegate.dev/worker-boots", "2"),
            ("retry.tidegate.dev/Not A Gate", "2"),
            ("retry.tidegate.dev/other", "-1"),
            ("tidegate.dev/worker-boots", "3"),
        ];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = BTreeMap::from([("worker-boots".parse().unwrap(), 2)]);
        assert_eq!(retries(&annotations.into_iter().collect()), expected);
    }
}
