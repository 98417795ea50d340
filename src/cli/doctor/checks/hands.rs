//! Who set `suspend`, `pin` and `skip`, and whether Flux undoes it (failure sequence 11).

use crate::cli::doctor::checks::Subject;
use crate::cli::doctor::finding::{Finding, Severity};
use crate::cli::managed::{Field, Keeper, keepers, kustomization};

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for field in [Field::Suspend, Field::Pin, Field::Skip] {
        for keeper in keepers(&subject.found.object.metadata, field, None) {
            findings.extend(of(subject, field, &keeper));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::new(Severity::Ok, "Git holds neither spec.suspend nor spec.pin"));
    }
    findings
}

fn of(subject: &Subject<'_>, field: Field, keeper: &Keeper) -> Option<Finding> {
    let name = field.name();
    match keeper {
        Keeper::Hands => {
            Some(Finding::new(Severity::Ok, format!("{name} was set by tidegate-cli, which Flux leaves alone")))
        }
        Keeper::Other(manager) => Some(
            Finding::new(Severity::Warn, format!("{name} was set by {manager}"))
                .because(format!("when {manager} writes it again, that undoes {}", undone(field)))
                .next(format!("find out what {manager} is; if it applies a file, remove {name} there")),
        ),
        // Dismissals of Git and of hands add up: nothing is undone.
        Keeper::Applied(_) if field == Field::Skip => None,
        Keeper::Applied(manager) => Some(
            Finding::new(Severity::Warn, format!("{manager} sets {name}"))
                .because(format!(
                    "Git holds the field, so that every sync puts its value back and undoes {}",
                    undone(field)
                ))
                .next(format!("remove {name} from the file in Git")),
        ),
        Keeper::Dropped(manager) => Some(match kustomization(&subject.found.object.metadata) {
            Some(kustomization) => {
                Finding::new(Severity::Warn, format!("{name} was set by {manager}"))
                    .because(format!(
                        "Kustomization {kustomization} applies this set, and kustomize-controller drops fields of \
                         {manager} at its next sync"
                    ))
                    .next(format!("{} keeps it under its own name", instead(subject, field)))
            }
            None => Finding::new(
                Severity::Ok,
                format!("{name} was set by {manager}; no Kustomization applies this set"),
            ),
        }),
    }
}

fn undone(field: Field) -> &'static str {
    match field {
        Field::Suspend => "`suspend` and `resume`",
        Field::Pin => "`pin` and `unpin`",
        Field::Skip => "`skip`",
    }
}

/// The command that takes the field over.
fn instead(subject: &Subject<'_>, field: Field) -> String {
    let spec = &subject.found.spec;
    match field {
        Field::Suspend if spec.suspend == Some(true) => subject.command("suspend", ""),
        Field::Suspend => subject.command("resume", ""),
        Field::Pin => subject.command("pin", spec.pin.as_deref().unwrap_or("TAG")),
        Field::Skip => subject.command("skip", &spec.skip.join(" ")),
    }
}
