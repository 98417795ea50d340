//! The fields of Flux objects that are read. All are optional here: what an object of another version lacks is simply
//! not said by it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::flux::kinds::Kind;

/// An object with the metadata that matters, and the fields of its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<T> {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// `spec` and `status`.
    pub body: T,
}

/// The fields of one kind.
pub trait Body: DeserializeOwned + Default {
    /// Which kind.
    const KIND: Kind;
}

/// A name, and a namespace where it may differ from the object's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Kind, where the field can name several.
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// Its namespace; `None` means that of the object which names it.
    pub namespace: Option<String>,
}

/// A condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Of which generation it tells.
    pub observed_generation: Option<i64>,
}

macro_rules! body {
    ($(#[$doc:meta])* $name:ident, $spec:ident, $status:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub struct $name {
            /// `spec`.
            pub spec: $spec,
            /// `status`.
            pub status: $status,
        }

        impl Body for $name {
            const KIND: Kind = Kind::$name;
        }
    };
}

body!(/// Scans the tags of one image.
    ImageRepository, ImageRepositorySpec, ImageRepositoryStatus);
body!(/// Selects one tag.
    ImagePolicy, ImagePolicySpec, ImagePolicyStatus);
body!(/// Takes what policies select to Git.
    ImageUpdateAutomation, ImageUpdateAutomationSpec, ImageUpdateAutomationStatus);
body!(/// Applies a folder of a source.
    Kustomization, ApplierSpec, ApplierStatus);
body!(/// Installs a chart. Its `spec` has its source elsewhere, which does not matter here.
    HelmRelease, ApplierSpec, ApplierStatus);
body!(/// Fetches a Git branch.
    GitRepository, GitRepositorySpec, GitRepositoryStatus);

/// `spec` of an [`ImageRepository`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageRepositorySpec {
    /// Host and path, without scheme and tag.
    pub image: String,
    /// Nothing is scanned.
    pub suspend: bool,
    /// Patterns of tags that are left out; `None` means `^.*\.sig$`.
    pub exclusion_list: Option<Vec<String>>,
    /// Pull Secret.
    pub secret_ref: Option<Reference>,
    /// ServiceAccount whose pull secrets are added.
    pub service_account_name: Option<String>,
    /// CA and client certificate.
    pub cert_secret_ref: Option<Reference>,
    /// Proxy.
    pub proxy_secret_ref: Option<Reference>,
    /// `generic`, `aws`, `azure` or `gcp`; `None` means `generic`.
    pub provider: Option<String>,
    /// Plain HTTP.
    pub insecure: bool,
}

/// `status` of an [`ImageRepository`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageRepositoryStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// The last scan that succeeded.
    pub last_scan_result: Option<ScanResult>,
}

/// One scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScanResult {
    /// Changes exactly when the tags do.
    pub revision: String,
    /// When it was.
    pub scan_time: Option<jiff::Timestamp>,
    /// The ten tags that are last in the alphabet.
    pub latest_tags: Vec<String>,
}

/// `spec` of an [`ImagePolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImagePolicySpec {
    /// Which tags are considered.
    pub filter_tags: Option<FilterTags>,
    /// How they are ordered.
    pub policy: OrderPolicy,
}

/// `spec.filterTags` of an [`ImagePolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FilterTags {
    /// A regular expression, not anchored.
    pub pattern: String,
    /// What orders the tag; empty means the whole tag.
    pub extract: String,
}

/// `spec.policy` of an [`ImagePolicy`]: one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OrderPolicy {
    /// By version.
    pub semver: Option<SemVer>,
    /// By bytes.
    pub alphabetical: Option<Ordered>,
    /// By number.
    pub numerical: Option<Ordered>,
}

/// A range of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SemVer {
    /// As Masterminds/semver understands it.
    pub range: String,
}

/// A direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ordered {
    /// `asc` or `desc`; empty means `asc`.
    pub order: String,
}

/// `status` of an [`ImagePolicy`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImagePolicyStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Generation that was looked at last.
    pub observed_generation: i64,
    /// What was selected last. It stays when later nothing matches.
    pub latest_ref: Option<ImageRef>,
}

/// An image that was selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ImageRef {
    /// Its tag.
    pub tag: String,
}

/// `spec` of an [`ImageUpdateAutomation`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageUpdateAutomationSpec {
    /// The GitRepository that it pushes to.
    pub source_ref: Reference,
    /// Branches.
    pub git: Option<GitSpec>,
    /// Which policies it takes; `None` means all of its namespace.
    pub policy_selector: Option<LabelSelector>,
    /// Nothing is done.
    pub suspend: bool,
}

