//! Commands of the pages that are not run by the suite that runs the pages.

/// The command as the page shows it, and why it is not run here.
pub const ELSEWHERE: [(&str, &str); 16] = [
    ("cargo run -- demo", "tests/it/readme.rs runs it and compares what it prints"),
    ("make test", "it is what runs this suite"),
    ("make bench-registry", "a measurement; its counts are held by tests/it/requests.rs"),
    ("make bench-smoke", "a measurement of 4 minutes; tests/it/smoke plays the same cases"),
    ("make bench-flux", "a measurement of 4 minutes; tests/it/flux plays the same scenes"),
    ("make bench-install", "a measurement of 2 minutes; tests/it/install plays the same"),
    ("cargo install cargo-fuzz", "needs a nightly compiler; tests/it/fuzz.rs replays the corpus"),
    (
        "make fuzz TARGET=www_authenticate FUZZ_ARGS=-max_total_time=300",
        "needs a nightly compiler; tests/it/fuzz.rs replays the corpus",
    ),
    (
        "cd tests/tools/masterminds && go run . ../../corpus/semver",
        "writes files of the repository; tests/it/engine/semver.rs reads them",
    ),
    (
        "TIDEGATE_SCENARIO=sibling-late cargo test --test it scenarios",
        "is this test binary; tests/it/scenarios runs every scenario",
    ),
    (
        "TIDEGATE_SIMULATION='story=rollback seed=17' cargo test --test it simulation::replay -- --nocapture",
        "is this test binary; tests/it/simulation plays every story",
    ),
    (
        "TIDEGATE_SIMULATION='story=rollback crash=42:applied' cargo test --test it simulation::replay -- --nocapture",
        "is this test binary; tests/it/simulation dies at every request",
    ),
    (
        "TIDEGATE_SIMULATION='duel seed=7' cargo test --test it simulation::replay -- --nocapture",
        "is this test binary; tests/it/simulation plays every duel",
    ),
    (
        "kubectl rollout status deployment/tidegate --namespace tidegate --timeout=2m",
        "needs a node that runs the image; tests/it/install waits for the same",
    ),
    (
        "helm test tidegate --namespace tidegate",
        "needs a node that runs the test's pod; tests/it/install runs it",
    ),
    ("make cluster-down", "tests/it/cluster/node_selftest.rs ends a cluster and looks for what it leaves"),
];
