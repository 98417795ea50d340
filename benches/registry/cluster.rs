//! The parts of the test suites that the benchmark shares.
#![expect(dead_code, unreachable_pub, reason = "the suites use more of them than a benchmark does")]

#[path = "../../tests/it/cluster/counter.rs"]
pub mod counter;
#[path = "../../tests/it/cluster/push.rs"]
pub mod push;
#[path = "../../tests/it/cluster/registry.rs"]
pub mod registry;
#[path = "../../tests/it/cluster/server.rs"]
pub mod server;
#[path = "../../tests/it/cluster/story.rs"]
pub mod story;
#[path = "../../tests/it/cluster/tools.rs"]
pub mod tools;
#[path = "../../tests/it/cluster/watched.rs"]
pub mod watched;

/// Installs the TLS provider that reqwest looks for; harmless when one is there.
pub fn install_crypto() {
    // An error means that one is there, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
