//! What `tidegate init` accepts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Files and folders of YAML, best the root of the repository that Flux follows; `-` reads standard input
    #[arg(value_name = "PATH", default_value = ".", conflicts_with = "cluster")]
    pub paths: Vec<PathBuf>,
    /// Read the cluster that kubectl uses instead of files; markers are in Git alone, so there is no diff
    #[arg(long)]
    pub cluster: bool,
    /// Namespace to read with --cluster; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE", requires = "cluster")]
    pub namespace: Option<String>,
    /// Read all namespaces with --cluster
    #[arg(short = 'A', long, requires = "cluster", conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// What to print on standard output
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub output: InitFormat,
}

/// What `init` prints on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InitFormat {
    /// ReleaseSets to apply; the diff goes to standard error
    Yaml,
    /// The changes of files, for `git apply`
    Diff,
    /// Everything, for programs: a stable contract
    Json,
}
