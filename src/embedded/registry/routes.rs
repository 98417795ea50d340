//! From request to answer: faults, credentials, then manifests, blobs and tags.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State as Extension, connect_info::IntoMakeServiceWithConnectInfo},
    http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts},
};
use serde_json::{Value, json};

use super::{
    DOCKER_LIST, DOCKER_MANIFEST, Fault, Operation, RequestInfo, RequestRecord, Shared, State, auth,
    connection::Cut,
    error::OciError,
    store::{self, StoredManifest, child_for},
    uploads,
};
use crate::embedded::image::{MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, sha256};

/// Largest request body: demo layers are bytes, test layers kilobytes; a push with more is a mistake.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Largest manifest, the limit of docker-registry.
const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Header that names what was served or stored.
const CONTENT_DIGEST: &str = "Docker-Content-Digest";

pub(super) type Answer = Result<Response<Body>, OciError>;

/// One parsed request with its body.
pub(super) struct Call {
    pub(super) info: RequestInfo,
    pub(super) headers: HeaderMap,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// All paths, since repository names hold slashes and no router pattern splits them.
pub(super) fn router(shared: Arc<Shared>) -> IntoMakeServiceWithConnectInfo<Router, Cut> {
    Router::new().fallback(serve).with_state(shared).into_make_service_with_connect_info::<Cut>()
}

async fn serve(
    Extension(shared): Extension<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request<Body>,
) -> Response<Body> {
    let at = shared.clock.now();
    let (parts, body) = request.into_parts();
    let (info, fault) = {
        let mut state = shared.state();
        let info = describe(&parts, state.log.next_sequence());
        state.log.push(RequestRecord { info: info.clone(), status: None, at });
        let fault = state.fault.as_ref().and_then(|hook| hook(&info));
        (info, fault)
    };
    let sequence = info.sequence;
    let answer = match fault {
        Some(Fault::Drop) => {
            cut.now();
            // Never sent: the connection is cut.
            return Response::default();
        }
        Some(Fault::Respond { status, headers, body }) => faulty(status, headers, body),
        Some(Fault::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            handle(&shared, &parts, info, body).await
        }
        None => handle(&shared, &parts, info, body).await,
    };
    shared.state().log.answered(sequence, answer.status());
    answer
}

fn faulty(status: StatusCode, headers: Vec<(String, String)>, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) =
            (header::HeaderName::try_from(name), header::HeaderValue::try_from(value))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

async fn handle(shared: &Shared, parts: &Parts, info: RequestInfo, body: Body) -> Response<Body> {
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        let message = format!("the body is larger than {BODY_BYTES_MAX} bytes or was cut off");
        return OciError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message).into_response();
    };
    let query =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let call = Call { info, headers: parts.headers.clone(), query, body };
    dispatch(shared, &call).unwrap_or_else(OciError::into_response)
}

fn dispatch(shared: &Shared, call: &Call) -> Answer {
    let mut state = shared.state();
    let state = &mut *state;
    if call.info.operation == Operation::Token {
        if call.info.method != Method::GET {
            return Err(OciError::unsupported("this token endpoint answers GET only"));
        }
        return auth::give_token(shared, state, &call.query, &call.headers).map(|token| json_answer(&token));
    }
    if call.info.operation == Operation::Other {
        return Err(OciError::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "404 page not found"));
    }
    auth::authorize(shared, state, &call.info, &call.headers)?;
    if let Some(name) = call.info.repository.as_deref().filter(|name| !store::is_repository(name)) {
        let message = format!("invalid repository name: {name}");
        return Err(OciError::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message));
    }
    match call.info.operation {
        Operation::Tags => tags(shared, state, call),
        Operation::Manifest => manifest(shared, state, call),
        Operation::Blob => blob(state, call),
        Operation::Upload => uploads::upload(state, call),
        Operation::Base | Operation::Token | Operation::Other => Ok(json_answer(&json!({}))),
    }
}

/// What a path asks; never fails, so that the log holds every request.
fn describe(parts: &Parts, sequence: u64) -> RequestInfo {
    let path = parts.uri.path();
    let (operation, repository, reference) = split_path(path);
    let accepts: Vec<_> =
        parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    RequestInfo {
        sequence,
        method: parts.method.clone(),
        version: parts.version,
        path: path.to_owned(),
        query: parts.uri.query().map(str::to_owned),
        operation,
        repository: repository.map(str::to_owned),
        reference: reference.map(str::to_owned),
        accept: (!accepts.is_empty()).then(|| accepts.join(",")),
        with_credentials: parts.headers.contains_key(header::AUTHORIZATION),
    }
}

