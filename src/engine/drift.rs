//! What became of the promoted tags since the commit (design §4 Same tag again).

use crate::engine::decision::Drift;
use crate::engine::observation::Observation;
use crate::model::{Promoted, ReleaseImage, Sighting};

/// Compares what the promoted tags point at now with what was committed. What could not be told changes
/// nothing (S6).
pub(in crate::engine) fn drift(observation: &Observation) -> Drift {
    let Some(promoted) = &observation.record.promoted else { return Drift::default() };
    let asked = observation.memory.drift.as_ref().filter(|drift| drift.sequence == promoted.sequence);
    let Some(asked) = asked else { return Drift::default() };
    let mut drift = Drift { known: true, ..Drift::default() };
    for image in &promoted.release.images {
        match asked.heads.get(&image.name).map(|head| &head.sighting) {
            Some(Sighting::Present(head)) if *head != image.digest => {
                let change = format!(
                    "{}:{} was promoted at {} and points at {head} now",
                    image.repository, image.tag, image.digest
                );
                match children_are_equal(observation, promoted, image) {
                    Some(true) => drift.extended = drift.extended.or(Some(change)),
                    Some(false) => drift.moved = drift.moved.or(Some(change)),
                    None => drift.known = false,
                }
            }
            Some(Sighting::Missing) => {
                let gone = format!("{}:{} is gone from its registry", image.repository, image.tag);
                drift.gone = drift.gone.or(Some(gone));
            }
            Some(Sighting::Present(_)) => {}
            Some(Sighting::Broken(_) | Sighting::Unknown(_)) | None => drift.known = false,
        }
    }
    drift
}

/// Whether every required child digest is as it was committed; `None` while the new index was not read.
fn children_are_equal(observation: &Observation, promoted: &Promoted, image: &ReleaseImage) -> Option<bool> {
    match &observation.memory.image(&promoted.release.tag, &image.name)?.sighting {
        Sighting::Present(evidence) => Some(
            image
                .platforms
                .iter()
                .all(|(platform, digest)| evidence.cell(platform).present() == Some(digest)),
        ),
        Sighting::Broken(_) => Some(false),
        Sighting::Missing | Sighting::Unknown(_) => None,
    }
}
