//! `spec.candidates` of a ReleaseSet. Doc comments here are the reference that `kubectl explain` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::LocalReference;
use crate::api::{rules, schema};

/// Which tags are candidates, and their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::CANDIDATES))]
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
    /// Which of two candidates is the newer. Absent means that `policyRef` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"numerical": {"order": "asc"}}))]
    pub policy: Option<OrderPolicy>,
    /// A Flux ImagePolicy in the set's namespace that names candidates by its `latestRef`, in the order of its own
    /// `policy` and `filterTags`. No tags are listed then. Instead of `policy` and `filterTags`. Absent means that the
    /// tags of all required images are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"name": "app"}))]
    pub policy_ref: Option<LocalReference>,
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

/// Which end is the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum Direction {
    #[default]
    Asc,
    Desc,
}

// === defaults ===

fn max_followed() -> i64 {
    5
}

fn settle() -> String {
    "60s".to_owned()
}
