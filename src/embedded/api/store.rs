//! Objects under one revision counter, and the changes that watches replay. Knows no HTTP and no rules.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use serde_json::Value;

use super::resources::Resource;

/// Changes kept for watches that come back: a busy simulation writes a few per virtual second, so this is an hour.
const CHANGES_MAX: usize = 10_000;

/// Where an object lies; ordered as lists are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) group: String,
    pub(super) plural: String,
    /// Empty for cluster-scoped kinds.
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One committed write.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    pub(super) kind: ChangeKind,
    /// The object after it; for a deletion its last state, with the deletion's revision.
    pub(super) object: Arc<Value>,
    /// The object before it.
    pub(super) previous: Option<Arc<Value>>,
}

#[derive(Debug)]
pub(super) struct Store {
    revision: u64,
    /// Changes up to here are forgotten: a watch from an older revision is too old.
    compacted: u64,
    changes: VecDeque<Change>,
    objects: BTreeMap<Key, Arc<Value>>,
    given: u64,
}

// === impl Key ===

impl Key {
    pub(super) fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        Self {
            group: resource.group.clone(),
            plural: resource.plural.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

// === impl Store ===

impl Store {
    pub(super) fn new() -> Self {
        // Revision 0 means "any" in requests, so counting starts at 1.
        Self { revision: 1, compacted: 0, changes: VecDeque::new(), objects: BTreeMap::new(), given: 0 }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    /// Objects of one kind in (namespace, name) order, of one namespace or all.
    pub(super) fn list(&self, group: &str, plural: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let start = Key {
            group: group.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.unwrap_or("").to_owned(),
            name: String::new(),
        };
        self.objects
            .range((Bound::Included(&start), Bound::Unbounded))
            .take_while(|(key, _)| {
                key.group == group
                    && key.plural == plural
                    && namespace.is_none_or(|wanted| key.namespace == wanted)
            })
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// The same as [`Self::list`] at an older revision; `None` when a change since then is forgotten.
    pub(super) fn list_at(
        &self,
        group: &str,
        plural: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Option<Vec<Arc<Value>>> {
        let changes: Vec<&Change> = self.changes_after(revision)?.collect();
        let name = |object: &Value| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or("").to_owned();
            (text("namespace"), text("name"))
        };
        let now = self.list(group, plural, namespace);
        let mut then: BTreeMap<_, _> = now.into_iter().map(|object| (name(&object), object)).collect();
        let here = |key: &Key| {
            key.group == group
                && key.plural == plural
                && namespace.is_none_or(|wanted| key.namespace == wanted)
        };
        for change in changes.into_iter().rev().filter(|change| here(&change.key)) {
            let place = (change.key.namespace.clone(), change.key.name.clone());
            match &change.previous {
                Some(previous) => then.insert(place, Arc::clone(previous)),
                None => then.remove(&place),
            };
        }
        Some(then.into_values().collect())
    }

    /// Every object with its key, for garbage collection.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Stores an object at the next revision and returns it with that resourceVersion.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object = Arc::new(object);
        let previous = self.objects.insert(key.clone(), Arc::clone(&object));
        let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        self.remember(Change { revision: self.revision, key, kind, object: Arc::clone(&object), previous });
        object
    }

    /// Removes an object at the next revision and returns its last state.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let previous = self.objects.remove(key)?;
        self.revision += 1;
        let mut last = Value::clone(&previous);
        last["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object = Arc::new(last);
        self.remember(Change {
            revision: self.revision,
            key: key.clone(),
            kind: ChangeKind::Deleted,
            object: Arc::clone(&object),
            previous: Some(previous),
        });
        Some(object)
    }

    fn remember(&mut self, change: Change) {
        if self.changes.len() == CHANGES_MAX
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.compacted = forgotten.revision;
        }
        self.changes.push_back(change);
    }

    /// Forgets every change so far, as etcd's compaction does.
    pub(super) fn compact(&mut self) {
        self.changes.clear();
        self.compacted = self.revision;
    }

    /// Changes after `revision`, oldest first; `None` when some of them are forgotten.
    pub(super) fn changes_after(&self, revision: u64) -> Option<impl DoubleEndedIterator<Item = &Change>> {
        if revision < self.compacted {
            return None;
        }
        let first = self.changes.partition_point(|change| change.revision <= revision);
        Some(self.changes.range(first..))
    }

    /// A uid never given before: a counter in the shape of a UUID, so that runs repeat.
    pub(super) fn next_uid(&mut self) -> String {
        self.given += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.given)
    }

    /// Five letters for `generateName`, in Kubernetes' alphabet without vowels, never given before.
    pub(super) fn next_suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.given += 1;
        let mut rest = usize::try_from(self.given).unwrap_or(usize::MAX);
        let mut suffix = [b'b'; 5];
        for letter in suffix.iter_mut().rev() {
            *letter = ALPHABET[rest % ALPHABET.len()];
            rest /= ALPHABET.len();
        }
        suffix.iter().map(|letter| char::from(*letter)).collect()
    }
}
