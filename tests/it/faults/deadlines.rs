//! Each kind of request that the controller makes: one that is never answered ends within its deadline, and no write is sent
//! again by the client, whatever is answered.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tidegate::telemetry::kube_call::CALL_LIMIT;
use tokio::time::Instant;

use super::gate::{Fate, Gate, Seen, sent_twice};
use super::witness::Witness;
use crate::cluster::server::Server;
use crate::cluster::tools::say_once;
use crate::controller::real::Real;

const SUITE: &str = "faults";
/// For all faults of a row to be over, one after the other, and a promotion after them.
const DEADLINE: Duration = Duration::from_secs(80);
const PACE: Duration = Duration::from_millis(100);
/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(3);

/// Requests that are not answered the first time, in one run each: those of a row do not wait for each other.
const ROWS: [&[&str]; 8] = [
    &["get releasesets"],
    &["get secrets", "create events"],
    // The commit, which is the first status write of a set that is complete when it is first seen.
    &["update releasesets/status"],
    &["create configmaps"],
    &["update configmaps"],
    &["get leases", "create leases", "update leases"],
    &["list releasesets", "list jobs", "list pods", "list configmaps"],
    &["watch releasesets", "watch jobs", "watch pods", "watch configmaps"],
];

/// Writes that are carried out and then said to have failed, and a read that is refused.
const LIES: [(&str, Fate); 7] = [
    ("get releasesets", Fate::Refused(429)),
    ("get configmaps", Fate::Refused(503)),
    ("update releasesets/status", Fate::Lied(504)),
    ("create configmaps", Fate::Lied(503)),
    ("update configmaps", Fate::Lied(504)),
    ("create events", Fate::Lied(504)),
    ("update leases", Fate::Lied(503)),
];

/// A controller that elects and uses a Secret, so that it makes every kind of request.
struct World {
    real: Real,
    gate: Gate,
    witness: Witness,
    _controller: Server,
}

// === impl World ===

impl World {
    async fn start(faults: &[(&'static str, Fate)]) -> Option<Self> {
        let mut real = Real::prepare(SUITE).await?;
        let gate = Gate::start(real.account().1).await;
        real.ask_through(gate.url());
        real.flags =
            ["--leader-elect".to_owned(), format!("--leader-election-namespace={}", real.namespace)].to_vec();
        let secret = json!({"metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": "{\"auths\": {}}"}});
        let secrets: Api<Secret> = Api::namespaced(real.client.clone(), &real.namespace);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
        let witness = Witness::start(&real.client, &real.namespace);
        let mut left: Vec<(&'static str, Fate)> = faults.to_vec();
        let mut is_lease_checked = false;
        gate.judge(move |asked| {
            // The start asks before it watches, and ends with an error that a kubelet reads: not what is tried here.
            let is_start = asked.path.contains("dryRun") || (asked.what == "get leases" && !is_lease_checked);
            is_lease_checked |= asked.what == "get leases";
            match left.iter().position(|(what, _)| *what == asked.what && !is_start) {
                Some(index) => left.remove(index).1,
                None => Fate::Pass,
            }
        });
        real.push_both("main-1").await;
        let mut spec = real.spec("acme-release");
        spec["registry"]["secretRef"] = json!({"name": "pull"});
        real.create("acme", spec).await;
        let controller = real.spawn();
        Some(Self { real, gate, witness, _controller: controller })
    }

    /// Two promotions, whatever is in their way, and then what is true of every run.
    async fn promote_twice(&self, faults: &[(&'static str, Fate)]) -> Vec<Seen> {
        for (sequence, tag) in [(1, "main-1"), (2, "main-2")] {
            if sequence > 1 {
                self.real.push_both(tag).await;
                self.real.ask("acme").await;
            }
            let waited = tokio::time::timeout(DEADLINE, async {
                loop {
                    let promoted = self.real.status("acme").await.promoted;
                    let target = self.real.config_maps().get_opt("acme-release").await.unwrap();
                    let carried = target.and_then(|map| map.data?.remove("RELEASE_TAG"));
                    let is_promoted = promoted.is_some_and(|promoted| promoted.sequence == sequence);
                    if is_promoted && carried.as_deref() == Some(tag) {
                        return;
                    }
                    tokio::time::sleep(PACE).await;
                }
            });
            assert!(waited.await.is_ok(), "{tag} was never promoted after {faults:?}");
        }
        let over = tokio::time::timeout(DEADLINE, async {
            while !faults.iter().all(|fault| is_over(&self.gate.seen(), fault)) {
                tokio::time::sleep(PACE).await;
            }
        });
        let ended = over.await;
        let seen = self.gate.seen();
        let open: Vec<_> = faults.iter().filter(|fault| !is_over(&seen, fault)).collect();
        assert!(ended.is_ok(), "never asked, or never ended: {open:?}");
        assert_eq!(sent_twice(&seen), Vec::<String>::new(), "{faults:?}");
        assert_eq!(self.witness.broken().await, Vec::<String>::new(), "{faults:?}");
        self.audited();
        seen
    }

    /// What the API server carried out: a target was made once and changed once.
    fn audited(&self) {
        let (_, plane) = self.real.account();
        let writes = plane.writes(&self.real.namespace);
        let of_target = writes.iter().filter(|write| write.name == "acme-release");
        let verbs: Vec<&str> = of_target.map(|write| write.verb.as_str()).collect();
        assert_eq!(verbs, ["create", "update"]);
    }
}

fn is_over(seen: &[Seen], (what, fate): &(&str, Fate)) -> bool {
    let mut hit = seen.iter().filter(|seen| seen.asked.what == *what && seen.fate == *fate);
    hit.any(|seen| !matches!(fate, Fate::Unanswered) || seen.let_go_after.is_some())
}

async fn unanswered(row: &'static [&'static str]) -> usize {
    let faults: Vec<(&str, Fate)> = row.iter().map(|what| (*what, Fate::Unanswered)).collect();
    let Some(world) = World::start(&faults).await else { return 0 };
    let seen = world.promote_twice(&faults).await;
    for seen in seen.iter().filter(|seen| seen.fate == Fate::Unanswered) {
        let after = seen.let_go_after.unwrap();
        assert!(after <= CALL_LIMIT + SLACK, "{} was let go after {after:?}", seen.asked.what);
    }
    faults.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_an_answer_ends_within_its_deadline() {
    let began = Instant::now();
    let done: usize = futures::future::join_all(ROWS.map(unanswered)).await.iter().sum();
    if done > 0 {
        let kinds: BTreeSet<&str> = ROWS.concat().into_iter().collect();
        assert_eq!(done, kinds.len());
        say_once(format!(
            "faults: {done} kinds of requests never answered in {} s",
            began.elapsed().as_secs()
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_carried_out_and_said_to_have_failed_is_not_sent_again() {
    let began = Instant::now();
    let Some(world) = World::start(&LIES).await else { return };
    world.promote_twice(&LIES).await;
    say_once(format!("faults: {} lies of an API server in {} s", LIES.len(), began.elapsed().as_secs()));
}
