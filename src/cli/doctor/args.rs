//! What `tidegate doctor` accepts.

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
