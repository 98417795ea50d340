//! SIGKILL at each write of two promotions, once before the API server has it and once before its reply arrives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::{Map, Value, json};
use tidegate::api::ReleaseSetStatus;
use tokio::time::Instant;

use super::gate::{Fate, Gate, sent_twice};
use super::witness::Witness;
use crate::cluster::tools::say_once;
use crate::controller::real::Real;

const SUITE: &str = "faults";
/// Points that are played at once, each with a controller of its own: they wait more than they work.
const LANES: usize = 6;
/// For one point to end as the run without a fault: the hot pace (3 s) and a pause after an error (5 s), five times.
const DEADLINE: Duration = Duration::from_secs(40);
const PACE: Duration = Duration::from_millis(50);
/// Writes of each object that a kill may add: the one that it cut off, and a report of what the next process found.
const WRITES_MORE: usize = 2;
/// Keys of a status whose values are times, or spans of time.
const TIMES: [&str; 9] = [
    "at",
    "firstSeen",
    "completeAt",
    "lastTransitionTime",
    "blockedSince",
    "since",
    "runningSince",
    "consumed",
    "changedAt",
];

/// A namespace in which points are played one after the other.
struct Lane {
    real: Real,
    gate: Gate,
    witness: Witness,
}

/// Where a run is killed.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// The first write is 1.
    write: usize,
    fate: Fate,
}

/// How a run ended; names, hosts and times left out.
#[derive(Clone, Debug, Default, PartialEq)]
struct End {
    spec: Value,
    status: Value,
    target: Value,
}

/// A run, and what it cost.
struct Played {
    end: End,
    /// What each write was, in order, until the kill.
    sent: Vec<String>,
    /// Writes that the server carried out, by object, as its audit log tells.
    writes: BTreeMap<String, usize>,
}

// === impl End ===

impl End {
    /// What is not the same in `other`.
    fn differs(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let parts = [(&self.spec, &other.spec), (&self.status, &other.status), (&self.target, &other.target)];
        for (ours, theirs) in parts {
            let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
            let (ours, theirs) = (fields(ours), fields(theirs));
            for key in ours.keys().chain(theirs.keys()).filter(|key| ours.get(*key) != theirs.get(*key)) {
                differences.push(format!("{key}: {:?} is not {:?}", ours.get(key), theirs.get(key)));
            }
        }
        differences
    }
}

// === impl Lane ===

impl Lane {
    async fn start() -> Option<Self> {
        let mut real = Real::prepare(SUITE).await?;
        let gate = Gate::start(real.account().1).await;
        real.ask_through(gate.url());
        let witness = Witness::start(&real.client, &real.namespace);
        Some(Self { real, gate, witness })
    }

    /// Promotes main-1, then main-2, of a set of that name, which is gone afterwards.
    async fn play(&self, name: &str, point: Option<Point>, wanted: Option<&End>) -> Played {
        let mut count = 0;
        self.gate.judge(move |asked| {
            count += usize::from(asked.is_write());
            match point {
                Some(point) if asked.is_write() && count == point.write => point.fate,
                _ => Fate::Pass,
            }
        });
        self.push(name, "main-1").await;
        let mut spec = self.real.spec(&format!("{name}-release"));
        for image in ["app", "worker"] {
            let index = usize::from(image == "worker");
            let repository = format!("{}/{name}/{image}", self.real.registry.host());
            spec["images"][index]["repository"] = json!(repository);
        }
        // No poll comes between two pushes.
        spec["interval"] = json!("10m");
        // Whoever did not see its own commit looks at the promoted tags after this.
        spec["driftInterval"] = json!("10s");
        self.real.create(name, spec).await;
        let first = self.real.spawn();
        let killed = async {
            if point.is_none() {
                return first;
            }
            self.gate.stuck().await;
            first.signal("KILL");
            drop(first);
            self.real.spawn()
        };
        let both = async { futures::join!(self.drive(name, wanted), killed) };
        let Ok((end, _last)) = tokio::time::timeout(DEADLINE, both).await else {
            let differences = wanted.unwrap_or(&End::default()).differs(&self.end(name).await);
            let sent: Vec<_> =
                self.gate.seen().into_iter().map(|seen| (seen.asked.what, seen.status)).collect();
            panic!("{name} {point:?} ended otherwise: {differences:#?} after {sent:?}");
        };
        let seen = self.gate.seen();
        assert_eq!(sent_twice(&seen), Vec::<String>::new(), "{name}");
        let sent: Vec<String> =
            seen.into_iter().filter(|seen| seen.asked.is_write()).map(|seen| seen.asked.what).collect();
        let params = DeleteParams::default();
        self.real.sets().delete(name, &params).await.unwrap();
        self.real.config_maps().delete(&format!("{name}-release"), &params).await.unwrap();
        Played { end, sent, writes: BTreeMap::new() }
    }

