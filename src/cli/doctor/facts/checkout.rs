//! What the files of a Git checkout say: Kustomizations of Flux and ReleaseSets. A set that is applied by what waits for it is
//! never seen in a cluster, because it is never applied; its files are. No I/O here.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::api::manifest::{self, Manifest};
use crate::cli::doctor::facts::flux::{Applier, FluxObject};
use crate::cli::markers::{self, Markers};

/// Everything that was read of a checkout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkout {
    /// `$imagepolicy` markers.
    pub markers: Markers,
    /// Kustomizations of Flux.
    pub kustomizations: Vec<FluxObject<Applier>>,
    /// ReleaseSets, each with its file.
    pub sets: Vec<(PathBuf, Manifest)>,
}

// === impl Checkout ===

impl Checkout {
    /// Takes one file in. What is no YAML, or only a template of it, is passed over: another tool reads it.
    pub fn add(&mut self, file: &Path, text: &str) {
        self.markers.markers.extend(markers::of_text(file, text));
        if text.contains("kind: ReleaseSet") {
            let sets = manifest::read(text).unwrap_or_default();
            self.sets.extend(sets.into_iter().map(|set| (file.to_owned(), set)));
        }
        if text.contains("kustomize.toolkit.fluxcd.io/") {
            let documents = text.split("\n---");
            self.kustomizations.extend(documents.filter_map(kustomization));
        }
    }
}

fn kustomization(text: &str) -> Option<FluxObject<Applier>> {
    let object: Value = serde_saphyr::from_str(text.trim_start_matches("---")).ok()?;
    let is_ours = object["kind"] == "Kustomization"
        && object["apiVersion"].as_str().is_some_and(|of| of.starts_with("kustomize.toolkit.fluxcd.io/"));
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    is_ours.then(|| FluxObject {
        namespace: text("namespace"),
        name: text("name"),
        spec: serde_json::from_value(object["spec"].clone()).unwrap_or_default(),
        ..FluxObject::default()
    })
}

/// True when the folder of a Kustomization holds `file`.
pub fn applies(kustomization: &Applier, file: &Path) -> bool {
    let path = Path::new(kustomization.path.as_deref().unwrap_or_default());
    let plain = path.components().filter(|part| matches!(part, Component::Normal(_)));
    file.starts_with(plain.collect::<PathBuf>())
}
