//! R1: every state of a small world with the real `decide`, and of the lease with the real `evaluate` (docs/adr/0008).
//!
//! `TIDEGATE_MODEL='WORLD:3.0.5.1' cargo test --test it model::replay -- --nocapture` walks a path again that a failing run
//! printed.

mod brain;
mod explore;
mod lease;
mod mutants;
mod paper;
mod world;

use std::collections::BTreeSet;

use tidegate::invariants::InvariantName;

use explore::{Found, explore, replay, steps_to_promotion};
use mutants::Mutant;
use paper::{ABSENT, FIRST, FIRST_AMD, SECOND, SPECS};
use world::{Action, Bounds, Budget};

/// What all worlds together must have, so that a bound that was set too tight is noticed (design §9, G11).
const STATES_MIN: usize = 1_000_000;

/// Kinds of decisions that must have been seen. Not here: `NotRun`, which only the command line says; `Deleting`, at which
/// the controller does not ask; `TargetsAhead`, which takes a status that is older and not empty (histories have it).
const COVERED: [&str; 41] = [
    "phase Partial",
    "phase Settling",
    "phase Testing",
    "phase Confirming",
    "phase Failed",
    "wait for Broken",
    "wait for Missing",
    "wait for Unknown",
    "wait for TagMoved",
    "wait for Settling",
    "wait for GateFailed",
    "wait for GatePending",
    "ended Failed",
    "ended Superseded",
    "ended Gone",
    "ended Skipped",
    "hold Suspended",
    "hold TargetUnreadable",
    "hold FloorNotOrdered",
    "hold OrderUntold",
    "again Generation",
    "again TagMoved",
    "drift moved",
    "drift extended",
    "drift gone",
    "gate Passed",
    "gate Failed",
    "gate Running",
    "gate Pending",
    "cell Present",
    "cell Missing",
    "cell Broken",
    "cell Unknown",
    "ask List",
    "ask Look",
    "ask Confirm",
    "ask Drift",
    "promote",
    "overdue",
    "gate overdue",
    "cannot tell",
];

fn quiet(name: &'static str) -> Bounds {
    Bounds {
        name,
        budget: Budget::default(),
        controllers: 2,
        pushes: Vec::new(),
        held: [[FIRST, ABSENT, ABSENT, ABSENT]; 3],
        edits: Vec::new(),
        deletes_set: false,
        waits: vec![6, 61],
        fine: false,
        outages: false,
        liveness: true,
        settled: false,
        states_max: usize::MAX,
        mutant: None,
    }
}

/// `main-1` is whole; of `main-2` the lead is missing.
const TWO: brain::Held = [[FIRST_AMD, 0, 0, 0], [FIRST, FIRST, 0, 0], [FIRST, FIRST, 0, 0]];

fn worlds() -> Vec<Bounds> {
    let mut worlds = worlds_of_machines();
    worlds.extend(worlds_of_people());
    worlds
}

fn worlds_of_machines() -> Vec<Bounds> {
    vec![
        // Two live leaders: writes that cross, replies that are lost, reads of the past.
        Bounds { budget: Budget { lost: 2, stale: 1, waits: 1, ..Budget::default() }, ..quiet("writes") },
        // Two live leaders, one of which dies, while a newer release becomes whole or this one is built again.
        Bounds {
            budget: Budget { pushes: 1, waits: 1, crashes: 1, ..Budget::default() },
            pushes: vec![(0, 1, FIRST), (1, 0, SECOND)],
            held: TWO,
            states_max: 550_000,
            ..quiet("crashes")
        },
        // Tags that are built again, deleted, refused, while one look at three images is under way.
        Bounds {
            budget: Budget { pushes: 1, deletions: 1, refusals: 1, waits: 1, ..Budget::default() },
            pushes: vec![(0, 0, SECOND), (1, 0, SECOND), (2, 0, FIRST)],
            held: [[FIRST, 0, 0, 0], [FIRST, 0, 0, 0], [FIRST_AMD, 0, 0, 0]],
            controllers: 1,
            fine: true,
            states_max: 60_000,
            ..quiet("blend")
        },
        // Releases that overtake one another, tests that fail, platforms that come late.
        Bounds {
            budget: Budget { pushes: 3, waits: 1, failures: 1, ..Budget::default() },
            pushes: vec![(0, 0, FIRST), (0, 1, FIRST), (2, 0, FIRST), (2, 1, FIRST), (0, 2, FIRST)],
            held: [[0, 0, 0, 0], [FIRST, FIRST, FIRST, 0], [FIRST_AMD, FIRST_AMD, FIRST, 0]],
            controllers: 1,
            states_max: 40_000,
            ..quiet("order")
        },
    ]
}

