//! One read of the API server, and why it gave nothing in words for the person who asked.

use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use crate::cli::doctor::facts::Told;
use crate::cli::doctor::facts::flux::FluxObject;
use crate::flux::kinds::Kind;
use crate::telemetry::kube_call::{CALL_LIMIT, CallError, call, call_optional};

/// Objects of one page of a list: kubectl's own chunk.
pub const PAGE: u32 = 500;
/// Most pages of one list: 5,000 objects, ten times what one controller of Flux is measured with.
const PAGES_MAX: usize = 10;

/// A connection that reads.
#[derive(Clone)]
pub struct Reading {
    client: Client,
}

// === impl Reading ===

impl Reading {
    /// Reads with this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client, for requests that are no reads of objects.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// One object of a kind that is always served.
    pub async fn get<T>(&self, namespace: Option<&str>, name: &str) -> Told<T>
    where
        T: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let resource = ApiResource::erase::<T>(&());
        match call_optional(self.api(&resource, namespace).get(name)).await {
            Ok(None) => Told::Absent,
            Ok(Some(object)) => match object.try_parse::<T>() {
                Ok(parsed) => Told::Found(parsed),
                Err(error) => Told::Untold(format!("{} {name} cannot be understood: {error}", resource.kind)),
            },
            Err(error) => Told::Untold(words(&resource, &error)),
        }
    }

    /// All objects of a kind that is always served. `None` is all namespaces.
    pub async fn list<T>(&self, namespace: Option<&str>, params: ListParams) -> Told<Vec<T>>
    where
        T: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let listed = self.list_of(&ApiResource::erase::<T>(&()), namespace, params).await;
        listed.map(|objects| objects.into_iter().filter_map(|object| object.try_parse::<T>().ok()).collect())
    }

    /// All objects of a kind of Flux. One that cannot be understood is left out. `None` is all namespaces.
    pub async fn flux<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
    ) -> Told<Vec<FluxObject<T>>> {
        let listed = self.list_of(&kind.resource(), namespace, ListParams::default()).await;
        listed.map(|objects| objects.into_iter().filter_map(flux_object).collect())
    }

    /// All objects of a kind, page by page.
    pub async fn list_of(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        params: ListParams,
    ) -> Told<Vec<DynamicObject>> {
        let api = self.api(resource, namespace);
        let mut params = params.limit(PAGE);
        let mut objects = Vec::new();
        for _ in 0..PAGES_MAX {
            match call(api.list(&params)).await {
                Ok(page) => {
                    objects.extend(page.items);
                    match page.metadata.continue_.filter(|token| !token.is_empty()) {
                        Some(token) => params = params.continue_token(&token),
                        None => return Told::Found(objects),
                    }
                }
                Err(error) => return Told::Untold(words(resource, &error)),
            }
        }
        Told::Untold(format!("there are more than {} {}", objects.len(), resource.plural))
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }
}

fn flux_object<T: DeserializeOwned>(object: DynamicObject) -> Option<FluxObject<T>> {
    let metadata = object.metadata;
    Some(FluxObject {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
        spec: serde_json::from_value(object.data.get("spec").cloned().unwrap_or_default()).ok()?,
    })
}

/// Why a call gave nothing.
pub fn words(resource: &ApiResource, error: &CallError) -> String {
    if error.is_unknown_kind() {
        return format!("the kind {} is not installed in version {}", resource.kind, resource.api_version);
    }
    match (error, error.status()) {
        (_, Some(status)) if status.code == 403 => format!("you may not read it ({})", status.message),
        (_, Some(status)) => format!("the API server answered {}: {}", status.code, status.message),
        (CallError::TimedOut, None) => {
            format!("the API server did not answer within {} s", CALL_LIMIT.as_secs())
        }
        (CallError::Refused(error), None) => format!("the API server could not be asked: {error}"),
    }
}
