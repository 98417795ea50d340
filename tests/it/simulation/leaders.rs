//! Duels of two live leaders, with every fence and without some.

use std::time::SystemTime;

use super::batch::{Report, Told};
use super::carry::OF_ANOTHER_LEADER;
use super::duel::duel;
use super::fences::{Fence, Fences};
use super::many;

/// Duels of one run of the tests (design §9 G9).
const DUELS: u64 = 10_000;
/// Duels in worlds without some fence.
const DUELS_UNFENCED: u64 = 400;

/// In every fourth duel there are elections, in the others both act all the time.
pub fn fences_of(seed: u64) -> Fences {
    if seed.is_multiple_of(4) { Fences::ALL } else { Fences::without(Fence::Election) }
}

/// Plays duels; `is_sound`: none may fail.
fn duels(count: u64, is_sound: bool, fences: impl Fn(u64) -> Fences + Sync) -> (Report, SystemTime) {
    let (count, began) = many(count);
    let seeds: Vec<u64> = (1..=count).collect();
    let report = Report::of(&seeds, is_sound, |&seed| {
        let fences = fences(seed);
        let duel = duel(seed, fences);
        let broken = duel.violations.into_iter().chain(duel.stuck).collect();
        let replay = format!("duel seed={seed} without={fences}");
        Told { requests: duel.requests, injected: duel.injected, replay, broken }
    });
    (report, began)
}

#[test]
fn two_live_leaders_commit_nothing_twice() {
    let (report, began) = duels(DUELS, true, fences_of);
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

fn seen(fences: Fences) -> Seen {
    let (report, _) = duels(DUELS_UNFENCED, false, |_| fences);
    let count = |broken: &dyn Fn(&str) -> bool| {
        let of = |failed: &&String| failed.lines().map(str::trim).any(broken);
        report.failed.iter().filter(of).count()
    };
    let is_twice = |line: &str| line.starts_with("S4: sequence") && line.contains("follows");
    let is_back = |line: &str| line.starts_with("S4") && (line.contains("back"));
    let is_other = |line: &str| line.starts_with('S') && !is_twice(line) && !is_back(line);
    let seen = Seen {
        committed_twice: count(&is_twice),
        went_back: count(&is_back),
        else_broken: count(&is_other),
        stuck: count(&|line| line.starts_with("L1")),
    };
    eprintln!("simulation: {} duels without {fences}: {seen:?}", report.runs);
    if std::env::var("TELL").is_ok() {
        for f in report.failed.iter().take(3) {
            eprintln!("{f}");
        }
    }
    seen
}

#[test]
fn explore() {
    use Fence::*;
    for fences in [
        Fences::without(Rule),
        Fences::without(StatusRevision),
        Fences::without(OtherRevisions),
        Fences::without(Election),
        Fences::without(Rule).nor(Election),
        Fences::without(StatusRevision).nor(Election),
        Fences::without(OtherRevisions).nor(Election),
        Fences::without(StatusRevision).nor(Rule),
        Fences::without(StatusRevision).nor(Rule).nor(Election),
        Fences::without(Rule).nor(StatusRevision).nor(OtherRevisions).nor(Election),
    ] {
        seen(fences);
    }
}
