//! The checks of `tidegate doctor`, in the order in which they are told: of the installation once, of each namespace once,
//! then of each set. Each looks at what was gathered and says what it found, at least one finding each, so that what was
//! checked can be seen. docs/reference/doctor.md has a line for every name.

mod bootstrap;
mod break_glass;
mod clock;
mod conditions;
mod controller;
mod controller_rights;
mod crd;
mod exclusions;
mod flux;
mod flux_version;
mod guard;
mod hands;
mod lease;
mod markers;
mod patterns;
mod registry;
mod rights;
mod substitution;
mod targets;
mod watched;

use crate::cli::cluster::Found;
use crate::cli::doctor::facts::{Installation, Place, SetFacts};
use crate::cli::doctor::finding::Finding;
use crate::cli::markers::Markers;

/// What a check of the installation is given.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// What was read once.
    pub installation: &'a Installation,
    /// Every set that was read.
    pub sets: &'a [Found],
    /// How this program was called, for commands in words.
    pub program: &'static str,
}

/// What a check of a namespace is given.
#[derive(Clone, Copy, Debug)]
pub struct PlaceSubject<'a> {
    /// What was read of it.
    pub place: &'a Place,
    /// What was read once.
    pub installation: &'a Installation,
}

/// What a check of a set is given.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The set as it was read.
    pub found: &'a Found,
    /// The one next action, as `explain` says it.
    pub next_action: &'a str,
    /// How this program was called, for commands in words.
    pub program: &'static str,
    /// What was read once.
    pub installation: &'a Installation,
    /// What was read of its namespace.
    pub place: &'a Place,
    /// What was read of it beside the set itself.
    pub facts: &'a SetFacts,
    /// Markers of the Git checkout; `None` without `--path`.
    pub markers: Option<&'a Markers>,
}

/// What a check looks at, and how.
#[derive(Clone, Copy, Debug)]
pub enum Examine {
    /// The cluster and what runs in it.
    Installation(fn(&Whole<'_>) -> Vec<Finding>),
    /// A namespace that holds sets.
    Place(fn(&PlaceSubject<'_>) -> Vec<Finding>),
    /// A set.
    Set(fn(&Subject<'_>) -> Vec<Finding>),
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name in the table and in JSON; never changes.
    pub name: &'static str,
    /// What it finds.
    pub examine: Examine,
}

/// Every check.
pub const CHECKS: &[Check] = &[
    Check { name: "crd", examine: Examine::Installation(crd::examine) },
    Check { name: "controller", examine: Examine::Installation(controller::examine) },
    Check { name: "lease", examine: Examine::Installation(lease::examine) },
    Check { name: "flux-version", examine: Examine::Installation(flux_version::examine) },
    Check { name: "clock", examine: Examine::Installation(clock::examine) },
    Check { name: "rights", examine: Examine::Place(rights::examine) },
    Check { name: "guard", examine: Examine::Place(guard::examine) },
    Check { name: "hands", examine: Examine::Set(hands::examine) },
    Check { name: "break-glass", examine: Examine::Set(break_glass::examine) },
    Check { name: "conditions", examine: Examine::Set(conditions::examine) },
    Check { name: "targets", examine: Examine::Set(targets::examine) },
    Check { name: "watched", examine: Examine::Set(watched::examine) },
    Check { name: "controller-rights", examine: Examine::Set(controller_rights::examine) },
    Check { name: "bootstrap", examine: Examine::Set(bootstrap::examine) },
    Check { name: "substitution", examine: Examine::Set(substitution::examine) },
    Check { name: "flux", examine: Examine::Set(flux::examine) },
    Check { name: "patterns", examine: Examine::Set(patterns::examine) },
    Check { name: "exclusions", examine: Examine::Set(exclusions::examine) },
    Check { name: "markers", examine: Examine::Set(markers::examine) },
    Check { name: "registry", examine: Examine::Set(registry::examine) },
];

/// `found`, or that all is well when it is empty.
fn or_ok(found: Vec<Finding>, ok: &str) -> Vec<Finding> {
    if found.is_empty() { vec![Finding::new(crate::cli::doctor::finding::Severity::Ok, ok)] } else { found }
}

// === impl Subject ===

impl<'a> Subject<'a> {
    /// `` `tidegate VERB NAME REST -n NAMESPACE` ``.
    fn command(&self, verb: &str, rest: &str) -> String {
        let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
        format!("`{} {verb} {}{rest} -n {}`", self.program, self.name(), self.namespace())
    }

    fn name(&self) -> &'a str {
        self.found.object.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &'a str {
        self.found.object.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// A label of the set; empty when it has none.
    fn label(&self, name: &str) -> &'a str {
        let labels = self.found.object.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(name)).map(String::as_str).unwrap_or_default()
    }

    /// Names of the ConfigMaps that the set's targets write.
    fn config_maps(&self) -> impl Iterator<Item = &'a str> {
        self.found.spec.targets.iter().filter_map(|target| Some(target.config_map.as_ref()?.name.as_str()))
    }

    /// The release as the lead's template renders it.
    fn rendered(&self, tag: &str) -> String {
        let template = self.found.spec.images.first().map_or("{tag}", |lead| lead.tag_template.as_str());
        template.replace("{tag}", tag)
    }
}

#[cfg(test)]
mod tests;
