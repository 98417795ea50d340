//! `status` of a ReleaseSet: the record that survives a restart, and what people read. Every list is atomic;
//! nothing here changes by the passing of time alone.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{rules, schema};
use crate::engine::policy::{GATES_MAX, IMAGES_MAX, PLATFORMS_MAX, TARGETS_MAX};

pub use crate::engine::gates::VERDICTS_MAX;
/// Most ended candidates that are kept (design §3).
pub const RECENT_MAX: usize = 5;
/// Most logs of failed smoke tests (design §3).
pub const FAILURE_LOGS_MAX: usize = 4;
/// Most conditions: the eight types, and room for those of later versions.
pub const CONDITIONS_MAX: usize = 16;
/// Most cells of one candidate: 32 images × 16 required and 16 advisory platforms.
pub const CELLS_MAX: usize = IMAGES_MAX * PLATFORMS_MAX * 2;
/// Most followed candidates: the greatest `maxFollowed`.
pub const CANDIDATES_MAX: usize = 20;
/// Most promoted releases in history: the greatest `historyLimit`.
pub const HISTORY_MAX: usize = 50;

/// What was observed, decided and done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "default" = {"observedGeneration": -1},
    "example" = {"observedGeneration": 1},
    "x-kubernetes-validations" = rules::STATUS,
))]
pub struct ReleaseSetStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default = "never_observed")]
    #[schemars(extend("example" = 1))]
    pub observed_generation: i64,
    /// State in the words of kstatus and Flux. Absent means that nothing was looked at yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CONDITIONS_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "main-3f9ac1d-1767225600 is promoted", "lastTransitionTime": "2026-01-01T00:00:00Z"}]))]
    pub conditions: Vec<ConditionStatus>,
    /// The promoted release. Absent means that nothing was promoted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"tag": "main-3f9ac1d-1767225600", "sequence": 1, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []}))]
    pub promoted: Option<PromotedStatus>,
    /// The newest release ever promoted or pinned away from. Absent means no floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"tag": "main-3f9ac1d-1767225600", "key": "1767225600"}))]
    pub floor: Option<FloorStatus>,
    /// Promoted releases, newest first. Absent means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = HISTORY_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"tag": "main-3f9ac1d-1767225600", "sequence": 1, "at": "2026-01-01T00:00:00Z", "digests": {}}]))]
    pub history: Vec<HistoryEntry>,
    /// Followed candidates; the first is the one that is printed. Absent means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CANDIDATES_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"tag": "main-3f9ac1d-1767225600", "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z", "clock": {"consumed": "0s"}}]))]
    pub candidates: Vec<CandidateStatus>,
    /// Smoke verdicts that still count. Absent means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = VERDICTS_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"binding": "ghcr.io/acme/worker@sha256:… linux/amd64 v1:…", "outcome": "Passed", "at": "2026-01-01T00:00:00Z"}]))]
    pub verdicts: Vec<VerdictStatus>,
    /// What the last failed smoke tests wrote, newest first. Absent means nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = FAILURE_LOGS_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"gate": "worker-boots", "at": "2026-01-01T00:00:00Z", "log": "panic: DATABASE_URL is not set"}]))]
    pub failure_logs: Vec<FailureLog>,
    /// The last candidates that ended without being promoted, newest first. Absent means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = RECENT_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"tag": "main-3f9ac1d-1767225600", "outcome": "Superseded", "at": "2026-01-01T00:00:00Z"}]))]
    pub recent: Vec<EndedStatus>,
    /// The last distinct tags that the ImagePolicy of `spec.candidates.policyRef` named, newest first. Absent means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named_tags", extend("example" = ["main-3f9ac1d-1767225600"]))]
    pub named: Vec<String>,
    /// How far each target is. Absent means that there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = TARGETS_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"name": "config", "state": "Applied", "sequence": 1, "since": "2026-01-01T00:00:00Z"}]))]
    pub targets: Vec<TargetStatus>,
    /// The printed candidate in one line. Absent means that none is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"candidate": "main-3f9ac1d-1767225600", "images": "5/6", "gates": "0/1", "blockedBy": "embeddings linux/arm64 missing"}))]
    pub summary: Option<Summary>,
    /// How much the tag lists gave. Absent means that nothing was listed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"tags": 312, "matched": 40, "notNumbers": 0}))]
    pub listed: Option<ListedStatus>,
    /// The value of the annotation `reconcile.fluxcd.io/requestedAt` that was acted upon last. Absent means
    /// that none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::requested_at", extend("example" = "2026-01-01T00:00:00Z"))]
    pub last_handled_reconcile_at: Option<String>,
}

