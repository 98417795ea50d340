//! Objects that follow the promoted release: ConfigMaps, the ImagePolicy of Flux, the input provider of the Flux Operator.
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
pub mod leave;
pub mod mark;
pub mod marks;
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

/// The set that is acted for, as it was read, and how it is read anew before each write.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// Namespace, name and uid.
    pub set: &'a SetName,
    /// `metadata.generation` of the spec that is acted for.
    pub generation: i64,
    /// Reads it anew.
    pub live: &'a dyn LiveSet,
}

/// The set as the API server shows it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetState {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
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
    /// Its spec is another one: a target may have left it, or come.
    #[error("the ReleaseSet was edited: it is read again")]
    Edited,
    /// Its promoted release is another one.
    #[error("status.promoted.sequence is {live:?} and not {ours}: the ReleaseSet is read again")]
    Moved {
        /// The sequence that the caller acts for.
        ours: i64,
        /// The sequence of the live set.
        live: Option<i64>,
    },
}

/// What one write came to.
enum Written {
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

    /// Brings every target to the committed release. All are read first: none is written while one of them carries a
    /// higher sequence, for then the release is not the last one. Writes nothing where the object carries it already,
    /// nothing before the first promotion, and nothing while there is a reason to `hold`.
    ///
    /// # Errors
    /// The set is no longer the one that is acted for. A target that could not be written is a report, no error.
    pub async fn sync(
        &self,
        owner: &Owner<'_>,
        targets: &[(TargetName, TargetKind)],
        committed: Option<&Committed>,
        hold: Option<&str>,
    ) -> Result<Reports, Stopped> {
        let all = |state: TargetState, message: &str| {
            let message = clip(message, MESSAGE_MAX_BYTES);
            targets.iter().map(|(name, _)| (name.clone(), (state, message.clone()))).collect()
        };
        let Some(committed) = committed else {
            return Ok(all(TargetState::Pending, hold.unwrap_or("nothing was promoted yet")));
        };
        if let Some((state, message)) = owner.halted(committed).await? {
            return Ok(all(state, &message));
        }
        let mut plans = Vec::new();
        for (name, kind) in targets {
            plans.push((name, kind, self.judge(owner.set, name, kind, committed).await));
        }
        let ahead = plans.iter().find_map(|(_, kind, plan)| match plan {
            Ok(Plan::Ahead { sequence, .. }) => Some(format!(
                "is not written while {kind} carries sequence {sequence}, which the ReleaseSet does not know"
            )),
            _ => None,
        });
        let hold = hold.map(str::to_owned).or(ahead);
        let mut reports = Reports::new();
        for (name, kind, plan) in plans {
            let (state, message) = match (plan, &hold) {
                (Err(why), _) => (TargetState::Failed, why),
                (Ok(Plan::Create(_) | Plan::Update(_)), Some(hold)) => (TargetState::Pending, hold.clone()),
                (Ok(plan), _) => self.bring(owner, name, kind, committed, plan).await?,
            };
            reports.insert(name.clone(), (state, clip(&message, MESSAGE_MAX_BYTES)));
        }
        Ok(reports)
    }

    /// Does what `plan` says, after a live read of the set; when the object changed since it was read, once more.
    async fn bring(
        &self,
        owner: &Owner<'_>,
        name: &TargetName,
        kind: &TargetKind,
        committed: &Committed,
        mut plan: Plan,
    ) -> Result<(TargetState, String), Stopped> {
        for _ in 0..ROUNDS {
            if !matches!(plan, Plan::Create(_) | Plan::Update(_)) {
                return Ok(settled(plan, kind, committed));
            }
            if let Some(halted) = owner.halted(committed).await? {
                return Ok(halted);
            }
            if let Written::Done(state, message) = self.write(owner.set, name, kind, committed, plan).await {
                return Ok((state, message));
            }
            plan = match self.judge(owner.set, name, kind, committed).await {
                Ok(plan) => plan,
                Err(why) => return Ok((TargetState::Failed, why)),
            };
        }
        let message = format!(
            "{kind} changed between read and write, {ROUNDS} times; it is read again at the next look"
        );
        Ok((TargetState::Failed, message))
    }

    /// Reads one target and says what is to be done with it, or why it could not be read.
    async fn judge(
        &self,
        set: &SetName,
        name: &TargetName,
        kind: &TargetKind,
        committed: &Committed,
    ) -> Result<Plan, String> {
        match call_optional(self.objects(set, kind).get(kind.object_name())).await {
            Ok(read) => Ok(plan(set, name, kind, committed, read.as_ref())),
            Err(error) => Err(refusal(kind, "read", &error)),
        }
    }

