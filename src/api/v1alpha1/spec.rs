//! `spec` of a ReleaseSet. Doc comments here are the reference that `kubectl explain` prints.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::smoke::Smoke;
use crate::api::v1alpha1::{Candidates, ReleaseSetStatus, Target};
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
    /// Lets every tag and digest of this set's repositories pass the admission guard, for an emergency that no release
    /// mends in time. Nothing else changes: what is promoted, and when, stays the same. Absent means that only promoted
    /// references pass. Leave it out of Git, so that it can be set by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"reason": "main-7 leaks, its fix cannot be built today"}))]
    pub break_glass: Option<BreakGlass>,
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
    /// What happens when a tag of the promoted release is moved to other digests: `Report` says so (`TagMoved`) and
    /// leaves the release as it is, `Repromote` tests what the tag holds now and commits it again when it passes.
    #[serde(default)]
    #[schemars(extend("example" = "Repromote"))]
    pub on_tag_moved: OnTagMoved,
    /// What becomes of the targets when the set is deleted: `Retain` leaves them as they are, `Delete` deletes them.
    /// A suspended set leaves them in any case.
    #[serde(default)]
    #[schemars(extend("example" = "Delete"))]
    pub deletion_policy: DeletionPolicy,
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

/// The glass of the admission guard, broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakGlass {
    /// Why, for the Events and for whoever finds it open.
    #[schemars(schema_with = "schema::break_glass_reason", extend("example" = "main-7 leaks, its fix cannot be built today"))]
    pub reason: String,
}

/// One sibling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::IMAGE))]
pub struct Image {
    /// Name of the sibling in this set.
    #[schemars(schema_with = "schema::label", extend("example" = "app"))]
    pub name: String,
    /// Where the image lives, without scheme, tag or digest. Absent means that `imageRepositoryRef` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::repository", extend("example" = "ghcr.io/acme/app"))]
    pub repository: Option<String>,
    /// A Flux ImageRepository in the set's namespace whose image, Secrets, service account, proxy and `insecure` are
    /// used; its scans bring the next look forward. Instead of `repository` and `registry`. Absent means that
    /// `repository` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "app"}))]
    pub image_repository_ref: Option<LocalReference>,
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

// No doc comments on the variants of wire enumerations: they would become `oneOf`, which no structural schema has.

/// What must be there for an image to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum Verify {
    #[default]
    Manifests,
    Blobs,
}

/// What happens when a tag of the promoted release is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum OnTagMoved {
    #[default]
    Report,
    Repromote,
}

/// What becomes of the targets when the set is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Delete,
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
