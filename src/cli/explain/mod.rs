//! `tidegate explain`: why a ReleaseSet in a cluster stands where it stands, and the one next action.
//!
//! ```text
//!   cluster::Found ─▶ facts (status + spec + now) ─▶ contract::Explanation ─▶ render or JSON
//!                       └ action: the one next action
//! ```
//!
//! Everything is read from status and spec. It asks no registry and never decides anything.

mod action;
pub mod contract;
mod facts;
mod render;

use std::time::Duration;

use crate::cli::args::{ExplainArgs, ExplainFormat};
use crate::cli::cluster::{Cluster, Found};
use crate::cli::error::{CliError, Result};
use crate::cli::printer::Palette;
use crate::cli::screen::Screen;
use crate::cli::{Context, exit};
use crate::telemetry::clock::Clock;

pub use facts::explain;
pub use render::span;

/// Pause between two reads of `--watch`: soon enough for a person, one small read for the API server.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// Prints the explanation, once or at every change.
///
/// # Errors
/// When there is no cluster or no such set, or the API server does not answer.
pub fn run(args: &ExplainArgs, context: &Context) -> Result<u8> {
    let runtime = crate::cli::check::runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::connect(args.namespace.as_deref(), context.program).await?;
        let clock = Clock::system();
        if !args.watch {
            let found = cluster.get(&args.name).await?;
            let palette = context.printer.data_colors();
            context.printer.data(&text(&found, &clock, args, context.program, palette)?)?;
            return Ok(exit::OK);
        }
        tokio::select! {
            ended = watch(&cluster, &clock, args, context) => ended,
            // Ctrl+C ends what would go on for ever.
            _ = tokio::signal::ctrl_c() => Ok(exit::OK),
        }
    })
}

/// On a terminal drawn again in its place, so that ages go on; else printed whenever the set changed.
async fn watch(cluster: &Cluster, clock: &Clock, args: &ExplainArgs, context: &Context) -> Result<u8> {
    let (printer, palette) = (context.printer, context.printer.data_colors());
    let in_place = printer.data_is_terminal() && args.output == ExplainFormat::Table;
    let (mut screen, mut last) = (Screen::default(), None);
    loop {
        let found = cluster.get(&args.name).await?;
        let version = found.object.metadata.resource_version.clone();
        if in_place {
            let text = text(&found, clock, args, context.program, palette)?;
            printer.data(&screen.draw(&text, crate::cli::screen::rows()))?;
        } else if last != version {
            let between = if last.is_some() && args.output == ExplainFormat::Table { "\n" } else { "" };
            let text = text(&found, clock, args, context.program, palette)?;
            printer.data(&format!("{between}{text}"))?;
        }
        last = version;
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

fn text(
    found: &Found,
    clock: &Clock,
    args: &ExplainArgs,
    program: &'static str,
    palette: Palette,
) -> Result<String> {
    let explanation = explain(found, clock.now(), program);
    let json = match args.output {
        ExplainFormat::Table => return Ok(render::table(&explanation, palette)),
        // One line each, so that a reader can tell where one ends.
        ExplainFormat::Json if args.watch => serde_json::to_string(&explanation),
        ExplainFormat::Json => serde_json::to_string_pretty(&explanation),
    };
    json.map(|json| json + "\n").map_err(|error| CliError::new("failed to write JSON").caused_by(&error))
}

#[cfg(test)]
mod tests;
