//! Answers that a server never gave, and watches of which events are missing, doubled or late.

use std::io;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::Response;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use tower::BoxError;

use super::fault::{Fault, WatchFault};
use super::line::ApiReply;

/// An answer that the server never gave.
pub fn refused(fault: Fault) -> Result<ApiReply, BoxError> {
    let (code, reason) = match fault {
        Fault::Answer(_, 409) => (409, "Conflict"),
        Fault::Answer(_, 429) => (429, "TooManyRequests"),
        Fault::Answer(_, 503) => (503, "ServiceUnavailable"),
        Fault::Answer(_, 504) => (504, "Timeout"),
        Fault::Answer(..) => (500, "InternalError"),
        Fault::Watch(_) => (410, "Expired"),
        _ => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": "a fault of the simulation"});
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync();
    let reply = Response::builder().status(code).header("content-type", "application/json").body(body)?;
    Ok(reply)
}

pub fn registry_says(code: u16) -> Response<Bytes> {
    let body =
        Bytes::from_static(br#"{"errors":[{"code":"UNKNOWN","message":"a fault of the simulation"}]}"#);
    let mut reply = Response::new(body);
    *reply.status_mut() = http::StatusCode::from_u16(code).unwrap();
    reply.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    if code == 401 {
        let challenge = http::HeaderValue::from_static("Basic realm=\"simulation\"");
        reply.headers_mut().insert("www-authenticate", challenge);
    }
    reply
}

fn is_change(event: &[u8]) -> bool {
    serde_json::from_slice::<Value>(event).is_ok_and(|event| event["type"] == "MODIFIED")
}

/// The events of a watch, one of them skipped, doubled, late, or the last.
pub fn garbled(reply: ApiReply, fault: WatchFault, is_of_sets: bool) -> ApiReply {
    let (parts, body) = reply.into_parts();
    let frames = body.into_data_stream().enumerate();
    let mut late: Option<Bytes> = None;
    let frames = frames.flat_map(move |(at, frame)| {
        let is = |event: u32| usize::try_from(event).is_ok_and(|event| event == at);
        let Ok(bytes) = frame else { return stream::iter(vec![frame]) };
        let mut out: Vec<io::Result<Bytes>> = match fault {
            // That a set came or went is never kept from a watch: only a state between two others may be.
            WatchFault::Skip(event) if is(event) && (!is_of_sets || is_change(&bytes)) => Vec::new(),
            WatchFault::Twice(event) if is(event) => vec![Ok(bytes.clone()), Ok(bytes)],
            // Events of one object keep their order.
            WatchFault::Swap(event) if is(event) && !is_of_sets => {
                late = Some(bytes);
                return stream::iter(Vec::new());
            }
            _ => vec![Ok(bytes)],
        };
        out.extend(late.take().map(Ok));
        stream::iter(out)
    });
    let last = match fault {
        WatchFault::Ends(events) => usize::try_from(events).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let frames = frames.take(last).map(|frame| frame.map(Frame::data));
    Response::from_parts(parts, UnsyncBoxBody::new(StreamBody::new(frames)))
}
