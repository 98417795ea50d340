//! One simulated node with the Job controller beside it: it "runs" Jobs by what their image's labels tell.
//!
//! It works through a `kube::Client` as a real kubelet would, in tokio's time, and draws no random numbers. Of a Job
//! it reads `backoffLimit`, `activeDeadlineSeconds`, `ttlSecondsAfterFinished`, `suspend`, and of the pod template
//! the first container's image, `activeDeadlineSeconds` and the node selector `kubernetes.io/arch`. Not simulated:
//! parallelism, restarts in place, pod failure policies, evictions, back-off between pods.
//! Must never know: who made a Job and what its outcome means.
//!
//! ```text
//! Job --start delay--> Pod Pending --image known--> Running --run-for--> Succeeded | Failed --> Job conditions
//!                                   `-unknown, ErrImagePull: asked again 10 s, 20 s … 5 min later
//! ```

mod status;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{AbortHandle, abortable},
    stream::FuturesUnordered,
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, PodSpec},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher,
};
use serde_json::{Value, json};

use super::api::ApiServer;
use crate::telemetry::clock::Clock;

/// Label in an image's config: exit code of its container, default 0.
pub const EXIT_CODE_LABEL: &str = "tidegate.dev/demo.exit-code";
/// Label in an image's config: seconds until its container ends by itself, default 1.
pub const RUN_FOR_LABEL: &str = "tidegate.dev/demo.run-for";
/// Label in an image's config: what its container writes.
pub const LOG_LABEL: &str = "tidegate.dev/demo.log";

/// The actor under which the node's requests are logged.
pub const ACTOR: &str = "node";

/// Pause before an absent image is asked for again, doubled up to the second: kubelet's image back-off.
const PULL_BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// Restart of a broken watch.
const WATCH_BACKOFF: Duration = Duration::from_secs(1);
/// `backoffLimit` of a Job that names none.
const BACKOFF_LIMIT_DEFAULT: i32 = 6;

/// Labels of the config of the image that a container runtime would pull for a reference; `None` when it is absent.
pub type Resolver = Arc<dyn Fn(&str) -> Option<BTreeMap<String, String>> + Send + Sync>;

/// How the node behaves.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// `kubernetes.io/arch` of the node: pods that select another one stay Pending.
    pub architecture: String,
    /// From a Job's creation to its pod.
    pub start_delay: Duration,
}

/// The node; it lives while [`Self::run`] is polled.
pub struct Node {
    server: ApiServer,
    client: Client,
    resolver: Resolver,
    options: NodeOptions,
    clock: Clock,
}

/// How a container is told to end.
struct Script {
    exit_code: i32,
    run_for: Duration,
    log: Option<String>,
}

/// What the cluster refuses ends the simulation of that Job, and says so in the log.
type Step<T> = Result<T, kube::Error>;

// === impl NodeOptions ===

impl Default for NodeOptions {
    /// An amd64 node that starts pods after one second.
    fn default() -> Self {
        Self { architecture: "amd64".to_owned(), start_delay: Duration::from_secs(1) }
    }
}

// === impl Script ===

impl Script {
    fn read(labels: &BTreeMap<String, String>) -> Self {
        let number = |label: &str| labels.get(label).and_then(|text| text.trim().parse::<u32>().ok());
        Self {
            exit_code: number(EXIT_CODE_LABEL).and_then(|code| i32::try_from(code).ok()).unwrap_or(0),
            run_for: Duration::from_secs(number(RUN_FOR_LABEL).unwrap_or(1).into()),
            log: labels.get(LOG_LABEL).cloned(),
        }
    }
}

// === impl Node ===

impl Node {
    /// A node of `server`. Must be called inside the tokio runtime that will poll [`Self::run`].
    pub fn new(server: &ApiServer, resolver: Resolver, options: NodeOptions, clock: Clock) -> Self {
        let client = server.client(ACTOR, "default");
        Self { server: server.clone(), client, resolver, options, clock }
    }