/// `spec.git` of an [`ImageUpdateAutomation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GitSpec {
    /// What is checked out.
    pub checkout: Option<CheckoutSpec>,
    /// Where it is pushed.
    pub push: Option<PushSpec>,
}

/// `spec.git.checkout`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CheckoutSpec {
    /// Instead of the reference of the GitRepository.
    #[serde(rename = "ref")]
    pub reference: GitReference,
}

/// `spec.git.push`. A `refspec` is pushed beside the branch, and so changes nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PushSpec {
    /// Absent means the branch that is checked out.
    pub branch: Option<String>,
}

/// `status` of an [`ImageUpdateAutomation`]. All of it is written at the end of a run that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageUpdateAutomationStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// What each policy selected, by its name, in the last run that pushed or had nothing to push.
    pub observed_policies: BTreeMap<String, ImageRef>,
    /// The commit pushed last.
    pub last_push_commit: Option<String>,
    /// When.
    pub last_push_time: Option<jiff::Timestamp>,
    /// The commit on the branch that is checked out after that run: the one pushed, or where nothing was to be
    /// pushed (or to another branch) the one found.
    pub observed_source_revision: Option<String>,
}

/// `spec` of a [`Kustomization`] or [`HelmRelease`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplierSpec {
    /// Nothing is applied.
    pub suspend: bool,
    /// Where it is applied from.
    pub source_ref: Reference,
}

/// `status` of a [`Kustomization`] or [`HelmRelease`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApplierStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Generation that was looked at last.
    pub observed_generation: i64,
    /// Revision that was applied last, health checks included.
    pub last_applied_revision: Option<String>,
    /// Revision that was tried last.
    pub last_attempted_revision: Option<String>,
}

/// `spec` of a [`GitRepository`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GitRepositorySpec {
    /// What is fetched.
    #[serde(rename = "ref")]
    pub reference: GitReference,
    /// How long a fetch may take, as Go writes it; `None` means 60 s.
    pub timeout: Option<String>,
}

/// `spec.ref` of a [`GitRepository`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GitReference {
    /// A branch.
    pub branch: Option<String>,
    /// A tag, instead of it.
    pub tag: Option<String>,
    /// A range of tags, instead of both.
    pub semver: Option<String>,
    /// A reference by its full name, instead of all of them.
    pub name: Option<String>,
    /// A commit, instead of all of them.
    pub commit: Option<String>,
}

/// `status` of a [`GitRepository`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GitRepositoryStatus {
    /// What was fetched last.
    pub artifact: Option<Artifact>,
}

/// A fetched revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Artifact {
    /// `branch@sha1:COMMIT`.
    pub revision: String,
    /// When it was stored.
    pub last_update_time: Option<jiff::Timestamp>,
}

/// What a Kustomization and a HelmRelease have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applier {
    /// `spec`.
    pub spec: ApplierSpec,
    /// `status`.
    pub status: ApplierStatus,
}

/// The condition `Ready`.
pub fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == "Ready")
}

// === impl Object ===

impl<T> Object<T> {
    /// The same object with its fields seen otherwise.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Object<U> {
        Object {
            name: self.name,
            generation: self.generation,
            resource_version: self.resource_version,
            labels: self.labels,
            annotations: self.annotations,
            deleting: self.deleting,
            body: f(self.body),
        }
    }
}

impl Object<ImagePolicy> {
    /// The tag that is selected by the spec as it is now. `latestRef` of a policy that is not Ready for its generation
    /// is of an earlier spec or scan, and says nothing.
    pub fn selected(&self) -> Option<&str> {
        self.is_ready().then_some(self.body.status.latest_ref.as_ref()?.tag.as_str())
    }

    /// Ready for its generation.
    pub fn is_ready(&self) -> bool {
        let status = &self.body.status;
        is_ready(self.generation, status.observed_generation, &status.conditions)
    }
}

impl Object<Applier> {
    /// Ready for its generation.
    pub fn is_ready(&self) -> bool {
        let status = &self.body.status;
        is_ready(self.generation, status.observed_generation, &status.conditions)
    }
}

fn is_ready(generation: i64, observed: i64, conditions: &[Condition]) -> bool {
    observed == generation
        && ready(conditions).is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation.is_none_or(|of| of == generation)
        })
}

impl From<Kustomization> for Applier {
    fn from(body: Kustomization) -> Self {
        Self { spec: body.spec, status: body.status }
    }
}

impl From<HelmRelease> for Applier {
    fn from(body: HelmRelease) -> Self {
        Self { spec: body.spec, status: body.status }
    }
}