fn split_path(path: &str) -> (Operation, Option<&str>, Option<&str>) {
    if path == auth::TOKEN_PATH {
        return (Operation::Token, None, None);
    }
    let Some(rest) = path.strip_prefix("/v2").map(|rest| rest.strip_prefix('/').unwrap_or(rest)) else {
        return (Operation::Other, None, None);
    };
    if rest.is_empty() {
        return (Operation::Base, None, None);
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return (Operation::Tags, Some(name), None);
    }
    if let Some((name, upload)) = rest.rsplit_once("/blobs/uploads") {
        let upload = upload.trim_start_matches('/');
        return (Operation::Upload, Some(name), (!upload.is_empty()).then_some(upload));
    }
    if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
        return (Operation::Blob, Some(name), Some(digest));
    }
    match rest.rsplit_once("/manifests/") {
        Some((name, reference)) => (Operation::Manifest, Some(name), Some(reference)),
        None => (Operation::Other, None, None),
    }
}

// --- tags ---

fn tags(shared: &Shared, state: &State, call: &Call) -> Answer {
    if call.info.method != Method::GET {
        return Err(OciError::unsupported("tag lists are read with GET"));
    }
    let name = call.info.repository.as_deref().unwrap_or("");
    let all = state.store.tags(name).ok_or_else(|| OciError::name_unknown(name))?;
    let asked = match call.parameter("n") {
        Some(text) => Some(text.parse::<usize>().map_err(|_| {
            OciError::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", format!("invalid n: {text}"))
        })?),
        None => None,
    };
    let page_max = asked.unwrap_or(usize::MAX).min(shared.page_tags_max.unwrap_or(usize::MAX));
    let last = call.parameter("last").unwrap_or("");
    let mut rest = all.into_iter().filter(|tag| last.is_empty() || tag.as_str() > last);
    let page: Vec<String> = rest.by_ref().take(page_max).collect();
    let link = page
        .last()
        .filter(|_| rest.next().is_some())
        .map(|last| format!("</v2/{name}/tags/list?last={last}&n={page_max}>; rel=\"next\""));
    let mut answer = json_answer(&json!({"name": name, "tags": page}));
    if let Some(link) = link.and_then(|link| header::HeaderValue::try_from(link).ok()) {
        answer.headers_mut().insert(header::LINK, link);
    }
    Ok(answer)
}

// --- manifests ---

fn manifest(shared: &Shared, state: &mut State, call: &Call) -> Answer {
    let name = call.info.repository.as_deref().unwrap_or("");
    let reference = call.info.reference.as_deref().unwrap_or("");
    if !store::is_digest(reference) && !store::is_tag(reference) {
        return Err(OciError::manifest_invalid(format!("neither a tag nor a sha256 digest: {reference}")));
    }
    match call.info.method {
        Method::GET | Method::HEAD => get_manifest(state, call, name, reference),
        Method::PUT => put_manifest(shared, state, call, name, reference),
        Method::DELETE => delete_manifest(state, name, reference),
        _ => Err(OciError::unsupported("manifests know GET, HEAD, PUT and DELETE")),
    }
}

fn get_manifest(state: &State, call: &Call, name: &str, reference: &str) -> Answer {
    let unknown = || OciError::manifest_unknown(format!("manifest unknown: {name} has no {reference}"));
    let (digest, manifest) = state.store.manifest(name, reference).ok_or_else(unknown)?;
    let etag = format!("\"{digest}\"");
    if call
        .headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|sent| sent == etag.as_str() || sent == digest.as_str())
    {
        return Ok(answer(StatusCode::NOT_MODIFIED, &[], Body::empty()));
    }
    let (digest, manifest) = acceptable(state, call, name, (digest, manifest), reference)?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), manifest.media_type.as_str()),
        (CONTENT_DIGEST, &digest),
        (header::ETAG.as_str(), &etag),
    ];
    Ok(answer(StatusCode::OK, &headers, Body::from(manifest.content.clone())))
}

/// docker-registry's reading of `Accept`: four types by name, wildcards count for nothing; a Docker list asked by
/// tag with a weak `Accept` is answered with its linux/amd64 child.
fn acceptable<'a>(
    state: &'a State,
    call: &Call,
    name: &str,
    found: (String, &'a StoredManifest),
    reference: &str,
) -> Result<(String, &'a StoredManifest), OciError> {
    let accepted = call.info.accept.as_deref().unwrap_or("");
    let accepts = |media_type: &str| {
        accepted.split(',').any(|sent| sent.split(';').next().is_some_and(|sent| sent.trim() == media_type))
    };
    let by_tag = !store::is_digest(reference);
    let refused = |what: &str| {
        OciError::manifest_unknown(format!("{what} found, but accept header does not support {what}s"))
    };
    match found.1.media_type.as_str() {
        MEDIA_TYPE_MANIFEST if !accepts(MEDIA_TYPE_MANIFEST) => Err(refused("OCI manifest")),
        MEDIA_TYPE_INDEX if !accepts(MEDIA_TYPE_INDEX) => {
            Err(OciError::manifest_unknown("OCI index found, but accept header does not support OCI indexes"))
        }
        DOCKER_MANIFEST if by_tag && !accepts(DOCKER_MANIFEST) => Err(refused("schema 2 manifest")),
        DOCKER_LIST if by_tag && !accepts(DOCKER_LIST) => {
            let body: Value = serde_json::from_slice(&found.1.content).unwrap_or_default();
            child_for(&body, "linux/amd64")
                .and_then(|digest| state.store.manifest(name, digest))
                .ok_or_else(|| refused("manifest list"))
        }
        _ => Ok(found),
    }
}

