use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tidegate::embedded::api::{ApiFault, ApiServer, Verb};
use tidegate::engine::clearance::Committed;
use tidegate::model::{Promoted, Release, ReleaseImage, SetName, TargetKind, TargetName, TargetState};
use tidegate::targets::{LiveSet, Owner, Reports, SetState, Stopped, Targets};
use tidegate::telemetry::kube_call::CallError;

use super::{client, clock, digest};

fn set() -> SetName {
    SetName { namespace: "acme".into(), name: "acme".into(), uid: "uid-1".into() }
}

/// The live set, as a test wants it to be.
struct Live(Option<SetState>);

impl LiveSet for Live {
    fn read(&self) -> BoxFuture<'_, Result<Option<SetState>, CallError>> {
        let state = self.0.clone();
        Box::pin(async move { Ok(state) })
    }
}

fn live(sequence: i64) -> Live {
    Live(Some(SetState {
        uid: "uid-1".into(),
        generation: 1,
        deleting: false,
        suspended: false,
        sequence: Some(sequence),
    }))
}

fn committed(tag: &str, sequence: i64) -> Committed {
    let app = ReleaseImage {
        name: "app".parse().unwrap(),
        repository: "ghcr.io/acme/app".parse().unwrap(),
        tag: tag.parse().unwrap(),
        digest: digest("aa"),
        platforms: Vec::new(),
    };
    Committed::read_back(Promoted {
        release: Release { tag: tag.parse().unwrap(), images: vec![app], revision: None },
        sequence,
        at: "2026-11-21T10:00:00Z".parse().unwrap(),
        generation: 1,
    })
}

fn targets() -> Vec<(TargetName, TargetKind)> {
    vec![
        (
            "config".parse().unwrap(),
            TargetKind::ConfigMap { name: "acme-release".into(), keys: std::collections::BTreeMap::new() },
        ),
        (
            "flux".parse().unwrap(),
            TargetKind::ImagePolicy {
                name: "acme".into(),
                image_repository: "app".into(),
                image_update_automation: None,
                rolled_out_by: Vec::new(),
            },
        ),
    ]
}

struct World {
    server: ApiServer,
    targets: Targets,
}

impl World {
    fn new() -> Self {
        let server = ApiServer::new(clock());
        let targets = Targets::new(client(&server));
        Self { server, targets }
    }

    async fn sync(&self, tag: &str, sequence: i64) -> Reports {
        let committed = committed(tag, sequence);
        let (set, live) = (set(), live(sequence));
        let owner = Owner { set: &set, generation: 1, live: &live };
        self.targets.sync(&owner, &targets(), Some(&committed), None).await.unwrap()
    }

    async fn sync_with(&self, live: Live) -> Result<Reports, Stopped> {
        let set = set();
        let owner = Owner { set: &set, generation: 1, live: &live };
        self.targets.sync(&owner, &targets(), Some(&committed("v1", 1)), None).await
    }

    fn config_map(&self) -> Option<Arc<Value>> {
        self.server.object("", "configmaps", "acme", "acme-release")
    }

    /// Writes that changed something.
    fn written(&self) -> usize {
        self.server.writes().iter().filter(|write| write.revision.is_some()).count()
    }

    /// The first `count` requests of this verb on ConfigMaps meet `fault`.
    fn fail(&self, verb: Verb, count: usize, fault: ApiFault) {
        let left = AtomicUsize::new(count);
        self.server.set_fault(Some(Arc::new(move |request| {
            let meets = request.verb == verb
                && request.plural == "configmaps"
                && left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok();
            meets.then(|| fault.clone())
        })));
    }
}

fn report<'a>(reports: &'a Reports, name: &str) -> (TargetState, &'a str) {
    let (state, message) = &reports[&name.parse::<TargetName>().unwrap()];
    (*state, message)
}

fn refuse(code: u16, reason: &str, message: &str) -> ApiFault {
    ApiFault::Refuse { code, reason: reason.into(), message: message.into() }
}

