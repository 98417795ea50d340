//! The promoted tag, judged once more: after a spec edit, after its tags moved under `onTagMoved: Repromote`, or when
//! targets carry a later commit of it than status knows (design §4 Spec edits, Same tag again, Lost or older status).
//!
//! It is one more candidate at the floor: same cells, same gates, same settle, same confirming look. It takes no
//! place among the followed, and ends nowhere: what does not pass stays as it was committed.

use jiff::Timestamp;

use crate::engine::choose::Runner;
use crate::engine::decision::{Blocked, Blocker, Drift, PromotedAgain, WhyAgain};
use crate::engine::drift::moved_image;
use crate::engine::judge;
use crate::engine::marks::{Standing, standing};
use crate::engine::observation::Observation;
use crate::engine::policy::{OnTagMoved, Policy};
use crate::engine::record::Phase;
use crate::model::Promoted;

/// The promoted tag under the present spec, when it is to be judged at all.
pub(in crate::engine) fn judge(
    policy: &Policy,
    observation: &Observation,
    drift: &Drift,
    now: Timestamp,
) -> Option<PromotedAgain> {
    let promoted = observation.record.promoted.as_ref()?;
    let why = why(policy, observation, drift, promoted)?;
    let runner = Runner { tag: promoted.release.tag.clone(), listed_by_all: true };
    let mut candidate = judge::judge(policy, observation, &runner, now);
    if policy.on_tag_moved == OnTagMoved::Report
        && let Some(moved) = moved(policy, observation, promoted)
    {
        // Tests of what nobody wants promoted are not started either.
        candidate.phase = Phase::Failed;
        candidate.blocked =
            Some(Blocked { by: Blocker::TagMoved, message: format!("its tag was moved: {moved}") });
    }
    Some(PromotedAgain { why, candidate })
}

fn why(policy: &Policy, observation: &Observation, drift: &Drift, promoted: &Promoted) -> Option<WhyAgain> {
    let tag = &promoted.release.tag;
    let pinned = policy.pin.as_ref() == Some(tag);
    if policy.pin.is_some() && !pinned {
        return None;
    }
    let ahead = match standing(observation) {
        // Targets carry another release: it or a newer one comes next, or a pin.
        Standing::Ahead { tag: Some(carried), .. } if carried != tag && !pinned => return None,
        Standing::Ahead { .. } => true,
        Standing::InStep | Standing::Unreadable(_) => false,
    };
    if promoted.generation != policy.generation || lives_elsewhere(policy, promoted) {
        Some(WhyAgain::Generation)
    } else if ahead {
        Some(WhyAgain::TargetsAhead)
    } else if policy.on_tag_moved == OnTagMoved::Repromote && drift.moved.is_some() {
        Some(WhyAgain::TagMoved)
    } else {
        None
    }
}

/// An image of the promoted release is looked for in another repository now: what the spec refers to was edited, which is
/// no new generation of the set.
fn lives_elsewhere(policy: &Policy, promoted: &Promoted) -> bool {
    promoted.release.images.iter().any(|image| {
        let known = policy.image(&image.name).filter(|known| !known.advisory);
        let place = known.and_then(|known| known.place.repository());
        place.is_some_and(|place| *place != image.repository)
    })
}

/// The first image whose tag holds other required children than were committed. One that the spec looks for elsewhere
/// now is another tag, which nobody moved.
fn moved(policy: &Policy, observation: &Observation, promoted: &Promoted) -> Option<String> {
    promoted.release.images.iter().find_map(|image| {
        let known = policy.image(&image.name).filter(|known| !known.advisory)?;
        let same_place = known.place.repository() == Some(&image.repository)
            && known.tag_template.render(promoted.release.tag.as_str()).as_ref() == Some(&image.tag);
        let memory = observation.memory.image(&promoted.release.tag, &image.name)?;
        let digest = &memory.sighting.present().filter(|_| same_place)?.digest;
        moved_image(policy, observation, promoted, image, digest)
    })
}
