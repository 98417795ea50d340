//! From the text of a range to its comparisons, or to the one mistake that stops it and its place.
//!
//! ```text
//! range:      group ("||" group)*
//! group:      member ((space | ",") member)*
//! member:     operator? version | version " - " version
//! version:    "v"? part ("." part ("." part)?)? ("-" pre-release)? ("+" build)?
//! part:       number | "x" | "X" | "*"
//! ```

use std::fmt;

use crate::engine::semver::comparison::{Comparison, Operator};
use crate::engine::semver::range::{GROUPS_MAX, Group, RANGE_MAX_BYTES};
use crate::engine::semver::version::{Partial, Precision, VersionError};

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeError {
    /// Which character of the text it is about, counted from 1.
    pub at: usize,
    /// What is wrong there.
    pub mistake: Mistake,
}

/// What is wrong with a range, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// Longer than [`RANGE_MAX_BYTES`].
    #[error("the range has {0} bytes, at most {RANGE_MAX_BYTES} are possible: shorten it")]
    TooLong(usize),
    /// More than [`GROUPS_MAX`] groups.
    #[error("more than {GROUPS_MAX} alternatives: write fewer `||`")]
    TooManyGroups,
    /// Nothing stands where a comparison should: in an empty range, beside `||`, or beside a comma.
    #[error("a comparison is missing: write one, for example `>=1.2.0`, or `*` for every release")]
    NoComparison,
    /// Characters of operators that together are none.
    #[error("`{0}` is no operator: use =, !=, >, <, >=, <=, ~ or ^")]
    Operator(String),
    /// An operator without a version.
    #[error("`{0}` has no version: write one behind it, for example `{0}1.2.0`")]
    NoVersion(String),
    /// Two comparisons without a space or comma between.
    #[error("`{0}` follows at once: write a space or comma before it")]
    Joined(char),
    /// Something that is no version.
    #[error("`{text}` is no version: {why}; write for example 1.2.3, 1.2.x or 1.2.3-rc.1")]
    Version {
        /// What stands there.
        text: String,
        /// Why it is none.
        why: VersionError,
    },
    /// A hyphen that is not between two versions.
    #[error(
        "a hyphen range is two versions with ` - ` between, for example `1.2.0 - 1.4.5`, and takes no operator"
    )]
    Hyphen,
    /// A hyphen range that touches `||`, where Flux would take the wrong two versions.
    #[error("a hyphen range touches `||`: write a space between")]
    HyphenTouches,
    /// A hyphen range behind a space alone, which Flux refuses.
    #[error("a hyphen range follows another comparison: write a comma before it")]
    HyphenFollows,
    /// An operator before a wildcard alone, for which Flux accepts other versions than one would guess.
    #[error("`{0}` with a wildcard alone is ambiguous: leave it out, or write `*` for every release")]
    Wildcard(String),
}

/// A piece of a group without spaces or commas, or a comma.
#[derive(Clone, Copy)]
struct Piece<'a> {
    /// Where it begins, in bytes of the whole text.
    at: usize,
    text: &'a str,
}

/// The pieces of one group that are still to be read.
struct Pieces<'a> {
    /// Where the group begins and ends, in bytes of the whole text.
    begin: usize,
    end: usize,
    left: std::iter::Peekable<std::vec::IntoIter<Piece<'a>>>,
    /// A comma stands before the next one.
    behind_comma: bool,
}

/// On which sides of a group `||` stands.
#[derive(Clone, Copy)]
struct Touched {
    before: bool,
    behind: bool,
}

/// A mistake at a byte.
type Located = (usize, Mistake);

/// All groups of a range.
pub(super) fn groups(text: &str) -> Result<Vec<Group>, RangeError> {
    read(text).map_err(|(byte, mistake)| {
        let before = text.get(..byte).unwrap_or(text);
        RangeError { at: before.chars().count() + 1, mistake }
    })
}

fn read(text: &str) -> Result<Vec<Group>, Located> {
    if text.len() > RANGE_MAX_BYTES {
        return Err((RANGE_MAX_BYTES, Mistake::TooLong(text.len())));
    }
    let (mut groups, mut at) = (Vec::new(), 0);
    for part in text.split("||") {
        if groups.len() == GROUPS_MAX {
            return Err((at, Mistake::TooManyGroups));
        }
        let end = at + part.len();
        let touched = Touched { before: at > 0, behind: end < text.len() };
        groups.push(Pieces::of(part, at).group(touched)?);
        at = end + "||".len();
    }
    Ok(groups)
}

fn is_operator(character: char) -> bool {
    "=!<>~^".contains(character)
}

