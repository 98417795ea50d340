//! What the controller and a person need to be allowed, as rules that the API server can be asked about. Pure.

use std::collections::BTreeSet;
use std::fmt;

use crate::api::v1alpha1::{DeletionPolicy, Image, ReleaseSetSpec, RolledOutByKind};

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// API group; empty means the core group.
    pub group: &'static str,
    /// Plural of the resource.
    pub resource: &'static str,
    /// Subresource; empty means none.
    pub subresource: &'static str,
    /// Verb.
    pub verb: &'static str,
    /// Name, where only one object is needed; empty means all.
    pub name: String,
}

/// Who is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// The person who runs the command.
    Me,
    /// A user by name, with the groups of a service account of this namespace.
    User {
        /// Its name.
        name: String,
        /// Namespace of the service account.
        namespace: String,
    },
}

const OURS: &str = "tidegate.dev";
const IMAGES: &str = "image.toolkit.fluxcd.io";
const CORE: &str = "";

/// What the commands of a person need (the first rule of docs/how-to/steer-a-release-set.md), and the Event.
pub fn of_hands() -> Vec<Rule> {
    let mut rules = all(OURS, "releasesets", &["get", "list", "patch"]);
    rules.extend(all("events.k8s.io", "events", &["create"]));
    rules
}

/// What the controller needs in the namespace of a set to do what the set asks for.
pub fn of_set(spec: &ReleaseSetSpec) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    rules.extend(all(OURS, "releasesets", &["get", "list", "watch"]));
    rules.insert(Rule { subresource: "status", ..one(OURS, "releasesets", "update") });
    rules.extend(all("events.k8s.io", "events", &["create"]));
    if spec.deletion_policy == DeletionPolicy::Delete {
        rules.insert(one(OURS, "releasesets", "patch"));
    }
    for (resource, name) in named_objects(spec) {
        rules.insert(Rule { name, ..one(CORE, resource, "get") });
    }
    if spec.gates.iter().any(|gate| gate.smoke.is_some()) {
        rules.extend(all("batch", "jobs", &["get", "list", "watch", "create", "delete"]));
        rules.extend(all(CORE, "pods", &["list", "watch"]));
        rules.insert(Rule { subresource: "log", ..one(CORE, "pods", "get") });
        rules.extend(all(CORE, "events", &["list"]));
    }
    if spec.images.iter().any(|image| image.image_repository_ref.is_some()) {
        rules.extend(all(IMAGES, "imagerepositories", &["get"]));
    }
    if spec.candidates.policy_ref.is_some() {
        rules.extend(all(IMAGES, "imagepolicies", &["get"]));
    }
    rules.extend(of_targets(spec));
    rules
}

/// Secrets and service accounts that a spec names itself.
pub fn named_objects(spec: &ReleaseSetSpec) -> BTreeSet<(&'static str, String)> {
    let own = |image: &Image| image.registry.clone();
    let borrows = |image: &&Image| image.image_repository_ref.is_none();
    let mut named = BTreeSet::new();
    for image in spec.images.iter().filter(borrows) {
        let Some(registry) = own(image).or_else(|| spec.registry.clone()) else { continue };
        let secrets = [registry.secret_ref, registry.cert_secret_ref, registry.proxy_secret_ref];
        named.extend(secrets.into_iter().flatten().map(|secret| ("secrets", secret.name)));
        named.extend(registry.service_account_name.map(|name| ("serviceaccounts", name)));
    }
    named
}

fn of_targets(spec: &ReleaseSetSpec) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    let mut target = |group, resource| {
        rules.extend(all(group, resource, &["get", "create", "update"]));
        if spec.deletion_policy == DeletionPolicy::Delete {
            rules.insert(one(group, resource, "delete"));
        }
    };
    for of in &spec.targets {
        if of.config_map.is_some() {
            target(CORE, "configmaps");
        }
        if of.image_policy.is_some() {
            target(IMAGES, "imagepolicies");
        }
        if of.resource_set_input_provider.is_some() {
            target("fluxcd.controlplane.io", "resourcesetinputproviders");
        }
    }
    for policy in spec.targets.iter().filter_map(|target| target.image_policy.as_ref()) {
        rules.extend(all(IMAGES, "imagerepositories", &["get", "patch"]));
        rules.extend(all(IMAGES, "imageupdateautomations", &["get", "list"]));
        for applier in &policy.rolled_out_by {
            rules.insert(match applier.kind {
                RolledOutByKind::Kustomization => one("kustomize.toolkit.fluxcd.io", "kustomizations", "get"),
                RolledOutByKind::HelmRelease => one("helm.toolkit.fluxcd.io", "helmreleases", "get"),
            });
            rules.insert(one("source.toolkit.fluxcd.io", "gitrepositories", "get"));
        }
    }
    rules
}

fn one(group: &'static str, resource: &'static str, verb: &'static str) -> Rule {
    Rule { group, resource, subresource: "", verb, name: String::new() }
}

fn all(group: &'static str, resource: &'static str, verbs: &[&'static str]) -> Vec<Rule> {
    verbs.iter().map(|verb| one(group, resource, verb)).collect()
}

// === impl Rule ===

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(spec: serde_json::Value) -> Vec<String> {
        let spec: ReleaseSetSpec = serde_json::from_value(spec).unwrap();
        of_set(&spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_set_asks_for_is_what_the_controller_needs() {
        let least = rules(json!({
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {"policy": {"alphabetical": {}}},
        }));
        assert_eq!(least.len(), 5, "{least:?}");
        let most = rules(json!({
            "images": [
                {"name": "app", "imageRepositoryRef": {"name": "app"}},
                {"name": "worker", "repository": "ghcr.io/acme/worker", "registry": {"secretRef": {"name": "own"}}},
                {"name": "docs", "repository": "ghcr.io/acme/docs"}
            ],
            "registry": {"secretRef": {"name": "pull"}, "serviceAccountName": "default"},
            "candidates": {"policyRef": {"name": "app"}},
            "gates": [{"name": "boots", "smoke": {"image": "app"}}],
            "targets": [
                {"name": "config", "configMap": {"name": "r"}},
                {"name": "flux", "imagePolicy": {"name": "r", "imageRepositoryRef": {"name": "app"},
                    "rolledOutBy": [{"kind": "HelmRelease", "name": "apps"}]}}
            ],
        }));
        for rule in [
            "get secrets own",
            "get secrets pull",
            "get serviceaccounts default",
            "create jobs.batch",
            "get pods/log",
            "update configmaps",
            "create imagepolicies.image.toolkit.fluxcd.io",
            "patch imagerepositories.image.toolkit.fluxcd.io",
            "get helmreleases.helm.toolkit.fluxcd.io",
            "update releasesets/status.tidegate.dev",
        ] {
            assert!(most.iter().any(|known| known == rule), "{rule}: {most:?}");
        }
        assert!(!most.iter().any(|rule| rule.starts_with("delete configmaps")), "{most:?}");
    }
}
