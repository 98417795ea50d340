//! Status read back as the engine's record.
//!
//! A candidate or verdict that cannot be parsed is forgotten: it is seen, or tested, again. A promoted release or
//! floor that cannot be parsed stalls the set: taken for absent, it would allow a downgrade (S3).

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;

use crate::api::duration;
use crate::api::v1alpha1::{
    CandidateClock, CandidateStatus, EndedStatus, FloorStatus, PromotedImage, PromotedStatus,
    ReleaseSetStatus, VerdictStatus,
};
use crate::engine::clearance::Floor;
use crate::engine::record::{CandidateRecord, DeadlineClock, Ended, Outcome, Phase, Record};
use crate::model::{Binding, Digest, ImageName, Promoted, Release, ReleaseImage, SmokeOutcome, SmokeVerdict};

/// A promoted release or floor in status that cannot be read, so that nothing may move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read {field}: {why}; compare the controller's version with the one that wrote it, and mend or remove the field by hand"
)]
pub struct UnreadableStatus {
    /// Path of the field.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

/// What status remembers.
///
/// # Errors
/// When `promoted` or `floor` is there and cannot be read.
pub fn record(status: &ReleaseSetStatus) -> Result<Record, UnreadableStatus> {
    Ok(Record {
        promoted: status.promoted.as_ref().map(promoted).transpose()?,
        floor: status.floor.as_ref().map(floor).transpose()?,
        candidates: status.candidates.iter().filter_map(candidate).collect(),
        verdicts: status.verdicts.iter().filter_map(verdict).collect(),
        recent: status.recent.iter().filter_map(ended).collect(),
        named: status.named.iter().filter_map(|name| name.parse().ok()).collect(),
    })
}

/// `status.promoted` as a value.
pub(super) fn promoted(status: &PromotedStatus) -> Result<Promoted, UnreadableStatus> {
    let field = "status.promoted";
    if status.sequence < 1 || status.images.is_empty() {
        let why = "a release has a sequence from 1 and at least one image".to_owned();
        return Err(UnreadableStatus { field: field.to_owned(), why });
    }
    let images = status.images.iter().enumerate();
    Ok(Promoted {
        release: Release {
            tag: read(&format!("{field}.tag"), &status.tag)?,
            images: images
                .map(|(index, image)| promoted_image(&format!("{field}.images[{index}]"), image))
                .collect::<Result<_, _>>()?,
            revision: status.revision.clone(),
        },
        sequence: status.sequence,
        at: read(&format!("{field}.at"), &status.at)?,
        generation: status.generation,
    })
}

fn promoted_image(field: &str, image: &PromotedImage) -> Result<ReleaseImage, UnreadableStatus> {
    let platforms = image.platforms.iter().enumerate().map(|(index, platform)| {
        let field = format!("{field}.platforms[{index}]");
        let digest = read(&format!("{field}.digest"), &platform.digest)?;
        Ok((read(&format!("{field}.platform"), &platform.platform)?, digest))
    });
    Ok(ReleaseImage {
        name: read(&format!("{field}.name"), &image.name)?,
        repository: read(&format!("{field}.repository"), &image.repository)?,
        tag: read(&format!("{field}.tag"), &image.tag)?,
        digest: read(&format!("{field}.digest"), &image.digest)?,
        platforms: platforms.collect::<Result<_, _>>()?,
    })
}

fn floor(status: &FloorStatus) -> Result<Floor, UnreadableStatus> {
    Ok(Floor { tag: read("status.floor.tag", &status.tag)?, key: status.key.clone() })
}

fn read<T: FromStr<Err: ToString>>(field: &str, text: &str) -> Result<T, UnreadableStatus> {
    text.parse().map_err(|error: T::Err| UnreadableStatus { field: field.to_owned(), why: error.to_string() })
}

fn candidate(status: &CandidateStatus) -> Option<CandidateRecord> {
    Some(CandidateRecord {
        tag: status.tag.parse().ok()?,
        first_seen: status.first_seen.parse().ok()?,
        complete_at: optional(status.complete_at.as_deref())?,
        changed_at: optional(status.changed_at.as_deref())?,
        digests: digests(&status.digests)?,
        clock: clock(status.clock.as_ref())?,
        unknown_since: optional(status.unknown_since.as_deref())?,
        phase: Phase::ALL.into_iter().find(|phase| phase.word() == status.phase)?,
        blocked_by: status.blocked_by.clone(),
        blocked_since: optional(status.blocked_since.as_deref())?,
    })
}

#[expect(clippy::option_option, reason = "unreadable and absent are two answers")]
fn optional(text: Option<&str>) -> Option<Option<Timestamp>> {
    text.map_or(Some(None), |text| text.parse().ok().map(Some))
}

fn digests(texts: &BTreeMap<String, String>) -> Option<BTreeMap<ImageName, Digest>> {
    texts.iter().map(|(name, digest)| Some((name.parse().ok()?, digest.parse().ok()?))).collect()
}

fn clock(status: Option<&CandidateClock>) -> Option<DeadlineClock> {
    let Some(status) = status else { return Some(DeadlineClock::default()) };
    Some(DeadlineClock {
        consumed: duration::parse(&status.consumed).ok()?,
        running_since: optional(status.running_since.as_deref())?,
    })
}

fn verdict(status: &VerdictStatus) -> Option<SmokeVerdict> {
    let outcome = SmokeOutcome::ALL.into_iter().find(|outcome| outcome.word() == status.outcome)?;
    Some(SmokeVerdict {
        binding: Binding::stored(status.binding.as_str()),
        outcome,
        at: status.at.parse().ok()?,
        exit_code: status.exit_code,
        message: status.message.clone().unwrap_or_default(),
        retry: status.retry,
        log: None,
    })
}

fn ended(status: &EndedStatus) -> Option<Ended> {
    Some(Ended {
        tag: status.tag.parse().ok()?,
        outcome: Outcome::ALL.into_iter().find(|outcome| outcome.word() == status.outcome)?,
        at: status.at.parse().ok()?,
        message: status.message.clone().unwrap_or_default(),
    })
}
