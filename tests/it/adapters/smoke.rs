use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use tidegate::embedded::api::ApiServer;
use tidegate::embedded::node::{EXIT_CODE_LABEL, Node, NodeOptions, RUN_FOR_LABEL};
use tidegate::model::{Hindrance, SetName, SmokeOutcome, SmokeView};
use tidegate::smoke::{JobEnd, Jobs, SmokeError, SmokeJob, Started};

use super::{client, clock, digest, request};

/// A server with one amd64 node; `labels` tell how the image under test behaves, `None` that it is absent.
fn world(labels: Option<&[(&str, &str)]>) -> (ApiServer, Node) {
    let server = ApiServer::new(clock());
    let labels: Option<BTreeMap<String, String>> =
        labels.map(|pairs| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect());
    let image = format!("ghcr.io/acme/worker@{}", digest("ab"));
    let resolver = Arc::new(move |reference: &str| labels.clone().filter(|_| reference == image));
    let node = Node::new(&server, resolver, NodeOptions::default(), clock());
    (server, node)
}

/// A ReleaseSet `acme` as far as its Jobs know it: an object whose uid owns them. Garbage collection looks at
/// nothing else.
async fn owner(server: &ApiServer, name: &str) -> SetName {
    let maps: Api<ConfigMap> = Api::namespaced(client(server), "acme");
    let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    let map =
        maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await.unwrap();
    SetName { namespace: "acme".into(), name: "acme".into(), uid: map.metadata.uid.unwrap() }
}

async fn run_for(node: &Node, secs: u64) {
    let _ = tokio::time::timeout(Duration::from_secs(secs), node.run()).await;
}

async fn only(jobs: &Jobs, set: &SetName) -> SmokeJob {
    let found = jobs.observe(set, clock().now()).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

fn ended(job: &SmokeJob) -> (SmokeOutcome, Option<i32>, &str) {
    match &job.view {
        SmokeView::Ended(verdict) => (verdict.outcome, verdict.exit_code, &verdict.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_is_started_once_read_and_discarded() {
    let (server, node) = world(Some(&[]));
    let jobs = Jobs::new(client(&server));
    let set = owner(&server, "acme").await;
    let request = request("linux/amd64", 1);
    assert!(jobs.observe(&set, clock().now()).await.unwrap().is_empty());
    assert_eq!(jobs.start(&set, &request, &["pull".to_owned()]).await.unwrap(), Started::Created);
    assert_eq!(jobs.start(&set, &request, &["pull".to_owned()]).await.unwrap(), Started::Found);
    assert!(matches!(only(&jobs, &set).await.view, SmokeView::Running { waiting_for: None, .. }));
    run_for(&node, 30).await;
    let job = only(&jobs, &set).await;
    assert_eq!((ended(&job), job.end), ((SmokeOutcome::Passed, Some(0), "passed"), JobEnd::Verdict));
    assert_eq!(job.identity.binding, request.binding);
    jobs.discard(&set, &job).await.unwrap();
    assert!(server.objects("batch", "jobs").is_empty());
    jobs.discard(&set, &job).await.unwrap();

    // A Job that was made anew under the same name is not the one that was to go.
    assert_eq!(jobs.start(&set, &request, &[]).await.unwrap(), Started::Created);
    jobs.discard(&set, &job).await.unwrap();
    assert_ne!(only(&jobs, &set).await.uid, job.uid);
}

#[tokio::test(start_paused = true)]
async fn a_test_that_fails_says_how() {
    let (server, node) = world(Some(&[(EXIT_CODE_LABEL, "3")]));
    let jobs = Jobs::new(client(&server));
    let set = owner(&server, "acme").await;
    jobs.start(&set, &request("linux/amd64", 2), &[]).await.unwrap();
    run_for(&node, 60).await;
    assert_eq!(server.objects("", "pods").len(), 2, "one pod for each attempt");
    assert_eq!(ended(&only(&jobs, &set).await), (SmokeOutcome::Failed, Some(3), "exited with code 3"));
}

#[tokio::test(start_paused = true)]
async fn a_test_that_hangs_times_out() {
    let (server, node) = world(Some(&[(RUN_FOR_LABEL, "1000")]));
    let jobs = Jobs::new(client(&server));
    let set = owner(&server, "acme").await;
    jobs.start(&set, &request("linux/amd64", 1), &[]).await.unwrap();
    run_for(&node, 90).await;
    assert_eq!(ended(&only(&jobs, &set).await), (SmokeOutcome::TimedOut, None, "timed out after 1m"));
}

#[tokio::test(start_paused = true)]
async fn what_never_started_is_no_verdict() {
    let (server, node) = world(None);
    let jobs = Jobs::new(client(&server));
    let set = owner(&server, "acme").await;
    jobs.start(&set, &request("linux/amd64", 1), &[]).await.unwrap();
    run_for(&node, 20).await;
    let SmokeView::Running { waiting_for: Some(Hindrance { message: what, .. }), .. } =
        only(&jobs, &set).await.view
    else {
        panic!()
    };
    assert!(
        what.starts_with("the image ghcr.io/acme/worker@sha256:") && what.ends_with("not found"),
        "{what}"
    );
    run_for(&node, 90).await;
    let job = only(&jobs, &set).await;
    let SmokeView::NoVerdict { why: Hindrance { message: why, .. }, again, .. } = &job.view else {
        panic!("{job:?}")
    };
    assert!(again.is_some());
    assert!(why.contains("had not started after 1m"), "{why}");
    assert_eq!(job.end, JobEnd::NoVerdict);
}

#[tokio::test(start_paused = true)]
async fn a_platform_without_a_node_is_named() {
    let (server, node) = world(Some(&[]));
    let jobs = Jobs::new(client(&server));
    let set = owner(&server, "acme").await;
    jobs.start(&set, &request("linux/arm64", 1), &[]).await.unwrap();
    run_for(&node, 20).await;
    let SmokeView::Running { waiting_for: Some(Hindrance { message: what, .. }), .. } =
        only(&jobs, &set).await.view
    else {
        panic!()
    };
    assert!(what.starts_with("no node for linux/arm64 (Unschedulable: "), "{what}");
}

#[tokio::test(start_paused = true)]
async fn sequence_16_a_job_of_somebody_else_is_neither_read_nor_replaced() {
    let (server, _node) = world(Some(&[]));
    let jobs = Jobs::new(client(&server));
    let set = owner(&server, "acme").await;
    let request = request("linux/amd64", 1);
    let mut foreign = tidegate::smoke::job::job(&set, &request, &[]);
    foreign.metadata.owner_references = None;
    let all: Api<Job> = Api::namespaced(client(&server), "acme");
    all.create(&PostParams::default(), &foreign).await.unwrap();
    assert!(jobs.observe(&set, clock().now()).await.unwrap().is_empty());
    let error = jobs.start(&set, &request, &[]).await.unwrap_err();
    assert!(matches!(error, SmokeError::Taken { .. }), "{error}");
    assert!(error.to_string().contains("delete it: kubectl -n acme delete job tg-"), "{error}");

    // Two sets, and a set that was made anew, never share a Job.
    let again = owner(&server, "acme-made-anew").await;
    assert_eq!(jobs.start(&again, &request, &[]).await.unwrap(), Started::Created);
    assert!(jobs.observe(&set, clock().now()).await.unwrap().is_empty());
    assert_eq!(jobs.observe(&again, clock().now()).await.unwrap().len(), 1);
}
