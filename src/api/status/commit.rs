//! The commit's part of status: the one function that sets `promoted`, `floor` and `history`.

use jiff::Timestamp;

use super::record::promoted;
use super::time_text;
use crate::api::v1alpha1::{
    FloorStatus, HISTORY_MAX, HistoryEntry, PlatformDigest, PromotedImage, PromotedStatus, ReleaseSetStatus,
};
use crate::engine::clearance::{Committed, Floor, Granted};
use crate::model::{Promoted, ReleaseImage};

/// Most bytes that history takes as JSON (design §3): with it and the promoted release there is room for the
/// candidates below [`super::STATUS_MAX_BYTES`].
pub const HISTORY_MAX_BYTES: usize = 24_000;

/// Writes a granted release into status: `promoted`, `floor`, and history with the newest first. The candidate
/// that it was is followed no longer. `history_limit` counts the promoted release itself.
pub fn apply_commit(status: &mut ReleaseSetStatus, granted: Granted, history_limit: usize, now: Timestamp) {
    let (promoted, floor) = granted.into_promoted(now);
    set_promoted(status, &promoted, floor, history_limit);
}

/// Apart from the grant, so that tests can reach it; private to this file.
fn set_promoted(status: &mut ReleaseSetStatus, promoted: &Promoted, floor: Floor, history_limit: usize) {
    let promoted = promoted_status(promoted);
    status.candidates.retain(|candidate| candidate.tag != promoted.tag);
    status.summary.take_if(|summary| summary.candidate == promoted.tag);
    // They spoke of what was committed before.
    status.conditions.retain(|condition| !super::render::is_of_promoted_tags(condition));
    let entry = history_entry(&promoted);
    // The same release under another spec is no other release: edits must not push older ones out.
    let is_same = |known: &HistoryEntry| (&known.tag, &known.digests) == (&entry.tag, &entry.digests);
    if status.history.first().is_some_and(is_same) {
        status.history.remove(0);
    }
    status.history.insert(0, entry);
    status.history.truncate(history_limit.clamp(1, HISTORY_MAX));
    while status.history.len() > 1 && super::render::json_bytes(&status.history) > HISTORY_MAX_BYTES {
        status.history.pop();
    }
    status.promoted = Some(promoted);
    status.floor = Some(FloorStatus { tag: floor.tag.to_string(), key: floor.key });
}

/// The release that targets follow, from a status that the API server just returned; `None` when nothing is
/// promoted, or when it cannot be read, which [`super::record`] reports.
pub fn committed(status: &ReleaseSetStatus) -> Option<Committed> {
    promoted(status.promoted.as_ref()?).ok().map(Committed::read_back)
}

fn promoted_status(promoted: &Promoted) -> PromotedStatus {
    PromotedStatus {
        tag: promoted.release.tag.to_string(),
        sequence: promoted.sequence,
        at: time_text(promoted.at),
        revision: promoted.release.revision.clone(),
        generation: promoted.generation,
        images: promoted.release.images.iter().map(promoted_image).collect(),
    }
}

fn promoted_image(image: &ReleaseImage) -> PromotedImage {
    let platform = |(platform, digest): &(crate::model::Platform, crate::model::Digest)| PlatformDigest {
        platform: platform.to_string(),
        digest: digest.to_string(),
    };
    PromotedImage {
        name: image.name.to_string(),
        repository: image.repository.to_string(),
        tag: image.tag.to_string(),
        digest: image.digest.to_string(),
        platforms: image.platforms.iter().map(platform).collect(),
    }
}

fn history_entry(promoted: &PromotedStatus) -> HistoryEntry {
    HistoryEntry {
        tag: promoted.tag.clone(),
        sequence: promoted.sequence,
        at: promoted.at.clone(),
        digests: promoted.images.iter().map(|image| (image.name.clone(), image.digest.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::status::record;
    use crate::api::status::tests::{candidate_status, promoted};

    fn floor() -> Floor {
        Floor { tag: "v2".parse().unwrap(), key: "2".to_owned() }
    }

    #[test]
    fn a_commit_sets_the_release_and_nothing_beside_it() {
        let moved = json!([{"type": "TagMoved", "status": "True", "reason": "TagMoved", "message": "v1 moved",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let mut status = ReleaseSetStatus {
            conditions: serde_json::from_value(moved).unwrap(),
            candidates: vec![candidate_status("v3"), candidate_status("v2")],
            ..ReleaseSetStatus::default()
        };
        set_promoted(&mut status, &promoted("v2", 7), floor(), 10);
        let record = record(&status).unwrap();
        assert_eq!(record.promoted, Some(promoted("v2", 7)), "what was granted is what is read back");
        assert_eq!(record.floor, Some(floor()));
        assert_eq!(committed(&status).map(|committed| committed.promoted().clone()), record.promoted);
        let left: Vec<&str> = status.candidates.iter().map(|candidate| candidate.tag.as_str()).collect();
        assert_eq!(left, ["v3"]);
        assert_eq!(status.history[0].sequence, 7);
        assert!(status.conditions.is_empty(), "what was said of the release before");
    }

    #[test]
    fn a_release_that_is_committed_again_is_one_entry_of_history() {
        let mut status = ReleaseSetStatus::default();
        let mut moved = promoted("v2", 4);
        moved.release.images[0].digest = format!("sha256:{}", "7".repeat(64)).parse().unwrap();
        for promoted in [promoted("v1", 1), promoted("v2", 2), promoted("v2", 3), moved] {
            set_promoted(&mut status, &promoted, floor(), 10);
        }
        let sequences: Vec<i64> = status.history.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, [4, 3, 1], "other digests are another release");
    }

    #[test]
    fn history_is_newest_first_and_bounded() {
        let mut status = ReleaseSetStatus::default();
        for sequence in 1..=12 {
            set_promoted(&mut status, &promoted(&format!("v{sequence}"), sequence), floor(), 10);
        }
        let sequences: Vec<i64> = status.history.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, (3..=12).rev().collect::<Vec<_>>());

        let mut wide = promoted("v2", 13);
        let image = wide.release.images[0].clone();
        wide.release.images = (0..32)
            .map(|index| ReleaseImage {
                name: format!("image-{index:0>57}").parse().unwrap(),
                ..image.clone()
            })
            .collect();
        for sequence in 13..30 {
            wide.sequence = sequence;
            wide.release.tag = format!("v{sequence}").parse().unwrap();
            set_promoted(&mut status, &wide, floor(), 50);
        }
        assert!(super::super::render::json_bytes(&status.history) <= HISTORY_MAX_BYTES);
        assert!(status.history.len() > 1);
        assert_eq!(status.history[0].sequence, 29);
    }
}
