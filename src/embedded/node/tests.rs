use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use kube::{
    api::ListParams,
    runtime::{Controller, controller::Action},
};

use super::*;
use crate::embedded::{
    api::Verb,
    image::{ImageDescription, ImagePlatform},
    registry::{Options, RegistryServer},
};

/// A server, its clock, and what images are there.
struct World {
    server: ApiServer,
    clock: Clock,
    images: Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        Self { server: ApiServer::new(clock.clone()), clock, images: Arc::default() }
    }

    fn image(&self, reference: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.images.lock().unwrap().insert(reference.to_owned(), labels);
    }

    fn node(&self) -> Node {
        let images = Arc::clone(&self.images);
        let resolver: Resolver = Arc::new(move |reference| images.lock().unwrap().get(reference).cloned());
        Node::new(&self.server, resolver, NodeOptions::default(), self.clock.clone())
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.server.client("test", "default"), "default")
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.server.client("test", "default"), "default")
    }

    async fn start(&self, name: &str, spec: Value, pod: Value) {
        let mut pod_spec =
            json!({"restartPolicy": "Never", "containers": [{"name": "smoke", "image": name}]});
        pod_spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        let mut job_spec = json!({"backoffLimit": 0, "template": {"spec": pod_spec}});
        job_spec.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let job = json!({"metadata": {"name": name}, "spec": job_spec});
        self.jobs().create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
    }

    /// Runs the node for some virtual seconds.
    async fn run_for(&self, node: &Node, secs: u64) {
        let _ = tokio::time::timeout(Duration::from_secs(secs), node.run()).await;
    }

    async fn job_status(&self, name: &str) -> Value {
        serde_json::to_value(self.jobs().get(name).await.unwrap().status).unwrap()
    }

    async fn pod_statuses(&self) -> Vec<Value> {
        let pods = self.pods().list(&ListParams::default()).await.unwrap().items;
        pods.into_iter().map(|pod| serde_json::to_value(pod.status).unwrap()).collect()
    }
}

