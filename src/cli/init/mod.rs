//! `tidegate init`: finds images that share a tag in what is there, and prints what makes a release of them.
//!
//! ```text
//!   gather (files) ┐
//!   cluster        ┴▶ texts ─▶ node ─▶ inventory (uses, marker) ─▶ group ─▶ propose (candidates, rewire, words) ─▶ print
//!                                                                                └▶ edit (diff)
//! ```
//!
//! Prints and never writes: a change that moves production belongs into a commit that a person reads (ADR 7).

pub mod args;
mod candidates;
mod cluster;
mod edit;
mod gather;
mod group;
mod inventory;
mod marker;
mod node;
mod output;
mod propose;
mod report;
mod rewire;
mod uses;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::references::{BorrowedImage, BorrowedRule};
use crate::cli::error::Result;
use crate::cli::init::args::{InitArgs, InitFormat};
use crate::cli::init::edit::Edit;
use crate::cli::init::gather::{Gathered, Source};
use crate::cli::init::inventory::Object;
use crate::cli::init::report::Report;
use crate::cli::{Context, exit};

/// Prints the sets and what goes with them: exit code 0 when there are some, 3 when nothing shares a tag, 1 when
/// something that may hold a sibling could not be read.
///
/// # Errors
/// When a path cannot be read at all, there is no cluster, or the answer cannot be printed.
pub fn run(args: &InitArgs, context: &Context) -> Result<u8> {
    let gathered = if args.cluster {
        let runtime = crate::cli::check::runtime()?;
        runtime.block_on(cluster::gather(args.namespace.as_deref(), args.all_namespaces, context.program))?
    } else {
        gather::gather(&args.paths)?
    };
    let report = examine(&gathered);
    let printer = &context.printer;
    match args.output {
        InitFormat::Yaml => printer.data(&report.yaml())?,
        InitFormat::Diff => printer.data(&report.diff)?,
        InitFormat::Json => printer.data(&report.json()?)?,
    }
    printer.progress(&report.talk(printer.talk_colors(), args.output == InitFormat::Yaml));
    for unread in &report.unread {
        printer.note(&format!("{} was not read: {}", unread.name, unread.why));
    }
    if let Some(hint) = report.hint(context.program, args.output) {
        printer.hint(&hint);
    }
    Ok(match (report.unread.is_empty(), report.proposals.is_empty()) {
        (false, _) => exit::ERROR,
        (true, true) => exit::BLOCKED,
        (true, false) => exit::OK,
    })
}

/// ImageRepositories and rules of ImagePolicies by name, of texts with their names, as far as they are of `namespace`.
pub(in crate::cli) fn settings(
    texts: impl Iterator<Item = (String, String)>,
    namespace: Option<&str>,
) -> (BTreeMap<String, BorrowedImage>, BTreeMap<String, BorrowedRule>) {
    let sources: Vec<Source> = texts.map(|(name, text)| Source { name, text, is_file: true }).collect();
    let inventory = inventory::read(&sources);
    let here = |object: &Object| {
        namespace.is_none() || object.namespace.is_none() || object.namespace.as_deref() == namespace
    };
    let images = inventory
        .scanned
        .into_iter()
        .filter(|one| here(&one.object))
        .map(|one| (one.object.name, BorrowedImage { repository: one.image, registry: one.registry }));
    let rules = inventory
        .rules
        .into_iter()
        .filter(|one| here(&one.object))
        .map(|one| (one.object.name, BorrowedRule { filter_tags: one.filter_tags, policy: one.policy }));
    (images.collect(), rules.collect())
}

/// Everything that there is to say of what was gathered.
fn examine(gathered: &Gathered) -> Report {
    let inventory = inventory::read(&gathered.sources);
    let grouped = group::find(&inventory);
    let mut names: BTreeSet<(Option<String>, String)> = inventory
        .known
        .iter()
        .map(|known| (known.object.namespace.clone(), known.object.name.clone()))
        .collect();
    let mut report = Report {
        read: inventory.documents,
        unread: gathered.unread.iter().chain(&inventory.unread).cloned().collect(),
        notes: grouped.notes,
        problems: grouped.problems,
        ..Report::default()
    };
    report
        .notes
        .extend(gathered.left_out.iter().map(|one| format!("{} was left out: {}", one.name, one.why)));
    for group in &grouped.groups {
        match propose::propose(&inventory, &gathered.sources, group, &mut names) {
            Ok(proposal) => report.proposals.push(proposal),
            Err(problem) => report.problems.push(problem),
        }
    }
    let edits: Vec<Edit> = report.proposals.iter().flat_map(|proposal| proposal.edits.clone()).collect();
    report.diff = edit::diff(&gathered.sources, &edits);
    report
}

#[cfg(test)]
mod tests;
