//! The `CustomResourceDefinition`, generated from the wire types.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use crate::api::rules;
use crate::api::v1alpha1::ReleaseSet;

/// Where the generated file lies in the repository.
pub const CRD_PATH: &str = "crds/tidegate.dev_releasesets.yaml";

const HEADER: &str = "# Generated from the Rust types by `make generate`. Do not edit.\n";

/// Why the definition cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the CustomResourceDefinition as YAML: {0}")]
pub struct CrdError(String);

/// The definition as an object.
pub fn crd() -> CustomResourceDefinition {
    // Ten milliseconds of work, which every start of a controller in the simulation would do again.
    static CRD: LazyLock<CustomResourceDefinition> = LazyLock::new(made);
    CRD.clone()
}

fn made() -> CustomResourceDefinition {
    let mut crd = ReleaseSet::crd();
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        visit(root, &mut |schema| schema.nullable = None);
        let object_rules = serde_json::to_value(rules::OBJECT).and_then(serde_json::from_value);
        root.x_kubernetes_validations = object_rules.ok();
    }
    crd
}

/// The definition as YAML, the same bytes on every call.
///
/// # Errors
/// When the serialiser fails, which a test rules out.
pub fn crd_yaml() -> Result<String, CrdError> {
    let yaml = serde_saphyr::to_string(&crd()).map_err(|error| CrdError(error.to_string()))?;
    Ok(format!("{HEADER}{yaml}"))
}

/// Calls `change` for a schema and everything below it. `nullable` goes, because an explicit null would be a third
/// state beside absent and set.
fn visit(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        visit(property, change);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        visit(items, change);
    }
}

#[cfg(test)]
mod tests;
