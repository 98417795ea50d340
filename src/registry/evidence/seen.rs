//! When blobs were seen last, and by whom: what a HEAD saw may serve other looks for a moment.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::model::Digest;
use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::place::Place;

/// How long a look may take a blob for seen. The engine counts on it (`engine::BLOBS_SEEN_LIFE` is the rest of the
/// minute that design §4 Commit allows).
pub(crate) const SEEN_LIFE: SignedDuration = SignedDuration::from_secs(30);
/// Blobs remembered as seen: 100 images of 100 layers.
const SEEN_MAX: usize = 10_000;

type Key = (String, String, Fingerprint, Digest);

/// When blobs were seen last, by whom.
#[derive(Default)]
pub(crate) struct BlobsSeen(Mutex<HashMap<Key, Timestamp>>);

// === impl BlobsSeen ===

impl BlobsSeen {
    /// Notes that a request sent at `at` saw the blob.
    pub(crate) fn note(&self, place: &Place<'_>, digest: &Digest, at: Timestamp) {
        let mut seen = self.lock();
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, seen_at| at.duration_since(*seen_at).abs() < SEEN_LIFE);
        }
        if seen.len() < SEEN_MAX {
            seen.insert(key(place, digest), at);
        }
    }

    /// True when the blob was seen a moment before `now`.
    pub(crate) fn is_fresh(&self, place: &Place<'_>, digest: &Digest, now: Timestamp) -> bool {
        let seen_at = self.lock().get(&key(place, digest)).copied();
        seen_at.is_some_and(|at| now.duration_since(at).abs() < SEEN_LIFE)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(place: &Place<'_>, digest: &Digest) -> Key {
    (place.origin(), place.repository.path().to_owned(), place.fingerprint, digest.clone())
}
