//! Which tags are releases, guessed from one of them where no policy says it. Pure.

use regex::Regex;

use crate::api::v1alpha1::{FilterTags, Numerical, OrderPolicy, SemVer};

/// A filter and an order that `tag` has a place in; `None` where the tag does not say what is newer.
pub fn guess(tag: &str) -> Option<(Option<FilterTags>, OrderPolicy)> {
    let numerical = OrderPolicy { numerical: Some(Numerical::default()), ..OrderPolicy::default() };
    let by = |pattern: String| {
        let extract = Some("$n".to_owned());
        Some((Some(FilterTags { pattern, extract }), numerical.clone()))
    };
    // A branch or nothing, a commit, and a time or a number that grows.
    let commit = Regex::new("^(|.*[^0-9a-zA-Z])[0-9a-f]{7,40}[-.]([0-9]+)$").ok()?;
    if let Some(found) = commit.captures(tag) {
        let between = if tag.contains(&format!(".{}", &found[2])) { "\\." } else { "-" };
        return by(format!("^{}[0-9a-f]{{7,40}}{between}(?P<n>[0-9]+)$", escaped(&found[1])));
    }
    let version = Regex::new(r"^v?[0-9]+\.[0-9]+\.[0-9]+$").ok()?;
    if version.is_match(tag) {
        let semver = Some(SemVer { range: ">=0.0.0".to_owned() });
        return Some((None, OrderPolicy { semver, ..OrderPolicy::default() }));
    }
    let number = Regex::new("^(|.*[^0-9a-zA-Z])([0-9]+)$").ok()?;
    let found = number.captures(tag)?;
    by(format!("^{}(?P<n>[0-9]+)$", escaped(&found[1])))
}

/// Literal text in a pattern; a dash needs no escape.
fn escaped(text: &str) -> String {
    regex::escape(text).replace("\\-", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_says_what_is_newer_gives_a_filter_that_matches_it() {
        for (tag, pattern) in [
            ("main-3f9ac1d-1767225600", "^main-[0-9a-f]{7,40}-(?P<n>[0-9]+)$"),
            ("3f9ac1d.17", "^[0-9a-f]{7,40}\\.(?P<n>[0-9]+)$"),
            ("main-7", "^main-(?P<n>[0-9]+)$"),
            ("20261121", "^(?P<n>[0-9]+)$"),
        ] {
            let (filter, order) = guess(tag).unwrap();
            let filter = filter.unwrap();
            assert_eq!(filter.pattern, pattern);
            assert!(order.numerical.is_some() && Regex::new(&filter.pattern).unwrap().is_match(tag), "{tag}");
        }
        assert!(guess("v1.4.2").unwrap().1.semver.is_some());
        for tag in ["3f9ac1d", "main-3f9ac1d", "release"] {
            assert_eq!(guess(tag), None, "{tag}");
        }
    }
}
