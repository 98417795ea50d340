//! Scenarios on real parts: the built binary, etcd, kube-apiserver and a registry. A step is done, the set is
//! asked to look, and the expected status is waited for; no clock is scaled.

use serde_json::json;
use tidegate::cli::demo::scenario::{Scenario, Seen, Step, World};
use tidegate::cli::demo::world::index_of;

use crate::controller::real::Real;

const SUITE: &str = "scenarios on real parts";

#[tokio::test]
async fn real_parts_play_their_scenarios() {
    let scenarios = super::of(World::Real);
    assert!(scenarios.len() >= 5 || std::env::var_os("TIDEGATE_SCENARIO").is_some());
    for scenario in &scenarios {
        let Some(real) = Real::start(SUITE).await else { return };
        play(&real, scenario).await;
    }
}

async fn play(real: &Real, scenario: &Scenario) {
    let mut spec = serde_json::to_value(scenario.spec_at(&real.registry.host())).unwrap();
    spec["registry"] = json!({"insecure": true});
    real.create("acme", spec).await;
    for step in &scenario.steps {
        act(real, scenario, step).await;
        let Some(expect) = &step.expect else { continue };
        real.ask("acme").await;
        let status = real.wait("acme", |status| expect.differences(&Seen::of(status))).await;
        let promoted = status.promoted.map(|promoted| promoted.tag);
        if let Some(tag) = promoted {
            real.wait_for_target("acme-release", &tag).await;
        }
    }
}

async fn act(real: &Real, scenario: &Scenario, step: &Step) {
    for push in &step.push {
        let path = scenario.path_of(&push.image).unwrap();
        real.pusher.index(path, &push.tag, &index_of(push)).await;
    }
    let elsewhere = !step.delete.is_empty() || !step.refuse.is_empty() || step.restart || step.edit.is_some();
    assert!(!elsewhere, "{}: this step is not for real parts", scenario.name);
}
