//! What the texts hold: objects of Flux, and every place where an image is written. Pure.

use std::collections::BTreeSet;

use crate::api::manifest;
use crate::api::v1alpha1::{
    Alphabetical, Direction, FilterTags, LocalReference, Numerical, OrderPolicy, RegistryAccess, SemVer,
};
use crate::cli::init::gather::{Source, Unread};
use crate::cli::init::marker::PolicyName;
use crate::cli::init::node::{Node, Place};
use crate::cli::init::uses::{Mark, Use, Walk};

/// Lists inside lists that are followed; kubectl writes one.
const LISTS_MAX: usize = 4;

/// Where an object stands and what it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// `kind`; empty where the document has none.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; `None` where something else says it (a Kustomization, `kubectl -n`).
    pub namespace: Option<String>,
    /// Its text, by place in the list of all.
    pub source: usize,
}

/// An ImageRepository.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// Itself.
    pub object: Object,
    /// `spec.image`.
    pub image: String,
    /// How its registry is reached.
    pub registry: RegistryAccess,
    /// `spec.provider`, unless it is `generic`.
    pub provider: Option<String>,
}

/// An ImagePolicy.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Itself.
    pub object: Object,
    /// `spec.imageRepositoryRef.name`.
    pub repository: String,
    /// `spec.imageRepositoryRef.namespace`.
    pub repository_namespace: Option<String>,
    /// `spec.filterTags`.
    pub filter_tags: Option<FilterTags>,
    /// `spec.policy`.
    pub policy: OrderPolicy,
}

/// An ImageUpdateAutomation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automation {
    /// Itself.
    pub object: Object,
    /// `spec.update.path`, without `./`.
    pub path: String,
    /// It takes only policies with certain labels.
    pub selects: bool,
}

/// A Kustomization of Flux.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applier {
    /// Itself.
    pub object: Object,
    /// `spec.path`, without `./`.
    pub path: String,
    /// Where the last `name:` of a ConfigMap in `spec.postBuild.substituteFrom` begins in its file.
    pub substitutes_at: Option<usize>,
}

/// A ReleaseSet that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Itself.
    pub object: Object,
    /// Repositories of its images.
    pub repositories: BTreeSet<String>,
    /// ImagePolicies that it writes.
    pub policies: BTreeSet<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// ImageRepositories.
    pub scanned: Vec<Scanned>,
    /// ImagePolicies.
    pub rules: Vec<Rule>,
    /// ImageUpdateAutomations.
    pub automations: Vec<Automation>,
    /// Kustomizations of Flux.
    pub appliers: Vec<Applier>,
    /// ReleaseSets.
    pub known: Vec<Known>,
    /// Places where an image is written.
    pub uses: Vec<Use>,
    /// Markers.
    pub marks: Vec<Mark>,
    /// Variables and what they hold.
    pub variables: Vec<(String, String)>,
    /// Documents that were read.
    pub documents: usize,
    /// Documents that could not be read.
    pub unread: Vec<Unread>,
}

/// Reads all documents of all texts.
pub fn read(sources: &[Source]) -> Inventory {
    let mut inventory = Inventory::default();
    for (number, source) in sources.iter().enumerate() {
        let documents = manifest::documents(&source.text);
        if documents.len() > manifest::DOCUMENTS_MAX {
            let why = format!("has more than {} documents", manifest::DOCUMENTS_MAX);
            inventory.unread.push(Unread { name: source.name.clone(), why });
            continue;
        }
        for document in documents {
            match (Place { file: &source.text, document }).read() {
                Ok(node) => inventory.document(&node, (number, source), 0),
                Err((line, why)) => {
                    inventory.unread.push(Unread { name: format!("{}:{line}", source.name), why });
                }
            }
        }
    }
    inventory.link();
    inventory
}

/// `./apps/` as `apps`.
fn folder(path: &str) -> String {
    path.trim_start_matches("./").trim_matches('/').trim_start_matches('.').to_owned()
}

