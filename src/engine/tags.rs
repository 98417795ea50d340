//! Which tags are candidates, and the floor below which nothing is promoted (design §4 Look and Choose).

use crate::engine::order::{NotOrdered, Rank};
use crate::engine::policy::Policy;
use crate::engine::record::Record;
use crate::model::Tag;

/// What keeps older releases away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum FloorState {
    /// Nothing was ever promoted, and there is no `notBefore`.
    None,
    /// Only candidates strictly above are promoted.
    At(Rank),
    /// The present policy has no place for the floor's tag: nothing is promoted without a pin.
    NotOrdered(Tag),
}

/// The floor of a set: the newest release ever promoted or pinned away from, else `notBefore`.
pub(in crate::engine) fn floor(policy: &Policy, record: &Record) -> FloorState {
    let recorded = record.floor.as_ref().map(|floor| &floor.tag);
    let promoted = record.promoted.as_ref().map(|promoted| &promoted.release.tag);
    let Some(tag) = recorded.or(promoted).or(policy.candidates.not_before.as_ref()) else {
        return FloorState::None;
    };
    match policy.candidates.rank(tag) {
        Ok(rank) => FloorState::At(rank),
        Err(_) => FloorState::NotOrdered(tag.clone()),
    }
}

/// The floor's place in the order, where it has one.
pub(in crate::engine) fn floor_rank(policy: &Policy, record: &Record) -> Option<Rank> {
    match floor(policy, record) {
        FloorState::At(rank) => Some(rank),
        FloorState::None | FloorState::NotOrdered(_) => None,
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