// === impl RangeError ===

impl std::error::Error for RangeError {}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.at, self.mistake)
    }
}

// === impl Piece ===

impl<'a> Piece<'a> {
    const fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// The operator in front, and the rest as a piece of its own.
    fn split_operator(self) -> (&'a str, Self) {
        let length = self.text.find(|character| !is_operator(character)).unwrap_or(self.text.len());
        let (operator, rest) = self.text.split_at(length);
        (operator, Self { at: self.at + length, text: rest })
    }

    fn version(self) -> Result<Partial, Located> {
        if let Some((at, operator)) = self.text.char_indices().find(|(_, character)| is_operator(*character))
        {
            return Err((self.at + at, Mistake::Joined(operator)));
        }
        Partial::of_range(self.text)
            .map_err(|why| (self.at, Mistake::Version { text: self.text.to_owned(), why }))
    }
}

// === impl Pieces ===

impl<'a> Pieces<'a> {
    /// The pieces of `part`, which begins at byte `at` of the whole text.
    fn of(part: &'a str, at: usize) -> Self {
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        let mut rest = at;
        for text in part.split_inclusive(|c: char| c == ',' || c.is_ascii_whitespace()) {
            let word = text.trim_end_matches(|c: char| c == ',' || c.is_ascii_whitespace());
            if !word.is_empty() {
                pieces.push(Piece { at: rest, text: word });
            }
            rest += text.len();
            if text.ends_with(',') {
                pieces.push(Piece { at: rest - 1, text: "," });
            }
        }
        Self { begin: at, end: at + part.len(), left: pieces.into_iter().peekable(), behind_comma: false }
    }

    fn group(mut self, touched: Touched) -> Result<Group, Located> {
        let mut comparisons = Vec::new();
        loop {
            self.member(touched, &mut comparisons)?;
            // Behind a comma one more must come; `member` says so when it does not.
            self.behind_comma = self.left.next_if(|piece| piece.text == ",").is_some();
            if !self.behind_comma && self.left.peek().is_none() {
                return Ok(Group(comparisons));
            }
        }
    }

    /// One comparison, or the two of a hyphen range.
    fn member(&mut self, touched: Touched, comparisons: &mut Vec<Comparison>) -> Result<(), Located> {
        let first = self.word().map_err(|at| (at, Mistake::NoComparison))?;
        let (spelling, rest) = first.split_operator();
        let operator =
            Operator::spelled(spelling).ok_or_else(|| (first.at, Mistake::Operator(spelling.to_owned())))?;
        let written = if rest.text.is_empty() {
            let missing = |at| (at, Mistake::NoVersion(spelling.to_owned()));
            let next = self.word().map_err(missing)?;
            if next.text.starts_with(is_operator) {
                return Err(missing(next.at));
            }
            next
        } else {
            rest
        };
        if written.text == "-" {
            return Err((written.at, Mistake::Hyphen));
        }
        let with = written.version()?;
        let Some(hyphen) = self.left.next_if(|piece| piece.text == "-") else {
            comparisons.push(comparison(operator, spelling, with, first.at)?);
            return Ok(());
        };
        if !spelling.is_empty() {
            return Err((hyphen.at, Mistake::Hyphen));
        }
        let high = self.word().map_err(|at| (at, Mistake::Hyphen))?;
        if high.text.starts_with(is_operator) {
            return Err((high.at, Mistake::Hyphen));
        }
        if (touched.before && written.at == self.begin) || (touched.behind && high.end() == self.end) {
            return Err((hyphen.at, Mistake::HyphenTouches));
        }
        if !comparisons.is_empty() && !self.behind_comma {
            return Err((written.at, Mistake::HyphenFollows));
        }
        comparisons.push(comparison(Operator::GreaterOrEqual, ">=", with, written.at)?);
        comparisons.push(comparison(Operator::LessOrEqual, "-", high.version()?, high.at)?);
        Ok(())
    }

    /// The next piece when it is no comma; else the place where one is missing.
    fn word(&mut self) -> Result<Piece<'a>, usize> {
        let end = self.end;
        let missing = self.left.peek().map_or(end, |piece| piece.at);
        self.left.next_if(|piece| piece.text != ",").ok_or(missing)
    }
}

fn comparison(operator: Operator, spelling: &str, with: Partial, at: usize) -> Result<Comparison, Located> {
    if with.precision == Precision::Any && !operator.takes_a_wildcard() {
        return Err((at, Mistake::Wildcard(spelling.to_owned())));
    }
    Ok(Comparison { operator, with })
}