// === impl Inventory ===

impl Inventory {
    fn document(&mut self, node: &Node, (number, source): (usize, &Source), depth: usize) {
        let items = node.list(&["items"]);
        let kind = node.text(&["kind"]).unwrap_or_default();
        if kind.ends_with("List") && depth < LISTS_MAX {
            return items.iter().for_each(|item| self.document(item, (number, source), depth + 1));
        }
        self.documents += 1;
        let object = Object {
            kind: kind.to_owned(),
            name: node.text(&["metadata", "name"]).unwrap_or_default().to_owned(),
            namespace: node.text(&["metadata", "namespace"]).map(str::to_owned),
            source: number,
        };
        let group = node.text(&["apiVersion"]).unwrap_or_default().split('/').next().unwrap_or_default();
        match (group, kind) {
            ("image.toolkit.fluxcd.io", "ImageRepository") => self.scanned.extend(scanned(node, object)),
            ("image.toolkit.fluxcd.io", "ImagePolicy") => self.rules.extend(rule(node, object)),
            ("image.toolkit.fluxcd.io", "ImageUpdateAutomation") => self.automations.push(Automation {
                object,
                path: folder(node.text(&["spec", "update", "path"]).unwrap_or_default()),
                selects: node.at(&["spec", "policySelector"]).is_some_and(|selector| *selector != Node::Null),
            }),
            ("tidegate.dev", manifest::KIND) => self.known.push(known(node, object)),
            ("apiextensions.k8s.io", _) => {}
            _ => {
                if group == "kustomize.toolkit.fluxcd.io" {
                    self.appliers.push(applier(node, object.clone()));
                }
                let mut walk = Walk::new(&source.text, &object);
                walk.document(node, source.name.rsplit('/').next().unwrap_or_default());
                self.uses.append(&mut walk.uses);
                self.marks.append(&mut walk.marks);
                self.variables.append(&mut walk.variables);
            }
        }
    }

    /// Joins what stands apart: variables with the markers behind them, tags of a document with the repositories that have none.
    fn link(&mut self) {
        for mark in &mut self.marks {
            let Some(variable) = mark.variable.clone() else { continue };
            for place in self.uses.iter_mut().filter(|place| place.variable.as_ref() == Some(&variable)) {
                // One variable name in two environments belongs to none of them for sure.
                let folder_of = |object: &Object| object.namespace.clone();
                let foreign = folder_of(&place.object).is_some()
                    && mark.target_namespace.is_some()
                    && folder_of(&place.object) != mark.target_namespace;
                if place.policy.is_none() && !foreign {
                    place.policy = Some(mark.marker.policy.clone());
                    place.tag.clone_from(&Some(mark.text.clone()));
                    place.is_whole = false;
                    mark.is_used = true;
                }
            }
        }
        for place in self.uses.iter_mut().filter(|place| place.tag.is_none()) {
            let Some(variable) = &place.variable else { continue };
            let same = self.variables.iter().filter(|(name, _)| name == variable);
            let values: BTreeSet<&String> = same.map(|(_, value)| value).collect();
            if let (1, Some(value)) = (values.len(), values.first()) {
                place.tag = Some((*value).clone());
            }
        }
        for mark in self.marks.iter_mut().filter(|mark| mark.repository.is_none() && !mark.is_used) {
            let same = |place: &&mut Use| {
                place.object == mark.object && place.tag.is_none() && place.policy.is_none()
            };
            for place in self.uses.iter_mut().filter(same) {
                place.policy = Some(mark.marker.policy.clone());
                place.tag = Some(mark.text.clone());
                mark.is_used = true;
            }
        }
    }

