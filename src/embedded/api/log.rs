//! What came in, what became of it, and where a scenario may interfere.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

/// Records kept: ten sets polled every virtual second for two hours, about 40 MB at worst.
const RECORDS_MAX: usize = 100_000;

/// What a request does, in RBAC's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET of one object.
    Get,
    /// GET of a collection.
    List,
    /// GET of a collection with `watch=true`.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// One request as it came in. Its `Debug` leaves the body out, which may hold a Secret.
#[derive(Clone)]
pub struct ApiRequest {
    /// Counts from 1 over the server's life; not reset with the log.
    pub sequence: u64,
    /// Whose client sent it, see [`super::ApiServer::client`].
    pub actor: String,
    /// What it does.
    pub verb: Verb,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural of the kind; empty when the path names none.
    pub plural: String,
    /// Namespace; `None` for cluster scope and lists over all namespaces.
    pub namespace: Option<String>,
    /// Name; `None` for collections and POST.
    pub name: Option<String>,
    /// `status`, `log`.
    pub subresource: Option<String>,
    /// Whether it asks for a dry run, which changes nothing.
    pub dry_run: bool,
    /// The body; null without one.
    pub body: Value,
}

/// One request with its outcome.
#[derive(Clone, Debug)]
pub struct ApiRecord {
    /// As in [`ApiRequest::sequence`].
    pub sequence: u64,
    /// As in [`ApiRequest::actor`].
    pub actor: String,
    /// What it did.
    pub verb: Verb,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural of the kind.
    pub plural: String,
    /// Namespace, where the request names one.
    pub namespace: Option<String>,
    /// Name; of a POST the name that the object got.
    pub name: Option<String>,
    /// `status`, `log`.
    pub subresource: Option<String>,
    /// HTTP status of the answer, 0 when the request was lost before it was done.
    pub code: u16,
    /// Revision that it made; `None` for reads, refusals, dry runs and writes that changed nothing.
    pub revision: Option<u64>,
    /// Whether the client got no answer.
    pub lost: bool,
    /// When it came in.
    pub at: Timestamp,
}

/// What happens to a request instead of, or beside, its normal handling.
#[derive(Clone, Debug)]
pub enum ApiFault {
    /// It is not done; this `Status` is the answer.
    Refuse {
        /// HTTP status, also in the `Status`.
        code: u16,
        /// The `Status`' reason, as `ServiceUnavailable`.
        reason: String,
        /// The `Status`' message.
        message: String,
    },
    /// It is not done, and the connection breaks.
    LoseRequest,
    /// It is done, and the connection breaks before the answer.
    LoseReply,
    /// Wait in tokio's time, then do it as usual.
    Delay(Duration),
}

/// Asked before each request.
pub type ApiFaultHook = Arc<dyn Fn(&ApiRequest) -> Option<ApiFault> + Send + Sync>;

/// The newest records.
#[derive(Debug, Default)]
pub(super) struct ApiLog {
    records: VecDeque<ApiRecord>,
    sequence: u64,
}

// === impl Verb ===

impl Verb {
    /// Whether it may change objects.
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }
}

// === impl ApiRequest ===

impl std::fmt::Debug for ApiRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiRequest")
            .field("sequence", &self.sequence)
            .field("actor", &self.actor)
            .field("verb", &self.verb)
            .field("group", &self.group)
            .field("plural", &self.plural)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("subresource", &self.subresource)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

impl ApiRequest {
    /// The record of an answer with this status.
    pub(super) fn record(&self, at: Timestamp, code: u16) -> ApiRecord {
        ApiRecord {
            sequence: self.sequence,
            actor: self.actor.clone(),
            verb: self.verb,
            group: self.group.clone(),
            plural: self.plural.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            subresource: self.subresource.clone(),
            code,
            revision: None,
            lost: false,
            at,
        }
    }
}

// === impl ApiLog ===

impl ApiLog {
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn push(&mut self, record: ApiRecord) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(super) fn records(&self) -> Vec<ApiRecord> {
        self.records.iter().cloned().collect()
    }

    pub(super) fn count(&self, wanted: impl Fn(&ApiRecord) -> bool) -> usize {
        self.records.iter().filter(|record| wanted(record)).count()
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
    }
}
