//! Watches every write of a controller at the instant it is done, and holds it against what registry, set and targets
//! were at that instant (design §7). What must hold of each kind of write is in [`writes`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tidegate::embedded::api::ApiServer;
use tidegate::engine::CONFIRMATION_LIFE;
use tidegate::invariants::{InvariantName, Violation};
use tidegate::telemetry::clock::Clock;

use super::objects::{Mark, mark_of, name_of, place, sequence_of};
use super::process::Process;
use super::truth::Past;
use super::world::NAMESPACE;

mod writes;

/// A set as a process last read it.
#[derive(Clone, Debug, Default)]
struct Seen {
    held: bool,
    deleting: bool,
    sequence: i64,
}

/// What was there before a write.
pub struct Sight {
    what: String,
    process: u32,
    /// When the look that a commit comes from can have begun at the earliest.
    since: Timestamp,
    /// Of the object that is written; `None` where there was none.
    before: Option<Arc<Value>>,
    marks: BTreeMap<String, Mark>,
}

#[derive(Default)]
struct State {
    violations: Vec<String>,
    /// By process and set.
    seen: BTreeMap<(u32, String), Seen>,
    /// Each release that was ever committed: by set and sequence.
    committed: BTreeMap<(String, i64), String>,
    /// What a process was last answered for a manifest, by process and path; 0 for nothing.
    heard: BTreeMap<(u32, String), u16>,
    /// Jobs that were ever made, by binding and set.
    jobs: BTreeMap<String, usize>,
    /// Writes of controllers by object.
    writes: BTreeMap<String, u64>,
    commits: u64,
}

/// The witness. All clones are one.
#[derive(Clone)]
pub struct Witness {
    api: ApiServer,
    past: Past,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

// === impl Witness ===

impl Witness {
    pub fn new(api: ApiServer, past: Past, clock: Clock) -> Self {
        Self { api, past, clock, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was broken, in order.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Writes of controllers that were done, by object; leases and Events are left out.
    pub fn writes(&self) -> BTreeMap<String, u64> {
        self.state().writes.clone()
    }

    pub fn commits(&self) -> u64 {
        self.state().commits
    }

    /// A person restored this status: what it holds was committed once.
    pub fn restored(&self, set: &str, status: &Value) {
        let promoted = &status["promoted"];
        if let (Some(sequence), Some(tag)) = (promoted["sequence"].as_i64(), promoted["tag"].as_str()) {
            self.state().committed.insert((set.to_owned(), sequence), tag.to_owned());
        }
    }

    /// A process was answered a set.
    pub fn read(&self, process: &Process, body: &[u8]) {
        let Ok(set) = serde_json::from_slice::<Value>(body) else { return };
        let Some(name) = set.pointer("/metadata/name").and_then(Value::as_str) else { return };
        let seen = Seen {
            held: set.pointer("/spec/suspend") == Some(&Value::Bool(true)),
            deleting: set.pointer("/metadata/deletionTimestamp").is_some(),
            sequence: sequence_of(&set),
        };
        self.state().seen.insert((process.id, name.to_owned()), seen);
    }

    /// A process was answered by the registry: with this status, or 0 where nothing came.
    pub fn heard(&self, process: &Process, what: &str, code: u16) {
        if let Some((_, path)) = what.split_once("/v2/") {
            self.state().heard.insert((process.id, path.to_owned()), code);
        }
    }

    /// The object that a request is about, as it is now.
    pub fn present(&self, what: &str) -> Option<Arc<Value>> {
        let (group, plural, name) = place(what)?;
        self.object(group, plural, name?)
    }

    /// What is there before a request.
    pub fn before(&self, what: &str, process: &Process, sent_at: Timestamp) -> Sight {
        let target = place(what);
        let before = target.and_then(|(group, plural, name)| self.object(group, plural, name?));
        let is_set = target.is_some_and(|(_, plural, _)| plural == "releasesets");
        let marks = if is_set && !what.starts_with("GET") { self.marks() } else { BTreeMap::new() };
        let life = process.in_truth(CONFIRMATION_LIFE);
        let since = sent_at.checked_sub(life).unwrap_or_default();
        Sight { what: what.to_owned(), process: process.id, since, before, marks }
    }

    /// Judges a write that was done. Whether it counts: leases and Events do not.
    pub fn after(&self, sight: &Sight) -> bool {
        let Some((group, plural, name)) = place(&sight.what) else { return false };
        if plural == "leases" || plural == "events" {
            return false;
        }
        let object = format!("{plural}/{}", name.unwrap_or("new"));
        *self.state().writes.entry(object).or_default() += 1;
        let after = match name {
            Some(name) => self.object(group, plural, name),
            None => self.newest(group, plural),
        };
        self.declared(sight, plural, name.or(after.as_deref().map(name_of)).unwrap_or_default());
        match (plural, name) {
            ("releasesets", Some(name)) => self.set_written(sight, name),
            ("configmaps", _) => self.target_written(sight, after.as_deref()),
            ("jobs", None) => self.job_made(sight, after.as_deref()),
            _ => {}
        }
        true
    }

    fn broken(&self, invariant: InvariantName, facts: impl Into<String>) {
        let at = self.clock.now();
        self.state().violations.push(format!("{invariant} at {at}: {}", facts.into()));
    }

    fn add(&self, found: Option<Violation>) {
        let at = self.clock.now();
        self.state().violations.extend(found.map(|broken| format!("{broken} (at {at})")));
    }

    fn object(&self, group: &str, plural: &str, name: &str) -> Option<Arc<Value>> {
        self.api.object(group, plural, NAMESPACE, name)
    }

    fn newest(&self, group: &str, plural: &str) -> Option<Arc<Value>> {
        let revision = |object: &Arc<Value>| {
            object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok())
        };
        self.api.objects(group, plural).into_iter().max_by_key(revision)
    }

    /// The marks of all targets, by the target's name.
    fn marks(&self) -> BTreeMap<String, Mark> {
        let objects = self.api.objects("", "configmaps").into_iter();
        objects.filter_map(|object| Some((name_of(&object).to_owned(), mark_of(&object)?))).collect()
    }

    fn seen(&self, process: u32, set: &str) -> Seen {
        self.state().seen.get(&(process, set.to_owned())).cloned().unwrap_or_default()
    }
}
