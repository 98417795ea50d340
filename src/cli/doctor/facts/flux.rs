//! The fields of Flux objects that only `doctor` looks at.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::flux::objects::Reference;

/// An object of Flux with its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FluxObject<T> {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec`.
    pub spec: T,
}

/// `spec` of a Kustomization or a HelmRelease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Applier {
    /// Nothing is applied.
    pub suspend: bool,
    /// Folder of the source; of a Kustomization.
    pub path: Option<String>,
    /// What is applied before it.
    pub depends_on: Vec<Reference>,
    /// Variables; of a Kustomization.
    pub post_build: PostBuild,
    /// Values; of a HelmRelease.
    pub values_from: Vec<ReadObject>,
}

/// `spec.postBuild`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PostBuild {
    /// Where variables come from.
    pub substitute_from: Vec<ReadObject>,
}

/// An entry of `substituteFrom` or `valuesFrom`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReadObject {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    /// Its name, in the namespace of the object that reads it.
    pub name: String,
    /// The key that a HelmRelease reads; `None` means `values.yaml`.
    pub values_key: Option<String>,
    /// It may be absent.
    pub optional: bool,
}

// === impl Applier ===

impl Applier {
    /// The entries that read ConfigMap `name`.
    pub fn reads<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ReadObject> {
        let all = self.post_build.substitute_from.iter().chain(&self.values_from);
        all.filter(move |read| read.kind == "ConfigMap" && read.name == name)
    }
}
