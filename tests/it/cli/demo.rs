//! `tidegate demo`: every scenario file is played by the built binary, and every promise held in each.

use std::thread;

use tidegate::cli::demo::scenario::Scenario;
use tidegate::cli::demo::scenarios::FILES;

use super::fixture::call;

/// Scenarios played at once: the machine's two cores.
const PLAYERS: usize = 2;
/// What a scenario prints when no invariant broke.
const HELD: &str = "Invariants S1 to S7, checked at every write:  none broken";

/// What is wrong with one scenario played by name.
fn play(name: &str) -> Vec<String> {
    let answer = call(&["demo", "--scenario", name]);
    let mut wrong = Vec::new();
    if answer.code != 0 || !answer.stdout.contains(HELD) {
        wrong.push(format!("{name}: {}", answer.whole()));
    }
    // It is this one that was played.
    let first = answer.stdout.lines().next().unwrap_or_default();
    if name != "founding-incident" && !first.starts_with(&format!("Scenario {name}: ")) {
        wrong.push(format!("{name}: it begins with {first:?}"));
    }
    wrong
}

#[test]
fn every_scenario_is_played_and_every_promise_holds() {
    let wrong: Vec<String> = thread::scope(|scope| {
        let players: Vec<_> = (0..PLAYERS)
            .map(|player| {
                let names = FILES.iter().skip(player).step_by(PLAYERS);
                scope.spawn(move || names.flat_map(|(name, _)| play(name)).collect::<Vec<_>>())
            })
            .collect();
        players.into_iter().flat_map(|player| player.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(FILES.len() >= 30, "only {} scenarios", FILES.len());
}

#[test]
fn the_list_names_each_with_one_sentence() {
    let answer = call(&["demo", "--list"]);
    assert_eq!(answer.code, 0, "{}", answer.whole());
    let lines: Vec<&str> = answer.stdout.lines().collect();
    assert_eq!(lines.len(), FILES.len());
    for (line, (name, text)) in lines.iter().zip(FILES) {
        let (named, sentence) = line.split_once("  ").unwrap();
        assert_eq!((named, sentence.trim()), (*name, Scenario::parse(text).unwrap().shows.as_str()));
    }
}

#[test]
fn a_name_that_is_not_there_is_a_usage_error_with_the_closest() {
    let answer = call(&["demo", "--scenario", "sibling-layt"]);
    assert_eq!(answer.code, 2, "{}", answer.whole());
    assert!(answer.stderr.contains("the closest are sibling-late, "), "{}", answer.stderr);
    assert_eq!(answer.stdout, "");
    assert_eq!(call(&["demo", "--list", "--scenario", "suspended"]).code, 2);
}

#[test]
fn one_without_a_naive_follower_tells_what_happened() {
    insta::assert_snapshot!("demo_suspended", call(&["demo", "--scenario", "suspended"]).whole());
}
