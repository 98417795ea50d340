//! `tidegate man`: prints the manual page, or writes the pages of all commands into a folder.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::Context;
use crate::cli::args::{Cli, ManArgs};
use crate::cli::error::{CliError, Result};
use crate::cli::exit;

/// Name of the manual that the pages belong to, in their footer.
const MANUAL: &str = "Tidegate";

/// Prints tidegate(1), or writes it and one page for each command, `tidegate-check.1` and the like, into a folder.
///
/// # Errors
/// When a page cannot be written.
pub fn run(args: &ManArgs, context: &Context) -> Result<u8> {
    let mut command = Cli::command();
    command.build();
    match &args.folder {
        None => context.printer.data(&page(command)?)?,
        Some(folder) => write(&command, folder)?,
    }
    Ok(exit::OK)
}

/// Writes the page of `command` and those below it.
fn write(command: &clap::Command, folder: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command.clone())?).map_err(|error| {
        CliError::new(format!("failed to write {}", path.display()))
            .caused_by(&error)
            .hint("name a folder that exists and can be written to")
    })?;
    command.get_subcommands().try_for_each(|command| write(command, folder))
}

fn page(command: clap::Command) -> Result<String> {
    let source = format!("tidegate {}", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    Man::new(command)
        .manual(MANUAL)
        .source(source)
        .render(&mut page)
        .map_err(|error| CliError::new("failed to render the manual page").caused_by(&error))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
