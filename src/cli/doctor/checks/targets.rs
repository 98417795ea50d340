//! How far targets are, and what they can promise.

use crate::api::v1alpha1::TargetStatus;
use crate::cli::doctor::checks::Subject;
use crate::cli::doctor::finding::{Finding, Severity};
use crate::model::target::TargetState;

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        subject.found.status.targets.iter().filter_map(|target| broken(subject, target)).collect();
    for target in &subject.found.spec.targets {
        let Some(policy) = &target.image_policy else { continue };
        findings.push(
            Finding::new(Severity::Warn, format!("target {} names a tag", target.name))
                .because(format!(
                    "ImagePolicy/{} cannot pin digests: whoever may push can move the tag after the commit, which is \
                     found within {} and told as TagMoved",
                    policy.name, subject.found.spec.drift_interval
                ))
                .next("none, if nobody re-pushes tags; a configMap target pins digests"),
        );
    }
    if findings.is_empty() {
        let count = subject.found.spec.targets.len();
        findings.push(Finding::new(
            Severity::Ok,
            match count {
                0 => "there are no targets: a release is only recorded in status".to_owned(),
                1 => "1 target, nothing wrong".to_owned(),
                _ => format!("{count} targets, nothing wrong"),
            },
        ));
    }
    findings
}

fn broken(subject: &Subject<'_>, target: &TargetStatus) -> Option<Finding> {
    let is = |state: TargetState| target.state == state.word();
    let next = if is(TargetState::Taken) {
        "name another object in the target, or hand this one over as the message says".to_owned()
    } else if is(TargetState::Ahead) {
        format!(
            "status was lost or restored, and the object carries a later release: push a newer one; {} tells more",
            subject.command("explain", "")
        )
    } else if is(TargetState::Failed) {
        "do what the message says; it is tried again at the next look".to_owned()
    } else {
        return None;
    };
    let what = format!("target {} is {}", target.name, target.state);
    let finding = Finding::new(Severity::Fail, what).next(next);
    Some(match &target.message {
        Some(message) => finding.because(message),
        None => finding,
    })
}