#[tokio::test(start_paused = true)]
async fn targets_follow_and_rest() {
    let world = World::new();
    let (set, live) = (set(), live(1));
    let owner = Owner { set: &set, generation: 1, live: &live };
    let none = world.targets.sync(&owner, &targets(), None, None).await.unwrap();
    assert!(none.values().all(|(state, _)| *state == TargetState::Pending));
    assert_eq!(world.server.requests().len(), 0);

    let first = world.sync("v1", 1).await;
    for name in ["config", "flux"] {
        assert_eq!(report(&first, name), (TargetState::Applied, "carries v1 (sequence 1)"));
    }
    assert_eq!(world.written(), 2);
    assert_eq!(world.sync("v1", 1).await, first);
    assert_eq!(world.server.writes().len(), 2, "at rest nothing is written");

    world.sync("v2", 2).await;
    assert_eq!(world.written(), 4);
    assert_eq!(world.config_map().unwrap()["data"]["RELEASE_TAG"], "v2");
    let policy = world.server.object("image.toolkit.fluxcd.io", "imagepolicies", "acme", "acme").unwrap();
    assert_eq!(policy["spec"]["filterTags"]["pattern"], "^v2$");

    // An older leader that still acts for sequence 1 does not move it back.
    let stale = world.sync("v1", 1).await;
    assert_eq!(report(&stale, "config").0, TargetState::Ahead);
    assert_eq!(world.server.writes().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_not_ours_is_left() {
    let world = World::new();
    let foreign =
        json!({"metadata": {"name": "acme-release", "namespace": "acme"}, "data": {"theirs": "yes"}});
    let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::namespaced(client(&world.server), "acme");
    let foreign = serde_json::from_value(foreign).unwrap();
    maps.create(&kube::api::PostParams::default(), &foreign).await.unwrap();
    let before = world.config_map();
    let reports = world.sync("v1", 1).await;
    let (state, message) = report(&reports, "config");
    assert_eq!(state, TargetState::Taken);
    assert!(message.contains("to hand it over delete it"), "{message}");
    assert_eq!(report(&reports, "flux").0, TargetState::Applied, "the other target is not held up");
    assert_eq!(world.config_map(), before);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_not_the_one_stops_all_writes() {
    let state = || live(1).0.unwrap();
    let world = World::new();
    let held = world.sync_with(Live(Some(SetState { suspended: true, ..state() }))).await.unwrap();
    assert!(held.values().all(|(state, _)| *state == TargetState::Held));
    let stops = [
        (None, Stopped::Deleting),
        (Some(SetState { deleting: true, ..state() }), Stopped::Deleting),
        (Some(SetState { generation: 2, ..state() }), Stopped::Edited),
        (Some(SetState { uid: "uid-2".into(), ..state() }), Stopped::Replaced),
        (Some(SetState { sequence: Some(2), ..state() }), Stopped::Moved { ours: 1, live: Some(2) }),
        (Some(SetState { sequence: None, ..state() }), Stopped::Moved { ours: 1, live: None }),
    ];
    for (live, stopped) in stops {
        assert_eq!(world.sync_with(Live(live)).await, Err(stopped));
    }
    assert_eq!(world.server.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_judged_anew_once() {
    let world = World::new();
    world.sync("v1", 1).await;
    let conflict = || refuse(409, "Conflict", "the object has been modified");
    world.fail(Verb::Update, 1, conflict());
    assert_eq!(report(&world.sync("v2", 2).await, "config").0, TargetState::Applied);
    world.fail(Verb::Update, 2, conflict());
    let lost = world.sync("v3", 3).await;
    let (state, message) = report(&lost, "config");
    assert_eq!((state, message.contains("changed between read and write")), (TargetState::Failed, true));
    assert_eq!(world.config_map().unwrap()["data"]["RELEASE_TAG"], "v2");
    world.server.clear_log();
    assert_eq!(report(&world.sync("v3", 3).await, "config").0, TargetState::Applied);
    assert_eq!(world.server.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_read_before_anything_is_written_again() {
    let world = World::new();
    world.fail(Verb::Create, 1, ApiFault::LoseReply);
    let lost = world.sync("v1", 1).await;
    let (state, message) = report(&lost, "config");
    assert_eq!(state, TargetState::Failed);
    assert!(message.starts_with("ConfigMap/acme-release could not be written: "), "{message}");
    assert!(world.config_map().is_some(), "it was done all the same");
    world.server.clear_log();
    assert_eq!(report(&world.sync("v1", 1).await, "config").0, TargetState::Applied);
    assert_eq!(world.server.writes().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_and_says_so() {
    let world = World::new();
    world.fail(Verb::Get, 1, ApiFault::Delay(Duration::from_hours(1)));
    let started = tokio::time::Instant::now();
    let reports = world.sync("v1", 1).await;
    assert_eq!(
        report(&reports, "config"),
        (
            TargetState::Failed,
            "ConfigMap/acme-release could not be read: the API server did not answer within 10 s; it is asked again \
             at the next look"
        )
    );
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    assert_eq!(report(&reports, "flux").0, TargetState::Applied);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_stay_is_not_called_applied() {
    let world = World::new();
    // The read back shows nothing: somebody deleted it at once.
    let reads = AtomicUsize::new(0);
    world.server.set_fault(Some(Arc::new(move |request| {
        let is_read = request.verb == Verb::Get && request.plural == "configmaps";
        (is_read && reads.fetch_add(1, Ordering::Relaxed) == 1)
            .then(|| refuse(404, "NotFound", "configmaps \"acme-release\" not found"))
    })));
    let reports = world.sync("v1", 1).await;
    assert_eq!(
        report(&reports, "config"),
        (TargetState::Failed, "ConfigMap/acme-release was gone again right after it was written")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named() {
    let world = World::new();
    assert!(world.server.unregister_crd("image.toolkit.fluxcd.io", "imagepolicies"));
    let forbidden = "configmaps is forbidden: User \"system:serviceaccount:tg:tidegate\" cannot create resource \
                     \"configmaps\" in API group \"\" in the namespace \"acme\"";
    world.fail(Verb::Create, 1, refuse(403, "Forbidden", forbidden));
    let reports = world.sync("v1", 1).await;
    assert_eq!(
        report(&reports, "flux"),
        (TargetState::Failed, "the ImagePolicy kind is not installed: install Flux 2.7 or later")
    );
    let (state, message) = report(&reports, "config");
    assert_eq!(state, TargetState::Failed);
    assert!(message.ends_with("resources [\"configmaps\"], verbs [\"create\"] to its Role"), "{message}");
}
