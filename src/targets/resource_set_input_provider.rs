//! The `ResourceSetInputProvider` target of the Flux Operator: a Static provider whose `defaultValues` are the inputs
//! of the ResourceSets that watch it (flux research §2, rank 3).

use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Map, Value, json};

use crate::engine::clearance::Committed;

/// What a 404 on the kind itself means.
pub const NOT_INSTALLED: &str =
    "the ResourceSetInputProvider kind is not installed: install the Flux Operator";

/// Group, version and plural.
pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("fluxcd.controlplane.io", "v1", "ResourceSetInputProvider");
    ApiResource::from_gvk_with_plural(&kind, "resourcesetinputproviders")
}

/// Writes the release into `object`. Its spec is ours as a whole.
pub fn write(committed: &Committed, object: &mut DynamicObject) {
    if let Value::Object(fields) = &mut object.data {
        fields.insert("spec".to_owned(), json!({"type": "Static", "defaultValues": values(committed)}));
    }
}

/// `tag`, `sequence`, and `images` with each required image under its name, `-` written as `_` because templates
/// name fields so. A release has at least one image, so that the inputs are never empty.
fn values(committed: &Committed) -> Map<String, Value> {
    let promoted = committed.promoted();
    let images = promoted.release.images.iter().map(|image| {
        let fields = json!({
            "repository": image.repository.to_string(),
            "tag": image.tag.to_string(),
            "digest": image.digest.to_string(),
            "image": image.reference(),
        });
        (field(image.name.as_str()), fields)
    });
    let mut values = Map::new();
    values.insert("tag".to_owned(), promoted.release.tag.to_string().into());
    values.insert("sequence".to_owned(), promoted.sequence.into());
    values.insert("images".to_owned(), Value::Object(images.collect()));
    values
}

/// A name that a Go template can write after a dot. Names are DNS labels, so that no two become one.
fn field(name: &str) -> String {
    let lead = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    format!("{lead}{}", name.replace('-', "_"))
}
