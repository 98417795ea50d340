//! What a Job and its pods say: a verdict, a wait, or nothing that counts.
//!
//! A Job's `Complete` is not a verdict: a pod that exits with 0 on SIGTERM while it is evicted makes its Job
//! Complete. *Passed* needs the pod itself (design §4 Gates; failure sequence 1). Whatever is not a verdict blocks
//! and is run again; it never fails a candidate.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::smoke::{SmokeAgain, SmokeRun};
use crate::model::{Binding, Hindrance, HindranceKind, SetName, SmokeOutcome, SmokeVerdict, SmokeView};
use crate::smoke::identity::Identity;
use crate::smoke::outcome::pod::PodReading;
use crate::telemetry::kube_call::{MESSAGE_MAX_BYTES, clip};

mod pod;
#[cfg(test)]
mod tests;

/// Shortest and longest pause before a test that never started is run again (issue "Smoke gate on a real node").
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// See [`AGAIN_AFTER`].
const AGAIN_AFTER_MAX: SignedDuration = SignedDuration::from_mins(15);
/// Runs of a test whose pod was given another image: a webhook may have been mended in between, once.
const REWRITTEN_RUNS_MAX: u32 = 2;

/// One Job of a set, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeJob {
    /// Name of the Job.
    pub name: String,
    /// Its uid: a Job of that name with another uid is another Job.
    pub uid: String,
    /// What it was made from.
    pub identity: Identity,
    /// What it says now.
    pub view: SmokeView,
    /// What is to become of the Job.
    pub end: JobEnd,
    /// The pod that failed, whose log tells why.
    pub failed_pod: Option<String>,
    /// It has no pod: what keeps it from one is told by Events only.
    pub is_podless: bool,
}

/// Whether a Job is over, and what is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// It waits, runs, or is being deleted: leave it.
    NotOver,
    /// It gave a verdict: delete it once the verdict stands in status.
    Verdict,
    /// It says nothing: delete it once a later run of the same test was made. The last run is left for people.
    NoVerdict,
}

/// What is known of each binding: a verdict, else what the latest run says.
pub fn views(jobs: &[SmokeJob]) -> BTreeMap<Binding, SmokeView> {
    let mut latest: BTreeMap<&Binding, &SmokeJob> = BTreeMap::new();
    let place =
        |job: &SmokeJob| (job.end == JobEnd::Verdict, job.identity.run.retry, job.identity.run.number);
    for job in jobs {
        let known = latest.entry(&job.identity.binding).or_insert(job);
        if place(job) > place(known) {
            *known = job;
        }
    }
    latest.into_iter().map(|(binding, job)| (binding.clone(), job.view.clone())).collect()
}

/// What `job` says at `now`, given the pods of its namespace; `None` when it is not a Job of ours for `set`: another
/// controller, another uid, or a name that is not the hash of what it says of itself.
pub fn outcome(set: &SetName, job: &Job, pods: &[Pod], now: Timestamp) -> Option<SmokeJob> {
    let identity = own_identity(set, job)?;
    let name = job.metadata.name.clone()?;
    let uid = job.metadata.uid.clone()?;
    let readings = readings(&identity, &uid, job, pods, now);
    let (view, end) = judge(&identity, job, &readings);
    let failed_pod = readings.iter().rev().find_map(|reading| match reading {
        PodReading::Failed { pod, .. } => Some(pod.clone()),
        _ => None,
    });
    Some(SmokeJob { name, uid, identity, view, end, failed_pod, is_podless: readings.is_empty() })
}

/// What the Job was made from, when it is ours.
pub fn own_identity(set: &SetName, job: &Job) -> Option<Identity> {
    let identity = Identity::read(job)?;
    let is_ours = controlled_by(&job.metadata, &set.uid)
        && job.metadata.name.as_deref() == Some(identity.job_name(&set.uid).as_str());
    is_ours.then_some(identity)
}

fn controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    let owners = metadata.owner_references.iter().flatten();
    !uid.is_empty() && owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// The Job's own pods, oldest first.
