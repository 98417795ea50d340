//! Whether the controller may do in this namespace what the set asks of it.

use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::rights::{Asked, Rule, of_set};
use crate::cli::doctor::facts::{Controller, Told};
use crate::cli::doctor::finding::{Finding, Severity};

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let controllers: Vec<&Controller> = match &subject.installation.controllers {
        Told::Found(controllers) if !controllers.is_empty() => {
            controllers.iter().filter(|of| of.covers(subject.namespace())).collect()
        }
        told => {
            let why = told
                .untold()
                .unwrap_or("no Deployment of Tidegate was found, so its service account is not known");
            return vec![Finding::untold("what the controller may do here", why)];
        }
    };
    let findings = controllers.into_iter().flat_map(|controller| of(subject, controller)).collect();
    or_ok(findings, "the controller may do all that this set asks of it")
}

fn of(subject: &Subject<'_>, controller: &Controller) -> Vec<Finding> {
    let user = controller.user();
    let asked = Asked::User { name: user.clone(), namespace: controller.namespace.clone() };
    let (mut missing, mut secrets) = (Vec::new(), Vec::new());
    for rule in of_set(&subject.found.spec) {
        match subject.place.rights.get(&(asked.clone(), rule.clone())).unwrap_or(&Told::Unasked) {
            Told::Found(true) => {}
            Told::Found(false) if is_secret(&rule) => secrets.push(rule.name.clone()),
            Told::Found(false) => missing.push(rule.to_string()),
            told => {
                let why = told.untold().unwrap_or("the API server did not say");
                return vec![
                    Finding::untold(&format!("what {user} may do here"), why).next(
                        "run this as somebody who may create subjectaccessreviews.authorization.k8s.io",
                    ),
                ];
            }
        }
    }
    let mut findings = Vec::new();
    if !secrets.is_empty() {
        let what = format!("{user} may not read Secret {}", secrets.join(", "));
        findings.push(
            Finding::new(Severity::Fail, what)
                .because("Secrets are read in namespaces only that opt in by a RoleBinding; registries are asked without them")
                .next(format!("bind the chart's role for Secrets in namespace {}", subject.namespace())),
        );
    }
    if !missing.is_empty() {
        findings.push(
            Finding::new(Severity::Fail, format!("{user} may not {}", missing.join(", ")))
                .because("the set asks for it: its gates, targets or references stand still")
                .next("switch the feature on in the chart's values, or add the rules to its role"),
        );
    }
    findings
}

fn is_secret(rule: &Rule) -> bool {
    rule.group.is_empty() && rule.resource == "secrets"
}
