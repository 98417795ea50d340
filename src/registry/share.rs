//! Answers, kept and shared by age (ADR 3): who asks says how old an answer may be, and what is younger serves all.
//!
//! An identity is part of every key: what one credential was shown is never shown to another. Confirming looks do
//! not come here. This file knows nothing of HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use jiff::{SignedDuration, Timestamp};

use crate::model::{Digest, Doubt, ImageEvidence, Platform, Sighted, Sighting, Tag, TagList, Verify};
use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::place::Place;
use crate::registry::{Depth, Question};
use crate::telemetry::clock::Clock;

/// Answers kept of each kind: 1,000 sets of 3 images that follow 3 candidates each.
const ENTRIES_MAX: usize = 10_000;
/// Memory of the kept answers of each kind: 50 lists of 5,000 tags with 60 bytes each.
const TOTAL_MAX_BYTES: usize = 16 * 1024 * 1024;
/// What an entry costs beside its answer: key, map and pointers.
const ENTRY_BYTES: usize = 512;
/// How long "could not tell" is given to others: a host that fails is asked at most twelve times a minute about
/// one thing, and a set that asks 5 s after the faults stopped sees the truth (L1 allows 10 s).
const UNKNOWN_LIFE: SignedDuration = SignedDuration::from_secs(5);
/// Older answers are thrown away: only a pace of more than an hour could still want them.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(1);
/// How often old answers are looked for.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// Whose question about what.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    origin: String,
    path: String,
    fingerprint: Fingerprint,
    subject: Subject,
}

/// What a question is about.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The tag list.
    Tags,
    /// What a tag points at.
    Pointer(Tag),
    /// What a tag holds.
    Look { tag: Tag, platforms: Vec<Platform>, revision_keys: Vec<String>, depth: Depth, verify: Verify },
}

/// An answer that has a size.
pub(crate) trait Weigh {
    /// About how much memory it takes.
    fn size_bytes(&self) -> usize;

    /// True for half an answer: it serves others no longer than none would.
    fn is_partial(&self) -> bool {
        false
    }
}

type Flight<T> = Shared<BoxFuture<'static, Sighted<T>>>;

/// Answers of one kind: the last of each question, and those on their way.
pub(crate) struct Shelf<T> {
    clock: Clock,
    inner: Arc<Mutex<Inner<T>>>,
}

struct Inner<T> {
    entries: HashMap<Key, Entry<T>>,
    total_bytes: usize,
    uses: u64,
    swept_at: Timestamp,
}

struct Entry<T> {
    kept: Option<Sighted<T>>,
    /// Owned by those who wait for it: when all of them are gone, so is the request.
    flight: Option<(Timestamp, WeakShared<BoxFuture<'static, Sighted<T>>>)>,
    bytes: usize,
    last_use: u64,
}

// === impl Key ===

impl Key {
    pub(crate) fn new(place: &Place<'_>, subject: Subject) -> Self {
        Self {
            origin: place.origin(),
            path: place.repository.path().to_owned(),
            fingerprint: place.fingerprint,
            subject,
        }
    }
}

impl From<&Question> for Subject {
    fn from(question: &Question) -> Self {
        Self::Look {
            tag: question.tag.clone(),
            platforms: question.platforms.clone(),
            revision_keys: question.revision_keys.clone(),
            depth: question.depth,
            verify: question.verify,
        }
    }
}

// === impl Shelf ===

impl<T: Weigh + Clone + Send + Sync + 'static> Shelf<T> {
    pub(crate) fn new(clock: Clock) -> Self {
        let inner = Inner { entries: HashMap::new(), total_bytes: 0, uses: 0, swept_at: clock.now() };
        Self { clock, inner: Arc::new(Mutex::new(inner)) }
    }

    /// An answer that was asked for later than `since`: the kept one, the one that somebody waits for already, or
    /// that of `ask`. Whoever waits may leave; the request goes on while anybody does.
    pub(crate) async fn get(
        &self,
        key: Key,
        since: Timestamp,
        ask: impl FnOnce() -> BoxFuture<'static, Sighting<T>>,
    ) -> Sighted<T> {
        let flight = match self.find(&key, since) {
            Ok(kept) => return kept,
            Err(Some(flight)) => flight,
            Err(None) => self.start(key, ask),
        };
        flight.await
    }

    /// The kept answer, else the one on its way, if either is young enough.
    fn find(&self, key: &Key, since: Timestamp) -> Result<Sighted<T>, Option<Flight<T>>> {
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        inner.uses += 1;
        let last_use = inner.uses;
        let Some(entry) = inner.entries.get_mut(key) else { return Err(None) };
        entry.last_use = last_use;
        // What seems to come from the future was asked before the clock was set back.
        let young = |asked_at: Timestamp| asked_at > since && asked_at <= now;
        if let Some(kept) = entry.kept.as_ref().and_then(|kept| served(kept, young(kept.asked_at), now)) {
            return Ok(kept);
        }
        let flight = entry.flight.as_ref().filter(|(asked_at, _)| young(*asked_at));
        Err(flight.and_then(|(_, flight)| flight.upgrade()))
    }

