//! `spec` of a ReleaseSet. Doc comments here are the reference that `kubectl explain` prints.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::ReleaseSetStatus;
use crate::api::v1alpha1::smoke::Smoke;
use crate::api::{rules, schema};
use crate::engine::policy::{GATES_MAX, IMAGES_MAX, TARGETS_MAX};

/// What is to be promoted together, from where, under which conditions, and what follows.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "ReleaseSet",
    plural = "releasesets",
    shortname = "rset",
    category = "tidegate",
    namespaced,
    status = "ReleaseSetStatus",
    derive = "PartialEq",
    doc = "A ReleaseSet names sibling images that share a tag. A tag is promoted only when every sibling exists in its registry for every required platform, at pinned digests, and its gates passed on exactly those digests.",
    printcolumn = r#"{"name": "Promoted", "type": "string", "jsonPath": ".status.promoted.tag", "description": "The promoted release"}"#,
    printcolumn = r#"{"name": "Candidate", "type": "string", "jsonPath": ".status.summary.candidate", "description": "The newest followed candidate"}"#,
    printcolumn = r#"{"name": "Images", "type": "string", "jsonPath": ".status.summary.images", "description": "Required cells that are Present, and all of them"}"#,
    printcolumn = r#"{"name": "Gates", "type": "string", "jsonPath": ".status.summary.gates", "description": "Required gates that passed, and all of them"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "A release is promoted and every target carries it"}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.summary.blockedBy", "description": "What blocks the candidate"}"#,
    printcolumn = r#"{"name": "Since", "type": "date", "jsonPath": ".status.summary.blockedSince", "description": "Since when it blocks"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Age of the object"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::SPEC))]
pub struct ReleaseSetSpec {
    /// How often tags are listed when nothing else calls for a look. Also the longest pause between looks at
    /// a candidate that is only partly there.
    #[serde(default = "interval")]
    #[schemars(schema_with = "schema::interval", extend("example" = "1m"))]
    pub interval: String,
    /// How often the promoted tags are looked at again, to find one that was moved or removed.
    #[serde(default = "drift_interval")]
    #[schemars(schema_with = "schema::drift_interval", extend("example" = "10m"))]
    pub drift_interval: String,
    /// Nothing is committed, no test is started and no target is written while this is true. Absent means
    /// false. Leave it out of Git, so that it can be set by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = true))]
    pub suspend: Option<bool>,
    /// Promote exactly this tag, newer or older, as soon as it is complete and its required gates passed.
    /// Absent means that candidates are chosen by policy. Leave it out of Git, so that it can be set by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub pin: Option<String>,
    /// Tags that are dismissed and never promoted without `pin`. Absent means none. Those in Git and those of
    /// `tidegate skip` add up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::skip", extend("example" = ["main-3f9ac1d-1767225600"]))]
    pub skip: Vec<String>,
    /// Platforms that are required of every image that does not say otherwise.
    #[serde(default = "platforms")]
    #[schemars(schema_with = "schema::platforms", extend("example" = ["linux/amd64", "linux/arm64"]))]
    pub platforms: Vec<String>,
    /// The siblings. The first is the lead; it is never advisory.
    #[schemars(
        length(max = IMAGES_MAX),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::IMAGES,
            "example" = [{"name": "app", "repository": "ghcr.io/acme/app"}],
        )
    )]
    pub images: Vec<Image>,
    /// How registries are reached. Absent means anonymously and over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"secretRef": {"name": "pull"}}))]
    pub registry: Option<RegistryAccess>,
    /// What must be there for an image to count: `Manifests` asks for the index and each required platform's
    /// manifest and config, `Blobs` for every layer too, at one more request per layer.
    #[serde(default)]
    #[schemars(extend("example" = "Blobs"))]
    pub verify: Verify,
    /// Which tags are candidates, and which of two is the newer.
    #[schemars(extend("example" = {"policy": {"numerical": {"order": "asc"}}}))]
    pub candidates: Candidates,
    /// Conditions beside completeness. Absent means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = GATES_MAX),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "example" = [{"name": "worker-boots", "smoke": {"image": "worker", "command": ["/app", "--self-check"]}}],
        )
    )]
    pub gates: Vec<Gate>,
    /// How long a candidate may stay incomplete, and then untested, before it is reported as overdue.
    #[serde(default = "deadline")]
    #[schemars(schema_with = "schema::deadline", extend("example" = "45m"))]
    pub deadline: String,
    /// Objects that follow the promoted release. Absent means none: the release is only recorded in status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = TARGETS_MAX),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::TARGETS,
            "example" = [{"name": "config", "configMap": {"name": "acme-release"}}],
        )
    )]
    pub targets: Vec<Target>,
    /// How many promoted releases `status.history` keeps, as long as they fit in 24 kB.
    #[serde(default = "history_limit")]
    #[schemars(schema_with = "schema::history_limit", extend("example" = 10))]
    pub history_limit: i64,
}

