//! Refusals as the API machinery words them: a `Status` object with code, reason and causes.

use serde_json::{Value, json};

use super::resources::Resource;

/// One field that is wrong, in the words of `field.Error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// `FieldValueInvalid` and its like.
    pub(super) reason: &'static str,
    /// Path, as `spec.images[0].name`.
    pub(super) field: String,
    /// What is wrong, without the path.
    pub(super) message: String,
}

/// Why a request was not done; becomes a `Status`.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    reason: String,
    message: String,
    details: Value,
    /// Whether the message is the whole answer.
    plain: bool,
}

// === impl Cause ===

impl Cause {
    pub(super) fn invalid(field: impl Into<String>, value: &str, message: &str) -> Self {
        let message = format!("Invalid value: {value}: {message}");
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    pub(super) fn required(field: impl Into<String>, message: &str) -> Self {
        let message = if message.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {message}")
        };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    pub(super) fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into() }
    }
}

// === impl Refusal ===

impl Refusal {
    /// Any refusal; what a fault hook orders.
    pub(super) fn new(code: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: Value::Null, plain: false }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: json!({}), ..Self::new(405, "MethodNotAllowed", message) }
    }

    /// What the API server says to a path that it does not serve.
    pub(super) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self { details: json!({}), ..Self::new(404, "NotFound", message) }
    }

    /// What the API server says where no CRD of the group is installed: text, no `Status`.
    pub(super) fn no_such_group() -> Self {
        Self { plain: true, ..Self::new(404, "", "404 page not found\n") }
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// The write was derived from a read that is no longer the newest.
    pub(super) fn stale(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// A DELETE whose precondition does not hold: named by kind, unlike every other conflict.
    pub(super) fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let kind = resource.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
        Self {
            details: details(name, &resource.group, &resource.kind),
            ..Self::new(409, "Conflict", message)
        }
    }

    /// `resourceVersion` is of a time that is not yet.
    pub(super) fn too_large(asked: u64, newest: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {newest}");
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        let details = json!({"causes": [cause], "retryAfterSeconds": 1});
        Self { details, ..Self::new(504, "Timeout", message) }
    }

    pub(super) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_as(&resource.group, &resource.qualified_kind(), &resource.kind, name, causes)
    }

    /// Parameters of a request that are wrong; `kind` is `ListOptions` and its like.
    pub(super) fn options(kind: &str, causes: &[Cause]) -> Self {
        const GROUP: &str = "meta.k8s.io";
        Self::invalid_as(GROUP, &format!("{kind}.{GROUP}"), kind, "", causes)
    }

    fn invalid_as(group: &str, qualified: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let mut refusal = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {text}"));
        let causes: Vec<Value> = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        refusal.details = details(name, group, kind);
        refusal.details["causes"] = causes.into();
        refusal
    }

    /// A watch or list asks for what was compacted away.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// A PUT that does not say which read it derives from.
    pub(super) fn no_revision(resource: &Resource, name: &str) -> Self {
        let cause = Cause::invalid("metadata.resourceVersion", "0", "must be specified for an update");
        Self::invalid_as(&resource.group, &resource.qualified(), &resource.plural, name, &[cause])
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = details(name, &resource.group, &resource.plural);
        self
    }

    /// The text of an answer that is no `Status`.
    pub(super) fn plain_text(&self) -> Option<&str> {
        self.plain.then_some(self.message.as_str())
    }

    /// The `Status` object.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.as_str().into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

/// What a `Status` is about; what is empty is left out.
pub(super) fn details(name: &str, group: &str, kind: &str) -> Value {
    let fields = [("name", name), ("group", group), ("kind", kind)];
    let told = fields.into_iter().filter(|(_, text)| !text.is_empty());
    told.map(|(field, text)| (field.to_owned(), Value::from(text))).collect()
}
