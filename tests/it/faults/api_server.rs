//! An API server of the test's own that is paused, killed and started anew, and forgets old versions.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::{Fate, Gate, sent_twice};
use super::outages::{PACE, SUITE};
use super::witness::Witness;
use crate::cluster::control_plane::ControlPlane;
use crate::controller::real::Real;

/// Longer than the deadline of a call (10 s).
const PAUSED: Duration = Duration::from_secs(12);
/// From the end of an outage to a promotion: a request under way (10 s), a pause after an error (5 s), the next look
/// (`interval`, 10 s), and the promotion (5 s).
const RECOVERY: Duration = Duration::from_secs(30);
/// Between two tries of a watch at most, of kube's back-off.
const WATCH_RECOVERY: Duration = Duration::from_secs(40);

/// A control plane that outlives nothing but its test.
struct Own(&'static ControlPlane);

impl Drop for Own {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct World {
    real: Real,
    gate: Gate,
    plane: &'static ControlPlane,
}

// === impl World ===

impl World {
    async fn promoted(&self, sequence: i64, tag: &str) -> Duration {
        let began = Instant::now();
        let waited = tokio::time::timeout(RECOVERY, async {
            loop {
                // The first connections after a restart may be those of before it.
                if let (Ok(set), Ok(Some(map))) = (
                    self.real.sets().get("acme").await,
                    self.real.config_maps().get_opt("acme-release").await,
                ) {
                    let promoted = set.status.unwrap_or_default().promoted.map(|promoted| promoted.sequence);
                    let carried = map.data.unwrap_or_default().remove("RELEASE_TAG");
                    if promoted == Some(sequence) && carried.as_deref() == Some(tag) {
                        return;
                    }
                }
                tokio::time::sleep(PACE).await;
            }
        });
        assert!(waited.await.is_ok(), "{tag} was not promoted within {RECOVERY:?}");
        began.elapsed()
    }

    async fn paused(&self) -> Duration {
        self.plane.signal("STOP");
        self.real.push_both("main-2").await;
        tokio::time::sleep(PAUSED).await;
        self.plane.signal("CONT");
        self.promoted(2, "main-2").await
    }

    async fn killed(&self) -> Duration {
        self.plane.kill();
        self.real.push_both("main-3").await;
        self.plane.begin().await;
        self.promoted(3, "main-3").await
    }

    /// The controller is cut off while versions come and go that no watch can be told of any more.
    async fn compacted(&self) -> Duration {
        self.gate.judge(|_| Fate::Refused(503));
        self.gate.cut();
        for number in 0..3 {
            self.real.create(&format!("old-{number}"), self.real.spec(&format!("old-{number}"))).await;
            self.real
                .sets()
                .delete(&format!("old-{number}"), &kube::api::DeleteParams::default())
                .await
                .unwrap();
        }
        self.plane.compact().await;
        self.plane.kill();
        self.plane.begin().await;
        self.real.push_both("main-4").await;
        self.gate.judge(|_| Fate::Pass);
        let took = self.promoted(4, "main-4").await;
        let waited = tokio::time::timeout(WATCH_RECOVERY, async {
            while self.gate.gone() == 0 {
                tokio::time::sleep(PACE).await;
            }
        });
        assert!(waited.await.is_ok(), "no watch was told that its version is too old");
        took
    }
}

/// Loses nothing.
pub async fn is_paused_killed_and_compacted() -> Option<String> {
    let plane = ControlPlane::start_own(SUITE).await?;
    let plane: &'static ControlPlane = Box::leak(Box::new(plane));
    let _own = Own(plane);
    let mut real = Real::prepare_on(SUITE, plane).await?;
    real.allow_refusals();
    let gate = Gate::start(plane).await;
    real.ask_through(gate.url());
    let witness = Witness::start(&real.client, &real.namespace);
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    let controller = real.spawn();
    let world = World { real, gate, plane };
    world.promoted(1, "main-1").await;
    let paused = world.paused().await;
    let killed = world.killed().await;
    assert_eq!(sent_twice(&world.gate.seen()), Vec::<String>::new());
    let compacted = world.compacted().await;
    assert_eq!(sent_twice(&world.gate.seen()), Vec::<String>::new());
    // A watch that was started anew tells of what comes then.
    world.real.create("new", world.real.spec("new-release")).await;
    world.real.wait_for_target("new-release", "main-4").await;
    assert_eq!(witness.broken().await, Vec::<String>::new());
    drop(controller);
    Some(format!(
        "API server paused, killed, compacted: promoted {}, {} and {} s later",
        paused.as_secs(),
        killed.as_secs(),
        compacted.as_secs()
    ))
}