/// One sibling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::IMAGE))]
pub struct Image {
    /// Name of the sibling in this set.
    #[schemars(schema_with = "schema::label", extend("example" = "app"))]
    pub name: String,
    /// Where the image lives, without scheme, tag or digest.
    #[schemars(schema_with = "schema::repository", extend("example" = "ghcr.io/acme/app"))]
    pub repository: String,
    /// Platforms that a release needs of this image. Absent means those of `spec.platforms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::platforms", extend("example" = ["linux/amd64", "linux/arm64"]))]
    pub platforms: Option<Vec<String>>,
    /// Platforms that are reported and block nothing. Absent means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::advisory_platforms", extend("example" = ["linux/arm64"]))]
    pub advisory_platforms: Vec<String>,
    /// How the shared tag is written in this repository: a text that holds `{tag}` exactly once.
    #[serde(default = "tag_template")]
    #[schemars(schema_with = "schema::tag_template", extend("example" = "{tag}-debian"))]
    pub tag_template: String,
    /// The whole image is only reported: it blocks nothing and is never written to a target.
    #[serde(default)]
    #[schemars(extend("example" = true))]
    pub advisory: bool,
    /// How this image's registry is reached, instead of `spec.registry` as a whole. Absent means
    /// `spec.registry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"secretRef": {"name": "pull-worker"}}))]
    pub registry: Option<RegistryAccess>,
}

/// How a registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [rules::REGISTRY_CERTIFICATES]))]
pub struct RegistryAccess {
    /// A Secret of type `kubernetes.io/dockerconfigjson` (or `kubernetes.io/dockercfg`) in the set's namespace,
    /// read anew for every look. Absent means that registries are asked without credentials, unless
    /// `serviceAccountName` adds some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "pull"}))]
    pub secret_ref: Option<LocalReference>,
    /// A ServiceAccount in the set's namespace whose `imagePullSecrets` are added, as the kubelet would use them.
    /// Absent means that none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name", extend("example" = "default"))]
    pub service_account_name: Option<String>,
    /// A Secret of type `Opaque` or `kubernetes.io/tls` in the set's namespace, in PEM: `ca.crt` holds the CAs that may
    /// sign the registry's certificate, instead of those of the system; `tls.crt` with `tls.key` is the certificate
    /// that the registry is shown. Both also hold for the registry's token server. Absent means the system's CAs and no
    /// client certificate. The names are Flux's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "registry-tls"}))]
    pub cert_secret_ref: Option<LocalReference>,
    /// A Secret in the set's namespace with the HTTP proxy that every request for these images goes through: `address`
    /// (`http://HOST:PORT`), and where it wants them `username` and `password`. Absent means what the controller's
    /// environment says (`HTTPS_PROXY`, `NO_PROXY`). The names are Flux's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "egress"}))]
    pub proxy_secret_ref: Option<LocalReference>,
    /// Use plain HTTP. Credentials then travel in the clear: for registries inside a cluster only.
    #[serde(default)]
    #[schemars(extend("example" = true))]
    pub insecure: bool,
}

/// An object in the set's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(schema_with = "schema::object_name", extend("example" = "pull"))]
    pub name: String,
}

/// Which tags are candidates, and their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Candidates {
    /// Only tags that match are candidates. Absent means all tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"pattern": "^main-[0-9a-f]{7,40}-(?P<ts>[0-9]+)$", "extract": "$ts"}))]
    pub filter_tags: Option<FilterTags>,
    /// Regular expressions (RE2) of tags that are never candidates. Absent means none. Tags of signatures and
    /// attestations (`sha256-…`) are always left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::exclude", extend("example" = ["^buildcache", "\\.(sig|att|sbom)$"]))]
    pub exclude: Vec<String>,
    /// Which of two candidates is the newer.
    #[schemars(extend("example" = {"numerical": {"order": "asc"}}))]
    pub policy: OrderPolicy,
    /// The floor of a set that never promoted: only newer tags are promoted. Absent means no floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tag", extend("example" = "main-3f9ac1d-1767225600"))]
    pub not_before: Option<String>,
    /// Most candidates that are followed at once.
    #[serde(default = "max_followed")]
    #[schemars(schema_with = "schema::max_followed", extend("example" = 5))]
    pub max_followed: i64,
    /// How long a candidate of which a digest changed must be still before it is promoted.
    #[serde(default = "settle")]
    #[schemars(schema_with = "schema::settle", extend("example" = "60s"))]
    pub settle: String,
}

