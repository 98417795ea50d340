//! `$imagepolicy` markers of the Git checkout: all siblings by our ImagePolicy, and nothing else by it.

use crate::api::v1alpha1::TargetImagePolicy;
use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::finding::{Finding, Severity};
use crate::cli::markers::{Marker, Markers};

/// Most findings of one kind: what is wrong in ten places is known after three.
const TOLD_MAX: usize = 3;

/// An image of the set with its repository.
struct Sibling<'a> {
    name: &'a str,
    repository: String,
    advisory: bool,
}

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let targets: Vec<&TargetImagePolicy> =
        subject.found.spec.targets.iter().filter_map(|target| target.image_policy.as_ref()).collect();
    if targets.is_empty() {
        return or_ok(Vec::new(), "no imagePolicy target: no marker is needed");
    }
    let Some(markers) = subject.markers else {
        return vec![
            Finding::new(
                Severity::Info,
                "markers were not checked: they are comments in Git, not in the cluster",
            )
            .next("name the Git checkout with `--path DIR`"),
        ];
    };
    let siblings = siblings(subject);
    let mut findings: Vec<Finding> =
        targets.iter().flat_map(|target| of(subject, target, markers, &siblings)).collect();
    findings.extend(elsewhere(subject, &targets, markers, &siblings));
    findings
        .extend(markers.incomplete.iter().map(|why| Finding::untold("whether there are more markers", why)));
    or_ok(findings, &format!("{} markers were read, and none is wrong for this set", markers.markers.len()))
}

fn siblings<'a>(subject: &Subject<'a>) -> Vec<Sibling<'a>> {
    let borrowed = |name: &str| {
        let Told::Found(all) = &subject.place.image_repositories else { return None };
        Some(all.iter().find(|repository| repository.name == name)?.spec.image.clone())
    };
    let sibling = |image: &'a crate::api::v1alpha1::Image| {
        let own = image.repository.clone();
        let repository = own.or_else(|| borrowed(&image.image_repository_ref.as_ref()?.name))?;
        Some(Sibling { name: &image.name, repository, advisory: image.advisory })
    };
    subject.found.spec.images.iter().filter_map(sibling).collect()
}

fn place(marker: &Marker) -> String {
    format!("{}:{}", marker.file.display(), marker.line)
}

fn sibling_of<'a, 'b>(marker: &Marker, siblings: &'b [Sibling<'a>]) -> Option<&'b Sibling<'a>> {
    let names = |sibling: &&Sibling<'_>| {
        marker
            .repositories
            .iter()
            .any(|named| *named == sibling.repository || sibling.repository.ends_with(&format!("/{named}")))
    };
    siblings.iter().find(names)
}

/// Markers of our ImagePolicy.
fn of(
    subject: &Subject<'_>,
    target: &TargetImagePolicy,
    markers: &Markers,
    siblings: &[Sibling<'_>],
) -> Vec<Finding> {
    let ours: Vec<&Marker> = markers
        .markers
        .iter()
        .filter(|marker| marker.namespace == subject.namespace() && marker.policy == target.name)
        .collect();
    if ours.is_empty() {
        let marker = format!("# {{\"$imagepolicy\": \"{}:{}:tag\"}}", subject.namespace(), target.name);
        return vec![
            Finding::new(Severity::Warn, format!("no marker names ImagePolicy {}", target.name))
                .because("a promoted release changes nothing in this checkout")
                .next(format!("write `{marker}` behind the tag of each sibling, or check that --path is the right folder")),
        ];
    }
    let mut findings = Vec::new();
    for marker in &ours {
        match sibling_of(marker, siblings) {
            Some(sibling) if sibling.advisory => findings.push(
                Finding::new(
                    Severity::Fail,
                    format!("{} rolls advisory image {} with the release", place(marker), sibling.name),
                )
                .because(
                    "an advisory image is not required: its tag may not exist when the release is promoted",
                )
                .next(format!(
                    "give it a policy of its own, or remove `advisory` from image {}",
                    sibling.name
                )),
            ),
            Some(_) => {}
            None if marker.repositories.is_empty() => {}
            None => findings.push(
                Finding::new(
                    Severity::Warn,
                    format!(
                        "{} sets {}, which is no image of this set",
                        place(marker),
                        marker.repositories.join(", ")
                    ),
                )
                .because("it gets a tag that nobody looked for in its repository")
                .next("add it to spec.images, or point its marker to another policy"),
            ),
        }
    }
    findings.truncate(TOLD_MAX);
    let unknown = ours.iter().filter(|marker| marker.repositories.is_empty()).count();
    if unknown > 0 {
        let what = format!("which image {unknown} of {} markers set", ours.len());
        findings.push(Finding::untold(&what, "neither their line nor those around it name a repository"));
    }
    findings
}

/// Required siblings that another policy rolls: the half-rolled trap.
fn elsewhere(
    subject: &Subject<'_>,
    targets: &[&TargetImagePolicy],
    markers: &Markers,
    siblings: &[Sibling<'_>],
) -> Vec<Finding> {
    let is_ours = |marker: &&Marker| {
        marker.namespace == subject.namespace() && targets.iter().any(|target| target.name == marker.policy)
    };
    let other = |marker: &Marker| {
        let sibling = sibling_of(marker, siblings).filter(|sibling| !sibling.advisory)?;
        Some(
            Finding::new(
                Severity::Warn,
                format!(
                    "{} rolls {} by ImagePolicy {}:{}",
                    place(marker),
                    sibling.name,
                    marker.namespace,
                    marker.policy
                ),
            )
            .because("it moves without its siblings, whether the release is complete or not")
            .next(format!(
                "point the marker to {}:{}",
                subject.namespace(),
                targets.first().map_or("", |target| &target.name)
            )),
        )
    };
    markers.markers.iter().filter(|marker| !is_ours(marker)).filter_map(other).take(TOLD_MAX).collect()
}
