//! What one release set says to the guard, read from its raw JSON: a field that is not as it should be hides no other, and a
//! set that cannot be parsed keeps what its status says. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::api::DynamicObject;
use serde_json::Value;

use crate::model::{Digest, Repository, Tag, TagTemplate};

/// Ports that TLS implies, so that `host` and `host:443` are one place.
const TLS_PORT: &str = "443";
/// Hosts that answer for Docker Hub beside those that references normalise.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// What one set says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetFacts {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Repositories of its required images, in canonical form: those of the spec, and those that were promoted.
    pub repositories: Vec<String>,
    /// The promoted release: `repository:tag` and `repository@digest` of each image.
    pub promoted: Vec<String>,
    /// Digests of its platforms: legal references of the same release, which people pin to.
    pub children: Vec<String>,
    /// Releases of history, newest first, as far as their repositories are known.
    pub history: Vec<Vec<String>>,
    /// `spec.breakGlass.reason`.
    pub broken_glass: Option<String>,
}

// === impl SetFacts ===

impl SetFacts {
    /// The same facts give the same number, within one process.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// A repository counts only once its set has promoted something: until then workloads run what ran before, and the
    /// first roll-out would be refused for ever.
    pub fn has_promoted(&self) -> bool {
        !self.promoted.is_empty()
    }
}

/// The facts of a set.
pub fn facts(set: &DynamicObject) -> SetFacts {
    let (spec, promoted) = (&set.data["spec"], &set.data["status"]["promoted"]);
    let places = places(spec, promoted);
    let mut facts = SetFacts {
        name: set.metadata.name.clone().unwrap_or_default(),
        uid: set.metadata.uid.clone().unwrap_or_default(),
        broken_glass: spec.pointer("/breakGlass/reason").and_then(Value::as_str).map(str::to_owned),
        ..SetFacts::default()
    };
    for image in list(&promoted["images"]) {
        let Some(repository) = image["repository"].as_str().and_then(canonical) else { continue };
        facts.promoted.extend(tag(&image["tag"]).map(|tag| format!("{repository}:{tag}")));
        facts.promoted.extend(digest(&image["digest"]).map(|digest| format!("{repository}@{digest}")));
        let children = list(&image["platforms"]).filter_map(|platform| digest(&platform["digest"]));
        facts.children.extend(children.map(|digest| format!("{repository}@{digest}")));
        facts.repositories.push(repository);
    }
    for release in list(&set.data["status"]["history"]) {
        let shared = release["tag"].as_str().unwrap_or_default();
        let mut references = Vec::new();
        for (name, known) in release["digests"].as_object().into_iter().flatten() {
            let Some((repository, template)) = places.get(name.as_str()) else { continue };
            let tag = template.as_ref().and_then(|template| template.render(shared));
            references.extend(tag.map(|tag| format!("{repository}:{tag}")));
            references.extend(digest(known).map(|digest| format!("{repository}@{digest}")));
        }
        facts.history.push(references);
    }
    facts.repositories.extend(places.into_values().map(|(repository, _)| repository));
    facts.repositories.sort_unstable();
    facts.repositories.dedup();
    facts
}

/// Repository and tag template of each required image, by its name: as the spec says, and where it does not (a reference to
/// an ImageRepository, an image that left the spec) as was promoted. History holds no repositories: after an edit of
/// `repository` or `tagTemplate` older releases are listed as the spec writes them now.
fn places<'a>(spec: &'a Value, promoted: &'a Value) -> BTreeMap<&'a str, (String, Option<TagTemplate>)> {
    let mut places = BTreeMap::new();
    for image in list(&promoted["images"]) {
        let (Some(name), Some(repository)) = (image["name"].as_str(), image["repository"].as_str()) else {
            continue;
        };
        places.extend(canonical(repository).map(|repository| (name, (repository, None))));
    }
    for image in list(&spec["images"]).filter(|image| image["advisory"] != true) {
        let Some(name) = image["name"].as_str() else { continue };
        let template = match &image["tagTemplate"] {
            Value::Null => "{tag}".parse().ok(),
            written => written.as_str().and_then(|written| written.parse().ok()),
        };
        match image["repository"].as_str().and_then(canonical) {
            Some(repository) => drop(places.insert(name, (repository, template))),
            None => {
                if let Some(place) = places.get_mut(name) {
                    place.1 = template;
                }
            }
        }
    }
    places
}

/// The one spelling of a repository under which the policies compare: host in lower case, without the port that TLS implies,
/// `docker.io` and `library/` where Docker Hub implies them. `None` for what is no repository.
pub fn canonical(written: &str) -> Option<String> {
    let repository: Repository = written.parse().ok()?;
    let host = match repository.host().rsplit_once(':') {
        Some((name, port)) if port.trim_start_matches('0') == TLS_PORT => name,
        _ => repository.host(),
    };
    let (mut host, mut path) = (host, repository.path().to_owned());
    if DOCKER_HUB_HOSTS.contains(&host) || host == "index.docker.io" {
        host = "docker.io";
        if !path.contains('/') {
            path = format!("library/{path}");
        }
    }
    Some(format!("{host}/{path}"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn tag(value: &Value) -> Option<Tag> {
    value.as_str()?.parse().ok()
}

fn digest(value: &Value) -> Option<Digest> {
    value.as_str()?.parse().ok()
}
