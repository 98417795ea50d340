//! What reads the ConfigMaps of the set: in the right namespace, at once, and by keys that are there.

use std::collections::BTreeSet;

use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::facts::flux::{Applier, FluxObject};
use crate::cli::doctor::finding::{Finding, Severity};
use crate::model::target::{RELEASE_SEQUENCE_KEY, RELEASE_TAG_KEY, image_key};

/// Flux reconciles at once when an object with this label changes.
const WATCH_LABEL: (&str, &str) = ("reconcile.fluxcd.io/watch", "Enabled");

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for target in subject.found.spec.targets.iter().filter_map(|target| target.config_map.as_ref()) {
        let keys = keys(subject, target.keys.keys());
        findings.extend(label(subject, &target.name));
        let (mut readers, mut strangers, mut is_told) = (0, Vec::new(), true);
        for (kind, told) in
            [("Kustomization", &subject.place.kustomizations), ("HelmRelease", &subject.place.helm_releases)]
        {
            let Told::Found(all) = told else {
                let what = format!("which {kind}s read ConfigMap {}", target.name);
                findings.push(Finding::untold(&what, told.untold().unwrap_or("the kind is not installed")));
                is_told = false;
                continue;
            };
            for reader in all.iter().filter(|reader| reader.spec.reads(&target.name).next().is_some()) {
                if reader.namespace == subject.namespace() {
                    readers += 1;
                    findings.extend(of(kind, reader, &target.name, &keys));
                } else {
                    strangers.push(format!("{kind} {}/{}", reader.namespace, reader.name));
                }
            }
        }
        if readers == 0 && is_told {
            findings.push(unread(subject, &target.name, &strangers));
        }
    }
    or_ok(findings, "every reader of the set's ConfigMaps finds them, or the set has none")
}

fn unread(subject: &Subject<'_>, map: &str, strangers: &[String]) -> Finding {
    if strangers.is_empty() {
        return Finding::new(
            Severity::Info,
            format!("no Kustomization or HelmRelease reads ConfigMap {map}"),
        )
        .because("a promoted release moves nothing by it, unless something else reads it")
        .next("name it in substituteFrom or valuesFrom of what rolls the release out");
    }
    let what =
        format!("{} reads a ConfigMap {map} of another namespace than this set's", strangers.join(", "));
    Finding::new(Severity::Warn, what)
        .because(format!(
            "Flux reads ConfigMaps of the reader's own namespace only; this one is in {}",
            subject.namespace()
        ))
        .next("put set and reader into one namespace; targetNamespace says where the reader applies to")
}

/// Keys that the ConfigMap holds.
fn keys<'a>(subject: &Subject<'_>, own: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let images = subject.found.spec.images.iter().filter(|image| !image.advisory);
    let mut keys: BTreeSet<String> =
        images.filter_map(|image| Some(image_key(&image.name.parse().ok()?))).collect();
    keys.extend([RELEASE_TAG_KEY.to_owned(), RELEASE_SEQUENCE_KEY.to_owned()]);
    keys.extend(own.cloned());
    keys
}

fn label(subject: &Subject<'_>, map: &str) -> Option<Finding> {
    let (label, value) = WATCH_LABEL;
    match subject.facts.config_maps.get(map).unwrap_or(&Told::Unasked) {
        Told::Found(labels) if labels.get(label).map(String::as_str) == Some(value) => None,
        Told::Found(_) => Some(
            Finding::new(Severity::Warn, format!("ConfigMap {map} has no label {label}: {value}"))
                .because("Flux takes a release at the interval of its readers only, not at once; the controller writes the label")
                .next("find out who removes it; the controller puts it back at its next look"),
        ),
        // Before the first promotion there is none.
        Told::Absent => None,
        told => Some(Finding::untold(&format!("the labels of ConfigMap {map}"), told.untold().unwrap_or_default())),
    }
}

/// What is wrong with one reader of the set's namespace.
fn of(kind: &str, reader: &FluxObject<Applier>, map: &str, keys: &BTreeSet<String>) -> Vec<Finding> {
    let name = format!("{kind} {}/{}", reader.namespace, reader.name);
    let mut findings = Vec::new();
    if reader.spec.suspend {
        let command = kind.to_lowercase();
        findings.push(
            Finding::new(Severity::Warn, format!("{name} is suspended"))
                .because(format!("it reads ConfigMap {map}: a promoted release is not rolled out"))
                .next(format!(
                    "when it may go on: `flux resume {command} {} -n {}`",
                    reader.name, reader.namespace
                )),
        );
    }
    for read in reader.spec.values_from.iter().filter(|read| read.kind == "ConfigMap" && read.name == map) {
        let key = read.values_key.as_deref().unwrap_or("values.yaml");
        if !keys.contains(key) {
            let known: Vec<&str> = keys.iter().map(String::as_str).collect();
            findings.push(
                Finding::new(
                    Severity::Fail,
                    format!("{name} reads key {key} of ConfigMap {map}, which has none"),
                )
                .because("helm-controller fails by the missing key, unless it is optional")
                .next(format!("write valuesKey as one of {}", known.join(", "))),
            );
        }
    }
    let substitutes = reader.spec.post_build.substitute_from.iter().any(|read| read.name == map);
    if let Some(key) = keys.iter().find(|key| substitutes && !is_variable(key)) {
        findings.push(
            Finding::new(Severity::Fail, format!("key {key} of ConfigMap {map} is no variable"))
                .because(format!(
                    "{name} substitutes from it, and kustomize-controller refuses the whole build"
                ))
                .next("name it by letters, digits and _, or read it from another target"),
        );
    }
    findings
}

/// What kustomize-controller takes for the name of a variable: `^[_[:alpha:]][_[:alpha:][:digit:]]*$`.
fn is_variable(key: &str) -> bool {
    let mut letters = key.chars();
    letters.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && letters.all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
}