/// One condition, as `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionStatus {
    /// Which condition.
    #[serde(rename = "type")]
    #[schemars(schema_with = "schema::word", extend("example" = "Ready"))]
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(schema_with = "schema::word", extend("example" = "True"))]
    pub status: String,
    /// Why, in one word.
    #[schemars(schema_with = "schema::word", extend("example" = "Succeeded"))]
    pub reason: String,
    /// Why, in words.
    #[schemars(schema_with = "schema::condition_message", extend("example" = "main-3f9ac1d-1767225600 is promoted"))]
    pub message: String,
    /// Since when the status is what it is.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub last_transition_time: String,
    /// Generation of the spec that the condition speaks of. Absent means unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = 1))]
    pub observed_generation: Option<i64>,
}

/// A release that was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotedStatus {
    /// The shared tag.
    #[schemars(schema_with = "schema::seen_tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub tag: String,
    /// Counts the commits of this set, from 1.
    #[schemars(extend("example" = 1))]
    pub sequence: i64,
    /// When it was committed.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub at: String,
    /// The revision that all siblings name. Absent means that no sameRevision gate compared them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::revision", extend("example" = "3f9ac1d5a1"))]
    pub revision: Option<String>,
    /// Generation of the spec that it was judged under.
    #[schemars(extend("example" = 1))]
    pub generation: i64,
    /// Required images in the order of the spec, at pinned digests.
    #[schemars(length(max = IMAGES_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = []))]
    pub images: Vec<PromotedImage>,
}

/// One image of a committed release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotedImage {
    /// Name of the sibling.
    #[schemars(schema_with = "schema::seen_name", extend("example" = "app"))]
    pub name: String,
    /// Its repository.
    #[schemars(schema_with = "schema::seen_repository", extend("example" = "ghcr.io/acme/app"))]
    pub repository: String,
    /// Its own tag.
    #[schemars(schema_with = "schema::seen_tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub tag: String,
    /// Digest of what the tag pointed at: the index, or the manifest of a single-platform image.
    #[schemars(schema_with = "schema::digest", extend("example" = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))]
    pub digest: String,
    /// Each required platform with the digest of its child manifest.
    #[schemars(length(max = PLATFORMS_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = []))]
    pub platforms: Vec<PlatformDigest>,
}

/// One platform of a committed image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformDigest {
    /// The platform.
    #[schemars(schema_with = "schema::seen_platform", extend("example" = "linux/amd64"))]
    pub platform: String,
    /// Digest of its child manifest.
    #[schemars(schema_with = "schema::digest", extend("example" = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))]
    pub digest: String,
}

/// Nothing at or below this is promoted without a pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FloorStatus {
    /// Its shared tag.
    #[schemars(schema_with = "schema::seen_tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub tag: String,
    /// Its key in the order of the policy; empty when it had none.
    #[serde(default)]
    #[schemars(schema_with = "schema::key", extend("example" = "1767225600"))]
    pub key: String,
}

/// One promoted release of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The shared tag.
    #[schemars(schema_with = "schema::seen_tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub tag: String,
    /// Its sequence.
    #[schemars(extend("example" = 1))]
    pub sequence: i64,
    /// When it was committed.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub at: String,
    /// Digest of each required image. Absent means that none was kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::digests", extend("example" = {"app": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}))]
    pub digests: BTreeMap<String, String>,
}

