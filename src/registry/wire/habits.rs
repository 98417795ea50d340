//! What hosts were found not to do; learnt once, by origin and identity.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::place::Place;

/// Habits kept; when there are more all are learnt again, at a request each. As many as tokens.
const KEPT_MAX: usize = 16_384;

/// Whose habit.
type Key = (String, Fingerprint);

/// What hosts were found not to do; learnt once, by origin and identity: what answers through a proxy, or to a
/// client certificate, may be another machine.
#[derive(Default)]
pub(crate) struct Habits {
    /// HEAD is refused or gives no digest: a GET is sent in its place.
    no_head: Mutex<HashSet<Key>>,
    /// Number of tags per page that the host accepts; `None` = the parameter is refused.
    page: Mutex<HashMap<Key, Option<u32>>>,
}

// === impl Habits ===

impl Habits {
    pub(crate) fn knows_no_head(&self, place: &Place<'_>) -> bool {
        self.no_head.lock().unwrap_or_else(PoisonError::into_inner).contains(&key(place))
    }

    pub(crate) fn learn_no_head(&self, place: &Place<'_>) {
        let mut no_head = self.no_head.lock().unwrap_or_else(PoisonError::into_inner);
        if no_head.len() >= KEPT_MAX {
            no_head.clear();
        }
        no_head.insert(key(place));
    }

    /// The page size that the host is known to accept; `default` when nothing is known.
    pub(crate) fn page(&self, place: &Place<'_>, default: u32) -> Option<u32> {
        let pages = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(&key(place)).copied().unwrap_or(Some(default))
    }

    pub(crate) fn learn_page(&self, place: &Place<'_>, page: Option<u32>) {
        let mut pages = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= KEPT_MAX {
            pages.clear();
        }
        pages.insert(key(place), page);
    }
}

fn key(place: &Place<'_>) -> Key {
    (place.origin(), place.fingerprint)
}
