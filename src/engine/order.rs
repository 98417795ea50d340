//! Which tags are candidates, and their total order (design §4 Choose; failure sequence 17).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use regex::Regex;

use crate::engine::semver::{Range, Version};
use crate::model::{Doubt, Tag};

/// Longest regular expression of a spec (design §3).
pub const PATTERN_MAX_BYTES: usize = 1024;
/// Most memory that one compiled expression may take: 32 of them (16 exclusions and the filter of two sets)
/// stay under 32 MiB.
pub const PATTERN_MAX_COMPILED_BYTES: usize = 1 << 20;
/// Most exclusions (design §3).
pub const EXCLUDE_MAX: usize = 16;

/// `spec.candidates`.
#[derive(Clone, Debug)]
pub struct CandidateRule {
    /// Where candidates come from.
    pub source: Source,
    /// Only tags that match, ordered by what `extract` takes out of them.
    pub filter: Option<TagFilter>,
    /// Never candidates: tried on the raw tag and on the shared tag.
    pub exclude: Vec<Regex>,
    /// How candidates are ordered.
    pub order: Order,
    /// The floor of a set that never promoted.
    pub not_before: Option<Tag>,
    /// Most candidates that are followed at once.
    pub max_followed: usize,
    /// How long a candidate of which a digest changed must be still.
    pub settle: SignedDuration,
}

/// `spec.candidates.filterTags`, with Flux's meaning.
#[derive(Clone, Debug)]
pub struct TagFilter {
    pattern: Regex,
    extract: Option<String>,
}

/// How keys are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// As exact decimals.
    Numerical(Direction),
    /// By bytes.
    Alphabetical(Direction),
    /// By precedence of versions, and only those within the range; the greatest is the newest.
    SemVer(Range),
    /// The object that says the order could not be read: no tag has a place, and nothing but a pin is promoted.
    Untold(Doubt),
}

/// Where candidates come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The tag lists of all required images.
    #[default]
    Lists,
    /// Something that names one at a time (`candidates.policyRef`): no tags are listed.
    Named,
}

/// Which end is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The greatest key is the newest.
    Ascending,
    /// The least key is the newest.
    Descending,
}

/// A candidate's place in the total order: newer is greater. The key first, then the tag's bytes, so that
/// two tags are never equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    key: Key,
    direction: Direction,
    tag: Tag,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(Decimal),
    Text(String),
    Version(Version),
}

/// An exact decimal: sign, integer digits and fraction digits without needless zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    integer: String,
    fraction: String,
}

/// Why a tag has no place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOrdered {
    /// It does not match `filterTags.pattern`, or an exclusion matches it.
    Filtered,
    /// Its extract is no number under a numerical policy.
    NotANumber,
    /// Its extract is no version under a semver policy.
    NotAVersion,
    /// Its version lies outside the range of a semver policy.
    OutOfRange,
    /// The order itself is not known.
    Untold,
}

/// Why a filter cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Longer than [`PATTERN_MAX_BYTES`].
    #[error("the pattern has {0} bytes, at most {PATTERN_MAX_BYTES} are possible: shorten it")]
    TooLong(usize),
    /// Not a regular expression.
    #[error("the pattern is no regular expression: {0}")]
    Pattern(String),
    /// `extract` names a group that the pattern lacks.
    #[error(
        "extract names the group `{0}`, which the pattern does not have: write (?P<{0}>…) in the pattern"
    )]
    NoSuchGroup(String),
    /// `extract` names no group at all, so that every tag would have the same key.
    #[error("extract names no group: write `$name` for a (?P<name>…) of the pattern")]
    NoGroup,
}

/// Compiles a pattern of a spec under our limits.
///
/// # Errors
/// When it is too long or no regular expression.
pub fn pattern(text: &str) -> Result<Regex, FilterError> {
    if text.len() > PATTERN_MAX_BYTES {
        return Err(FilterError::TooLong(text.len()));
    }
    regex::RegexBuilder::new(text).size_limit(PATTERN_MAX_COMPILED_BYTES).build().map_err(|error| {
        FilterError::Pattern(error.to_string().lines().last().unwrap_or_default().to_owned())
    })
}

// === impl TagFilter ===

impl TagFilter {
    /// A filter; `extract` as in Flux: a template with `$name` or `${name}`, empty for the whole tag.
    ///
    /// # Errors
    /// When the pattern is unusable or `extract` does not name a group of it.
    pub fn new(text: &str, extract: Option<&str>) -> Result<Self, FilterError> {
        let pattern = pattern(text)?;
        let extract = extract.filter(|extract| !extract.is_empty()).map(str::to_owned);
        if let Some(template) = &extract {
            let groups = groups_of(template);
            if groups.is_empty() {
                return Err(FilterError::NoGroup);
            }
            let known = |name: &str| match name.parse::<usize>() {
                Ok(number) => number < pattern.captures_len(),
                Err(_) => pattern.capture_names().flatten().any(|known| known == name),
            };
            if let Some(unknown) = groups.into_iter().find(|name| !known(name)) {
                return Err(FilterError::NoSuchGroup(unknown));
            }
        }
        Ok(Self { pattern, extract })
    }