/// One followed candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// The shared tag.
    #[schemars(schema_with = "schema::seen_tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub tag: String,
    /// `Partial`, `Settling`, `Testing`, `Confirming` or `Failed`.
    #[schemars(schema_with = "schema::word", extend("example" = "Partial"))]
    pub phase: String,
    /// When it was first followed.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub first_seen: String,
    /// When every required cell became Present. Absent means not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub complete_at: Option<String>,
    /// When a digest of it last changed after it had been Present. Absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub changed_at: Option<String>,
    /// Digest of each image that was Present. Absent means none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::digests", extend("example" = {"app": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}))]
    pub digests: BTreeMap<String, String>,
    /// Since when some required cell has been Unknown without a break. Absent means that none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub unknown_since: Option<String>,
    /// The deadline's clock. Absent means that it never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"consumed": "12m", "runningSince": "2026-01-01T00:00:00Z"}))]
    pub clock: Option<CandidateClock>,
    /// The blocking cell or gate. Absent means that nothing blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::message", extend("example" = "embeddings linux/arm64 missing"))]
    pub blocked_by: Option<String>,
    /// Since when that one blocks. Absent means that nothing blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub blocked_since: Option<String>,
    /// Cells that are not Present. Absent means none, or that the detail was dropped to keep status small.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CELLS_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"image": "embeddings", "platform": "linux/arm64", "required": true, "state": "Missing"}]))]
    pub cells: Vec<CellStatus>,
    /// Gates in the order of the spec. Absent means none, or that the detail was dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = GATES_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"name": "worker-boots", "state": "Running"}]))]
    pub gates: Vec<GateStatus>,
}

/// A clock that stops while a required cell is Unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateClock {
    /// Time used up in earlier runs.
    #[schemars(schema_with = "schema::word", extend("example" = "12m"))]
    pub consumed: String,
    /// Since when it runs. Absent means that it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub running_since: Option<String>,
}

/// One cell that is not Present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellStatus {
    /// Name of the image.
    #[schemars(schema_with = "schema::seen_name", extend("example" = "embeddings"))]
    pub image: String,
    /// The platform.
    #[schemars(schema_with = "schema::seen_platform", extend("example" = "linux/arm64"))]
    pub platform: String,
    /// A release needs it.
    #[schemars(extend("example" = true))]
    pub required: bool,
    /// `Missing`, `Broken` or `Unknown`.
    #[schemars(schema_with = "schema::word", extend("example" = "Missing"))]
    pub state: String,
    /// Why it is Broken or Unknown. Absent for Missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::message", extend("example" = "ghcr.io answered 503"))]
    pub reason: Option<String>,
}

/// One gate of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Name of the gate.
    #[schemars(schema_with = "schema::seen_name", extend("example" = "worker-boots"))]
    pub name: String,
    /// `Passed`, `Failed`, `Running`, `Pending` or `NotRun`.
    #[schemars(schema_with = "schema::word", extend("example" = "Running"))]
    pub state: String,
    /// What keeps a smoke test from a verdict: `Unschedulable`, `ImagePull`, `ConfigRefused`, `QuotaDenied`,
    /// `ImageRewritten`, `Evicted` or `Unreadable`. Absent means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::word", extend("example" = "Unschedulable"))]
    pub reason: Option<String>,
    /// In words. Absent means that there is nothing to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::message", extend("example" = "exit code 1"))]
    pub message: Option<String>,
}

/// The end of what a failed smoke test wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureLog {
    /// Name of the gate.
    #[schemars(schema_with = "schema::seen_name", extend("example" = "worker-boots"))]
    pub gate: String,
    /// When the container ended.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub at: String,
    /// Its last lines.
    #[schemars(schema_with = "schema::log", extend("example" = "panic: DATABASE_URL is not set"))]
    pub log: String,
}