fn readings(identity: &Identity, job_uid: &str, job: &Job, pods: &[Pod], now: Timestamp) -> Vec<PodReading> {
    let mut own: Vec<&Pod> = pods.iter().filter(|pod| controlled_by(&pod.metadata, job_uid)).collect();
    own.sort_by_key(|pod| (created(&pod.metadata), pod.metadata.name.as_deref()));
    let timeout = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()?.active_deadline_seconds);
    let timeout = SignedDuration::from_secs(timeout.unwrap_or_default());
    own.into_iter().map(|pod| pod::read(pod, identity, timeout, now)).collect()
}

fn judge(identity: &Identity, job: &Job, pods: &[PodReading]) -> (SmokeView, JobEnd) {
    let unreadable = |why: &str| {
        let why = Hindrance { kind: HindranceKind::Unreadable, message: why.to_owned() };
        (SmokeView::NoVerdict { why, run: identity.run, again: None }, JobEnd::NotOver)
    };
    let Some(since) = created(&job.metadata) else {
        return unreadable("the API server shows the Job without a creation time");
    };
    if job.metadata.deletion_timestamp.is_some() {
        return unreadable("the Job is being deleted; the test is run again after it");
    }
    let failed = has_condition(job, "Failed");
    let over = failed || has_condition(job, "Complete");
    let failures = pods.iter().filter(|pod| matches!(pod, PodReading::Failed { .. })).count();
    // A service that exited with 0 made its Job Complete, and is not tried again.
    let attempts = if failed { attempts(identity) } else { 1 };
    for pod in pods.iter().rev() {
        match pod {
            PodReading::Passed { at } if !failed => {
                let at = at.unwrap_or(since);
                return verdict(identity, SmokeOutcome::Passed, at, Some(0), "passed");
            }
            // Of several attempts all must fail: an eviction may have ended the Job after the first.
            PodReading::Failed { at, exit_code, outcome, message, .. } if over && failures >= attempts => {
                return verdict(identity, *outcome, at.unwrap_or(since), *exit_code, message);
            }
            PodReading::Rewritten { why } => {
                let why = Hindrance { kind: HindranceKind::ImageRewritten, message: why.clone() };
                return no_verdict(identity, job, pods, why);
            }
            _ => {}
        }
    }
    if over {
        return no_verdict(identity, job, pods, why_no_verdict(job, pods, failed));
    }
    let (waiting_for, due_at) = match pods.last() {
        Some(PodReading::Waits { what }) => (Some(clipped(what)), None),
        // On a node that is gone it never ends, and the Job waits with it until its own deadline.
        Some(PodReading::NoVerdict { why, .. }) => (Some(clipped(why)), None),
        Some(PodReading::Runs { due_at }) => (None, *due_at),
        _ => (None, None),
    };
    (SmokeView::Running { since, waiting_for, due_at }, JobEnd::NotOver)
}

/// Pods that must fail for the test to have failed.
fn attempts(identity: &Identity) -> usize {
    let SmokeRun { attempts_left, pods_left, .. } = identity.run;
    usize::try_from(attempts_left.min(pods_left).max(1)).unwrap_or(usize::MAX)
}

fn verdict(
    identity: &Identity,
    outcome: SmokeOutcome,
    at: Timestamp,
    exit_code: Option<i32>,
    message: &str,
) -> (SmokeView, JobEnd) {
    let verdict = SmokeVerdict {
        binding: identity.binding.clone(),
        outcome,
        at,
        exit_code,
        message: clip(message, MESSAGE_MAX_BYTES),
        retry: identity.run.retry,
        log: None,
    };
    (SmokeView::Ended(verdict), JobEnd::Verdict)
}

fn no_verdict(
    identity: &Identity,
    job: &Job,
    pods: &[PodReading],
    mut why: Hindrance,
) -> (SmokeView, JobEnd) {
    let again = again(identity, job, pods, why.kind);
    why.message.push_str(match (&again, why.kind) {
        (Some(_), _) => "; the test is run again",
        (None, HindranceKind::ImageRewritten) => "; then run the test again: `tidegate retry`",
        (None, _) => "; no pods are left to try: run the test again with `tidegate retry`",
    });
    (SmokeView::NoVerdict { why: clipped(&why), run: identity.run, again }, JobEnd::NoVerdict)
}

