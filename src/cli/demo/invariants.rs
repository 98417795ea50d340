//! The promise, checked at every commit of a played scenario against what the registry holds at that instant
//! (design §7; the names are the same in code, docs and proofs).

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::embedded::api::ApiServer;
use crate::embedded::registry::RegistryServer;

/// What was found broken so far.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    violations: Arc<Mutex<Vec<String>>>,
}

// === impl Invariants ===

impl Invariants {
    /// Looks at every write of a ReleaseSet and of a ConfigMap, at the instant of the write.
    pub fn watch(api: &ApiServer, registry: &RegistryServer) -> Self {
        let invariants = Self::default();
        let (judge, registry) = (invariants.clone(), registry.clone());
        api.add_rule(
            "tidegate.dev",
            "releasesets",
            "status",
            Arc::new(move |old, new| {
                judge.note(check_commit(&registry, old, new));
                Ok(())
            }),
        );
        invariants
    }

    /// Everything that was broken, in order.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, found: Vec<String>) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }
}

/// S1, S2, S4, S7 of one status write. S3 and S5 need the policy's order and the verdicts: the engine's own
/// properties hold them.
fn check_commit(registry: &RegistryServer, old: &Value, new: &Value) -> Vec<String> {
    let sequence =
        |set: &Value| set.pointer("/status/promoted/sequence").and_then(Value::as_i64).unwrap_or(0);
    if sequence(old) == sequence(new) {
        return Vec::new();
    }
    let mut broken = Vec::new();
    if sequence(new) != sequence(old) + 1 {
        broken.push(format!("S4: sequence {} follows {}", sequence(new), sequence(old)));
    }
    if old.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        broken.push("S7: a commit while suspended".to_owned());
    }
    let images =
        new.pointer("/status/promoted/images").and_then(Value::as_array).cloned().unwrap_or_default();
    let required = required_images(new);
    if images.len() != required {
        broken.push(format!("S1: {} images were promoted, {required} are required", images.len()));
    }
    for image in &images {
        broken.extend(check_image(registry, image));
    }
    broken
}

fn required_images(set: &Value) -> usize {
    let images = set.pointer("/spec/images").and_then(Value::as_array);
    images.map_or(0, |images| images.iter().filter(|image| image["advisory"] != Value::Bool(true)).count())
}

fn check_image(registry: &RegistryServer, image: &Value) -> Vec<String> {
    let text = |key: &str| image[key].as_str().unwrap_or_default();
    let name = format!("{}:{}", text("name"), text("tag"));
    let prefix = format!("{}/", registry.host());
    let Some(path) = text("repository").strip_prefix(&prefix) else {
        return vec![format!("S1: {name} is not of this registry")];
    };
    let mut broken = Vec::new();
    if registry.resolve(path, text("tag")).as_deref() != Some(text("digest")) {
        broken.push(format!("S2: {name} was promoted at a digest that its tag does not have"));
    }
    let platforms = image["platforms"].as_array().cloned().unwrap_or_default();
    if platforms.is_empty() {
        broken.push(format!("S1: {name} was promoted for no platform"));
    }
    for platform in platforms {
        let digest = platform["digest"].as_str().unwrap_or_default();
        if registry.manifest(path, digest).is_none() {
            broken.push(format!("S1: {name} {} is not there", platform["platform"]));
        }
    }
    broken
}
