//! Connections: one to an HTTP/2 host however many ask at once, warm for the next poll, and never shared between
//! identities.

use std::time::Duration;

use http::Version;
use tidegate::embedded::registry::Options;
use tidegate::registry::Access;
use tidegate::registry::credentials::Credential;

use super::{World, client, look_at_all, started};

/// The default poll interval passes, without waiting for it.
async fn a_poll_interval() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(1)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_cold_look_at_three_images_takes_one_http2_connection_and_the_next_poll_takes_the_same() {
    let world = World::start().await;
    let (client, access, host) = (client(), world.access(), world.registry.host());

    look_at_all(&client, &access, &host).await;
    let requests = world.registry.requests();
    assert_eq!(requests.len(), 3 * (1 + 2 + 2), "index, manifests and configs");
    assert!(requests.iter().all(|request| request.info.version == Version::HTTP_2));
    assert_eq!(world.registry.connections(), 1, "cold");

    a_poll_interval().await;
    look_at_all(&client, &access, &host).await;
    assert!(world.registry.total() > requests.len() as u64);
    assert_eq!(world.registry.connections(), 1, "after a poll interval");
}

#[tokio::test]
async fn a_host_that_speaks_http1_gets_no_more_connections_than_requests_at_once() {
    let registry = started(Options::default()).await;
    let (client, access) = (client(), Access { insecure: true, ..Access::default() });
    look_at_all(&client, &access, &registry.host()).await;
    let cold = registry.connections();
    assert!((2..=15).contains(&cold), "{cold}");
    assert!(registry.requests().iter().all(|request| request.info.version == Version::HTTP_11));

    a_poll_interval().await;
    look_at_all(&client, &access, &registry.host()).await;
    assert_eq!(registry.connections(), cold, "after a poll interval all are warm");
}

/// What the first request leads for. When this fails, hyper has learnt it and `registry::wire::lead` can go.
#[tokio::test]
async fn without_a_leader_a_burst_to_an_http2_host_opens_a_connection_for_each_request() {
    // Fails when another test was first; one provider is enough.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::start().await;
    let ca = reqwest::Certificate::from_pem(world.authority.certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let url = format!("https://{}/v2/", world.registry.host());
    let answers = futures::future::join_all((0..3).map(|_| client.get(&url).send())).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().version() == Version::HTTP_2));
    assert_eq!(world.registry.connections(), 3);
}

#[tokio::test]
async fn identities_share_no_connection() {
    let world = World::start().await;
    let (client, host) = (client(), world.registry.host());
    let credential = Credential::Basic { username: "u".to_owned(), password: "p".to_owned().into() };
    let anonymous = world.access();
    let named = Access { credentials: credential.into(), ..world.access() };
    look_at_all(&client, &anonymous, &host).await;
    look_at_all(&client, &anonymous, &host).await;
    assert_eq!(world.registry.connections(), 1);
    // An open registry: what it shows to somebody in particular is looked at on his own connection.
    let _ = super::look(&client, &named, &host, "app").await;
    assert_eq!(world.registry.connections(), 2);
}
