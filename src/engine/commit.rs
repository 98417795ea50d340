//! The step before the one write that matters: the confirming look, and the grant (design §4 Commit).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::engine::clearance::{Floor, Granted};
use crate::engine::decision::{Candidate, Check, Question};
use crate::engine::gates;
use crate::engine::marks::{self, Standing};
use crate::engine::observation::Observation;
use crate::engine::order::Rank;
use crate::engine::policy::Policy;
use crate::engine::record::Phase;
use crate::engine::tags::{self, FloorState};
use crate::model::{Digest, ImageName, Platform, Release, ReleaseImage, Tag, Verify};

/// Look and write lie within this of each other (design §4 Commit).
pub const CONFIRMATION_LIFE: SignedDuration = SignedDuration::from_secs(5);
/// A child that was not seen for so long is asked for again in the confirming look (design §4 Commit).
pub const CHILD_SEEN_LIFE: SignedDuration = SignedDuration::from_secs(60);
/// A child of which the blobs were not looked at for so long has them asked for again in the confirming look,
/// under `verify: Blobs`. Half of [`CHILD_SEEN_LIFE`], since a look may itself take a blob for seen that was
/// there up to 30 s before.
pub const BLOBS_SEEN_LIFE: SignedDuration = SignedDuration::from_secs(30);

/// What to do about the newest candidate that passed everything.
#[derive(Debug)]
pub(in crate::engine) enum Step {
    /// Nothing passed.
    Nothing,
    /// Look once more.
    Confirm(Question),
    /// Everything was seen in one confirming look, unchanged.
    Grant(Granted),
}

/// The next step towards a commit. `candidates` come newest first, so that the newest that passes is taken.
pub(in crate::engine) fn step<'a>(
    policy: &Policy,
    observation: &Observation,
    mut candidates: impl Iterator<Item = &'a Candidate>,
    now: Timestamp,
) -> Step {
    let passing = candidates.find(|candidate| candidate.phase == Phase::Confirming);
    let Some(candidate) = passing else { return Step::Nothing };
    match confirmed(observation, candidate, now) {
        Some((digests, started_at)) => {
            grant(policy, observation, candidate, digests, started_at).map_or(Step::Nothing, Step::Grant)
        }
        None => Step::Confirm(question(policy, observation, candidate, now)),
    }
}

/// The digests of a confirming look that is still fresh and says what was judged.
fn confirmed<'a>(
    observation: &'a Observation,
    candidate: &Candidate,
    now: Timestamp,
) -> Option<(&'a BTreeMap<ImageName, Digest>, Timestamp)> {
    let confirmation = observation.memory.confirmation.as_ref()?;
    let age = now.duration_since(confirmation.started_at);
    let fresh = age >= SignedDuration::ZERO && age < CONFIRMATION_LIFE;
    let same = candidate.images.iter().filter(|image| !image.advisory).all(|image| {
        image.digest.is_some() && confirmation.digests.get(&image.name) == image.digest.as_ref()
    });
    (fresh && same && confirmation.tag == candidate.tag)
        .then_some((&confirmation.digests, confirmation.started_at))
}

fn question(policy: &Policy, observation: &Observation, candidate: &Candidate, now: Timestamp) -> Question {
    let required = candidate.images.iter().filter(|image| !image.advisory);
    let checks = required.map(|image| {
        let kept =
            observation.memory.image(&candidate.tag, &image.name).and_then(|memory| memory.kept.as_ref());
        // What was seen later than now was seen by a clock that was set back: nobody knows how long ago.
        let fresh = |life, age| (SignedDuration::ZERO..=life).contains(&age);
        let older_than = |life| kept.is_none_or(|(_, seen_at)| !fresh(life, now.duration_since(*seen_at)));
        let cells = image.cells.iter().filter(|cell| cell.required);
        let children: Vec<(Platform, Digest)> = cells
            .filter_map(|cell| Some((cell.platform.clone(), cell.sighting.present()?.clone())))
            .collect();
        let blobs_old = policy.verify == Verify::Blobs && older_than(BLOBS_SEEN_LIFE);
        let blobs_of = if blobs_old { children.clone() } else { Vec::new() };
        // A single-platform image is its own child: its tag is asked for anyway.
        let mut others = children;
        others.retain(|(_, digest)| Some(digest) != image.digest.as_ref());
        // Seen are both or neither: one instant is kept for them.
        let children = if blobs_old || older_than(CHILD_SEEN_LIFE) { others } else { Vec::new() };
        Check { image: image.name.clone(), children, blobs_of }
    });
    Question::Confirm { tag: candidate.tag.clone(), checks: checks.collect() }
}

fn grant(
    policy: &Policy,
    observation: &Observation,
    candidate: &Candidate,
    digests: &BTreeMap<ImageName, Digest>,
    started_at: Timestamp,
) -> Option<Granted> {
    let mut images = Vec::new();
    for (_, image) in policy.required_images() {
        let judged = candidate.images.iter().find(|judged| judged.name == image.name)?;
        let mut platforms = Vec::new();
        for cell in judged.cells.iter().filter(|cell| cell.required) {
            platforms.push((cell.platform.clone(), cell.sighting.present()?.clone()));
        }
        images.push(ReleaseImage {
            name: image.name.clone(),
            repository: image.place.repository()?.clone(),
            tag: judged.tag.clone()?,
            digest: digests.get(&image.name)?.clone(),
            platforms,
        });
    }
    let revision = gates::shared_revision(policy, observation, candidate);
    let release = Release { tag: candidate.tag.clone(), images, revision };
    let sequence = marks::next_sequence(observation)?;
    let floor = new_floor(policy, observation, candidate);
    Some(Granted::new(release, sequence, policy.generation, floor, started_at))
}

/// The newer of the old floor and what is committed; a tag without a place in the order never replaces one that
/// has it. A floor without a place gives way to a pin that has one: the way out of `FloorNotOrdered`.
fn new_floor(policy: &Policy, observation: &Observation, candidate: &Candidate) -> Floor {
    let committed = policy.candidates.rank(&candidate.tag).ok();
    let of = |rank: &Rank| Floor { key: rank.key_text(), tag: rank.tag().clone() };
    let bare = |tag: &Tag| Floor { tag: tag.clone(), key: String::new() };
    let recorded = observation.record.floor.clone();
    let promoted = observation.record.promoted.as_ref().map(|promoted| &promoted.release.tag);
    match (tags::floor(policy, observation), committed) {
        (FloorState::Above(old) | FloorState::From(old), Some(new)) => of(&old.max(new)),
        (FloorState::Above(old) | FloorState::From(old), None) => of(&old),
        (FloorState::None, Some(new)) => of(&new),
        (FloorState::NotOrdered(_), Some(new)) => {
            let left = promoted.and_then(|tag| policy.candidates.rank(tag).ok());
            of(&left.map_or_else(|| new.clone(), |left| left.max(new.clone())))
        }
        (FloorState::NotOrdered(tag), None) => {
            recorded.filter(|recorded| recorded.tag == tag).unwrap_or_else(|| bare(&tag))
        }
        (FloorState::None, None) => bare(&candidate.tag),
        (FloorState::Untold(_), _) => {
            let carried = match marks::standing(observation) {
                Standing::Ahead { tag, .. } => tag,
                Standing::InStep | Standing::Unreadable(_) => None,
            };
            recorded.unwrap_or_else(|| bare(carried.or(promoted).unwrap_or(&candidate.tag)))
        }
    }
}
