//! The error envelope of the distribution specification.

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use serde_json::{Value, json};

/// An answer that is no success: status, code of the specification and a sentence.
#[derive(Debug)]
pub(super) struct OciError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// `WWW-Authenticate`, on 401 only.
    challenge: Option<String>,
}

// === impl OciError ===

impl OciError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None }
    }

    /// 401 that tells the client how to come back.
    pub(super) fn unauthorized(challenge: String) -> Self {
        let mut error = Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        error.challenge = Some(challenge);
        error
    }

    pub(super) fn name_unknown(repository: &str) -> Self {
        let message = format!("repository name not known to registry: {repository}");
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    }

    pub(super) fn manifest_unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(super) fn blob_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry")
    }

    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    pub(super) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    /// The response; a HEAD request gets the same headers and no body (hyper drops it).
    pub(super) fn into_response(self) -> Response<Body> {
        let envelope: Value =
            json!({"errors": [{"code": self.code, "message": self.message, "detail": null}]});
        let mut builder =
            Response::builder().status(self.status).header(header::CONTENT_TYPE, "application/json");
        if let Some(challenge) = self.challenge {
            builder = builder.header(header::WWW_AUTHENTICATE, challenge);
        }
        builder
            .body(Body::from(envelope.to_string()))
            .unwrap_or_else(|_| Response::new(Body::from("failed to build the error response")))
    }
}
