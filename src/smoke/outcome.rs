//! What a Job and its pods say: a verdict, a wait, or nothing that counts.
//!
//! A Job's `Complete` is not a verdict: a pod that exits with 0 on SIGTERM while it is evicted makes its Job
//! Complete. *Passed* needs the pod itself (design §4 Gates; failure sequence 1). Whatever is not a verdict blocks
//! and is run again; it never fails a candidate.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::{Binding, SetName, SmokeOutcome, SmokeVerdict, SmokeView};
use crate::smoke::job::Identity;
use crate::smoke::outcome::pod::PodReading;
use crate::telemetry::kube_call::{MESSAGE_MAX_BYTES, clip};

mod pod;
#[cfg(test)]
mod tests;

/// One Job of a set, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeJob {
    /// Name of the Job.
    pub name: String,
    /// Its uid: a Job of that name with another uid is another Job.
    pub uid: String,
    /// What its verdict counts for.
    pub binding: Binding,
    /// What it says now.
    pub view: SmokeView,
    /// What is to become of the Job.
    pub end: JobEnd,
}

/// Whether a Job is over, and what is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// It waits, runs, or is being deleted: leave it.
    NotOver,
    /// It gave a verdict: delete it once the verdict stands in status.
    Verdict,
    /// It ended and says nothing: delete it, so that the test is run again.
    NoVerdict,
    /// It says nothing, and another run would end alike: leave it for people to see.
    Hopeless,
}

/// What is known of each binding. Of two Jobs with one binding a verdict is preferred.
pub fn views(jobs: &[SmokeJob]) -> BTreeMap<Binding, SmokeView> {
    let mut views = BTreeMap::new();
    let (ended, others): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| job.end == JobEnd::Verdict);
    for job in others.into_iter().chain(ended) {
        views.insert(job.binding.clone(), job.view.clone());
    }
    views
}

/// What `job` says, given the pods of its namespace; `None` when it is not a Job of ours for `set`: another
/// controller, another uid, or a name that is not the hash of what it says of itself.
pub fn outcome(set: &SetName, job: &Job, pods: &[Pod]) -> Option<SmokeJob> {
    let identity = own_identity(set, job)?;
    let name = job.metadata.name.clone()?;
    let uid = job.metadata.uid.clone()?;
    let (view, end) = judge(&identity, job, &readings(&identity, &uid, job, pods));
    Some(SmokeJob { name, uid, binding: identity.binding, view, end })
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
fn readings(identity: &Identity, job_uid: &str, job: &Job, pods: &[Pod]) -> Vec<PodReading> {
    let mut own: Vec<&Pod> = pods.iter().filter(|pod| controlled_by(&pod.metadata, job_uid)).collect();
    own.sort_by_key(|pod| (created(&pod.metadata), pod.metadata.name.as_deref()));
    let timeout = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()?.active_deadline_seconds);
    let timeout = SignedDuration::from_secs(timeout.unwrap_or_default());
    own.into_iter().map(|pod| pod::read(pod, identity, timeout)).collect()
}

fn judge(identity: &Identity, job: &Job, pods: &[PodReading]) -> (SmokeView, JobEnd) {
    let unknown = |why: &str, end| (SmokeView::Unknown { why: clip(why, MESSAGE_MAX_BYTES) }, end);
    let Some(since) = created(&job.metadata) else {
        return unknown("the API server shows the Job without a creation time", JobEnd::NotOver);
    };
    if job.metadata.deletion_timestamp.is_some() {
        return unknown("the Job is being deleted; the test is run again after it", JobEnd::NotOver);
    }
    let failed = has_condition(job, "Failed");
    let over = failed || has_condition(job, "Complete");
    for pod in pods.iter().rev() {
        match pod {
            PodReading::Passed { at } if !failed => {
                let at = at.unwrap_or(since);
                return verdict(identity, SmokeOutcome::Passed, at, Some(0), "passed");
            }
            PodReading::Failed { at, exit_code, message } if failed => {
                let at = at.unwrap_or(since);
                return verdict(identity, SmokeOutcome::Failed, at, *exit_code, message);
            }
            PodReading::Rewritten { why } => return unknown(why, JobEnd::Hopeless),
            _ => {}
        }
    }
    if over {
        return unknown(&why_no_verdict(job, pods, failed), JobEnd::NoVerdict);
    }
    let waiting_for = match pods.last() {
        Some(PodReading::Waits { what }) => Some(clip(what, MESSAGE_MAX_BYTES)),
        _ => None,
    };
    (SmokeView::Running { since, waiting_for }, JobEnd::NotOver)
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
    };
    (SmokeView::Ended(verdict), JobEnd::Verdict)
}

/// Why an ended Job counts for nothing, from its newest pod, else from the Job itself.
fn why_no_verdict(job: &Job, pods: &[PodReading], failed: bool) -> String {
    let from_pod = pods.iter().rev().find_map(|pod| match pod {
        PodReading::Disturbed { why } => Some(why.as_str()),
        PodReading::Waits { what } => Some(what.as_str()),
        _ => None,
    });
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let from_job = conditions
        .filter(|condition| condition.type_ == "Failed")
        .find_map(|condition| condition.reason.as_deref());
    let end = if failed { "failed" } else { "completed" };
    match (from_pod, from_job) {
        (Some(why), _) => format!("the Job {end} and is no verdict, because {why}; the test is run again"),
        (None, Some(reason)) => {
            format!(
                "the Job {end} ({reason}) without a pod that ran the test to its end; the test is run again"
            )
        }
        (None, None) => {
            format!("the Job {end} without a pod that ran the test to its end; the test is run again")
        }
    }
}

fn has_condition(job: &Job, kind: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.creation_timestamp.as_ref().map(|time| time.0)
}
