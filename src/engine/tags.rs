//! Which tags are candidates, and the floor below which nothing is promoted (design §4 Look and Choose).

use crate::engine::marks::{Standing, standing};
use crate::engine::observation::Observation;
use crate::engine::order::{NotOrdered, Order, Rank, Source};
use crate::engine::policy::Policy;
use crate::engine::record::{NAMED_MAX, Record};
use crate::model::{Doubt, Tag};

/// What keeps older releases away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum FloorState {
    /// Nothing was ever promoted, and there is no `notBefore`.
    None,
    /// Only candidates strictly above are promoted.
    Above(Rank),
    /// This one, which targets carry and status does not know, and whatever is newer.
    From(Rank),
    /// The present policy has no place for the floor's tag: nothing is promoted without a pin.
    NotOrdered(Tag),
    /// The order itself is not known: nothing is promoted without a pin.
    Untold(Doubt),
}

/// The floor of a set: the newest release ever promoted, pinned away from, or carried by a target; else `notBefore`.
pub(in crate::engine) fn floor(policy: &Policy, observation: &Observation) -> FloorState {
    let recorded = recorded_floor(policy, &observation.record);
    let Standing::Ahead { tag: Some(tag), .. } = standing(observation) else { return recorded };
    match (recorded, policy.candidates.rank(tag)) {
        (state @ (FloorState::Untold(_) | FloorState::NotOrdered(_)), _) => state,
        (_, Err(_)) => FloorState::NotOrdered(tag.clone()),
        (FloorState::Above(recorded), Ok(carried)) if recorded > carried => FloorState::Above(recorded),
        (_, Ok(carried)) => FloorState::From(carried),
    }
}

/// The floor as far as status and spec tell.
fn recorded_floor(policy: &Policy, record: &Record) -> FloorState {
    if let Order::Untold(doubt) = &policy.candidates.order {
        return FloorState::Untold(doubt.clone());
    }
    let recorded = record.floor.as_ref().map(|floor| &floor.tag);
    let promoted = record.promoted.as_ref().map(|promoted| &promoted.release.tag);
    let Some(tag) = recorded.or(promoted).or(policy.candidates.not_before.as_ref()) else {
        return FloorState::None;
    };
    match policy.candidates.rank(tag) {
        // What was pinned while it had no place in the order may have one now.
        Ok(rank) => match promoted.and_then(|promoted| policy.candidates.rank(promoted).ok()) {
            Some(promoted) => FloorState::Above(rank.max(promoted)),
            None => FloorState::Above(rank),
        },
        Err(_) => FloorState::NotOrdered(tag.clone()),
    }
}

/// The place of the recorded floor in the order, where it has one.
pub(in crate::engine) fn floor_rank(policy: &Policy, record: &Record) -> Option<Rank> {
    match recorded_floor(policy, record) {
        FloorState::Above(rank) | FloorState::From(rank) => Some(rank),
        FloorState::None | FloorState::NotOrdered(_) | FloorState::Untold(_) => None,
    }
}

/// The last distinct names of `candidates.policyRef`, newest first; empty when candidates come from lists. One that is
/// gone from every registry is forgotten, unless it is the one that is named now.
pub(in crate::engine) fn names(policy: &Policy, observation: &Observation) -> Vec<Tag> {
    if policy.candidates.source != Source::Named {
        return Vec::new();
    }
    let current = observation.named.as_ref();
    let kept = observation.record.named.iter().filter(|name| Some(*name) != current);
    let kept = kept.filter(|name| !observation.memory.gone.contains_key(name));
    current.into_iter().chain(kept).take(NAMED_MAX).cloned().collect()
}

/// The name that was not named before and is not above the floor. The promoted tag is no surprise.
pub(in crate::engine) fn named_older(policy: &Policy, observation: &Observation) -> Option<Tag> {
    let name = observation.named.as_ref().filter(|_| policy.candidates.source == Source::Named)?;
    let promoted = observation.record.promoted.as_ref().map(|promoted| &promoted.release.tag);
    let is_known = observation.record.named.contains(name) || promoted == Some(name);
    let rank = policy.candidates.rank(name).ok().filter(|_| !is_known)?;
    (!floor(policy, observation).admits(&rank)).then(|| name.clone())
}

// === impl FloorState ===

impl FloorState {
    /// True for what may be promoted without a pin.
    pub fn admits(&self, rank: &Rank) -> bool {
        match self {
            Self::None => true,
            Self::Above(floor) => rank > floor,
            Self::From(floor) => rank >= floor,
            Self::NotOrdered(_) | Self::Untold(_) => false,
        }
    }
}

/// The shared tag that a raw tag of the image at `place` stands for (failure sequence 17): in a shared
/// repository a tag belongs to the image whose template has the longest matching literal part.
pub(in crate::engine) fn shared_tag(policy: &Policy, place: usize, raw: &str) -> Result<Rank, NotOrdered> {
    let image = &policy.images[place];
    let owner = policy
        .images
        .iter()
        .filter(|other| other.place == image.place && other.tag_template.extract(raw).is_some())
        .max_by_key(|other| other.tag_template.literal_len())
        .ok_or(NotOrdered::Filtered)?;
    if owner.tag_template != image.tag_template || policy.candidates.excludes(raw) {
        return Err(NotOrdered::Filtered);
    }
    let shared = image.tag_template.extract(raw).ok_or(NotOrdered::Filtered)?;
    let tag: Tag = shared.parse().map_err(|_| NotOrdered::Filtered)?;
    if policy.images.iter().any(|image| image.tag_template.render(shared).is_none()) {
        return Err(NotOrdered::Filtered);
    }
    policy.candidates.rank(&tag)
}
