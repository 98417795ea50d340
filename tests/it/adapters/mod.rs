//! Smoke Jobs and targets against the embedded Kubernetes API, in virtual time.

mod credentials;
mod smoke;
mod targets;

use jiff::SignedDuration;
use kube::Client;
use tidegate::embedded::api::ApiServer;
use tidegate::model::smoke::SmokeTest;
use tidegate::model::{Binding, Digest, Platform, Repository, SmokeRequest};
use tidegate::telemetry::clock::Clock;

fn clock() -> Clock {
    Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap())
}

fn client(server: &ApiServer) -> Client {
    server.client("tidegate", "acme")
}

fn digest(byte: &str) -> Digest {
    format!("sha256:{}", byte.repeat(32)).parse().unwrap()
}

fn request(platform: &str, attempts: u32) -> SmokeRequest {
    let repository: Repository = "ghcr.io/acme/worker".parse().unwrap();
    let platform: Platform = platform.parse().unwrap();
    let test = SmokeTest::new(Vec::new(), SignedDuration::from_secs(60), attempts);
    SmokeRequest {
        gate: "boots".parse().unwrap(),
        image: "worker".parse().unwrap(),
        binding: Binding::of_image(&repository, &platform, &digest("ab"), "v1:00"),
        repository,
        platform,
        digest: digest("ab"),
        run: test.first_run(0),
        test,
        release: None,
    }
}
