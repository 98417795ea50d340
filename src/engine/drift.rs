//! What became of the promoted tags since the commit (design §4 Same tag again).

use crate::engine::decision::Drift;
use crate::engine::observation::Observation;
use crate::engine::policy::Policy;
use crate::model::{Digest, Promoted, ReleaseImage, Sighting};

/// Compares what the promoted tags point at now with what was committed. What could not be told changes
/// nothing (S6).
pub(in crate::engine) fn drift(policy: &Policy, observation: &Observation) -> Drift {
    let Some(promoted) = &observation.record.promoted else { return Drift::default() };
    let asked = observation.memory.drift.as_ref().filter(|drift| drift.sequence == promoted.sequence);
    let Some(asked) = asked else { return Drift::default() };
    let mut drift = Drift { known: true, ..Drift::default() };
    for image in &promoted.release.images {
        match asked.heads.get(&image.name).map(|head| &head.sighting) {
            Some(Sighting::Present(head)) if *head != image.digest => {
                match children_are_equal(policy, observation, promoted, image) {
                    Some(true) => note(&mut drift.extended, change(image, head)),
                    Some(false) => note(&mut drift.moved, change(image, head)),
                    None => drift.known = false,
                }
            }
            Some(Sighting::Missing) => {
                note(
                    &mut drift.gone,
                    format!("{}:{} is gone from its registry", image.repository, image.tag),
                );
            }
            Some(Sighting::Present(_)) => {}
            Some(Sighting::Broken(_) | Sighting::Unknown(_)) | None => drift.known = false,
        }
    }
    drift
}

/// What changed, when the tag of `image` points at `digest` now and a required child is not as it was committed.
pub(in crate::engine) fn moved_image(
    policy: &Policy,
    observation: &Observation,
    promoted: &Promoted,
    image: &ReleaseImage,
    digest: &Digest,
) -> Option<String> {
    let moved =
        *digest != image.digest && children_are_equal(policy, observation, promoted, image) == Some(false);
    moved.then(|| change(image, digest))
}

fn change(image: &ReleaseImage, digest: &Digest) -> String {
    format!("{}:{} was promoted at {} and points at {digest} now", image.repository, image.tag, image.digest)
}

/// Every image is named, so that the second to change is told like the first.
fn note(told: &mut Option<String>, change: String) {
    match told {
        Some(told) => {
            told.push_str("; ");
            told.push_str(&change);
        }
        None => *told = Some(change),
    }
}

/// Whether every child that is still required is as it was committed; `None` while the new index was not read.
fn children_are_equal(
    policy: &Policy,
    observation: &Observation,
    promoted: &Promoted,
    image: &ReleaseImage,
) -> Option<bool> {
    let known = policy.image(&image.name)?;
    match &observation.memory.image(&promoted.release.tag, &image.name)?.sighting {
        // A platform that the spec names no more was not asked for.
        Sighting::Present(evidence) => Some(
            image
                .platforms
                .iter()
                .filter(|(platform, _)| known.platforms.contains(platform))
                .all(|(platform, digest)| evidence.cell(platform).present() == Some(digest)),
        ),
        Sighting::Broken(_) => Some(false),
        Sighting::Missing | Sighting::Unknown(_) => None,
    }
}