fn worlds_of_people() -> Vec<Bounds> {
    vec![
        // People: suspend, pin, other platforms, skip, filters, and the end of the set.
        Bounds {
            budget: Budget { pushes: 1, edits: 2, waits: 1, lost: 1, ..Budget::default() },
            pushes: vec![(0, 1, FIRST), (1, 0, SECOND)],
            held: TWO,
            edits: SPECS.to_vec(),
            deletes_set: true,
            settled: true,
            waits: vec![601],
            states_max: 300_000,
            ..quiet("people")
        },
        // Clocks that jump an hour.
        Bounds {
            budget: Budget { pushes: 1, waits: 1, jumps: 2, refusals: 1, ..Budget::default() },
            pushes: vec![(0, 1, FIRST), (1, 0, SECOND)],
            held: TWO,
            controllers: 1,
            states_max: 60_000,
            ..quiet("clocks")
        },
        // What was promoted moves, grows, goes; the set is made anew under targets that carry it; long waits.
        Bounds {
            budget: Budget {
                pushes: 1,
                deletions: 1,
                refusals: 1,
                waits: 2,
                recreations: 1,
                ..Budget::default()
            },
            pushes: vec![(0, 0, FIRST), (1, 0, SECOND)],
            held: [[FIRST_AMD, 0, 0, 0], [FIRST, FIRST, 0, 0], [FIRST, 0, 0, 0]],
            controllers: 1,
            waits: vec![61, 2_800],
            settled: true,
            states_max: 60_000,
            ..quiet("lost")
        },
    ]
}

fn tell(found: &Found) -> String {
    let Found { world, states, transitions, depth, exhausted, continued, longest, values, .. } = found;
    let how = if *exhausted { "exhausted" } else { "cut off" };
    let (memories, records, decisions) = values;
    format!(
        "{world:<8}{states:>8} states, {transitions:>8} transitions, depth {depth:>2}, {how}; {continued} more without faults, \
         at most {longest} steps to a promotion; {memories} memories, {records} records, {decisions} decisions"
    )
}

fn told_breach(found: &Found) -> Option<String> {
    let breach = found.breach.as_ref()?;
    let broken: Vec<String> = breach.violations.iter().map(ToString::to_string).collect();
    let path: Vec<String> = breach.path.iter().map(ToString::to_string).collect();
    Some(format!(
        "{}\n{}again: TIDEGATE_MODEL='{}:{}' cargo test --test it model::replay -- --nocapture",
        broken.join("\n"),
        breach.told,
        found.world,
        path.join(".")
    ))
}

#[test]
fn every_state_keeps_the_promise() {
    let started = tokio::time::Instant::now();
    let mut covered = BTreeSet::new();
    let mut states = 0;
    for bounds in worlds() {
        let found = explore(&bounds);
        println!("{}", tell(&found));
        if let Some(told) = told_breach(&found) {
            panic!("\n{told}");
        }
        states += found.states;
        covered.extend(found.covered);
    }
    let missing: Vec<&str> = COVERED.into_iter().filter(|kind| !covered.contains(*kind)).collect();
    println!(
        "{states} states in {:.1} s; kinds of decisions: {}",
        started.elapsed().as_secs_f32(),
        covered.len()
    );
    assert!(missing.is_empty(), "never decided: {missing:?}");
    assert!(states >= STATES_MIN, "{states} states");
}

#[test]
fn replay_a_path() {
    let Some(wanted) = std::env::var_os("TIDEGATE_MODEL") else { return };
    let wanted = wanted.into_string().unwrap();
    let (name, path) = wanted.split_once(':').expect("WORLD:PATH");
    let path: Vec<u16> = path.split('.').filter(|by| !by.is_empty()).map(|by| by.parse().unwrap()).collect();
    let bounds = worlds().into_iter().find(|bounds| bounds.name == name).expect("a world of that name");
    println!("{}", replay(&bounds, &path));
}

/// A mistake in a world is found, by the invariant that it breaks.
fn is_found(mutant: Mutant, by: InvariantName, bounds: Bounds) {
    // A world with a mistake may well stand still too: what is looked for comes first.
    let liveness = by == InvariantName::L1;
    let found = explore(&Bounds { mutant: Some(mutant), states_max: 60_000, liveness, ..bounds });
    let breach =
        found.breach.as_ref().unwrap_or_else(|| panic!("{mutant:?} was not found: {}", tell(&found)));
    let broken: BTreeSet<InvariantName> = breach.violations.iter().map(|broken| broken.invariant).collect();
    println!("{mutant:?}: {broken:?} after {} states\n{}", found.states, breach.told);
    assert!(broken.contains(&by), "{mutant:?} broke {broken:?}, not {by}");
}