/// One smoke verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictStatus {
    /// What it counts for: repository, child digest, platform and gate hash.
    #[schemars(schema_with = "schema::binding", extend("example" = "ghcr.io/acme/worker@sha256:… linux/amd64 v1:…"))]
    pub binding: String,
    /// `Passed`, `Failed`, `TimedOut` or `OOMKilled`.
    #[schemars(schema_with = "schema::word", extend("example" = "Passed"))]
    pub outcome: String,
    /// When the container ended.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub at: String,
    /// Exit code of the container. Absent means that it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = 0))]
    pub exit_code: Option<i32>,
    /// How often the gate had been run again by hand when this was said. Absent means never.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(extend("example" = 1))]
    pub retry: u32,
    /// In words. Absent means that there is nothing to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::message", extend("example" = "exit code 1"))]
    pub message: Option<String>,
}

/// One candidate that ended without being promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedStatus {
    /// The shared tag.
    #[schemars(schema_with = "schema::seen_tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub tag: String,
    /// `Failed`, `Superseded`, `Gone` or `Skipped`.
    #[schemars(schema_with = "schema::word", extend("example" = "Superseded"))]
    pub outcome: String,
    /// When it ended.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub at: String,
    /// In words. Absent means that there is nothing to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::message", extend("example" = "main-77aa001-1767229200 was promoted instead"))]
    pub message: Option<String>,
}

/// How far one target is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Name of the target.
    #[schemars(schema_with = "schema::seen_name", extend("example" = "config"))]
    pub name: String,
    /// `Pending`, `Applied`, `Held`, `Taken`, `Ahead` or `Failed`; of an imagePolicy target also `Selected`, `Committed`,
    /// `AwaitingMerge` or `RolledOut`: what Flux has made of it.
    #[schemars(schema_with = "schema::word", extend("example" = "Applied"))]
    pub state: String,
    /// Sequence of the release that our last write carried. Absent means that none was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = 1))]
    pub sequence: Option<i64>,
    /// Since when the state is what it is.
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub since: String,
    /// In words. Absent means that there is nothing to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::message", extend("example" = "ConfigMap/acme-release exists and is not ours"))]
    pub message: Option<String>,
}

/// The printed candidate in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its shared tag.
    #[schemars(schema_with = "schema::seen_tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub candidate: String,
    /// Required cells that are Present, and all required cells.
    #[schemars(schema_with = "schema::word", extend("example" = "5/6"))]
    pub images: String,
    /// Required gates that passed, and all required gates.
    #[schemars(schema_with = "schema::word", extend("example" = "0/1"))]
    pub gates: String,
    /// What blocks it. Absent means that nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::message", extend("example" = "embeddings linux/arm64 missing"))]
    pub blocked_by: Option<String>,
    /// Since when that one blocks. Absent means that nothing blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time", extend("example" = "2026-01-01T00:00:00Z"))]
    pub blocked_since: Option<String>,
}

/// How much the tag lists gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedStatus {
    /// Tags in all lists.
    #[schemars(extend("example" = 312))]
    pub tags: i64,
    /// Of them, candidates by the policy.
    #[schemars(extend("example" = 40))]
    pub matched: i64,
    /// Of them, tags whose extract is no number under a numerical policy; they are skipped.
    #[schemars(extend("example" = 0))]
    pub not_numbers: i64,
    /// Of them, tags whose extract is no version under a semver policy; they are skipped.
    #[serde(default)]
    #[schemars(extend("example" = 0))]
    pub not_versions: i64,
    /// Of them, versions outside the range of a semver policy; they are skipped.
    #[serde(default)]
    #[schemars(extend("example" = 0))]
    pub out_of_range: i64,
}

fn never_observed() -> i64 {
    -1
}

// === impl ReleaseSetStatus ===

impl Default for ReleaseSetStatus {
    fn default() -> Self {
        Self {
            observed_generation: never_observed(),
            conditions: Vec::new(),
            promoted: None,
            floor: None,
            history: Vec::new(),
            candidates: Vec::new(),
            verdicts: Vec::new(),
            failure_logs: Vec::new(),
            recent: Vec::new(),
            named: Vec::new(),
            targets: Vec::new(),
            summary: None,
            listed: None,
            last_handled_reconcile_at: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
