//! Objects that follow the promoted release: ConfigMaps and the ImagePolicy of Flux.
//!
//! A target is written only for a [`Committed`] release, one that the API server itself holds as promoted, and
//! only after a live read of the set and of the object. Never an upsert: a POST makes what is absent, a PUT with
//! uid and resourceVersion changes what was read (design §4 Targets; failure sequences 3 and 4). This room must
//! never know how a release came to be promoted.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};

use crate::engine::clearance::Committed;
use crate::model::{SetName, TargetKind, TargetName, TargetState};
use crate::targets::plan::{Plan, plan};
use crate::telemetry::kube_call::{CallError, MESSAGE_MAX_BYTES, call, call_optional, clip};

pub mod config_map;
pub mod image_policy;
pub mod mark;
pub mod plan;
pub mod resource_set_input_provider;
#[cfg(test)]
mod tests;

/// How often one target is judged in one sync: once, and once more when it changed between read and write. Who
/// loses twice looks again at the next sync.
const ROUNDS: usize = 2;

/// How far each target is: its state, and one sentence of at most 512 bytes without times.
pub type Reports = BTreeMap<TargetName, (TargetState, String)>;

/// Writes targets. Cheap to clone.
#[derive(Clone)]
pub struct Targets {
    client: Client,
}

/// The set as the API server shows it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetState {
    /// `metadata.uid`.
    pub uid: String,
    /// The object has a deletionTimestamp.
    pub deleting: bool,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `status.promoted.sequence`.
    pub sequence: Option<i64>,
}

/// Reads the set live, by GET and never from a cache.
pub trait LiveSet: Send + Sync {
    /// The set as it is now; `None` when it is gone.
    ///
    /// # Errors
    /// It could not be read: no target is written then.
    fn read(&self) -> BoxFuture<'_, Result<Option<SetState>, CallError>>;
}

/// Why nothing more is written: the set is no longer the one that the caller acts for. Read it anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// It is gone or being deleted.
    #[error("the ReleaseSet is being deleted: its targets are left as they are")]
    Deleting,
    /// An object of the same name with another uid.
    #[error("the ReleaseSet was deleted and made anew: it is read again")]
    Replaced,
    /// Its promoted release is another one.
    #[error("status.promoted.sequence is {live:?} and not {ours}: the ReleaseSet is read again")]
    Moved {
        /// The sequence that the caller acts for.
        ours: i64,
        /// The sequence of the live set.
        live: Option<i64>,
    },
}

/// What one round on one target came to.
enum Round {
    Done(TargetState, String),
    /// The object changed between read and write: it is to be judged anew.
    Raced,
}

// === impl Targets ===

impl Targets {
    /// Targets through `client`, which should not try again by itself.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Brings every target to the committed release. Writes nothing where the object carries it already, and
    /// nothing at all before the first promotion.
    ///
    /// # Errors
    /// The set is no longer the one that is acted for. A target that could not be written is a report, no error.
    pub async fn sync(
        &self,
        set: &SetName,
        targets: &[(TargetName, TargetKind)],
        committed: Option<&Committed>,
        live: &dyn LiveSet,
    ) -> Result<Reports, Stopped> {
        let mut reports = Reports::new();
        for (name, kind) in targets {
            let (state, message) = match committed {
                None => (TargetState::Pending, "nothing was promoted yet".to_owned()),
                Some(committed) => self.sync_one(set, name, kind, committed, live).await?,
            };
            reports.insert(name.clone(), (state, clip(&message, MESSAGE_MAX_BYTES)));
        }
        Ok(reports)
    }

    async fn sync_one(
        &self,
        set: &SetName,
        name: &TargetName,
        kind: &TargetKind,
        committed: &Committed,
        live: &dyn LiveSet,
    ) -> Result<(TargetState, String), Stopped> {
        for _ in 0..ROUNDS {
            match live.read().await {
                Err(error) => {
                    return Ok((TargetState::Failed, format!("the ReleaseSet could not be read: {error}")));
                }
                Ok(state) => {
                    if still_ours(set, committed, state)?.suspended {
                        return Ok((TargetState::Held, "the ReleaseSet is suspended".to_owned()));
                    }
                }
            }
            if let Round::Done(state, message) = self.round(set, name, kind, committed).await {
                return Ok((state, message));
            }
        }
        let message = format!(
            "{kind} changed between read and write, {ROUNDS} times; it is read again at the next look"
        );
        Ok((TargetState::Failed, message))
    }

