//! What registries held, and when: the world's own record, which no answer and no fault changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tidegate::cli::demo::invariants::Instant;
use tidegate::embedded::node::EXIT_CODE_LABEL;
use tidegate::embedded::registry::RegistryServer;
use tidegate::engine::policy::Gate;
use tidegate::invariants::Truth;
use tidegate::model::{Digest, Platform, Repository, Tag};
use tidegate::telemetry::clock::Clock;

/// What every tag pointed at since the beginning. All clones are one.
#[derive(Clone)]
pub struct Past {
    registry: RegistryServer,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

/// Values, each from its instant on.
type Since<T> = Vec<(Timestamp, T)>;

#[derive(Default)]
struct State {
    /// (path, tag) → from when on it pointed where.
    tags: BTreeMap<(String, String), Since<Option<String>>>,
    /// From when on the registry answered, or not.
    answers: Since<bool>,
}

/// What was so between an instant and now.
pub struct Truthful<'a> {
    pub past: &'a Past,
    pub since: Timestamp,
}

// === impl Past ===

impl Past {
    pub fn new(registry: RegistryServer, clock: Clock) -> Self {
        let state = State { answers: vec![(clock.now(), true)], ..State::default() };
        Self { registry, clock, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tag points elsewhere from now on.
    pub fn note_tag(&self, path: &str, tag: &str) {
        let now = self.registry.resolve(path, tag);
        let key = (path.to_owned(), tag.to_owned());
        self.state().tags.entry(key).or_default().push((self.clock.now(), now));
    }

    /// The registry answered nothing, once.
    pub fn was_silent(&self) -> bool {
        self.state().answers.iter().any(|(_, answers)| !answers)
    }

    /// The registry answers from now on, or does not.
    pub fn note_answers(&self, answers: bool) {
        let at = self.clock.now();
        self.state().answers.push((at, answers));
    }
}

/// The values that held at some instant since `since`, of entries that each hold from their instant on.
fn held<T: Clone>(entries: &[(Timestamp, T)], since: Timestamp) -> Vec<T> {
    let first = entries.iter().rposition(|(at, _)| *at <= since).unwrap_or(0);
    entries.iter().skip(first).map(|(_, value)| value.clone()).collect()
}

// === impl Truth for Truthful ===

impl Truth for Truthful<'_> {
    fn pointed_at(&self, repository: &Repository, tag: &Tag) -> Vec<Digest> {
        let key = (repository.path().to_owned(), tag.to_string());
        let state = self.past.state();
        let entries = state.tags.get(&key).map(Vec::as_slice).unwrap_or_default();
        held(entries, self.since).into_iter().flatten().filter_map(|digest| digest.parse().ok()).collect()
    }

    fn child(&self, repository: &Repository, index: &Digest, platform: &Platform) -> Option<Digest> {
        Instant(&self.past.registry).child(repository, index, platform)
    }

    fn answers(&self, _repository: &Repository) -> bool {
        let state = self.past.state();
        held(&state.answers, self.since).contains(&true)
    }

    fn passes(&self, _: &Gate, repository: &Repository, platform: &Platform, child: &Digest) -> Option<bool> {
        let reference = format!("{}/{}@{child}", self.past.registry.host(), repository.path());
        let config = self.past.registry.image_config(&reference, &platform.to_string())?;
        let labels = config.pointer("/config/Labels")?;
        Some(labels[EXIT_CODE_LABEL].as_str() == Some("0"))
    }
}
