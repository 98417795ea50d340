//! Exclusion lists of ImageRepositories that hide the tag which our ImagePolicy, or a policyRef, is to select.

use std::collections::BTreeSet;

use regex::Regex;

use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::finding::{Finding, Severity};

/// What image-reflector leaves out when an ImageRepository does not say (default of its CRD).
const DEFAULT: &str = r"^.*\.sig$";

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let targets = subject.found.spec.targets.iter().filter_map(|target| target.image_policy.as_ref());
    let names: BTreeSet<&str> = targets.map(|target| target.image_repository_ref.name.as_str()).collect();
    if names.is_empty() {
        return or_ok(Vec::new(), "no imagePolicy target: Flux's exclusion lists do not matter");
    }
    let Told::Found(all) = &subject.place.image_repositories else {
        let why = subject.place.image_repositories.untold().unwrap_or("there is none");
        return vec![Finding::untold("whether an exclusion list hides the release", why)];
    };
    let mut findings = Vec::new();
    for repository in all.iter().filter(|repository| names.contains(repository.name.as_str())) {
        let default = vec![DEFAULT.to_owned()];
        let patterns = repository.spec.exclusion_list.as_ref().unwrap_or(&default);
        for (tag, severity, why) in tags(subject) {
            let rendered = subject.rendered(&tag);
            let hides = |pattern: &&String| Regex::new(pattern).is_ok_and(|regex| regex.is_match(&rendered));
            if let Some(pattern) = patterns.iter().find(hides) {
                let what = format!(
                    "exclusionList of ImageRepository {} hides {rendered} by `{pattern}`",
                    repository.name
                );
                findings.push(
                    Finding::new(severity, what)
                        .because(why)
                        .next("narrow the pattern, or remove it from the list"),
                );
            }
        }
        let broken = |pattern: &&String| Regex::new(pattern).is_err();
        if let Some(pattern) = patterns.iter().find(broken) {
            let what =
                format!("whether `{pattern}` of ImageRepository {} hides the release", repository.name);
            findings.push(Finding::untold(&what, "it is no pattern that this program understands"));
        }
    }
    or_ok(findings, "no exclusion list hides the release or a candidate")
}

/// The promoted tag, and those of candidates.
fn tags(subject: &Subject<'_>) -> Vec<(String, Severity, &'static str)> {
    let status = &subject.found.status;
    let promoted = status.promoted.as_ref().map(|promoted| promoted.tag.clone());
    let mut tags: Vec<_> = promoted
        .iter()
        .map(|tag| (tag.clone(), Severity::Fail, "Flux cannot select the promoted release"))
        .collect();
    for candidate in status.candidates.iter().filter(|candidate| Some(&candidate.tag) != promoted.as_ref()) {
        tags.push((candidate.tag.clone(), Severity::Warn, "once promoted, Flux could not select it"));
    }
    tags
}
