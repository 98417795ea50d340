//! What TLS shows, and what is said when it fails.

use std::sync::Arc;

use tidegate::embedded::registry::Options;
use tidegate::model::Sighting;
use tidegate::model::sighting::DoubtKind;
use tidegate::registry::{Access, Tls, TlsPem};

use super::{World, client, doubt, for_names, look, look_at_all, started};
use crate::cluster::certificates::Authority;

#[tokio::test]
async fn a_ca_from_a_secret_is_trusted_instead_of_the_systems() {
    let world = World::start().await;
    look_at_all(&client(), &world.access(), &world.registry.host()).await;

    let stranger = Authority::new();
    let pem = TlsPem { ca: Some(stranger.certificate.as_bytes()), ..TlsPem::default() };
    let access = Access { tls: Some(Arc::new(Tls::from_pem("x", pem))), ..Access::default() };
    let seen = look(&client(), &access, &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &["signed by a CA that is not trusted", "`registry.certSecretRef`"]);
}

#[tokio::test]
async fn an_unknown_ca_says_which_field_names_it() {
    let world = World::start().await;
    let seen = look(&client(), &Access::default(), &world.registry.host(), "app").await;
    // Where the system has no CAs at all, that is what is said.
    let Sighting::Unknown(found) = &seen else { panic!("{seen:?}") };
    assert!(
        found.message.contains("signed by a CA that is not trusted")
            || found.message.contains("ca-certificates"),
        "{}",
        found.message
    );
    assert_eq!(world.registry.total(), 0, "no request was sent");
}

#[tokio::test]
async fn an_expired_certificate_is_named() {
    let world = World::with(|authority| for_names(authority, &["127.0.0.1"], (2019, 2020)), false).await;
    let seen = look(&client(), &world.access(), &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &["certificate has expired", "renew the registry's certificate"]);
}

#[tokio::test]
async fn a_certificate_from_the_future_is_named() {
    let world = World::with(|authority| for_names(authority, &["127.0.0.1"], (3000, 3001)), false).await;
    let seen = look(&client(), &world.access(), &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &["not valid yet", "check the clocks"]);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_named() {
    let world = World::with(|authority| for_names(authority, &["registry.corp"], (2020, 3000)), false).await;
    let seen = look(&client(), &world.access(), &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &["certificate is for another name", "registry.corp", "`repository`"]);
}

#[tokio::test]
async fn a_client_certificate_opens_a_registry_that_wants_one() {
    let world = World::with(Authority::server, true).await;
    let host = world.registry.host();
    let user = world.authority.user("tidegate", "acme");
    look_at_all(&client(), &world.access_as(Some(&user)), &host).await;

    let seen = look(&client(), &world.access(), &host, "app").await;
    doubt(&seen, DoubtKind::Transient, &["it wants a client certificate", "`registry.certSecretRef`"]);

    let stranger = Authority::new().user("tidegate", "acme");
    let seen = look(&client(), &world.access_as(Some(&stranger)), &host, "app").await;
    doubt(
        &seen,
        DoubtKind::Transient,
        &["did not accept the client certificate", "`registry.certSecretRef`"],
    );
}

#[tokio::test]
async fn who_has_no_certificate_sees_nothing_of_what_another_was_shown() {
    let world = World::with(Authority::server, true).await;
    let (host, client) = (world.registry.host(), client());
    let user = world.authority.user("tidegate", "acme");
    look_at_all(&client, &world.access_as(Some(&user)), &host).await;
    let seen = look(&client, &world.access(), &host, "app").await;
    doubt(&seen, DoubtKind::Transient, &["it wants a client certificate"]);
}

#[tokio::test]
async fn plain_http_where_tls_is_expected_says_insecure() {
    let registry = started(Options::default()).await;
    let access = World::start().await.access();
    let seen = look(&client(), &access, &registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &["it does not speak TLS", "`insecure: true`"]);
}

#[tokio::test]
async fn tls_where_plain_http_is_expected_says_so() {
    let world = World::start().await;
    let access = Access { insecure: true, ..Access::default() };
    let seen = look(&client(), &access, &world.registry.host(), "app").await;
    doubt(&seen, DoubtKind::Transient, &["it speaks TLS", "take `insecure: true` away"]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_named_with_its_key_and_no_request_is_sent() {
    let world = World::start().await;
    let one = world.authority.user("one", "acme");
    let other = world.authority.user("other", "acme");
    let broken = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n";
    let pem = |ca, certificate, key| TlsPem { ca, certificate, key };
    let (cert, key, other_key) = (one.certificate.as_bytes(), one.key.as_bytes(), other.key.as_bytes());
    for (pem, words) in [
        (pem(None, None, None), "neither `ca.crt` nor `tls.crt`"),
        (pem(Some(b""), Some(b""), Some(b"")), "neither `ca.crt` nor `tls.crt`"),
        (pem(Some(b"hunter2"), None, None), "`ca.crt` holds no PEM certificate"),
        (pem(Some(broken.as_bytes()), None, None), "`ca.crt`"),
        (pem(Some(key), None, None), "`ca.crt` holds no PEM certificate"),
        (pem(None, Some(cert), None), "`tls.crt` without `tls.key`"),
        (pem(None, None, Some(key)), "`tls.key` without `tls.crt`"),
        (pem(None, Some(b"hunter2"), Some(key)), "`tls.crt` holds no PEM certificate"),
        (pem(None, Some(cert), Some(b"hunter2")), "`tls.key` holds no unencrypted PEM private key"),
        (pem(None, Some(cert), Some(other_key)), "`tls.key` is not the key of the certificate"),
    ] {
        let tls = Tls::from_pem("the Secret registry-tls", pem);
        assert!(!format!("{tls:?}").contains("hunter2"));
        let access = Access { tls: Some(Arc::new(tls)), ..Access::default() };
        let seen = look(&client(), &access, &world.registry.host(), "app").await;
        doubt(&seen, DoubtKind::Auth, &["the Secret registry-tls cannot be used for TLS", words]);
    }
    assert_eq!(world.registry.connections(), 0);
}

#[test]
fn no_key_is_ever_shown() {
    let user = Authority::new().user("tidegate", "acme");
    let pem =
        TlsPem { ca: None, certificate: Some(user.certificate.as_bytes()), key: Some(user.key.as_bytes()) };
    let access = Access { tls: Some(Arc::new(Tls::from_pem("x", pem))), ..Access::default() };
    assert!(format!("{access:?}").contains("Tls { own_ca: false, client_certificate: true }"), "{access:?}");
}
