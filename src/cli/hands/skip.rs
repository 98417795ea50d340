//! `tidegate skip`: dismisses candidates, or takes that back.

use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::cluster::Found;
use crate::cli::error::{CliError, Result};
use crate::cli::hands::args::SkipArgs;
use crate::cli::hands::event::Deed;
use crate::cli::hands::words::Standing;
use crate::cli::hands::{Change, Place, run, words};
use crate::cli::managed::{self, Field};
use crate::engine::policy::SKIP_MAX;

/// Dismisses candidates, or takes that back.
///
/// # Errors
/// When the set is not there, more tags would be kept than there is room for, nobody agreed, or the API server refuses.
pub fn skip(args: &SkipArgs, context: &Context) -> Result<u8> {
    let mut tags: Vec<&str> = Vec::new();
    for tag in &args.tags {
        if !tags.contains(&tag.as_str()) {
            tags.push(tag.as_str());
        }
    }
    let names = std::slice::from_ref(&args.name);
    run(names, &args.hand, context, |found, place| {
        if args.remove { Ok(taking_back(found, &tags, place)) } else { dismissal(found, &tags, place) }
    })
}

/// What dismissing `tags` changes.
pub(super) fn dismissal(found: &Found, tags: &[&str], place: &Place<'_>) -> Result<Change> {
    let before = &found.spec.skip;
    let is_new = |tag: &&&str| !before.iter().any(|known| known == **tag);
    let new: Vec<&str> = tags.iter().filter(is_new).copied().collect();
    let deed = Deed { reason: "Skipped", what: format!("dismissed {}", tags.join(", ")) };
    let next = format!("{} shows what is followed now", place.command("explain", ""));
    if new.is_empty() {
        return Ok(match Change::taking_over(found, Field::Skip) {
            Some((text, patch)) => Change::new(found, text, Some(patch), deed, next),
            None => Change::nothing(found, format!("  {}: dismissed already\n", tags.join(", "))),
        });
    }
    let (kept, dropped) = with_room(found, before, &new)?;
    let after: Vec<&str> = kept.iter().map(String::as_str).chain(new.iter().copied()).collect();
    let mut text = lists(before, &after);
    text.push_str(&words::promoted_now(found));
    for tag in &new {
        text.push_str(&dismissed(found, tag, place));
    }
    for tag in &dropped {
        text.push_str(&format!("{tag}: taken from the list to make room; it is not newer than the newest release and stays away\n"));
    }
    text.push_str(&format!("kept: {} of at most {SKIP_MAX}\n", after.len()));
    Ok(Change::new(found, text, Some(patch(&after)), deed, next))
}

/// Which of the kept tags stay so that `new` has room: those go first, oldest first, that the floor keeps away anyway
/// and that Git does not hold.
fn with_room(found: &Found, before: &[String], new: &[&str]) -> Result<(Vec<String>, Vec<String>)> {
    let mut surplus = (before.len() + new.len()).saturating_sub(SKIP_MAX);
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for tag in before {
        let is_needless = || {
            words::standing(found, tag) == Standing::NotNewer
                && managed::applied_by(&found.object.metadata, Field::Skip, Some(tag)).is_none()
        };
        if surplus > 0 && is_needless() {
            surplus -= 1;
            dropped.push(tag.clone());
        } else {
            kept.push(tag.clone());
        }
    }
    if surplus > 0 {
        return Err(CliError::new(format!("spec.skip holds at most {SKIP_MAX} tags"))
            .because(format!("it holds {}: {}", before.len(), before.join(", ")))
            .because("each may be needed: it is newer than the newest release, or that is not told here, or Git holds it")
            .hint("take some back with `skip --remove`, or move on by pinning a newer release"));
    }
    Ok((kept, dropped))
}

fn dismissed(found: &Found, tag: &str, place: &Place<'_>) -> String {
    if words::promoted(found) == Some(tag) {
        return format!("{tag}: is promoted now and stays; to go back, pin an older release\n");
    }
    if found.spec.pin.as_deref() == Some(tag) {
        return format!(
            "{tag}: is pinned, which goes before; {} lets go of it\n",
            place.command("unpin", "")
        );
    }
    let candidate = found.status.candidates.iter().find(|candidate| candidate.tag == tag);
    if let Some(candidate) = candidate {
        return format!(
            "{tag}: is followed now ({}); it is dropped, and never promoted without a pin\n",
            candidate.phase
        );
    }
    match words::standing(found, tag) {
        Standing::NotNewer => {
            format!("{tag}: is not newer than the newest release; it stays away without this too\n")
        }
        Standing::NoCandidate => {
            format!("{tag}: is no candidate of spec.candidates; nothing changes by this\n")
        }
        Standing::Newer | Standing::NotTold => {
            format!("{tag}: is not followed now; it is never promoted without a pin\n")
        }
    }
}

/// What taking `tags` from the list changes.
pub(super) fn taking_back(found: &Found, tags: &[&str], place: &Place<'_>) -> Change {
    let before = &found.spec.skip;
    let is_taken = |known: &&String| tags.contains(&known.as_str());
    let taken: Vec<&str> = before.iter().filter(is_taken).map(String::as_str).collect();
    if taken.is_empty() {
        return Change::nothing(found, format!("  {}: not dismissed\n", tags.join(", ")));
    }
    let after: Vec<&str> = before.iter().map(String::as_str).filter(|known| !tags.contains(known)).collect();
    let mut text = lists(before, &after);
    text.push_str(&words::promoted_now(found));
    for tag in tags {
        text.push_str(&if !taken.contains(tag) {
            format!("{tag}: was not dismissed\n")
        } else if words::standing(found, tag) == Standing::NotNewer {
            format!("{tag}: is not newer than the newest release: it stays away all the same\n")
        } else {
            format!("{tag}: is promoted when it is the newest that passes\n")
        });
        text.push_str(&words::held_by_git(found, Field::Skip, Some(tag)));
    }
    text.push_str(&words::suspended(found, place));
    let deed = Deed { reason: "Unskipped", what: format!("no longer dismissed: {}", taken.join(", ")) };
    let next = format!("{} shows what is followed now", place.command("explain", ""));
    Change::new(found, text, Some(patch(&after)), deed, next)
}

fn lists(before: &[String], after: &[&str]) -> String {
    let line = |sign: char, tags: &[&str]| {
        if tags.is_empty() {
            String::new()
        } else {
            format!("{sign} {}: [{}]\n", Field::Skip.name(), tags.join(", "))
        }
    };
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    line('-', &before) + &line('+', after)
}

fn patch(after: &[&str]) -> Value {
    let value = if after.is_empty() { Value::Null } else { json!(after) };
    json!({"spec": {"skip": value}})
}
