//! The node cluster itself: Jobs of ours run on it as they would in production, and nothing of it is left afterwards.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::json;
use tidegate::api::{ReleaseSet, ReleaseSetSpec};
use tidegate::embedded::image::Index;
use tidegate::model::smoke::SmokeTest;
use tidegate::model::{Binding, Repository, SetName, SmokeRequest};
use tidegate::smoke::job::job;
use tidegate::telemetry::clock::Clock;

use super::node::{NODE, NodeCluster};
use super::probe::ProbeImage;

const SUITE: &str = "node self-test";

/// For what takes 3 s on an idle machine: 20 times as long, for machines that build beside it.
const DEADLINE: Duration = Duration::from_mins(1);

/// Between two looks at the pods of a Job.
const PACE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_restricted_job_runs_and_the_node_knows_why_it_failed() {
    let Some(cluster) = NodeCluster::shared(SUITE).await else { return };
    let client = cluster.client().await;
    assert_ready(&client).await;
    let world = World::new(cluster, client).await;
    let passes = world.push("passes", &ProbeImage::new("user env")).await;
    let crashes = world.push("crashes", &ProbeImage::new("print 2 40 exit 3")).await;
    let eats = world.push("eats", &ProbeImage::new("eat")).await;
    let root = world.push("root", &ProbeImage::new("exit 0").user("")).await;

    let clock = Clock::system();
    let begun = clock.now();
    for request in [&passes, &crashes, &eats, &root] {
        world.start(request).await;
    }
    world.end(&passes, "Complete").await;
    say(&format!("a restricted Job took {:.1} s", clock.now().duration_since(begun).as_secs_f64()));
    let output = world.logs(&passes).await;
    assert!(output.starts_with("uid=65532 "), "{output}");
    assert!(output.contains(&format!("TIDEGATE_IMAGE={}@{}", passes.repository, passes.digest)), "{output}");

    world.end(&crashes, "Failed").await;
    assert_eq!(terminated(&world.pod(&crashes).await), (3, Some("Error".to_owned())));
    assert_eq!(world.logs(&crashes).await.lines().count(), 2);
    world.end(&eats, "Failed").await;
    assert_eq!(terminated(&world.pod(&eats).await), (137, Some("OOMKilled".to_owned())));
    world.waits(&root, |pod| waiting(pod).is_some_and(|reason| reason == "CreateContainerConfigError")).await;
}

#[tokio::test]
async fn a_platform_without_a_node_is_unschedulable() {
    let Some(cluster) = NodeCluster::shared(SUITE).await else { return };
    let world = World::new(cluster, cluster.client().await).await;
    let request = world.push("arm", &ProbeImage::new("exit 0")).await;
    let request = SmokeRequest { platform: "linux/arm64".parse().unwrap(), ..request };
    world.start(&request).await;
    world
        .waits(&request, |pod| {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one.type_ == "PodScheduled" && one.reason.as_deref() == Some("Unschedulable"))
            })
        })
        .await;
}

/// Two clusters one after the other, beside the shared one: the first is ended as tests end theirs, of the second the
/// script that keeps it is killed.
#[tokio::test]
async fn nothing_of_a_cluster_is_left() {
    let Some(cluster) = NodeCluster::start_own(SUITE) else { return };
    let world = World::new(&cluster, cluster.client().await).await;
    let hangs = world.push("hangs", &ProbeImage::new("ignore hang")).await;
    world.start(&hangs).await;
    world
        .waits(&hangs, |pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running")))
        .await;
    let traces = Traces::of(&cluster);
    assert!(traces.processes().len() >= 10, "eight servers, a shim, a pod: {:?}", traces.processes());
    assert!(traces.bridge.exists());
    assert_eq!(traces.mounts(), Vec::<String>::new(), "mounts of the node are the node's own");
    drop(world);
    say(&format!("a node cluster was Ready in {:.1} s", cluster.took().as_secs_f64()));
    let clock = Clock::system();
    let begun = clock.now();
    drop(cluster);
    say(&format!("it was gone in {:.1} s", clock.now().duration_since(begun).as_secs_f64()));
    traces.assert_none();

    let Some(mut cluster) = NodeCluster::start_own(SUITE) else { return };
    let traces = Traces::of(&cluster);
    cluster.kill_script();
    assert!(!traces.processes().is_empty(), "nobody is left to end them");
    let sweep = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster");
    assert!(Command::new(sweep).arg("sweep").status().unwrap().success());
    traces.assert_none();
}

/// A namespace with a ReleaseSet that owns the Jobs of one test.
struct World<'a> {
    cluster: &'a NodeCluster,
    client: Client,
    set: SetName,
}

impl<'a> World<'a> {
    async fn new(cluster: &'a NodeCluster, client: Client) -> Self {
        let namespace = cluster.namespace(&client, "node").await;
        let spec: ReleaseSetSpec = serde_json::from_value(json!({
            "images": [{"name": "app", "repository": format!("{}/acme/app", cluster.registry_host())}],
            "registry": {"insecure": true},
            "candidates": {"policy": {"numerical": {}}},
        }))
        .unwrap();
        let sets: Api<ReleaseSet> = Api::namespaced(client.clone(), &namespace);
        let made = sets.create(&PostParams::default(), &ReleaseSet::new("acme", spec)).await.unwrap();
        let set = SetName { namespace, name: "acme".into(), uid: made.metadata.uid.unwrap() };
        Self { cluster, client, set }
    }

