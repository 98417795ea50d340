//! Scenarios on the embedded world: the real controller, in virtual time.

use tidegate::cli::demo::scenario::{Scenario, World};
use tidegate::cli::demo::world::EmbeddedWorld;

#[test]
fn embedded_world_plays_every_scenario() {
    let mut failures = Vec::new();
    let scenarios = super::of(World::Embedded);
    for scenario in &scenarios {
        // One runtime each: the tasks of one scenario end with it.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        failures.extend(runtime.block_on(play(scenario)));
    }
    super::verdict(World::Embedded, &failures, scenarios.len());
}

async fn play(scenario: &Scenario) -> Vec<String> {
    let mut failures = Vec::new();
    let mut world = EmbeddedWorld::new(scenario).await.unwrap();
    world.start_controller();
    for step in &scenario.steps {
        world.advance(step).await.unwrap();
        if let Some(expect) = &step.expect {
            let seen = world.seen().await.unwrap();
            let differences = expect.differences(&seen);
            failures.extend(
                differences
                    .iter()
                    .map(|difference| format!("{} at {:#}: {difference}", scenario.name, step.at)),
            );
        }
    }
    failures.extend(
        world.invariants.violations().into_iter().map(|broken| format!("{}: {broken}", scenario.name)),
    );
    failures
}
