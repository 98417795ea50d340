//! The calls: list a set's Jobs and pods, start one, delete one. Nothing is decided here.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams, Preconditions};
use serde::de::DeserializeOwned;

use crate::model::names::SET_LABEL;
use crate::model::smoke::{LOG_MAX_BYTES, SmokeView};
use crate::model::{Hindrance, HindranceKind, SetName, SmokeRequest};
use crate::smoke::outcome::{self, JobEnd, SmokeJob};
use crate::smoke::{job, pod::CONTAINER};
use crate::telemetry::kube_call::{CallError, MESSAGE_MAX_BYTES, call, call_optional, clip};

/// Objects of one page of a list: what `kubectl` asks for.
const PAGE: u32 = 500;
/// Pages that are read of one list. A set has at most 64 verdicts, and each of their Jobs at most a few dozen
/// pods; more than 2,000 objects are not of our making.
const PAGES_MAX: usize = 4;

/// Events of one Job that are read: all of them say the same, the newest counts.
const REFUSALS_MAX: u32 = 10;
/// Lines kept of a failed container's log (issue "Smoke gate on a real node").
const LOG_LINES: i64 = 20;
/// Bytes read of them. The API server cuts off the end, which is what is wanted: lines of 3 kB still come whole.
const LOG_READ_MAX_BYTES: i64 = 64 * 1024;

/// The smoke Jobs of ReleaseSets. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    client: Client,
}

/// How a test came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// Its Job was made.
    Created,
    /// Its Job was there already, and is ours.
    Found,
}

/// Why a Job could not be read, made or deleted. Says what happened, why, and the next step.
#[derive(Debug, thiserror::Error)]
pub enum SmokeError {
    /// A list was refused.
    #[error("failed to list the {what} of {set}: {source}")]
    List {
        /// Jobs or pods.
        what: &'static str,
        /// The ReleaseSet.
        set: SetName,
        /// The refusal.
        source: CallError,
    },
    /// A list has no end.
    #[error("failed to list the {what} of {set}: more than {} carry the label {SET_LABEL}; delete those that are not smoke tests", PAGES_MAX * PAGE as usize)]
    TooMany {
        /// Jobs or pods.
        what: &'static str,
        /// The ReleaseSet.
        set: SetName,
    },
    /// The Job was refused.
    #[error("failed to start the smoke Job {name}: {source}")]
    Start {
        /// Name of the Job.
        name: String,
        /// The refusal.
        source: CallError,
    },
    /// A Job of that name is somebody else's.
    #[error(
        "failed to start the smoke Job {name}: a Job of that name exists and was not made for this ReleaseSet; delete it: kubectl -n {namespace} delete job {name}"
    )]
    Taken {
        /// Name of the Job.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// A Job of that name is still going, or changed while it was looked at.
    #[error(
        "failed to start the smoke Job {name}: its predecessor is still being deleted; it is started at the next look"
    )]
    Leaving {
        /// Name of the Job.
        name: String,
    },
    /// The deletion was refused.
    #[error("failed to delete the smoke Job {name}: {source}")]
    Discard {
        /// Name of the Job.
        name: String,
        /// The refusal.
        source: CallError,
    },
}

// === impl Jobs ===

impl Jobs {
    /// Smoke Jobs through `client`, which should not try again by itself.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Every Job of ours for `set`, with what it says at `now`. Two lists, and one of Events for each Job that runs
    /// without a pod.
    ///
    /// # Errors
    /// A list was refused or has no end.
    pub async fn observe(&self, set: &SetName, now: Timestamp) -> Result<Vec<SmokeJob>, SmokeError> {
        // Jobs first: a Job that is seen as ended has all its pods by then.
        let jobs: Vec<Job> = list(&self.jobs(set), set, "smoke Jobs").await?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let pods: Vec<Pod> =
            list(&Api::namespaced(self.client.clone(), &set.namespace), set, "smoke pods").await?;
        let mut read: Vec<SmokeJob> =
            jobs.iter().filter_map(|job| outcome::outcome(set, job, &pods, now)).collect();
        for job in read.iter_mut().filter(|job| job.is_podless && job.end == JobEnd::NotOver) {
            let refusal = self.refusal(set, &job.uid).await;
            if let (SmokeView::Running { waiting_for, .. }, Some(refusal)) = (&mut job.view, refusal) {
                *waiting_for = Some(refusal);
            }
        }
        Ok(read)
    }

