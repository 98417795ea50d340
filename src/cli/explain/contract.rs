//! What `tidegate explain -o json` prints: a stable contract. Fields may be added, none changes its name, type or
//! meaning. Times are RFC 3339, spans are seconds as of `now`.

use serde::Serialize;

/// Everything that status and spec tell of one ReleaseSet at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The moment that every age is counted to.
    pub now: String,
    /// The controller looked at the spec as it is now.
    pub up_to_date: bool,
    /// Why nothing is promoted whatever passes; null when nothing holds it.
    pub held: Option<String>,
    /// The promoted release; null when there is none.
    pub promoted: Option<Promoted>,
    /// Followed candidates; the first is the one that is printed.
    pub candidates: Vec<Candidate>,
    /// Targets in the order of the spec.
    pub targets: Vec<Target>,
    /// Conditions that want attention, `Type=Status: message`.
    pub conditions: Vec<String>,
    /// When registries are asked next, as far as status and spec tell; null when they do not.
    pub next_look: Option<String>,
    /// The one next action.
    pub next_action: String,
}

/// The promoted release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Promoted {
    /// The shared tag.
    pub tag: String,
    /// Counts the commits of the set.
    pub sequence: i64,
    /// When it was committed.
    pub at: String,
    /// Seconds since.
    pub age_secs: i64,
}

/// One followed candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The shared tag.
    pub tag: String,
    /// `Partial`, `Settling`, `Testing`, `Confirming` or `Failed`.
    pub phase: String,
    /// Seconds since it was first followed.
    pub age_secs: i64,
    /// What stands in the way first; null when nothing does.
    pub blocked_by: Option<String>,
    /// Seconds that this blocks; null when nothing does.
    pub blocked_secs: Option<i64>,
    /// Seconds left of its deadline, negative when overdue; null while its clock has not begun.
    pub deadline_left_secs: Option<i64>,
    /// The deadline's clock stands, because something required is unknown.
    pub deadline_stands: bool,
    /// Images in the order of the spec.
    pub images: Vec<Image>,
    /// Gates in the order of the spec.
    pub gates: Vec<Gate>,
}

/// One image of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Name of the image.
    pub name: String,
    /// `repository:tag`, as it is looked for.
    pub reference: String,
    /// Required platforms first, in the order of the spec.
    pub cells: Vec<Cell>,
}

/// One platform of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// The platform.
    pub platform: String,
    /// A release needs it; otherwise it is advisory.
    pub required: bool,
    /// `Present`, `Missing`, `Broken` or `Unknown`; `Untold` where status does not say.
    pub state: String,
    /// Why it is Broken or Unknown; null otherwise.
    pub reason: Option<String>,
}

/// One gate of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Name of the gate.
    pub name: String,
    /// Blocks nothing.
    pub advisory: bool,
    /// `Passed`, `Failed`, `Running`, `Pending` or `NotRun`.
    pub state: String,
    /// What keeps a smoke test from a verdict; null for nothing.
    pub reason: Option<String>,
    /// In words; null when there is nothing to add.
    pub message: Option<String>,
    /// The end of what its failed test wrote; null when it did not fail or status does not keep it.
    pub log: Option<String>,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the target.
    pub name: String,
    /// As in `status.targets[].state`.
    pub state: String,
    /// Seconds that it is so.
    pub secs: i64,
    /// In words; null when there is nothing to add.
    pub message: Option<String>,
}
