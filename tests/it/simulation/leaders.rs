//! Duels of two live leaders, with every fence and without some.

use std::time::SystemTime;

use super::batch::{Report, Told};
use super::carry::OF_ANOTHER_LEADER;
use super::duel::{Length, duel};
use super::fences::{Fence, Fences};
use super::{many, setting};

/// Duels of one run of the tests (design §9 G9).
const DUELS: u64 = 10_000;
/// Duels in worlds without some fence.
const DUELS_UNFENCED: u64 = 120;

/// In every fourth duel there are elections, in the others both act all the time.
pub fn fences_of(seed: u64) -> Fences {
    if seed.is_multiple_of(4) { Fences::ALL } else { Fences::without(Fence::Election) }
}

/// In every tenth duel each release is carried before the next is pushed.
pub fn length_of(seed: u64) -> Length {
    if seed % 10 < 1 { Length::EachCarried } else { Length::InARow }
}

/// Plays duels; `is_sound`: none may fail.
fn duels(
    count: u64,
    is_sound: bool,
    fences: impl Fn(u64) -> Fences + Sync,
    length: impl Fn(u64) -> Length + Sync,
) -> (Report, SystemTime) {
    let began = setting("").1;
    let seeds: Vec<u64> = (1..=count).collect();
    let report = Report::of(&seeds, is_sound, |&seed| {
        let fences = fences(seed);
        let length = length(seed);
        let duel = duel(seed, fences, length);
        let broken = duel.violations.into_iter().chain(duel.stuck).collect();
        let replay = format!("duel seed={seed} length={length:?} without={fences}");
        Told { requests: duel.requests, injected: duel.injected, replay, broken }
    });
    (report, began)
}

pub fn two_live_leaders_commit_nothing_twice() {
    let (report, began) = duels(many(DUELS).0, true, fences_of, length_of);
    let late = report.injected.get(OF_ANOTHER_LEADER).copied().unwrap_or(0);
    report.conclude("two live leaders", began);
    assert!(late > 0, "no write of a leader that had been replaced was seen");
}

/// What is seen of duels in a world without some fence: how many of them broke what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// One sequence was committed twice (S4).
    committed_twice: usize,
    /// A set's release was taken back, or a target carried an older one than before (S4).
    went_back: usize,
    /// Something else of S1 to S9.
    else_broken: usize,
    /// It did not end well (L1).
    stuck: usize,
}

fn seen(fences: Fences, length: Length) -> Seen {
    let (report, _) = duels(DUELS_UNFENCED, false, |_| fences, |_| length);
    let count = |is_one: &dyn Fn(&str) -> bool| {
        report.failed.iter().filter(|failed| failed.lines().map(str::trim).any(is_one)).count()
    };
    let is_twice = |line: &str| line.starts_with("S4: sequence") && line.contains("follows");
    let is_back = |line: &str| line.starts_with("S4") && line.contains("back");
    let seen = Seen {
        committed_twice: count(&is_twice),
        went_back: count(&is_back),
        else_broken: count(&|line| line.starts_with('S') && !is_twice(line) && !is_back(line)),
        stuck: count(&|line| line.starts_with("L1")),
    };
    eprintln!("simulation: {} duels {length:?} without {fences}: {seen:?}", report.runs);
    seen
}

#[test]
fn without_fences_duels_are_lost() {
    let none = Fences::without(Fence::Rule)
        .nor(Fence::StatusRevision)
        .nor(Fence::OtherRevisions)
        .nor(Fence::Election);
    let seen = seen(none, Length::InARow);
    assert!(seen.committed_twice > 0 && seen.else_broken > 0, "{seen:?}");
}

/// Without one fence the others hold: nothing is committed twice, nothing moves back.
#[test]
fn without_one_fence_the_others_hold() {
    for fence in [Fence::Rule, Fence::Election] {
        for length in [Length::InARow, Length::EachCarried] {
            assert_eq!(seen(Fences::without(fence), length), Seen::default(), "{fence:?}");
        }
    }
}

/// The resourceVersion of the status write is the one fence that nothing replaces. Transition rule and election still keep
/// sequences apart. But a leader that stops just before its write commits what it decided before the spec changed: over a
/// new generation, a suspended set, a pin.
#[test]
fn without_the_status_revision_a_late_commit_passes_over_an_edit_but_not_over_a_commit() {
    let seen = seen(Fences::without(Fence::StatusRevision), Length::InARow);
    assert_eq!((seen.committed_twice, seen.went_back), (0, 0), "{seen:?}");
    assert!(seen.else_broken > 0, "{seen:?}");
}

/// The transition rule alone lets the same tag pass at the same sequence: it says nothing of digests.
#[test]
fn the_transition_rule_alone_lets_a_second_commit_of_the_same_tag_pass() {
    let alone = Fences::without(Fence::StatusRevision).nor(Fence::Election);
    let seen = seen(alone, Length::InARow);
    assert!(seen.committed_twice > 0 && seen.went_back == 0, "{seen:?}");
}

/// A target's own resourceVersion is what stops a leader that slept over a release.
#[test]
fn without_the_revision_of_a_target_it_moves_back() {
    let alone = seen(Fences::without(Fence::OtherRevisions), Length::EachCarried);
    let both = seen(Fences::without(Fence::OtherRevisions).nor(Fence::Election), Length::EachCarried);
    assert_eq!((alone.committed_twice, both.committed_twice), (0, 0), "{alone:?} {both:?}");
    assert!(alone.went_back > 0 && both.went_back > 0, "{alone:?} {both:?}");
}