fn put_manifest(shared: &Shared, state: &mut State, call: &Call, name: &str, reference: &str) -> Answer {
    if call.body.len() > MANIFEST_BYTES_MAX {
        let message = format!("the manifest is larger than {MANIFEST_BYTES_MAX} bytes");
        return Err(OciError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message));
    }
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|error| OciError::manifest_invalid(format!("manifest invalid: {error}")))?;
    let media_type = manifest_media_type(call, &body)?;
    let digest = sha256(&call.body);
    let by_tag = !store::is_digest(reference);
    if !by_tag && digest != reference {
        return Err(OciError::digest_invalid(format!("the manifest's digest is {digest}, not {reference}")));
    }
    let sparse = shared.sparse_indexes;
    if let Some(absent) = absent_part(state, name, &body, &media_type, sparse) {
        let message = format!("blob unknown to registry: {absent}");
        return Err(OciError::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message));
    }
    state.store.put_manifest(name, by_tag.then_some(reference), &media_type, call.body.clone());
    let location = format!("/v2/{name}/manifests/{digest}");
    let headers = [(header::LOCATION.as_str(), location.as_str()), (CONTENT_DIGEST, &digest)];
    Ok(answer(StatusCode::CREATED, &headers, Body::empty()))
}

/// The `Content-Type`, which must not contradict the body's own `mediaType`.
fn manifest_media_type(call: &Call, body: &Value) -> Result<String, OciError> {
    let sent = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let own = body.get("mediaType").and_then(Value::as_str);
    let media_type = sent.or(own).unwrap_or("").split(';').next().unwrap_or("").trim();
    if ![MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].contains(&media_type) {
        return Err(OciError::manifest_invalid(format!("unsupported manifest type: {media_type:?}")));
    }
    if own.is_some_and(|own| own != media_type) {
        let message = format!("the body's mediaType is {own:?}, the Content-Type {media_type:?}");
        return Err(OciError::manifest_invalid(message));
    }
    Ok(media_type.to_owned())
}

/// The first digest that the manifest names and the repository lacks.
fn absent_part(state: &State, name: &str, body: &Value, media_type: &str, sparse: bool) -> Option<String> {
    let digests = |field: &str| -> Vec<String> {
        let entries = body.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        entries.iter().filter_map(|entry| entry.get("digest")?.as_str().map(str::to_owned)).collect()
    };
    if media_type == MEDIA_TYPE_INDEX || media_type == DOCKER_LIST {
        let absent = |digest: &String| !sparse && state.store.manifest(name, digest).is_none();
        return digests("manifests").into_iter().find(absent);
    }
    let config = body.pointer("/config/digest").and_then(Value::as_str).map(str::to_owned);
    config.into_iter().chain(digests("layers")).find(|digest| state.store.blob(name, digest).is_none())
}

fn delete_manifest(state: &mut State, name: &str, reference: &str) -> Answer {
    let deleted = if store::is_digest(reference) {
        state.store.delete_manifest(name, reference)
    } else {
        state.store.delete_tag(name, reference)
    };
    if !deleted {
        return Err(OciError::manifest_unknown(format!("manifest unknown: {name} has no {reference}")));
    }
    Ok(answer(StatusCode::ACCEPTED, &[], Body::empty()))
}

// --- blobs ---

fn blob(state: &mut State, call: &Call) -> Answer {
    let name = call.info.repository.as_deref().unwrap_or("");
    let digest = call.info.reference.as_deref().unwrap_or("");
    if !store::is_digest(digest) {
        return Err(OciError::digest_invalid(format!("not a sha256 digest: {digest}")));
    }
    match call.info.method {
        Method::GET | Method::HEAD => {
            let content = state.store.blob(name, digest).ok_or_else(OciError::blob_unknown)?;
            let headers =
                [(header::CONTENT_TYPE.as_str(), "application/octet-stream"), (CONTENT_DIGEST, digest)];
            Ok(answer(StatusCode::OK, &headers, Body::from(content)))
        }
        Method::DELETE if state.store.delete_blob(name, digest) => {
            Ok(answer(StatusCode::ACCEPTED, &[], Body::empty()))
        }
        Method::DELETE => Err(OciError::blob_unknown()),
        _ => Err(OciError::unsupported("blobs know GET, HEAD and DELETE")),
    }
}

// --- answers ---

/// A response of these parts; a header that HTTP does not allow makes it a 500, which no request can cause since
/// names, tags and digests were checked.
pub(super) fn answer(status: StatusCode, headers: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap_or_else(|_| faulty(StatusCode::INTERNAL_SERVER_ERROR, Vec::new(), Bytes::new()))
}

fn json_answer(body: &Value) -> Response<Body> {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json"),
        ("Docker-Distribution-Api-Version", "registry/2.0"),
    ];
    answer(StatusCode::OK, &headers, Body::from(body.to_string()))
}

// === impl Call ===

impl Call {
    /// The first value of a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
