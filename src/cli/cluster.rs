//! The cluster that kubectl would use, for the commands that read or steer a ReleaseSet in it.

use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use crate::api::ReleaseSet;
use crate::api::v1alpha1::{ReleaseSetSpec, ReleaseSetStatus};
use crate::cli::error::{CliError, Result};
use crate::controller::startup;
use crate::telemetry::kube_call::{CALL_LIMIT, CallError, call};

/// Field manager of everything that a person changes by a command (design §4 Hands).
pub const FIELD_MANAGER: &str = "tidegate-cli";
/// Most names that are offered when one is not found.
const NAMES_MAX: u32 = 20;

/// A connection to one namespace of a cluster.
pub struct Cluster {
    sets: Api<DynamicObject>,
    namespace: String,
    program: &'static str,
}

/// One read of one ReleaseSet.
#[derive(Clone, Debug)]
pub struct Found {
    /// As it was read.
    pub object: DynamicObject,
    /// Its spec.
    pub spec: ReleaseSetSpec,
    /// Its status; the default where the controller wrote none yet.
    pub status: ReleaseSetStatus,
}

// === impl Cluster ===

impl Cluster {
    /// Connects as kubectl would. `namespace` absent means that of the kubeconfig's context.
    ///
    /// # Errors
    /// When there is no kubeconfig, or no client can be made from it.
    pub async fn connect(namespace: Option<&str>, program: &'static str) -> Result<Self> {
        let client = startup::client().await.map_err(|error| {
            CliError::new(error.to_string())
                .hint("set KUBECONFIG to the kubeconfig file of the cluster, as for kubectl")
        })?;
        Ok(Self::new(client, namespace, program))
    }

    /// The namespace that `client` is to be asked about.
    pub fn new(client: kube::Client, namespace: Option<&str>, program: &'static str) -> Self {
        let namespace = namespace.unwrap_or_else(|| client.default_namespace()).to_owned();
        let resource = ApiResource::erase::<ReleaseSet>(&());
        Self { sets: Api::namespaced_with(client, &namespace, &resource), namespace, program }
    }

    /// The namespace that is asked.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// ReleaseSets of the namespace, untyped.
    pub fn sets(&self) -> &Api<DynamicObject> {
        &self.sets
    }

    /// The connection, for what is no ReleaseSet.
    pub fn client(&self) -> kube::Client {
        self.sets.clone().into_client()
    }

    /// Reads one ReleaseSet.
    ///
    /// # Errors
    /// When it is not there (its neighbours are named), the kind is not installed, the API server does not answer,
    /// or the object is of another version.
    pub async fn get(&self, name: &str) -> Result<Found> {
        match call(self.sets.get(name)).await {
            Ok(object) => Found::new(object),
            Err(error) if error.is_not_found() && !error.is_unknown_kind() => Err(self.not_found(name).await),
            Err(error) => Err(self.refused(&format!("read ReleaseSet {}/{name}", self.namespace), &error)),
        }
    }

    async fn not_found(&self, name: &str) -> CliError {
        let error = CliError::new(format!("there is no ReleaseSet {name} in namespace {}", self.namespace));
        let Ok(list) = call(self.sets.list(&ListParams::default().limit(NAMES_MAX))).await else {
            return error.hint("look for it with `kubectl get releasesets --all-namespaces`");
        };
        let names: Vec<&str> = list.items.iter().filter_map(|set| set.metadata.name.as_deref()).collect();
        if names.is_empty() {
            return error
                .because("the namespace has none")
                .hint("name its namespace with `-n`; `kubectl get releasesets --all-namespaces` lists all");
        }
        error
            .because(format!("the namespace has {}", names.join(", ")))
            .hint("name one of these, or another namespace with `-n`")
    }

    /// A call that gave nothing, in words for a person.
    pub fn refused(&self, doing: &str, error: &CallError) -> CliError {
        let failed = CliError::new(format!("failed to {doing}"));
        if error.is_unknown_kind() {
            return failed
                .because("the kind ReleaseSet is not installed in this cluster")
                .hint(format!("run `{} crd | kubectl apply --server-side -f -`", self.program));
        }
        let Some(status) = error.status() else {
            let failed = match error {
                CallError::TimedOut => {
                    failed.because(format!("the API server did not answer within {} s", CALL_LIMIT.as_secs()))
                }
                CallError::Refused(error) => failed.caused_by(error),
            };
            return failed.hint("check that `kubectl get --raw /readyz` answers with the same kubeconfig");
        };
        let hint = match status.code {
            401 => "log in to the cluster again, then run this again".to_owned(),
            403 => "ask for a role that allows it, or use another `-n` or kubeconfig".to_owned(),
            400 | 422 => "nothing was changed; do what the message says, then run this again".to_owned(),
            _ => "check that `kubectl get releasesets` answers with the same kubeconfig".to_owned(),
        };
        failed.because(format!("the API server answered {}: {}", status.code, status.message)).hint(hint)
    }
}

// === impl Found ===

impl Found {
    /// Reads what an object holds.
    ///
    /// # Errors
    /// When spec or status are of another version.
    pub fn new(object: DynamicObject) -> Result<Self> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let undecodable = |part: &str, error: &serde_json::Error| {
            CliError::new(format!("failed to read the {part} of ReleaseSet {name}"))
                .caused_by(error)
                .hint("use the version of this program that fits the controller's")
        };
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let spec = serde_json::from_value(spec).map_err(|error| undecodable("spec", &error))?;
        let status = match object.data.get("status") {
            None | Some(Value::Null) => ReleaseSetStatus::default(),
            Some(status) => {
                serde_json::from_value(status.clone()).map_err(|error| undecodable("status", &error))?
            }
        };
        Ok(Self { object, spec, status })
    }

    /// `metadata.generation`.
    pub fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }
}
