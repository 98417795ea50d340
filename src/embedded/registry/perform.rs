//! Does what a rule of the fault plan says to one request.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header},
};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{
    Operation, RequestInfo, Shared, State,
    connection::Cut,
    plan::{Change, Chosen, Reply, Step},
    routes,
};

/// Largest body that a rule changes: more than any that this registry sends by itself.
const BODY_BYTES_MAX: usize = 256 << 20;

/// How a body is sent.
#[derive(Default)]
struct Sending {
    trickle: Option<(usize, Duration)>,
    truncate: Option<usize>,
    chunked: bool,
}

/// Takes the steps in their order; the request is handled as usual unless one of them answers it.
pub(super) async fn perform(
    shared: &Shared,
    info: RequestInfo,
    request: Request<Body>,
    cut: &Cut,
    chosen: Chosen,
) -> Option<Response<Body>> {
    let Chosen { steps, number } = chosen;
    let mut made = None;
    for step in &steps {
        match step {
            Step::Delay(wait) => tokio::time::sleep(*wait).await,
            Step::Cut => {
                cut.now();
                return None;
            }
            Step::Change(change) => apply(&mut shared.state(), change),
            Step::Answer(reply) => made = Some(respond(reply)),
            Step::EndlessTags(page) => made = Some(endless_tags(&info, number, *page)),
            Step::RateLimit { limit, .. } => {
                let mut state = shared.state();
                state.pulls += u64::from(info.method == Method::GET);
                if state.pulls > *limit {
                    let reply = Reply::error(
                        StatusCode::TOO_MANY_REQUESTS,
                        "TOOMANYREQUESTS",
                        "You have reached your pull rate limit.",
                    );
                    made = Some(respond(&reply));
                }
            }
            _ => {}
        }
    }
    let answer = match made {
        Some(answer) => answer,
        None => routes::handle(shared, request, info.clone()).await,
    };
    Some(alter(shared, &info, answer, &steps).await)
}

fn apply(state: &mut State, change: &Change) {
    match change {
        Change::Tag { repository, tag, digest } => {
            if let Err(error) = state.store.tag(repository, tag, digest) {
                tracing::warn!(%error, "a fault plan points a tag at nothing");
            }
        }
        Change::DeleteTag { repository, tag } => drop(state.store.delete_tag(repository, tag)),
        Change::DeleteManifest { repository, digest } => {
            state.store.delete_manifest(repository, digest);
        }
    }
}

/// An answer made up by a rule.
pub(super) fn respond(reply: &Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body.clone()));
    *response.status_mut() = reply.status;
    for (name, value) in &reply.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The steps that change an answer.
async fn alter(
    shared: &Shared,
    info: &RequestInfo,
    mut answer: Response<Body>,
    steps: &[Step],
) -> Response<Body> {
    let mut sending = Sending::default();
    for step in steps {
        match step {
            Step::Replace { status, with } if answer.status() == *status => answer = respond(with),
            Step::SetHeader(name, value) => set(&mut answer, name, value),
            Step::RemoveHeader(name) => drop(answer.headers_mut().remove(*name)),
            Step::Body(body) => {
                answer.headers_mut().remove(header::CONTENT_LENGTH);
                *answer.body_mut() = Body::from(body.clone());
            }
            Step::RateLimit { limit, window_secs } => {
                let left = limit.saturating_sub(shared.state().pulls);
                set(&mut answer, "ratelimit-limit", &format!("{limit};w={window_secs}"));
                set(&mut answer, "ratelimit-remaining", &format!("{left};w={window_secs}"));
            }
            Step::DescribeTags => answer = describe_tags(shared, info, answer).await,
            Step::LinkWithoutPort => link_without_port(&mut answer),
            Step::Trickle { piece_bytes, pause } => sending.trickle = Some((*piece_bytes, *pause)),
            Step::Truncate(bytes) => sending.truncate = Some(*bytes),
            Step::Chunked => sending.chunked = true,
            _ => {}
        }
    }
    let is_plain = sending.trickle.is_none() && sending.truncate.is_none() && !sending.chunked;
    if is_plain { answer } else { send(answer, sending).await }
}

/// Sends a body as told. A stream that fails makes the server close the connection within the answer.
async fn send(answer: Response<Body>, sending: Sending) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let whole = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    if !sending.chunked {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    }
    let (piece_bytes, pause) = sending.trickle.unwrap_or((whole.len(), Duration::ZERO));
    let sent = whole.slice(..sending.truncate.unwrap_or(whole.len()).min(whole.len()));
    let mut pieces: Vec<Result<Bytes, io::Error>> =
        sent.chunks(piece_bytes.max(1)).map(|piece| Ok(sent.slice_ref(piece))).collect();
    if sending.truncate.is_some() {
        pieces.push(Err(io::ErrorKind::ConnectionAborted.into()));
    }
    let pieces = stream::iter(pieces).then(move |piece| async move {
        // Also before the failure: what came first has to leave on its own.
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
        piece
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

fn set(answer: &mut Response<Body>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// A page of tags that nobody pushed.
fn endless_tags(info: &RequestInfo, number: u64, page: u64) -> Response<Body> {
    let name = info.repository.as_deref().unwrap_or("");
    let first = number.saturating_sub(1) * page;
    let tags: Vec<String> = (first..first + page).map(|tag| format!("endless-{tag:09}")).collect();
    let last = tags.last().map_or("", String::as_str);
    let link = format!("</v2/{name}/tags/list?last={last}&n={page}>; rel=\"next\"");
    respond(
        &Reply::json(StatusCode::OK, json!({"name": name, "tags": tags}).to_string()).header("link", link),
    )
}

/// Adds GAR's `manifest`: digest → tags and media type.
async fn describe_tags(shared: &Shared, info: &RequestInfo, answer: Response<Body>) -> Response<Body> {
    if info.operation != Operation::Tags || answer.status() != StatusCode::OK {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let whole = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let Ok(mut list) = serde_json::from_slice::<Value>(&whole) else {
        return Response::from_parts(parts, Body::from(whole));
    };
    let name = info.repository.as_deref().unwrap_or("");
    let mut described: Map<String, Value> = Map::new();
    let state = shared.state();
    for tag in state.store.tags(name).unwrap_or_default() {
        let Some((digest, manifest)) = state.store.manifest(name, &tag) else { continue };
        let entry = described.entry(digest).or_insert_with(|| {
            json!({"mediaType": manifest.media_type, "tag": [], "imageSizeBytes": "0", "timeUploadedMs": "0"})
        });
        if let Some(tags) = entry.get_mut("tag").and_then(Value::as_array_mut) {
            tags.push(Value::from(tag));
        }
    }
    drop(state);
    list["manifest"] = Value::Object(described);
    list["child"] = json!([]);
    Response::from_parts(parts, Body::from(list.to_string()))
}

/// `</v2/…>` becomes `<http://127.0.0.1/v2/…>`.
fn link_without_port(answer: &mut Response<Body>) {
    let link = answer.headers().get(header::LINK).and_then(|link| link.to_str().ok());
    if let Some(path) = link.and_then(|link| link.strip_prefix("</")) {
        let link = format!("<http://127.0.0.1/{path}");
        set(answer, "link", &link);
    }
}
