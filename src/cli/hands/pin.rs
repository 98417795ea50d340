//! `tidegate pin` and `tidegate unpin`.

use serde_json::json;

use crate::cli::Context;
use crate::cli::cluster::Found;
use crate::cli::error::Result;
use crate::cli::hands::args::{PinArgs, SetsArgs};
use crate::cli::hands::event::Deed;
use crate::cli::hands::words::Standing;
use crate::cli::hands::{Change, Place, run, words};
use crate::cli::managed::Field;

/// Pins a set to a tag.
///
/// # Errors
/// When the set is not there, nobody agreed, or the API server refuses.
pub fn pin(args: &PinArgs, context: &Context) -> Result<u8> {
    let names = std::slice::from_ref(&args.name);
    run(names, &args.hand, context, |found, place| Ok(pinning(found, args.tag.as_str(), place)))
}

/// Lets the policy of sets choose again.
///
/// # Errors
/// When a set is not there, nobody agreed, or the API server refuses.
pub fn unpin(args: &SetsArgs, context: &Context) -> Result<u8> {
    run(&args.names, &args.hand, context, |found, place| Ok(unpinning(found, place)))
}

/// What a pin to `tag` changes.
pub(super) fn pinning(found: &Found, tag: &str, place: &Place<'_>) -> Change {
    let field = Field::Pin.name();
    let deed = Deed { reason: "Pinned", what: format!("pinned {tag}") };
    let next = format!("{} follows it", place.following());
    let git = words::held_by_git(found, Field::Pin, None);
    if found.spec.pin.as_deref() == Some(tag) {
        return match Change::taking_over(found, Field::Pin) {
            Some((text, patch)) => Change::new(found, text, Some(patch), deed, next),
            None => Change::nothing(found, format!("  {field}: {tag}, it is pinned already\n{git}")),
        };
    }
    let mut text = String::new();
    if let Some(before) = &found.spec.pin {
        text.push_str(&format!("- {field}: {before}\n"));
    }
    text.push_str(&format!("+ {field}: {tag}\n{}", words::promoted_now(found)));
    text.push_str(&meaning(found, tag, place));
    text.push_str(&words::suspended(found, place));
    text.push_str(&git);
    Change::new(found, text, Some(json!({"spec": {"pin": tag}})), deed, next)
}

fn meaning(found: &Found, tag: &str, place: &Place<'_>) -> String {
    let mut text = String::new();
    let floor = words::floor(found);
    if words::promoted(found) == Some(tag) {
        text.push_str(&format!("{tag} is promoted now: nothing moves\n"));
    } else {
        let line = match (words::standing(found, tag), floor) {
            (Standing::Newer, Some(floor)) => {
                format!("{tag} is newer than {floor}, the newest release so far\n")
            }
            (Standing::NotNewer, Some(floor)) if floor == tag => {
                format!("{tag} is the newest release so far, and was rolled back from\n")
            }
            (Standing::NotNewer, Some(floor)) => {
                format!(
                    "{tag} is older than {floor}, the newest release so far (the floor): this goes back\n"
                )
            }
            (Standing::NoCandidate, _) => {
                format!("{tag} is no candidate of spec.candidates; a pin need not be one\n")
            }
            (Standing::NotTold, Some(floor)) => {
                format!("whether {tag} is newer than {floor}, the newest release so far, is not told here\n")
            }
            _ => String::new(),
        };
        text.push_str(&line);
        if let Some(sequence) = words::promoted_before(found, tag) {
            text.push_str(&format!("{tag} was promoted before (sequence {sequence})\n"));
        }
        let until = if words::promoted(found).is_some() { "what is promoted stays" } else { "nothing is" };
        text.push_str(&format!(
            "it is promoted when it is complete and {}; until then {until}\n",
            words::required_gates(found)
        ));
    }
    if found.spec.skip.iter().any(|skipped| skipped == tag) {
        text.push_str(&format!("{tag} is in spec.skip: a pin goes before that\n"));
    }
    text.push_str(&format!("nothing newer is promoted until {}\n", place.command("unpin", "")));
    text
}

/// What taking the pin away changes.
pub(super) fn unpinning(found: &Found, place: &Place<'_>) -> Change {
    let field = Field::Pin.name();
    let Some(pin) = &found.spec.pin else {
        return Change::nothing(found, format!("  {field} is not set: nothing is pinned\n"));
    };
    let mut text = format!("- {field}: {pin}\n{}", words::promoted_now(found));
    let promoted = words::promoted(found);
    if promoted != Some(pin.as_str()) {
        text.push_str(&format!("{pin} was not promoted, and is not waited for any more\n"));
    }
    match words::floor(found) {
        None => text.push_str("the newest candidate that passes is promoted\n"),
        Some(floor) if words::standing(found, floor) == Standing::NoCandidate => text.push_str(&format!(
            "spec.candidates has no place for {floor}, the newest release so far (the floor): nothing is promoted without a pin\n"
        )),
        Some(floor) => {
            text.push_str(&format!(
                "what is promoted stays until a candidate newer than {floor} passes\n"
            ));
            if promoted.is_some_and(|promoted| promoted != floor) {
                text.push_str(&format!(
                    "{floor} was rolled back from: it and everything older stay away; to return to it: {}\n",
                    place.command("pin", floor)
                ));
            }
        }
    }
    text.push_str(&words::suspended(found, place));
    text.push_str(&words::held_by_git(found, Field::Pin, None));
    let deed = Deed { reason: "Unpinned", what: format!("unpinned {pin}") };
    let next = format!("{} follows it", place.following());
    Change::new(found, text, Some(json!({"spec": {"pin": null}})), deed, next)
}
