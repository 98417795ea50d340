//! The commands by which a person steers a set (design §4 Hands): each shows what it will change, asks, changes exactly
//! that under a field manager of its own, and keeps who did it and why as an Event.
//!
//! ```text
//!   cluster::Found ─▶ suspend, pin, skip, retry ─▶ Change (words, merge patch) ─▶ carry_out ─▶ event
//!                       └ words: promoted, floor, who else sets the field (managed)
//! ```
//!
//! Must never write a field that was not shown, nor status.

pub mod args;
pub mod event;
pub mod pin;
pub mod retry;
pub mod skip;
pub mod suspend;
mod words;

use std::io::{BufRead as _, IsTerminal as _};

use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cli::cluster::{Cluster, FIELD_MANAGER, Found};
use crate::cli::error::{CliError, Result};
use crate::cli::hands::args::HandArgs;
use crate::cli::hands::event::Deed;
use crate::cli::managed::{self, Field};
use crate::cli::{Context, exit};
use crate::telemetry::kube_call::{CallError, call};

/// Most writes of one change: the controller writes a status at most twice in a row (commit, report), and two people may
/// have a hand in it at once.
const WRITES_MAX: usize = 5;

/// One change of one set: what is shown and what is written.
#[derive(Clone, Debug)]
pub struct Change {
    /// Name of the set.
    pub name: String,
    /// `metadata.resourceVersion` of the read that the change comes from.
    pub resource_version: Option<String>,
    /// What is shown below the set's name: lines that end with a newline.
    pub text: String,
    /// The merge patch, without the precondition; `None` when everything is so already.
    pub patch: Option<Value>,
    /// What was done, for the Event.
    pub deed: Deed,
    /// The next command, as a sentence without a final period.
    pub next: String,
}

/// Reads the sets of `names`, has `change` say what becomes of each, and carries it out.
fn run(
    names: &[String],
    args: &HandArgs,
    context: &Context,
    change: impl Fn(&Found, &Place<'_>) -> Result<Change>,
) -> Result<u8> {
    let runtime = crate::cli::check::runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::connect(args.namespace.as_deref(), context.program).await?;
        let mut changes: Vec<Change> = Vec::new();
        for name in names {
            if !changes.iter().any(|known| known.name == *name) {
                let found = cluster.get(name).await?;
                let place = Place { namespace: cluster.namespace(), name, program: context.program };
                changes.push(change(&found, &place)?);
            }
        }
        let writer = Writer { cluster: &cluster, change, program: context.program, dry_run: args.dry_run };
        carry_out(&writer, &changes, args, context).await
    })
}

/// Shows all changes, asks once, and makes them one after the other.
async fn carry_out<F>(
    writer: &Writer<'_, F>,
    changes: &[Change],
    args: &HandArgs,
    context: &Context,
) -> Result<u8>
where
    F: Fn(&Found, &Place<'_>) -> Result<Change>,
{
    let cluster = writer.cluster;
    let shown: Vec<String> = changes
        .iter()
        .map(|change| format!("ReleaseSet {}/{}\n{}", cluster.namespace(), change.name, change.text))
        .collect();
    context.printer.data(&shown.join("\n"))?;
    if changes.iter().all(|change| change.patch.is_none()) {
        context.printer.note("nothing to change");
        return Ok(exit::OK);
    }
    if !args.dry_run {
        agreed(args.yes)?;
    }
    let mut code = exit::OK;
    let mut done: Vec<(&Change, DynamicObject)> = Vec::new();
    for change in changes {
        let Some(patch) = &change.patch else { continue };
        match writer.write(change, patch).await {
            Ok(set) => done.push((change, set)),
            // Every other set is told about too; a single error is the answer.
            Err(error) if changes.len() == 1 => return Err(error),
            Err(error) => {
                context.printer.error(&error);
                code = exit::ERROR;
            }
        }
    }
    if args.dry_run {
        for (change, _) in &done {
            context.printer.note(&format!(
                "dry run: the API server would take the change of {}; nothing was changed",
                change.name
            ));
        }
        return Ok(code);
    }
    keep_events(cluster, &done, args.reason.as_deref(), context).await;
    if changes.len() > 1 {
        for (change, _) in &done {
            context.printer.note(&format!("{}: {}", change.name, change.deed.what));
        }
    }
    if !done.is_empty() {
        let next: Vec<&str> = done.iter().map(|(change, _)| change.next.as_str()).collect();
        // Below each other, past the word `hint:`.
        context.printer.hint(&next.join("\n      "));
    }
    Ok(code)
}

/// Makes changes that were agreed to.
struct Writer<'a, F> {
    cluster: &'a Cluster,
    /// What becomes of a set, as it is read.
    change: F,
    program: &'static str,
    dry_run: bool,
}

// === impl Writer ===