    /// Pushes an index of two platforms; the second has the bytes of the first and runs nowhere here.
    async fn push(&self, name: &str, image: &ProbeImage) -> SmokeRequest {
        // What another test pulled is on the node already.
        let image = image.clone().label("tidegate.dev/test", &self.set.namespace);
        let children = vec![image.build(), image.clone().platform("linux/arm64").build()];
        let digest = children[0].manifest.digest.parse().unwrap();
        let path = format!("{}/{name}", self.set.namespace);
        let index = Index::build(children, &std::collections::BTreeMap::default());
        self.cluster.pusher().index(&path, "main-1", &index).await;
        let repository: Repository = format!("{}/{path}", self.cluster.registry_host()).parse().unwrap();
        let platform = "linux/amd64".parse().unwrap();
        let test = SmokeTest::new(Vec::new(), SignedDuration::from_mins(2), 1);
        SmokeRequest {
            gate: "boots".parse().unwrap(),
            image: name.parse().unwrap(),
            binding: Binding::of_image(&repository, &platform, &digest, "v1:0011"),
            repository,
            platform,
            digest,
            run: test.first_run(0),
            test,
            release: None,
        }
    }

    async fn start(&self, request: &SmokeRequest) {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.set.namespace);
        jobs.create(&PostParams::default(), &job(&self.set, request, &[])).await.unwrap();
    }

    fn name(&self, request: &SmokeRequest) -> String {
        job(&self.set, request, &[]).metadata.name.unwrap()
    }

    /// Until the Job has that condition.
    async fn end(&self, request: &SmokeRequest, wanted: &str) {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.set.namespace);
        let has = |job: Option<&Job>| {
            let conditions = job.and_then(|job| job.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == wanted && one.status == "True"))
        };
        let name = self.name(request);
        let ended = tokio::time::timeout(DEADLINE, await_condition(jobs, &name, has)).await;
        assert!(ended.is_ok(), "{} is not {wanted}: {:?}", request.image, self.pod(request).await.status);
        ended.unwrap().unwrap();
    }

    /// Until a pod of the Job is as wanted.
    async fn waits(&self, request: &SmokeRequest, wanted: impl Fn(&Pod) -> bool) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.set.namespace);
        let selected = self.of(request);
        let seen = tokio::time::timeout(DEADLINE, async {
            while !pods.list(&selected).await.unwrap().items.iter().any(&wanted) {
                tokio::time::sleep(PACE).await;
            }
        });
        assert!(seen.await.is_ok(), "{:?}", pods.list(&selected).await.unwrap().items);
    }

    /// The one pod of its Job.
    async fn pod(&self, request: &SmokeRequest) -> Pod {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.set.namespace);
        let found = pods.list(&self.of(request)).await.unwrap();
        assert_eq!(found.items.len(), 1);
        found.items.into_iter().next().unwrap()
    }

    async fn logs(&self, request: &SmokeRequest) -> String {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.set.namespace);
        let name = self.pod(request).await.metadata.name.unwrap();
        pods.logs(&name, &LogParams::default()).await.unwrap()
    }

    fn of(&self, request: &SmokeRequest) -> ListParams {
        ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", self.name(request)))
    }
}

async fn assert_ready(client: &Client) {
    let node = Api::<Node>::all(client.clone()).get(NODE).await.unwrap();
    let conditions = node.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True"), "{conditions:?}");
}

fn terminated(pod: &Pod) -> (i32, Option<String>) {
    let statuses = pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap();
    let ended = statuses[0].state.as_ref().unwrap().terminated.as_ref().unwrap();
    (ended.exit_code, ended.reason.clone())
}

fn waiting(pod: &Pod) -> Option<&str> {
    pod.status
        .as_ref()?
        .container_statuses
        .as_ref()?
        .first()?
        .state
        .as_ref()?
        .waiting
        .as_ref()?
        .reason
        .as_deref()
}

/// Where a cluster would leave something.
struct Traces {
    folder: PathBuf,
    cgroup: String,
    bridge: PathBuf,
}

impl Traces {
    fn of(cluster: &NodeCluster) -> Self {
        let slot = fs::read_to_string(cluster.folder().join("slot")).unwrap();
        let slot = slot.trim();
        Self {
            folder: cluster.folder().to_owned(),
            cgroup: format!("/tidegate-{slot}/"),
            bridge: format!("/sys/class/net/tidegate{slot}").into(),
        }
    }

    /// The command lines of all processes in its cgroup.
    fn processes(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let cgroups = fs::read_to_string(path.join("cgroup")).ok()?;
            let command = fs::read_to_string(path.join("cmdline")).ok()?;
            cgroups.contains(&self.cgroup).then(|| command.replace('\0', " "))
        });
        processes.collect()
    }

    fn mounts(&self) -> Vec<String> {
        let folder = self.folder.to_str().unwrap();
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        mounts.lines().filter(|line| line.contains(folder)).map(str::to_owned).collect()
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
        roots.extend(fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path()));
        let cgroups = roots.into_iter().map(|root| root.join(self.cgroup.trim_matches('/')));
        cgroups.filter(|path| path.exists()).collect()
    }

    fn assert_none(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        assert_eq!(self.mounts(), Vec::<String>::new());
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new());
        assert!(!self.bridge.exists());
        assert!(!self.folder.exists());
    }
}

/// Past the capture of the test runner: how long it took is worth seeing.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{SUITE}: {line}");
}
