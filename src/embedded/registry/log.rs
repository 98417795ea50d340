//! What came in, what went out, and where a scenario may interfere.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::http::{Method, StatusCode, Version};
use bytes::Bytes;
use jiff::Timestamp;

/// Records kept: an hour of a busy simulation (50 requests a second), about 50 MB at worst.
const RECORDS_MAX: usize = 200_000;

/// What a request asks of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `/v2/`: version check.
    Base,
    /// The token endpoint.
    Token,
    /// A tag list.
    Tags,
    /// A manifest or an index, by tag or digest.
    Manifest,
    /// A blob by digest.
    Blob,
    /// Any step of a blob upload.
    Upload,
    /// Anything else; answered 404.
    Other,
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// Counts from 1 over the registry's life; not reset with the log.
    pub sequence: u64,
    /// HTTP method.
    pub method: Method,
    /// HTTP version that it came by.
    pub version: Version,
    /// Path without query.
    pub path: String,
    /// Query without `?`, as sent.
    pub query: Option<String>,
    /// What it asks.
    pub operation: Operation,
    /// Repository, where the path names one.
    pub repository: Option<String>,
    /// Tag or digest, where the path names one; the upload's name for uploads.
    pub reference: Option<String>,
    /// The `Accept` header, several joined by comma.
    pub accept: Option<String>,
    /// Whether an `Authorization` header was sent; its content is never kept.
    pub with_credentials: bool,
}

/// One request with its answer.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The request.
    pub info: RequestInfo,
    /// Status sent; `None` while it is being answered, and for ever when the connection was cut or the client left.
    pub status: Option<StatusCode>,
    /// When it came in.
    pub at: Timestamp,
}

/// What happens to a request instead of, or before, its normal handling.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer; nothing is read or written.
    Respond {
        /// Status of the answer.
        status: StatusCode,
        /// Headers as name and value; one that HTTP does not allow is left out.
        headers: Vec<(String, String)>,
        /// Body as sent.
        body: Bytes,
    },
    /// Wait in tokio's time, then handle it as usual.
    Delay(Duration),
    /// Cut the connection without an answer; nothing is read or written.
    Drop,
}

/// Asked before each request, after it was counted.
pub type FaultHook = Arc<dyn Fn(&RequestInfo) -> Option<Fault> + Send + Sync>;

/// The newest records and the count of all.
#[derive(Debug, Default)]
pub(super) struct RequestLog {
    records: VecDeque<RequestRecord>,
    total: u64,
    sequence: u64,
}

// === impl RequestLog ===

impl RequestLog {
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Forgets records and count; sequence numbers go on.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.total = 0;
    }

    /// Counts a request that came in.
    pub(super) fn push(&mut self, record: RequestRecord) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(record);
        self.total += 1;
    }

    /// Notes the answer to a request, unless its record was cleared meanwhile.
    pub(super) fn answered(&mut self, sequence: u64, status: StatusCode) {
        // Requests come in the order of their sequence and are answered soon: the search ends near the back.
        let record = self.records.iter_mut().rev().find(|record| record.info.sequence == sequence);
        if let Some(record) = record {
            record.status = Some(status);
        }
    }

    pub(super) fn records(&self) -> Vec<RequestRecord> {
        self.records.iter().cloned().collect()
    }

    pub(super) fn count(&self, wanted: impl Fn(&RequestRecord) -> bool) -> usize {
        self.records.iter().filter(|record| wanted(record)).count()
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }
}
