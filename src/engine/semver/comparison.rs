//! One comparison of a range: `>=1.2`, `~1.2.3`, `^0.2`, `1.x`.

use std::cmp::Ordering;
use std::fmt;

use crate::engine::semver::version::{Partial, Precision, Version};

/// How a version is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `=` or nothing: the version itself, or all that the given numbers leave open.
    Equal,
    /// `!=`.
    NotEqual,
    /// `>`: newer than all that the given numbers leave open.
    Greater,
    /// `<`.
    Less,
    /// `>=` or `=>`.
    GreaterOrEqual,
    /// `<=` or `=<`: not newer than all that the given numbers leave open.
    LessOrEqual,
    /// `~` or `~>`: newer patches; newer minors too when only the major number is given.
    Tilde,
    /// `^`: all that keeps the leftmost number that is not zero.
    Caret,
}

/// An operator and what it compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub operator: Operator,
    pub with: Partial,
}

/// Every spelling of an operator. The first of each is the one that is printed.
const SPELLINGS: [(&str, Operator); 12] = [
    ("", Operator::Equal),
    ("=", Operator::Equal),
    ("!=", Operator::NotEqual),
    (">", Operator::Greater),
    ("<", Operator::Less),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~", Operator::Tilde),
    ("~>", Operator::Tilde),
    ("^", Operator::Caret),
];

// === impl Operator ===

impl Operator {
    /// The operator that a text spells; empty means equal.
    pub fn spelled(text: &str) -> Option<Self> {
        SPELLINGS.iter().find(|(spelling, _)| *spelling == text).map(|(_, operator)| *operator)
    }

    /// False where Flux answers otherwise than its documentation says: `^*` means only 0.0.0 there, `<=*` only
    /// 0.0.x, and `!=*` all but 0.0.0.
    pub fn takes_a_wildcard(self) -> bool {
        matches!(self, Self::Equal | Self::GreaterOrEqual | Self::Tilde)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spelling = SPELLINGS.iter().find(|(_, operator)| operator == self);
        f.write_str(spelling.map_or("", |(spelling, _)| spelling))
    }
}

// === impl Comparison ===

impl Comparison {
    /// Whether it holds. Whether a pre-release is looked at is for the whole group to say.
    pub fn holds(&self, version: &Version) -> bool {
        let Partial { base, precision } = &self.with;
        match self.operator {
            Operator::Equal if *precision == Precision::Patch => version == base,
            Operator::Equal | Operator::Tilde => self.is_patch_of(version),
            Operator::NotEqual => self.differs(version),
            Operator::Greater => self.place_of(version) == Ordering::Greater,
            Operator::Less => version < base,
            Operator::GreaterOrEqual => version >= base,
            Operator::LessOrEqual => self.place_of(version) != Ordering::Greater,
            Operator::Caret => self.is_compatible_with(version),
        }
    }

    /// The version compared with all that the given numbers leave open.
    fn place_of(&self, version: &Version) -> Ordering {
        let Partial { base, precision } = &self.with;
        match precision {
            Precision::Any => Ordering::Equal,
            Precision::Major => version.major.cmp(&base.major),
            Precision::Minor => (version.major, version.minor).cmp(&(base.major, base.minor)),
            Precision::Patch => version.cmp(base),
        }
    }

    fn differs(&self, version: &Version) -> bool {
        let is_elsewhere = self.place_of(version) != Ordering::Equal;
        // `!=1.2` leaves out the releases of 1.2, `!=1.2-rc` their pre-release rc.
        is_elsewhere
            || (self.with.precision == Precision::Minor && version.prerelease != self.with.base.prerelease)
    }

    fn is_patch_of(&self, version: &Version) -> bool {
        let Partial { base, precision } = &self.with;
        let is_zero = (base.major, base.minor, base.patch) == (0, 0, 0);
        let same_line = match precision {
            Precision::Any => true,
            Precision::Major => version.major == base.major,
            // `~0.0.0` is everything to Flux.
            Precision::Patch if is_zero => true,
            Precision::Minor | Precision::Patch => (version.major, version.minor) == (base.major, base.minor),
        };
        same_line && version >= base
    }

    fn is_compatible_with(&self, version: &Version) -> bool {
        let Partial { base, precision } = &self.with;
        let same_line = if base.major > 0 || *precision == Precision::Major {
            version.major == base.major
        } else if base.minor > 0 || *precision == Precision::Minor {
            (version.major, version.minor) == (0, base.minor)
        } else {
            (version.major, version.minor, version.patch) == (0, 0, base.patch)
        };
        same_line && version >= base
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.operator, self.with)
    }
}
