//! What can be stored: the kinds of the static table, and those registered as custom resource definitions.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use thiserror::Error;

use super::schema::Schema;

/// Why a custom resource definition cannot be served.
#[derive(Debug, Error)]
pub enum CrdError {
    /// A field without which nothing can be served.
    #[error("failed to register the CRD: {0} is missing or has the wrong type")]
    Missing(&'static str),
    /// A pattern in the schema is no regular expression.
    #[error("failed to register the CRD: pattern {pattern:?} in its schema is no regular expression")]
    Pattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: regex::Error,
    },
}

/// One served kind.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "five independent facts of a kind")]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) kind: String,
    pub(super) namespaced: bool,
    /// Whether `/status` exists: then the main path leaves status alone and `/status` everything else, and
    /// `metadata.generation` counts the rest.
    pub(super) status_subresource: bool,
    /// Whether it comes from a CRD: apiVersion and kind must be in the body, and a PUT needs a resourceVersion.
    pub(super) custom: bool,
    /// Whether a PUT without resourceVersion is taken (most built-in kinds).
    pub(super) unconditional_update: bool,
    /// Whether a PUT of an absent object makes it.
    pub(super) creates_on_update: bool,
    /// Defaults, pruning and validation; `None` takes everything as it is.
    pub(super) schema: Option<Schema>,
}

/// All served kinds by (group, plural).
#[derive(Debug)]
pub(super) struct Resources(BTreeMap<(String, String), Arc<Resource>>);

// === impl Resource ===

impl Resource {
    /// `plural.group`, or `plural` in the core group, as error messages name it.
    pub(super) fn qualified(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    /// `Kind.group`, or `Kind` in the core group.
    pub(super) fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }

    /// `group/version`, or `version` in the core group.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Reads the storage version of a CRD.
    pub(super) fn from_crd(crd: &Value) -> Result<Self, CrdError> {
        let text = |pointer: &str, name: &'static str| {
            crd.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or(CrdError::Missing(name))
        };
        let versions = crd
            .pointer("/spec/versions")
            .and_then(Value::as_array)
            .ok_or(CrdError::Missing("spec.versions"))?;
        let version = versions
            .iter()
            .find(|version| version["storage"] == true && version["served"] == true)
            .ok_or(CrdError::Missing("a served storage version"))?;
        let schema = version
            .pointer("/schema/openAPIV3Schema")
            .ok_or(CrdError::Missing("spec.versions[].schema.openAPIV3Schema"))?;
        Ok(Self {
            group: text("/spec/group", "spec.group")?,
            version: version["name"].as_str().ok_or(CrdError::Missing("spec.versions[].name"))?.to_owned(),
            plural: text("/spec/names/plural", "spec.names.plural")?,
            kind: text("/spec/names/kind", "spec.names.kind")?,
            namespaced: text("/spec/scope", "spec.scope")? == "Namespaced",
            status_subresource: version.pointer("/subresources/status").is_some(),
            custom: true,
            unconditional_update: false,
            creates_on_update: false,
            schema: Some(Schema::new(schema.clone())?),
        })
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

// === impl Resources ===

impl Resources {
    /// What the product uses of a cluster. `events` of the core group and of `events.k8s.io` are two stores here.
    pub(super) fn built_in() -> Self {
        let mut resources = Self(BTreeMap::new());
        // (group, version, plural, kind, status subresource, PUT without resourceVersion)
        let table = [
            ("", "v1", "configmaps", "ConfigMap", false, true),
            ("", "v1", "events", "Event", false, true),
            ("", "v1", "pods", "Pod", true, true),
            ("", "v1", "secrets", "Secret", false, true),
            ("", "v1", "serviceaccounts", "ServiceAccount", false, true),
            ("batch", "v1", "jobs", "Job", true, true),
            ("coordination.k8s.io", "v1", "leases", "Lease", false, false),
            ("events.k8s.io", "v1", "events", "Event", false, true),
        ];
        for (group, version, plural, kind, status, unconditional) in table {
            resources.insert(plain(group, version, plural, kind, status, unconditional));
        }
        for (plural, kind) in [("imagepolicies", "ImagePolicy"), ("imagerepositories", "ImageRepository")] {
            let flux = plain("image.toolkit.fluxcd.io", "v1", plural, kind, true, false);
            resources.insert(Resource { custom: true, ..flux });
        }
        let (plural, kind) = ("resourcesetinputproviders", "ResourceSetInputProvider");
        let input = plain("fluxcd.controlplane.io", "v1", plural, kind, true, false);
        resources.insert(Resource { custom: true, ..input });
        let (group, plural) = ("apiextensions.k8s.io", "customresourcedefinitions");
        let definitions = plain(group, "v1", plural, "CustomResourceDefinition", true, false);
        resources.insert(Resource { namespaced: false, ..definitions });
        resources
    }

    /// Adds a kind or replaces the one of the same group and plural; objects stored so far stay.
    pub(super) fn insert(&mut self, resource: Resource) {
        self.0.insert((resource.group.clone(), resource.plural.clone()), Arc::new(resource));
    }

    pub(super) fn remove(&mut self, group: &str, plural: &str) -> bool {
        self.0.remove(&(group.to_owned(), plural.to_owned())).is_some()
    }

    /// Whether a built-in kind has this group.
    pub(super) fn is_built_in(&self, group: &str) -> bool {
        self.0.values().any(|resource| resource.group == group && !resource.custom)
    }

    pub(super) fn get(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.0.get(&(group.to_owned(), plural.to_owned())).cloned()
    }
}

fn plain(
    group: &str,
    version: &str,
    plural: &str,
    kind: &str,
    status_subresource: bool,
    unconditional_update: bool,
) -> Resource {
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        kind: kind.to_owned(),
        namespaced: true,
        status_subresource,
        custom: false,
        unconditional_update,
        creates_on_update: matches!(plural, "leases" | "events"),
        schema: None,
    }
}
