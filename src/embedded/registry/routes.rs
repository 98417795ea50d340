//! From request to answer: faults, credentials, then manifests, blobs and tags.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State as Extension, connect_info::IntoMakeServiceWithConnectInfo},
    http::{HeaderMap, Method, Request, Response, StatusCode, header},
};
use serde_json::{Value, json};

use super::{
    Operation, RequestInfo, RequestRecord, Shared, State, auth,
    connection::Cut,
    error::OciError,
    manifests,
    perform::{perform, respond},
    plan::{Chosen, Reply},
    store, uploads,
};

/// Largest request body: demo layers are bytes, test layers kilobytes; a push with more is a mistake.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Header that names what was served or stored.
pub(super) const CONTENT_DIGEST: &str = "Docker-Content-Digest";

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
    Router::new().fallback(connected).with_state(shared).into_make_service_with_connect_info::<Cut>()
}

async fn connected(
    Extension(shared): Extension<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request<Body>,
) -> Response<Body> {
    serve(shared, cut, request).await
}

/// One request; `cut` ends the connection that it came on.
pub(super) async fn serve(shared: Arc<Shared>, cut: Cut, request: Request<Body>) -> Response<Body> {
    let at = shared.clock.now();
    let (info, fault, chosen) = {
        let mut state = shared.state();
        let state = &mut *state;
        let info = describe(&request, state.log.next_sequence());
        state.log.push(RequestRecord { info: info.clone(), status: None, at });
        let fault = state.fault.as_ref().and_then(|hook| hook(&info));
        let chosen = state.plan.choose(&info, &state.store);
        (info, fault, chosen)
    };
    let sequence = info.sequence;
    let chosen = match fault {
        Some(fault) => Chosen::of(fault),
        None => chosen,
    };
    // Nothing to answer with: the connection is cut.
    let Some(answer) = perform(&shared, info, request, &cut, chosen).await else {
        return Response::default();
    };
    shared.state().log.answered(sequence, answer.status());
    answer
}

pub(super) async fn handle(shared: &Shared, request: Request<Body>, info: RequestInfo) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        let message = format!("the body is larger than {BODY_BYTES_MAX} bytes or was cut off");
        return OciError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message).into_response();
    };
    let query =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let call = Call { info, headers: parts.headers, query, body };
    dispatch(shared, &call).unwrap_or_else(OciError::into_response)
}

fn dispatch(shared: &Shared, call: &Call) -> Answer {
    let mut state = shared.state();
    let state = &mut *state;
    if call.info.operation == Operation::Token {
        return auth::give_token(shared, state, call).map(|token| json_answer(&token));
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
        Operation::Tags => tags(state, call),
        Operation::Manifest => manifests::manifest(shared, state, call),
        Operation::Blob => blob(state, call),
        Operation::Upload => uploads::upload(state, call),
        Operation::Base | Operation::Token | Operation::Other => Ok(json_answer(&json!({}))),
    }
}

/// What a path asks; never fails, so that the log holds every request.
fn describe(request: &Request<Body>, sequence: u64) -> RequestInfo {
    let path = request.uri().path();
    let (operation, repository, reference) = split_path(path);
    let accepts: Vec<_> =
        request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    RequestInfo {
        sequence,
        method: request.method().clone(),
        version: request.version(),
        path: path.to_owned(),
        query: request.uri().query().map(str::to_owned),
        operation,
        repository: repository.map(str::to_owned),
        reference: reference.map(str::to_owned),
        accept: (!accepts.is_empty()).then(|| accepts.join(",")),
        with_credentials: request.headers().contains_key(header::AUTHORIZATION),
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

fn tags(state: &State, call: &Call) -> Answer {
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
    let page_max = asked.unwrap_or(usize::MAX).min(state.page_tags_max.unwrap_or(usize::MAX));
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
    builder.body(body).unwrap_or_else(|_| respond(&Reply::status(StatusCode::INTERNAL_SERVER_ERROR)))
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
