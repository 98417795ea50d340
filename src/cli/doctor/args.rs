//! What `tidegate doctor` accepts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Name of the ReleaseSet; absent means all of the namespace
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Namespace of the ReleaseSets; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The ReleaseSets of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    pub all_namespaces: bool,
    /// Folder of the Git checkout that Flux applies: its `$imagepolicy` markers are read too
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Namespace in which Tidegate runs; absent means that it is looked for
    #[arg(long, value_name = "NAMESPACE")]
    pub controller_namespace: Option<String>,
    /// Ask no registry from here
    #[arg(long)]
    pub no_registry: bool,
    /// How to print what was found
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: DoctorFormat,
}

/// Formats of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people
    Table,
    /// For programs: a stable contract
    Json,
}
