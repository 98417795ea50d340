//! Leader election: built controllers on a real API server that are stopped, killed and paused, and one reconcile that loses the
//! lease half-way, in virtual time.

use std::process::{Child, Command};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tidegate::controller::leader::Election;
use tidegate::controller::startup::{StartError, check_lease};
use tidegate::telemetry::clock::Clock;
use tidegate::telemetry::metrics::Metrics;
use tokio::time::Instant;

use super::real::Real;
use super::two::World;
use crate::cluster::control_plane::{ControlPlane, client};
use crate::cluster::server::free_port;

const SUITE: &str = "controller";
/// Longest wait for anything here: a crash (20 s, G9) and a promotion after it.
const DEADLINE: Duration = Duration::from_secs(40);
/// Between two looks at what is waited for: a twentieth of the shortest span that is measured.
const PACE: Duration = Duration::from_millis(50);

/// One controller process, killed when the test ends.
struct Replica {
    child: Child,
    port: u16,
}

impl Replica {
    /// Starts one that watches the namespace of `real`, and waits until it is ready.
    async fn start(real: &Real, options: &[&str]) -> Self {
        let port = free_port();
        let mut arguments = real.arguments();
        arguments.retain(|argument| !argument.starts_with("--http-addr"));
        arguments.push(format!("--http-addr=127.0.0.1:{port}"));
        arguments.push(format!("--leader-election-namespace={}", real.namespace));
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let replica = Self { child: Command::new("/usr/bin/env").args(&arguments).spawn().unwrap(), port };
        let ready = format!("http://127.0.0.1:{port}/readyz");
        eventually("ready", async || {
            reqwest::get(&ready).await.is_ok_and(|reply| reply.status().is_success())
        })
        .await;
        replica
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    async fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    async fn leads(&self) -> bool {
        self.metrics().await.lines().any(|line| line == "tidegate_leader 1")
    }

    /// Sum of a counter over its labels, those of the lease left out.
    async fn sum(&self, counter: &str) -> u64 {
        let text = self.metrics().await;
        let lines =
            text.lines().filter(|line| line.starts_with(counter) && !line.contains(r#"kind="lease""#));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Writes to the API server beside the lease.
    async fn writes(&self) -> u64 {
        self.sum("tidegate_api_writes_total{").await
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `holds`, and says how long it took.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let began = Instant::now();
    let waited = tokio::time::timeout(DEADLINE, async {
        while !holds().await {
            tokio::time::sleep(PACE).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not within {} s", DEADLINE.as_secs());
    began.elapsed()
}

async fn lease(real: &Real) -> Lease {
    let leases: Api<Lease> = Api::namespaced(real.client.clone(), &real.namespace);
    leases.list(&kube::api::ListParams::default()).await.unwrap().items.remove(0)
}

/// A set, and two replicas that elect: first the leader, then the one that stands by. main-1 is promoted.
async fn two(real: &Real) -> (Replica, Replica) {
    real.push_both("main-1").await;
    let first = Replica::start(real, &["--leader-elect"]).await;
    eventually("the first leads", async || first.leads().await).await;
    let second = Replica::start(real, &["--leader-elect"]).await;
    real.create("acme", real.spec("acme-release")).await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1 is promoted (sequence 1)").await;
    (first, second)
}

async fn promotes(real: &Real, tag: &str, sequence: i64) {
    real.push_both(tag).await;
    real.ask("acme").await;
    let words = format!("{tag} is promoted (sequence {sequence})");
    real.wait_for("acme", "Ready", "True/Succeeded", &words).await;
    real.wait_for_target("acme-release", tag).await;
}

#[tokio::test]
async fn one_of_two_acts_and_a_stop_hands_over_within_2_s() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let (mut first, second) = two(&real).await;
    assert!(first.leads().await && !second.leads().await);
    assert_eq!(second.sum("tidegate_registry_requests_total{").await, 0, "a standby asks no registry");
    // At rest: five renewals, and nothing else is written by anybody (L5).
    let set = async || real.sets().get("acme").await.unwrap().metadata.resource_version;
    let renewed = async || lease(&real).await.metadata.resource_version;
    let before = (set().await, first.writes().await);
    for _ in 0..5 {
        let last = renewed().await;
        eventually("a renewal", async || renewed().await != last).await;
    }
    assert_eq!((set().await, first.writes().await, second.writes().await), (before.0, before.1, 0));
    first.signal("-TERM");
    let took = eventually("the second leads", async || second.leads().await).await;
    println!("graceful hand-over: {} ms", took.as_millis());
    assert!(took <= Duration::from_secs(2), "G9: {took:?}");
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
    let spec = lease(&real).await.spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(1));
    promotes(&real, "main-2", 2).await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_look_hands_over_too() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let (first, second) = two(&real).await;
    // A registry that takes connections and says nothing: a look at it takes longer than a hand-over may.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut spec = real.spec("silent-release");
    spec["images"][0]["repository"] = json!(format!("{}/acme/app", silent.local_addr().unwrap()));
    real.create("silent", spec).await;
    let asked = tokio::time::timeout(DEADLINE, silent.accept()).await.expect("it is asked").unwrap();
    first.signal("-TERM");
    let took = eventually("the second leads", async || second.leads().await).await;
    println!("graceful hand-over in a look: {} ms", took.as_millis());
    assert!(took <= Duration::from_secs(2), "G9: {took:?}");
    promotes(&real, "main-2", 2).await;
    drop(asked);
}

/// Each of the three rights is missed at the start, and not a renewal later.
#[tokio::test]
async fn a_lease_that_may_not_be_held_is_told_at_the_start() {
    let Some(plane) = ControlPlane::shared(SUITE).await else { return };
    let admin = plane.client().await;
    let namespace = plane.namespace(&admin, "lease").await;
    let client = client(&plane.kubeconfig_of(&namespace, "electors")).await;
    let election = || {
        let (clock, metrics) = (Clock::system(), Metrics::default());
        Election::new(client.clone(), &namespace, "tidegate".into(), "me".into(), clock, metrics)
    };
    let binding = json!({
        "metadata": {"name": "lease"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": namespace}],
    });
    let roles: Api<Role> = Api::namespaced(admin.clone(), &namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &namespace);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(admin, &namespace);
    let verbs = ["get", "create", "update"];
    for held in 0..=verbs.len() {
        let role = json!({"metadata": {"name": "lease"}, "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": &verbs[..held]},
        ]});
        // A rule without verbs is refused.
        if held == 1 {
            roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        } else if held > 1 {
            roles
                .replace("lease", &PostParams::default(), &serde_json::from_value(role).unwrap())
                .await
                .unwrap();
        }
        let wanted = verbs.get(held).map(|verb| format!("resources [\"leases\"], verbs [\"{verb}\"]"));
        eventually("the next right is missed", async || {
            match (check_lease(&election(), &namespace).await, &wanted) {
                (Ok(()), None) => true,
                (Err(StartError::Lease { namespace: of, source }), Some(wanted)) => {
                    of == namespace && source.to_string().contains(wanted)
                }
                _ => false,
            }
        })
        .await;
        assert!(leases.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty(), "a dry-run");
    }
    // One that is there is no hindrance, whoever holds it.
    for _ in 0..2 {
        let elected = election();
        check_lease(&elected, &namespace).await.unwrap();
        let leadership = elected.leadership();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let electing = tokio::spawn(elected.run(async {
            let _ = stopped.await;
        }));
        eventually("leads", async || leadership.is_held()).await;
        drop(stop);
        electing.await.unwrap();
        let spec = leases.get("tidegate").await.unwrap().spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some(""), "given back");
    }
}

#[tokio::test]
async fn a_killed_leader_is_replaced_within_20_s() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let (first, second) = two(&real).await;
    first.signal("-KILL");
    let took = eventually("the second leads", async || second.leads().await).await;
    println!("after a crash: {} ms", took.as_millis());
    assert!(took <= Duration::from_secs(20), "G9: {took:?}");
    assert!(took >= Duration::from_secs(13), "not before what the first began in time is over: {took:?}");
    promotes(&real, "main-2", 2).await;
}

#[tokio::test]
async fn a_leader_that_was_paused_over_its_lease_writes_nothing() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let (first, second) = two(&real).await;
    let before = first.writes().await;
    // It wakes up with a release that it has not seen, and one that it could promote.
    first.signal("-STOP");
    eventually("the second leads", async || second.leads().await).await;
    promotes(&real, "main-2", 2).await;
    first.signal("-CONT");
    let conflict = r#"tidegate_api_writes_total{kind="lease",outcome="conflict"} 1"#;
    eventually("its renewal is refused", async || first.metrics().await.lines().any(|line| line == conflict))
        .await;
    promotes(&real, "main-3", 3).await;
    assert!(!first.leads().await && second.leads().await);
    assert_eq!(first.writes().await, before, "it wrote something");
    let text = first.metrics().await;
    assert!(!text.contains("tidegate_promoted_sequence{"), "it reports a set that is another's: {text}");
    let history = real.status("acme").await.history;
    let sequences: Vec<i64> = history.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [3, 2, 1], "one commit for each sequence");
}

#[tokio::test]
async fn shards_work_beside_each_other_on_their_own_sets() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    real.push_both("main-1").await;
    let shards = [
        Replica::start(&real, &["--leader-elect", "--watch-label-selector=shard=a"]).await,
        Replica::start(&real, &["--leader-elect", "--watch-label-selector=shard in (b)"]).await,
    ];
    for name in ["a", "b", "none"] {
        real.create(name, real.spec(&format!("{name}-release"))).await;
    }
    for name in ["a", "b"] {
        real.patch(name, json!({"metadata": {"labels": {"shard": name}}})).await;
    }
    for (name, shard) in ["a", "b"].into_iter().zip(&shards) {
        real.wait_for(name, "Ready", "True/Succeeded", "main-1 is promoted (sequence 1)").await;
        assert!(shard.leads().await);
        let text = shard.metrics().await;
        let sets: Vec<&str> =
            text.lines().filter(|line| line.starts_with("tidegate_promoted_sequence{")).collect();
        assert!(sets.len() == 1 && sets[0].contains(&format!(r#"name="{name}""#)), "{sets:?}");
    }
    assert_eq!(real.status("none").await.observed_generation, -1, "nobody's");
}

#[tokio::test]
async fn a_selector_that_cannot_be_read_ends_the_start_with_words() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let mut arguments = real.arguments();
    arguments.push("--watch-label-selector=shard in a".to_owned());
    let output = Command::new("/usr/bin/env").args(&arguments).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.contains("the label selector cannot be read") && talk.contains("shard=a"), "{talk}");
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_that_loses_the_lease_half_way_is_refused_with_words() {
    let world = World::embedded();
    let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
    let election = Election::new(
        world.client.clone(),
        &world.namespace,
        "tidegate".into(),
        "first".into(),
        clock,
        Metrics::default(),
    );
    let mut leader = world.leader("first");
    leader.context = leader.context.led_by(election.leadership());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let electing = tokio::spawn(election.run(async {
        let _ = stopped.await;
    }));
    let leadership = leader.context.leadership.clone();
    eventually("leads", async || leadership.is_held()).await;
    world.create("acme", World::spec()).await;
    leader.release(&world, "acme", "main-1").await;
    assert_eq!(world.carried("acme-release").await.as_deref(), Some("main-1"));
    for image in ["acme/app", "acme/worker"] {
        world.registry.push(image, "main-2");
    }
    world.ask("acme", "main-2").await;
    let written = |world: &World| {
        let written = world.written();
        written.into_iter().filter(|line| !line.contains("leases")).collect::<Vec<_>>()
    };
    let before = written(&world);
    let paused = leader.pause(http::Method::GET, "/releasesets/acme");
    let outcome = paused.between(leader.reconcile(&world, "acme"), async {
        drop(stop);
        electing.await.unwrap();
    });
    let refused = outcome.await.unwrap_err().to_string();
    assert!(refused.contains("failed to write the status: nothing was sent"), "{refused}");
    assert!(refused.contains("does not hold the lease"), "{refused}");
    assert_eq!(written(&world), before);
    let leases: Api<Lease> = world.api();
    let spec = leases.get("tidegate").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some(""), "given back");
}
