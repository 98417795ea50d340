//! Incident A: three images share a tag, and Flux rolls it to all three when one of them is there.

use super::Step::{Moves, Push, Stays};
use super::{ALL, play, play_beside_naive};

#[tokio::test]
async fn a_sibling_that_never_arrives_holds_its_release() {
    play_beside_naive(&[Push(&["app", "worker"], 2), Stays(1)]).await;
}

#[tokio::test]
async fn app_first_worker_late() {
    play_beside_naive(&[
        Push(&["app"], 2),
        Stays(1),
        Push(&["embeddings"], 2),
        Stays(1),
        Push(&["worker"], 2),
        Moves(2),
    ])
    .await;
}

#[tokio::test]
async fn app_in_the_middle_and_app_last() {
    play(
        &[],
        &[
            Push(&["worker"], 2),
            Stays(1),
            Push(&["app"], 2),
            Stays(1),
            Push(&["embeddings"], 2),
            Moves(2),
            Push(&["worker", "embeddings"], 3),
            Stays(2),
            Push(&["app"], 3),
            Moves(3),
        ],
    )
    .await;
}

#[tokio::test]
async fn releases_that_overlap_move_one_by_one_and_never_back() {
    play_beside_naive(&[
        // The older one becomes complete while the newer one is built: it is promoted, and then the newer one.
        Push(&["app"], 2),
        Push(&["app", "worker"], 3),
        Stays(1),
        Push(&["worker", "embeddings"], 2),
        Moves(2),
        Push(&["embeddings"], 3),
        Moves(3),
        // Here the newer one is first; the older one is superseded when it is complete at last.
        Push(&["app", "worker"], 4),
        Push(ALL, 5),
        Moves(5),
        Push(&["embeddings"], 4),
        Stays(5),
    ])
    .await;
}

#[tokio::test]
async fn a_build_that_failed_is_run_again_under_the_same_tag() {
    // The run for app died after its siblings; the run is started again and pushes all three again, the same bytes.
    play(
        &[],
        &[
            Push(&["worker", "embeddings"], 2),
            Stays(1),
            Push(&["worker", "embeddings"], 2),
            Stays(1),
            Push(&["app"], 2),
            Moves(2),
        ],
    )
    .await;
}
