//! Whether exactly one controller watches the set: shards by `--watch-label-selector` may leave one out, or overlap.

use std::collections::BTreeSet;

use crate::cli::doctor::checks::Subject;
use crate::cli::doctor::facts::{Controller, Told};
use crate::cli::doctor::finding::{Finding, Severity};
use crate::controller::leader::election::lease_name;

pub(super) fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let controllers: Vec<&Controller> = match &subject.installation.controllers {
        Told::Found(controllers) if !controllers.is_empty() => controllers.iter().collect(),
        told => {
            let why = told.untold().unwrap_or("no Deployment of Tidegate was found");
            return vec![Finding::untold("which controller watches it", why)];
        }
    };
    let mut watching: Vec<&Controller> = Vec::new();
    let mut doubt = None;
    let unasked = Told::Unasked;
    for (index, controller) in controllers.iter().enumerate() {
        match subject.place.watched.get(index).unwrap_or(&unasked) {
            Told::Found(sets) if sets.contains(subject.name()) => watching.push(controller),
            Told::Found(_) => {}
            told => doubt = told.untold().map(ToOwned::to_owned),
        }
    }
    let leases: BTreeSet<(&str, String)> = watching
        .iter()
        .map(|of| (of.namespace.as_str(), lease_name(of.watch_namespace.as_deref(), of.selector.as_deref())))
        .collect();
    let names: Vec<String> = watching.iter().map(|of| format!("{}/{}", of.namespace, of.name)).collect();
    if leases.len() > 1 {
        return vec![
            Finding::new(Severity::Warn, format!("several controllers watch it: {}", names.join(", ")))
                .because("each has a lease of its own, so that none excludes the other: each look is made twice, and writes collide")
                .next("make the selectors of the shards exclude one another, for example shard=a and shard notin (a)"),
        ];
    }
    if let Some(why) = doubt {
        return vec![Finding::untold("whether exactly one controller watches it", &why)];
    }
    vec![match names.as_slice() {
        [] => Finding::new(Severity::Fail, "no controller watches it")
            .because("neither --watch-namespace nor --watch-label-selector of any Deployment takes it in")
            .next("give the set a label that a shard selects, or add a controller that watches it"),
        [first, ..] => Finding::new(Severity::Ok, format!("Deployment {first} watches it")),
    }]
}
