//! Calls to the Kubernetes API: one deadline for all of them, and refusals in words that people can act upon.
//!
//! Everyone who calls the API calls it through [`call`], so that no call waits for ever and every refusal reads
//! the same. Nothing is tried again here: after any doubt the caller reads first (design §4 Commit). This room
//! must never know what the calls are for.

use std::future::Future;
use std::time::Duration;

use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use kube::core::Status;
use tower::BoxError;

/// How long one call may take. Kubernetes' own objective for a call on one object is 1 s at p99, and an
/// admission webhook has 10 s by default: what takes longer is an outage, not a queue.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Longest sentence about a refusal: what `status` keeps of a message (design §3).
pub const MESSAGE_MAX_BYTES: usize = 512;

/// Reason that kube gives to an answer that is no Status, for example the API server's `404 page not found`.
const NO_STATUS: &str = "Failed to parse error data";

/// Why a call gave no answer that can be used. Displayed as one sentence, with the next step, within
/// [`MESSAGE_MAX_BYTES`].
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time. A write may have been done all the same: read before trying again.
    #[error("the API server did not answer within {} s; it is asked again at the next look", CALL_LIMIT.as_secs())]
    TimedOut,
    /// The API server refused, or could not be reached.
    #[error("{}", clip(&sentence(.0), MESSAGE_MAX_BYTES))]
    Refused(#[source] kube::Error),
}

/// A call that was not made: the client itself withheld it. Displayed as the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Withheld(pub &'static str);

/// Waits for one call, at most [`CALL_LIMIT`].
///
/// # Errors
/// The refusal, or that no answer came.
pub async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_LIMIT, request).await {
        Ok(answer) => answer.map_err(CallError::Refused),
        Err(_) => Err(CallError::TimedOut),
    }
}

/// Like [`call`], for a read of one object that may be absent.
///
/// # Errors
/// The refusal (an unknown kind among them), or that no answer came.
pub async fn call_optional<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, CallError> {
    match call(request).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() && !error.is_unknown_kind() => Ok(None),
        Err(error) => Err(error),
    }
}

/// `client`, whose reads end: an answer that does not begin within [`CALL_LIMIT`] is an error, and so is a pause of that
/// length within an answer that is no watch. For the lists and watches of kube's runtime, which waits for both without
/// end when a connection is half open; the pauses of an open watch it bounds itself.
pub fn bounded(client: &kube::Client) -> kube::Client {
    let inner = client.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let inner = inner.clone();
        async move {
            let late = || BoxError::from(CallError::TimedOut);
            let answer = tokio::time::timeout(CALL_LIMIT, inner.send(request)).await;
            let answer = answer.map_err(|_| late())?.map_err(BoxError::from)?;
            let limit = if is_watch { Duration::MAX } else { CALL_LIMIT };
            let (parts, body) = answer.into_parts();
            let frames = stream::unfold(body, move |mut body| async move {
                let frame = match tokio::time::timeout(limit, body.frame()).await {
                    Ok(frame) => frame?.map_err(BoxError::from),
                    Err(_) => Err(late()),
                };
                Some((frame, body))
            });
            Ok::<_, BoxError>(http::Response::from_parts(parts, StreamBody::new(Box::pin(frames))))
        }
    });
    kube::Client::new(service, client.default_namespace())
}

/// `text` cut to at most `max` bytes, on a character's border, with `…` where something is missing.
pub fn clip(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

// === impl CallError ===

impl CallError {
    /// 404: no such object, or no such kind. By the code: kube 5's `Status::is_not_found` goes by the reason
    /// alone, which a plain-text answer does not have.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// 404 without a Status: the API server does not know the path, so the kind is not installed.
    pub fn is_unknown_kind(&self) -> bool {
        self.is_not_found() && self.status().is_some_and(|status| status.reason == NO_STATUS)
    }

    /// 409: an object of that name exists, or it changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.is_conflict() || status.is_already_exists())
    }

    /// The API server's own words, where it had any.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused(kube::Error::Api(status)) => Some(status),
            Self::Refused(_) | Self::TimedOut => None,
        }
    }
}

