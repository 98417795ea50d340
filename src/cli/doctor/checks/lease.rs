//! Whether somebody leads: a lease that has a holder and was renewed while it was watched.

use crate::cli::doctor::checks::{Whole, or_ok};
use crate::cli::doctor::facts::{Controller, LeaseSeen, Told};
use crate::cli::doctor::finding::{Finding, Severity};
use crate::controller::leader::election::lease_name;

pub(super) fn examine(whole: &Whole<'_>) -> Vec<Finding> {
    let leases = match &whole.installation.leases {
        Told::Found(leases) => leases,
        told => {
            let why = told.untold().unwrap_or("there is no kind Lease");
            return vec![Finding::untold("whether a controller leads", why)];
        }
    };
    let controllers: Vec<&Controller> =
        whole.installation.controllers.found().into_iter().flatten().collect();
    let mut findings: Vec<Finding> = leases.iter().map(|lease| of(lease, &controllers)).collect();
    for controller in controllers.iter().filter(|of| of.elects && of.replicas > 0) {
        let name = name_of(controller);
        if !leases.iter().any(|lease| lease.namespace == controller.namespace && lease.name == name) {
            let what = format!("no controller leads: there is no Lease {}/{name}", controller.namespace);
            findings.push(
                Finding::new(Severity::Fail, what)
                    .because(format!("Deployment {} stands for election and has never won", controller.name))
                    .next(format!(
                        "see its log: `kubectl -n {} logs deploy/{}`",
                        controller.namespace, controller.name
                    )),
            );
        }
    }
    or_ok(findings, "no lease and no Deployment that stands for election was found")
}

fn name_of(controller: &Controller) -> String {
    lease_name(controller.watch_namespace.as_deref(), controller.selector.as_deref())
}

fn of(lease: &LeaseSeen, controllers: &[&Controller]) -> Finding {
    let name = format!("Lease {}/{}", lease.namespace, lease.name);
    let is_known = controllers
        .iter()
        .any(|controller| controller.namespace == lease.namespace && name_of(controller) == lease.name);
    if lease.holder.is_empty() {
        return Finding::new(Severity::Fail, format!("no controller leads: {name} has no holder"))
            .because("the last leader gave it back, and nobody took it: nothing moves")
            .next("start a controller, or see why it does not start");
    }
    if !lease.is_renewed && !is_known && !controllers.is_empty() {
        return Finding::new(
            Severity::Info,
            format!("{name} is not renewed, and no Deployment belongs to it"),
        )
        .because("it was left behind by a controller that watched something else")
        .next(format!(
            "when it is not needed: `kubectl -n {} delete lease {}`",
            lease.namespace, lease.name
        ));
    }
    if !lease.is_renewed {
        let secs = lease.watched.as_secs();
        return Finding::new(
            Severity::Fail,
            format!("no controller leads: {name} was not renewed within {secs} s"),
        )
        .because(format!("its holder is {}, which renews every 2 s while it lives", lease.holder))
        .next("see whether the holder runs; another replica takes over 16 s after the last renewal");
    }
    if !is_known && !controllers.is_empty() {
        return Finding::new(Severity::Warn, format!("{name} is renewed by {}, of no Deployment that was found", lease.holder))
            .because("a controller runs that was started by other means; two that watch the same set take turns at nothing")
            .next("find it by the name of its holder; stop it, or give each its own `--watch-label-selector`");
    }
    Finding::new(Severity::Ok, format!("{} leads, and renews {name}", lease.holder))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::doctor::facts::Installation;

    fn lease(name: &str, holder: &str, is_renewed: bool) -> LeaseSeen {
        let (namespace, name, holder) = ("tidegate".to_owned(), name.to_owned(), holder.to_owned());
        LeaseSeen { namespace, name, holder, is_renewed, watched: Duration::from_secs(6) }
    }

    fn found(leases: Told<Vec<LeaseSeen>>, controllers: usize) -> Vec<Severity> {
        let controller = Controller {
            namespace: "tidegate".to_owned(),
            elects: true,
            replicas: 2,
            ..Controller::default()
        };
        let controllers = Told::Found(vec![controller; controllers]);
        let installation = Installation { controllers, leases, ..Installation::default() };
        let told = examine(&Whole { installation: &installation, sets: &[], program: "tidegate" });
        told.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn a_leader_renews_its_lease() {
        for (leases, controllers, expected) in [
            (vec![lease("tidegate", "a", true)], 1, vec![Severity::Ok]),
            (vec![lease("tidegate", "a", false)], 1, vec![Severity::Fail]),
            (vec![lease("tidegate", "", false)], 1, vec![Severity::Fail]),
            (vec![], 1, vec![Severity::Fail]),
            (vec![], 0, vec![Severity::Ok]),
            (vec![lease("tidegate", "a", true)], 0, vec![Severity::Ok]),
            (
                vec![lease("tidegate", "a", true), lease("tidegate-1", "b", true)],
                1,
                vec![Severity::Ok, Severity::Warn],
            ),
            (
                vec![lease("tidegate", "a", true), lease("tidegate-1", "b", false)],
                1,
                vec![Severity::Ok, Severity::Info],
            ),
        ] {
            assert_eq!(found(Told::Found(leases.clone()), controllers), expected, "{leases:?}");
        }
        assert_eq!(found(Told::Untold("403".to_owned()), 0), [Severity::Unknown]);
    }
}
