//! A set that is applied by what waits for the set (failure sequence 25): its ConfigMap comes only after the set, and the
//! set only after what reads the ConfigMap.

use std::collections::BTreeSet;

use crate::cli::doctor::checks::{Subject, or_ok};
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::facts::flux::{Applier, FluxObject};
use crate::cli::doctor::finding::{Finding, Severity};

/// Labels that kustomize-controller and helm-controller put on all that they apply.
const KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io";
const HELM_RELEASE: &str = "helm.toolkit.fluxcd.io";
/// Longest chain of `dependsOn` that is followed; Flux itself has no limit, people stop at a handful.
const CHAIN_MAX: usize = 64;

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = subject.place;
    for (kind, group, told) in [
        ("Kustomization", KUSTOMIZATION, &place.kustomizations),
        ("HelmRelease", HELM_RELEASE, &place.helm_releases),
    ] {
        let name = subject.label(&format!("{group}/name"));
        if name.is_empty() || subject.config_maps().next().is_none() {
            continue;
        }
        let namespace = match subject.label(&format!("{group}/namespace")) {
            "" => subject.namespace(),
            namespace => namespace,
        };
        let Told::Found(all) = told else {
            let why = told.untold().unwrap_or("there is none");
            findings.push(untold(kind, namespace, name, why));
            continue;
        };
        let Some(own) = find(all, namespace, name) else {
            let why = if place.is_partial {
                "you may list this namespace only, and it is in another"
            } else {
                "there is no such object any more"
            };
            findings.push(untold(kind, namespace, name, why));
            continue;
        };
        findings.extend(of(subject, kind, own, all));
    }
    let ok = if findings.is_empty() && subject.config_maps().next().is_none() {
        "nothing reads a ConfigMap of this set: it has no configMap target"
    } else {
        "what applies this set does not wait for it"
    };
    or_ok(findings, ok)
}

fn untold(kind: &str, namespace: &str, name: &str, why: &str) -> Finding {
    Finding::untold(&format!("whether {kind} {namespace}/{name}, which applies this set, waits for it"), why)
}

fn find<'a>(all: &'a [FluxObject<Applier>], namespace: &str, name: &str) -> Option<&'a FluxObject<Applier>> {
    all.iter().find(|object| object.namespace == namespace && object.name == name)
}

/// What applies the set, and all that must be applied before it.
fn of(
    subject: &Subject<'_>,
    kind: &str,
    own: &FluxObject<Applier>,
    all: &[FluxObject<Applier>],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut known = BTreeSet::from([(own.namespace.clone(), own.name.clone())]);
    let mut waiting = vec![own];
    while let Some(next) = waiting.pop() {
        for map in subject.config_maps() {
            let reads =
                next.namespace == subject.namespace() && next.spec.reads(map).any(|read| !read.optional);
            if reads {
                findings.push(deadlock(subject, kind, next, own, map));
            }
        }
        for before in &next.spec.depends_on {
            let namespace = before.namespace.clone().unwrap_or_else(|| next.namespace.clone());
            if known.len() < CHAIN_MAX && known.insert((namespace.clone(), before.name.clone())) {
                waiting.extend(find(all, &namespace, &before.name));
            }
        }
    }
    findings
}

fn deadlock(
    subject: &Subject<'_>,
    kind: &str,
    reader: &FluxObject<Applier>,
    own: &FluxObject<Applier>,
    map: &str,
) -> Finding {
    let reader_name = format!("{kind} {}/{}", reader.namespace, reader.name);
    let part = if kind == "Kustomization" { "substituteFrom" } else { "valuesFrom" };
    let way = if reader.name == own.name && reader.namespace == own.namespace {
        format!("{reader_name} applies this set, and reads ConfigMap {map} by {part}, not optional")
    } else {
        format!(
            "{kind} {}/{} applies this set and depends on {}/{}, which reads ConfigMap {map} by {part}, not optional",
            own.namespace, own.name, reader.namespace, reader.name
        )
    };
    let exists = subject.facts.config_maps.get(map).is_some_and(|told| told.found().is_some());
    let (severity, why) = if exists {
        (
            Severity::Warn,
            "the ConfigMap is there now; in a new cluster, or when it is lost, neither comes: it only after the set, and the set \
             only after it",
        )
    } else {
        (
            Severity::Fail,
            "deadlock: the ConfigMap comes only after the set, and the set's next change only after the ConfigMap",
        )
    };
    Finding::new(severity, way)
        .because(why)
        .next("apply the set by a Kustomization of its own, and let that of the apps depend on it (examples/flux-config-map)")
}
