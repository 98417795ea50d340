//! What the product exists for, end to end on real parts, in both wirings of `examples/` and, to show that the assertion can
//! fail, the same timeline without Tidegate.

mod adopted;
mod following;
mod half_rolled;
mod life;
mod several;
mod slow_platform;
mod urgent;

use super::stage::{Stage, Wiring};

/// All siblings, in the order in which a careful pipeline pushes them.
const ALL: &[&str] = &["worker", "embeddings", "app"];
const SUITE: &str = "Flux end to end";

/// One step of a timeline.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// CI pushes these siblings of a release, one after the other.
    Push(&'static [&'static str], u32),
    /// After one more look this release still runs.
    Stays(u32),
    /// After one more look this release runs.
    Moves(u32),
}

/// Plays what one test says in both wirings, and demands the proof of both.
async fn in_both(changes: &[(&str, &str)], scene: impl AsyncFn(&Stage)) {
    let one = async |wiring: Wiring| {
        let Some(stage) = Stage::open(SUITE, wiring, changes).await else { return };
        scene(&stage).await;
        assert_eq!(stage.proof().await, Ok(()), "{wiring:?}");
        stage.end().await;
    };
    futures::join!(Box::pin(one(Wiring::OneCommit)), Box::pin(one(Wiring::ConfigMap)));
}

/// Plays a timeline in both wirings, and demands the proof of both.
async fn play(changes: &[(&str, &str)], timeline: &[Step]) {
    in_both(changes, async |stage| {
        for step in timeline {
            match step {
                Step::Push(names, number) => push(stage, names, *number).await,
                Step::Stays(number) => stage.stays(*number).await,
                Step::Moves(number) => stage.moves(*number).await,
            }
        }
    })
    .await;
}

async fn push(stage: &Stage, names: &[&str], number: u32) {
    for name in names {
        stage.push(name, number).await;
    }
}

/// Plays it with Tidegate in both wirings, and without: there the proof must fail.
async fn play_beside_naive(timeline: &[Step]) {
    futures::join!(Box::pin(play(&[], timeline)), Box::pin(half_rolls(timeline)));
}

async fn half_rolls(timeline: &[Step]) {
    let Some(stage) = Stage::open(SUITE, Wiring::Naive, &[]).await else { return };
    let mut newest = 1;
    for step in timeline {
        if let Step::Push(names, number) = step {
            push(&stage, names, *number).await;
            if names.contains(&"app") {
                newest = newest.max(*number);
            }
        } else {
            // It follows app, whatever else is there.
            stage.moves(newest).await;
        }
    }
    let fault = stage.proof().await.expect_err("the naive wiring half-rolls");
    assert!(fault.contains("before all its siblings were there"), "{fault}");
    stage.end().await;
}
