//! The sameRevision gate: all required images name one revision.

use std::collections::BTreeSet;

use crate::engine::decision::{Candidate, CandidateImage, GateState};
use crate::engine::observation::Observation;
use crate::engine::policy::{GateKind, Policy, RevisionSource, SameRevisionGate};
use crate::model::{Sighting, Tag};

/// Known absence fails; an image that is not Present yet is waited for.
pub(in crate::engine) fn judge(
    observation: &Observation,
    gate: &SameRevisionGate,
    tag: &Tag,
    images: &[CandidateImage],
) -> (GateState, String) {
    let mut values = BTreeSet::new();
    for image in images.iter().filter(|image| !image.advisory) {
        if !image.cells.iter().filter(|cell| cell.required).all(|cell| cell.sighting.is_present()) {
            return (GateState::Pending, format!("waits for {}", image.name));
        }
        match revision(observation, gate, tag, image) {
            Some(value) => values.insert((value, image.name.as_str())),
            None => {
                let message = format!("failed: {} carries no {}", image.name, gate.key);
                return (GateState::Failed, message);
            }
        };
    }
    let distinct: BTreeSet<&String> = values.iter().map(|(value, _)| value).collect();
    if distinct.len() <= 1 {
        return (GateState::Passed, "passed".to_owned());
    }
    let named: Vec<String> = values.iter().map(|(value, name)| format!("{name} {value}")).collect();
    (GateState::Failed, format!("failed: {} differs: {}", gate.key, named.join(", ")))
}

fn revision(
    observation: &Observation,
    gate: &SameRevisionGate,
    tag: &Tag,
    image: &CandidateImage,
) -> Option<String> {
    let Sighting::Present(evidence) = &observation.memory.image(tag, &image.name)?.sighting else {
        return None;
    };
    let revision = evidence.revisions.get(&gate.key)?;
    match gate.from {
        RevisionSource::Annotation => revision.annotation.clone(),
        RevisionSource::Any => revision.annotation.clone().or_else(|| revision.label.clone()),
    }
    .filter(|value| !value.is_empty())
}

/// The revision that all siblings share, for `status.promoted.revision`.
pub(in crate::engine) fn shared_revision(
    policy: &Policy,
    observation: &Observation,
    candidate: &Candidate,
) -> Option<String> {
    let gate = policy.gates.iter().find_map(|gate| match &gate.kind {
        GateKind::SameRevision(same) => Some(same),
        GateKind::Smoke(_) => None,
    })?;
    let mut values = candidate
        .images
        .iter()
        .filter(|image| !image.advisory)
        .map(|image| revision(observation, gate, &candidate.tag, image));
    let first = values.next()??;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}
