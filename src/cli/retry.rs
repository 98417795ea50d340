//! `tidegate retry`: has the failed tests of a smoke gate run again.
//!
//! A failed candidate is Failed for good until its digest or the gate changes. A person may know better (the node was
//! bad): the command raises a counter in an annotation, and verdicts of a lower count do not hold any more.

use std::io::{BufRead as _, IsTerminal as _};

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::api::v1alpha1::{Gate, ReleaseSetStatus};
use crate::api::validate;
use crate::cli::args::RetryArgs;
use crate::cli::cluster::{Cluster, FIELD_MANAGER, Found};
use crate::cli::error::{CliError, Result};
use crate::cli::render::one_line;
use crate::cli::{Context, exit};
use crate::controller::jobs::{RETRY_ANNOTATION_PREFIX, retries};
use crate::engine::policy::GateKind;
use crate::telemetry::kube_call::{CallError, call};

/// What one retry changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The annotation.
    pub key: String,
    /// Its value now; `None` when it is not there.
    pub from: Option<String>,
    /// Its value afterwards.
    pub to: u32,
    /// Candidates whose test failed, each with the gate's message.
    pub failed: Vec<String>,
}

/// Shows the change, asks unless told not to, and makes it.
///
/// # Errors
/// When there is no such set or gate, nobody agreed, or the API server refuses.
pub fn run(args: &RetryArgs, context: &Context) -> Result<u8> {
    let runtime = crate::cli::check::runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::connect(args.namespace.as_deref(), context.program).await?;
        retry(&cluster, args, context).await
    })
}

async fn retry(cluster: &Cluster, args: &RetryArgs, context: &Context) -> Result<u8> {
    let found = cluster.get(&args.name).await?;
    let change = Change::of(&found, &args.gate)?;
    let place = format!("{}/{}", cluster.namespace(), args.name);
    context.printer.data(&change.text(&place))?;
    if change.failed.is_empty() {
        context.printer.note(&format!(
            "no followed candidate failed at {}: tests that failed before run again when their digests come back",
            args.gate
        ));
    }
    agreed(args.yes)?;
    let metadata = json!({
        "annotations": {change.key.as_str(): change.to.to_string()},
        // Refused with 409 when anybody wrote since it was read.
        "resourceVersion": found.object.metadata.resource_version,
    });
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match call(cluster.sets().patch(&args.name, &params, &patch)).await {
        Ok(_) => {
            context.printer.hint(&format!(
                "`{} explain {} -n {} --watch` follows the test",
                context.program,
                args.name,
                cluster.namespace()
            ));
            Ok(exit::OK)
        }
        Err(error) if error.is_conflict() => {
            Err(CliError::new(format!("ReleaseSet {place} changed since it was read; nothing was changed"))
                .hint("run this again"))
        }
        Err(error @ CallError::TimedOut) => {
            let failed = cluster.refused(&format!("annotate ReleaseSet {place}"), &error);
            Err(failed
                .because("whether it was changed is not known")
                .hint("run this again: it shows what is there now"))
        }
        Err(error) => Err(cluster.refused(&format!("annotate ReleaseSet {place}"), &error)),
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

// === impl Change ===

impl Change {
    /// What a retry of `gate` changes.
    ///
    /// # Errors
    /// When the set has no smoke gate of that name.
    pub fn of(found: &Found, gate: &str) -> Result<Self> {
        let gates = &found.spec.gates;
        let Some(written) = gates.iter().find(|written| written.name == gate) else {
            return Err(unknown_gate(found, gate));
        };
        if written.smoke.is_none() {
            return Err(CliError::new(format!("gate {gate} is no smoke gate"))
                .because("it runs nothing: it is judged anew at every look")
                .hint(names_hint(gates)));
        }
        let key = format!("{RETRY_ANNOTATION_PREFIX}{gate}");
        let annotations = found.object.metadata.annotations.clone().unwrap_or_default();
        let asked = retries(&annotations).into_iter().find(|(name, _)| name.as_str() == gate);
        // A verdict may count more than the annotation, when somebody took the annotation away.
        let counted = asked.map_or(0, |(_, count)| count).max(verdicts_count(found, gate));
        let to = counted
            .checked_add(1)
            .ok_or_else(|| CliError::new(format!("gate {gate} was run again too often")))?;
        Ok(Self { from: annotations.get(&key).cloned(), key, to, failed: failed(&found.status, gate) })
    }

    /// The change as a person reads it, as of the set at `place` (namespace/name).
    pub fn text(&self, place: &str) -> String {
        let mut text = format!("ReleaseSet {place}\n");
        if let Some(from) = &self.from {
            text.push_str(&format!("- {}: \"{}\"\n", self.key, one_line(from)));
        }
        text.push_str(&format!("+ {}: \"{}\"\n", self.key, self.to));
        for failed in &self.failed {
            text.push_str(&format!("runs again: {failed}\n"));
        }
        text
    }
}

fn unknown_gate(found: &Found, gate: &str) -> CliError {
    let name = found.object.metadata.name.as_deref().unwrap_or_default();
    CliError::new(format!("ReleaseSet {name} has no gate {gate}")).hint(names_hint(&found.spec.gates))
}

fn names_hint(gates: &[Gate]) -> String {
    let names: Vec<&str> =
        gates.iter().filter(|gate| gate.smoke.is_some()).map(|gate| gate.name.as_str()).collect();
    match names.as_slice() {
        [] => "it has no smoke gate: there is nothing to run again".to_owned(),
        names => format!("its smoke gates are: {}", names.join(", ")),
    }
}

/// The highest count of the verdicts that speak of this gate as it is now.
fn verdicts_count(found: &Found, gate: &str) -> u32 {
    let Ok(policy) = validate::policy(&found.spec, found.generation()) else { return 0 };
    let hash = policy.gates.iter().find_map(|known| match &known.kind {
        GateKind::Smoke(smoke) if known.name.as_str() == gate => Some(&smoke.hash),
        _ => None,
    });
    let Some(hash) = hash else { return 0 };
    let of_gate = |binding: &str| binding.split(' ').any(|part| part == hash);
    let verdicts = found.status.verdicts.iter().filter(|verdict| of_gate(&verdict.binding));
    verdicts.map(|verdict| verdict.retry).max().unwrap_or_default()
}

fn failed(status: &ReleaseSetStatus, gate: &str) -> Vec<String> {
    let of = |tag: &str, message: Option<&str>| format!("{tag} ({})", one_line(message.unwrap_or("failed")));
    let candidates = status.candidates.iter().filter_map(|candidate| {
        let gate = candidate.gates.iter().find(|known| known.name == gate && known.state == "Failed")?;
        Some(of(&candidate.tag, gate.message.as_deref()))
    });
    candidates.collect()
}
