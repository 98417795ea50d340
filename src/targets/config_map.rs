//! The ConfigMap target: what `substituteFrom` of a Kustomization and `valuesFrom` of a `HelmRelease` read.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Map, Value};

use crate::engine::clearance::Committed;
use crate::model::target::{RELEASE_SEQUENCE_KEY, RELEASE_TAG_KEY, image_key};

/// Flux 2.7 and later reconcile at once when an object with this label changes.
const WATCH_LABEL: (&str, &str) = ("reconcile.fluxcd.io/watch", "Enabled");

/// Group, version and plural.
pub fn resource() -> ApiResource {
    ApiResource::erase::<ConfigMap>(&())
}

/// Writes the release into `object`. Its data are ours as a whole, so that no key of an earlier release stays.
pub fn write(committed: &Committed, object: &mut DynamicObject) {
    let (key, value) = WATCH_LABEL;
    object.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    if let Value::Object(fields) = &mut object.data {
        fields.insert("data".to_owned(), Value::Object(data(committed)));
        // The API server refuses a key that stands in both.
        fields.remove("binaryData");
    }
}

/// `RELEASE_TAG`, `RELEASE_SEQUENCE` and `<NAME>_IMAGE` of each required image.
fn data(committed: &Committed) -> Map<String, Value> {
    let promoted = committed.promoted();
    let mut data = Map::new();
    data.insert(RELEASE_TAG_KEY.to_owned(), promoted.release.tag.to_string().into());
    data.insert(RELEASE_SEQUENCE_KEY.to_owned(), promoted.sequence.to_string().into());
    for image in &promoted.release.images {
        data.insert(image_key(&image.name), image.reference().into());
    }
    data
}
