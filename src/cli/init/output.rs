//! The ReleaseSet as it is printed: only fields that say something, in the order in which people write them.

use serde::Serialize;

use crate::api::manifest::{API_VERSION, KIND};
use crate::api::v1alpha1::{FilterTags, LocalReference, OrderPolicy, RegistryAccess, Target};

/// A ReleaseSet to apply.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Set {
    /// The kind's version.
    pub api_version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
}

/// `metadata`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Name of the set.
    pub name: String,
    /// Where it goes; absent where nothing that was read says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// `spec`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The siblings, the lead first.
    pub images: Vec<SetImage>,
    /// How the registry of those is reached that have no ImageRepository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
    /// What a release needs.
    pub platforms: Vec<String>,
    /// Which tags are releases.
    pub candidates: SetCandidates,
    /// What follows the promoted release.
    pub targets: Vec<Target>,
}

/// `spec.registry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// Pull Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// ServiceAccount whose pull Secrets are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// CA and client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalReference>,
    /// Proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalReference>,
    /// Plain HTTP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetImage {
    /// Its name in the set.
    pub name: String,
    /// Where it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The ImageRepository that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_repository_ref: Option<LocalReference>,
    /// How its own tag is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_template: Option<String>,
}

/// `spec.candidates`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetCandidates {
    /// Which tags, and what orders them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_tags: Option<FilterTags>,
    /// What is newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<OrderPolicy>,
    /// The ImagePolicy that says both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<LocalReference>,
    /// The tag that runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
}

// === impl Set ===

impl Set {
    /// A set of this name.
    pub fn new(name: String, namespace: Option<String>, spec: Spec) -> Self {
        Self { api_version: API_VERSION, kind: KIND, metadata: Metadata { name, namespace }, spec }
    }
}

// === impl Registry ===

impl From<&RegistryAccess> for Registry {
    fn from(access: &RegistryAccess) -> Self {
        Self {
            secret_ref: access.secret_ref.clone(),
            service_account_name: access.service_account_name.clone(),
            cert_secret_ref: access.cert_secret_ref.clone(),
            proxy_secret_ref: access.proxy_secret_ref.clone(),
            insecure: access.insecure,
        }
    }
}
