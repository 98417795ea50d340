//! Ranges and versions against the documentation of Masterminds/semver, and against laws that hold for every version.
//! Answers of the library itself are in `tests/it/engine/semver.rs`.

use proptest::prelude::*;
use proptest::sample::select;

use super::{Mistake, Range, RangeError, Version};

fn range(text: &str) -> Range {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn version(text: &str) -> Version {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether the range accepts the version, with everything that a failing table should show.
fn check(text: &str, tag: &str, expected: bool) {
    assert_eq!(range(text).accepts(&version(tag)), expected, "{text} and {tag}");
}

/// Versions around the borders of the documented ranges, pre-releases of each included.
fn grid() -> Vec<Version> {
    let mut versions = Vec::new();
    for major in 0..=5 {
        for minor in 0..=6 {
            for patch in 0..=6 {
                for tail in ["", "-0", "-alpha", "-beta.1"] {
                    versions.push(version(&format!("{major}.{minor}.{patch}{tail}")));
                }
            }
        }
    }
    versions
}

/// "A is equivalent to B" in the README of Masterminds/semver v3.5.0, "Checking Version Constraints".
const EQUIVALENT: [(&str, &str); 23] = [
    // Hyphen Range Comparisons
    ("1.2 - 1.4.5", ">= 1.2 <= 1.4.5"),
    ("2.3.4 - 4.5", ">= 2.3.4 <= 4.5"),
    // Wildcards In Comparisons
    ("1.2.x", ">= 1.2.0, < 1.3.0"),
    (">= 1.2.x", ">= 1.2.0"),
    ("<= 2.x", "< 3"),
    ("*", ">= 0.0.0"),
    // Tilde Range Comparisons (Patch)
    ("~1.2.3", ">= 1.2.3, < 1.3.0"),
    ("~1", ">= 1, < 2"),
    ("~2.3", ">= 2.3, < 2.4"),
    ("~1.2.x", ">= 1.2.0, < 1.3.0"),
    ("~1.x", ">= 1, < 2"),
    // Caret Range Comparisons (Major)
    ("^1.2.3", ">= 1.2.3, < 2.0.0"),
    ("^1.2.x", ">= 1.2.0, < 2.0.0"),
    ("^2.3", ">= 2.3, < 3"),
    ("^2.x", ">= 2.0.0, < 3"),
    ("^0.2.3", ">=0.2.3 <0.3.0"),
    ("^0.2", ">=0.2.0 <0.3.0"),
    ("^0.0.3", ">=0.0.3 <0.0.4"),
    ("^0.0", ">=0.0.0 <0.1.0"),
    ("^0", ">=0.0.0 <1.0.0"),
    // Basic Comparisons: spaces and commas mean the same, `=` is the absence of an operator.
    (">= 1.2 < 3.0.0 || >= 4.2.3", ">=1.2, <3.0.0 || >=4.2.3"),
    ("=1.2.3", "1.2.3"),
    ("=1.2", "1.2.x"),
];

#[test]
fn documented_equivalents_accept_the_same() {
    let versions = grid();
    for (text, same) in EQUIVALENT {
        let (one, other) = (range(text), range(same));
        for version in &versions {
            assert_eq!(one.accepts(version), other.accepts(version), "{text} and {same} on {version}");
        }
        assert!(versions.iter().any(|version| one.accepts(version)), "{text} accepts something");
    }
}

/// Sentences of the same README, as answers.
#[test]
fn documented_comparisons_hold() {
    for (text, accepted, refused) in [
        (">= 1.2.3", "1.3.0", "1.2.2"),
        (">= 1.2 < 3.0.0 || >= 4.2.3", "2.9.9", "3.0.0"),
        (">= 1.2 < 3.0.0 || >= 4.2.3", "4.2.3", "4.2.2"),
        ("= 1.2.3", "1.2.3", "1.2.4"),
        ("!= 1.2.3", "1.2.4", "1.2.3"),
        ("> 1.2.3", "1.2.4", "1.2.3"),
        ("< 1.2.3", "1.2.2", "1.2.3"),
        ("<= 1.2.3", "1.2.3", "1.2.4"),
        // Working With Prerelease Versions
        (">=1.2.3", "1.2.4", "1.2.4-beta.1"),
        (">=1.2.3-0", "1.2.4-beta.1", "1.2.2"),
        (">=1.2.3-BETA", "1.2.3-alpha", "1.2.3-ALPHA"),
        (">1.2.3-beta.1", "1.2.3", "1.2.3-beta.1"),
        // `1.2-1.4.5` without spaces is 1.2.0 with the pre-release 1.4.5.
        ("1.2-1.4.5", "1.2.0-1.4.5", "1.4.0"),
        // Only the group that names a pre-release looks at them (v3.4.0).
        (">=1.2.3-0 <2.0.0", "1.9.0-rc.1", "2.0.0"),
        (">=1.0.0 <2.0.0 || >=3.0.0-0", "3.1.0-rc.1", "1.1.0-rc.1"),
        // `>` and `<=` with fewer numbers take all that they leave open.
        (">11", "12.0.0", "11.1.0"),
        (">11.1", "11.2.1", "11.1.1"),
        ("<=11", "11.9.9", "12.0.0"),
    ] {
        check(text, accepted, true);
        check(text, refused, false);
    }
}

#[test]
fn tags_are_read_as_flux_reads_them() {
    for (tag, read) in [
        ("1.2.3", "1.2.3"),
        ("v1.2.3", "1.2.3"),
        ("v2025.02.03-rc.1", "2025.2.3-rc.1"),
        ("1.2.3-rc.1+build.7", "1.2.3-rc.1"),
        ("1-rc.0.1", "1.0.0-rc.0.1"),
        ("18446744073709551615.0.0", "18446744073709551615.0.0"),
    ] {
        assert_eq!(version(tag).to_string(), read);
    }
    for tag in [
        "",
        "1",
        "v1",
        "1.2",
        "1.2.3.4",
        "V1.2.3",
        "vv1.2.3",
        "1.2.x",
        "1.2.3-",
        "1.2.3-a..b",
        "1.2.3-01",
        "1.2.3+",
        "1.2.3_4",
        "-1.2.3",
        "1..3",
        "latest",
        "1.2.3\n",
        "18446744073709551616.0.0",
        "1.2.3-ä",
    ] {
        assert!(tag.parse::<Version>().is_err(), "{tag}");
    }
    assert!(format!("1.2.3-{}", "a".repeat(251)).parse::<Version>().is_err(), "257 bytes");
}

/// The order of semver.org 2.0.0 §11.
#[test]
fn precedence_is_that_of_the_specification() {
    let ordered = [
        "0.9.9",
        "1.0.0-0",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.2.0",
        "1.10.0",
        "2.0.0",
        "10.0.0",
    ];
    for pair in ordered.windows(2) {
        assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
    }
    assert_eq!(version("1.2.3+a"), version("v1.2.3+b"), "build metadata has no part in it");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let told = |text: &str| text.parse::<Range>().unwrap_err().to_string();
    let lines: Vec<String> = [
        "",
        "1 ||",
        ">=1.2<2",
        ">=1.2,,<2",
        "==1",
        ">= || 2",
        "> =1",
        "1.2.3.4",
        "latest",
        "^*",
        "1 - <2",
        "- 2",
        ">1 - 2",
        "1 || 2||3 - 4",
        "1 - *",
        "1 2 - 3",
        "1.2.3-01",
        "ä <1",
        ">=1.0.0-rc_1",
        "1.x.5y",
        "99999999999999999999",
    ]
    .iter()
    .map(|text| format!("{text}\n  {}", told(text)))
    .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_hyphen_range_touches_what_stands_right_beside_it_alone() {
    let touches =
        |text: &str| text.parse::<Range>().map_err(|error| error.mistake) == Err(Mistake::HyphenTouches);
    for text in ["1 - 2||3", "5||1 - 2", "5 || 1 - 2||3", "5||1 - 2 || 3"] {
        assert!(touches(text), "{text}");
    }
    for text in ["1 - 2 || 3 - 4", ">=1, 2 - 3 ||4", "1 - 2, <3||4", "5||>=1, 2 - 3"] {
        assert!(text.parse::<Range>().is_ok(), "{text}");
    }
}

#[test]
fn sizes_are_limited() {
    let mistake = |text: &str| text.parse::<Range>().map_err(|error| error.mistake);
    let long = format!("1{}", " 1".repeat(256));
    assert_eq!(mistake(&long), Err(Mistake::TooLong(513)));
    assert!(mistake(&long[..511]).is_ok());
    assert_eq!(mistake(&["1"; 33].join("||")), Err(Mistake::TooManyGroups));
    assert!(mistake(&["1"; 32].join("||")).is_ok());
}

// === laws ===

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..4, 1 => any::<u64>()]
}

fn versions() -> impl Strategy<Value = Version> {
    let tails = select(vec!["", "", "", "-0", "-alpha", "-alpha.1", "-beta.2", "-beta.11", "-rc.1", "-z"]);
    (numbers(), numbers(), numbers(), tails)
        .prop_map(|(major, minor, patch, tail)| version(&format!("{major}.{minor}.{patch}{tail}")))
}

/// Texts of one comparison, most of them sound.
fn comparisons() -> impl Strategy<Value = String> {
    let operators = select(vec!["", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"]);
    let wild =
        (numbers(), select(vec!["", ".x", ".*", ".X.x"])).prop_map(|(major, rest)| format!("{major}{rest}"));
    let with = prop_oneof![3 => versions().prop_map(|version| version.to_string()), 2 => wild];
    (operators, with).prop_map(|(operator, with)| format!("{operator}{with}"))
}

/// Texts of comparisons that look at pre-releases, which alone obey the laws of sets: the rule for pre-releases is
/// about a group as a whole.
fn open_comparisons() -> impl Strategy<Value = String> {
    comparisons().prop_map(|text| format!("{text} >=0.0.0-0"))
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}", near in "[0-9xX*.|,<>=!~^ v+a-]{0,40}") {
        for text in [text, near] {
            let _any = text.parse::<Version>();
            if let Err(RangeError { at, .. }) = text.parse::<Range>() {
                prop_assert!((1..=text.chars().count() + 1).contains(&at), "{text:?}: {at}");
            }
        }
    }

    #[test]
    fn ranges_and_versions_come_back_from_their_text(
        groups in prop::collection::vec(prop::collection::vec(comparisons(), 1..4), 1..4),
        version in versions(),
    ) {
        let text = groups.iter().map(|group| group.join(", ")).collect::<Vec<_>>().join(" || ");
        let read = range(&text);
        prop_assert_eq!(range(&read.to_string()), read);
        prop_assert_eq!(super::tests::version(&version.to_string()), version);
    }

    #[test]
    fn and_is_the_intersection(one in open_comparisons(), other in open_comparisons(), version in versions()) {
        let both = range(&format!("{one}, {other}")).accepts(&version);
        prop_assert_eq!(both, range(&one).accepts(&version) && range(&other).accepts(&version));
    }

    #[test]
    fn or_is_the_union(one in comparisons(), other in comparisons(), version in versions()) {
        let either = range(&format!("{one} || {other}")).accepts(&version);
        prop_assert_eq!(either, range(&one).accepts(&version) || range(&other).accepts(&version));
    }

    #[test]
    fn releases_need_no_prerelease_to_be_accepted(text in comparisons(), version in versions()) {
        prop_assume!(!text.contains('-'));
        prop_assert!(!version.is_prerelease() || !range(&text).accepts(&version));
    }

    #[test]
    fn shorthand_means_its_expansion(a in 0_u64..4, b in 0_u64..4, c in 0_u64..4, version in versions()) {
        let caret = match (a, b) {
            (0, 0) => format!(">=0.0.{c} <0.0.{}", c + 1),
            (0, _) => format!(">=0.{b}.{c} <0.{}.0", b + 1),
            _ => format!(">={a}.{b}.{c} <{}.0.0", a + 1),
        };
        let mut pairs = vec![
            (format!("^{a}.{b}.{c}"), caret),
            (format!("~{a}.{b}"), format!(">={a}.{b}.0 <{a}.{}.0", b + 1)),
            (format!("~{a}"), format!(">={a}.0.0 <{}.0.0", a + 1)),
            (format!("{a}.{b}.x"), format!(">={a}.{b}.0 <{a}.{}.0", b + 1)),
            (format!("{a}.*"), format!(">={a}.0.0 <{}.0.0", a + 1)),
            (format!("^{a}"), format!(">={a}.0.0 <{}.0.0", a + 1)),
            (format!(">{a}.{b}"), format!(">={a}.{}.0", b + 1)),
            (format!("<={a}"), format!("<{}.0.0", a + 1)),
            (format!("!={a}.{b}.{c}"), format!("<{a}.{b}.{c} || >{a}.{b}.{c}")),
            (format!("{a}.{b} - {c}"), format!(">={a}.{b}.0 <{}.0.0", c + 1)),
            (format!("{a}.{b}.{c} - {c}.{b}"), format!(">={a}.{b}.{c} <{c}.{}.0", b + 1)),
        ];
        if (a, b, c) != (0, 0, 0) {
            pairs.push((format!("~{a}.{b}.{c}"), format!(">={a}.{b}.{c} <{a}.{}.0", b + 1)));
        }
        for (short, long) in pairs {
            prop_assert_eq!(range(&short).accepts(&version), range(&long).accepts(&version), "{} and {}", short, long);
        }
    }
}