/// The next run. Pods whose container never ran are no load and no attempt; all others are counted, also those
/// that a drain took away and that only the Job's own count remembers.
fn again(identity: &Identity, job: &Job, pods: &[PodReading], kind: HindranceKind) -> Option<SmokeAgain> {
    let run = identity.run;
    let count = |what: fn(&PodReading) -> bool| pods.iter().filter(|pod| what(pod)).count();
    let idle =
        count(|pod| matches!(pod, PodReading::NoVerdict { started: false, .. } | PodReading::Waits { .. }));
    let failures = count(|pod| matches!(pod, PodReading::Failed { .. }));
    let status = job.status.clone().unwrap_or_default();
    let counted = status.failed.unwrap_or_default().saturating_add(status.succeeded.unwrap_or_default());
    let counted = usize::try_from(counted).unwrap_or_default().max(pods.len());
    // The Job's own deadline took a pod away that had waited all the time.
    let late = usize::from(pods.is_empty() && failed_reason(job) == Some("DeadlineExceeded"));
    let less = |left: u32, used: usize| left.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX));
    let next = SmokeRun {
        retry: run.retry,
        number: run.number.saturating_add(1),
        pods_left: less(run.pods_left, counted.saturating_sub(idle + late)),
        attempts_left: less(run.attempts_left, failures).max(1),
    };
    let stop = match kind {
        HindranceKind::ImageRewritten => run.number >= REWRITTEN_RUNS_MAX,
        _ => next.pods_left == 0,
    };
    let pause = match kind {
        HindranceKind::Evicted => SignedDuration::ZERO,
        _ => back_off(run.number),
    };
    let at = ended_at(job).or_else(|| created(&job.metadata))?.checked_add(pause).ok()?;
    (!stop).then_some(SmokeAgain { at, run: next })
}

/// 1, 2, 4, 8, 15, 15 … minutes after run 1, 2, 3 …
fn back_off(number: u32) -> SignedDuration {
    let doubled = 1_i32.checked_shl(number.saturating_sub(1).min(8)).unwrap_or(i32::MAX);
    (AGAIN_AFTER * doubled).min(AGAIN_AFTER_MAX)
}

/// Why an ended Job counts for nothing, from its newest pod, else from the Job itself.
fn why_no_verdict(job: &Job, pods: &[PodReading], failed: bool) -> Hindrance {
    let from_pod = pods.iter().rev().find_map(|pod| match pod {
        PodReading::NoVerdict { why, .. } => Some(why),
        PodReading::Waits { what } => Some(what),
        _ => None,
    });
    let end = if failed { "failed" } else { "completed" };
    if let Some(why) = from_pod {
        let message = format!("the Job {end} and is no verdict, because {}", why.message);
        return Hindrance { kind: why.kind, message };
    }
    let reason = failed_reason(job);
    let named = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    // A drained pod is gone; the policy that ended its Job at the disruption is what remains.
    let kind = match reason {
        Some("DeadlineExceeded") => HindranceKind::Unschedulable,
        _ => HindranceKind::Evicted,
    };
    Hindrance { kind, message: format!("the Job {end}{named} without a pod that ran the test to its end") }
}

fn clipped(why: &Hindrance) -> Hindrance {
    Hindrance { kind: why.kind, message: clip(&why.message, MESSAGE_MAX_BYTES) }
}

fn conditions(job: &Job) -> impl Iterator<Item = &JobCondition> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.status == "True")
}

fn has_condition(job: &Job, kind: &str) -> bool {
    conditions(job).any(|condition| condition.type_ == kind)
}

fn failed_reason(job: &Job) -> Option<&str> {
    conditions(job).find(|condition| condition.type_ == "Failed")?.reason.as_deref()
}

/// When the Job was seen to be over.
fn ended_at(job: &Job) -> Option<Timestamp> {
    let over = conditions(job).find(|condition| matches!(condition.type_.as_str(), "Failed" | "Complete"))?;
    over.last_transition_time.as_ref().map(|time| time.0)
}

fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.creation_timestamp.as_ref().map(|time| time.0)
}