    /// Writes and reads back.
    async fn write(
        &self,
        set: &SetName,
        name: &TargetName,
        kind: &TargetKind,
        committed: &Committed,
        plan: Plan,
    ) -> Written {
        let (objects, params) = (self.objects(set, kind), PostParams::default());
        let (written, existed) = match plan {
            Plan::Create(object) => (call(objects.create(&params, &object)).await, false),
            Plan::Update(object) => (call(objects.replace(kind.object_name(), &params, &object)).await, true),
            other => {
                let (state, message) = settled(other, kind, committed);
                return Written::Done(state, message);
            }
        };
        match written {
            Ok(_) => {}
            // Made, changed or deleted by somebody else since it was read.
            Err(error) if error.is_conflict() => return Written::Raced,
            Err(error) if error.is_not_found() && existed => return Written::Raced,
            Err(error) => return Written::Done(TargetState::Failed, refusal(kind, "written", &error)),
        }
        match self.judge(set, name, kind, committed).await {
            Err(why) => Written::Done(TargetState::Failed, why),
            Ok(plan) => {
                let (state, message) = settled(plan, kind, committed);
                Written::Done(state, message)
            }
        }
    }

    fn objects(&self, set: &SetName, kind: &TargetKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &set.namespace, &resource(kind))
    }
}

// === impl Owner ===

impl Owner<'_> {
    /// Reads the set live: why no target may be written now; `None` when one may.
    async fn halted(&self, committed: &Committed) -> Result<Option<(TargetState, String)>, Stopped> {
        Ok(match self.live.read().await {
            Err(error) => Some((TargetState::Failed, format!("the ReleaseSet could not be read: {error}"))),
            Ok(state) => {
                let is_suspended = self.still_committed(committed, state)?.suspended;
                is_suspended.then(|| (TargetState::Held, "the ReleaseSet is suspended".to_owned()))
            }
        })
    }

    /// The live set, when it is the one that is acted for, whatever becomes of it.
    fn still_ours(&self, live: Option<SetState>) -> Result<SetState, Stopped> {
        match live {
            None => Err(Stopped::Deleting),
            Some(live) if live.uid != self.set.uid => Err(Stopped::Replaced),
            Some(live) if live.generation != self.generation => Err(Stopped::Edited),
            Some(live) => Ok(live),
        }
    }

    /// The same, when it is to live on and `committed` is its promoted release.
    fn still_committed(&self, committed: &Committed, live: Option<SetState>) -> Result<SetState, Stopped> {
        let ours = committed.promoted().sequence;
        // First of all: a deletion raises the generation too.
        if live.as_ref().is_some_and(|live| live.deleting && live.uid == self.set.uid) {
            return Err(Stopped::Deleting);
        }
        match self.still_ours(live)? {
            live if live.sequence != Some(ours) => Err(Stopped::Moved { ours, live: live.sequence }),
            live => Ok(live),
        }
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

/// What a plan means that leads to no write, or that still asks for one after the write.
fn settled(plan: Plan, kind: &TargetKind, committed: &Committed) -> (TargetState, String) {
    let promoted = committed.promoted();
    match plan {
        Plan::InStep => {
            let waiting = match kind {
                TargetKind::ConfigMap { keys, .. } => config_map::waiting(committed, keys),
                TargetKind::ImagePolicy { .. } | TargetKind::ResourceSetInputProvider { .. } => None,
            };
            let waiting = waiting.map_or_else(String::new, |waiting| format!("; {waiting}"));
            let carries = format!("carries {} (sequence {})", promoted.release.tag, promoted.sequence);
            (TargetState::Applied, format!("{carries}{waiting}"))
        }
        Plan::Taken(why) => (TargetState::Taken, why),
        Plan::Unwritable(why) => (TargetState::Failed, format!("{kind} cannot be written: {why}")),
        Plan::Ahead { sequence, tag } => (
            TargetState::Ahead,
            format!(
                "{kind} carries {tag} (sequence {sequence}) and the ReleaseSet only sequence {}, so its status is older; \
                 the object is not moved back: once {tag} or a newer tag is complete and passes, it is committed as sequence \
                 {}",
                promoted.sequence,
                sequence.saturating_add(1)
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
    }
}

/// What went wrong with a call, and the next step.
fn refusal(kind: &TargetKind, did: &str, error: &CallError) -> String {
    // A create can only miss its kind or its namespace; some API servers name the kind in a Status.
    let no_namespace = error
        .status()
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| details.kind == "namespaces");
    let not_installed = match kind {
        TargetKind::ImagePolicy { .. } => Some(image_policy::NOT_INSTALLED),
        TargetKind::ResourceSetInputProvider { .. } => Some(resource_set_input_provider::NOT_INSTALLED),
        TargetKind::ConfigMap { .. } => None,
    };
    match not_installed {
        Some(words) if error.is_not_found() && !no_namespace => words.to_owned(),
        _ => format!("{kind} could not be {did}: {error}"),
    }
}
