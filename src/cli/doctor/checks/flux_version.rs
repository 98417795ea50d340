//! Whether Flux is there, in a version that these sets can work with.

use std::collections::BTreeMap;

use crate::cli::cluster::Found;
use crate::cli::doctor::checks::Whole;
use crate::cli::doctor::facts::{FluxController, Told};
use crate::cli::doctor::finding::{Finding, Severity};

/// The oldest Flux that serves `image.toolkit.fluxcd.io/v1` and watches labelled ConfigMaps.
const OLDEST: (u64, u64) = (2, 7);
/// Groups and versions that are read, and what reads them.
const NEEDED: [(&str, &str, &str); 3] = [
    ("image.toolkit.fluxcd.io", "v1", "imagePolicy targets, imageRepositoryRef and policyRef"),
    ("kustomize.toolkit.fluxcd.io", "v1", "rolledOutBy"),
    ("helm.toolkit.fluxcd.io", "v2", "rolledOutBy"),
];

pub(super) fn examine(whole: &Whole<'_>) -> Vec<Finding> {
    let needs = whole.sets.iter().any(needs_images);
    let groups = match &whole.installation.flux_groups {
        Told::Found(groups) => groups,
        told => {
            let why = told.untold().unwrap_or("discovery gave nothing");
            return vec![Finding::untold("which versions of Flux's kinds are served", why)];
        }
    };
    if groups.is_empty() {
        return vec![if needs {
            Finding::new(Severity::Fail, "Flux is not installed, and sets name its objects")
                .because("an imagePolicy target, imageRepositoryRef or policyRef names an object of Flux")
                .next("install Flux 2.7 or later with its image controllers, or use a configMap target")
        } else {
            Finding::new(Severity::Ok, "Flux is not installed, and no set names its objects")
        }];
    }
    let mut findings: Vec<Finding> =
        NEEDED.iter().filter_map(|needed| served(groups, needed, needs)).collect();
    findings.extend(controllers(&whole.installation.flux_controllers));
    findings
}

/// True when a set names objects of `image.toolkit.fluxcd.io`.
fn needs_images(set: &Found) -> bool {
    set.spec.targets.iter().any(|target| target.image_policy.is_some())
        || set.spec.images.iter().any(|image| image.image_repository_ref.is_some())
        || set.spec.candidates.policy_ref.is_some()
}

fn served(
    groups: &BTreeMap<String, Vec<String>>,
    needed: &(&str, &str, &str),
    needs: bool,
) -> Option<Finding> {
    let (group, version, of) = needed;
    let is_image = *group == NEEDED[0].0;
    match groups.get(*group) {
        Some(versions) if versions.iter().any(|served| served == version) => None,
        Some(versions) => {
            let severity = if is_image && needs { Severity::Fail } else { Severity::Warn };
            let what = format!("{group}/{version} is not served, only {}", versions.join(", "));
            let because = if is_image { "Flux is older than 2.7: " } else { "Flux is too old: " };
            Some(
                Finding::new(severity, what)
                    .because(format!("{because}{of} need it"))
                    .next("upgrade Flux to 2.7 or later"),
            )
        }
        None if is_image && needs => Some(
            Finding::new(Severity::Fail, "Flux's image controllers are not installed")
                .because(format!("{of} need {group}/{version}"))
                .next("run `flux install --components-extra=image-reflector-controller,image-automation-controller`"),
        ),
        None => None,
    }
}

fn controllers(told: &Told<Vec<FluxController>>) -> Vec<Finding> {
    let controllers = match told {
        Told::Found(controllers) if !controllers.is_empty() => controllers,
        Told::Found(_) | Told::Absent => {
            let why = "no Deployment carries the label app.kubernetes.io/part-of=flux";
            return vec![Finding::untold("the versions of Flux's controllers", why)];
        }
        told => {
            let why = told.untold().unwrap_or_default();
            return vec![Finding::untold("the versions of Flux's controllers", why)];
        }
    };
    let mut findings = Vec::new();
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for controller in controllers {
        if controller.ready == 0 {
            findings.push(
                Finding::new(Severity::Warn, format!("{} of Flux has no ready replica", controller.name))
                    .because("what it does stands still")
                    .next("see `flux check`"),
            );
        }
        versions.entry(controller.version.as_deref().unwrap_or("")).or_default().push(&controller.name);
    }
    for (version, names) in versions {
        let names = names.join(", ");
        findings.push(match parse(version) {
            None => Finding::untold(
                &format!("the version of {names}"),
                "the label app.kubernetes.io/version is no version",
            ),
            Some(found) if found < OLDEST => {
                Finding::new(Severity::Warn, format!("Flux {version} is older than 2.7: {names}"))
                    .because(
                        "it serves no image.toolkit.fluxcd.io/v1 and does not watch ConfigMaps that change",
                    )
                    .next("upgrade Flux to 2.7 or later")
            }
            Some(_) => Finding::new(Severity::Ok, format!("Flux {version}: {names}")),
        });
    }
    findings
}

fn parse(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::facts::Installation;

    fn found(groups: &[(&str, &[&str])], version: &str, needs: bool) -> Vec<Finding> {
        let target = if needs {
            json!({"name": "flux", "imagePolicy": {"name": "r", "imageRepositoryRef": {"name": "app"}}})
        } else {
            json!({"name": "config", "configMap": {"name": "r"}})
        };
        let set = json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "metadata": {"name": "shop"}, "spec": {
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {"policy": {"alphabetical": {}}}, "targets": [target]}});
        let sets = [Found::new(serde_json::from_value(set).unwrap()).unwrap()];
        let list = |versions: &[&str]| versions.iter().map(ToString::to_string).collect();
        let controller = FluxController {
            name: "kustomize-controller".to_owned(),
            version: Some(version.to_owned()),
            ready: 1,
        };
        let installation = Installation {
            flux_groups: Told::Found(groups.iter().map(|(name, v)| ((*name).to_owned(), list(v))).collect()),
            flux_controllers: Told::Found(vec![controller]),
            ..Installation::default()
        };
        examine(&Whole { installation: &installation, sets: &sets, program: "tidegate" })
    }

    #[test]
    fn an_older_flux_is_told_by_what_it_serves_and_by_its_label() {
        const IMAGE: &str = "image.toolkit.fluxcd.io";
        for (groups, version, needs, expected) in [
            (&[(IMAGE, &["v1", "v1beta2"][..])][..], "v2.7.0", true, &[Severity::Ok][..]),
            (&[(IMAGE, &["v1beta2"][..])][..], "v2.6.4", true, &[Severity::Fail, Severity::Warn][..]),
            (&[(IMAGE, &["v1beta2"][..])][..], "v2.10.0", false, &[Severity::Warn, Severity::Ok][..]),
            (
                &[("kustomize.toolkit.fluxcd.io", &["v1"][..])][..],
                "v2.9.4",
                true,
                &[Severity::Fail, Severity::Ok][..],
            ),
            (&[], "", true, &[Severity::Fail][..]),
            (&[], "", false, &[Severity::Ok][..]),
        ] {
            let told = found(groups, version, needs);
            let severities: Vec<Severity> = told.iter().map(|finding| finding.severity).collect();
            assert_eq!(severities, expected, "{told:?}");
        }
    }

    #[test]
    fn without_a_label_the_version_is_not_guessed() {
        let told = found(&[("image.toolkit.fluxcd.io", &["v1"])], "latest", true);
        assert_eq!(told[0].severity, Severity::Unknown, "{told:?}");
    }
}
