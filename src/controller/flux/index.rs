//! Which sets name which Flux objects, so that a change of one wakes them. Filled at each reconcile.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::flux::kinds::Kind;

/// Kind and name of an object in a set's own namespace.
pub type Named = (Kind, String);

/// The index; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct FluxIndex(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    /// Names of sets, by namespace and object.
    sets: HashMap<(String, Named), BTreeSet<String>>,
    /// What each set names, by namespace and name of the set.
    objects: HashMap<(String, String), BTreeSet<Named>>,
}

// === impl FluxIndex ===

impl FluxIndex {
    /// The set names these objects, and no others.
    pub fn set(&self, namespace: &str, set: &str, named: BTreeSet<Named>) {
        let mut tables = self.tables();
        tables.forget(namespace, set);
        if named.is_empty() {
            return;
        }
        for object in &named {
            let key = (namespace.to_owned(), object.clone());
            tables.sets.entry(key).or_default().insert(set.to_owned());
        }
        tables.objects.insert((namespace.to_owned(), set.to_owned()), named);
    }

    /// The set is gone.
    pub fn forget(&self, namespace: &str, set: &str) {
        self.tables().forget(namespace, set);
    }

    /// Names of the sets that name an object.
    pub fn sets_of(&self, namespace: &str, kind: Kind, name: &str) -> Vec<String> {
        let key = (namespace.to_owned(), (kind, name.to_owned()));
        self.tables().sets.get(&key).map(|sets| sets.iter().cloned().collect()).unwrap_or_default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A holder that panicked may have left a set half out: it is put in again at its next reconcile.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tables ===

impl Tables {
    fn forget(&mut self, namespace: &str, set: &str) {
        let Some(named) = self.objects.remove(&(namespace.to_owned(), set.to_owned())) else { return };
        for object in named {
            let key = (namespace.to_owned(), object);
            if let Some(sets) = self.sets.get_mut(&key) {
                sets.remove(set);
                if sets.is_empty() {
                    self.sets.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> BTreeSet<Named> {
        names.iter().map(|name| (Kind::ImageRepository, (*name).to_owned())).collect()
    }

    #[test]
    fn a_change_wakes_those_that_name_the_object_now() {
        let index = FluxIndex::default();
        let sets_of = |namespace, name| index.sets_of(namespace, Kind::ImageRepository, name);
        index.set("acme", "main", named(&["app", "worker"]));
        index.set("acme", "nightly", named(&["app"]));
        index.set("other", "main", named(&["app"]));
        assert_eq!(sets_of("acme", "app"), ["main", "nightly"]);
        assert_eq!(sets_of("other", "app"), ["main"], "same names elsewhere are others");
        assert!(index.sets_of("acme", Kind::ImagePolicy, "app").is_empty(), "another kind is another object");
        index.set("acme", "main", named(&["worker"]));
        assert_eq!(sets_of("acme", "app"), ["nightly"]);
        index.forget("acme", "main");
        index.forget("acme", "nightly");
        index.forget("other", "main");
        let tables = index.tables();
        assert!(tables.sets.is_empty() && tables.objects.is_empty(), "nothing is left of sets that are gone");
    }
}
