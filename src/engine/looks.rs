//! What is looked at, and when (design §4 Look): lists at rest, hot cells while a candidate is partial, the
//! promoted tags now and then.

use jiff::{SignedDuration, Timestamp};

use crate::engine::decision::{Candidate, Question};
use crate::engine::memory::{Asked, ImageMemory, Memory};
use crate::engine::observation::Observation;
use crate::engine::order::Source;
use crate::engine::policy::{ImagePolicy, Policy};
use crate::engine::record::Phase;
use crate::model::{Sighting, Tag};

/// Shortest pause between two looks at one cell (design §4): goal G1 allows 4 s from push to commit, and a
/// look takes less than one.
const HOT_GAP_MIN: SignedDuration = SignedDuration::from_secs(3);
/// The pause grows with the candidate's age: a twentieth of it, so that the wait adds at most 5 %.
const HOT_GAP_DIVISOR: i32 = 20;
/// Longest pause that a registry's Retry-After may ask for; beyond it we ask again all the same.
const RETRY_AFTER_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Pause after an answer came in: the next look is counted from when this one was asked for, and one that takes
/// longer than its gap (a time-out takes 15 s) would else be followed by the next without a breath.
const BREATH: SignedDuration = SignedDuration::from_secs(1);

/// The pause between two looks at something that has stood for `age`: `max(3 s, age / 20)`, up to the interval.
pub fn paced(age: SignedDuration, interval: SignedDuration) -> SignedDuration {
    (age / HOT_GAP_DIVISOR).max(HOT_GAP_MIN).min(interval)
}

/// What is due, and when the next thing will be.
#[derive(Debug, Default)]
pub(in crate::engine) struct Agenda {
    pub due: Vec<Question>,
    pub next: Option<Timestamp>,
}

/// Collects everything that is due at `now`.
pub(in crate::engine) fn agenda(
    policy: &Policy,
    observation: &Observation,
    followed: &[Candidate],
    again: Option<&Candidate>,
    now: Timestamp,
) -> Agenda {
    let mut agenda = Agenda::default();
    if policy.pin.is_none() && policy.candidates.source == Source::Lists {
        for (_, image) in policy.required_images().filter(|(_, image)| image.place.repository().is_some()) {
            let due_at = list_due_at(policy, &observation.memory, image, now);
            let since = since(&observation.memory, policy.interval, now);
            agenda.note(due_at, now, Question::List { image: image.name.clone(), since });
        }
    }
    for candidate in followed {
        for image in &policy.images {
            if let Some((due_at, since)) = look_due_at(policy, observation, candidate, image, now) {
                let (tag, image) = (candidate.tag.clone(), image.name.clone());
                agenda.note(due_at, now, Question::Look { tag, image, since });
            }
        }
    }
    for image in &policy.images {
        if let Some(candidate) = again
            && let Some((due_at, since)) = again_due_at(policy, observation, candidate, image, now)
        {
            let (tag, image) = (candidate.tag.clone(), image.name.clone());
            agenda.note(due_at, now, Question::Look { tag, image, since });
        }
    }
    note_drift(policy, observation, now, &mut agenda);
    agenda
}

// === impl Agenda ===

impl Agenda {
    fn note(&mut self, due_at: Timestamp, now: Timestamp, question: Question) {
        if due_at <= now {
            self.due.push(question);
        } else {
            self.wake_at(due_at);
        }
    }

