//! The one next action: of everything that is not as it should be, what a person does first.

use crate::cli::explain::contract::{Candidate, Cell, Gate, Image};
use crate::cli::explain::facts::Facts;
use crate::cli::render::one_line;

/// What to do next, as a sentence without a final period.
pub(super) fn next(facts: &Facts<'_>, candidates: &[Candidate]) -> String {
    let (metadata, status) = (&facts.found.object.metadata, &facts.found.status);
    let (name, namespace) =
        (metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref().unwrap_or_default());
    let set = format!("releaseset {name} -n {namespace}");
    if metadata.deletion_timestamp.is_some() {
        return "none: it is being deleted".to_owned();
    }
    if status.observed_generation < 0 {
        return "see whether the controller runs: it has never looked at this set".to_owned();
    }
    if let Some(stalled) = facts.condition("Stalled", "True") {
        return match stalled.reason.as_str() {
            "FloorNotOrdered" => {
                format!(
                    "pin the tag to promote (`{} pin {name} TAG -n {namespace}`), or change spec.candidates",
                    facts.program
                )
            }
            "TargetTaken" => "rename the target, or hand the object of that name over".to_owned(),
            "InvalidSpec" => format!("mend the field named above (`kubectl edit {set}`)"),
            _ => "compare the version of the CRD with the controller's".to_owned(),
        };
    }
    if facts.found.spec.suspend == Some(true) {
        return format!("when it may go on: `{} resume {name} -n {namespace}`", facts.program);
    }
    if !facts.is_up_to_date() {
        return "wait for the controller to look at the spec as it is now; if it stays so, see whether it runs".to_owned();
    }
    if let Some(unreadable) =
        facts.condition("Ready", "False").filter(|ready| ready.reason == "TargetUnreadable")
    {
        return format!("see that the controller may read the targets: {}", one_line(&unreadable.message));
    }
    if facts.order_untold().is_some() {
        return format!(
            "mend the ImagePolicy of spec.candidates.policyRef, or set spec.pin to the tag to promote (`kubectl edit {set}`)"
        );
    }
    if let Some(candidate) = candidates.first() {
        return of_candidate(facts, candidate);
    }
    if let Some(target) = status.targets.iter().find(|target| target.state != "Applied") {
        return format!("see why target {} is {}: its message is above", target.name, target.state);
    }
    if let Some(behind) = facts.behind_spec() {
        return format!(
            "push the next tag so that it passes, mend what is named ({}), or undo the edit of the spec",
            one_line(&behind.message)
        );
    }
    if facts.condition("TagMoved", "True").is_some() {
        return "find out who pushed to the promoted tag; push the next release under a tag of its own"
            .to_owned();
    }
    if facts.condition("PromotedAvailable", "False").is_some() {
        return "push the promoted tag again, or promote another release".to_owned();
    }
    if status.promoted.is_none() {
        return "push a tag to all images, or compare spec.candidates with the tags in the registries"
            .to_owned();
    }
    "none: push the next tag".to_owned()
}

fn of_candidate(facts: &Facts<'_>, candidate: &Candidate) -> String {
    let failed = |gate: &&Gate| !gate.advisory && gate.state == "Failed";
    if let Some(gate) = candidate.gates.iter().find(failed) {
        return failed_gate(facts, candidate, gate);
    }
    let cells =
        || candidate.images.iter().flat_map(|image| image.cells.iter().map(move |cell| (image, cell)));
    let first = |state: &str| cells().find(|(_, cell)| cell.required && cell.state == state);
    if let Some(found) = ["Broken", "Missing", "Unknown"].into_iter().find_map(first) {
        return absent(found);
    }
    if candidate.phase == "Settling" {
        return "none: wait until the tag is still".to_owned();
    }
    match candidate.gates.iter().find(|gate| !gate.advisory && gate.state != "Passed") {
        Some(gate) => waiting(facts, gate),
        None => "none: it is about to be promoted".to_owned(),
    }
}

fn failed_gate(facts: &Facts<'_>, candidate: &Candidate, gate: &Gate) -> String {
    if !facts.is_smoke(&gate.name) {
        return format!("build all images of {} from one commit and push them again", candidate.tag);
    }
    let metadata = &facts.found.object.metadata;
    format!(
        "mend what {} found and push the next tag; if the test itself was at fault, `{} retry {} --gate {} -n {}`",
        gate.name,
        facts.program,
        metadata.name.as_deref().unwrap_or_default(),
        gate.name,
        metadata.namespace.as_deref().unwrap_or_default()
    )
}

fn absent((image, cell): (&Image, &Cell)) -> String {
    let (reference, platform) = (&image.reference, &cell.platform);
    let any_present = image.cells.iter().any(|other| other.state == "Present");
    match cell.state.as_str() {
        "Missing" if any_present => format!("push {reference} again with {platform} in its index"),
        "Missing" => format!("push {reference}; see whether its build failed"),
        "Broken" => format!("build and push {reference} again for {platform}"),
        _ => format!(
            "mend what keeps {reference} from being read: {}",
            cell.reason.as_deref().unwrap_or("unknown")
        ),
    }
}

/// What a test needs that has no verdict.
fn waiting(facts: &Facts<'_>, gate: &Gate) -> String {
    let name = &gate.name;
    match gate.reason.as_deref() {
        Some("Unschedulable") => format!("see that the cluster has a node for the pod of {name}"),
        Some("ImagePull") => format!("see that the node may pull the image of {name} (pull secret, network)"),
        Some("ConfigRefused") => {
            format!("change gate {name} so that its pod is accepted, for example by runAsUser")
        }
        Some("QuotaDenied") => "raise the namespace's quota, or free what uses it up".to_owned(),
        Some("ImageRewritten") => "exempt smoke Jobs from the webhook that rewrites images".to_owned(),
        Some("Unreadable") => "see that the controller may read Jobs and pods in this namespace".to_owned(),
        Some(_) => format!("none: the test of {name} is run again by itself"),
        None if gate.state == "Running" => format!("none: wait for the test of {name} to end"),
        None if facts.is_smoke(name) => format!("none: the test of {name} starts when there is room"),
        None => format!("none: {name} is judged at the next look"),
    }
}
