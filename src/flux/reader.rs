//! Reads Flux objects by GET, and writes the one annotation that asks for a scan.

use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::flux::kinds::Kind;
use crate::flux::objects::{Body, ImageRepository, Object};
use crate::telemetry::kube_call::{CallError, call, call_optional};

/// What Flux controllers and `flux reconcile` understand as "now".
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Field manager of that annotation.
const FIELD_MANAGER: &str = "tidegate";
/// Most automations of a namespace that are looked at: one for each Git repository. More is no sane namespace, and
/// those beyond can be named in the target.
pub const AUTOMATIONS_MAX: u32 = 32;

/// What came of reading one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Seen<T> {
    /// It was not looked at, because an earlier step is not done.
    #[default]
    Unread,
    /// There is no such object.
    Absent,
    /// Why it could not be read, and what to do.
    Unreadable(String),
    /// It.
    Found(T),
}

/// Reads Flux objects of one namespace. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    namespace: String,
}

// === impl Seen ===

impl<T> Seen<T> {
    /// The same answer about the object seen otherwise.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Unread => Seen::Unread,
            Self::Absent => Seen::Absent,
            Self::Unreadable(why) => Seen::Unreadable(why),
            Self::Found(found) => Seen::Found(f(found)),
        }
    }

    /// The object, when it was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Unread | Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

// === impl Reader ===

impl Reader {
    /// A reader of `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// One object. A kind that is not installed is Unreadable, with the words for it.
    pub async fn get<T: Body>(&self, name: &str) -> Seen<Object<T>> {
        let object = format!("{}/{name}", T::KIND.word());
        match call_optional(self.api(T::KIND).get(name)).await {
            Ok(None) => Seen::Absent,
            Ok(Some(found)) => parse::<T>(found).map_or_else(Seen::Unreadable, Seen::Found),
            Err(error) => Seen::Unreadable(unreadable(T::KIND, &object, &error)),
        }
    }

    /// All objects of a kind, the first [`AUTOMATIONS_MAX`]. One that cannot be understood is left out.
    pub async fn list<T: Body>(&self) -> Seen<Vec<Object<T>>> {
        let params = ListParams::default().limit(AUTOMATIONS_MAX);
        match call(self.api(T::KIND).list(&params)).await {
            Ok(list) => {
                Seen::Found(list.items.into_iter().filter_map(|found| parse::<T>(found).ok()).collect())
            }
            Err(error) => Seen::Unreadable(unreadable(T::KIND, &format!("the {}s", T::KIND.word()), &error)),
        }
    }

    /// Asks for a scan now. Refused when the object changed since it was read.
    ///
    /// # Errors
    /// The refusal, or that no answer came.
    pub async fn request_scan(
        &self,
        repository: &Object<ImageRepository>,
        requested_at: &str,
    ) -> Result<(), CallError> {
        let patch = json!({"metadata": {
            "resourceVersion": repository.resource_version,
            "annotations": {REQUESTED_AT: requested_at},
        }});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(Kind::ImageRepository);
        call(api.patch_metadata(&repository.name, &params, &Patch::Merge(patch))).await.map(|_| ())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }
}

fn parse<T: Body>(object: DynamicObject) -> Result<Object<T>, String> {
    let metadata = object.metadata;
    let name = metadata.name.unwrap_or_default();
    let body = serde_json::from_value(object.data).map_err(|error| {
        format!(
            "{}/{name} cannot be understood ({error}): is Flux newer than this controller?",
            T::KIND.word()
        )
    })?;
    Ok(Object {
        name,
        generation: metadata.generation.unwrap_or_default(),
        resource_version: metadata.resource_version,
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        deleting: metadata.deletion_timestamp.is_some(),
        body,
    })
}

fn unreadable(kind: Kind, object: &str, error: &CallError) -> String {
    if error.is_unknown_kind() {
        return format!("the {} kind is not installed: install Flux 2.7 or later", kind.word());
    }
    format!("{object} cannot be read: {error}")
}
