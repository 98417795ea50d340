//! The one next step for each thing that may stand in the way. Sentences without a final period.

use crate::engine::decision::{Candidate, CandidateImage, Cell, GateState};
use crate::engine::policy::Policy;
use crate::model::{DefectKind, DoubtKind, Sighting, Tag};

/// What to do about the first required cell that blocks: what is known to be wrong goes first, as in the engine.
pub fn cell(policy: &Policy, candidate: &Candidate) -> String {
    let cells = candidate.images.iter().flat_map(|image| image.cells.iter().map(move |cell| (image, cell)));
    let severity = |cell: &Cell| match cell.sighting {
        Sighting::Broken(_) => 0,
        Sighting::Missing => 1,
        Sighting::Unknown(_) => 2,
        Sighting::Present(_) => 3,
    };
    let blocking = cells.filter(|(_, cell)| cell.required).min_by_key(|(_, cell)| severity(cell));
    let Some((image, cell)) = blocking else { return "run this again".to_owned() };
    let known = policy.image(&image.name);
    let host = known.map_or("the registry", |known| known.repository.host());
    let reference = reference(policy, image);
    match &cell.sighting {
        Sighting::Broken(defect) => broken(&defect.kind, &reference, cell),
        Sighting::Unknown(doubt) => doubtful(doubt.kind, doubt.retry_after_secs, host),
        Sighting::Missing if image.digest.is_some() => format!(
            "push {reference} again with {platform} in its index, or move {platform} to `advisoryPlatforms` of {}",
            image.name,
            platform = cell.platform
        ),
        Sighting::Missing | Sighting::Present(_) => format!("push {reference}, then run this again"),
    }
}

fn reference(policy: &Policy, image: &CandidateImage) -> String {
    let repository = policy.image(&image.name).map_or(image.name.as_str(), |known| known.repository.as_str());
    image.tag.as_ref().map_or_else(|| repository.to_owned(), |tag| format!("{repository}:{tag}"))
}

fn broken(kind: &DefectKind, reference: &str, cell: &Cell) -> String {
    match kind {
        DefectKind::DanglingChild(_) | DefectKind::DanglingBlob(_) => {
            format!("push {reference} again: a part of it is gone from the registry")
        }
        DefectKind::PlatformMismatch => {
            format!(
                "build {reference} for {} again: what it holds was built for another platform",
                cell.platform
            )
        }
        DefectKind::Unsupported => format!("push {reference} as an OCI or Docker schema 2 image"),
    }
}

fn doubtful(kind: DoubtKind, retry_after_secs: Option<u32>, host: &str) -> String {
    match (kind, retry_after_secs) {
        (DoubtKind::Auth, _) => {
            format!("run `docker login {host}` with an account that may pull, then run this again")
        }
        (DoubtKind::Throttled, Some(secs)) => {
            format!("run this again in {secs} s: {host} asked for that pause")
        }
        (DoubtKind::Throttled, None) => format!("run this again later: {host} was asked too often"),
        (DoubtKind::Transient, _) => {
            format!("run this again; if it stays so, check that {host} can be reached from here")
        }
        (DoubtKind::Protocol | DoubtKind::Corrupt, _) => {
            format!("check that {host} is the registry that you mean, then run this again")
        }
    }
}

/// What to do about the first gate that failed.
pub fn gate_failed(candidate: &Candidate) -> String {
    let failed = candidate.gates.iter().find(|gate| !gate.advisory && gate.state == GateState::Failed);
    let name = failed.map_or("the gate", |gate| gate.name.as_str());
    format!(
        "build all images of {} from one commit and push them again, or make {name} advisory",
        candidate.tag
    )
}

/// A digest changed between two looks, which a dry-run does not see.
pub fn settling() -> String {
    "run this again when the tag has been still for `spec.candidates.settle`".to_owned()
}

/// `--require-smoke`.
pub fn smoke_not_run() -> String {
    "smoke tests run in the cluster: leave `--require-smoke` out to judge the rest".to_owned()
}

/// `spec.suspend`.
pub fn suspended() -> String {
    "remove `spec.suspend` from the file to see what would be promoted".to_owned()
}

/// The floor has no place in the order.
pub fn floor_not_ordered() -> String {
    "name a tag that `spec.candidates` accepts, or change `spec.candidates`".to_owned()
}

/// Another tag is pinned.
pub fn other_pin(pin: &Tag) -> String {
    format!("remove `spec.pin` from the file, or check {pin}")
}

/// The tag is dismissed.
pub fn skipped(tag: &Tag) -> String {
    format!("remove {tag} from `spec.skip` if it is wanted after all")
}

/// The tag that was asked for is filtered out.
pub fn not_a_candidate(tag: &Tag) -> String {
    format!(
        "compare {tag} with `filterTags`, `exclude` and `policy`; only `spec.pin` promotes a tag that they refuse"
    )
}

/// The tag is not above the floor.
pub fn superseded(tag: &Tag) -> String {
    format!("check a newer tag; the way back to {tag} is `spec.pin`")
}

/// A tag list could not be read and nothing else is known.
pub fn list_unknown() -> String {
    "mend what is named above; `--tag` looks at one tag without a list".to_owned()
}

/// Candidates are there, and none is above the floor.
pub fn none_newer() -> String {
    "push a newer tag, or look at one with `--tag`".to_owned()
}

/// No tag is a candidate.
pub fn no_candidate(nothing_listed: bool) -> String {
    if nothing_listed {
        "check that `repository` is right and that something was pushed".to_owned()
    } else {
        "compare `spec.candidates` with the tags in the registry, or name one with `--tag`".to_owned()
    }
}