impl<F: Fn(&Found, &Place<'_>) -> Result<Change>> Writer<'_, F> {
    /// One merge patch with the precondition that nobody wrote since the set was read. The controller writes status at
    /// any time: what it wrote is read, and the change is made all the same when it is the very one that was shown.
    async fn write(&self, shown: &Change, patch: &Value) -> Result<DynamicObject> {
        let (mut version, mut patch) = (shown.resource_version.clone(), patch.clone());
        for _ in 0..WRITES_MAX {
            match self.try_write(&shown.name, version, &patch).await? {
                Some(set) => return Ok(set),
                None => {
                    let place = Place {
                        namespace: self.cluster.namespace(),
                        name: &shown.name,
                        program: self.program,
                    };
                    let again = (self.change)(&self.cluster.get(&shown.name).await?, &place)?;
                    version = again.resource_version;
                    match again.patch.filter(|_| again.text == shown.text) {
                        Some(same) => patch = same,
                        None => break,
                    }
                }
            }
        }
        let place = format!("{}/{}", self.cluster.namespace(), shown.name);
        Err(CliError::new(format!("ReleaseSet {place} changed since it was read; nothing was changed"))
            .hint("run this again"))
    }

    /// The set as it was stored; `None` when somebody wrote since `version`.
    async fn try_write(
        &self,
        name: &str,
        version: Option<String>,
        patch: &Value,
    ) -> Result<Option<DynamicObject>> {
        let place = format!("{}/{name}", self.cluster.namespace());
        let mut patch = patch.clone();
        patch["metadata"]["resourceVersion"] = json!(version);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            dry_run: self.dry_run,
            ..PatchParams::default()
        };
        match call(self.cluster.sets().patch(name, &params, &Patch::Merge(patch))).await {
            Ok(set) => Ok(Some(set)),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error @ CallError::TimedOut) => {
                let failed = self.cluster.refused(&format!("change ReleaseSet {place}"), &error);
                Err(failed
                    .because("whether it was changed is not known")
                    .hint("run this again: it shows what is there now"))
            }
            Err(error) => Err(self.cluster.refused(&format!("change ReleaseSet {place}"), &error)),
        }
    }
}

async fn keep_events(
    cluster: &Cluster,
    done: &[(&Change, DynamicObject)],
    reason: Option<&str>,
    context: &Context,
) {
    if done.is_empty() {
        return;
    }
    let user = event::user(cluster).await;
    for (change, set) in done {
        if let Err(error) = event::write(cluster, set, &change.deed, user.as_deref(), reason).await {
            let why = cluster.refused("keep it as an Event", &error);
            context.printer.note(&format!("{} was changed, but: {why}", change.name));
        }
    }
}

/// Whether the person wants it: said by `--yes`, else asked for on the terminal.
fn agreed(yes: bool) -> Result<()> {
    let nothing = || CliError::new("nothing was changed");
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(nothing()
            .because("standard input is no terminal, so that nobody can be asked")
            .hint("add `--yes` to change what is shown above"));
    }
    crate::cli::printer::ask("Change it? [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|error| nothing().caused_by(&error))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(nothing()) }
}

/// Where a set is and what this program is called, for commands in words.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Namespace of the set.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How this program was called.
    pub program: &'static str,
}

// === impl Place ===

impl Place<'_> {
    /// The command that shows what becomes of a change.
    pub fn following(&self) -> String {
        format!("`{} explain {} -n {} --watch`", self.program, self.name, self.namespace)
    }

    /// `` `tidegate VERB NAME REST -n NAMESPACE` ``.
    pub fn command(&self, verb: &str, rest: &str) -> String {
        let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
        format!("`{} {verb} {}{rest} -n {}`", self.program, self.name, self.namespace)
    }
}

// === impl Change ===

impl Change {
    /// Nothing is to be changed, for the reason in `text`.
    fn nothing(found: &Found, text: String) -> Self {
        let deed = Deed { reason: "", what: String::new() };
        Self::new(found, text, None, deed, String::new())
    }

    fn new(found: &Found, text: String, patch: Option<Value>, deed: Deed, next: String) -> Self {
        let metadata = &found.object.metadata;
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone(),
            text,
            patch,
            deed,
            next,
        }
    }

    /// The field has the wanted value, set by a manager whose fields Flux drops: it is taken over.
    fn taking_over(found: &Found, field: Field) -> Option<(String, Value)> {
        let metadata = &found.object.metadata;
        let fields = managed::taken_over(metadata, field)?;
        let dropped = managed::keepers(metadata, field, None).into_iter().find_map(|keeper| match keeper {
            managed::Keeper::Dropped(manager) => Some(manager),
            _ => None,
        });
        let name = field.name();
        let text = format!(
            "- {name} set by {}, whose fields Flux drops at its next sync\n+ {name} set by {FIELD_MANAGER}\n",
            dropped.unwrap_or_default()
        );
        Some((text, json!({"metadata": {"managedFields": fields}})))
    }
}

#[cfg(test)]
mod tests;
