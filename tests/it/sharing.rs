//! Many sets over one repository cost it what one set costs it (ADR 3), in virtual time on the embedded registry.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tidegate::api::{manifest, validate};
use tidegate::controller::look::Eyes;
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::{Operation, Options, RegistryServer};
use tidegate::engine::observation::Observation;
use tidegate::engine::policy::Policy;
use tidegate::registry::{Access, Client, Depth};
use tidegate::telemetry::clock::Clock;

const SPAN: Duration = Duration::from_mins(5);

struct World {
    clock: Clock,
    registry: RegistryServer,
    client: Client,
    policy: Policy,
    access: BTreeMap<tidegate::model::ImageName, Access>,
}

impl World {
    /// `app` and `worker`, listed every minute; `app:main-1` is there.
    async fn new() -> Self {
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        let registry = RegistryServer::start(Options::default(), clock.clone()).await.unwrap();
        let host = registry.host();
        let text = format!(
            "apiVersion: tidegate.dev/v1alpha1
kind: ReleaseSet
metadata: {{name: acme}}
spec:
  interval: 1m
  images:
  - {{name: app, repository: \"{host}/acme/app\"}}
  - {{name: worker, repository: \"{host}/acme/worker\"}}
  registry: {{insecure: true}}
  candidates: {{policy: {{alphabetical: {{}}}}}}
"
        );
        let policy = validate::policy(&manifest::read(&text).unwrap()[0].spec, 1).unwrap();
        let insecure = Access { insecure: true, ..Access::default() };
        let access = policy.images.iter().map(|image| (image.name.clone(), insecure.clone())).collect();
        let world = Self { client: Client::new(clock.clone()), clock, registry, policy, access };
        world.push("acme/app");
        world
    }

    fn push(&self, repository: &str) {
        let platform = ImagePlatform::parse("linux/amd64").unwrap();
        let image = ImageDescription::new(platform, repository).build();
        self.registry.push_index(repository, Some("main-1"), &Index::build(vec![image], &BTreeMap::new()));
    }

    /// One set, from `begins_after` on: looks when it is due and commits what passes. When it did so first.
    async fn set(&self, begins_after: Duration) -> Option<Timestamp> {
        tokio::time::sleep(begins_after).await;
        let mut observation = Observation::default();
        let mut committed = None;
        let eyes = Eyes {
            registry: &self.client,
            access: &self.access,
            depth: Depth::Configs,
            clock: &self.clock,
            line: None,
        };
        while self.clock.now() < Self::end() {
            let mut decision = eyes.decide(&self.policy, &mut observation).await;
            let now = self.clock.now();
            if let Some(granted) = decision.commit.take() {
                let (promoted, floor) = granted.into_promoted(now);
                observation.memory.note_commit(&promoted, now);
                (observation.record.promoted, observation.record.floor) = (Some(promoted), Some(floor));
                committed = committed.or(Some(now));
                continue;
            }
            observation.record.candidates =
                decision.followed.iter().map(|candidate| candidate.record.clone()).collect();
            let next = decision.next_look.unwrap_or(Self::end()).min(Self::end());
            tokio::time::sleep(Duration::try_from(next.duration_since(now)).unwrap_or_default()).await;
        }
        committed
    }

    fn end() -> Timestamp {
        "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::try_from(SPAN).unwrap()
    }

    /// Sets that begin at random within `phases`, the first at once.
    async fn sets(&self, count: u64, phases: Duration) -> Vec<Option<Timestamp>> {
        let millis = u64::try_from(phases.as_millis()).unwrap();
        let phase = |number: u64| number.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) % millis;
        futures::future::join_all((0..count).map(|number| self.set(Duration::from_millis(phase(number)))))
            .await
    }

    fn requests(&self, repository: &str, operation: Operation) -> usize {
        self.registry.count(|record| {
            record.info.repository.as_deref() == Some(repository) && record.info.operation == operation
        })
    }
}

#[tokio::test(start_paused = true)]
async fn lists_of_many_sets_cost_what_one_sets_lists_cost() {
    let mut cost = Vec::new();
    for count in [1, 25] {
        let world = World::new().await;
        world.push("acme/worker");
        let commits = world.sets(count, Duration::from_mins(1)).await;
        assert!(commits.iter().all(Option::is_some), "every set promotes: {commits:?}");
        cost.push(["acme/app", "acme/worker"].map(|repository| world.requests(repository, Operation::Tags)));
    }
    let [one, many] = [cost[0], cost[1]];
    assert!((5..=6).contains(&one[0]), "one a minute: {one:?}");
    for (one, many) in one.into_iter().zip(many) {
        assert!(one.abs_diff(many) <= 1, "one set {one}, 25 sets {many}");
    }
}

#[tokio::test(start_paused = true)]
async fn hot_looks_of_many_sets_cost_what_one_sets_looks_cost() {
    let mut cost = Vec::new();
    for count in [1, 25] {
        let world = World::new().await;
        world.sets(count, Duration::from_secs(10)).await;
        cost.push(world.requests("acme/worker", Operation::Manifest));
    }
    let [one, many] = [cost[0], cost[1]];
    assert!((40..=60).contains(&one), "every 3 s, then a twentieth of the age: {one}");
    // The set that began last goes slower last, by the ten seconds that it is younger.
    assert!(many <= one + 5, "one set {one}, 25 sets {many}");
}

#[tokio::test(start_paused = true)]
async fn sharing_delays_nobody_by_more_than_the_pace() {
    let world = World::new().await;
    let push = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        world.push("acme/worker");
        world.clock.now()
    };
    let (commits, pushed_at) = futures::join!(world.sets(25, Duration::from_mins(1)), push);
    for committed in commits {
        let took = committed.expect("every set promotes").duration_since(pushed_at);
        // Goal G1: 4 s and a twentieth of the age.
        assert!(took <= SignedDuration::from_secs(9), "{took:#}");
    }
}