fn world(name: &str) -> Bounds {
    worlds().into_iter().find(|bounds| bounds.name == name).unwrap()
}

#[test]
fn a_status_write_over_any_version_is_found() {
    let bounds = Bounds {
        budget: Budget { edits: 1, ..Budget::default() },
        edits: vec![paper::Spec::Suspended],
        controllers: 1,
        ..quiet("suspended at the last moment")
    };
    is_found(Mutant::VersionIgnored, InvariantName::S7, bounds);
}

#[test]
fn a_missing_transition_rule_is_found() {
    is_found(Mutant::VersionAndRuleIgnored, InvariantName::S4, world("writes"));
}

#[test]
fn a_refusal_read_as_present_is_found() {
    let bounds =
        Bounds { budget: Budget { refusals: 1, ..Budget::default() }, controllers: 1, ..quiet("refused") };
    is_found(Mutant::UnknownIsPresent, InvariantName::S1, bounds);
}

#[test]
fn a_refusal_read_as_missing_is_found() {
    // What was only refused is given up as gone, and a list that never lost it does not bring it back.
    let bounds = Bounds {
        budget: Budget { refusals: 1, waits: 2, ..Budget::default() },
        waits: vec![61],
        outages: true,
        controllers: 1,
        ..quiet("outage")
    };
    is_found(Mutant::UnknownIsMissing, InvariantName::L1, bounds);
}

#[test]
fn a_commit_without_a_confirming_look_is_found() {
    let bounds = Bounds {
        budget: Budget { pushes: 1, ..Budget::default() },
        pushes: vec![(0, 0, SECOND)],
        controllers: 1,
        ..quiet("built again")
    };
    is_found(Mutant::NoConfirmingLook, InvariantName::S2, bounds);
}

#[test]
fn a_commit_long_after_its_look_is_found() {
    is_found(Mutant::LateWrite, InvariantName::S2, world("writes"));
}

#[test]
fn a_forgotten_floor_is_found() {
    // The older one becomes whole after the newer one was promoted: the downgrade of fluxcd/flux2#4984.
    let bounds = Bounds {
        held: [[0, FIRST, 0, 0], [FIRST, FIRST, 0, 0], [FIRST, FIRST, 0, 0]],
        budget: Budget { pushes: 1, waits: 1, ..Budget::default() },
        pushes: vec![(0, 0, FIRST)],
        controllers: 1,
        waits: vec![61],
        ..quiet("older")
    };
    is_found(Mutant::OrderReversed, InvariantName::S3, bounds);
}

#[test]
fn a_verdict_that_counts_for_its_tag_is_found() {
    let bounds = Bounds {
        budget: Budget { pushes: 1, waits: 1, ..Budget::default() },
        pushes: vec![(1, 0, SECOND)],
        held: [[0, 0, 0, 0], [FIRST, 0, 0, 0], [FIRST, 0, 0, 0]],
        controllers: 1,
        ..quiet("built again")
    };
    let bounds = Bounds {
        budget: Budget { pushes: 2, waits: 2, ..Budget::default() },
        pushes: vec![(1, 0, SECOND), (0, 0, FIRST)],
        ..bounds
    };
    is_found(Mutant::VerdictOfTag, InvariantName::S5, bounds);
}

#[test]
fn a_suspension_that_is_not_read_is_found() {
    let bounds = Bounds {
        budget: Budget { edits: 1, ..Budget::default() },
        edits: vec![paper::Spec::Suspended],
        controllers: 1,
        ..quiet("suspended")
    };
    is_found(Mutant::SuspendIgnored, InvariantName::S7, bounds);
}

/// Found by the model: what was known seemed newer than every answer until the clock was there again, for an hour.
#[test]
fn a_clock_that_is_set_back_holds_nothing_up() {
    use Action::{Jump, Push, Step};
    let bounds =
        Bounds { held: [[FIRST, 0, 0, 0], [FIRST, FIRST, 0, 0], [FIRST, FIRST, 0, 0]], ..world("clocks") };
    let path = [Step(0), Step(0), Jump(0, 1), Step(0), Jump(0, -1), Push(0, 1, FIRST)];
    let steps = steps_to_promotion(&bounds, &path);
    assert!(steps.is_some_and(|steps| steps < 100), "{steps:?}");
}
