//! The way of an imagePolicy target through Flux: scanned, taken to Git, applied; and who stands in it.

use kube::core::{Selector, SelectorExt as _};

use crate::api::v1alpha1::{RolledOutByKind, TargetImagePolicy};
use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::facts::flux::FluxObject;
use crate::cli::doctor::finding::{Finding, Severity};
use crate::flux::objects::ImageUpdateAutomationSpec;

/// The branch that image-automation takes for the one checked out when nothing names one.
const DEFAULT_BRANCH: &str = "master";

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let targets: Vec<&TargetImagePolicy> =
        subject.found.spec.targets.iter().filter_map(|target| target.image_policy.as_ref()).collect();
    if targets.is_empty() {
        return or_ok(Vec::new(), "no imagePolicy target: nothing of Flux stands in the way");
    }
    let mut findings = Vec::new();
    for target in targets {
        findings.extend(repository(subject, &target.image_repository_ref.name));
        findings.extend(automations(subject, target));
        findings.extend(appliers(subject, target));
    }
    or_ok(findings, "every object of Flux in the way of this set is there, and none is suspended")
}

fn resume(kind: &str, name: &str, namespace: &str) -> String {
    format!("when it may go on: `flux resume {kind} {name} -n {namespace}`")
}

fn repository(subject: &Subject<'_>, name: &str) -> Option<Finding> {
    let Told::Found(all) = &subject.place.image_repositories else {
        let why = subject.place.image_repositories.untold().unwrap_or("there is none");
        return Some(Finding::untold(&format!("whether ImageRepository {name} is scanned"), why));
    };
    match all.iter().find(|repository| repository.name == name) {
        None => Some(
            Finding::new(Severity::Fail, format!("ImageRepository {name} does not exist"))
                .because(
                    "our ImagePolicy selects among the tags that it scanned: without it nothing is selected",
                )
                .next("create it, or correct imageRepositoryRef of the target"),
        ),
        Some(repository) if repository.spec.suspend => Some(
            Finding::new(Severity::Warn, format!("ImageRepository {name} is suspended"))
                .because("Flux does not see a newly promoted tag")
                .next(resume("image repository", name, subject.namespace())),
        ),
        Some(_) => None,
    }
}

fn automations(subject: &Subject<'_>, target: &TargetImagePolicy) -> Vec<Finding> {
    let Told::Found(all) = &subject.place.automations else {
        let why = subject.place.automations.untold().unwrap_or("there is none");
        return vec![Finding::untold("whether an ImageUpdateAutomation takes the release to Git", why)];
    };
    let named = target.image_update_automation_ref.as_ref().map(|reference| reference.name.as_str());
    let considered: Vec<_> = all.iter().filter(|of| named.is_none_or(|name| of.name == name)).collect();
    if considered.is_empty() {
        let what = match named {
            Some(name) => format!("ImageUpdateAutomation {name} does not exist"),
            None => "the namespace has no ImageUpdateAutomation".to_owned(),
        };
        return vec![
            Finding::new(Severity::Fail, what)
                .because("nothing takes a promoted release to Git")
                .next("create one in the namespace of the set: it takes policies of its own namespace only"),
        ];
    }
    let mut findings = Vec::new();
    let selecting: Vec<_> = considered.iter().filter(|of| selects(subject, &of.spec, &target.name)).collect();
    if selecting.is_empty() {
        let names: Vec<&str> = considered.iter().map(|of| of.name.as_str()).collect();
        findings.push(
            Finding::new(
                Severity::Fail,
                format!("policySelector of {} leaves ImagePolicy {} out", names.join(", "), target.name),
            )
            .because("its markers are not updated; our ImagePolicy carries the label tidegate.dev/set")
            .next(format!("widen it, for example by matchLabels tidegate.dev/set: {}", subject.name())),
        );
    }
    for of in selecting {
        if of.spec.suspend {
            findings.push(
                Finding::new(Severity::Warn, format!("ImageUpdateAutomation {} is suspended", of.name))
                    .because("a promoted release is not taken to Git")
                    .next(resume("image update", &of.name, subject.namespace())),
            );
        }
        findings.extend(branch(subject, of));
    }
    findings
}

/// By the labels of our ImagePolicy; before it is made, by those that it will have.
fn selects(subject: &Subject<'_>, automation: &ImageUpdateAutomationSpec, policy: &str) -> bool {
    let Some(selector) = &automation.policy_selector else { return true };
    let made = subject.place.image_policies.found();
    let made = made.and_then(|all| all.iter().find(|of| of.name == policy));
    let ours = [("tidegate.dev/set".to_owned(), subject.name().to_owned())].into_iter().collect();
    let labels = made.map_or(&ours, |policy| &policy.labels);
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

fn branch(subject: &Subject<'_>, automation: &FluxObject<ImageUpdateAutomationSpec>) -> Option<Finding> {
    let spec = &automation.spec;
    let push = spec.git.as_ref()?.push.as_ref()?.branch.clone().filter(|branch| !branch.is_empty())?;
    let own = spec.git.as_ref().and_then(|git| git.checkout.as_ref()).map(|checkout| &checkout.reference);
    let is_here = spec.source_ref.namespace.as_deref().is_none_or(|of| of == subject.namespace());
    let source = subject.place.sources.found().filter(|_| is_here);
    let source = source.and_then(|all| all.iter().find(|source| source.name == spec.source_ref.name));
    let reference = own.or(source.map(|source| &source.spec.reference));
    let Some(reference) = reference else {
        let why = subject
            .place
            .sources
            .untold()
            .unwrap_or("its GitRepository is in another namespace, or not there");
        return Some(Finding::untold(
            &format!("whether branch {push}, to which {} pushes, is to be merged", automation.name),
            why,
        ));
    };
    let checkout = reference.branch.as_deref().unwrap_or(DEFAULT_BRANCH);
    (push != checkout).then(|| {
        Finding::new(
            Severity::Info,
            format!("{} pushes to branch {push}, and checks out {checkout}", automation.name),
        )
        .because("each release is AwaitingMerge until somebody merges it")
        .next("none, if that is wanted")
    })
}

fn appliers(subject: &Subject<'_>, target: &TargetImagePolicy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for named in &target.rolled_out_by {
        let (kind, command, told) = match named.kind {
            RolledOutByKind::Kustomization => {
                ("Kustomization", "kustomization", &subject.place.kustomizations)
            }
            RolledOutByKind::HelmRelease => ("HelmRelease", "helmrelease", &subject.place.helm_releases),
        };
        let Told::Found(all) = told else {
            let what = format!("whether {kind} {} rolls the release out", named.name);
            findings.push(Finding::untold(&what, told.untold().unwrap_or("there is none")));
            continue;
        };
        match all.iter().find(|of| of.name == named.name && of.namespace == subject.namespace()) {
            None => findings.push(
                Finding::new(
                    Severity::Fail,
                    format!("{kind} {} of rolledOutBy does not exist here", named.name),
                )
                .because("the target never becomes RolledOut")
                .next("correct its name: it is looked for in the set's namespace"),
            ),
            Some(of) if of.spec.suspend => findings.push(
                Finding::new(Severity::Warn, format!("{kind} {} is suspended", named.name))
                    .because("a release that is in Git is not rolled out")
                    .next(resume(command, &named.name, subject.namespace())),
            ),
            Some(_) => {}
        }
    }
    findings
}
