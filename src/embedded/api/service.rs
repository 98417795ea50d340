//! The tower service behind `kube::Client`: from path to handler, faults and log around it.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt;
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};

use super::{
    ApiFault, ApiRequest, Shared, State, Verb, as_metadata,
    list::ListRequest,
    options,
    refusal::{Refusal, details},
    resources::Resource,
    selector::Selector,
    store::Key,
    watch::{self, WatchRequest},
    write::{Writer, text},
};

/// Largest request body, the API server's own limit.
const BODY_BYTES_MAX: usize = 3 << 20;

pub(super) type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// One actor's way to the server.
#[derive(Clone)]
pub struct ApiService {
    pub(super) shared: Arc<Shared>,
    pub(super) actor: Arc<str>,
}

/// A parsed request with what only its handler needs.
struct Call {
    request: ApiRequest,
    version: String,
    query: HashMap<String, String>,
    content_type: String,
    metadata_only: bool,
}

/// What a handler gives back.
struct Reply {
    code: u16,
    content_type: &'static str,
    body: ReplyBody,
    /// Name that a created object got.
    name: Option<String>,
}

// === impl ApiService ===

impl tower::Service<Request<Body>> for ApiService {
    type Response = Response<ReplyBody>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(serve(Arc::clone(&self.shared), Arc::clone(&self.actor), request))
    }
}

