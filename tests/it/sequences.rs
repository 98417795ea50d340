//! The failure sequences that a careless build would run into, and the tests that hold each. A test says by its name which
//! one it holds: `sequence_NN_…`. The test here fails when one has none, or when a number is not in the list.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::rust_sources;

/// Number and what would go wrong.
const SEQUENCES: &[(u8, &str)] = &[
    (1, "a pod that ends well on SIGTERM passes the smoke test"),
    (2, "a report from an old read undoes a commit"),
    (3, "a stale writer moves a target back, makes a deleted one anew, or shares it with another set"),
    (4, "a deleted, restored or recreated set takes its release back or forgets its floor"),
    (5, "a tag moves after the commit, or Flux resolves it by itself"),
    (6, "one ImagePolicy carries several tags, and advisory images ride along"),
    (7, "a release of nothing is complete"),
    (8, "what was seen once is taken for there"),
    (9, "a policyRef walks backwards"),
    (10, "after a rollback the bad release comes back by itself"),
    (11, "suspend and pin are undone by Flux, or stop half of a release"),
    (12, "the guard admits failed tags and foreign digests, or two sets on one repository refuse each other"),
    (13, "a steady stream of pushes starves promotion"),
    (14, "a candidate that is gone waits for ever"),
    (15, "what kept a test from running is taken for a failed test"),
    (16, "tests of two sets share a Job, or are run without bound"),
    (17, "tags have no total order, or are read as another image's"),
    (18, "two builds of one tag are blended, or a late platform is an alarm"),
    (19, "a spec edit in mid-flight tears the promoted release"),
    (20, "status changes with the clock, or grows without bound"),
    (21, "a dead candidate is looked at as often as a new one"),
    (22, "looking costs more requests than a registry grants"),
    (23, "an older CRD drops what is written, or a fresh set is taken for a ready one"),
    (24, "an unrun test reads as a passed one in CI"),
    (25, "a set waits for what waits for it, or a key that is no variable fails a build"),
];

/// How many tests hold each number.
fn held() -> BTreeMap<u8, usize> {
    let mut held = BTreeMap::new();
    for (_, text) in rust_sources(&["tests/it", "src"]) {
        for line in text.lines() {
            let name = line.trim_start().trim_start_matches("async ");
            let digits = name.strip_prefix("fn sequence_").and_then(|rest| rest.split('_').next());
            if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
                *held.entry(number).or_default() += 1;
            }
        }
    }
    held
}

#[test]
fn every_failure_sequence_is_held_by_a_test() {
    let held = held();
    let listed: BTreeSet<u8> = SEQUENCES.iter().map(|(number, _)| *number).collect();
    let without: Vec<_> = SEQUENCES.iter().filter(|(number, _)| !held.contains_key(number)).collect();
    assert!(without.is_empty(), "no test holds {without:?}");
    let unlisted: Vec<u8> = held.into_keys().filter(|number| !listed.contains(number)).collect();
    assert!(unlisted.is_empty(), "tests are named after {unlisted:?}, which nobody describes");
}
