//! `tidegate suspend` and `tidegate resume`.

use serde_json::json;

use crate::cli::Context;
use crate::cli::cluster::Found;
use crate::cli::error::Result;
use crate::cli::hands::args::SetsArgs;
use crate::cli::hands::event::Deed;
use crate::cli::hands::{Change, Place, run, words};
use crate::cli::managed::Field;

/// Suspends sets.
///
/// # Errors
/// When a set is not there, nobody agreed, or the API server refuses.
pub fn suspend(args: &SetsArgs, context: &Context) -> Result<u8> {
    run(&args.names, &args.hand, context, |found, place| Ok(suspension(found, place)))
}

/// Lets sets go on.
///
/// # Errors
/// When a set is not there, nobody agreed, or the API server refuses.
pub fn resume(args: &SetsArgs, context: &Context) -> Result<u8> {
    run(&args.names, &args.hand, context, |found, place| Ok(resumption(found, place)))
}

/// What suspending changes.
pub(super) fn suspension(found: &Found, place: &Place<'_>) -> Change {
    let field = Field::Suspend.name();
    let deed = Deed { reason: "Suspended", what: "suspended".to_owned() };
    let next = format!("{} lets it go on", place.command("resume", ""));
    let git = words::held_by_git(found, Field::Suspend, None);
    if found.spec.suspend == Some(true) {
        return match Change::taking_over(found, Field::Suspend) {
            Some((text, patch)) => Change::new(found, text, Some(patch), deed, next),
            None => Change::nothing(found, format!("  {field}: true, it is suspended already\n{git}")),
        };
    }
    let mut text = String::new();
    if found.spec.suspend == Some(false) {
        text.push_str(&format!("- {field}: false\n"));
    }
    text.push_str(&format!("+ {field}: true\n"));
    text.push_str(&words::promoted_now(found));
    text.push_str(
        "stops: commits, new smoke Jobs, target writes (what is changed by hand there is not put back)\n\
         goes on: looks at registries; a running Job ends and its verdict is kept\n",
    );
    text.push_str(&git);
    Change::new(found, text, Some(json!({"spec": {"suspend": true}})), deed, next)
}

/// What resuming changes.
pub(super) fn resumption(found: &Found, place: &Place<'_>) -> Change {
    let field = Field::Suspend.name();
    let git = words::held_by_git(found, Field::Suspend, None);
    if found.spec.suspend != Some(true) {
        return Change::nothing(found, format!("  {field} is not set: it is not suspended\n"));
    }
    let mut text = format!("- {field}: true\n{}", words::promoted_now(found));
    text.push_str("goes on: commits, smoke Jobs, target writes; what is due is done at once\n");
    if let Some(pin) = &found.spec.pin {
        text.push_str(&format!("{pin} is pinned: nothing else is promoted\n"));
    }
    text.push_str(&git);
    let deed = Deed { reason: "Resumed", what: "resumed".to_owned() };
    let next = format!("{} follows it", place.following());
    Change::new(found, text, Some(json!({"spec": {"suspend": null}})), deed, next)
}
