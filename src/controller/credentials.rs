//! How each image's registry is reached: Secrets by name, read at every look, never listed or watched.
//!
//! The controller runs no program for a credential (CVE-2022-24817): what is no Secret must be made one.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use tokio::sync::OnceCell;

use crate::api::ReleaseSetSpec;
use crate::api::references::References;
use crate::controller::reader::{Reader, Unreadable};
use crate::engine::policy::Policy;
use crate::model::{ImageName, Repository};
use crate::registry::keyring::Keyring;
use crate::registry::{Access, CredentialSource, Credentials};

/// The Secret types that hold pull credentials, and the key of each.
const DOCKER_CONFIG_JSON: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const DOCKERCFG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");
/// Most pull secrets read of one service account, each a request per look. Clouds add two at most; what is
/// more is skipped, and said so.
const PULL_SECRETS_MAX: usize = 16;

/// What the spec says of one image's registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Name of the pull Secret.
    pub secret: Option<String>,
    /// Name of the ServiceAccount whose pull secrets are added.
    pub service_account: Option<String>,
    /// Plain HTTP.
    pub insecure: bool,
}

/// The pull secrets that a spec names for an image: its own, then those of its service account, joined as
/// kubelet joins them. Read once, when first asked.
pub struct PullSecrets<'a> {
    reader: &'a Reader<'a>,
    wanted: &'a Wanted,
    keyring: OnceCell<Keyring>,
}

/// What a Secret holds.
#[derive(Clone)]
enum Content {
    DockerConfigJson(Vec<u8>),
    Dockercfg(Vec<u8>),
}

/// What the spec says of each image's registry: its own `registry` replaces the set's as a whole (design §3).
pub fn wanted(spec: &ReleaseSetSpec, references: &References) -> BTreeMap<ImageName, Wanted> {
    spec.images
        .iter()
        .filter_map(|image| {
            let registry = references.registry_access(spec, image);
            let wanted = Wanted {
                secret: registry.secret_ref.map(|secret| secret.name),
                service_account: registry.service_account_name,
                insecure: registry.insecure,
            };
            Some((image.name.parse().ok()?, wanted))
        })
        .collect()
}

/// Reads what the spec names and gives each image its access. What cannot be used makes its images Unknown,
/// with the reason, and stops nothing else.
pub async fn read(
    reader: &Reader<'_>,
    policy: &Policy,
    wanted: &BTreeMap<ImageName, Wanted>,
) -> BTreeMap<ImageName, Access> {
    let nothing = Wanted::default();
    let mut sources: BTreeMap<&Wanted, PullSecrets<'_>> = BTreeMap::new();
    let mut access = BTreeMap::new();
    for image in &policy.images {
        let wanted = wanted.get(&image.name).unwrap_or(&nothing);
        let source = sources.entry(wanted).or_insert_with(|| PullSecrets::new(reader, wanted));
        let Some(repository) = image.place.repository() else { continue };
        let credentials = source.credentials(repository).await;
        let reached = Access { credentials, insecure: wanted.insecure, ..Access::default() };
        access.insert(image.name.clone(), reached);
    }
    access
}

/// Names of the Secrets that a pod which runs the image pulls with. A service account that cannot be read adds
/// none: kubelet then says which image it could not pull.
pub async fn pull_secrets(reader: &Reader<'_>, wanted: &Wanted) -> Vec<String> {
    let mut names: Vec<String> = wanted.secret.clone().into_iter().collect();
    if let Some(name) = &wanted.service_account {
        let of_account = reader.pull_secrets_of_account(name).await.unwrap_or_default();
        names.extend(of_account.into_iter().take(PULL_SECRETS_MAX));
    }
    names.sort();
    names.dedup();
    names
}

// === impl PullSecrets ===

impl<'a> PullSecrets<'a> {
    /// The pull secrets of `wanted`, not yet read.
    pub fn new(reader: &'a Reader<'a>, wanted: &'a Wanted) -> Self {
        Self { reader, wanted, keyring: OnceCell::new() }
    }

    async fn read(&self) -> Keyring {
        let mut keyring = Keyring::default();
        if let Some(secret) = &self.wanted.secret
            && let Err(why) = self.add(&mut keyring, secret).await
        {
            keyring.add_unusable(why);
        }
        if let Some(name) = &self.wanted.service_account {
            match account(self.reader, name).await {
                Ok(secrets) => self.add_all(&mut keyring, name, &secrets).await,
                Err(why) => keyring.add_unusable(why),
            }
        }
        keyring
    }

    /// Adds the pull secrets of a service account. Those that cannot be used are passed over, as by kubelet,
    /// and named only when nothing else helps.
    async fn add_all(&self, keyring: &mut Keyring, account: &str, secrets: &[String]) {
        for secret in secrets.iter().take(PULL_SECRETS_MAX) {
            if let Err(why) = self.add(keyring, secret).await {
                keyring.skip(format!("{why}; the ServiceAccount {account} names it, and it was passed over"));
            }
        }
        if secrets.len() > PULL_SECRETS_MAX {
            keyring.skip(format!(
                "of the {} pull secrets of the ServiceAccount {account} the first {PULL_SECRETS_MAX} are used: \
                 remove those that are not needed",
                secrets.len()
            ));
        }
    }

    async fn add(&self, keyring: &mut Keyring, secret: &str) -> Result<(), String> {
        let source = format!("the Secret {secret}");
        let added = match self::secret(self.reader, secret).await? {
            Content::DockerConfigJson(bytes) => keyring.add_docker_config_json(&source, &bytes),
            Content::Dockercfg(bytes) => keyring.add_dockercfg(&source, &bytes),
        };
        added.map_err(|why| format!("{source} cannot be used: {why}"))
    }
}

impl CredentialSource for PullSecrets<'_> {
    fn credentials<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Credentials> {
        async move { self.keyring.get_or_init(|| self.read()).await.credentials(repository) }.boxed()
    }
}

async fn secret(reader: &Reader<'_>, name: &str) -> Result<Content, String> {
    match reader.secret(name).await {
        Ok(secret) => content(name, &secret),
        Err(Unreadable::Absent) => Err(format!(
            "the Secret {name} does not exist in {}: create it with `kubectl create secret docker-registry {name}`",
            reader.namespace()
        )),
        Err(Unreadable::Refused(error)) => Err(format!("the Secret {name} cannot be read: {error}")),
    }
}

async fn account(reader: &Reader<'_>, name: &str) -> Result<Vec<String>, String> {
    reader.pull_secrets_of_account(name).await.map_err(|why| match why {
        Unreadable::Absent => format!(
            "the ServiceAccount {name} does not exist in {}: create it or correct `serviceAccountName`",
            reader.namespace()
        ),
        Unreadable::Refused(error) => format!("the ServiceAccount {name} cannot be read: {error}"),
    })
}

fn content(name: &str, secret: &Secret) -> Result<Content, String> {
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    let (key, content): (&str, fn(Vec<u8>) -> Content) = match kind {
        kind if kind == DOCKER_CONFIG_JSON.0 => (DOCKER_CONFIG_JSON.1, Content::DockerConfigJson),
        kind if kind == DOCKERCFG.0 => (DOCKERCFG.1, Content::Dockercfg),
        other => {
            return Err(format!(
                "the Secret {name} has type {other}, not {}: create it anew with that type",
                DOCKER_CONFIG_JSON.0
            ));
        }
    };
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes
        .map(|bytes| content(bytes.0.clone()))
        .ok_or_else(|| format!("the Secret {name} has no key {key}: create it anew"))
}
