//! One version and its precedence (semver.org 2.0.0 §9–§11, as Masterminds/semver reads it).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Longest version (Masterminds/semver v3.5.0); a tag has at most 128 bytes, an extract may have more.
pub const VERSION_MAX_BYTES: usize = 256;

/// A version without its build metadata, which has no part in precedence. Equal versions have equal precedence.
///
/// Read as Flux reads tags: a `v` in front is allowed, as are numbers with leading zeros; all three numbers are
/// needed, so that `1.2` is no version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
    pub(super) prerelease: Prerelease,
}

/// Identifiers of a pre-release with dots between, or nothing for a release, which is newer than all of its
/// pre-releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prerelease(String);

/// A version of which less may be given: `1`, `1.2`, `1.x`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    /// The version with zeros for what is not given.
    pub base: Version,
    /// How much is given.
    pub precision: Precision,
}

/// Which numbers of a version are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precision {
    /// None: a wildcard.
    Any,
    /// The first.
    Major,
    /// The first two.
    Minor,
    /// All three.
    Patch,
}

/// Why a text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Longer than [`VERSION_MAX_BYTES`].
    #[error("it has {0} bytes, at most {VERSION_MAX_BYTES} are possible")]
    TooLong(usize),
    /// A number is absent, or something else stands in its place.
    #[error("`{0}` is no number")]
    NoNumber(String),
    /// Past the largest number of 64 bits.
    #[error("{0} is too large a number")]
    TooLarge(String),
    /// Fewer or more than three numbers.
    #[error("it has {0} numbers where a version has three")]
    Count(usize),
    /// An identifier behind `-` or `+` is empty or has other characters than `0-9A-Za-z-`.
    #[error("`{0}` is no identifier of a pre-release or build: use 0-9, A-Z, a-z and `-`")]
    Identifier(String),
    /// A number in a pre-release begins with zero.
    #[error("the pre-release number `{0}` begins with zero")]
    LeadingZero(String),
}

fn is_wildcard(part: &str) -> bool {
    matches!(part, "x" | "X" | "*")
}

// === impl Version ===

impl Version {
    /// True for `1.2.3-rc.1` and its like.
    pub fn is_prerelease(&self) -> bool {
        !self.prerelease.0.is_empty()
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        // `fluxcd/pkg/version` counts dots in the whole text: `1-rc.0.1` has three parts for it and is 1.0.0-rc.0.1.
        let parts = text.split('.').count();
        if parts < 3 {
            return Err(VersionError::Count(parts));
        }
        Ok(Partial::read(text, |_| false)?.base)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}{}", self.major, self.minor, self.patch, self.prerelease)
    }
}

// === impl Partial ===

impl Partial {
    /// A version as a range names it: less may be given, and wildcards stand for what is not.
    pub fn of_range(text: &str) -> Result<Self, VersionError> {
        Self::read(text, is_wildcard)
    }

    fn read(text: &str, is_wildcard: impl Fn(&str) -> bool) -> Result<Self, VersionError> {
        if text.len() > VERSION_MAX_BYTES {
            return Err(VersionError::TooLong(text.len()));
        }
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (numbers, prerelease) = text.split_once('-').map_or((text, None), |(n, p)| (n, Some(p)));
        build.map_or(Ok(()), |build| build.split('.').try_for_each(identifier))?;
        let prerelease = prerelease.map_or(Ok(Prerelease::default()), str::parse)?;
        let parts: Vec<&str> = numbers.strip_prefix('v').unwrap_or(numbers).split('.').collect();
        if parts.len() > 3 {
            return Err(VersionError::Count(parts.len()));
        }
        let number = |part: &str| if is_wildcard(part) { Ok(None) } else { self::number(part).map(Some) };
        // All are read, so that nothing odd hides behind a wildcard; what stands there counts for nothing.
        let read = parts.iter().map(|part| number(part)).collect::<Result<Vec<_>, _>>()?;
        let mut given = read.iter().copied().map_while(|part| part).fuse();
        let (major, minor, patch) = (given.next(), given.next(), given.next());
        let precision = match (major, minor, patch) {
            (None, ..) => Precision::Any,
            (_, None, _) => Precision::Major,
            (_, _, None) => Precision::Minor,
            _ => Precision::Patch,
        };
        let base = Version {
            major: major.unwrap_or(0),
            minor: minor.unwrap_or(0),
            patch: patch.unwrap_or(0),
            prerelease,
        };
        Ok(Self { base, precision })
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { major, minor, prerelease, .. } = &self.base;
        match self.precision {
            Precision::Any => write!(f, "*{prerelease}"),
            Precision::Major => write!(f, "{major}{prerelease}"),
            Precision::Minor => write!(f, "{major}.{minor}{prerelease}"),
            Precision::Patch => self.base.fmt(f),
        }
    }
}

fn number(text: &str) -> Result<u64, VersionError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(VersionError::NoNumber(text.to_owned()));
    }
    text.parse().map_err(|_| VersionError::TooLarge(text.to_owned()))
}

fn identifier(text: &str) -> Result<(), VersionError> {
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if sound { Ok(()) } else { Err(VersionError::Identifier(text.to_owned())) }
}

// === impl Prerelease ===

impl FromStr for Prerelease {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        for part in text.split('.') {
            identifier(part)?;
            if part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(VersionError::LeadingZero(part.to_owned()));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl PartialOrd for Prerelease {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Prerelease {
    fn cmp(&self, other: &Self) -> Ordering {
        // A release is greatest. Lists compare as the specification wants: by their first difference, else the
        // longer is greater.
        let (left, right) = (&self.0, &other.0);
        let by_release = left.is_empty().cmp(&right.is_empty());
        by_release.then_with(|| left.split('.').map(rank).cmp(right.split('.').map(rank)))
    }
}

/// Numbers by value, below all words; words by bytes. A number past 64 bits counts as a word, as it does for
/// Flux: both must call the same tag the newest.
fn rank(identifier: &str) -> (Option<&str>, u64) {
    identifier.parse().map_or((Some(identifier), 0), |number| (None, number))
}

impl fmt::Display for Prerelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "-{}", self.0) }
    }
}
