//! Targets that leave: one that is no longer in the spec loses our mark, and those of a set that is deleted are deleted
//! when its `deletionPolicy` says so.
//!
//! Neither takes a release back by itself: what loses the mark stays as it is, its other labels included, so that Flux
//! keeps following it.

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams, Preconditions};
use kube::core::ObjectMeta;

use crate::engine::clearance::Committed;
use crate::model::{TargetKind, TargetName};
use crate::targets::mark::{Mark, SET_LABEL};
use crate::targets::marks::{is_not_installed, of_target};
use crate::targets::{
    Owner, ROUNDS, Stopped, Targets, config_map, image_policy, resource, resource_set_input_provider,
};
use crate::telemetry::kube_call::{CallError, call, call_optional};

/// How a search for removed targets went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Nothing is left to do for this spec.
    Done,
    /// Something could not be read or written, or is not to be touched now: to be searched again.
    Unfinished,
}

/// Why targets of a deleted set are still there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDeleted {
    /// The set is no longer the one that was read.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The API server refused, in words; it is tried again.
    #[error("{0}")]
    Refused(String),
}

/// What a removed target's mark is to become.
enum Fate {
    /// The spec gives the object to another target of this set.
    Renamed(TargetName),
    Unmarked,
}

// === impl Targets ===

impl Targets {
    /// Takes our marks off the objects of this set's targets that are not in `targets` any more. An object that the
    /// spec now names under another target gets that target's mark. Objects are found by their label; a kind that is
    /// not installed, or that we may not list, has none.
    ///
    /// # Errors
    /// The set is no longer the one that is acted for.
    pub async fn unmark_removed(
        &self,
        owner: &Owner<'_>,
        targets: &[(TargetName, TargetKind)],
        committed: &Committed,
    ) -> Result<Search, Stopped> {
        let mut search = Search::Done;
        let resources =
            [config_map::resource(), image_policy::resource(), resource_set_input_provider::resource()];
        for resource in resources {
            for name in self.removed(owner, targets, &resource, &mut search).await {
                if self.unmark(owner, targets, committed, &resource, &name).await? == Search::Unfinished {
                    search = Search::Unfinished;
                }
            }
        }
        Ok(search)
    }