async fn serve(
    shared: Arc<Shared>,
    actor: Arc<str>,
    request: Request<Body>,
) -> Result<Response<ReplyBody>, io::Error> {
    let at = shared.clock.now();
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes);
    let (mut call, unreadable) = Call::parse(&parts, &actor, body.ok().as_deref());
    let fault = {
        let mut state = shared.state();
        call.request.sequence = state.log.next_sequence();
        state.fault.as_ref().and_then(|hook| hook(&call.request))
    };
    if let Some(ApiFault::Delay(wait)) = &fault {
        tokio::time::sleep(*wait).await;
    }
    let mut record = call.request.record(at, 0);
    let mut state = shared.state();
    let before = state.store.revision();
    let answered = match (&fault, unreadable) {
        (Some(ApiFault::LoseRequest), _) => None,
        (Some(ApiFault::Refuse { code, reason, message }), _) => {
            Some(Err(Refusal::new(*code, reason.as_str(), message.as_str())))
        }
        (_, Some(refusal)) => Some(Err(refusal)),
        _ => Some(handle(&shared, &mut state, &call)),
    };
    let after = state.store.revision();
    if after != before {
        record.revision = Some(after);
        shared.wake.send_modify(|_| {});
    }
    record.lost = matches!(fault, Some(ApiFault::LoseRequest | ApiFault::LoseReply));
    let reply = answered.map(|answer| answer.unwrap_or_else(|refusal| Reply::refusal(&refusal)));
    if let Some(reply) = &reply {
        record.code = reply.code;
        record.name = record.name.or_else(|| reply.name.clone());
    }
    let lost = record.lost;
    state.log.push(record);
    drop(state);
    match reply {
        Some(reply) if !lost => Ok(reply.into_response()),
        _ => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

// === impl Call ===

impl Call {
    /// Reads path, query and body; a body that cannot be read is a refusal beside what is known.
    fn parse(parts: &Parts, actor: &str, body: Option<&[u8]>) -> (Self, Option<Refusal>) {
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
        let header =
            |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let (parsed, unreadable) = match body {
            Some([]) => (Value::Null, None),
            Some(bytes) => match serde_json::from_slice(bytes) {
                Ok(parsed) => (parsed, None),
                Err(error) => {
                    let message = format!("the object provided is unrecognized: {error}");
                    (Value::Null, Some(Refusal::bad_request(message)))
                }
            },
            None => {
                let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
                (Value::Null, Some(Refusal::new(413, "RequestEntityTooLarge", message)))
            }
        };
        let (version, mut request) = split_path(parts.uri.path());
        actor.clone_into(&mut request.actor);
        // A DELETE says it in its body.
        let in_body =
            parsed["dryRun"].as_array().is_some_and(|stages| stages.iter().any(|stage| stage == "All"));
        request.dry_run = query.get("dryRun").is_some_and(|text| text == "All") || in_body;
        request.body = parsed;
        request.verb = match (&parts.method, &request.name) {
            (&Method::POST, _) => Verb::Create,
            (&Method::PUT, _) => Verb::Update,
            (&Method::PATCH, _) => Verb::Patch,
            (&Method::DELETE, _) => Verb::Delete,
            (_, Some(_)) => Verb::Get,
            _ if query.get("watch").is_some_and(|text| text == "true" || text == "1") => Verb::Watch,
            _ => Verb::List,
        };
        let call = Self {
            request,
            version,
            content_type: header(header::CONTENT_TYPE),
            metadata_only: header(header::ACCEPT).contains("as=PartialObjectMetadata"),
            query,
        };
        (call, unreadable)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }
}

/// `/api/v1/…` and `/apis/GROUP/VERSION/…`: version, and the request as far as the path tells it. What is neither
/// has an empty plural.
fn split_path(path: &str) -> (String, ApiRequest) {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => ("", "", &[][..]),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let owned = |at: usize| rest.get(at).map(|segment| (*segment).to_owned());
    let request = ApiRequest {
        sequence: 0,
        actor: String::new(),
        verb: Verb::Get,
        group: group.to_owned(),
        plural: if rest.len() <= 3 { owned(0).unwrap_or_default() } else { String::new() },
        namespace: namespace.map(str::to_owned),
        name: owned(1),
        subresource: owned(2),
        dry_run: false,
        body: Value::Null,
    };
    (version.to_owned(), request)
}

// --- handlers ---

fn handle(shared: &Arc<Shared>, state: &mut State, call: &Call) -> Result<Reply, Refusal> {
    let request = &call.request;
    let resource = state
        .resources
        .get(&request.group, &request.plural)
        .filter(|resource| resource.version == call.version)
        .ok_or_else(|| {
            let known = state.resources.is_built_in(&request.group) && !request.plural.is_empty();
            if known { Refusal::no_such_path() } else { Refusal::no_such_group() }
        })?;
    let subresource_known = match request.subresource.as_deref() {
        None => true,
        Some("status") => resource.status_subresource,
        Some("log") => resource.plural == "pods",
        Some(_) => false,
    };
    // Only collections of a namespaced kind are served without a namespace.
    let all_namespaces = matches!(request.verb, Verb::List | Verb::Watch);
    let scope_known = if resource.namespaced {
        request.namespace.is_some() || all_namespaces
    } else {
        request.namespace.is_none()
    };
    if !subresource_known || !scope_known {
        return Err(Refusal::no_such_path());
    }
    match request.verb {
        Verb::Get => get(state, &resource, call),
        Verb::List => list(state, &resource, call),
        Verb::Watch => start_watch(shared, state, resource, call),
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => write(shared, state, &resource, call),
    }
}

fn get(state: &State, resource: &Resource, call: &Call) -> Result<Reply, Refusal> {
    let name = call.request.name.as_deref().unwrap_or("");
    let key = Key::new(resource, call.request.namespace.as_deref().unwrap_or(""), name);
    let object = state.store.get(&key).ok_or_else(|| Refusal::not_found(resource, name))?;
    if call.request.subresource.as_deref() == Some("log") {
        let log = state.pod_logs.get(&(key.namespace, key.name)).map_or("", String::as_str);
        return Ok(Reply::text(log_part(call, log)));
    }
    Ok(Reply::object(200, call, &object))
}

/// `tailLines` and `limitBytes`, as kubelet applies them: the last lines, then their first bytes.
fn log_part(call: &Call, log: &str) -> Bytes {
    let number = |name: &str| call.parameter(name).and_then(|text| text.parse::<usize>().ok());
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let skipped = number("tailLines").map_or(0, |tail| lines.len().saturating_sub(tail));
    let mut part: Vec<u8> = lines.into_iter().skip(skipped).collect::<String>().into_bytes();
    part.truncate(number("limitBytes").unwrap_or(usize::MAX));
    part.into()
}

fn list(state: &State, resource: &Resource, call: &Call) -> Result<Reply, Refusal> {
    let request = ListRequest {
        resource,
        namespace: call.request.namespace.as_deref(),
        selector: selector(resource, call)?,
        limit: call.parameter("limit"),
        continued: call.parameter("continue"),
        revision: call.parameter("resourceVersion"),
        revision_match: call.parameter("resourceVersionMatch"),
        metadata_only: call.metadata_only,
    };
    Ok(Reply::json(200, &request.answer(state)?))
}

fn selector(resource: &Resource, call: &Call) -> Result<Selector, Refusal> {
    Selector::parse(resource, call.parameter("labelSelector"), call.parameter("fieldSelector"))
}

fn start_watch(
    shared: &Arc<Shared>,
    state: &State,
    resource: Arc<Resource>,
    call: &Call,
) -> Result<Reply, Refusal> {
    if call.parameter("sendInitialEvents").is_some() {
        return Err(Refusal::new(
            422,
            "Invalid",
            "sendInitialEvents is forbidden: this server has no watch list",
        ));
    }
    let after = match call.parameter("resourceVersion") {
        None | Some("0") => None,
        // A real server fails here, where a list is refused.
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            let message = format!("resourceVersion: Invalid value: {text:?}: it is no number");
            Refusal::new(500, "", message)
        })?),
    };
    let seconds = call.parameter("timeoutSeconds").and_then(|text| text.parse().ok());
    let request = WatchRequest {
        selector: selector(&resource, call)?,
        resource,
        namespace: call.request.namespace.clone(),
        after,
        bookmarks: call.parameter("allowWatchBookmarks") == Some("true"),
        timeout: seconds.map(Duration::from_secs),
        metadata_only: call.metadata_only,
    };
    let frames = watch::watch(shared, state, request).map_ok(Frame::data);
    let body = BodyExt::boxed_unsync(StreamBody::new(frames));
    Ok(Reply { code: 200, content_type: "application/json", body, name: None })
}

