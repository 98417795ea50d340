//! Sequence 7: complete of nothing. Where nothing is required everything is there, a tag that exists nowhere too.

use tidegate::engine::policy::{GateKind, Policy, PolicyParts};

use super::super::properties::policy;
use super::{commits, world};

fn refused(change: impl FnOnce(&mut PolicyParts)) -> String {
    let mut parts = policy(1, false);
    assert!(Policy::new(parts.clone()).is_ok(), "it is sound before");
    change(&mut parts);
    let problems = Policy::new(parts).expect_err("nothing would be required");
    let words = problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message));
    words.collect::<Vec<_>>().join("\n")
}

#[test]
fn sequence_07_a_policy_that_requires_nothing_cannot_be_built() {
    let words = refused(|parts| parts.images[1].platforms.clear());
    assert!(words.contains("images[1].platforms"), "{words}");
    let words = refused(|parts| parts.images.iter_mut().for_each(|image| image.advisory = true));
    assert!(words.contains("images"), "{words}");
    let words = refused(|parts| parts.images.clear());
    assert!(words.contains("images"), "{words}");
    // A required test of an image that no release needs would pass without being run.
    let words = refused(|parts| {
        parts.images[1].advisory = true;
        let GateKind::Smoke(smoke) = &parts.gates[0].kind else { panic!("the first gate is a smoke test") };
        assert_eq!(smoke.image, parts.images[1].name);
    });
    assert!(words.contains("gates"), "{words}");
}

#[test]
fn sequence_07_a_pin_that_exists_nowhere_is_not_promoted() {
    let mut world = world(|parts| parts.pin = Some("main-typo".parse().unwrap()));
    world.reconcile();
    assert_eq!(commits(&world), Vec::<String>::new());
}