    /// Runs every Job that is not finished, present ones and later ones, until it is dropped. A Job whose pod was
    /// started by an earlier run of the node gets a new pod.
    pub async fn run(&self) {
        let jobs: Api<Job> = Api::all(self.client.clone());
        let mut watching = pin!(watcher(jobs, watcher::Config::default()));
        let mut running = FuturesUnordered::new();
        let mut known: BTreeMap<String, AbortHandle> = BTreeMap::new();
        loop {
            tokio::select! {
                biased;
                // Finished, or aborted with its Job: nothing to tell apart.
                Some(_) = running.next() => {}
                event = watching.next() => match event {
                    Some(Ok(watcher::Event::Apply(job) | watcher::Event::InitApply(job))) => {
                        let uid = job.uid().unwrap_or_default();
                        if wants_to_run(&job) && !known.contains_key(&uid) {
                            let (run, handle) = abortable(self.run_job(job));
                            known.insert(uid, handle);
                            running.push(run);
                        }
                    }
                    Some(Ok(watcher::Event::Delete(job))) => {
                        if let Some(run) = known.remove(&job.uid().unwrap_or_default()) {
                            run.abort();
                        }
                    }
                    Some(Ok(watcher::Event::Init | watcher::Event::InitDone)) => {}
                    Some(Err(error)) => {
                        tracing::debug!(%error, "simulated node failed to watch Jobs");
                        tokio::time::sleep(WATCH_BACKOFF).await;
                    }
                    None => return,
                },
            }
        }
    }

    async fn run_job(&self, job: Job) {
        if let Err(error) = self.try_run_job(&job).await {
            tracing::debug!(job = job.name_any(), %error, "simulated node stopped running a Job");
        }
    }

    async fn try_run_job(&self, job: &Job) -> Step<()> {
        let spec = job.spec.clone().unwrap_or_default();
        tokio::time::sleep(self.options.start_delay).await;
        let started = self.clock.now();
        let attempts = 1 + spec.backoff_limit.unwrap_or(BACKOFF_LIMIT_DEFAULT).max(0);
        let all_pods = async {
            for failed in 0..attempts {
                if self.run_pod(job, started, failed).await? {
                    return Ok((true, failed));
                }
            }
            Ok((false, attempts))
        };
        let deadline = spec.active_deadline_seconds.and_then(|secs| u64::try_from(secs).ok());
        let ended: Step<(bool, i32)> = match deadline.map(Duration::from_secs) {
            None => all_pods.await,
            Some(limit) => match tokio::time::timeout(limit, all_pods).await {
                Ok(ended) => ended,
                Err(_) => return self.end_overdue_job(job, started).await,
            },
        };
        let (succeeded, failed) = ended?;
        let status = if succeeded {
            status::job_complete(started, self.clock.now(), failed)
        } else {
            let message = "Job has reached the specified backoff limit";
            status::job_failed(started, self.clock.now(), failed, "BackoffLimitExceeded", message)
        };
        self.write_job_status(job, &status).await?;
        self.end_after_ttl(job, spec.ttl_seconds_after_finished).await
    }

    /// As the Job controller does: pods still there are deleted, so their logs are gone.
    async fn end_overdue_job(&self, job: &Job, started: jiff::Timestamp) -> Step<()> {
        let pods = self.pods(job);
        let mine = kube::api::ListParams::default().labels(&format!("job-name={}", job.name_any()));
        let mut failed = 0;
        for pod in pods.list(&mine).await?.items {
            failed += 1;
            pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
        }
        let message = "Job was active longer than specified deadline";
        let status = status::job_failed(started, self.clock.now(), failed, "DeadlineExceeded", message);
        self.write_job_status(job, &status).await?;
        let ttl = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
        self.end_after_ttl(job, ttl).await
    }

    async fn end_after_ttl(&self, job: &Job, ttl_secs: Option<i32>) -> Step<()> {
        let Some(secs) = ttl_secs.and_then(|secs| u64::try_from(secs).ok()) else { return Ok(()) };
        tokio::time::sleep(Duration::from_secs(secs)).await;
        let preconditions = Preconditions { uid: job.uid(), resource_version: None };
        self.jobs(job)
            .delete(&job.name_any(), &DeleteParams::background().preconditions(preconditions))
            .await?;
        Ok(())
    }

    // --- pods ---

