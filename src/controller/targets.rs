//! Targets of one set: each follows `status.promoted`, written only after a live read of the set.

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::api::{Api, ApiResource, DynamicObject};

use crate::api::{ReleaseSet, status};
use crate::controller::context::Context;
use crate::controller::live::Live;
use crate::engine::policy::Policy;
use crate::engine::report::TargetReports;
use crate::model::SetName;
use crate::targets::{LiveSet, SetState, Stopped, Targets};
use crate::telemetry::kube_call::{CallError, call_optional};

/// Reads the set's metadata, spec and status anew before each write.
struct Reader {
    sets: Api<DynamicObject>,
    name: String,
}

/// Brings every target to the promoted release of `live`.
///
/// # Errors
/// The set is no longer the one that was read: nothing more is written, read it anew.
pub async fn sync(context: &Context, live: &Live, policy: &Policy) -> Result<TargetReports, Stopped> {
    let resource = ApiResource::erase::<ReleaseSet>(&());
    let SetName { namespace, name, .. } = &live.name;
    let sets = Api::namespaced_with(context.client.clone(), namespace, &resource);
    let reader = Reader { sets, name: name.clone() };
    let wanted: Vec<_> =
        policy.targets.iter().map(|target| (target.name.clone(), target.kind.clone())).collect();
    let committed = status::committed(&live.status);
    let targets = Targets::new(context.client.clone());
    targets.sync(&live.name, &wanted, committed.as_ref(), &reader).await
}

// === impl Reader ===

impl LiveSet for Reader {
    fn read(&self) -> BoxFuture<'_, Result<Option<SetState>, CallError>> {
        async {
            let set = call_optional(self.sets.get(&self.name)).await?;
            Ok(set.map(|set| SetState {
                uid: set.metadata.uid.unwrap_or_default(),
                deleting: set.metadata.deletion_timestamp.is_some(),
                suspended: set.data.pointer("/spec/suspend").and_then(serde_json::Value::as_bool)
                    == Some(true),
                sequence: set.data.pointer("/status/promoted/sequence").and_then(serde_json::Value::as_i64),
            }))
        }
        .boxed()
    }
}
