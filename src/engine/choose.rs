//! Which candidates are followed (design §4 Choose).

use std::collections::BTreeSet;

use crate::engine::decision::Candidate;
use crate::engine::observation::Observation;
use crate::engine::order::{Order, Rank};
use crate::engine::policy::Policy;
use crate::engine::record::Phase;
use crate::engine::tags::{FloorState, floor, names};
use crate::model::Tag;

/// A tag that may be followed.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Runner {
    pub tag: Tag,
    /// Never so of one that is named or carried by a target, and that no list was asked for.
    pub listed_by_all: bool,
}

/// Everything that may be followed, newest first. With a pin that is the pin alone, and nothing once it is
/// promoted. While the order cannot be told, it is what was followed before, so that its clocks go on.
pub(in crate::engine) fn runners(policy: &Policy, observation: &Observation) -> Vec<Runner> {
    let (record, memory) = (&observation.record, &observation.memory);
    let is_promoted =
        |tag: &Tag| record.promoted.as_ref().is_some_and(|promoted| &promoted.release.tag == tag);
    if let Some(pin) = &policy.pin {
        let runner = Runner { tag: pin.clone(), listed_by_all: true };
        return if is_promoted(pin) { Vec::new() } else { vec![runner] };
    }
    let may_run = |tag: &Tag| !policy.skip.contains(tag) && !is_promoted(tag);
    let remembered = record.candidates.iter().map(|known| &known.tag);
    let remembered = remembered.filter(|tag| !memory.gone.contains_key(tag));
    if matches!(policy.candidates.order, Order::Untold(_)) {
        let runner = |tag: &Tag| Runner { tag: tag.clone(), listed_by_all: false };
        return remembered.filter(|tag| may_run(tag)).map(runner).collect();
    }
    let floor = floor(policy, observation);
    let mut ranks: BTreeSet<Rank> = memory.tags.keys().cloned().collect();
    let named = names(policy, observation);
    ranks.extend(remembered.chain(&named).filter_map(|tag| policy.candidates.rank(tag).ok()));
    if let FloorState::From(carried) = &floor {
        ranks.insert(carried.clone());
    }
    // `Policy` holds at most 32 images, so that each has its bit.
    let required_bits: u32 = policy.required_images().map(|(place, _)| 1_u32 << place).sum();
    ranks
        .into_iter()
        .rev()
        .filter(|rank| floor.admits(rank) && may_run(rank.tag()))
        .map(|rank| Runner {
            tag: rank.tag().clone(),
            listed_by_all: memory
                .tags
                .get(&rank)
                .is_some_and(|listing| listing.ever & required_bits == required_bits),
        })
        .collect()
}

/// The followed ones, newest first. By rank: complete, or with a required gate running or passed; listed by
/// every required image; the rest. The newest always has a place; Failed ones take none, but the newest stays
/// in sight when it is Failed.
pub(in crate::engine) fn follow(policy: &Policy, judged: Vec<(Runner, Candidate)>) -> Vec<Candidate> {
    let mut places: Vec<(u8, usize)> = judged
        .iter()
        .enumerate()
        .filter(|(_, (_, candidate))| candidate.phase != Phase::Failed)
        .map(|(index, (_, candidate))| (rank(candidate), index))
        .collect();
    let newest_alive = places.iter().map(|&(_, index)| index).min();
    places.sort_unstable();
    places.truncate(policy.candidates.max_followed);
    if let Some(newest) = newest_alive
        && !places.iter().any(|&(_, index)| index == newest)
    {
        places.pop();
        places.push((0, newest));
    }
    let kept: BTreeSet<usize> = places.into_iter().map(|(_, index)| index).collect();
    judged
        .into_iter()
        .enumerate()
        .filter(|(index, (_, candidate))| {
            kept.contains(index) || (*index == 0 && candidate.phase == Phase::Failed)
        })
        .map(|(_, (_, candidate))| candidate)
        .collect()
}

/// The rank by which candidates are followed and tested (design §4 Choose); 1 comes first.
pub(in crate::engine) fn rank(candidate: &Candidate) -> u8 {
    use crate::engine::decision::GateState::{Passed, Running};
    let tested = candidate
        .gates
        .iter()
        .any(|gate| !gate.advisory && gate.is_smoke && matches!(gate.state, Passed | Running));
    if candidate.is_complete() || tested {
        1
    } else if candidate.listed_by_all {
        2
    } else {
        3
    }
}