    /// Whether the pod succeeded; one that was deleted did not.
    async fn run_pod(&self, job: &Job, job_started: jiff::Timestamp, failed_before: i32) -> Step<bool> {
        let pod = self.pods(job).create(&PostParams::default(), &pod_of(job)).await?;
        let active = status::job_active(job_started, failed_before);
        self.write_job_status(job, &active).await?;
        let spec = pod.spec.clone().unwrap_or_default();
        if !self.is_schedulable(&spec) {
            let why = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
            self.write_pod_status(&pod, &status::unschedulable(self.clock.now(), why)).await?;
            return std::future::pending().await;
        }
        let deadline = spec.active_deadline_seconds.and_then(|secs| u64::try_from(secs).ok());
        let run = self.run_container(&pod, &spec);
        let ended = match deadline.map(Duration::from_secs) {
            None => run.await,
            Some(limit) => {
                if let Ok(ended) = tokio::time::timeout(limit, run).await {
                    ended
                } else {
                    let begun = self.container_started(&pod).await?;
                    let status = status::pod_overdue(&spec, begun, self.clock.now());
                    self.write_pod_status(&pod, &status).await.map(|()| false)
                }
            }
        };
        match ended {
            Err(kube::Error::Api(refused)) if refused.is_not_found() => Ok(false),
            ended => ended,
        }
    }

    /// When the pod's container started, as its status says; `None` while it has not.
    async fn container_started(&self, pod: &Pod) -> Step<Option<jiff::Timestamp>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let status = pods.get_opt(&pod.name_any()).await?.and_then(|pod| pod.status);
        let containers = status.and_then(|status| status.container_statuses).unwrap_or_default();
        let running = containers.into_iter().find_map(|container| container.state?.running);
        Ok(running.and_then(|running| running.started_at).map(|time| time.0))
    }

    async fn run_container(&self, pod: &Pod, spec: &PodSpec) -> Step<bool> {
        let image = spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default();
        let script = self.pull(pod, spec, &image).await?;
        let begun = self.clock.now();
        self.write_pod_status(pod, &status::running(spec, begun)).await?;
        if let Some(log) = script.log {
            self.server.set_pod_log(&pod.namespace().unwrap_or_default(), &pod.name_any(), log);
        }
        tokio::time::sleep(script.run_for).await;
        let status = status::terminated(spec, begun, self.clock.now(), script.exit_code);
        self.write_pod_status(pod, &status).await?;
        Ok(script.exit_code == 0)
    }

    /// Waits until the image is there; says `ErrImagePull`, then `ImagePullBackOff` while it is not.
    async fn pull(&self, pod: &Pod, spec: &PodSpec, image: &str) -> Step<Script> {
        let (mut pause, longest) = PULL_BACKOFF;
        let mut reason = "ErrImagePull";
        loop {
            if let Some(labels) = (self.resolver)(image) {
                return Ok(Script::read(&labels));
            }
            let message = format!("failed to resolve reference \"{image}\": not found");
            let status = status::waiting(spec, self.clock.now(), reason, &message);
            self.write_pod_status(pod, &status).await?;
            tokio::time::sleep(pause).await;
            (reason, pause) = ("ImagePullBackOff", longest.min(pause * 2));
        }
    }

    fn is_schedulable(&self, spec: &PodSpec) -> bool {
        let wanted = spec.node_selector.as_ref().and_then(|labels| labels.get("kubernetes.io/arch"));
        wanted.is_none_or(|wanted| *wanted == self.options.architecture)
    }

    // --- writes ---

    fn jobs(&self, job: &Job) -> Api<Job> {
        Api::namespaced(self.client.clone(), &job.namespace().unwrap_or_default())
    }

    fn pods(&self, job: &Job) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &job.namespace().unwrap_or_default())
    }

    /// Fails with a conflict when the Job was deleted and made anew meanwhile.
    async fn write_job_status(&self, job: &Job, status: &Value) -> Step<()> {
        let patch = json!({"metadata": {"uid": job.uid()}, "status": status});
        self.jobs(job).patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn write_pod_status(&self, pod: &Pod, status: &Value) -> Step<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

fn wants_to_run(job: &Job) -> bool {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let finished = conditions.iter().any(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    });
    !suspended && !finished && job.metadata.deletion_timestamp.is_none()
}

/// The pod that the Job controller makes of a Job's template, already bound to this node.
fn pod_of(job: &Job) -> Pod {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let (name, uid) = (job.name_any(), job.uid().unwrap_or_default());
    let mut labels = meta.labels.unwrap_or_default();
    for prefix in ["batch.kubernetes.io/", ""] {
        labels.insert(format!("{prefix}job-name"), name.clone());
        labels.insert(format!("{prefix}controller-uid"), uid.clone());
    }
    let owner = OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: name.clone(),
        uid,
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: job.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
