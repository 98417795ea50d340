//! The ReleaseSet as the API server holds it now, and the one way to write its status (design §4 Commit):
//! GET, change our fields in the JSON, PUT with the resourceVersion of that GET, compare the reply.

use std::collections::BTreeMap;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::api::status::{lost_fields, merge_into};
use crate::api::{ReleaseSet, ReleaseSetStatus};
use crate::controller::context::{ApiError, Context, within_deadline};
use crate::flux::reader::REQUESTED_AT;
use crate::model::SetName;

/// One read of one ReleaseSet.
#[derive(Clone, Debug)]
pub struct Live {
    /// Namespace, name and uid.
    pub name: SetName,
    /// `metadata.generation`.
    pub generation: i64,
    /// A deletionTimestamp is set.
    pub deleting: bool,
    /// `reconcile.fluxcd.io/requestedAt`.
    pub requested_at: Option<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// Its status, ours.
    pub status: ReleaseSetStatus,
    object: DynamicObject,
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody wrote in between, or the object is gone: read again, decide again.
    #[error("the ReleaseSet changed since it was read")]
    Stale,
    /// The reply lacks fields that were sent.
    #[error(
        "the installed CRD is older than this controller: it dropped {0}; apply the output of `tidegate crd` with kubectl"
    )]
    CrdOutdated(String),
    /// The object cannot be written or read as JSON.
    #[error("failed to encode the status: {0}")]
    Encode(#[source] serde_json::Error),
    /// The reply cannot be read as a ReleaseSet.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// Any other failure; whether the write happened may be unknown.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// The object's status holds something that this controller does not understand.
#[derive(Debug, thiserror::Error)]
#[error("failed to decode the status of {name}: {source}; is the CRD newer than this controller?")]
pub struct Undecodable {
    name: SetName,
    #[source]
    source: serde_path_to_error::Error<serde_json::Error>,
}

fn resource() -> ApiResource {
    ApiResource::erase::<ReleaseSet>(&())
}

/// Reads one ReleaseSet from the API server, never from a cache. `None` when it is not there.
///
/// # Errors
/// When the API server does not answer, or its status cannot be decoded.
pub async fn read(context: &Context, namespace: &str, name: &str) -> Result<Option<Live>, WriteError> {
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource());
    match within_deadline("read the ReleaseSet", api.get_opt(name)).await? {
        Some(object) => Ok(Some(Live::new(object)?)),
        None => Ok(None),
    }
}

// === impl Live ===

impl Live {
    fn new(object: DynamicObject) -> Result<Self, Undecodable> {
        let metadata = &object.metadata;
        let name = SetName {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        };
        let status = match object.data.get("status") {
            None | Some(Value::Null) => Ok(ReleaseSetStatus::default()),
            Some(status) => serde_path_to_error::deserialize(status),
        };
        let status = status.map_err(|source| Undecodable { name: name.clone(), source })?;
        let annotations = metadata.annotations.clone().unwrap_or_default();
        Ok(Self {
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            requested_at: annotations.get(REQUESTED_AT).cloned(),
            annotations,
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            status,
            name,
            object,
        })
    }

    /// The spec as JSON.
    pub fn spec(&self) -> Value {
        self.object.data.get("spec").cloned().unwrap_or_default()
    }

    /// The object as it was read.
    pub fn object(&self) -> &DynamicObject {
        &self.object
    }

    /// The object as a reference for Events.
    pub fn reference(&self) -> k8s_openapi::api::core::v1::ObjectReference {
        k8s_openapi::api::core::v1::ObjectReference {
            api_version: Some("tidegate.dev/v1alpha1".to_owned()),
            kind: Some("ReleaseSet".to_owned()),
            namespace: Some(self.name.namespace.clone()),
            name: Some(self.name.name.clone()),
            uid: Some(self.name.uid.clone()),
            ..Default::default()
        }
    }

    /// Writes `status` over this read: refused when anything was written since. Fields of the live status that
    /// we do not know stay.
    ///
    /// # Errors
    /// [`WriteError`]. After a time-out it is unknown whether the write happened.
    pub async fn write(
        &self,
        context: &Context,
        kind: &'static str,
        status: &ReleaseSetStatus,
    ) -> Result<Self, WriteError> {
        let result = self.put(context, status).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(WriteError::Stale) => "conflict",
            Err(_) => "error",
        };
        context.metrics.count_write(kind, outcome);
        result
    }

    /// Writes `metadata.finalizers` over this read, by a merge patch that carries uid and resourceVersion: refused when
    /// anything was written since. The object may be gone afterwards, when it is being deleted and none is left.
    ///
    /// # Errors
    /// [`WriteError`]. After a time-out it is unknown whether the write happened.
    pub async fn write_finalizers(
        &self,
        context: &Context,
        finalizers: &[String],
    ) -> Result<Self, WriteError> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &self.name.namespace, &resource());
        let patch = Patch::Merge(json!({"metadata": {
            "uid": self.name.uid,
            "resourceVersion": self.object.metadata.resource_version,
            "finalizers": finalizers,
        }}));
        let params = PatchParams::default();
        let call = api.patch(&self.name.name, &params, &patch);
        let reply = within_deadline("write the finalizers", call).await;
        let outcome = if reply.is_ok() { "ok" } else { "error" };
        context.metrics.count_write("finalizer", outcome);
        match reply {
            Err(error) if error.source.is_conflict() || error.source.is_not_found() => Err(WriteError::Stale),
            reply => Ok(Self::new(reply?)?),
        }
    }

    async fn put(&self, context: &Context, status: &ReleaseSetStatus) -> Result<Self, WriteError> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &self.name.namespace, &resource());
        let mut object = self.object.clone();
        object.data = merge_into(&self.object.data, status);
        let params = PostParams::default();
        let call = api.replace_status(&self.name.name, &params, &object);
        let reply = match within_deadline("write the status", call).await {
            Err(error) if error.source.is_conflict() || error.source.is_not_found() => {
                return Err(WriteError::Stale);
            }
            reply => reply?,
        };
        let lost = lost_fields(&object.data, &reply.data);
        if !lost.is_empty() {
            return Err(WriteError::CrdOutdated(lost.join(", ")));
        }
        Ok(Self::new(reply)?)
    }
}
