//! What `tidegate audit` accepts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::args::{PlainFormat, timeout};
use crate::model::ImageName;

/// Most releases that are looked at. A set of 3 images × 2 platforms costs 15 requests for each: 100 of them are 1,500, at
/// 20 a second and host little more than a minute.
pub const LAST_MAX: u16 = 100;

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The ReleaseSet, YAML or JSON; `-` reads standard input. More files may follow, with the ImageRepositories and the
    /// ImagePolicy that it names
    #[arg(short, long, value_name = "FILE", required_unless_present = "name", conflicts_with = "name")]
    pub file: Vec<PathBuf>,
    /// Name of a ReleaseSet in the cluster that kubectl uses, instead of a file
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Namespace of that ReleaseSet; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE", requires = "name")]
    pub namespace: Option<String>,
    /// How many of the newest releases to look at
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=i64::from(LAST_MAX)))]
    pub last: u16,
    /// The image whose tag alone would have been followed; absent means the first of the set
    #[arg(long, value_name = "IMAGE")]
    pub watched: Option<ImageName>,
    /// How long to look; what was not answered by then is unknown
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = timeout)]
    pub timeout: Duration,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: PlainFormat,
}
