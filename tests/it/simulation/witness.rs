//! Watches every write of a controller at the instant it is done, and holds it against what registry, set and targets
//! were at that instant (design §7).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tidegate::api::{ReleaseSetSpec, validate};
use tidegate::embedded::api::ApiServer;
use tidegate::engine::CONFIRMATION_LIFE;
use tidegate::invariants::{self, Commit, InvariantName};
use tidegate::telemetry::clock::Clock;

use super::objects::{Mark, highest, mark_of, name_of, place, record_of, sequence_of};
use super::process::Process;
use super::truth::{Past, Truthful};
use super::world::NAMESPACE;

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
    sent_at: Timestamp,
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
        Sight { what: what.to_owned(), process: process.id, sent_at, before, marks }
    }

    /// Judges a write that was done. Whether it counts: leases and Events do not.
    pub fn after(&self, sight: &Sight) -> bool {
        let Some((group, plural, name)) = place(&sight.what) else { return false };
        if plural == "leases" || plural == "events" {
            return false;
        }
        let newest = || {
            let objects = self.api.objects(group, plural).into_iter();
            objects.max_by_key(|object| object["metadata"]["resourceVersion"].as_str().map(str::len))
        };
        let object = format!("{plural}/{}", name.unwrap_or("new"));
        *self.state().writes.entry(object).or_default() += 1;
        match (plural, name) {
            ("releasesets", Some(name)) => self.set_written(sight, name),
            ("configmaps", Some(name)) => {
                let after = self.object(group, plural, name);
                self.target_written(sight, after.as_deref());
            }
            ("configmaps", None) => {
                let created = self.newest_target();
                self.target_written(sight, created.as_deref());
            }
            ("jobs", None) => self.job_made(sight),
            ("jobs", Some(_)) => {}
            _ => {
                let newest = newest().map(|object| object["metadata"]["name"].clone());
                self.broken(InvariantName::S9, format!("{} was written ({newest:?})", sight.what));
            }
        }
        true
    }

    fn broken(&self, invariant: InvariantName, facts: impl Into<String>) {
        let at = self.clock.now();
        self.state().violations.push(format!("{invariant} at {at}: {}", facts.into()));
    }

    fn object(&self, group: &str, plural: &str, name: &str) -> Option<Arc<Value>> {
        self.api.object(group, plural, NAMESPACE, name)
    }

    fn newest_target(&self) -> Option<Arc<Value>> {
        let revision = |object: &Arc<Value>| {
            object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok())
        };
        self.api.objects("", "configmaps").into_iter().max_by_key(revision)
    }

    /// The marks of all targets, by the target's name.
    fn marks(&self) -> BTreeMap<String, Mark> {
        let objects = self.api.objects("", "configmaps").into_iter();
        objects.filter_map(|object| Some((name_of(&object).to_owned(), mark_of(&object)?))).collect()
    }

    // --- a set ---

    fn set_written(&self, sight: &Sight, name: &str) {
        let (Some(before), Some(after)) =
            (sight.before.as_deref(), self.object("tidegate.dev", "releasesets", name))
        else {
            return;
        };
        let (Some(old), Some(new)) = (record_of(before), record_of(&after)) else {
            return self.broken(InvariantName::S4, format!("the status of {name} cannot be read back"));
        };
        if sight.what.contains("/status") && before["spec"] != after["spec"] {
            self.broken(InvariantName::S9, format!("the spec of {name} was written"));
        }
        if old.promoted == new.promoted {
            let found = invariants::s6_only_a_commit_moves_it(&old, &new);
            self.state().violations.extend(found.iter().map(ToString::to_string));
            return;
        }
        let Some(promoted) = &new.promoted else {
            return self.broken(InvariantName::S4, format!("the release of {name} was taken back"));
        };
        let key = (name.to_owned(), promoted.sequence);
        self.state().committed.insert(key, promoted.release.tag.to_string());
        self.state().commits += 1;
        let (marks, highest) = highest(name, &sight.marks, &old);
        let spec: Option<ReleaseSetSpec> = serde_json::from_value(before["spec"].clone()).ok();
        let generation = before.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
        let Some(policy) = spec.and_then(|spec| validate::policy(&spec, generation).ok()) else {
            return self
                .broken(InvariantName::S1, format!("{name} was promoted under a spec without policy"));
        };
        let commit = Commit {
            policy: &policy,
            deleting: before.pointer("/metadata/deletionTimestamp").is_some(),
            before: &old,
            marks: &marks,
            after: promoted,
            floor: new.floor.as_ref(),
            verdicts: &new.verdicts,
            looked_and_written: None,
        };
        let truth = Truthful {
            past: &self.past,
            since: sight.sent_at.checked_sub(CONFIRMATION_LIFE).unwrap_or_default(),
        };
        let found = invariants::check_commit(&commit, &truth, highest);
        let at = self.clock.now();
        self.state().violations.extend(found.iter().map(|broken| format!("{broken} (at {at})")));
    }

    // --- a target ---

    fn target_written(&self, sight: &Sight, after: Option<&Value>) {
        let before = sight.before.as_deref().and_then(mark_of);
        let Some(object) = after else { return };
        let Some(mark) = mark_of(object) else { return };
        let name = name_of(object);
        let set = self.object("tidegate.dev", "releasesets", &mark.set);
        let names = |set: &Value| {
            let targets = set.pointer("/spec/targets").and_then(Value::as_array).cloned().unwrap_or_default();
            targets.iter().any(|target| target["configMap"]["name"] == name)
        };
        if let Some(set) = &set
            && !names(set)
            && before.is_none()
        {
            self.broken(
                InvariantName::S9,
                format!("{name} was written, which no target of {} names", mark.set),
            );
        }
        if let Some(before) = &before {
            if before.set != mark.set {
                self.broken(InvariantName::S9, format!("{name} of {} was taken by {}", before.set, mark.set));
            } else if before.sequence > mark.sequence {
                let (was, is) = (before.sequence, mark.sequence);
                self.broken(InvariantName::S4, format!("target {name} went back from {was} to {is}"));
            }
        } else if sight.before.is_some() {
            self.broken(InvariantName::S9, format!("{name} was there before, without a mark"));
        }
        let committed = self.state().committed.get(&(mark.set.clone(), mark.sequence)).cloned();
        if committed.as_ref() != Some(&mark.tag) {
            let facts = format!(
                "target {name} carries {} of {}, committed was {committed:?}",
                mark.tag, mark.sequence
            );
            self.broken(InvariantName::S1, facts);
        }
        let seen = self.seen(sight.process, &mark.set);
        if seen.held || seen.deleting || seen.sequence != mark.sequence {
            let facts =
                format!("target {name} was written at {}, the set was read as {seen:?}", mark.sequence);
            self.broken(InvariantName::S7, facts);
        }
    }

    fn job_made(&self, sight: &Sight) {
        let held = self
            .state()
            .seen
            .iter()
            .any(|((process, _), seen)| *process == sight.process && (seen.held || seen.deleting));
        if held {
            self.broken(InvariantName::S7, "a Job was made for a set that was read as held");
        }
    }

    fn seen(&self, process: u32, set: &str) -> Seen {
        self.state().seen.get(&(process, set.to_owned())).cloned().unwrap_or_default()
    }
}
