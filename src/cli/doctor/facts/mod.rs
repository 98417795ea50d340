//! What is known when the checks begin: everything that was read, and for what was not, why. No I/O here.

pub mod flux;
pub mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::cli::doctor::facts::flux::{Applier, FluxObject};
use crate::cli::doctor::facts::rights::{Asked, Rule};
use crate::cli::markers::Markers;
use crate::flux::objects::{
    GitRepositorySpec, ImagePolicySpec, ImageRepositorySpec, ImageUpdateAutomationSpec,
};

/// What came of asking for one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Told<T> {
    /// It was not asked for, because time or a limit was over.
    #[default]
    Unasked,
    /// There is no such thing.
    Absent,
    /// Why it could not be told.
    Untold(String),
    /// It.
    Found(T),
}

/// The cluster and what runs in it, asked once.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// The CRD of ReleaseSet.
    pub crd: Told<CustomResourceDefinition>,
    /// Deployments of Tidegate, by its label.
    pub controllers: Told<Vec<Controller>>,
    /// Their leases.
    pub leases: Told<Vec<LeaseSeen>>,
    /// Served versions of each API group of Flux that is there.
    pub flux_groups: Told<BTreeMap<String, Vec<String>>>,
    /// Deployments of Flux, by its label.
    pub flux_controllers: Told<Vec<FluxController>>,
    /// How far this machine's clock is ahead of the API server's.
    pub clock_ahead: Told<SignedDuration>,
    /// Bindings of admission policies that have the guard's parameters.
    pub guards: Told<Vec<GuardBinding>>,
}

/// A Deployment of Tidegate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controller {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Image of its first container.
    pub image: String,
    /// Label `app.kubernetes.io/version`.
    pub version: Option<String>,
    /// Replicas that are wanted.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready: i32,
    /// Its service account.
    pub service_account: String,
    /// `--watch-namespace`.
    pub watch_namespace: Option<String>,
    /// `--watch-label-selector`.
    pub selector: Option<String>,
    /// It stands for election.
    pub elects: bool,
}

/// A lease that was watched for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseSeen {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Who holds it; empty when nobody does.
    pub holder: String,
    /// It changed while it was watched.
    pub is_renewed: bool,
    /// How long it was watched.
    pub watched: Duration,
}

/// A Deployment of Flux.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FluxController {
    /// `metadata.name`, for example `kustomize-controller`.
    pub name: String,
    /// Label `app.kubernetes.io/version`: the version of the whole of Flux.
    pub version: Option<String>,
    /// Replicas that are ready.
    pub ready: i32,
}

/// A binding of one policy of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardBinding {
    /// `metadata.name`.
    pub name: String,
    /// `spec.validationActions`.
    pub actions: Vec<String>,
    /// The policy that it names is there.
    pub has_policy: bool,
}

/// What is asked once for each namespace that holds sets.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Its name.
    pub namespace: String,
    /// The namespace's label `tidegate.dev/guard`; empty when it has none.
    pub guard_label: Told<String>,
    /// Number of references in ConfigMap `tidegate-guard`.
    pub guard_allowed: Told<usize>,
    /// Sets of the namespace that have promoted a release.
    pub promoted_sets: usize,
    /// Answers about rights in this namespace.
    pub rights: BTreeMap<(Asked, Rule), Told<bool>>,
    /// Kustomizations of all namespaces, or of this one where not all may be listed.
    pub kustomizations: Told<Vec<FluxObject<Applier>>>,
    /// HelmReleases of the same.
    pub helm_releases: Told<Vec<FluxObject<Applier>>>,
    /// Both were listed of this namespace only.
    pub is_partial: bool,
    /// ImagePolicies of this namespace.
    pub image_policies: Told<Vec<FluxObject<ImagePolicySpec>>>,
    /// ImageRepositories of this namespace.
    pub image_repositories: Told<Vec<FluxObject<ImageRepositorySpec>>>,
    /// ImageUpdateAutomations of this namespace.
    pub automations: Told<Vec<FluxObject<ImageUpdateAutomationSpec>>>,
    /// GitRepositories of this namespace.
    pub sources: Told<Vec<FluxObject<GitRepositorySpec>>>,
    /// Names of the sets that each controller watches, in the order of [`Installation::controllers`].
    pub watched: Vec<Told<BTreeSet<String>>>,
}

/// What is asked for each set.
#[derive(Clone, Debug, Default)]
pub struct SetFacts {
    /// Target ConfigMaps by name: their labels.
    pub config_maps: BTreeMap<String, Told<BTreeMap<String, String>>>,
    /// What answered at each repository; absent when no registry was to be asked.
    pub registries: Told<Vec<Reached>>,
}

/// What answered at one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// As the spec writes it.
    pub repository: String,
    /// How it was asked, in words, where it may differ from the controller's way.
    pub remark: Option<String>,
    /// The answer.
    pub answer: Answer,
    /// How far this machine's clock is ahead of the registry's, where it told.
    pub clock_ahead: Option<SignedDuration>,
}

/// The answer of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// The tag list came.
    Listed(usize),
    /// An authenticated or open registry knows no such repository or tag.
    Missing,
    /// Why it cannot be told from here, and what to do.
    Unknown(String, String),
    /// Nothing came in time.
    #[default]
    Late,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The cluster.
    pub installation: Installation,
    /// By namespace.
    pub places: BTreeMap<String, Place>,
    /// By namespace and name.
    pub sets: BTreeMap<(String, String), SetFacts>,
    /// Markers of the Git checkout; `None` without `--path`.
    pub markers: Option<Markers>,
}

// === impl Told ===

impl<T> Told<T> {
    /// The thing, when it was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Unasked | Self::Absent | Self::Untold(_) => None,
        }
    }

    /// Why it could not be told; `None` when it was found or is known to be absent.
    pub fn untold(&self) -> Option<&str> {
        match self {
            Self::Unasked => Some(
                "it was not asked: there are too many sets, or it took too long; name one set, or try again",
            ),
            Self::Untold(why) => Some(why),
            Self::Absent | Self::Found(_) => None,
        }
    }

    /// The same answer about the thing seen otherwise.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Told<U> {
        match self {
            Self::Unasked => Told::Unasked,
            Self::Absent => Told::Absent,
            Self::Untold(why) => Told::Untold(why),
            Self::Found(found) => Told::Found(f(found)),
        }
    }
}

// === impl Controller ===

impl Controller {
    /// True when it may watch sets of `namespace`.
    pub fn covers(&self, namespace: &str) -> bool {
        self.watch_namespace.as_deref().is_none_or(|watched| watched == namespace)
    }

    /// As the API server calls its service account.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }
}
