//! Blob uploads: in one request, in two, or in chunks, and mounts from another repository.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};

use super::{
    State,
    error::OciError,
    routes::{Answer, Call, answer},
    store,
};
use crate::embedded::image::sha256;

/// Any request under `/v2/NAME/blobs/uploads`.
pub(super) fn upload(state: &mut State, call: &Call) -> Answer {
    let repository = call.info.repository.as_deref().unwrap_or("");
    match (&call.info.method, call.info.reference.as_deref()) {
        (&Method::POST, None) => start(state, call, repository),
        (&Method::PATCH, Some(upload)) => append(state, call, repository, upload),
        (&Method::PUT, Some(upload)) => finish(state, call, repository, upload),
        (&Method::GET, Some(upload)) => progress(state, repository, upload),
        (&Method::DELETE, Some(upload)) => {
            state.store.finish_upload(repository, upload).ok_or_else(OciError::upload_unknown)?;
            Ok(answer(StatusCode::NO_CONTENT, &[], Body::empty()))
        }
        _ => Err(OciError::unsupported("uploads know POST, and with a name PATCH, PUT, GET and DELETE")),
    }
}

fn start(state: &mut State, call: &Call, repository: &str) -> Answer {
    if let Some(digest) = call.parameter("digest") {
        return store(state, repository, digest, call.body.clone());
    }
    if let (Some(digest), Some(from)) = (call.parameter("mount"), call.parameter("from"))
        && let Some(content) = state.store.blob(from, digest)
    {
        return store(state, repository, digest, content);
    }
    let upload = state.store.start_upload(repository).ok_or_else(|| {
        let message = format!("more than {} uploads are open", store::UPLOADS_MAX);
        OciError::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
    })?;
    Ok(accepted(StatusCode::ACCEPTED, repository, &upload, 0))
}

fn append(state: &mut State, call: &Call, repository: &str, upload: &str) -> Answer {
    let received = state.store.upload_bytes(repository, upload).ok_or_else(OciError::upload_unknown)?;
    check_range(call, received)?;
    let received = state.store.append(repository, upload, &call.body).ok_or_else(OciError::upload_unknown)?;
    Ok(accepted(StatusCode::ACCEPTED, repository, upload, received))
}

fn finish(state: &mut State, call: &Call, repository: &str, upload: &str) -> Answer {
    let received = state.store.upload_bytes(repository, upload).ok_or_else(OciError::upload_unknown)?;
    let digest = call
        .parameter("digest")
        .ok_or_else(|| OciError::digest_invalid("the query parameter digest is missing"))?;
    if !call.body.is_empty() {
        check_range(call, received)?;
        state.store.append(repository, upload, &call.body);
    }
    let content = state.store.finish_upload(repository, upload).ok_or_else(OciError::upload_unknown)?;
    store(state, repository, digest, content)
}

fn progress(state: &mut State, repository: &str, upload: &str) -> Answer {
    let received = state.store.upload_bytes(repository, upload).ok_or_else(OciError::upload_unknown)?;
    Ok(accepted(StatusCode::NO_CONTENT, repository, upload, received))
}

/// A chunk must start where the last one ended; without `Content-Range` it is a stream that simply goes on.
fn check_range(call: &Call, received: usize) -> Result<(), OciError> {
    let Some(range) = call.headers.get(header::CONTENT_RANGE) else { return Ok(()) };
    let sent = range.to_str().ok().and_then(|range| range.trim_start_matches("bytes ").split_once('-'));
    if sent.and_then(|(start, _)| start.parse::<usize>().ok()) == Some(received) {
        return Ok(());
    }
    let message = format!("chunk out of order: {received} bytes were received");
    Err(OciError::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message))
}

fn store(state: &mut State, repository: &str, digest: &str, content: bytes::Bytes) -> Answer {
    let actual = sha256(&content);
    if actual != digest {
        return Err(OciError::digest_invalid(format!("the content's digest is {actual}, not {digest}")));
    }
    state.store.put_blob(repository, content);
    let location = format!("/v2/{repository}/blobs/{digest}");
    let headers = [(header::LOCATION.as_str(), location.as_str()), ("Docker-Content-Digest", digest)];
    Ok(answer(StatusCode::CREATED, &headers, Body::empty()))
}

/// Where to go on, and what came so far (`0-0` stands for nothing and for one byte, as in docker-registry).
fn accepted(
    status: StatusCode,
    repository: &str,
    upload: &str,
    received: usize,
) -> axum::http::Response<Body> {
    let location = format!("/v2/{repository}/blobs/uploads/{upload}");
    let range = format!("0-{}", received.saturating_sub(1));
    let headers = [
        (header::LOCATION.as_str(), location.as_str()),
        (header::RANGE.as_str(), &range),
        ("Docker-Upload-UUID", upload),
    ];
    answer(status, &headers, Body::empty())
}
