//! Reads everything that the checks need, and nothing else does I/O in `doctor`. Whatever cannot be read is a value that
//! says why. Bounded: each call by its deadline, each part by `PART_LIMIT`, and no more than `SETS_MAX` sets in depth.

pub mod installation;
pub mod place;
pub mod reading;
pub mod registries;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::cli::cluster::Found;
use crate::cli::doctor::facts::checkout::Checkout;
use crate::cli::doctor::facts::{Facts, Place, SetFacts, Told};
use crate::cli::doctor::gather::reading::Reading;
use crate::cli::error::{CliError, Result};
use crate::cli::markers;
use crate::registry::Client as Registries;
use crate::telemetry::clock::Clock;

/// For the installation, a namespace, or a set: three calls of the API server one after the other at their deadline, or
/// two probes of a registry.
const PART_LIMIT: Duration = Duration::from_secs(30);
/// Most sets that are looked at in depth, a dozen requests each; of more, one names those that matter.
const SETS_MAX: usize = 100;
/// Most namespaces of which rights and Flux objects are read, some fifty requests each.
const PLACES_MAX: usize = 20;
/// Parts that are asked for at once.
const PARTS_AT_ONCE: usize = 4;

/// What is asked, beside the sets themselves.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// A namespace that is looked at although it may hold no set.
    pub namespace: Option<&'a str>,
    /// Namespace of the controller, where it was named.
    pub controller_namespace: Option<&'a str>,
    /// Registries are asked.
    pub asks_registries: bool,
}

/// Everything about `sets`.
pub async fn gather(client: kube::Client, clock: &Clock, sets: &[Found], wanted: Wanted<'_>) -> Facts {
    let reading = &Reading::new(client);
    let installation =
        &Box::pin(within(installation::gather(reading, clock, wanted.controller_namespace))).await;
    let mut by_namespace: BTreeMap<String, Vec<&Found>> = BTreeMap::new();
    by_namespace.extend(wanted.namespace.map(|namespace| (namespace.to_owned(), Vec::new())));
    for set in sets.iter().take(SETS_MAX) {
        by_namespace.entry(namespace(set)).or_default().push(set);
    }
    let by_namespace: Vec<_> = by_namespace.into_iter().take(PLACES_MAX).collect();
    let asking = by_namespace.iter().map(|(namespace, sets)| async move {
        let place = Box::pin(within(place::gather(reading, installation, namespace, sets))).await;
        (namespace.clone(), Place { namespace: namespace.clone(), ..place })
    });
    let places: BTreeMap<String, Place> =
        stream::iter(asking).buffer_unordered(PARTS_AT_ONCE).collect().await;
    let registries = &Registries::new(clock.clone());
    let (nowhere, known) = (&Place::default(), &places);
    let asking = sets.iter().take(SETS_MAX).map(|set| async move {
        let place = known.get(&namespace(set)).unwrap_or(nowhere);
        let facts = within(of_set(reading, registries, place, set, wanted.asks_registries)).await;
        (key(set), facts)
    });
    let of_sets = stream::iter(asking).buffer_unordered(PARTS_AT_ONCE).collect().await;
    Facts { installation: installation.clone(), places, sets: of_sets, checkout: None }
}

/// Namespace and name of a set.
pub fn key(set: &Found) -> (String, String) {
    (namespace(set), set.object.metadata.name.clone().unwrap_or_default())
}

/// What a Git checkout says.
///
/// # Errors
/// When the folder cannot be read.
pub fn checkout(folder: &Path) -> Result<Checkout> {
    let mut found = Checkout::default();
    let incomplete = markers::visit(folder, |file, text| found.add(file, text)).map_err(|error| {
        CliError::new(format!("failed to read the folder {}", folder.display()))
            .caused_by(&error)
            .hint("`--path` names the folder of the Git checkout that Flux applies")
    })?;
    found.markers.incomplete = incomplete;
    Ok(found)
}

fn namespace(set: &Found) -> String {
    set.object.metadata.namespace.clone().unwrap_or_default()
}

async fn of_set(
    reading: &Reading,
    registries: &Registries,
    place: &Place,
    set: &Found,
    asks_registries: bool,
) -> SetFacts {
    let namespace = namespace(set);
    let mut facts = SetFacts::default();
    for target in set.spec.targets.iter().filter_map(|target| target.config_map.as_ref()) {
        let map = reading.get::<ConfigMap>(Some(&namespace), &target.name).await;
        let labels = map.map(|map| map.metadata.labels.unwrap_or_default());
        facts.config_maps.insert(target.name.clone(), labels);
    }
    facts.registries = if asks_registries {
        Told::Found(registries::gather(reading, registries, place, set).await)
    } else {
        Told::Absent
    };
    facts
}

/// What came of it in time; else nothing, which checks say so.
async fn within<T: Default>(part: impl Future<Output = T>) -> T {
    // On the heap: many calls at once make a large future.
    tokio::time::timeout(PART_LIMIT, Box::pin(part)).await.unwrap_or_default()
}
