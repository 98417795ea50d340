//! What the commands that steer a set accept.

use clap::Args;

use crate::model::Tag;

/// Longest reason: with a user's name and the change it stays under the 1 kB of an Event's note.
pub const REASON_MAX_BYTES: usize = 512;

/// What every command that steers a set takes.
#[derive(Debug, Args)]
pub struct HandArgs {
    /// Namespace of the ReleaseSet; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Show the change and ask the API server whether it would take it, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Why; kept as an Event of the ReleaseSet, with your user name where the API server tells it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}

/// Arguments of `suspend`, `resume` and `unpin`.
#[derive(Debug, Args)]
pub struct SetsArgs {
    /// Names of the ReleaseSets
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// How it is done.
    #[command(flatten)]
    pub hand: HandArgs,
}

/// Arguments of `pin`.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// Name of the ReleaseSet
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The shared tag to promote
    #[arg(value_name = "TAG")]
    pub tag: Tag,
    /// How it is done.
    #[command(flatten)]
    pub hand: HandArgs,
}

/// Arguments of `skip`.
#[derive(Debug, Args)]
pub struct SkipArgs {
    /// Name of the ReleaseSet
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Shared tags of the candidates
    #[arg(value_name = "TAG", required = true)]
    pub tags: Vec<Tag>,
    /// Take it back: these may be promoted again
    #[arg(long)]
    pub remove: bool,
    /// How it is done.
    #[command(flatten)]
    pub hand: HandArgs,
}

/// Arguments of `retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Name of the ReleaseSet
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Which smoke gate
    #[arg(short, long, value_name = "GATE")]
    pub gate: String,
    /// How it is done.
    #[command(flatten)]
    pub hand: HandArgs,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("says nothing: write a few words, or leave --reason out".to_owned());
    }
    if text.len() > REASON_MAX_BYTES {
        return Err(format!("has {} bytes, at most {REASON_MAX_BYTES} are kept: shorten it", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a line break or another control character: write one line".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason(" the registry moves "), Ok("the registry moves".to_owned()));
        for bad in ["", "  ", "one\ntwo", "\u{1b}[2J", &"x".repeat(REASON_MAX_BYTES + 1)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }
}
