//! What a cluster holds, as texts: what is read of files and of a cluster is then read in one way.

use futures::future::join_all;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};

use crate::cli::cluster::Cluster;
use crate::cli::error::Result;
use crate::cli::init::gather::{Gathered, Source, Unread};
use crate::telemetry::kube_call::call;

/// Objects of one page of a list: kubectl's own chunk.
const PAGE: u32 = 500;
/// Most objects of a kind: what ten thousand workloads of a large cluster need is a namespace.
const OBJECTS_MAX: usize = 10_000;
/// Group, version and kind of all that says something of images.
const KINDS: [(&str, &str, &str); 10] = [
    ("image.toolkit.fluxcd.io", "v1", "ImageRepository"),
    ("image.toolkit.fluxcd.io", "v1", "ImagePolicy"),
    ("image.toolkit.fluxcd.io", "v1", "ImageUpdateAutomation"),
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
    ("tidegate.dev", "v1alpha1", "ReleaseSet"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "DaemonSet"),
    ("batch", "v1", "CronJob"),
];

/// Reads a namespace, or all of them. A kind that is not installed or not allowed is named and left out.
///
/// # Errors
/// When there is no cluster.
pub async fn gather(namespace: Option<&str>, all: bool, program: &'static str) -> Result<Gathered> {
    let cluster = Cluster::connect(namespace, program).await?;
    let lists = KINDS.iter().map(|(group, version, kind)| {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = if all {
            Api::all_with(cluster.client(), &resource)
        } else {
            Api::namespaced_with(cluster.client(), cluster.namespace(), &resource)
        };
        async move { (*kind, objects(&api, kind).await) }
    });
    let mut gathered = Gathered::default();
    for (kind, read) in join_all(lists).await {
        match read {
            Ok(mut sources) => gathered.sources.append(&mut sources),
            // Flux's kinds, or our own, need not be installed where somebody begins.
            Err((why, true)) => gathered.left_out.push(Unread { name: kind.to_owned(), why }),
            Err((why, false)) => gathered.unread.push(Unread { name: kind.to_owned(), why }),
        }
    }
    Ok(gathered)
}

/// Every object of a kind; else why not, and whether that is because nobody knows the kind.
async fn objects(api: &Api<DynamicObject>, kind: &str) -> std::result::Result<Vec<Source>, (String, bool)> {
    let mut sources = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = call(api.list(&params)).await.map_err(|error| {
            let why = error.status().map_or_else(|| error.to_string(), |status| status.message.clone());
            (why, error.is_not_found() || error.is_unknown_kind())
        })?;
        let (api_version, kind_of) = (page.types.api_version.clone(), kind.to_owned());
        for mut object in page.items {
            object.metadata.managed_fields = None;
            let name = object.metadata.name.clone().unwrap_or_default();
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let mut value = serde_json::to_value(&object).map_err(|error| (error.to_string(), false))?;
            // A list does not repeat the type in its items.
            value["apiVersion"] = api_version.trim_end_matches("List").into();
            value["kind"] = kind_of.clone().into();
            let name = format!("{kind} {namespace}/{name}");
            sources.push(Source { name, text: value.to_string(), is_file: false });
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if sources.len() < OBJECTS_MAX => params = params.continue_token(&token),
            _ => return Ok(sources),
        }
    }
}
