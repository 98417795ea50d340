//! Ranges and versions against what Flux's own code answers (tests/tools/masterminds writes the tables).

use tidegate::engine::semver::{Mistake, Range, RangeError, Version};

/// Rows of a committed table: three texts each.
fn rows(table: &str) -> Vec<[String; 3]> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn ranges_answer_as_the_library_does() {
    let rows = rows(include_str!("../../corpus/semver/ranges.jsonl"));
    let (mut answered, mut stricter) = (0, 0);
    for [text, tag, expected] in &rows {
        let answer = match (text.parse::<Range>(), tag.parse::<Version>()) {
            (Err(error), _) if expected != "no range" => {
                assert!(is_meant_to_be_stricter(&error), "{text}: {error}");
                stricter += 1;
                continue;
            }
            (Err(_), _) => "no range",
            (_, Err(_)) => "no version",
            (Ok(range), Ok(version)) if range.accepts(&version) => "yes",
            _ => "no",
        };
        assert_eq!(answer, expected, "{text:?} and {tag:?}");
        answered += 1;
    }
    assert!(answered > 2_400 && stricter > 0, "{answered} rows, {stricter} of them refused by us alone");
}

/// What the library accepts and we refuse: see the documentation of each mistake, and junk behind a wildcard.
fn is_meant_to_be_stricter(error: &RangeError) -> bool {
    match &error.mistake {
        Mistake::Wildcard(_) | Mistake::HyphenTouches | Mistake::HyphenFollows => true,
        Mistake::Version { text, .. } => text.contains(['x', 'X', '*']),
        _ => false,
    }
}

#[test]
fn versions_compare_as_in_the_library() {
    let rows = rows(include_str!("../../corpus/semver/versions.jsonl"));
    for [left, right, expected] in &rows {
        let answer = match (left.parse::<Version>(), right.parse::<Version>()) {
            (Ok(left), Ok(right)) => match left.cmp(&right) {
                std::cmp::Ordering::Less => "older",
                std::cmp::Ordering::Equal => "equal",
                std::cmp::Ordering::Greater => "newer",
            },
            _ => "no version",
        };
        assert_eq!(answer, expected, "{left} and {right}");
    }
    assert!(rows.len() >= 800);
}
