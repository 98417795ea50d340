//! The promise, checked at every commit of a played scenario against what the registry holds at that instant: the checks
//! are those of [`crate::invariants`], the truth is the embedded registry.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::api::{ReleaseSetSpec, ReleaseSetStatus, status, validate};
use crate::embedded::api::ApiServer;
use crate::embedded::node::EXIT_CODE_LABEL;
use crate::embedded::registry::RegistryServer;
use crate::engine::observation::Marks;
use crate::engine::order::Order;
use crate::engine::policy::{Gate, Place, Policy, PolicyParts};
use crate::engine::record::Record;
use crate::invariants::{self, Commit, InvariantName, Truth, Violation};
use crate::model::{Digest, Platform, Promoted, Repository, Tag};

/// What was found broken so far.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    violations: Vec<String>,
    /// The highest sequence that was ever committed.
    highest: i64,
}

/// An embedded registry as it is now. At a write it is the truth of a scenario: look and write lie within 5 s of each other,
/// and scenarios push nothing then.
pub struct Instant<'a>(pub &'a RegistryServer);

// === impl Invariants ===

impl Invariants {
    /// Looks at every status write of a ReleaseSet, at the instant of the write.
    pub fn watch(api: &ApiServer, registry: &RegistryServer) -> Self {
        let invariants = Self::default();
        let (judge, registry) = (invariants.clone(), registry.clone());
        api.add_rule(
            "tidegate.dev",
            "releasesets",
            "status",
            Arc::new(move |old, new| {
                judge.note(&registry, old, new);
                Ok(())
            }),
        );
        invariants
    }

    /// Everything that was broken, in order.
    pub fn violations(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).violations.clone()
    }

    fn note(&self, registry: &RegistryServer, old: &Value, new: &Value) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = seen.highest;
        let found = match check_write(&Instant(registry), old, new, highest) {
            Ok(found) => found.iter().map(ToString::to_string).collect(),
            Err(why) => vec![format!("{}: a status that cannot be read: {why}", InvariantName::S1)],
        };
        seen.violations.extend(found);
        let sequence = new.pointer("/status/promoted/sequence").and_then(Value::as_i64).unwrap_or(0);
        seen.highest = highest.max(sequence);
    }
}

/// Every invariant that one status write can break.
fn check_write(
    truth: &Instant<'_>,
    old: &Value,
    new: &Value,
    highest: i64,
) -> Result<Vec<Violation>, String> {
    let (before, after) = (record(old)?, record(new)?);
    let sequence = |record: &Record| record.promoted.as_ref().map(|promoted| promoted.sequence);
    let Some(promoted) = after.promoted.as_ref().filter(|_| sequence(&before) != sequence(&after)) else {
        let mut found = invariants::s6_only_a_commit_moves_it(&before, &after);
        found.extend(invariants::s4_sequence(before.promoted.as_ref(), after.promoted.as_ref(), highest));
        return Ok(found);
    };
    let policy = believing_references(&policy(old)?, promoted)?;
    let has_order = !matches!(policy.candidates.order, Order::Untold(_));
    let commit = commit(old, (&before, &after, promoted), &policy, &Marks::InStep);
    let mut found = invariants::check_commit(&commit, truth, highest);
    found.retain(|violation| has_order || violation.invariant != InvariantName::S3);
    Ok(found)
}

/// The write over `set` that took its status from the first record to the second, in which `promoted` is; the times of look
/// and write are not in it.
pub fn commit<'a>(
    set: &Value,
    (before, after, promoted): (&'a Record, &'a Record, &'a Promoted),
    policy: &'a Policy,
    marks: &'a Marks,
) -> Commit<'a> {
    Commit {
        policy,
        deleting: set.pointer("/metadata/deletionTimestamp").is_some(),
        before,
        marks,
        after: promoted,
        floor: after.floor.as_ref(),
        verdicts: &after.verdicts,
        looked_and_written: None,
    }
}

/// What objects of Flux said at that instant is not in the ReleaseSet: the place of an image by `imageRepositoryRef` is taken to
/// be the promoted one, and an order by `policyRef` is left to the tests of that.
fn believing_references(policy: &Policy, promoted: &Promoted) -> Result<Policy, String> {
    let mut parts = PolicyParts::clone(policy);
    for image in &mut parts.images {
        let known = promoted.release.images.iter().find(|known| known.name == image.name);
        if let (Place::Untold { .. }, Some(known)) = (&image.place, known) {
            image.place = Place::At(known.repository.clone());
        }
    }
    Policy::new(parts).map_err(|problems| format!("{problems:?}"))
}

/// What the status of a set says.
///
/// # Errors
/// Why it cannot be read.
pub fn record(set: &Value) -> Result<Record, String> {
    let read = match set.get("status") {
        None | Some(Value::Null) => ReleaseSetStatus::default(),
        Some(read) => serde_json::from_value(read.clone()).map_err(|error| error.to_string())?,
    };
    status::record(&read).map_err(|error| error.to_string())
}

/// What the spec of a set says.
///
/// # Errors
/// Why it cannot be read, or what is wrong with it.
pub fn policy(set: &Value) -> Result<Policy, String> {
    let spec = set.get("spec").cloned().unwrap_or_default();
    let spec: ReleaseSetSpec = serde_json::from_value(spec).map_err(|error| error.to_string())?;
    let generation = set.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    validate::policy(&spec, generation).map_err(|problems| format!("{problems:?}"))
}

// === impl Truth ===

impl Instant<'_> {
    /// Path of a repository of this registry.
    fn path<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        (repository.host() == self.0.host()).then(|| repository.path())
    }
}

impl Truth for Instant<'_> {
    fn pointed_at(&self, repository: &Repository, tag: &Tag) -> Vec<Digest> {
        let digest = self.path(repository).and_then(|path| self.0.resolve(path, tag.as_str()));
        digest.and_then(|digest| digest.parse().ok()).into_iter().collect()
    }

    fn child(&self, repository: &Repository, index: &Digest, platform: &Platform) -> Option<Digest> {
        let path = self.path(repository)?;
        let (_, manifest) = self.0.manifest(path, index.as_str())?;
        let manifest: Value = serde_json::from_slice(&manifest).ok()?;
        let text = |child: &Value, key: &str| child["platform"][key].as_str().unwrap_or_default().to_owned();
        let child = manifest["manifests"].as_array()?.iter().find(|child| {
            let (os, architecture) = (text(child, "os"), text(child, "architecture"));
            let variant = Some(text(child, "variant")).filter(|variant| !variant.is_empty());
            let named = [Some(os), Some(architecture), variant].into_iter().flatten().collect::<Vec<_>>();
            named.join("/").parse::<Platform>().is_ok_and(|named| named.satisfies(platform))
        })?;
        let digest = child["digest"].as_str()?;
        self.0.manifest(path, digest)?;
        digest.parse().ok()
    }

    fn answers(&self, repository: &Repository) -> bool {
        self.path(repository).is_some()
    }

    fn passes(
        &self,
        _gate: &Gate,
        repository: &Repository,
        platform: &Platform,
        child: &Digest,
    ) -> Option<bool> {
        let reference = format!("{repository}@{child}");
        let config = self.0.image_config(&reference, &platform.to_string())?;
        let code = config.pointer("/config/Labels")?.get(EXIT_CODE_LABEL)?;
        Some(code.as_str() == Some("0"))
    }
}
