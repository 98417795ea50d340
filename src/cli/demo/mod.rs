//! `tidegate demo`: the founding incident, then its prevention, on an embedded registry and cluster; by name, any
//! other scenario.
//!
//! ```text
//!   scenario (a file) ─▶ world (registry, API, node, virtual time) ─▶ story (told twice) ─▶ text
//!                          └▶ invariants (checked at every commit)
//! ```

mod held;
pub mod invariants;
pub mod scenario;
pub mod scenarios;
pub mod story;
pub mod world;

use std::fmt::Write as _;

use jiff::SignedDuration;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::args::{DemoArgs, DemoFormat};
use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use scenario::Scenario;
use story::{Actor, Story};

/// Plays a scenario and prints its timeline, or lists the scenarios.
///
/// # Errors
/// When the embedded world cannot be built, or an invariant of the promise broke while it was played.
pub fn run(args: &DemoArgs, context: &Context) -> Result<u8> {
    if args.list {
        context.printer.data(&list()?)?;
        return Ok(exit::OK);
    }
    let found = scenarios::find(&args.scenario).unwrap_or_else(|| Scenario::parse(""));
    let scenario = found.map_err(|error| CliError::new(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| CliError::new("failed to start the runtime").caused_by(&error))?;
    let story = runtime
        .block_on(story::tell(&scenario))
        .map_err(|error| CliError::new("failed to play the demo").caused_by(&error))?;
    let text = render(&scenario, &story);
    context.printer.data(&match args.output {
        DemoFormat::Text => text,
        DemoFormat::Markdown => format!("```text\n{text}```\n"),
    })?;
    if story.broken.is_empty() {
        return Ok(exit::OK);
    }
    let error = CliError::new("the demo found a broken promise, which is a bug in Tidegate");
    Err(story.broken.iter().fold(error, |error, broken| error.because(broken.clone())))
}

/// Name of every scenario and what it shows.
fn list() -> Result<String> {
    let mut text = String::new();
    let width = scenarios::FILES.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, file) in scenarios::FILES {
        let scenario = Scenario::parse(file).map_err(|error| CliError::new(error.to_string()))?;
        let _ = writeln!(text, "{name:<width$}  {}", scenario.shows);
    }
    Ok(text)
}

/// The whole demo as text.
pub fn render(scenario: &Scenario, story: &Story) -> String {
    let mut text = String::new();
    if scenario.is_told_twice() {
        text.push_str(
            "Three images share one tag. Two systems see the same pushes:\n\
             \x20 naive     follows app's tag and rolls it to all three (scans every minute)\n\
             \x20 tidegate  promotes a tag only when every image is there and worker's smoke test passed\n",
        );
    } else {
        let _ = writeln!(text, "Scenario {}: {}.", scenario.name, scenario.shows);
    }
    text.push_str(
        "Simulated: the registry's storage, the Kubernetes API, the node and the clock.\n\
         Real: the registry client over HTTP, the controller, the engine.\n\n",
    );
    let _ = writeln!(text, "   TIME  WHO       WHAT");
    for entry in &story.entries {
        let who = match entry.actor {
            Actor::Ci => "ci",
            Actor::Outside => "outside",
            Actor::Naive => "naive",
            Actor::Tidegate => "tidegate",
        };
        let _ = writeln!(text, "{:>7}  {who:<8}  {}", clock(entry.at), entry.text);
    }
    text.push('\n');
    text.push_str(&matrix(&story.promoted));
    text.push('\n');
    if scenario.is_told_twice() {
        let _ = writeln!(text, "Half-rolled production:  naive {}, tidegate 0:00", clock(story.half_rolled));
    }
    for (tag, saved) in savings(scenario, story) {
        let _ = writeln!(
            text,
            "Time saved by building all images of {tag} in parallel instead of app last:  {}",
            clock(saved)
        );
    }
    let verdict = if story.broken.is_empty() { "none broken" } else { "BROKEN, see below" };
    let _ = writeln!(text, "Invariants S1 to S7, checked at every write:  {verdict}");
    text
}

/// How much sooner each release was out than with app built last. Only of releases whose builds all went well
/// at once: a build that was run again by hand says nothing about the chain.
fn savings(scenario: &Scenario, story: &Story) -> Vec<(String, SignedDuration)> {
    let last = story.committed.iter().next_back();
    last.into_iter().filter_map(|(tag, at)| Some((tag.clone(), scenario.saved(tag, *at)?))).collect()
}

fn matrix(promoted: &Value) -> String {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let tag = promoted["tag"].as_str().unwrap_or("nothing");
    let mut lines = format!("Promoted at the end: {tag}\n");
    for image in promoted["images"].as_array().into_iter().flatten() {
        for platform in image["platforms"].as_array().into_iter().flatten() {
            let digest = text(platform, "digest");
            let short = digest.get(..19).unwrap_or(&digest);
            let _ = writeln!(
                lines,
                "  {:<11} {:<12} present  {short}",
                text(image, "name"),
                text(platform, "platform")
            );
        }
    }
    lines
}

/// Minutes and seconds.
fn clock(span: SignedDuration) -> String {
    format!("{}:{:02}", span.as_mins(), span.as_secs() % 60)
}
