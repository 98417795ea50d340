//! Whether a namespace that asks for the guard has it, and whether it refuses anything.

use crate::cli::doctor::checks::PlaceSubject;
use crate::cli::doctor::facts::{GuardBinding, Told};
use crate::cli::doctor::finding::{Finding, Severity};

/// Value of the label by which a namespace asks for the guard.
const ENABLED: &str = "enabled";

pub(super) fn examine(subject: &PlaceSubject<'_>) -> Vec<Finding> {
    let place = subject.place;
    match &place.guard_label {
        Told::Found(label) if label == ENABLED => {}
        Told::Found(label) if label.is_empty() => {
            return vec![Finding::new(Severity::Ok, "the namespace does not ask for the guard")];
        }
        Told::Found(label) => {
            return vec![
                Finding::new(Severity::Warn, format!("tidegate.dev/guard={label} asks for nothing"))
                    .because("the guard is bound to tidegate.dev/guard=enabled alone")
                    .next("write `enabled`, or remove the label"),
            ];
        }
        told => {
            let why = told.untold().unwrap_or("there is no such namespace");
            return vec![Finding::untold("whether the namespace asks for the guard", why)];
        }
    }
    let mut findings = match &subject.installation.guards {
        Told::Found(bindings) if bindings.is_empty() => vec![
            Finding::new(Severity::Fail, "the namespace asks for the guard, and no policy is bound")
                .because("no ValidatingAdmissionPolicyBinding reads tidegate-guard: nothing is refused")
                .next("install the chart with `guard.enabled=true`"),
        ],
        Told::Found(bindings) => bindings.iter().filter_map(of).collect(),
        told => {
            let why = told.untold().unwrap_or("the cluster serves no admission policies");
            vec![Finding::untold("whether the guard's policies are bound", why)]
        }
    };
    findings.extend(list(subject));
    if findings.is_empty() {
        let allowed = place.guard_allowed.found().copied().unwrap_or_default();
        findings
            .push(Finding::new(Severity::Ok, format!("the guard is bound, and allows {allowed} references")));
    }
    findings
}

fn of(binding: &GuardBinding) -> Option<Finding> {
    if !binding.has_policy {
        return Some(
            Finding::new(
                Severity::Fail,
                format!("binding {} names a policy that does not exist", binding.name),
            )
            .because("it refuses nothing")
            .next("upgrade the chart; it holds both"),
        );
    }
    if !binding.actions.iter().any(|action| action == "Deny") {
        let what = format!("binding {} only does {}", binding.name, binding.actions.join(", "));
        return Some(
            Finding::new(Severity::Info, what)
                .because("what the guard would refuse is admitted, and told")
                .next("when nothing is told any more, set the guard's actions to Deny in the chart's values"),
        );
    }
    None
}

fn list(subject: &PlaceSubject<'_>) -> Option<Finding> {
    let open = "the guard is open: whatever is applied passes";
    match &subject.place.guard_allowed {
        Told::Found(_) if subject.place.promoted_sets == 0 => Some(
            Finding::new(Severity::Info, "no set that was looked at has promoted a release")
                .because(
                    "the guard compares with promoted releases only, and can refuse nothing of these sets",
                )
                .next("promote a release; until then nothing of them is guarded"),
        ),
        Told::Found(_) => None,
        Told::Absent if subject.place.promoted_sets == 0 => Some(
            Finding::new(Severity::Warn, open)
                .because(
                    "no set of the namespace has promoted a release, so there is no ConfigMap tidegate-guard",
                )
                .next("promote a release; the controller writes the list before its targets"),
        ),
        Told::Absent => Some(
            Finding::new(Severity::Fail, open)
                .because("a release is promoted, and there is no ConfigMap tidegate-guard")
                .next("see conditions of the sets, and whether the controller may write ConfigMaps here"),
        ),
        told => Some(Finding::untold("what the guard allows", told.untold().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::facts::{Installation, Place};

    fn found(
        label: &str,
        bindings: Vec<GuardBinding>,
        allowed: Told<usize>,
        promoted: usize,
    ) -> Vec<Severity> {
        let place = Place {
            guard_label: Told::Found(label.to_owned()),
            guard_allowed: allowed,
            promoted_sets: promoted,
            ..Place::default()
        };
        let installation = Installation { guards: Told::Found(bindings), ..Installation::default() };
        let told = examine(&PlaceSubject { place: &place, installation: &installation });
        told.iter().map(|finding| finding.severity).collect()
    }

    fn binding(action: &str, has_policy: bool) -> Vec<GuardBinding> {
        vec![GuardBinding { name: "b".to_owned(), actions: vec![action.to_owned()], has_policy }]
    }

    #[test]
    fn a_guard_that_guards_nothing_is_told() {
        use Severity::{Fail, Info, Ok, Warn};
        for (label, bindings, allowed, promoted, expected) in [
            ("", vec![], Told::Absent, 1, vec![Ok]),
            ("on", vec![], Told::Absent, 1, vec![Warn]),
            ("enabled", binding("Deny", true), Told::Found(4), 1, vec![Ok]),
            ("enabled", binding("Warn", true), Told::Found(4), 1, vec![Info]),
            ("enabled", binding("Deny", false), Told::Found(4), 1, vec![Fail]),
            ("enabled", vec![], Told::Found(4), 1, vec![Fail]),
            ("enabled", binding("Deny", true), Told::Absent, 0, vec![Warn]),
            ("enabled", binding("Deny", true), Told::Absent, 1, vec![Fail]),
            ("enabled", binding("Deny", true), Told::Found(0), 0, vec![Info]),
            ("enabled", binding("Deny", true), Told::Untold("403".to_owned()), 1, vec![Severity::Unknown]),
        ] {
            assert_eq!(found(label, bindings, allowed.clone(), promoted), expected, "{label} {allowed:?}");
        }
    }
}