    /// Puts a question on its way, so that others can join it.
    fn start(&self, key: Key, ask: impl FnOnce() -> BoxFuture<'static, Sighting<T>>) -> Flight<T> {
        let asked_at = self.clock.now();
        let (asking, inner, kept_under) = (ask(), Arc::clone(&self.inner), key.clone());
        let clock = self.clock.clone();
        let flight = async move {
            let sighted = Sighted { asked_at, sighting: asking.await };
            lock(&inner).keep(kept_under, sighted.clone(), clock.now());
            sighted
        }
        .boxed()
        .shared();
        let mut inner = lock(&self.inner);
        let last_use = inner.uses;
        let entry = inner.entries.entry(key).or_insert_with(|| Entry::new(last_use));
        entry.flight = flight.downgrade().map(|weak| (asked_at, weak));
        flight
    }
}

/// What a kept answer says to somebody who asks now, if anything.
fn served<T: Weigh + Clone>(kept: &Sighted<T>, young: bool, now: Timestamp) -> Option<Sighted<T>> {
    let age = now.duration_since(kept.asked_at);
    match &kept.sighting {
        // The registry said when it may be asked again: until then this is the answer to every question.
        Sighting::Unknown(doubt) if doubt.retry_after_secs.is_some() => {
            let wait = SignedDuration::from_secs(doubt.retry_after_secs.unwrap_or(0).into());
            let left =
                u32::try_from((wait - age).as_secs()).ok().filter(|left| *left > 0 && !age.is_negative());
            left.map(|left| Sighted {
                asked_at: now,
                sighting: Sighting::Unknown(Doubt { retry_after_secs: Some(left), ..doubt.clone() }),
            })
        }
        Sighting::Unknown(_) => (young && age < UNKNOWN_LIFE).then(|| kept.clone()),
        Sighting::Present(half) if half.is_partial() => (young && age < UNKNOWN_LIFE).then(|| kept.clone()),
        _ => young.then(|| kept.clone()),
    }
}

// === impl Inner ===

impl<T: Weigh> Inner<T> {
    fn keep(&mut self, key: Key, sighted: Sighted<T>, now: Timestamp) {
        let last_use = self.uses;
        let bytes = ENTRY_BYTES + sighted.sighting.present().map_or(0, Weigh::size_bytes);
        let entry = self.entries.entry(key).or_insert_with(|| Entry::new(last_use));
        if entry.flight.as_ref().is_some_and(|(asked_at, _)| *asked_at <= sighted.asked_at) {
            entry.flight = None;
        }
        let newer = entry.kept.as_ref().is_some_and(|kept| kept.asked_at > sighted.asked_at);
        if newer || bytes > TOTAL_MAX_BYTES / 2 {
            return;
        }
        self.total_bytes = self.total_bytes - entry.bytes + bytes;
        entry.bytes = bytes;
        entry.kept = Some(sighted);
        if now.duration_since(self.swept_at).abs() >= SWEEP_EVERY {
            self.swept_at = now;
            self.retain(|entry| {
                entry.kept.as_ref().is_some_and(|kept| now.duration_since(kept.asked_at).abs() < AGE_MAX)
            });
        }
        if self.entries.len() > ENTRIES_MAX || self.total_bytes > TOTAL_MAX_BYTES {
            // The half that was used least recently: seldom, so that each answer pays little.
            let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.last_use).collect();
            let half = uses.len() / 2;
            let (_, &mut median, _) = uses.select_nth_unstable(half);
            self.retain(|entry| entry.last_use > median);
        }
    }

    /// Keeps the entries that `wanted` wants and those that somebody waits for.
    fn retain(&mut self, wanted: impl Fn(&Entry<T>) -> bool) {
        self.entries.retain(|_, entry| {
            let awaited = entry.flight.as_ref().is_some_and(|(_, flight)| flight.upgrade().is_some());
            awaited || wanted(entry)
        });
        self.total_bytes = self.entries.values().map(|entry| entry.bytes).sum();
    }
}

impl<T> Entry<T> {
    fn new(last_use: u64) -> Self {
        Self { kept: None, flight: None, bytes: 0, last_use }
    }
}

fn lock<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Weigh for Arc<TagList> {
    fn size_bytes(&self) -> usize {
        TagList::size_bytes(self)
    }

    fn is_partial(&self) -> bool {
        self.incomplete.is_some()
    }
}

impl Weigh for Digest {
    fn size_bytes(&self) -> usize {
        self.as_str().len()
    }
}

impl Weigh for ImageEvidence {
    fn size_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let revisions = self.revisions.iter();
        // A child is a platform and a digest, or a sentence: about 300 bytes.
        self.children.len() * 300
            + revisions
                .map(|(key, value)| key.len() + text(&value.annotation) + text(&value.label))
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