/// Only tags that match are candidates, with the meaning of Flux's `filterTags`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::FILTER_TAGS))]
pub struct FilterTags {
    /// A regular expression (RE2).
    #[schemars(schema_with = "schema::pattern", extend("example" = "^main-[0-9a-f]{7,40}-(?P<ts>[0-9]+)$"))]
    pub pattern: String,
    /// What orders the tag: a text with `$name` for a `(?P<name>…)` of the pattern. Absent means the whole
    /// tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::extract", extend("example" = "$ts"))]
    pub extract: Option<String>,
}

/// Which of two candidates is the newer: exactly one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [rules::POLICY_ONE]))]
pub struct OrderPolicy {
    /// By version, and only those within a range. Absent means that another policy is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"range": ">=1.2.0 <2.0.0"}))]
    pub semver: Option<SemVer>,
    /// By number, as exact decimals. Absent means that another policy is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"order": "asc"}))]
    pub numerical: Option<Numerical>,
    /// By bytes. Absent means that another policy is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"order": "asc"}))]
    pub alphabetical: Option<Alphabetical>,
}

/// Order by version, with the meaning of Flux's `semver`. A tag, or its extract, is a version when it has three
/// numbers, with or without `v` in front: others are skipped and counted. The newest version is the newest; of equal
/// versions (`1.2.3` and `v1.2.3`) the tag that is last in the alphabet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SemVer {
    /// Comparisons with spaces or commas between, of which all must hold, and `||` between alternatives. Operators
    /// are `=`, `!=`, `>`, `<`, `>=`, `<=`, `~` and `^`; `1.2.x` and `1.2 - 1.4` are understood too. Pre-releases
    /// count only where a comparison names one: `>=1.2.0-0`.
    #[schemars(schema_with = "schema::range", extend("example" = ">=1.2.0 <2.0.0"))]
    pub range: String,
}

/// Order by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Numerical {
    /// `asc`: the greatest number is the newest. `desc`: the least.
    #[serde(default)]
    #[schemars(extend("example" = "asc"))]
    pub order: Direction,
}

/// Order by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alphabetical {
    /// `asc`: the last in the alphabet is the newest. `desc`: the first.
    #[serde(default)]
    #[schemars(extend("example" = "asc"))]
    pub order: Direction,
}

// No doc comments on the variants of wire enumerations: they would become `oneOf`, which no structural schema has.

/// What must be there for an image to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum Verify {
    #[default]
    Manifests,
    Blobs,
}

/// Which end is the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum Direction {
    #[default]
    Asc,
    Desc,
}

/// One condition beside completeness: exactly one of smoke and sameRevision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [rules::GATE_ONE]))]
pub struct Gate {
    /// Name of the gate in this set.
    #[schemars(schema_with = "schema::label", extend("example" = "worker-boots"))]
    pub name: String,
    /// The gate is only reported and blocks nothing.
    #[serde(default)]
    #[schemars(extend("example" = true))]
    pub advisory: bool,
    /// A test on the image itself. Absent means that another kind is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"image": "worker", "command": ["/app", "--self-check"]}))]
    pub smoke: Option<Smoke>,
    /// All required images must name the same revision. Absent means that another kind is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"key": "org.opencontainers.image.revision"}))]
    pub same_revision: Option<SameRevision>,
}

/// All required images carry one equal value under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SameRevision {
    /// Key of the annotation or label.
    #[schemars(schema_with = "schema::revision_key", extend("example" = "org.opencontainers.image.revision"))]
    pub key: String,
    /// `Annotation`: annotations of the index or manifest only. `Any`: labels too, which are inherited from
    /// base images.
    #[serde(default)]
    #[schemars(extend("example" = "Annotation"))]
    pub from: RevisionFrom,
}

/// Where a revision is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum RevisionFrom {
    #[default]
    Annotation,
    Any,
}

/// One object that follows the promoted release: exactly one of configMap and imagePolicy.
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
}

/// A ConfigMap that follows the promoted release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetConfigMap {
    /// Name of the ConfigMap. It must not exist yet: it is made at the first promotion.
    #[schemars(schema_with = "schema::object_name", extend("example" = "acme-release"))]
    pub name: String,
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
}

// === defaults ===

fn interval() -> String {
    "1m".to_owned()
}

fn drift_interval() -> String {
    "10m".to_owned()
}

fn platforms() -> Vec<String> {
    vec!["linux/amd64".to_owned()]
}

fn deadline() -> String {
    "45m".to_owned()
}

fn history_limit() -> i64 {
    10
}

fn tag_template() -> String {
    "{tag}".to_owned()
}

fn max_followed() -> i64 {
    5
}

fn settle() -> String {
    "60s".to_owned()
}
