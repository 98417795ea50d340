//! `spec.gates[].smoke`. Doc comments here are the reference that `kubectl explain` prints.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{rules, schema};

/// A Job that runs the sibling's own image by digest; exit code 0 passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::smoke::SMOKE))]
pub struct Smoke {
    /// Name of the image under test.
    #[schemars(schema_with = "schema::label", extend("example" = "worker"))]
    pub image: String,
    /// Platforms under test. Absent means all required platforms of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::smoke_platforms", extend("example" = ["linux/amd64"]))]
    pub platforms: Option<Vec<String>>,
    /// When it starts. `ImagePresent`: as soon as its own image is there, beside the builds of its siblings, of which
    /// it sees nothing. `Complete`: when all required images are; it sees TIDEGATE_TAG and `TIDEGATE_IMAGE_<NAME>` of
    /// each, and its verdict counts for exactly these. Absent means ImagePresent.
    #[serde(default, skip_serializing_if = "SmokeWhen::is_default")]
    #[schemars(extend("example" = "Complete"))]
    pub when: SmokeWhen,
    /// Command and arguments. Absent means the image's own entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::command", extend("example" = ["/app", "--self-check"]))]
    pub command: Vec<String>,
    /// Arguments of the command, or of the image's own entrypoint where there is no command. Absent means the image's
    /// own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::command", extend("example" = ["--self-check"]))]
    pub args: Vec<String>,
    /// Literal environment of the container; nothing is read from Secrets or ConfigMaps. Absent means none beside
    /// TIDEGATE_PLATFORM and TIDEGATE_IMAGE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = schema::ENV_MAX),
        extend(
            "x-kubernetes-list-type" = "atomic",
            "x-kubernetes-validations" = [rules::smoke::ENV_UNIQUE],
            "example" = [{"name": "LOG_LEVEL", "value": "debug"}],
        )
    )]
    pub env: Vec<SmokeEnv>,
    /// What passes. `ExitsZero`: the container exits with 0 within `timeout`. `StaysUp`: it still runs, and is Ready,
    /// after `for`: a service. Absent means ExitsZero.
    #[serde(default, skip_serializing_if = "SmokeExpect::is_default")]
    #[schemars(extend("example" = "StaysUp"))]
    pub expect: SmokeExpect,
    /// How long a service must stay up, shorter than `timeout`. Absent means 20s; only with `expect: StaysUp`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::stays_up", extend("example" = "20s"))]
    pub stays_up: Option<String>,
    /// What must answer for a service to be Ready. Absent means that a running container is; only with
    /// `expect: StaysUp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"port": 8080, "path": "/healthz"}))]
    pub http_get: Option<SmokeHttpGet>,
    /// User of the container, above 0. Absent means the image's own, which must not be root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::run_as_user", extend("example" = 65532))]
    pub run_as_user: Option<i64>,
    /// Requests and limits of the container, by resource. Absent means the defaults: requests of 100m CPU and
    /// 128Mi memory, limits of 1 CPU and 512Mi memory; a request alone is the limit too, and a limit alone the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("example" = {"limits": {"memory": "2Gi"}}))]
    pub resources: Option<SmokeResources>,
    /// Taints that the pod tolerates, beside one named kubernetes.io/arch. Absent means no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = schema::TOLERATIONS_MAX),
        extend("x-kubernetes-list-type" = "atomic", "example" = [{"key": "dedicated", "operator": "Exists"}])
    )]
    pub tolerations: Vec<SmokeToleration>,
    /// How long one attempt may run. Absent means 5m; the default is not written into the object, so that a
    /// verdict is not forgotten when defaults change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timeout", extend("example" = "5m"))]
    pub timeout: Option<String>,
    /// How often it is tried before it counts as failed. Absent means 2, not written into the object either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::attempts", extend("example" = 2))]
    pub attempts: Option<i64>,
}

/// When a smoke test starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum SmokeWhen {
    #[default]
    ImagePresent,
    Complete,
}

/// What passes a smoke test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "docs of variants would turn the schema into oneOf")]
pub enum SmokeExpect {
    #[default]
    ExitsZero,
    StaysUp,
}

/// One variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmokeEnv {
    /// Its name; those that begin with TIDEGATE_ are Tidegate's.
    #[schemars(schema_with = "schema::env_name", extend("example" = "LOG_LEVEL"))]
    pub name: String,
    /// Its value. Absent means empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::env_value", extend("example" = "debug"))]
    pub value: String,
}

/// An HTTP GET that must be answered with a status of 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmokeHttpGet {
    /// Port of the container.
    #[schemars(schema_with = "schema::port", extend("example" = 8080))]
    pub port: i64,
    /// Path. Absent means `/`.
    #[serde(default = "root_path")]
    #[schemars(schema_with = "schema::http_path", extend("example" = "/healthz"))]
    pub path: String,
}

/// Requests and limits, Kubernetes quantities by `cpu` and `memory`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmokeResources {
    /// What the pod is scheduled by. Absent means the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities", extend("example" = {"cpu": "500m"}))]
    pub requests: BTreeMap<String, String>,
    /// What it may use. Absent means the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities", extend("example" = {"memory": "2Gi"}))]
    pub limits: BTreeMap<String, String>,
}

/// One toleration, as Kubernetes has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmokeToleration {
    /// Key of the taint. Absent, with operator Exists, means every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::toleration_text", extend("example" = "dedicated"))]
    pub key: Option<String>,
    /// `Equal` or `Exists`. Absent means Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::toleration_operator", extend("example" = "Exists"))]
    pub operator: Option<String>,
    /// Value of the taint. Absent means empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::toleration_text", extend("example" = "ci"))]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::toleration_effect", extend("example" = "NoSchedule"))]
    pub effect: Option<String>,
}

fn root_path() -> String {
    "/".to_owned()
}

// === impl SmokeWhen ===

impl SmokeWhen {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

// === impl SmokeExpect ===

impl SmokeExpect {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
