//! Whether the installed CRD is that of this program.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::cli::doctor::checks::{Whole, or_ok};
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::finding::{Finding, Severity};
use crate::controller::startup::crd_difference;

/// The version that this program reads and writes.
const OURS: &str = "v1alpha1";

pub(super) fn examine(whole: &Whole<'_>) -> Vec<Finding> {
    let apply =
        format!("run `{} crd | kubectl apply --server-side -f -`, or upgrade the chart", whole.program);
    let crd = match &whole.installation.crd {
        Told::Found(crd) => crd,
        Told::Absent => {
            return vec![Finding::new(Severity::Fail, "the CRD of ReleaseSet is not installed").next(apply)];
        }
        told => {
            let why = told.untold().unwrap_or_default();
            return vec![Finding::untold("whether the installed CRD fits this program", why)];
        }
    };
    let mut findings = Vec::new();
    let (lacking, surplus) = crd_difference(crd);
    if !lacking.is_empty() {
        let what = format!("the installed CRD is older than this program: it has no {}", lacking.join(", "));
        findings.push(
            Finding::new(Severity::Fail, what)
                .because(
                    "a controller of this version does not start: the API server would drop what it writes",
                )
                .next(apply),
        );
    } else if !surplus.is_empty() {
        let what =
            format!("the installed CRD is newer than this program: only it has {}", surplus.join(", "));
        findings.push(
            Finding::new(Severity::Warn, what)
                .because("commands of this version do not show those fields")
                .next("use the version of this program that fits the CRD"),
        );
    }
    findings.extend(versions(crd));
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    for condition in conditions.into_iter().flatten() {
        if ["Established", "NamesAccepted"].contains(&condition.type_.as_str()) && condition.status != "True"
        {
            let what = format!("the CRD is not served: {}={}", condition.type_, condition.status);
            findings.push(
                Finding::new(Severity::Fail, what)
                    .because(condition.message.as_deref().unwrap_or("the API server does not say why"))
                    .next("remove the CRD that has the same names, or wait until the API server serves this one"),
            );
        }
    }
    or_ok(
        findings,
        &format!("the installed CRD has every field of this program ({})", env!("CARGO_PKG_VERSION")),
    )
}

fn versions(crd: &CustomResourceDefinition) -> Option<Finding> {
    let stored = crd.status.as_ref().and_then(|status| status.stored_versions.clone()).unwrap_or_default();
    let others: Vec<String> = stored.into_iter().filter(|version| version != OURS).collect();
    if others.is_empty() {
        return None;
    }
    let what = format!("objects may still be stored in version {}", others.join(", "));
    Some(
        Finding::new(Severity::Warn, what).because(format!("this program reads and writes {OURS}")).next(
            "write each ReleaseSet once, then remove the version from status.storedVersions of the CRD",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::facts::Installation;

    fn found(change: impl FnOnce(&mut CustomResourceDefinition)) -> Vec<Finding> {
        let mut crd = crate::api::crd::crd();
        change(&mut crd);
        let installation = Installation { crd: Told::Found(crd), ..Installation::default() };
        examine(&Whole { installation: &installation, sets: &[], program: "tidegate" })
    }

    fn without(crd: &mut CustomResourceDefinition, part: &str, field: &str) {
        let schema = crd.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        let part = schema.properties.as_mut().unwrap().get_mut(part).unwrap();
        let schema = part.properties.as_mut().unwrap().remove(field).unwrap();
        let _ = schema;
    }

    #[test]
    fn an_older_and_a_newer_crd_are_told_by_their_fields() {
        assert_eq!(found(|_| {})[0].severity, Severity::Ok);
        let older = found(|crd| without(crd, "status", "floor"));
        assert_eq!(older[0].severity, Severity::Fail);
        assert!(older[0].what.contains("status.floor"), "{older:?}");
        let older = found(|crd| without(crd, "spec", "pin"));
        assert!(older[0].what.contains("spec.pin"), "{older:?}");
        let newer = found(|crd| {
            let schema = crd.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
            let spec =
                schema.properties.as_mut().unwrap().get_mut("spec").unwrap().properties.as_mut().unwrap();
            let known = spec["pin"].clone();
            spec.insert("novelty".to_owned(), known);
        });
        assert_eq!(newer[0].severity, Severity::Warn);
        assert!(newer[0].what.contains("spec.novelty"), "{newer:?}");
    }

    #[test]
    fn what_cannot_be_read_is_no_guess() {
        for (crd, severity) in [
            (Told::Absent, Severity::Fail),
            (Told::Untold("403".to_owned()), Severity::Unknown),
            (Told::Unasked, Severity::Unknown),
        ] {
            let installation = Installation { crd, ..Installation::default() };
            let told = examine(&Whole { installation: &installation, sets: &[], program: "tidegate" });
            assert_eq!(told[0].severity, severity);
        }
    }

    #[test]
    fn another_stored_version_and_a_crd_that_is_not_served_are_told() {
        let told = found(|crd| {
            crd.status = serde_json::from_value(serde_json::json!({
                "storedVersions": ["v1alpha0", "v1alpha1"],
                "conditions": [{"type": "NamesAccepted", "status": "False", "message": "taken"}],
            }))
            .unwrap();
        });
        assert!(told[0].what.contains("v1alpha0"), "{told:?}");
        assert_eq!((told[1].severity, told[1].why.as_deref()), (Severity::Fail, Some("taken")));
    }
}
