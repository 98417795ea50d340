//! Whether registries answer, seen from this machine: the controller's pod may sit behind another network.

use crate::cli::doctor::checks::clock::{SKEW_MAX, words};
use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::{Answer, Reached, Told};
use crate::cli::doctor::finding::{Finding, Severity};

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let reached = match &subject.facts.registries {
        Told::Found(reached) => reached,
        Told::Absent => {
            return vec![Finding::new(Severity::Info, "no registry was asked: --no-registry")];
        }
        told => {
            let why = told.untold().unwrap_or_default();
            return vec![Finding::untold("whether registries answer", why)];
        }
    };
    let mut findings: Vec<Finding> = reached.iter().filter_map(of).collect();
    findings.extend(reached.iter().find_map(|of| clock(subject, of)));
    let count = match reached.len() {
        1 => "1 repository answers".to_owned(),
        count => format!("{count} repositories answer"),
    };
    or_ok(findings, &format!("{count}, as this machine sees it (not the controller's pod)"))
}

fn of(reached: &Reached) -> Option<Finding> {
    let repository = &reached.repository;
    let remark = reached.remark.as_ref().map(|remark| format!("{remark}; ")).unwrap_or_default();
    let from_here = "as this machine sees it, not the controller's pod";
    match &reached.answer {
        Answer::Listed(_) => None,
        Answer::Missing => Some(
            Finding::new(Severity::Warn, format!("{repository} knows no such repository or promoted tag"))
                .because(format!("{remark}{from_here}"))
                .next(format!(
                    "see `tidegate registry ping {repository}`; push the image, or correct its name"
                )),
        ),
        Answer::Unknown(why, next) => Some(
            Finding::untold(&format!("what {repository} holds"), &format!("{why} ({remark}{from_here})"))
                .next(next),
        ),
        Answer::Late => Some(Finding::untold(
            &format!("what {repository} holds"),
            &format!("no answer in time ({remark}{from_here})"),
        )),
    }
}

/// Against the API server, whose clock the controller's is taken for; else against this machine's.
fn clock(subject: &Subject<'_>, reached: &Reached) -> Option<Finding> {
    let here = reached.clock_ahead?;
    let (ahead, whose) = match subject.installation.clock_ahead.found() {
        Some(of_api) => (of_api.checked_sub(here)?, "the API server's"),
        None => (here.checked_neg()?, "this machine's"),
    };
    (ahead.abs() > SKEW_MAX).then(|| {
        let what = format!("the clock of {} is {} {whose}", reached.repository, words(ahead));
        Finding::new(Severity::Warn, what)
            .because(
                "a token that the registry gives seems over before it is used, or is used when it is over",
            )
            .next("set the clock by NTP, of the registry or the cluster, whichever is wrong")
    })
}
