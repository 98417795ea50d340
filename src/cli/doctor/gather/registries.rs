//! Asks the registries of a set from this machine, with the pull Secret of the cluster where it may be read. What is found
//! is this machine's view: the controller's pod may sit behind another network.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::core::v1::Secret;

use crate::api::v1alpha1::{LocalReference, RegistryAccess};
use crate::cli::cluster::Found;
use crate::cli::doctor::facts::flux::FluxObject;
use crate::cli::doctor::facts::{Answer, Place, Reached, Told};
use crate::cli::doctor::gather::reading::Reading;
use crate::cli::hint::{self, Source};
use crate::flux::objects::{ImageRepositorySpec, Reference};
use crate::model::{Repository, Sighting, Tag};
use crate::registry::keyring::Keyring;
use crate::registry::origin::{Found as OriginFound, Origin};
use crate::registry::{Access, Client, Credentials, Probe};

/// For one repository: six requests at most, and a person waits for all of them together.
const PROBE_LIMIT: Duration = Duration::from_secs(15);
/// Repositories asked at once; the client paces requests of one host by itself.
const ASKED_AT_ONCE: usize = 8;

/// Asks each repository of the set once.
pub async fn gather(reading: &Reading, client: &Client, place: &Place, set: &Found) -> Vec<Reached> {
    let mut wanted: BTreeMap<String, (RegistryAccess, Option<Tag>)> = BTreeMap::new();
    for image in &set.spec.images {
        let borrowed = image.image_repository_ref.as_ref().map(|reference| borrowed(place, &reference.name));
        let (repository, access) = match borrowed {
            Some(Some(borrowed)) => borrowed,
            // Told by the check of rights or of Flux.
            Some(None) => continue,
            None => {
                let access = image.registry.clone().or_else(|| set.spec.registry.clone());
                (image.repository.clone().unwrap_or_default(), access.unwrap_or_default())
            }
        };
        let promoted = set.status.promoted.as_ref().map(|promoted| &promoted.tag);
        let tag = promoted.and_then(|tag| image.tag_template.replace("{tag}", tag).parse().ok());
        wanted.entry(repository).or_insert((access, tag.filter(|_| !image.advisory)));
    }
    let ask = |(repository, (access, tag)): (String, (RegistryAccess, Option<Tag>))| async move {
        ask(reading, client, &place.namespace, &repository, &access, tag.as_ref()).await
    };
    stream::iter(wanted).map(ask).buffered(ASKED_AT_ONCE).collect().await
}

fn borrowed(place: &Place, name: &str) -> Option<(String, RegistryAccess)> {
    let all: &Vec<FluxObject<ImageRepositorySpec>> = place.image_repositories.found()?;
    let spec = all.iter().find(|repository| repository.name == name)?.spec.clone();
    let local = |reference: Option<Reference>| reference.map(|of| LocalReference { name: of.name });
    let access = RegistryAccess {
        secret_ref: local(spec.secret_ref),
        service_account_name: spec.service_account_name,
        cert_secret_ref: local(spec.cert_secret_ref),
        proxy_secret_ref: local(spec.proxy_secret_ref),
        insecure: spec.insecure,
    };
    Some((spec.image, access))
}

async fn ask(
    reading: &Reading,
    client: &Client,
    namespace: &str,
    text: &str,
    access: &RegistryAccess,
    tag: Option<&Tag>,
) -> Reached {
    let mut reached = Reached { repository: text.to_owned(), ..Reached::default() };
    let repository: Repository = match text.parse() {
        Ok(repository) => repository,
        Err(error) => {
            let next = "correct the name of the repository".to_owned();
            reached.answer = Answer::Unknown(format!("{text} is no repository: {error}"), next);
            return reached;
        }
    };
    if let Some(secret) = access.cert_secret_ref.as_ref().or(access.proxy_secret_ref.as_ref()) {
        let why = format!("its way goes by Secret {} (CA, client certificate or proxy)", secret.name);
        let next = "see conditions of the set: only the controller asks that way".to_owned();
        reached.answer = Answer::Unknown(why, next);
        return reached;
    }
    let (credentials, remark) = credentials(reading, namespace, &repository, access).await;
    reached.remark = remark;
    let asked = Access { credentials, insecure: access.insecure, ..Access::default() };
    let probe = client.probe(&asked, &repository, tag);
    let Ok(probe) = tokio::time::timeout(PROBE_LIMIT, probe).await else { return reached };
    reached.clock_ahead = probe.date.map(|(date, now)| now.duration_since(date));
    reached.answer = answer(&probe, &repository, access);
    reached
}

fn answer(probe: &Probe, repository: &Repository, access: &RegistryAccess) -> Answer {
    match probe.obstacle() {
        Sighting::Present(()) => Answer::Listed(probe.tags.present().map_or(0, |page| page.tags)),
        Sighting::Missing | Sighting::Broken(_) => Answer::Missing,
        Sighting::Unknown(doubt) => {
            let origin = Origin { file: None, found: OriginFound::NoFile };
            let secret = access.secret_ref.as_ref().map(|secret| secret.name.clone());
            let ping = Some(format!("tidegate registry ping {repository}"));
            let source = Source { repository: repository.clone(), origin, secret, ping };
            Answer::Unknown(doubt.message.clone(), hint::unknown(&doubt, Some(&source)))
        }
    }
}

/// The credentials of the pull Secret, and in words where they may not be those of the controller.
async fn credentials(
    reading: &Reading,
    namespace: &str,
    repository: &Repository,
    access: &RegistryAccess,
) -> (Credentials, Option<String>) {
    let account = access.service_account_name.as_ref();
    let of_account = account.map(|name| format!("asked without the pull secrets of ServiceAccount {name}"));
    let Some(secret) = &access.secret_ref else { return (Credentials::default(), of_account) };
    let name = &secret.name;
    let bytes = match reading.get::<Secret>(Some(namespace), name).await {
        Told::Found(secret) => secret.data.and_then(|data| data.get(".dockerconfigjson").cloned()),
        Told::Absent => return (Credentials::default(), Some(format!("Secret {name} does not exist"))),
        Told::Untold(_) | Told::Unasked => {
            let remark = format!("asked without Secret {name}, which you may not read");
            return (Credentials::default(), Some(remark));
        }
    };
    let mut keyring = Keyring::default();
    let source = format!("the Secret {name}");
    let added = bytes.map(|bytes| keyring.add_docker_config_json(&source, &bytes.0));
    match added {
        Some(Ok(())) => (keyring.credentials(repository), of_account),
        Some(Err(why)) => (Credentials::default(), Some(format!("Secret {name} cannot be used: {why}"))),
        None => (Credentials::default(), Some(format!("Secret {name} has no key .dockerconfigjson"))),
    }
}
