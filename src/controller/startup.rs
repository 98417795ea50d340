//! Before anything is watched: a client without retries, and a CRD that holds what we write.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, Client, Config};
use serde_json::Value;

use crate::api::{ReleaseSet, crd};
use crate::controller::context::{ApiError, within_deadline};
use crate::controller::leader::Election;
use crate::controller::watch::WATCH_SECS;

/// Name of our CRD.
pub const CRD_NAME: &str = "releasesets.tidegate.dev";
/// Longest wait for a connection to the API server: as for a registry, several SYN retries.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence on a connection that an answer is read from: a watch is ended by the server, or given up by kube 5 s
/// later, before that.
const SILENCE_LIMIT: Duration = Duration::from_secs(WATCH_SECS as u64 + 10);
/// Most missing fields that are named: the first tells which version is installed.
const NAMED_MAX: usize = 5;

/// Why the controller cannot start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is neither a kubeconfig nor a pod's service account.
    #[error("failed to find a cluster: {0}")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The client cannot be built from it.
    #[error("failed to build a client for the cluster: {0}")]
    Client(#[source] kube::Error),
    /// The API server does not answer, or refuses.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The CRD is not installed.
    #[error("the kind ReleaseSet is not installed in this cluster")]
    CrdAbsent,
    /// The CRD lacks fields that this controller writes.
    #[error("the installed CRD is older than this controller: it has no {0}")]
    CrdOutdated(String),
    /// The lease may not be read, made or renewed: this process could never act.
    #[error("the lease in namespace {namespace} cannot be held: {source}")]
    Lease {
        /// Where the lease is.
        namespace: String,
        /// What was tried, and the refusal.
        #[source]
        source: ApiError,
    },
    /// The API server cannot read the label selector: a watch by it would fail for ever.
    #[error("the label selector cannot be read: {0}")]
    Selector(String),
}

/// A client for the cluster that the environment names. It tries nothing twice by itself: a write that is sent
/// again minutes later is a stale write.
///
/// # Errors
/// [`StartError::NoCluster`], [`StartError::Client`].
pub async fn client() -> Result<Client, StartError> {
    let mut config = Config::infer().await.map_err(StartError::NoCluster)?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(SILENCE_LIMIT);
    // It counts from a request on, and not from when its connection was used last.
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(StartError::Client)
}

/// Makes sure that the installed CRD holds every status field that we write.
///
/// # Errors
/// [`StartError::CrdAbsent`], [`StartError::CrdOutdated`], [`StartError::Api`].
pub async fn check_crd(client: &Client) -> Result<(), StartError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let read = within_deadline("read the CRD of ReleaseSet", definitions.get_opt(CRD_NAME)).await?;
    let installed = read.ok_or(StartError::CrdAbsent)?;
    let missing = missing_fields("status", &status_schema(&crd::crd()), &status_schema(&installed));
    if missing.is_empty() { Ok(()) } else { Err(StartError::CrdOutdated(missing.join(", "))) }
}

/// Makes sure that the lease of `election`, in `namespace`, can be held.
///
/// # Errors
/// [`StartError::Lease`] when the API server refuses, [`StartError::Api`] when it does not answer.
pub async fn check_lease(election: &Election, namespace: &str) -> Result<(), StartError> {
    election.check().await.map_err(|source| match source.source.status() {
        Some(_) => StartError::Lease { namespace: namespace.to_owned(), source },
        None => source.into(),
    })
}

/// Makes sure that ReleaseSets can be selected by `selector`, by asking for one of them.
///
/// # Errors
/// [`StartError::Selector`], [`StartError::Api`].
pub async fn check_selector(
    client: &Client,
    namespace: Option<&str>,
    selector: &str,
) -> Result<(), StartError> {
    let sets: Api<ReleaseSet> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let params = ListParams::default().labels(selector).limit(1);
    match within_deadline("list ReleaseSets", sets.list_metadata(&params)).await {
        Ok(_) => Ok(()),
        Err(error) => match error.source.status().filter(|status| status.code == 400) {
            Some(status) => Err(StartError::Selector(status.message.clone())),
            None => Err(error.into()),
        },
    }
}

/// How an installed CRD differs from the one of this program: fields that it lacks, and fields that only it has. At most
/// five of each are named.
pub fn crd_difference(installed: &CustomResourceDefinition) -> (Vec<String>, Vec<String>) {
    let (ours, theirs) = (schema(&crd::crd()), schema(installed));
    let mut difference = (Vec::new(), Vec::new());
    for part in ["spec", "status"] {
        let (ours, theirs) = (&ours["properties"][part], &theirs["properties"][part]);
        difference.0.extend(missing_fields(part, ours, theirs));
        difference.1.extend(missing_fields(part, theirs, ours));
    }
    difference.0.truncate(NAMED_MAX);
    difference.1.truncate(NAMED_MAX);
    difference
}

fn status_schema(definition: &CustomResourceDefinition) -> Value {
    schema(definition).pointer("/properties/status").cloned().unwrap_or_default()
}

fn schema(definition: &CustomResourceDefinition) -> Value {
    let version = definition.spec.versions.iter().find(|version| version.name == "v1alpha1");
    let schema = version.and_then(|version| version.schema.as_ref());
    let schema = schema.and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_default();
    schema.get("openAPIV3Schema").cloned().unwrap_or_default()
}

/// Paths of properties that `ours` has and `installed` lacks.
fn missing_fields(root: &str, ours: &Value, installed: &Value) -> Vec<String> {
    fn walk(path: &str, ours: &Value, installed: &Value, missing: &mut Vec<String>) {
        for (name, property) in ours["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match installed["properties"].get(name) {
                None if missing.len() < NAMED_MAX => missing.push(path),
                None => {}
                Some(known) => walk(&path, property, known, missing),
            }
        }
        if ours.get("items").is_some() {
            walk(&format!("{path}[]"), &ours["items"], &installed["items"], missing);
        }
    }
    let mut missing = Vec::new();
    walk(root, ours, installed, &mut missing);
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_crd_is_told_by_the_fields_it_lacks() {
        let ours = status_schema(&crd::crd());
        assert!(missing_fields("status", &ours, &ours).is_empty());
        let mut older = ours.clone();
        older["properties"].as_object_mut().unwrap().remove("floor");
        older["properties"]["candidates"]["items"]["properties"].as_object_mut().unwrap().remove("digests");
        assert_eq!(missing_fields("status", &ours, &older), ["status.candidates[].digests", "status.floor"]);
    }
}