    /// Why the Job with this uid has no pod: the newest `FailedCreate` of the Job controller. A list that fails
    /// tells nothing, and is asked again at the next look.
    async fn refusal(&self, set: &SetName, job_uid: &str) -> Option<Hindrance> {
        let fields = format!("involvedObject.uid={job_uid},reason=FailedCreate");
        let events: Api<Event> = Api::namespaced(self.client.clone(), &set.namespace);
        let parameters = ListParams::default().fields(&fields).limit(REFUSALS_MAX);
        let found = match call(events.list(&parameters)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%set, "failed to list the Events of a smoke Job: {error}");
                return None;
            }
        };
        let newest =
            found.items.into_iter().max_by_key(|event| event.last_timestamp.as_ref().map(|at| at.0))?;
        let message = newest.message.unwrap_or_default();
        // The words of the quota admission plugin: "exceeded quota", "failed quota".
        let kind = if message.contains(" quota:") || message.contains("failed quota") {
            HindranceKind::QuotaDenied
        } else {
            HindranceKind::ConfigRefused
        };
        // The pod's name changes with every try, and with it would the status.
        let words = message.split_once("is forbidden: ").map_or(message.as_str(), |(_, words)| words);
        Some(Hindrance { kind, message: clip(&format!("no pod may be made: {words}"), MESSAGE_MAX_BYTES) })
    }

    /// The last lines that the container of `pod` wrote; what was written before them is left out.
    ///
    /// # Errors
    /// The log could not be read.
    pub async fn log(&self, set: &SetName, pod: &str) -> Result<String, CallError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &set.namespace);
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(LOG_READ_MAX_BYTES),
            ..LogParams::default()
        };
        let log = call(pods.logs(pod, &parameters)).await?;
        Ok(last_bytes(log.trim_end(), LOG_MAX_BYTES).to_owned())
    }

    /// Makes the Job of `request`; `pull_secrets` are the registry Secrets of its image.
    ///
    /// # Errors
    /// Refused, or the name is taken by a Job that is not ours.
    pub async fn start(
        &self,
        set: &SetName,
        request: &SmokeRequest,
        pull_secrets: &[String],
    ) -> Result<Started, SmokeError> {
        let wanted = job::job(set, request, pull_secrets);
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let jobs = self.jobs(set);
        match call(jobs.create(&PostParams::default(), &wanted)).await {
            Ok(_) => return Ok(Started::Created),
            Err(error) if error.is_conflict() => {}
            Err(source) => return Err(SmokeError::Start { name, source }),
        }
        match call_optional(jobs.get(&name)).await {
            Ok(Some(job)) if outcome::own_identity(set, &job).is_none() => {
                Err(SmokeError::Taken { name, namespace: set.namespace.clone() })
            }
            Ok(Some(job)) if job.metadata.deletion_timestamp.is_none() => Ok(Started::Found),
            Ok(_) => Err(SmokeError::Leaving { name }),
            Err(source) => Err(SmokeError::Start { name, source }),
        }
    }

    /// Deletes exactly this Job, and its pods after it. A Job that is gone, or was made anew, is no error.
    ///
    /// # Errors
    /// The deletion was refused.
    pub async fn discard(&self, set: &SetName, job: &SmokeJob) -> Result<(), SmokeError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(job.uid.clone()), resource_version: None }),
            ..DeleteParams::background()
        };
        match call(self.jobs(set).delete(&job.name, &parameters)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(source) => Err(SmokeError::Discard { name: job.name.clone(), source }),
        }
    }

    fn jobs(&self, set: &SetName) -> Api<Job> {
        Api::namespaced(self.client.clone(), &set.namespace)
    }
}

/// All objects with the set's label, page by page.
async fn list<K>(api: &Api<K>, set: &SetName, what: &'static str) -> Result<Vec<K>, SmokeError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut parameters = ListParams::default().labels(&format!("{SET_LABEL}={}", set.name)).limit(PAGE);
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = call(api.list(&parameters)).await.map_err(|source| SmokeError::List {
            what,
            set: set.clone(),
            source,
        })?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(found),
        }
    }
    Err(SmokeError::TooMany { what, set: set.clone() })
}

/// The end of `text`, cut between characters.
fn last_bytes(text: &str, max: usize) -> &str {
    let start = text.len().saturating_sub(max);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::last_bytes;

    #[test]
    fn the_end_of_a_log_is_cut_between_characters() {
        assert_eq!(last_bytes("abc", 4), "abc");
        assert_eq!(last_bytes("abcd", 2), "cd");
        assert_eq!(last_bytes("aäb", 2), "b");
        assert_eq!(last_bytes("ä", 1), "");
    }
}