    /// The text that orders `tag`; `None` when the pattern does not match.
    fn key<'tag>(&self, tag: &'tag str) -> Option<std::borrow::Cow<'tag, str>> {
        let captures = self.pattern.captures(tag)?;
        Some(match &self.extract {
            None => tag.into(),
            Some(template) => {
                let mut key = String::new();
                captures.expand(template, &mut key);
                key.into()
            }
        })
    }
}

/// Names of the groups that a replacement template uses (syntax of RE2's and regex's `expand`).
fn groups_of(template: &str) -> Vec<String> {
    let mut groups = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let name = inside.split('}').next().unwrap_or_default();
            groups.push(name.to_owned());
            rest = &inside[name.len()..];
        } else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name: String = rest.chars().take_while(|&c| is_name(c)).collect();
            rest = &rest[name.len()..];
            if !name.is_empty() {
                groups.push(name);
            }
        }
    }
    groups
}

// === impl CandidateRule ===

impl CandidateRule {
    /// True for tags that are never candidates, raw or shared: cache refs, signatures, attestations.
    pub fn excludes(&self, tag: &str) -> bool {
        is_digest_tag(tag) || self.exclude.iter().any(|exclude| exclude.is_match(tag))
    }

    /// The place of a shared tag in the order.
    ///
    /// # Errors
    /// Why it has none.
    pub fn rank(&self, tag: &Tag) -> Result<Rank, NotOrdered> {
        if self.excludes(tag.as_str()) {
            return Err(NotOrdered::Filtered);
        }
        let text = match &self.filter {
            None => tag.as_str().into(),
            Some(filter) => filter.key(tag.as_str()).ok_or(NotOrdered::Filtered)?,
        };
        let (key, direction) = match &self.order {
            Order::Numerical(direction) => {
                (Key::Number(text.parse().map_err(|()| NotOrdered::NotANumber)?), *direction)
            }
            Order::Alphabetical(direction) => (Key::Text(text.into_owned()), *direction),
            Order::Untold(_) => return Err(NotOrdered::Untold),
            Order::SemVer(range) => {
                let version: Version = text.parse().map_err(|_| NotOrdered::NotAVersion)?;
                if !range.accepts(&version) {
                    return Err(NotOrdered::OutOfRange);
                }
                (Key::Version(version), Direction::Ascending)
            }
        };
        Ok(Rank { key, direction, tag: tag.clone() })
    }
}

