//! Targets of one set: each follows `status.promoted`, written only after a live read of the set.

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::api::{Api, ApiResource, DynamicObject};

use crate::api::{ReleaseSet, status};
use crate::controller::context::{Context, SetMemory};
use crate::controller::live::Live;
use crate::engine::observation::Marks;
use crate::engine::policy::Policy;
use crate::engine::report::TargetReports;
use crate::model::{SetName, TargetKind, TargetName, TargetState};
use crate::targets::leave::Search;
use crate::targets::marks::Highest;
use crate::targets::{LiveSet, Owner, SetState, Stopped, Targets};
use crate::telemetry::kube_call::{CallError, call_optional};

/// Reads the set's metadata, spec and status anew before each write.
pub(super) struct Reader {
    sets: Api<DynamicObject>,
    name: String,
}

/// What became of a set's targets in one reconcile.
#[derive(Debug)]
pub struct Followed {
    /// How far each is.
    pub reports: TargetReports,
    /// One was found that carries a higher sequence than the set: its mark is to be read before anything is decided.
    pub again: bool,
}

/// What the marks of the set's targets say, where they have to be read: when status holds no release, when a target is
/// known to carry more (a restore may put an older status over the object that was read), and before the first decision
/// of this process on this object and generation: a status that is older than its targets must be known for that before
/// anything is committed.
pub async fn marks(context: &Context, live: &Live, policy: &Policy, memory: &mut SetMemory) -> Marks {
    let promoted = live.status.promoted.as_ref().map(|promoted| promoted.sequence);
    let is_in_step = promoted.zip(memory.carried).is_some_and(|(promoted, carried)| promoted >= carried);
    if policy.targets.is_empty() || is_in_step {
        return Marks::InStep;
    }
    let read = Targets::new(context.client.clone()).marks(&live.name, &wanted(policy), promoted).await;
    memory.carried = read.as_ref().ok().map(|highest| highest.as_ref().map_or(0, |highest| highest.sequence));
    match read {
        Err(error) => Marks::Unreadable(error.to_string()),
        Ok(Some(Highest { sequence, tag })) if Some(sequence) > promoted => Marks::Highest { sequence, tag },
        Ok(_) => Marks::InStep,
    }
}

/// Brings every target to the promoted release of `live`, and lets go of those that left the spec. Nothing is written
/// while `marks` say that the release is not the last one, or there is another reason to `hold`.
///
/// # Errors
/// The set is no longer the one that was read: nothing more is written, read it anew.
pub async fn follow(
    context: &Context,
    live: &Live,
    policy: &Policy,
    marks: &Marks,
    hold: Option<&str>,
    memory: &mut SetMemory,
) -> Result<Followed, Stopped> {
    let wanted = wanted(policy);
    let committed = status::committed(&live.status);
    let targets = Targets::new(context.client.clone());
    let reader = Reader::of(context, &live.name);
    let owner = Owner { set: &live.name, generation: live.generation, live: &reader };
    let unknown = match marks {
        Marks::InStep => None,
        Marks::Unreadable(why) => Some(format!("is not written while what targets carry is unknown: {why}")),
        Marks::Highest { sequence, .. } => Some(format!(
            "is not written before the release after sequence {sequence}, which a target carries"
        )),
    };
    let hold = hold.or(unknown.as_deref());
    if let Some(committed) = &committed
        && hold.is_none()
        && !policy.suspend
        && !memory.removed_sought
    {
        let search = targets.unmark_removed(&owner, &wanted, committed).await?;
        memory.removed_sought = search == Search::Done;
    }
    let reports = targets.sync(&owner, &wanted, committed.as_ref(), hold).await?;
    let ahead = reports.values().any(|(state, _)| *state == TargetState::Ahead);
    let again = ahead && *marks == Marks::InStep;
    if ahead {
        memory.carried = None;
    } else if let (Some(carried), Some(committed)) = (&mut memory.carried, &committed) {
        *carried = (*carried).max(committed.promoted().sequence);
    }
    Ok(Followed { reports, again })
}

fn wanted(policy: &Policy) -> Vec<(TargetName, TargetKind)> {
    policy.targets.iter().map(|target| (target.name.clone(), target.kind.clone())).collect()
}

// === impl Reader ===

impl Reader {
    pub(super) fn of(context: &Context, set: &SetName) -> Self {
        let resource = ApiResource::erase::<ReleaseSet>(&());
        let sets = Api::namespaced_with(context.client.clone(), &set.namespace, &resource);
        Self { sets, name: set.name.clone() }
    }
}

impl LiveSet for Reader {
    fn read(&self) -> BoxFuture<'_, Result<Option<SetState>, CallError>> {
        async {
            let set = call_optional(self.sets.get(&self.name)).await?;
            Ok(set.map(|set| SetState {
                uid: set.metadata.uid.unwrap_or_default(),
                generation: set.metadata.generation.unwrap_or_default(),
                deleting: set.metadata.deletion_timestamp.is_some(),
                suspended: set.data.pointer("/spec/suspend").and_then(serde_json::Value::as_bool)
                    == Some(true),
                sequence: set.data.pointer("/status/promoted/sequence").and_then(serde_json::Value::as_i64),
            }))
        }
        .boxed()
    }
}
