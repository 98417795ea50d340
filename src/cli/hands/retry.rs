//! `tidegate retry`: has the failed tests of a smoke gate run again.
//!
//! A failed candidate is Failed for good until its digest or the gate changes. A person may know better (the node was
//! bad): the command raises a counter in an annotation, and verdicts of a lower count do not hold any more.

use serde_json::json;

use crate::api::v1alpha1::{Gate, ReleaseSetStatus};
use crate::api::validate;
use crate::cli::Context;
use crate::cli::cluster::Found;
use crate::cli::error::{CliError, Result};
use crate::cli::hands::args::RetryArgs;
use crate::cli::hands::event::Deed;
use crate::cli::hands::{Change, Place};
use crate::cli::render::one_line;
use crate::controller::jobs::{RETRY_ANNOTATION_PREFIX, retries};
use crate::engine::policy::GateKind;

/// Runs the failed tests of a gate again.
///
/// # Errors
/// When there is no such set or gate, nobody agreed, or the API server refuses.
pub fn retry(args: &RetryArgs, context: &Context) -> Result<u8> {
    let names = std::slice::from_ref(&args.name);
    super::run(names, &args.hand, context, |found, place| retrial(found, &args.gate, place))
}

/// What a retry of `gate` changes.
///
/// # Errors
/// When the set has no smoke gate of that name.
pub(super) fn retrial(found: &Found, gate: &str, place: &Place<'_>) -> Result<Change> {
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
    let mut text = String::new();
    if let Some(from) = annotations.get(&key) {
        text.push_str(&format!("- {key}: \"{}\"\n", one_line(from)));
    }
    text.push_str(&format!("+ {key}: \"{to}\"\n"));
    let failed = failed(&found.status, gate);
    for failed in &failed {
        text.push_str(&format!("runs again: {failed}\n"));
    }
    if failed.is_empty() {
        text.push_str(&format!(
            "no followed candidate failed at {gate}: tests that failed before run again when their digests come back\n"
        ));
    }
    let patch = json!({"metadata": {"annotations": {key: to.to_string()}}});
    let deed = Deed { reason: "Retried", what: format!("has the failed tests of gate {gate} run again") };
    let next = format!("{} follows the test", place.following());
    Ok(Change::new(found, text, Some(patch), deed, next))
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