    /// The ImagePolicy that markers call so.
    pub fn rule(&self, name: &PolicyName) -> Option<&Rule> {
        let fits = |rule: &&Rule| rule.object.name == name.name;
        let exact = |rule: &&Rule| rule.object.namespace.as_deref() == Some(&name.namespace);
        let mut open = self.rules.iter().filter(fits).filter(|rule| rule.object.namespace.is_none());
        self.rules.iter().filter(fits).find(exact).or_else(|| open.next())
    }

    /// The ImageRepository that a policy follows.
    pub fn scanned_by(&self, rule: &Rule, namespace: &str) -> Option<&Scanned> {
        let wanted = rule.repository_namespace.as_deref().unwrap_or(namespace);
        self.scanned.iter().find(|scanned| {
            scanned.object.name == rule.repository
                && scanned.object.namespace.as_deref().is_none_or(|own| own == wanted)
        })
    }

    /// The ImageRepository of an image in a namespace.
    pub fn scanned_in(&self, image: &str, namespace: Option<&str>) -> Option<&Scanned> {
        self.scanned.iter().find(|scanned| {
            scanned.image == image
                && (scanned.object.namespace.is_none() || scanned.object.namespace.as_deref() == namespace)
        })
    }
}

fn scanned(node: &Node, object: Object) -> Option<Scanned> {
    let spec = node.get("spec")?;
    let local =
        |field: &str| spec.text(&[field, "name"]).map(|name| LocalReference { name: name.to_owned() });
    let insecure = spec.text(&["insecure"]) == Some("true");
    Some(Scanned {
        object,
        image: spec.text(&["image"])?.to_owned(),
        registry: RegistryAccess {
            secret_ref: local("secretRef"),
            service_account_name: spec.text(&["serviceAccountName"]).map(str::to_owned),
            // Over plain HTTP there is nothing to certify; Flux allows both to be set.
            cert_secret_ref: local("certSecretRef").filter(|_| !insecure),
            proxy_secret_ref: local("proxySecretRef"),
            insecure,
        },
        provider: spec.text(&["provider"]).filter(|provider| *provider != "generic").map(str::to_owned),
    })
}

fn rule(node: &Node, object: Object) -> Option<Rule> {
    let spec = node.get("spec")?;
    let direction = |kind: &str| {
        let order = spec.at(&["policy", kind])?;
        let is_descending = order.text(&["order"]) == Some("desc");
        Some(if is_descending { Direction::Desc } else { Direction::Asc })
    };
    let range = spec.text(&["policy", "semver", "range"]);
    Some(Rule {
        object,
        repository: spec.text(&["imageRepositoryRef", "name"])?.to_owned(),
        repository_namespace: spec.text(&["imageRepositoryRef", "namespace"]).map(str::to_owned),
        filter_tags: spec.text(&["filterTags", "pattern"]).map(|pattern| FilterTags {
            pattern: pattern.to_owned(),
            extract: spec.text(&["filterTags", "extract"]).map(str::to_owned),
        }),
        policy: OrderPolicy {
            semver: range.map(|range| SemVer { range: range.to_owned() }),
            numerical: direction("numerical").map(|order| Numerical { order }),
            alphabetical: direction("alphabetical").map(|order| Alphabetical { order }),
        },
    })
}

fn applier(node: &Node, object: Object) -> Applier {
    let from = node.list(&["spec", "postBuild", "substituteFrom"]);
    let config_maps = from.iter().filter(|entry| entry.text(&["kind"]) == Some("ConfigMap"));
    Applier {
        object,
        path: folder(node.text(&["spec", "path"]).unwrap_or_default()),
        substitutes_at: config_maps.filter_map(|entry| Some(entry.scalar(&["name"])?.start)).next_back(),
    }
}

fn known(node: &Node, object: Object) -> Known {
    let texts = |list: &[&str], path: &[&str]| {
        node.list(list).iter().filter_map(|entry| entry.text(path).map(str::to_owned)).collect()
    };
    Known {
        object,
        repositories: texts(&["spec", "images"], &["repository"]),
        policies: texts(&["spec", "targets"], &["imagePolicy", "name"]),
    }
}