    /// Read, judge, write, read back.
    async fn round(
        &self,
        set: &SetName,
        name: &TargetName,
        kind: &TargetKind,
        committed: &Committed,
    ) -> Round {
        let objects = self.objects(set, kind);
        let failed =
            |did: &str, error: &CallError| Round::Done(TargetState::Failed, refusal(kind, did, error));
        let read = match call_optional(objects.get(kind.object_name())).await {
            Ok(read) => read,
            Err(error) => return failed("read", &error),
        };
        let written = match plan(set, name, kind, committed, read.as_ref()) {
            Plan::Create(object) => call(objects.create(&PostParams::default(), &object)).await,
            Plan::Update(object) => {
                call(objects.replace(kind.object_name(), &PostParams::default(), &object)).await
            }
            other => return settled(other, kind, committed),
        };
        match written {
            Ok(_) => {}
            // Made, changed or deleted by somebody else since it was read.
            Err(error) if error.is_conflict() => return Round::Raced,
            Err(error) if error.is_not_found() && read.is_some() => return Round::Raced,
            Err(error) => return failed("written", &error),
        }
        match call_optional(objects.get(kind.object_name())).await {
            Err(error) => failed("read back", &error),
            Ok(stored) => settled(plan(set, name, kind, committed, stored.as_ref()), kind, committed),
        }
    }

    fn objects(&self, set: &SetName, kind: &TargetKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &set.namespace, &resource(kind))
    }
}

/// Group, version and plural of the target's kind.
fn resource(kind: &TargetKind) -> ApiResource {
    match kind {
        TargetKind::ConfigMap { .. } => config_map::resource(),
        TargetKind::ImagePolicy { .. } => image_policy::resource(),
        TargetKind::ResourceSetInputProvider { .. } => resource_set_input_provider::resource(),
    }
}

fn still_ours(set: &SetName, committed: &Committed, live: Option<SetState>) -> Result<SetState, Stopped> {
    let ours = committed.promoted().sequence;
    match live {
        None => Err(Stopped::Deleting),
        Some(live) if live.uid != set.uid => Err(Stopped::Replaced),
        Some(live) if live.deleting => Err(Stopped::Deleting),
        Some(live) if live.sequence != Some(ours) => Err(Stopped::Moved { ours, live: live.sequence }),
        Some(live) => Ok(live),
    }
}

/// What a plan means that leads to no write, or that still asks for one after the write.
fn settled(plan: Plan, kind: &TargetKind, committed: &Committed) -> Round {
    let promoted = committed.promoted();
    let (state, message) = match plan {
        Plan::InStep => (
            TargetState::Applied,
            format!("carries {} (sequence {})", promoted.release.tag, promoted.sequence),
        ),
        Plan::Taken(why) => (TargetState::Taken, why),
        Plan::Ahead(sequence) => (
            TargetState::Ahead,
            format!(
                "{kind} carries sequence {sequence} and the ReleaseSet only {}, so its status is older than the object; \
                 the object is not moved back: delete it to have it made from the ReleaseSet",
                promoted.sequence
            ),
        ),
        Plan::Leaving => (
            TargetState::Failed,
            format!("{kind} is being deleted; it is made anew once its finalizers have let it go"),
        ),
        Plan::Create(_) => (TargetState::Failed, format!("{kind} was gone again right after it was written")),
        Plan::Update(_) => (
            TargetState::Failed,
            format!(
                "{kind} was written and reads back otherwise: an admission webhook or another controller changes it; \
                 find it in metadata.managedFields"
            ),
        ),
    };
    Round::Done(state, message)
}

/// What went wrong with a call, and the next step.
fn refusal(kind: &TargetKind, did: &str, error: &CallError) -> String {
    // A create can only miss its kind or its namespace; some API servers name the kind in a Status.
    let no_namespace = error
        .status()
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| details.kind == "namespaces");
    if error.is_not_found() && !no_namespace && matches!(kind, TargetKind::ImagePolicy { .. }) {
        return image_policy::NOT_INSTALLED.to_owned();
    }
    format!("{kind} could not be {did}: {error}")
}
