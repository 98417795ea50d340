//! `deletionPolicy: Delete`: a finalizer holds the set until its targets are deleted.
//!
//! With `Retain`, the default, nothing here happens and a deleted set leaves everything as it is. A suspended set that is
//! deleted leaves its targets too, as Flux does with a suspended Kustomization. Finalizers of others are left alone.

use std::time::Duration;

use kube::runtime::controller::Action;
use serde_json::Value;

use crate::api::v1alpha1::DeletionPolicy;
use crate::controller::context::Context;
use crate::controller::events::{self, Happening};
use crate::controller::live::{Live, WriteError};
use crate::controller::targets::Reader;
use crate::model::{Reason, TargetKind, TargetName};
use crate::targets::leave::NotDeleted;
use crate::targets::{Owner, Targets};

/// On a set whose targets go with it.
pub const FINALIZER: &str = "tidegate.dev/targets";
/// Pause before a set that changed while it was read is read again.
const AGAIN: Duration = Duration::from_millis(200);
/// Pause before the API server is asked again to delete what it refused: a Role is mended by hand, and whoever deletes a
/// namespace waits for it.
const REFUSED_AGAIN: Duration = Duration::from_secs(10);

/// Brings our finalizer in step with the policy: it is there before the first target is written, and goes when the
/// policy becomes `Retain`. The set as it is afterwards, or `None` when nothing had to be written.
///
/// # Errors
/// The finalizer was not written.
pub async fn prepare(
    context: &Context,
    live: &Live,
    policy: DeletionPolicy,
) -> Result<Option<Live>, WriteError> {
    let finalizers = match (policy, is_held(live)) {
        (DeletionPolicy::Delete, false) => [live.finalizers.clone(), vec![FINALIZER.to_owned()]].concat(),
        (DeletionPolicy::Retain, true) => without_ours(live),
        _ => return Ok(None),
    };
    live.write_finalizers(context, &finalizers).await.map(Some)
}

/// A set that is being deleted: its targets are deleted when its policy says so, and our finalizer is taken off. What the
/// API server refuses is told by an Event, and tried again.
pub async fn finish(context: &Context, live: &Live) -> Action {
    if !is_held(live) {
        context.forget(&live.name.namespace, &live.name.name);
        return Action::await_change();
    }
    let spec = live.spec();
    let deletes = spec.pointer("/deletionPolicy").and_then(Value::as_str) == Some("Delete");
    let suspended = spec.pointer("/suspend").and_then(Value::as_bool) == Some(true);
    if deletes && !suspended {
        let reader = Reader::of(context, &live.name);
        let owner = Owner { set: &live.name, generation: live.generation, live: &reader };
        let targets = Targets::new(context.client.clone());
        match targets.delete(&owner, &targets_of(&spec)).await {
            Ok(()) => {}
            Err(NotDeleted::Stopped(stopped)) => {
                tracing::info!(set = %live.name, "{stopped}");
                return Action::requeue(AGAIN);
            }
            Err(NotDeleted::Refused(why)) => return refused(context, live, why).await,
        }
    }
    match live.write_finalizers(context, &without_ours(live)).await {
        Ok(_) => {
            context.forget(&live.name.namespace, &live.name.name);
            Action::await_change()
        }
        Err(WriteError::Stale) => Action::requeue(AGAIN),
        Err(error) => refused(context, live, error.to_string()).await,
    }
}

fn is_held(live: &Live) -> bool {
    live.finalizers.iter().any(|known| known == FINALIZER)
}

fn without_ours(live: &Live) -> Vec<String> {
    live.finalizers.iter().filter(|known| *known != FINALIZER).cloned().collect()
}

/// The targets that a spec names, by name and kind alone: a set whose spec breaks a rule can be deleted too.
fn targets_of(spec: &Value) -> Vec<(TargetName, TargetKind)> {
    let targets = spec.pointer("/targets").and_then(Value::as_array).into_iter().flatten();
    let target = |target: &Value| {
        let name = |field: &str| {
            target.pointer(&format!("/{field}/name")).and_then(Value::as_str).map(str::to_owned)
        };
        let kind = if let Some(name) = name("configMap") {
            TargetKind::ConfigMap { name, keys: std::collections::BTreeMap::new() }
        } else if let Some(name) = name("imagePolicy") {
            TargetKind::ImagePolicy {
                name,
                image_repository: String::new(),
                image_update_automation: None,
                rolled_out_by: Vec::new(),
            }
        } else {
            TargetKind::ResourceSetInputProvider { name: name("resourceSetInputProvider")? }
        };
        Some((target["name"].as_str()?.parse().ok()?, kind))
    };
    targets.filter_map(target).collect()
}

async fn refused(context: &Context, live: &Live, why: String) -> Action {
    let mut memory = context.take_memory(&live.name, live.generation);
    if memory.refusal_told.as_ref() != Some(&why) {
        let message = format!(
            "the set is kept until its targets are deleted (deletionPolicy Delete): {why}; mend it, or set deletionPolicy \
             to Retain to let it go without"
        );
        let happening = Happening { reason: Reason::TargetNotDeleted, warning: true, message };
        events::publish(context, live, vec![happening]).await;
        memory.refusal_told = Some(why);
    }
    context.keep_memory(&live.name, memory);
    Action::requeue(REFUSED_AGAIN)
}
