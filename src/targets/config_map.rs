//! The ConfigMap target: what `substituteFrom` of a Kustomization and `valuesFrom` of a `HelmRelease` read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Map, Value};

use crate::engine::clearance::Committed;
use crate::model::KeyTemplate;
use crate::model::target::{RELEASE_SEQUENCE_KEY, RELEASE_TAG_KEY, image_key};

/// Flux 2.7 and later reconcile at once when an object with this label changes.
const WATCH_LABEL: (&str, &str) = ("reconcile.fluxcd.io/watch", "Enabled");

/// Group, version and plural.
pub fn resource() -> ApiResource {
    ApiResource::erase::<ConfigMap>(&())
}

/// Most bytes of keys and values: half of the 1 MiB that the API server takes of a ConfigMap's values, because those who
/// read it copy it into objects with the same limit (Helm's release, a generated Secret) beside other things. Templates
/// alone reach 128 KiB, and what stands for a placeholder is up to fifty times as long.
pub const DATA_MAX_BYTES: usize = 512 * 1024;

/// Writes the release into `object`. Its data are ours as a whole, so that no key of an earlier release stays.
///
/// A key whose template names an image that the release does not hold is not rendered: with `carries_release`, when the
/// object holds this very release already, the key stays as it is; otherwise it would be a value of another release
/// beside this one.
///
/// # Errors
/// Why the release cannot be written as a whole, and the next step; `object` is then not to be used.
pub fn write(
    committed: &Committed,
    keys: &BTreeMap<String, KeyTemplate>,
    carries_release: bool,
    object: &mut DynamicObject,
) -> Result<(), String> {
    let kept = if carries_release { object.data.get("data").and_then(Value::as_object) } else { None };
    let mut data = Map::new();
    let mut bytes = 0;
    for (key, template) in keys {
        let value = match (template.render(committed.promoted()), kept) {
            (Some(text), _) => text,
            (None, Some(kept)) => match kept.get(key).and_then(Value::as_str) {
                Some(text) => text.to_owned(),
                None => continue,
            },
            (None, None) => {
                let why = waiting(committed, keys).unwrap_or_default();
                return Err(format!("{why}; it is left as it is until then"));
            }
        };
        bytes += key.len() + value.len();
        if bytes > DATA_MAX_BYTES {
            return Err(format!(
                "its keys have more than {DATA_MAX_BYTES} bytes with key {key}: shorten the templates, or split them over \
                 two targets"
            ));
        }
        data.insert(key.clone(), value.into());
    }
    data.append(&mut release(committed));
    let (label, value) = WATCH_LABEL;
    object.metadata.labels.get_or_insert_default().insert(label.to_owned(), value.to_owned());
    if let Value::Object(fields) = &mut object.data {
        fields.insert("data".to_owned(), Value::Object(data));
        // The API server refuses a key that stands in both.
        fields.remove("binaryData");
    }
    Ok(())
}

/// The first key that cannot be rendered yet, in words; `None` when all can.
pub fn waiting(committed: &Committed, keys: &BTreeMap<String, KeyTemplate>) -> Option<String> {
    let held = &committed.promoted().release.images;
    keys.iter().find_map(|(key, template)| {
        let absent = template.images().find(|name| held.iter().all(|image| image.name != **name))?;
        Some(format!("key {key} waits for a release that holds image {absent}"))
    })
}

/// `RELEASE_TAG`, `RELEASE_SEQUENCE` and `<NAME>_IMAGE` of each required image.
fn release(committed: &Committed) -> Map<String, Value> {
    let promoted = committed.promoted();
    let mut data = Map::new();
    data.insert(RELEASE_TAG_KEY.to_owned(), promoted.release.tag.to_string().into());
    data.insert(RELEASE_SEQUENCE_KEY.to_owned(), promoted.sequence.to_string().into());
    for image in &promoted.release.images {
        data.insert(image_key(&image.name), image.reference().into());
    }
    data
}
