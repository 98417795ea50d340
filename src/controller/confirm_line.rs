//! Whose confirming look it is: one set after the other at each registry.
//!
//! A confirming look is worth nothing after [`CONFIRMATION_LIFE`]. Where many sets are complete at once they would share the
//! pace of their registry, none would be answered in time, and all would begin anew without end. One after the other each
//! is done in one round trip. Knows hosts, and nothing of what is asked there.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Line, OwnedMutexGuard};

use crate::engine::CONFIRMATION_LIFE;

/// How long a set may keep the others waiting: past that its own look is worth nothing either.
pub const TURN_MAX: Duration = CONFIRMATION_LIFE.unsigned_abs();

/// The lines of all hosts. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct ConfirmLine(Arc<Mutex<HashMap<String, Arc<Line<()>>>>>);

/// It is this set's turn at its hosts, until this is dropped.
#[derive(Debug)]
pub struct ConfirmTurn {
    _held: Vec<OwnedMutexGuard<()>>,
}

// === impl ConfirmLine ===

impl ConfirmLine {
    /// Waits for a turn at all of these hosts, in the order of their names so that no two sets wait for each other. Who came
    /// first is served first.
    pub async fn enter(&self, hosts: &BTreeSet<String>) -> ConfirmTurn {
        let mut held = Vec::with_capacity(hosts.len());
        for host in hosts {
            held.push(self.line(host).lock_owned().await);
        }
        ConfirmTurn { _held: held }
    }

    fn line(&self, host: &str) -> Arc<Line<()>> {
        // Each change is one step.
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !lines.contains_key(host) {
            // Where nobody waits and nobody's turn it is, nothing is to be remembered.
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        Arc::clone(lines.entry(host.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn at(hosts: &[&str]) -> BTreeSet<String> {
        hosts.iter().map(|host| (*host).to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn sets_of_one_host_come_one_after_the_other_and_those_of_another_do_not_wait() {
        let line = ConfirmLine::default();
        let began = Instant::now();
        let confirm = async |hosts: &[&str]| {
            let turn = line.enter(&at(hosts)).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(turn);
            began.elapsed().as_millis()
        };
        let (one, other, elsewhere, both) =
            futures::join!(confirm(&["a"]), confirm(&["a"]), confirm(&["b"]), confirm(&["b", "a"]));
        assert_eq!([one, other, elsewhere, both], [100, 200, 100, 300]);
        drop(line.enter(&at(&["c"])).await);
        drop(line.enter(&at(&["d"])).await);
        assert_eq!(line.0.lock().unwrap().len(), 1, "nothing is kept of hosts at which nobody is");
    }
}