/// `^sha256-[0-9a-f]{64}`: tags by which cosign and the referrers fallback hang things on a digest.
fn is_digest_tag(tag: &str) -> bool {
    tag.strip_prefix("sha256-").is_some_and(|rest| {
        rest.len() >= 64 && rest.bytes().take(64).all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

// === impl Rank ===

impl Rank {
    /// The shared tag.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// The key as text, for `status.floor.key`.
    pub fn key_text(&self) -> String {
        match &self.key {
            Key::Number(number) => number.to_string(),
            Key::Text(text) => text.clone(),
            Key::Version(version) => version.to_string(),
        }
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = match self.direction {
            Direction::Ascending => self.key.cmp(&other.key),
            Direction::Descending => other.key.cmp(&self.key),
        };
        by_key.then_with(|| self.tag.cmp(&other.tag))
    }
}

// === impl Decimal ===

impl FromStr for Decimal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = integer.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
        if integer.is_empty() || !all_digits || digits.ends_with('.') {
            return Err(());
        }
        let integer = integer.trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let zero = integer.is_empty() && fraction.is_empty();
        Ok(Self { negative: negative && !zero, integer, fraction })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let integer = if self.integer.is_empty() { "0" } else { &self.integer };
        let point = if self.fraction.is_empty() { "" } else { "." };
        write!(f, "{}{integer}{point}{}", if self.negative { "-" } else { "" }, self.fraction)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitude = |a: &Self, b: &Self| {
            (a.integer.len(), &a.integer, &a.fraction).cmp(&(b.integer.len(), &b.integer, &b.fraction))
        };
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => magnitude(self, other),
            (true, true) => magnitude(other, self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(filter: Option<TagFilter>, order: Order) -> CandidateRule {
        CandidateRule {
            source: Source::Lists,
            filter,
            exclude: vec![pattern("^buildcache").unwrap()],
            order,
            not_before: None,
            max_followed: 5,
            settle: SignedDuration::from_secs(60),
        }
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn sequence_17_numbers_are_exact_decimals() {
        let parse = |text: &str| text.parse::<Decimal>();
        assert!(parse("20260101000000001").unwrap() < parse("20260101000000002").unwrap());
        assert!(parse("9").unwrap() < parse("10").unwrap());
        assert_eq!(parse("007.50"), parse("+7.5"));
        assert!(parse("-3").unwrap() < parse("-2.9").unwrap());
        assert!(parse("0.09").unwrap() < parse("0.1").unwrap());
        assert_eq!(parse("-0"), parse("0.0"));
        for bad in ["", "1e5", "1.2.3", "x", ".5", "5.", "--1", "1_000"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn extract_orders_and_keeps_the_tag() {
        let filter = TagFilter::new("^main-[0-9a-f]{7}-(?P<ts>[0-9]+)$", Some("$ts")).unwrap();
        let rule = rule(Some(filter), Order::Numerical(Direction::Ascending));
        let old = rule.rank(&tag("main-fffffff-9")).unwrap();
        let new = rule.rank(&tag("main-0000000-10")).unwrap();
        assert!(old < new);
        assert_eq!((new.tag().as_str(), new.key_text().as_str()), ("main-0000000-10", "10"));
        assert_eq!(rule.rank(&tag("v1")), Err(NotOrdered::Filtered));
    }

    #[test]
    fn equal_keys_are_told_apart_by_the_tag() {
        let filter = TagFilter::new("^v?(?P<n>[0-9]+)$", Some("${n}")).unwrap();
        let rule = rule(Some(filter), Order::Numerical(Direction::Descending));
        let (plain, prefixed) = (rule.rank(&tag("12")).unwrap(), rule.rank(&tag("v12")).unwrap());
        assert!(plain < prefixed);
        assert!(rule.rank(&tag("11")).unwrap() > prefixed, "descending: the least number is the newest");
    }

    #[test]
    fn versions_are_ordered_by_precedence_then_by_tag() {
        let rule = rule(None, Order::SemVer(">=1.2.0".parse().unwrap()));
        let rank = |text: &str| rule.rank(&tag(text)).unwrap();
        assert!(rank("1.10.0") > rank("v1.9.0"));
        assert!(rank("1.2.3") < rank("v1.2.3"), "equal versions: the greater tag is the newer");
        assert_eq!(rank("v1.02.3").key_text(), "1.2.3");
        assert_eq!(rule.rank(&tag("1.1.9")), Err(NotOrdered::OutOfRange));
        assert_eq!(rule.rank(&tag("1.3.0-rc.1")), Err(NotOrdered::OutOfRange));
        assert_eq!(rule.rank(&tag("1.3")), Err(NotOrdered::NotAVersion));
        assert_eq!(rule.rank(&tag("buildcache")), Err(NotOrdered::Filtered));
    }

    #[test]
    fn the_extract_is_the_version() {
        let filter = TagFilter::new("^app-(?P<v>.*)-(?P<b>[0-9]+)$", Some("${v}+$b")).unwrap();
        let rule = rule(Some(filter), Order::SemVer("^1.2".parse().unwrap()));
        let (first, second) =
            (rule.rank(&tag("app-1.2.3-7")).unwrap(), rule.rank(&tag("app-1.2.3-8")).unwrap());
        assert!(first < second, "a build is no part of the version: the tag decides");
        assert_eq!(second.key_text(), "1.2.3");
        assert_eq!(rule.rank(&tag("1.2.3")), Err(NotOrdered::Filtered));
    }

    #[test]
    fn exclusions_hold() {
        let rule = rule(None, Order::Alphabetical(Direction::Ascending));
        assert_eq!(rule.rank(&tag("buildcache-arm64")), Err(NotOrdered::Filtered));
        assert_eq!(rule.rank(&tag(&format!("sha256-{}.sig", "a".repeat(64)))), Err(NotOrdered::Filtered));
        for other in [
            "sha256-short".to_owned(),
            format!("sha256-{}", "a".repeat(63)),
            format!("sha256-{}", "g".repeat(64)),
        ] {
            assert!(rule.rank(&tag(&other)).is_ok(), "{other}");
        }
    }

    #[test]
    fn filters_name_their_mistakes() {
        assert!(matches!(TagFilter::new("^(a$", None), Err(FilterError::Pattern(_))));
        assert!(matches!(TagFilter::new(&"a".repeat(1025), None), Err(FilterError::TooLong(1025))));
        assert!(
            matches!(TagFilter::new("^a$", Some("$ts")), Err(FilterError::NoSuchGroup(name)) if name == "ts")
        );
        assert!(matches!(TagFilter::new("^a$", Some("x$$")), Err(FilterError::NoGroup)));
        assert!(TagFilter::new("^(a)$", Some("$1")).is_ok());
    }
}
