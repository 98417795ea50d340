//! What registries hold, read from them past any controller: the truth by which commits are judged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate::api::ReleaseSetStatus;
use tidegate::engine::policy::Gate;
use tidegate::invariants::Truth;
use tidegate::model::{Digest, Platform, Repository, Tag};

/// Kinds of what is promoted here.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// Indexes by repository and tag, and their children that are there. No tag moves in these tests and nothing goes, so that
/// what is there now was there in the window of each commit, or the commit could not have named it.
#[derive(Debug, Default)]
pub struct Held {
    indexes: BTreeMap<(String, String), Digest>,
    children: BTreeMap<(String, Digest), Vec<(Platform, Digest)>>,
}

// === impl Held ===

impl Held {
    /// Everything that was ever promoted in these versions of sets, as their registries have it. They speak plain HTTP.
    pub async fn by_registries(sets: impl Iterator<Item = &Value>) -> Self {
        let mut places = BTreeSet::new();
        for set in sets {
            let status: ReleaseSetStatus =
                serde_json::from_value(set.get("status").cloned().unwrap_or_default()).unwrap_or_default();
            for image in status.promoted.into_iter().flat_map(|promoted| promoted.images) {
                places.insert((image.repository, image.tag));
            }
        }
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut held = Self::default();
        for (repository, tag) in places {
            let Some((digest, index)) = manifest(&http, &repository, &tag).await else { continue };
            let mut children = Vec::new();
            for child in index["manifests"].as_array().into_iter().flatten() {
                let digest = child["digest"].as_str().unwrap_or_default();
                let platform = format!(
                    "{}/{}",
                    child["platform"]["os"].as_str().unwrap_or_default(),
                    child["platform"]["architecture"].as_str().unwrap_or_default()
                );
                let (Ok(platform), Some((there, _))) =
                    (platform.parse(), manifest(&http, &repository, digest).await)
                else {
                    continue;
                };
                children.push((platform, there));
            }
            held.put((repository, tag), digest, children);
        }
        held
    }

    /// At this repository and tag lies this index, with these children.
    pub fn put(&mut self, place: (String, String), index: Digest, children: Vec<(Platform, Digest)>) {
        self.children.insert((place.0.clone(), index.clone()), children);
        self.indexes.insert(place, index);
    }
}

/// A manifest and its digest, computed from its bytes.
async fn manifest(http: &reqwest::Client, repository: &str, reference: &str) -> Option<(Digest, Value)> {
    let (host, path) = repository.split_once('/')?;
    let url = format!("http://{host}/v2/{path}/manifests/{reference}");
    let reply = http.get(url).header("accept", ACCEPT).send().await.ok()?.error_for_status().ok()?;
    let bytes = reply.bytes().await.ok()?;
    let digest = tidegate::embedded::image::sha256(&bytes).parse().ok()?;
    Some((digest, serde_json::from_slice(&bytes).ok()?))
}

// === impl Truth for Held ===

impl Truth for Held {
    fn pointed_at(&self, repository: &Repository, tag: &Tag) -> Vec<Digest> {
        self.indexes.get(&(repository.to_string(), tag.to_string())).cloned().into_iter().collect()
    }

    fn child(&self, repository: &Repository, index: &Digest, platform: &Platform) -> Option<Digest> {
        let children = self.children.get(&(repository.to_string(), index.clone()))?;
        children.iter().find(|(known, _)| known.satisfies(platform)).map(|(_, digest)| digest.clone())
    }

    /// That a registry which is away leads to no commit is for the outages to see.
    fn answers(&self, _repository: &Repository) -> bool {
        true
    }

    /// No set of these tests has a smoke test.
    fn passes(&self, _: &Gate, _: &Repository, _: &Platform, _: &Digest) -> Option<bool> {
        None
    }
}
