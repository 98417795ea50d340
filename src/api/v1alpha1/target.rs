//! `spec.targets` of a ReleaseSet. Doc comments here are the reference that `kubectl explain` prints.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::LocalReference;
use crate::api::{rules, schema};
use crate::model::target::ROLLED_OUT_BY_MAX;

/// One object that follows the promoted release: exactly one of configMap, imagePolicy and resourceSetInputProvider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [rules::TARGET_ONE]))]
pub struct Target {
    /// Name of the target in this set.
    #[schemars(schema_with = "schema::label", extend("example" = "config"))]
    pub name: String,
    /// A ConfigMap with `RELEASE_TAG` and, for each required image, `<NAME>_IMAGE` by digest. Absent means
    /// that another kind is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "acme-release"}))]
    pub config_map: Option<TargetConfigMap>,
    /// A Flux ImagePolicy that selects exactly the promoted tag. Absent means that another kind is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "acme", "imageRepositoryRef": {"name": "app"}}))]
    pub image_policy: Option<TargetImagePolicy>,
    /// A `ResourceSetInputProvider` of the Flux Operator, type `Static`, with the tag and every required image by
    /// digest in its `defaultValues`. Absent means that another kind is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "acme"}))]
    pub resource_set_input_provider: Option<TargetResourceSetInputProvider>,
}

/// A ConfigMap that follows the promoted release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetConfigMap {
    /// Name of the ConfigMap. It must not exist yet: it is made at the first promotion.
    #[schemars(schema_with = "schema::object_name", extend("example" = "acme-release"))]
    pub name: String,
    /// Keys beside `RELEASE_TAG`, `RELEASE_SEQUENCE` and `<NAME>_IMAGE`. In a value `{tag}`, `{sequence}` and
    /// `{NAME.image}`, `{NAME.repository}`, `{NAME.tag}`, `{NAME.digest}` of an image stand for what was promoted; `{{`
    /// and `}}` are braces. A Kustomization that reads the ConfigMap by `substituteFrom` refuses keys that are no names of
    /// variables, such as `values.yaml`. Absent means none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::keys", extend("example" = {"HELM_VALUES": "image: {app.image}"}))]
    pub keys: BTreeMap<String, String>,
}

/// A Flux ImagePolicy that follows the promoted release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetImagePolicy {
    /// Name of the ImagePolicy. It must not exist yet: it is made at the first promotion.
    #[schemars(schema_with = "schema::label", extend("example" = "acme"))]
    pub name: String,
    /// The Flux ImageRepository of the lead image, in the same namespace.
    #[schemars(extend("example" = {"name": "app"}))]
    pub image_repository_ref: LocalReference,
    /// The ImageUpdateAutomation in the same namespace that takes the tag to Git: what it did is reported. Absent means
    /// whichever has taken the ImagePolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "flux-system"}))]
    pub image_update_automation_ref: Option<LocalReference>,
    /// Objects in the same namespace that apply what was committed: the target is `RolledOut` when all of them report
    /// the commit. Absent means that the state ends at `Committed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = ROLLED_OUT_BY_MAX), extend("x-kubernetes-list-type" = "atomic", "example" = [{"kind": "Kustomization", "name": "apps"}]))]
    pub rolled_out_by: Vec<RolledOutBy>,
}

/// An object of Flux that reports which revision it applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolledOutBy {
    /// Which kind.
    #[schemars(extend("example" = "Kustomization"))]
    pub kind: RolledOutByKind,
    /// Name of the object.
    #[schemars(schema_with = "schema::object_name", extend("example" = "apps"))]
    pub name: String,
}

// No doc comments on the variants of wire enumerations: they would become `oneOf`, which no structural schema has.

/// Kinds of objects that report a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum RolledOutByKind {
    Kustomization,
    HelmRelease,
}

/// A `ResourceSetInputProvider` that follows the promoted release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetResourceSetInputProvider {
    /// Name of the `ResourceSetInputProvider`. It must not exist yet: it is made at the first promotion.
    #[schemars(schema_with = "schema::object_name", extend("example" = "acme"))]
    pub name: String,
}
