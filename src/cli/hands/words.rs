//! What a set is now, in the words that changes are shown with. Pure.

use std::cmp::Ordering;

use crate::api::validate;
use crate::cli::cluster::Found;
use crate::cli::hands::Place;
use crate::cli::managed::{self, Field};
use crate::engine::order::NotOrdered;
use crate::engine::policy::Policy;
use crate::model::Tag;

/// Where a tag stands beside the newest release so far (the floor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is newer, or there is no release so far.
    Newer,
    /// It is that release, or older.
    NotNewer,
    /// The policy has no place for it.
    NoCandidate,
    /// The spec is invalid, the order is an ImagePolicy's or the floor has no place, so that it cannot be told.
    NotTold,
}

/// `promoted now: main-7 (sequence 3)`.
pub(super) fn promoted_now(found: &Found) -> String {
    match &found.status.promoted {
        Some(promoted) => {
            format!("promoted now: {} (sequence {})\n", promoted.tag, promoted.sequence)
        }
        None => "promoted now: nothing yet\n".to_owned(),
    }
}

/// Tag of the promoted release.
pub(super) fn promoted(found: &Found) -> Option<&str> {
    found.status.promoted.as_ref().map(|promoted| promoted.tag.as_str())
}

/// The last time that `tag` was promoted, as its sequence, as far as history goes back.
pub(super) fn promoted_before(found: &Found, tag: &str) -> Option<i64> {
    let history = found.status.history.iter().filter(|entry| entry.tag == tag);
    history.map(|entry| entry.sequence).max()
}

/// Tag of the newest release ever promoted or pinned away from, else `notBefore`.
pub(super) fn floor(found: &Found) -> Option<&str> {
    let recorded = found.status.floor.as_ref().map(|floor| floor.tag.as_str());
    recorded.or_else(|| promoted(found)).or(found.spec.candidates.not_before.as_deref())
}

/// The spec as a policy; `None` when it breaks a rule.
pub(super) fn policy(found: &Found) -> Option<Policy> {
    validate::policy(&found.spec, found.generation()).ok()
}

/// Where `tag` stands beside the floor.
pub(super) fn standing(found: &Found, tag: &str) -> Standing {
    let (Some(policy), Ok(tag)) = (policy(found), tag.parse::<Tag>()) else { return Standing::NotTold };
    let rank = match policy.candidates.rank(&tag) {
        Ok(rank) => rank,
        // The order is that of a Flux ImagePolicy, which is not read here.
        Err(NotOrdered::Untold) => return Standing::NotTold,
        Err(_) => return Standing::NoCandidate,
    };
    let Some(floor) = floor(found) else { return Standing::Newer };
    let Some(floor) = floor.parse().ok().and_then(|floor: Tag| policy.candidates.rank(&floor).ok()) else {
        return Standing::NotTold;
    };
    match rank.cmp(&floor) {
        Ordering::Greater => Standing::Newer,
        Ordering::Less | Ordering::Equal => Standing::NotNewer,
    }
}

/// What the required gates must do, by name.
pub(super) fn required_gates(found: &Found) -> String {
    let gates = found.spec.gates.iter().filter(|gate| !gate.advisory);
    let names: Vec<&str> = gates.map(|gate| gate.name.as_str()).collect();
    match names.as_slice() {
        [] => "there is no required gate".to_owned(),
        names => format!("its required gates passed: {}", names.join(", ")),
    }
}

/// What is said when the set is suspended, so that nothing follows from a change yet.
pub(super) fn suspended(found: &Found, place: &Place<'_>) -> String {
    if found.spec.suspend == Some(true) {
        format!("the set is suspended: nothing moves until {}\n", place.command("resume", ""))
    } else {
        String::new()
    }
}

/// A warning when whatever applies the set from Git puts the field back.
pub(super) fn held_by_git(found: &Found, field: Field, value: Option<&str>) -> String {
    match managed::applied_by(&found.object.metadata, field, value) {
        Some(manager) => format!(
            "warning: Git holds {}: {manager} puts its value back at its next sync; change or remove it in Git\n",
            field.name()
        ),
        None => String::new(),
    }
}
