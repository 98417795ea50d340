//! Patterns that are not anchored: Flux and Tidegate look for them anywhere in a tag.

use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::finding::{Finding, Severity};

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let candidates = &subject.found.spec.candidates;
    let mut findings = Vec::new();
    if let Some(filter) = &candidates.filter_tags {
        findings.extend(of("spec.candidates.filterTags", &filter.pattern));
    }
    if let Some(reference) = &candidates.policy_ref {
        match &subject.place.image_policies {
            Told::Found(all) => {
                let policy = all.iter().find(|policy| policy.name == reference.name);
                let filter = policy.and_then(|policy| policy.spec.filter_tags.as_ref());
                if let Some(filter) = filter {
                    findings.extend(of(
                        &format!("filterTags of ImagePolicy {}", reference.name),
                        &filter.pattern,
                    ));
                }
                if policy.is_none() {
                    findings.push(
                        Finding::new(
                            Severity::Fail,
                            format!("ImagePolicy {} does not exist", reference.name),
                        )
                        .because("it names the candidates: there are none")
                        .next("create it, or write `policy` and `filterTags` instead of policyRef"),
                    );
                }
            }
            told => {
                let what = format!("whether the pattern of ImagePolicy {} is anchored", reference.name);
                findings.push(Finding::untold(&what, told.untold().unwrap_or("there is none")));
            }
        }
    }
    or_ok(findings, "patterns of tags are anchored, or there are none")
}

fn of(place: &str, pattern: &str) -> Option<Finding> {
    (!is_anchored(pattern)).then(|| {
        Finding::new(Severity::Warn, format!("{place} `{pattern}` is not anchored"))
            .because("it is looked for anywhere in a tag: `main-7` is found in `old-main-7-debug` too")
            .next(format!(
                "write `^{}$`, if the whole tag is meant",
                pattern.trim_start_matches('^').trim_end_matches('$')
            ))
    })
}

/// Begins with `^` (after flags such as `(?i)`) or `\A`, and ends with a `$` that is no escaped one, or `\z`.
fn is_anchored(pattern: &str) -> bool {
    let begins = |text: &str| text.starts_with('^') || text.starts_with("\\A");
    let begin = begins(pattern)
        || pattern.strip_prefix("(?").and_then(|rest| rest.split_once(')')).is_some_and(|(flags, rest)| {
            flags.chars().all(|flag| flag.is_ascii_alphabetic()) && begins(rest)
        });
    let escaped = |text: &str| text.chars().rev().take_while(|letter| *letter == '\\').count() % 2 == 1;
    let end = pattern.strip_suffix('$').is_some_and(|before| !escaped(before)) || pattern.ends_with("\\z");
    begin && end && !alternates(pattern)
}

/// A `|` outside of every group splits the pattern, so that each anchor holds for one side only.
fn alternates(pattern: &str) -> bool {
    let (mut depth, mut in_class, mut is_escaped) = (0_u32, false, false);
    for letter in pattern.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_anchored_at_both_ends_or_it_is_not() {
        for (pattern, expected) in [
            ("^main-(?P<n>[0-9]+)$", true),
            ("(?i)^main$", true),
            (r"\Amain\z", true),
            ("^(a|b)$", true),
            ("^[a|b]$", true),
            ("main-[0-9]+", false),
            ("^main", false),
            (r"^main\$", false),
            (r"^main\\$", true),
            ("^a|b$", false),
            ("", false),
        ] {
            assert_eq!(is_anchored(pattern), expected, "{pattern}");
        }
    }
}
