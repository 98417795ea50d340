//! A range: groups of comparisons, of which one group must hold as a whole.

use std::fmt;
use std::str::FromStr;

use crate::engine::semver::comparison::Comparison;
use crate::engine::semver::parse::{self, RangeError};
use crate::engine::semver::version::Version;

/// Longest range (Masterminds/semver v3.5.0).
pub const RANGE_MAX_BYTES: usize = 512;
/// Most groups with `||` between (Masterminds/semver v3.5.0).
pub const GROUPS_MAX: usize = 32;

/// Which versions are wanted. Its text comes back in one spelling, which reads as the same range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    groups: Vec<Group>,
}

/// Comparisons that must all hold. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group(pub Vec<Comparison>);

// === impl Range ===

impl Range {
    /// True when one group holds.
    pub fn accepts(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| group.holds(version))
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        parse::groups(text).map(|groups| Self { groups })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            write!(f, "{}{group}", if index > 0 { " || " } else { "" })?;
        }
        Ok(())
    }
}

// === impl Group ===

impl Group {
    /// Pre-releases are looked at only when one comparison of the group names one (v3.4.0 and later).
    fn holds(&self, version: &Version) -> bool {
        let looks_at_prereleases = || self.0.iter().any(|comparison| comparison.with.base.is_prerelease());
        (!version.is_prerelease() || looks_at_prereleases())
            && self.0.iter().all(|comparison| comparison.holds(version))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, comparison) in self.0.iter().enumerate() {
            write!(f, "{}{comparison}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}