fn write(shared: &Shared, state: &mut State, resource: &Resource, call: &Call) -> Result<Reply, Refusal> {
    let request = &call.request;
    options::check(request.verb, call.parameter("dryRun"), &request.body)?;
    let status_only = request.subresource.as_deref() == Some("status");
    let State { store, rules, validations, .. } = state;
    let mut writer = Writer {
        store,
        rules,
        validations,
        resource,
        namespace: request.namespace.as_deref().unwrap_or(""),
        now: shared.clock.now(),
        dry_run: request.dry_run,
        strict: call.parameter("fieldValidation") == Some("Strict"),
    };
    let body = request.body.clone();
    match (request.verb, request.name.as_deref()) {
        (Verb::Create, None) => Ok(Reply::object(201, call, &*writer.create(body)?)),
        (Verb::Update, Some(name)) if writer.makes(name) => {
            Ok(Reply::object(201, call, &*writer.create_named(name, body)?))
        }
        (Verb::Update, Some(name)) => {
            Ok(Reply::object(200, call, &*writer.replace(name, status_only, body)?))
        }
        (Verb::Patch, Some(name)) => {
            if call.content_type != "application/merge-patch+json" {
                let message = format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                    application/merge-patch+json (sent: {:?})",
                    call.content_type
                );
                return Err(Refusal::new(415, "UnsupportedMediaType", message));
            }
            Ok(Reply::object(200, call, &*writer.merge_patch(name, status_only, &body)?))
        }
        (Verb::Delete, Some(name)) if request.subresource.is_none() => {
            let (object, gone) = writer.delete(name, &body)?;
            if gone && !request.dry_run && resource.plural == "pods" {
                state.pod_logs.remove(&(request.namespace.clone().unwrap_or_default(), name.to_owned()));
            }
            Ok(if gone {
                Reply::json(200, &deleted(resource, &object))
            } else {
                Reply::object(200, call, &object)
            })
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn deleted(resource: &Resource, object: &Value) -> Value {
    let mut details = details(text(object, "name"), &resource.group, &resource.plural);
    details["uid"] = text(object, "uid").into();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

// === impl Reply ===

impl Reply {
    fn json(code: u16, body: &Value) -> Self {
        Self::bytes(code, "application/json", body.to_string().into())
    }

    fn object(code: u16, call: &Call, object: &Value) -> Self {
        let mut reply = if call.metadata_only {
            Self::json(code, &as_metadata(object))
        } else {
            Self::json(code, object)
        };
        reply.name = Some(text(object, "name").to_owned());
        reply
    }

    fn refusal(refusal: &Refusal) -> Self {
        match refusal.plain_text() {
            Some(text) => Self::bytes(refusal.code, "text/plain", text.to_owned().into()),
            None => Self::json(refusal.code, &refusal.status()),
        }
    }

    fn text(body: Bytes) -> Self {
        Self::bytes(200, "text/plain", body)
    }

    fn bytes(code: u16, content_type: &'static str, body: Bytes) -> Self {
        let body = BodyExt::boxed_unsync(Full::new(body).map_err(|never| match never {}));
        Self { code, content_type, body, name: None }
    }

    fn into_response(self) -> Response<ReplyBody> {
        let mut response = Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = header::HeaderValue::from_static(self.content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}