/// What happened, why, and the next step.
fn sentence(error: &kube::Error) -> String {
    if let kube::Error::Service(source) = error
        && let Some(withheld) = source.downcast_ref::<Withheld>()
    {
        return format!("nothing was sent: {withheld}");
    }
    let kube::Error::Api(status) = error else {
        return format!(
            "the API server could not be asked ({}); it is asked again at the next look",
            cause(error)
        );
    };
    let said = status.message.trim();
    match status.code {
        401 => "the API server does not accept the controller's credentials (401): check its ServiceAccount token or kubeconfig"
            .to_owned(),
        _ if said.contains("exceeded quota") => {
            format!("a ResourceQuota refuses it ({said}): raise the quota, or free what uses it up")
        }
        _ if said.contains("denied the request") || said.contains("denied request") => {
            format!("an admission webhook or policy refuses it ({said}): exempt the object there, or mend what it asks for")
        }
        403 => missing_rule(said)
            .unwrap_or_else(|| format!("the API server forbids it ({said}): allow it in the controller's Role")),
        409 => format!("the object changed since it was read ({said}); it is read again at the next look"),
        422 => format!("the API server finds the object invalid ({said})"),
        429 => "the API server asks for fewer requests (429); it is asked again at the next look".to_owned(),
        500.. => format!("the API server failed ({} {said}); it is asked again at the next look", status.code),
        code => format!("the API server refused ({code} {said})"),
    }
}

/// The rule that RBAC lacks, from `User "x" cannot create resource "jobs" in API group "batch" …`.
fn missing_rule(said: &str) -> Option<String> {
    let quoted_after = |word: &str| said.split_once(word)?.1.split('"').next();
    let user = quoted_after("User \"")?;
    let verb = said.split_once("\" cannot ")?.1.split_whitespace().next()?;
    let resource = quoted_after(" resource \"")?;
    let group = quoted_after(" in API group \"")?;
    let place =
        quoted_after(" in the namespace \"").map_or_else(String::new, |name| format!(" in namespace {name}"));
    Some(format!(
        "{user} may not {verb} {resource}{place}: add the rule apiGroups [\"{group}\"], resources [\"{resource}\"], \
         verbs [\"{verb}\"] to its Role"
    ))
}

/// The innermost cause: the outer layers of an HTTP client's error say only that a layer failed.
fn cause(error: &kube::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, reason: &str, message: &str) -> CallError {
        CallError::Refused(kube::Error::Api(Status::failure(message, reason).with_code(code).boxed()))
    }

    #[test]
    fn a_refusal_names_the_next_step() {
        let cases = [
            (
                refused(
                    403,
                    "Forbidden",
                    "configmaps is forbidden: User \"system:serviceaccount:tg:tidegate\" cannot create resource \
                     \"configmaps\" in API group \"\" in the namespace \"acme\"",
                ),
                "system:serviceaccount:tg:tidegate may not create configmaps in namespace acme: add the rule \
                 apiGroups [\"\"], resources [\"configmaps\"], verbs [\"create\"] to its Role",
            ),
            (
                refused(
                    403,
                    "Forbidden",
                    "pods \"x\" is forbidden: exceeded quota: small, requested: pods=1",
                ),
                "a ResourceQuota refuses it (pods \"x\" is forbidden: exceeded quota: small, requested: pods=1): \
                 raise the quota, or free what uses it up",
            ),
            (
                refused(400, "BadRequest", "admission webhook \"w.example\" denied the request: no"),
                "an admission webhook or policy refuses it (admission webhook \"w.example\" denied the request: \
                 no): exempt the object there, or mend what it asks for",
            ),
            (
                refused(503, "ServiceUnavailable", "etcd is away"),
                "the API server failed (503 etcd is away); it is asked again at the next look",
            ),
        ];
        for (error, words) in cases {
            assert_eq!(error.to_string(), words);
        }
    }

    #[test]
    fn an_unknown_kind_is_no_absent_object() {
        let path = refused(404, NO_STATUS, "404 page not found");
        let object = refused(404, "NotFound", "configmaps \"a\" not found");
        assert!(path.is_not_found(), "{:?}", path.status());
        assert!(path.is_unknown_kind());
        assert!(!object.is_unknown_kind() && object.is_not_found());
    }

    #[test]
    fn a_long_text_is_cut_on_a_border() {
        assert_eq!(clip("short", 512), "short");
        assert_eq!(clip("äöüß", 7), "äö…");
        let cut = clip(&"ä".repeat(400), MESSAGE_MAX_BYTES);
        assert!(cut.len() <= MESSAGE_MAX_BYTES && cut.ends_with("ä…"), "{}", cut.len());
        assert!(refused(500, "InternalError", &"x".repeat(4_000)).to_string().len() <= MESSAGE_MAX_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_of_the_runtime_has_an_end() {
        let silent = tower::service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, BoxError>>()
        });
        let client = bounded(&kube::Client::new(silent, "default"));
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::all(client);
        let listed = pods.list(&kube::api::ListParams::default()).await;
        assert!(matches!(listed, Err(kube::Error::Service(_))), "{listed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_has_an_end() {
        let answer = call(std::future::pending::<kube::Result<()>>()).await;
        assert!(matches!(answer, Err(CallError::TimedOut)));
    }
}
