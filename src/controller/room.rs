//! How many smoke tests run in the whole process: one limit over all sets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::SetName;

/// Room for smoke tests, shared by all sets. It counts what each set was last seen to run, so that a restart or a
/// Job that somebody deleted needs no bookkeeping: the next look says how many there are.
#[derive(Clone, Debug)]
pub struct SmokeRoom {
    max: usize,
    running: Arc<Mutex<HashMap<String, usize>>>,
}

// === impl SmokeRoom ===

impl SmokeRoom {
    /// Room for `max` tests.
    pub fn new(max: usize) -> Self {
        Self { max, running: Arc::default() }
    }

    /// The set was seen to run so many.
    pub fn saw(&self, set: &SetName, running: usize) {
        if running == 0 {
            self.lock().remove(&set.to_string());
        } else {
            self.lock().insert(set.to_string(), running);
        }
    }

    /// Takes a place for one more test of the set; false when there is none.
    pub fn take(&self, set: &SetName) -> bool {
        let mut running = self.lock();
        if running.values().sum::<usize>() >= self.max {
            return false;
        }
        *running.entry(set.to_string()).or_default() += 1;
        true
    }

    /// The test did not start after all.
    pub fn give_back(&self, set: &SetName) {
        if let Some(count) = self.lock().get_mut(&set.to_string()) {
            *count = count.saturating_sub(1);
        }
    }

    /// The set is gone, and its Jobs go with it.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&format!("{namespace}/{name}"));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        // Each change is one step.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_shared_by_all_sets_and_counted_anew_at_each_look() {
        let set = |name: &str| SetName { namespace: "acme".into(), name: name.into(), uid: "u".into() };
        let room = SmokeRoom::new(2);
        let (one, two) = (set("one"), set("two"));
        assert!(room.take(&one) && room.take(&two) && !room.take(&one));
        room.give_back(&two);
        assert!(room.take(&one) && !room.take(&two));
        room.saw(&one, 1);
        assert!(room.take(&two) && !room.take(&two));
        room.forget("acme", "one");
        assert!(room.take(&two));
    }
}