    /// Something happens at `at` even when nothing is to be looked at.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// The oldest answer that will do for something that is looked at every `gap`: what this set would know had it
/// looked itself at the earliest. So sets fall into step, and one request serves all of them. After a hint
/// nothing older than the hint.
fn since(memory: &Memory, gap: SignedDuration, now: Timestamp) -> Timestamp {
    let earliest = now.checked_sub(gap).unwrap_or(Timestamp::MIN);
    memory.hinted_at.map_or(earliest, |hinted_at| earliest.max(hinted_at)).min(now)
}

/// `gap` after it was asked for, at once when a hint came since, never before the registry's Retry-After. At once too when
/// the clock was set back by more than a breath: how long ago it was asked for cannot be told then.
fn due_at(
    memory: &Memory,
    asked: Asked,
    gap: SignedDuration,
    retry_after_secs: Option<u32>,
    now: Timestamp,
) -> Timestamp {
    if asked.answered_at > after(now, BREATH) {
        return now;
    }
    let hinted = memory.hinted_at.is_some_and(|hinted_at| asked.at < hinted_at);
    let due_at =
        if hinted { asked.at } else { after(asked.at, gap).max(after(asked.answered_at, gap.min(BREATH))) };
    let wait = SignedDuration::from_secs(retry_after_secs.unwrap_or(0).into()).min(RETRY_AFTER_MAX);
    due_at.max(after(asked.at, wait))
}

fn list_due_at(policy: &Policy, memory: &Memory, image: &ImagePolicy, now: Timestamp) -> Timestamp {
    match memory.lists.get(&image.name) {
        None => now,
        Some(list) => {
            let retry_after = list.doubt.as_ref().and_then(|doubt| doubt.retry_after_secs);
            due_at(memory, list.asked, policy.interval, retry_after, now)
        }
    }
}

/// True when the image's list named the tag once and does not any more. That is no evidence: it is looked at again,
/// so that a tag that CI deleted everywhere is found to be gone (failure sequence 14).
fn left_its_list(
    policy: &Policy,
    observation: &Observation,
    tag: &Tag,
    image: &ImagePolicy,
    seen: Asked,
) -> bool {
    let memory = &observation.memory;
    let Some(place) = policy.images.iter().position(|known| known.name == image.name) else { return false };
    let Ok(rank) = policy.candidates.rank(tag) else { return false };
    let bit = 1_u32 << place;
    let left =
        memory.tags.get(&rank).is_some_and(|listing| listing.ever & bit != 0 && listing.now & bit == 0);
    left && memory.lists.get(&image.name).is_some_and(|list| list.asked.at > seen.at)
}

/// When one image of a candidate is to be looked at, and the oldest answer that will do; `None` when all its
/// cells are Present.
fn look_due_at(
    policy: &Policy,
    observation: &Observation,
    candidate: &Candidate,
    image: &ImagePolicy,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let hot = || hot_gap(policy, observation, candidate, now);
    image_due_at(observation, candidate, image, now, |seen, waits| match seen {
        None => Some(hot()),
        Some(_) if candidate.phase == Phase::Failed => Some(policy.interval),
        Some(_) if waits(true) => Some(hot()),
        Some(seen) => {
            let may_be_gone = || left_its_list(policy, observation, &candidate.tag, image, seen.asked);
            (waits(false) || may_be_gone()).then_some(policy.interval)
        }
    })
}

/// As [`look_due_at`] for the promoted tag that is judged again: at once, then at the pace of rest while a required
/// cell is not Present. Whether a tag points elsewhere since is found by the look for drift.
fn again_due_at(
    policy: &Policy,
    observation: &Observation,
    candidate: &Candidate,
    image: &ImagePolicy,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    image_due_at(observation, candidate, image, now, |seen, waits| {
        (seen.is_none() || waits(true)).then_some(policy.interval)
    })
}

/// When an image that can be asked for is to be looked at, and the oldest answer that will do. `gap` says how long
/// after the last look (`None`: it was never looked at, and is due at once), or that it is not to be looked at; it is
/// told whether a required, or an advisory, cell is not Present.
fn image_due_at(
    observation: &Observation,
    candidate: &Candidate,
    image: &ImagePolicy,
    now: Timestamp,
    gap: impl FnOnce(Option<&ImageMemory>, &dyn Fn(bool) -> bool) -> Option<SignedDuration>,
) -> Option<(Timestamp, Timestamp)> {
    image.tag_template.render(candidate.tag.as_str())?;
    image.place.repository()?;
    let seen = observation.memory.image(&candidate.tag, &image.name);
    if seen.is_some_and(|seen| seen.stale) {
        return Some((now, now));
    }
    let cells = &candidate.images.iter().find(|judged| judged.name == image.name)?.cells;
    let waits =
        |required: bool| cells.iter().any(|cell| cell.required == required && !cell.sighting.is_present());
    let gap = gap(seen, &waits)?;
    let due_at =
        seen.map_or(now, |seen| due_at(&observation.memory, seen.asked, gap, retry_after_secs(seen), now));
    Some((due_at, since(&observation.memory, gap, now)))
}

fn retry_after_secs(memory: &ImageMemory) -> Option<u32> {
    match &memory.sighting {
        Sighting::Unknown(doubt) => doubt.retry_after_secs,
        _ => None,
    }
}

/// `max(3 s, age / 20)` up to the interval; age since the candidate last changed. An overdue candidate is
/// looked at like one at rest.
fn hot_gap(
    policy: &Policy,
    observation: &Observation,
    candidate: &Candidate,
    now: Timestamp,
) -> SignedDuration {
    if candidate.overdue {
        return policy.interval;
    }
    let changed_at = policy
        .images
        .iter()
        .filter_map(|image| observation.memory.image(&candidate.tag, &image.name))
        .map(|memory| memory.progressed_at)
        .max()
        .unwrap_or(candidate.record.first_seen);
    paced(now.duration_since(changed_at), policy.interval)
}

fn note_drift(policy: &Policy, observation: &Observation, now: Timestamp, agenda: &mut Agenda) {
    let Some(promoted) = &observation.record.promoted else { return };
    let memory = &observation.memory;
    let asked = memory.drift.as_ref().filter(|drift| drift.sequence == promoted.sequence);
    let due = match asked {
        // By a clock that was ahead of ours.
        None if promoted.at > now => now,
        // The commit itself looked; status says when that was.
        None => after(promoted.at, policy.drift_interval),
        Some(drift) => {
            let retry_after = drift.heads.values().find_map(|head| match &head.sighting {
                Sighting::Unknown(doubt) => doubt.retry_after_secs,
                _ => None,
            });
            due_at(memory, drift.asked, policy.drift_interval, retry_after, now)
        }
    };
    // A head from before the commit would say what the commit has changed.
    let since = since(memory, policy.drift_interval, now).max(promoted.at).min(now);
    agenda.note(due, now, Question::Drift { release: promoted.release.clone(), since });
    let Some(drift) = asked else { return };
    for image in &promoted.release.images {
        let Some(head) = drift.heads.get(&image.name) else { continue };
        let Some(digest) = head.sighting.present() else { continue };
        // A tag that moved is read, and one that was moved back is read again.
        let unread = match memory.image(&promoted.release.tag, &image.name) {
            None => *digest != image.digest,
            Some(seen) => {
                let known = seen.sighting.present().map_or(&image.digest, |evidence| &evidence.digest);
                seen.asked.at < head.asked_at && (known != digest || *digest != image.digest)
            }
        };
        if unread && policy.image(&image.name).is_some() {
            let (tag, image) = (promoted.release.tag.clone(), image.name.clone());
            // What the tag held before it moved would be compared with what it holds now.
            agenda.note(now, now, Question::Look { tag, image, since: head.asked_at });
        }
    }
}
