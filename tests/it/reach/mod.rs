//! The way to a registry: TLS, client certificates, proxies, connections. The product's own client against the
//! embedded registry, over real sockets.

mod connections;
mod proxy;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose};
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::{Options, RegistryServer, ServerTls};
use tidegate::model::sighting::{Doubt, DoubtKind};
use tidegate::model::{ImageEvidence, Repository, Sighting, Verify};
use tidegate::registry::{Access, Client, Depth, Question, Registry as _, Tls, TlsPem};
use tidegate::telemetry::clock::Clock;

use crate::cluster::certificates::{Authority, Identity};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// A registry with TLS and who signed its certificate.
struct World {
    registry: RegistryServer,
    authority: Authority,
}

impl World {
    async fn start() -> Self {
        Self::with(Authority::server, false).await
    }

    /// A registry that shows the certificate which `server` makes, and wants one of ours when `mutual`.
    async fn with(server: impl Fn(&Authority) -> Identity, mutual: bool) -> Self {
        let authority = Authority::new();
        let Identity { certificate, key } = server(&authority);
        let client_ca = mutual.then(|| authority.certificate.clone());
        let tls = Some(ServerTls { certificate, key, client_ca });
        let options = Options { tls, ..Options::default() };
        Self { registry: started(options).await, authority }
    }

    /// The CA alone.
    fn access(&self) -> Access {
        self.access_as(None)
    }

    /// The CA and a client certificate.
    fn access_as(&self, identity: Option<&Identity>) -> Access {
        let pem = TlsPem {
            ca: Some(self.authority.certificate.as_bytes()),
            certificate: identity.map(|identity| identity.certificate.as_bytes()),
            key: identity.map(|identity| identity.key.as_bytes()),
        };
        Access { tls: Some(Arc::new(Tls::from_pem("the Secret registry-tls", pem))), ..Access::default() }
    }
}

/// A registry that holds `acme/app`, `acme/worker` and `acme/docs` at `v1`, each for two platforms.
async fn started(options: Options) -> RegistryServer {
    let registry = RegistryServer::start(options, clock()).await.expect("a registry starts");
    for name in ["app", "worker", "docs"] {
        let images = PLATFORMS.map(|platform| {
            let platform = ImagePlatform::parse(platform).expect("a platform");
            ImageDescription::new(platform, name).build()
        });
        let index = Index::build(images.to_vec(), &BTreeMap::new());
        registry.push_index(&format!("acme/{name}"), Some("v1"), &index);
    }
    registry
}

fn clock() -> Clock {
    Clock::following_tokio("2026-11-21T10:00:00Z".parse().expect("a time"))
}

fn client() -> Client {
    Client::new(clock())
}

fn question(host: &str, name: &str) -> Question {
    Question {
        repository: format!("{host}/acme/{name}").parse::<Repository>().expect("a repository"),
        tag: "v1".parse().expect("a tag"),
        platforms: PLATFORMS.map(|platform| platform.parse().expect("a platform")).to_vec(),
        revision_keys: Vec::new(),
        depth: Depth::Configs,
        verify: Verify::Manifests,
    }
}

async fn look(client: &Client, access: &Access, host: &str, name: &str) -> Sighting<ImageEvidence> {
    client.look(access, &question(host, name), Timestamp::MAX).await.sighting
}

/// Sees everything there is of all three images, asked at once.
async fn look_at_all(client: &Client, access: &Access, host: &str) {
    let looks = ["app", "worker", "docs"].map(|name| look(client, access, host, name));
    for sighting in futures::future::join_all(looks).await {
        let Sighting::Present(evidence) = &sighting else { panic!("{sighting:?}") };
        assert!(evidence.children.values().all(Sighting::is_present), "{sighting:?}");
    }
}

/// The doubt, which is of `kind`, says all of `words` and gives a next step.
fn doubt<T: std::fmt::Debug>(sighting: &Sighting<T>, kind: DoubtKind, words: &[&str]) -> Doubt {
    let Sighting::Unknown(doubt) = sighting else { panic!("{sighting:?} is not Unknown") };
    assert_eq!(doubt.kind, kind, "{}", doubt.message);
    for words in words {
        assert!(doubt.message.contains(words), "`{words}` is not in: {}", doubt.message);
    }
    assert!(doubt.message.contains("; ") && !doubt.message.contains("hunter2"), "{}", doubt.message);
    doubt.clone()
}

/// A server certificate for these names.
fn for_names(authority: &Authority, names: &[&str], years: (i32, i32)) -> Identity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are valid");
    params.distinguished_name.push(DnType::CommonName, "registry");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    authority.sign(&params)
}
