//! What hosts were found not to do; learnt once, by origin.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::registry::wire::place::Place;

/// What hosts were found not to do; learnt once, by origin.
#[derive(Default)]
pub(crate) struct Habits {
    /// HEAD is refused or gives no digest: a GET is sent in its place.
    no_head: Mutex<HashSet<String>>,
    /// Number of tags per page that the host accepts; `None` = the parameter is refused.
    page: Mutex<HashMap<String, Option<u32>>>,
}

// === impl Habits ===

impl Habits {
    pub(crate) fn knows_no_head(&self, place: &Place<'_>) -> bool {
        self.no_head.lock().unwrap_or_else(PoisonError::into_inner).contains(&place.origin())
    }

    pub(crate) fn learn_no_head(&self, place: &Place<'_>) {
        self.no_head.lock().unwrap_or_else(PoisonError::into_inner).insert(place.origin());
    }

    /// The page size that the host is known to accept; `default` when nothing is known.
    pub(crate) fn page(&self, place: &Place<'_>, default: u32) -> Option<u32> {
        let pages = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(&place.origin()).copied().unwrap_or(Some(default))
    }

    pub(crate) fn learn_page(&self, place: &Place<'_>, page: Option<u32>) {
        self.page.lock().unwrap_or_else(PoisonError::into_inner).insert(place.origin(), page);
    }
}
