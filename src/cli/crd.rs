//! `tidegate crd`: prints the custom resource definition.

use crate::api::crd::crd_yaml;
use crate::cli::Context;
use crate::cli::error::{CliError, Result};
use crate::cli::exit;

/// Prints the definition as YAML, the same bytes as the file below `crds/`.
///
/// # Errors
/// When it cannot be written.
pub fn run(context: &Context) -> Result<u8> {
    let yaml =
        crd_yaml().map_err(|error| CliError::new("failed to print the definition").caused_by(&error))?;
    context.printer.data(&yaml)?;
    Ok(exit::OK)
}
