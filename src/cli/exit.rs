//! Exit codes and verdicts: words that scripts depend on. They never change their meaning (design §5).

use serde::Serialize;

/// Promotable, or the command did what it was asked.
pub const OK: u8 = 0;
/// Something went wrong before there was an answer: a file that cannot be read, an invalid ReleaseSet.
pub const ERROR: u8 = 1;
/// The command line itself cannot be understood.
pub const USAGE: u8 = 2;
/// Something required is Missing or Broken, a gate blocks, the tag is superseded, or no tag is a candidate.
pub const BLOCKED: u8 = 3;
/// A required smoke test failed, or was asked for and not run.
pub const SMOKE: u8 = 4;
/// The time that was given ran out while waiting. Only `wait` answers so.
pub const TIMED_OUT: u8 = 5;
/// Nothing is promoted whatever passes: suspended, another tag is pinned, the tag is dismissed, or the floor has
/// no place in the order.
pub const HELD: u8 = 6;
/// Nothing required is Missing or Broken, and something required is Unknown.
pub const COULD_NOT_TELL: u8 = 7;

/// The codes as `--help` prints them.
pub const HELP: &str = "\
Exit codes:
  0  promotable, or done
  1  error: a file cannot be read, a ReleaseSet is invalid
  2  usage: the command line is wrong
  3  blocked: something required is missing or broken, a gate blocks, the tag is
     superseded, or no tag is a candidate
  4  a required smoke test failed, or was asked for (--require-smoke, --smoke-exec) and
     not run
  5  timed out while waiting
  6  held: nothing is promoted whatever passes (suspended, another tag is pinned, the
     tag is dismissed or no candidate)
  7  could not tell: nothing is missing or broken, but something is unknown";

/// The codes of commands that steer a set, as their `--help` prints them.
pub const HANDS_HELP: &str =
    "Exit codes: 0 done, or nothing to change; 1 error, refused, or nobody agreed; 2 usage";

/// What becomes of a candidate, in one word (design §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It would be promoted.
    Promote,
    /// Not yet.
    Wait,
    /// Not until a digest or a gate changes.
    Failed,
    /// It is not newer than the floor.
    Superseded,
    /// Nothing is promoted, whatever passes.
    Held,
}

/// What stands in the way, as far as exit codes tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Something that is known: a cell Missing or Broken, a gate, a newer release.
    Known,
    /// A smoke test.
    Smoke,
    /// Nothing but Unknown.
    Unknown,
    /// The time that `wait` was given.
    Time,
}

/// The exit code of a verdict. Total, so that every pair has one documented answer.
pub fn code(verdict: Verdict, obstacle: Option<Obstacle>) -> u8 {
    match (verdict, obstacle) {
        (Verdict::Promote, _) => OK,
        (Verdict::Held, _) => HELD,
        (Verdict::Wait | Verdict::Failed, Some(Obstacle::Smoke)) => SMOKE,
        (Verdict::Wait, Some(Obstacle::Unknown)) => COULD_NOT_TELL,
        (Verdict::Wait, Some(Obstacle::Time)) => TIMED_OUT,
        (Verdict::Wait | Verdict::Failed | Verdict::Superseded, _) => BLOCKED,
    }
}

// === impl Verdict ===

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 5] = [Self::Promote, Self::Wait, Self::Failed, Self::Superseded, Self::Held];

    /// The verdict's word in JSON and in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Promote => "Promote",
            Self::Wait => "Wait",
            Self::Failed => "Failed",
            Self::Superseded => "Superseded",
            Self::Held => "Held",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_the_documented_code() {
        use Obstacle::{Known, Smoke, Time, Unknown};
        for (verdict, expected) in [
            (Verdict::Promote, [0, 0, 0, 0, 0]),
            (Verdict::Wait, [3, 3, 4, 7, 5]),
            (Verdict::Failed, [3, 3, 4, 3, 3]),
            (Verdict::Superseded, [3, 3, 3, 3, 3]),
            (Verdict::Held, [6, 6, 6, 6, 6]),
        ] {
            let obstacles = [None, Some(Known), Some(Smoke), Some(Unknown), Some(Time)];
            assert_eq!(obstacles.map(|obstacle| code(verdict, obstacle)), expected, "{verdict:?}");
        }
    }

    #[test]
    fn help_names_every_code() {
        for code in [OK, ERROR, USAGE, BLOCKED, SMOKE, TIMED_OUT, HELD, COULD_NOT_TELL] {
            assert!(HELP.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{code}");
        }
    }

    #[test]
    fn verdicts_serialise_as_their_words() {
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
        }
    }
}