    /// Both releases; waits for the end that is wanted, or for the second release where none is known.
    async fn drive(&self, name: &str, wanted: Option<&End>) -> End {
        self.until(name, |status| carries(status, 1, "main-1")).await;
        self.push(name, "main-2").await;
        self.real
            .patch(name, json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "again"}}}))
            .await;
        self.until(name, |status| {
            carries(status, 2, "main-2") && status.last_handled_reconcile_at.as_deref() == Some("again")
        })
        .await;
        loop {
            let end = self.end(name).await;
            if wanted.is_none_or(|wanted| *wanted == end) {
                return end;
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn until(&self, name: &str, holds: impl Fn(&ReleaseSetStatus) -> bool) {
        while !holds(&self.real.status(name).await) {
            tokio::time::sleep(PACE).await;
        }
    }

    async fn push(&self, name: &str, tag: &str) {
        for image in ["app", "worker"] {
            self.real.push_to(&format!("{name}/{image}"), image, tag).await;
        }
    }

    async fn end(&self, name: &str) -> End {
        let set = serde_json::to_value(self.real.sets().get(name).await.unwrap()).unwrap();
        let map = self.real.config_maps().get_opt(&format!("{name}-release")).await.unwrap();
        let plain = |value: &Value| plain(value, name, &self.real.registry.host());
        let map = serde_json::to_value(map).unwrap();
        let target = json!({"data": map["data"], "annotations": map["metadata"]["annotations"],
            "labels": map["metadata"]["labels"]});
        End { spec: plain(&set["spec"]), status: plain(&set["status"]), target: plain(&target) }
    }

    /// Adds what the audit log tells of the objects of a run.
    fn count_writes(&self, name: &str, played: &mut Played) {
        let (_, plane) = self.real.account();
        for write in plane.writes(&self.real.namespace).into_iter().filter(|write| write.user != "admin") {
            if write.name == name || write.name == format!("{name}-release") {
                *played.writes.entry(write.resource).or_default() += 1;
            }
        }
    }
}

fn carries(status: &ReleaseSetStatus, sequence: i64, tag: &str) -> bool {
    let promoted =
        status.promoted.as_ref().is_some_and(|promoted| promoted.sequence == sequence && promoted.tag == tag);
    promoted && status.conditions.iter().any(|known| known.condition == "Ready" && known.status == "True")
}

/// Without times, and with the same name and host in every run.
fn plain(value: &Value, name: &str, host: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| !TIMES.contains(&key.as_str()));
            let kept = kept.map(|(key, value)| (key.clone(), plain(value, name, host)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| plain(item, name, host)).collect(),
        Value::String(text) => json!(text.replace(name, "SET").replace(host, "HOST")),
        other => other.clone(),
    }
}

/// The points of a run that made these writes, and how each lane takes the next one.
type Queue = Arc<Mutex<VecDeque<Point>>>;

async fn play_all(lane: &Lane, queue: &Queue, reference: &Played) -> usize {
    let mut done = Vec::new();
    loop {
        let next = queue.lock().unwrap().pop_front();
        let Some(point) = next else { break };
        let form = if point.fate == Fate::Lost { "lost" } else { "unanswered" };
        let name = format!("kill-{:02}-{form}", point.write);
        let played = lane.play(&name, Some(point), Some(&reference.end)).await;
        assert_eq!(played.sent[point.write - 1], reference.sent[point.write - 1], "{name}: another write");
        done.push((name, played));
    }
    assert_eq!(lane.witness.broken().await, Vec::<String>::new());
    for (name, played) in &mut done {
        lane.count_writes(name, played);
        for (object, count) in &played.writes {
            let most = reference.writes.get(object).copied().unwrap_or_default() + WRITES_MORE;
            assert!(*count <= most, "{name}: {count} writes of {object}, more than {most}");
        }
        assert!(played.writes.len() >= reference.writes.len(), "{name}: {:?}", played.writes);
    }
    done.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_killed_at_any_write_ends_as_one_that_was_not() {
    let began = Instant::now();
    let lanes = futures::future::join_all((0..LANES).map(|_| Lane::start())).await;
    let Some(lanes) = lanes.into_iter().collect::<Option<Vec<Lane>>>() else { return };
    let mut reference = lanes[0].play("no-kill", None, None).await;
    // What it looked at for the first time is remembered nowhere: a second run makes the same writes.
    let again = lanes[0].play("no-kill-again", None, Some(&reference.end)).await;
    assert_eq!(again.sent, reference.sent, "writes are not the same in each run");
    lanes[0].count_writes("no-kill", &mut reference);
    assert!(reference.sent.len() >= 6, "a commit, a target and a report, twice: {:?}", reference.sent);
    let forms = [Fate::Lost, Fate::Unanswered];
    let points = (1..=reference.sent.len()).flat_map(|write| forms.map(|fate| Point { write, fate }));
    let queue: Queue = Arc::new(Mutex::new(points.collect()));
    let done = futures::future::join_all(lanes.iter().map(|lane| play_all(lane, &queue, &reference))).await;
    let done: usize = done.iter().sum();
    assert_eq!(done, 2 * reference.sent.len());
    say_once(format!(
        "faults: {done} kill points ({} writes of two promotions, in both forms) in {} s",
        reference.sent.len(),
        began.elapsed().as_secs()
    ));
}