    /// Names of the objects of one kind that may have to lose the mark. From the API server's cache: they are read anew.
    async fn removed(
        &self,
        owner: &Owner<'_>,
        targets: &[(TargetName, TargetKind)],
        resource: &ApiResource,
        search: &mut Search,
    ) -> Vec<String> {
        let set = owner.set;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &set.namespace, resource);
        let params = ListParams::default().labels(&format!("{SET_LABEL}={}", set.name)).match_any();
        let listed = match call(api.list_metadata(&params)).await {
            Ok(listed) => listed.items,
            Err(error) if is_not_installed(&error) => return Vec::new(),
            Err(error) => {
                // Nobody who may not list it asked us to write it.
                if error.status().is_none_or(|status| status.code != 403) {
                    *search = Search::Unfinished;
                }
                tracing::warn!(%set, "removed targets of kind {} could not be looked for: {error}", resource.kind);
                return Vec::new();
            }
        };
        let removed =
            listed.into_iter().filter(|object| fate(owner, targets, resource, &object.metadata).is_some());
        removed.filter_map(|object| object.metadata.name).collect()
    }

    async fn unmark(
        &self,
        owner: &Owner<'_>,
        targets: &[(TargetName, TargetKind)],
        committed: &Committed,
        resource: &ApiResource,
        name: &str,
    ) -> Result<Search, Stopped> {
        let set = owner.set;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &set.namespace, resource);
        for _ in 0..ROUNDS {
            let mut object = match call_optional(api.get(name)).await {
                Ok(Some(object)) => object,
                Ok(None) => return Ok(Search::Done),
                Err(error) => return Ok(unfinished(owner, resource, name, &error)),
            };
            match fate(owner, targets, resource, &object.metadata) {
                None => return Ok(Search::Done),
                // It carries more than the set knows, so that the set's record is the older one: left for later.
                Some((mark, Fate::Unmarked)) if mark.sequence > Some(committed.promoted().sequence) => {
                    return Ok(Search::Unfinished);
                }
                Some((_, Fate::Unmarked)) => Mark::remove(&mut object),
                Some((mark, Fate::Renamed(target))) => {
                    Mark { target: target.to_string(), ..mark }.write(&mut object);
                }
            }
            match owner.live.read().await {
                Err(error) => return Ok(unfinished(owner, resource, name, &error)),
                Ok(state) => {
                    if owner.still_committed(committed, state)?.suspended {
                        return Ok(Search::Unfinished);
                    }
                }
            }
            match call(api.replace(name, &PostParams::default(), &object)).await {
                Ok(_) => {
                    tracing::info!(%set, "{}/{name} left the spec and is not followed any more", resource.kind);
                    return Ok(Search::Done);
                }
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Ok(unfinished(owner, resource, name, &error)),
            }
        }
        Ok(Search::Unfinished)
    }

    /// Deletes every one of `targets` that carries exactly our mark. One that is being deleted already is not waited
    /// for.
    ///
    /// # Errors
    /// [`NotDeleted`]; whatever could be deleted is.
    pub async fn delete(
        &self,
        owner: &Owner<'_>,
        targets: &[(TargetName, TargetKind)],
    ) -> Result<(), NotDeleted> {
        let mut refused = None;
        for (name, kind) in targets {
            if let Err(error) = self.delete_one(owner, name, kind).await {
                match error {
                    NotDeleted::Stopped(_) => return Err(error),
                    NotDeleted::Refused(_) => drop(refused.get_or_insert(error)),
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    async fn delete_one(
        &self,
        owner: &Owner<'_>,
        name: &TargetName,
        kind: &TargetKind,
    ) -> Result<(), NotDeleted> {
        let refused =
            |did: &str, error: &CallError| NotDeleted::Refused(format!("{kind} could not be {did}: {error}"));
        let objects = self.objects(owner.set, kind);
        for _ in 0..ROUNDS {
            let object = match call_optional(objects.get(kind.object_name())).await {
                Ok(Some(object)) => object,
                Ok(None) => return Ok(()),
                Err(error) if is_not_installed(&error) => return Ok(()),
                Err(error) => return Err(refused("read", &error)),
            };
            if of_target(&object, owner.set, name).is_none() || object.metadata.deletion_timestamp.is_some() {
                return Ok(());
            }
            // After the object: while our finalizer is on the set no other of its name can have written it since.
            match owner.live.read().await {
                Err(error) => {
                    return Err(NotDeleted::Refused(format!("the ReleaseSet could not be read: {error}")));
                }
                Ok(state) => {
                    let live = owner.still_ours(state)?;
                    if live.suspended || !live.deleting {
                        return Err(Stopped::Edited.into());
                    }
                }
            }
            let preconditions = Preconditions {
                uid: object.metadata.uid.clone(),
                resource_version: object.metadata.resource_version.clone(),
            };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
            match call(objects.delete(kind.object_name(), &params)).await {
                Ok(_) => {
                    tracing::info!(set = %owner.set, "{kind} was deleted with its ReleaseSet");
                    return Ok(());
                }
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(refused("deleted", &error)),
            }
        }
        Err(NotDeleted::Refused(format!("{kind} changed between read and deletion, {ROUNDS} times")))
    }
}

/// What becomes of an object's mark; `None` when it is not of this set, or stands in the spec as it is marked.
fn fate(
    owner: &Owner<'_>,
    targets: &[(TargetName, TargetKind)],
    kind: &ApiResource,
    metadata: &ObjectMeta,
) -> Option<(Mark, Fate)> {
    let mark = Mark::of_object(metadata).filter(|mark| mark.set == owner.set.name)?;
    let name = metadata.name.as_deref()?;
    let named = targets.iter().find(|(_, target)| target.object_name() == name && resource(target) == *kind);
    match named {
        Some((target, _)) if target.as_str() == mark.target => None,
        Some((target, _)) => Some((mark, Fate::Renamed(target.clone()))),
        None => Some((mark, Fate::Unmarked)),
    }
}

fn unfinished(owner: &Owner<'_>, resource: &ApiResource, name: &str, error: &CallError) -> Search {
    tracing::warn!(set = %owner.set, "the mark of {}/{name} could not be taken off: {error}", resource.kind);
    Search::Unfinished
}
