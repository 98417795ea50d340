//! Whether a controller of Tidegate runs, and of which version.

use crate::cli::doctor::checks::Whole;
use crate::cli::doctor::facts::{Controller, Told};
use crate::cli::doctor::finding::{Finding, Severity};

/// This program's version.
const OURS: &str = env!("CARGO_PKG_VERSION");

pub(super) fn examine(whole: &Whole<'_>) -> Vec<Finding> {
    match &whole.installation.controllers {
        Told::Found(controllers) if !controllers.is_empty() => controllers.iter().flat_map(of).collect(),
        Told::Found(_) | Told::Absent => vec![
            Finding::new(Severity::Warn, "no Deployment of Tidegate was found")
                .because("none carries the label app.kubernetes.io/name=tidegate")
                .next("install the chart; where it runs by other means, the check `conditions` tells whether it does"),
        ],
        told => {
            let finding = Finding::untold("whether a controller runs", told.untold().unwrap_or_default());
            vec![finding.next("name its namespace with `--controller-namespace`, or ask for a role that may list Deployments")]
        }
    }
}

fn of(controller: &Controller) -> Vec<Finding> {
    let name = format!("Deployment {}/{}", controller.namespace, controller.name);
    let mut findings = Vec::new();
    if controller.ready == 0 {
        let (severity, why) = if controller.replicas == 0 {
            (Severity::Fail, "it is scaled to 0 replicas".to_owned())
        } else {
            (Severity::Fail, format!("0 of {} replicas are ready", controller.replicas))
        };
        findings.push(
            Finding::new(severity, format!("{name} does not run"))
                .because(format!("{why}: nothing moves"))
                .next(format!(
                    "see `kubectl -n {} describe deployment {}`",
                    controller.namespace, controller.name
                )),
        );
    }
    match version(controller) {
        Some(version) if version != OURS => findings.push(
            Finding::new(Severity::Warn, format!("{name} is version {version}, this program is {OURS}"))
                .because("fields that only one of them knows are not shown, or not done")
                .next("use the same version of both"),
        ),
        Some(_) => {}
        None => findings.push(Finding::untold(
            &format!("the version of {name}"),
            &format!(
                "its image {} has no tag that is a version, and it has no version label",
                controller.image
            ),
        )),
    }
    if findings.is_empty() {
        let ready = format!("{} of {} replicas ready", controller.ready, controller.replicas);
        findings.push(Finding::new(Severity::Ok, format!("{name} runs {OURS}, {ready}")));
    }
    findings
}

/// The tag of its image, else the label: an image may be overridden where the label is the chart's.
fn version(controller: &Controller) -> Option<String> {
    let reference = controller.image.split('@').next().unwrap_or_default();
    let tag = reference.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    let is_version =
        |text: &&str| text.trim_start_matches('v').starts_with(|first: char| first.is_ascii_digit());
    let told = tag.filter(is_version).or(controller.version.as_deref().filter(is_version))?;
    Some(told.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::facts::Installation;

    fn found(controllers: Told<Vec<Controller>>) -> Vec<Finding> {
        let installation = Installation { controllers, ..Installation::default() };
        examine(&Whole { installation: &installation, sets: &[], program: "tidegate" })
    }

    fn controller() -> Controller {
        let image = format!("ghcr.io/x/tidegate:{OURS}");
        Controller { image, replicas: 2, ready: 2, ..Controller::default() }
    }

    #[test]
    fn a_controller_that_runs_this_version_is_well() {
        assert_eq!(found(Told::Found(vec![controller()]))[0].severity, Severity::Ok);
        for (controller, severity) in [
            (Controller { ready: 0, ..controller() }, Severity::Fail),
            (Controller { ready: 0, replicas: 0, ..controller() }, Severity::Fail),
            (
                Controller { image: "localhost:5000/tidegate:0.0.1@sha256:1".to_owned(), ..controller() },
                Severity::Warn,
            ),
            (
                Controller { image: "localhost:5000/tidegate:main".to_owned(), ..controller() },
                Severity::Unknown,
            ),
        ] {
            let told = found(Told::Found(vec![controller]));
            assert_eq!(told[0].severity, severity, "{told:?}");
        }
    }

    #[test]
    fn none_and_not_told_are_two_things() {
        assert_eq!(found(Told::Found(Vec::new()))[0].severity, Severity::Warn);
        assert_eq!(found(Told::Untold("403".to_owned()))[0].severity, Severity::Unknown);
    }
}
