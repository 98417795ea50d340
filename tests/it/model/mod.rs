//! R1: every state of a small world with the real `decide`, and of the lease with the real `evaluate` (docs/adr/0008).

mod brain;
mod explore;
mod lease;
mod mutants;
mod paper;
mod world;

use tidegate::invariants::InvariantName;

use explore::{Found, explore, replay};
use mutants::Mutant;
use paper::{ABSENT, FIRST, FIRST_AMD, SECOND, Spec};
use world::{Bounds, Budget, held, pushes};

fn quiet(name: &'static str) -> Bounds {
    Bounds {
        name,
        budget: Budget::default(),
        controllers: 2,
        pushes: Vec::new(),
        held: held([ABSENT; 3]),
        edits: Vec::new(),
        deletes_set: false,
        waits: vec![6, 61],
        fine: false,
        mutant: None,
    }
}

/// Every world, each explored until nothing new can happen in it.
fn worlds() -> Vec<Bounds> {
    // main-1 is whole, of main-2 the lead is missing.
    let two = [[FIRST, 0, 0, 0], [FIRST, FIRST, 0, 0], [FIRST, FIRST, 0, 0]];
    vec![
        // Two live leaders: writes that cross, replies that are lost, reads of the past.
        Bounds {
            budget: Budget { lost: 2, stale: 1, waits: 1, ..Budget::default() },
            held: held([FIRST; 3]),
            ..quiet("writes")
        },
        // Two live leaders, one of which dies, while a newer release becomes whole or this one is built again.
        Bounds {
            budget: Budget { pushes: 1, waits: 1, crashes: 1, ..Budget::default() },
            pushes: vec![(0, 1, FIRST), (1, 0, SECOND)],
            held: two,
            waits: vec![61],
            ..quiet("crashes")
        },
        // Tags that are built again, deleted, refused, while one look at three images is under way.
        Bounds {
            budget: Budget { pushes: 1, deletions: 1, refusals: 1, waits: 1, ..Budget::default() },
            pushes: vec![(0, 0, SECOND), (1, 0, SECOND), (2, 0, FIRST)],
            held: held([FIRST, FIRST, FIRST_AMD]),
            controllers: 1,
            fine: true,
            ..quiet("blend")
        },
        // Releases that overtake one another, tests that fail, platforms that come late.
        Bounds {
            budget: Budget { pushes: 3, waits: 1, failures: 1, ..Budget::default() },
            pushes: vec![(0, 0, FIRST), (0, 1, FIRST), (2, 0, FIRST), (2, 1, FIRST), (0, 2, FIRST)],
            held: [[0, 0, 0, 0], [FIRST, FIRST, FIRST, 0], [FIRST_AMD, FIRST_AMD, FIRST, 0]],
            controllers: 1,
            ..quiet("order")
        },
        // People: suspend, pin, other platforms, skip, filters, and the end of the set.
        Bounds {
            budget: Budget { pushes: 1, edits: 2, waits: 1, ..Budget::default() },
            pushes: vec![(0, 1, FIRST), (1, 0, SECOND)],
            held: two,
            edits: paper::SPECS.to_vec(),
            deletes_set: true,
            controllers: 1,
            ..quiet("people")
        },
        // Clocks that jump an hour.
        Bounds {
            budget: Budget { pushes: 1, waits: 1, jumps: 2, refusals: 1, ..Budget::default() },
            pushes: vec![(0, 1, FIRST), (1, 0, SECOND)],
            held: two,
            controllers: 1,
            ..quiet("clocks")
        },
        // The set made anew under targets that carry a release; tags gone; long waits.
        Bounds {
            budget: Budget { deletions: 1, refusals: 1, waits: 3, recreations: 1, ..Budget::default() },
            held: two,
            controllers: 1,
            waits: vec![61, 2_800],
            ..quiet("lost")
        },
    ]
}

fn tell(found: &Found) -> String {
    let Found { world, states, transitions, depth, exhausted, continued, longest, .. } = found;
    let how = if *exhausted { "exhausted" } else { "cut off" };
    format!(
        "{world:<10} {states:>9} states {transitions:>9} transitions, depth {depth:>3}, {how}; \
         continuations: {continued} states, longest {longest} steps"
    )
}

#[test]
fn try_it() {
    let max = std::env::var("MAX").map_or(20_000, |max| max.parse().unwrap());
    let mut all = std::collections::BTreeSet::new();
    let only = std::env::var("ONLY").unwrap_or_default();
    for bounds in worlds().into_iter().filter(|bounds| bounds.name.contains(&only)) {
        let started = std::time::Instant::now();
        let found = explore(&bounds, max);
        println!("{} in {:?} {:?}", tell(&found), started.elapsed(), found.values);
        all.extend(found.covered);
        if let Some(breach) = found.breach {
            println!("{:?}\n{}\n{:?}", breach.violations, breach.told, breach.path);
        }
    }
    println!("{all:?}");
    let _ = (InvariantName::S1, Mutant::LateWrite, FIRST_AMD, Spec::Base, pushes(&[], false), replay(&worlds()[0], &[]));
}