fn conditions(status: &Value) -> Vec<String> {
    let list = status["conditions"].as_array().unwrap();
    list.iter()
        .map(|condition| {
            format!("{}={}", condition["type"].as_str().unwrap(), condition["status"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_passes_completes_its_job() {
    let world = World::new();
    world.image("good", &[(RUN_FOR_LABEL, "20"), (LOG_LABEL, "all fine\n")]);
    world.start("good", json!({}), json!({})).await;
    let node = world.node();
    world.run_for(&node, 10).await;
    let pods = world
        .pods()
        .list(&ListParams::default().labels("batch.kubernetes.io/job-name=good,job-name=good"))
        .await
        .unwrap();
    let pod = &pods.items[0];
    let owner = &pod.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller, Some(&owner.uid)),
        ("Job", Some(true), world.jobs().get("good").await.unwrap().uid().as_ref())
    );
    assert_eq!(world.pod_statuses().await[0]["phase"], "Running");
    assert_eq!(world.job_status("good").await["active"], 1);
    // Another run starts anew with what it finds.
    drop(node);
    world.run_for(&world.node(), 30).await;
    let status = world.job_status("good").await;
    assert_eq!(
        (&status["succeeded"], conditions(&status)),
        (&json!(1), vec!["SuccessCriteriaMet=True".to_owned(), "Complete=True".to_owned()])
    );
    assert!(
        status["startTime"].is_string() && status["completionTime"].is_string() && status["active"].is_null()
    );
    let ended = world.pod_statuses().await.into_iter().find(|pod| pod["phase"] == "Succeeded").unwrap();
    assert_eq!(ended["containerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    assert_eq!(
        world.pods().logs(&pod.name_any(), &kube::api::LogParams::default()).await.unwrap(),
        "all fine\n"
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_that_fails_uses_its_attempts_up() {
    let world = World::new();
    world.image("bad", &[(RUN_FOR_LABEL, "2"), (EXIT_CODE_LABEL, "3")]);
    world.start("bad", json!({"backoffLimit": 1, "ttlSecondsAfterFinished": 100}), json!({})).await;
    let node = world.node();
    let run = node.run();
    let looks = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let status = world.job_status("bad").await;
        let wanted = vec!["FailureTarget=True".to_owned(), "Failed=True".to_owned()];
        assert_eq!((&status["failed"], conditions(&status)), (&json!(2), wanted));
        assert_eq!(status["conditions"][1]["reason"], "BackoffLimitExceeded");
        let pods = world.pod_statuses().await;
        assert_eq!(pods.len(), 2);
        for pod in pods {
            assert_eq!(
                (&pod["phase"], &pod["containerStatuses"][0]["state"]["terminated"]["exitCode"]),
                (&json!("Failed"), &json!(3))
            );
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(world.jobs().get_opt("bad").await.unwrap().is_none(), "finished Jobs go after their TTL");
        assert!(world.pod_statuses().await.is_empty());
    };
    tokio::select! { () = run => {}, () = looks => {} }
}

#[tokio::test(start_paused = true)]
async fn an_absent_image_waits_until_it_is_there() {
    let world = World::new();
    world.start("late", json!({}), json!({})).await;
    let node = world.node();
    let reason =
        async || world.pod_statuses().await[0]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    let looks = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(reason().await, "ErrImagePull");
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(reason().await, "ImagePullBackOff");
        world.image("late", &[]);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(conditions(&world.job_status("late").await)[1], "Complete=True");
    };
    tokio::select! { () = node.run() => {}, () = looks => {} }
}

#[tokio::test(start_paused = true)]
async fn deadlines_of_pod_and_job_end_what_hangs() {
    let world = World::new();
    for name in ["pod-deadline", "job-deadline", "elsewhere", "suspended"] {
        world.image(name, &[(RUN_FOR_LABEL, "1000")]);
    }
    world.start("pod-deadline", json!({}), json!({"activeDeadlineSeconds": 10})).await;
    world.start("job-deadline", json!({"activeDeadlineSeconds": 10}), json!({})).await;
    world.start("elsewhere", json!({}), json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}})).await;
    world.start("suspended", json!({"suspend": true}), json!({})).await;
    world.run_for(&world.node(), 60).await;
    let pods = world.pod_statuses().await;
    let overdue = pods.iter().find(|pod| pod["reason"] == "DeadlineExceeded").unwrap();
    let ended = &overdue["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&overdue["phase"], &ended["exitCode"]), (&json!("Failed"), &json!(137)));
    assert_eq!((&ended["reason"], &ended["startedAt"]), (&json!("Error"), &json!("2026-11-21T10:00:01Z")));
    assert_eq!(world.job_status("pod-deadline").await["conditions"][1]["reason"], "BackoffLimitExceeded");
    assert_eq!(world.job_status("job-deadline").await["conditions"][1]["reason"], "DeadlineExceeded");
    let unschedulable = pods.iter().find(|pod| pod["conditions"][0]["reason"] == "Unschedulable").unwrap();
    assert_eq!(unschedulable["phase"], "Pending");
    assert_eq!(pods.len(), 2, "the Job deadline deletes its pods, a suspended Job has none: {pods:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_image_came_shows_no_start() {
    let world = World::new();
    world.start("never-pulled", json!({}), json!({"activeDeadlineSeconds": 10})).await;
    world.run_for(&world.node(), 60).await;
    let pods = world.pod_statuses().await;
    let ended = &pods[0]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&pods[0]["reason"], &ended["reason"]),
        (&json!("DeadlineExceeded"), &json!("ContainerStatusUnknown"))
    );
    assert!(ended["startedAt"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_controller_over_jobs_runs_for_virtual_hours_in_no_time() {
    let world = World::new();
    world.image("good", &[(RUN_FOR_LABEL, "30")]);
    let owner = json!({"metadata": {"name": "set"}, "data": {}});
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(world.server.client("test", "default"), "default");
    let owner = maps.create(&PostParams::default(), &serde_json::from_value(owner).unwrap()).await.unwrap();
    let reconciles = Arc::new(AtomicUsize::new(0));
    let (jobs, counter) = (world.jobs(), Arc::clone(&reconciles));
    let reconcile = move |map: Arc<k8s_openapi::api::core::v1::ConfigMap>,
                          context: Arc<(Api<Job>, Api<_>)>| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            let (jobs, maps): &(Api<Job>, Api<k8s_openapi::api::core::v1::ConfigMap>) = &context;
            if let Some(job) = jobs.get_opt("good").await? {
                let succeeded = job.status.and_then(|status| status.succeeded).unwrap_or(0).to_string();
                let patch = Patch::Merge(json!({"data": {"succeeded": succeeded}}));
                maps.patch(&map.name_any(), &PatchParams::default(), &patch).await?;
            } else {
                let job = json!({"metadata": {"name": "good", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
                    "name": map.name_any(), "uid": map.uid(), "controller": true}]},
                    "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "good"}]}}}});
                jobs.create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await?;
            }
            Ok::<_, kube::Error>(Action::requeue(Duration::from_secs(10)))
        }
    };
    let context = Arc::new((world.jobs(), maps.clone()));
    let controller = Controller::new(maps.clone(), watcher::Config::default())
        .owns(jobs, watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(10)), context)
        .for_each(|_| async {});
    let node = world.node();
    #[expect(clippy::disallowed_methods, reason = "the real time is what this test measures")]
    let begun = std::time::Instant::now();
    let virtually = tokio::time::Instant::now();
    let story = async {
        tokio::time::sleep(Duration::from_mins(30)).await;
        world.server.close_watches();
        world.server.compact();
        tokio::time::sleep(Duration::from_mins(30)).await;
    };
    tokio::select! { () = controller => {}, () = node.run() => {}, () = story => {} }
    assert_eq!(virtually.elapsed().as_secs(), 3_600);
    assert_eq!(maps.get("set").await.unwrap().data.unwrap()["succeeded"], "1");
    assert!(reconciles.load(Ordering::Relaxed) >= 360, "{reconciles:?}");
    let by_controller = |verb| {
        world.server.count(|write| write.verb == verb && write.actor == "test" && write.revision.is_some())
    };
    assert_eq!(
        (by_controller(Verb::Patch), owner.name_any()),
        (2, "set".to_owned()),
        "0 while it runs, then 1"
    );
    // 0.2 s when it has a core for itself.
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_registry_tells_what_an_image_does() {
    let world = World::new();
    let registry = RegistryServer::start(Options::default(), world.clock.clone()).await.unwrap();
    let platform = ImagePlatform::parse("linux/amd64").unwrap();
    let image = ImageDescription::new(platform, "crashes on boot").label(EXIT_CODE_LABEL, "1").build();
    let digest = registry.push_image("acme/worker", Some("v1"), &image);
    let reference = format!("{}/acme/worker@{digest}", registry.host());
    let source = registry.clone();
    let resolver: Resolver = Arc::new(move |reference| {
        let config = source.image_config(reference, "linux/amd64")?;
        serde_json::from_value(config["config"]["Labels"].clone()).ok()
    });
    let node = Node::new(&world.server, resolver, NodeOptions::default(), world.clock.clone());
    let pod = json!({"containers": [{"name": "smoke", "image": reference}]});
    world.start("boots", json!({}), pod).await;
    world.run_for(&node, 10).await;
    assert_eq!(conditions(&world.job_status("boots").await)[1], "Failed=True");
    assert_eq!(world.pod_statuses().await[0]["containerStatuses"][0]["imageID"], reference);
}
