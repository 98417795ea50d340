//! The rules of writes: create, replace, merge-patch, delete. Facts were measured on kube-apiserver 1.34.2.
//!
//! A write that changes nothing makes no revision. No managed fields are kept. Differences on purpose: a replaced
//! status never carries labels or annotations along (built-in kinds of a real server let them through), a deleted
//! pod is gone at once, and what an owner's deletion orphans goes with it at once.

mod checks;

use std::{collections::BTreeSet, sync::Arc};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    refusal::{Cause, Refusal},
    resources::Resource,
    rules::{RegisteredRule, RegisteredValidation},
    store::{Key, Store},
};

/// Everything a write needs besides its body.
pub(super) struct Writer<'a> {
    pub(super) store: &'a mut Store,
    pub(super) rules: &'a [RegisteredRule],
    pub(super) validations: &'a [RegisteredValidation],
    pub(super) resource: &'a Resource,
    pub(super) namespace: &'a str,
    pub(super) now: Timestamp,
    pub(super) dry_run: bool,
    /// Whether an unknown field is an error (`fieldValidation=Strict`).
    pub(super) strict: bool,
}

/// What the API server says of names that are no DNS subdomains.
const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// Longest name.
const NAME_MAX: usize = 253;

type Written = Result<Arc<Value>, Refusal>;

// === impl Writer ===

impl Writer<'_> {
    fn key(&self, name: &str) -> Key {
        Key::new(self.resource, self.namespace, name)
    }

    fn stored(&self, name: &str) -> Written {
        self.store.get(&self.key(name)).ok_or_else(|| Refusal::not_found(self.resource, name))
    }

    // --- create ---

    /// POST: 409 for a name that is taken, 422 for a body that breaks the schema.
    pub(super) fn create(&mut self, mut body: Value) -> Written {
        self.check_envelope(&mut body)?;
        if !text(&body, "resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(500, "", message));
        }
        let name = self.new_name(&body)?;
        self.check_labels(&name, &body)?;
        let key = self.key(&name);
        let status = match self.resource.plural.as_str() {
            "pods" => Some(json!({"phase": "Pending"})),
            "jobs" => Some(json!({})),
            _ => None,
        };
        self.conform(&name, &mut body, |body| {
            if self.resource.status_subresource {
                set(body, "status", status);
            }
        })?;
        self.check_validations(&name, None, &body)?;
        if self.store.get(&key).is_some() {
            return Err(Refusal::already_exists(self.resource, &name));
        }
        let created = self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let uid = self.store.next_uid();
        let metadata = &mut body["metadata"];
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            set(metadata, field, None);
        }
        metadata["name"] = name.into();
        metadata["uid"] = uid.into();
        metadata["creationTimestamp"] = created.into();
        if self.resource.status_subresource || self.resource.custom {
            metadata["generation"] = 1.into();
        }
        if self.dry_run {
            return Ok(Arc::new(body));
        }
        let owned = body["metadata"].get("ownerReferences").is_some();
        let stored = self.store.put(key, body);
        // Owners that are gone take what is created too late along.
        if owned {
            self.collect_garbage();
        }
        Ok(stored)
    }

    /// Whether a PUT of this name makes the object.
    pub(super) fn makes(&self, name: &str) -> bool {
        self.resource.creates_on_update && self.store.get(&self.key(name)).is_none()
    }

    /// PUT of an absent object of a kind where that makes it; one with a uid derives from a read of another.
    pub(super) fn create_named(&mut self, name: &str, mut body: Value) -> Written {
        self.check_envelope(&mut body)?;
        Self::check_name(name, &body)?;
        if !text(&body, "uid").is_empty() {
            return Err(self.foreign_uid(name, text(&body, "uid"), ""));
        }
        set(&mut body["metadata"], "resourceVersion", None);
        self.create(body)
    }

    fn new_name(&mut self, body: &Value) -> Result<String, Refusal> {
        let (name, prefix) = (text(body, "name"), text(body, "generateName"));
        let name = match (name, prefix) {
            ("", "") => {
                let cause = Cause::required("metadata.name", "name or generateName is required");
                return Err(Refusal::invalid(self.resource, "", &[cause]));
            }
            ("", prefix) => format!("{prefix}{}", self.store.next_suffix()),
            (name, _) => name.to_owned(),
        };
        let sound =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if name.len() > NAME_MAX {
            let message = format!("must be no more than {NAME_MAX} characters");
            let cause = Cause::invalid("metadata.name", &format!("{name:?}"), &message);
            return Err(Refusal::invalid(self.resource, &name, &[cause]));
        }
        if name.is_empty()
            || !name.bytes().all(sound)
            || name.starts_with(['-', '.'])
            || name.ends_with(['-', '.'])
        {
            let cause = Cause::invalid("metadata.name", &format!("{name:?}"), NAME_RULE);
            return Err(Refusal::invalid(self.resource, &name, &[cause]));
        }
        Ok(name)
    }

    // --- update ---

    /// PUT: 404 for an absent object, 409 for a stale resourceVersion or a foreign uid, 422 without a
    /// resourceVersion where the kind demands one.
    pub(super) fn replace(&mut self, name: &str, status_only: bool, mut body: Value) -> Written {
        self.check_envelope(&mut body)?;
        Self::check_name(name, &body)?;
        let stored = self.stored(name)?;
        self.check_preconditions(name, &stored, text(&body, "uid"), text(&body, "resourceVersion"))?;
        if text(&body, "resourceVersion").is_empty() && !self.resource.unconditional_update {
            return Err(Refusal::no_revision(self.resource, name));
        }
        let mut next = if status_only {
            let mut next = Value::clone(&stored);
            set(&mut next, "status", body.get_mut("status").map(Value::take));
            next
        } else {
            self.check_times(name, &stored, &body)?;
            self.keep_system_fields(&stored, &mut body);
            body
        };
        self.check_labels(name, &next)?;
        self.check_finalizers(name, &stored, &next)?;
        self.conform(name, &mut next, |_| {})?;
        self.check_validations(name, Some(&stored), &next)?;
        self.check_rules(name, &stored, &next)?;
        Ok(self.commit(name, &stored, next))
    }

    /// PATCH with a JSON merge patch: as [`Self::replace`] of the merged object; the patch may carry preconditions.
    pub(super) fn merge_patch(&mut self, name: &str, status_only: bool, patch: &Value) -> Written {
        let stored = self.stored(name)?;
        let mut merged = Value::clone(&stored);
        merge(&mut merged, patch);
        // A patch has no uid as its precondition, as a PUT has: it would change the field.
        if text(&merged, "uid") != text(&stored, "uid") {
            self.check_preconditions(name, &stored, "", text(&merged, "resourceVersion"))?;
            return Err(self.immutable(name, "uid", &merged));
        }
        self.replace(name, status_only, merged)
    }

    /// What a PUT cannot change: identity, generation, and the status where it has a path of its own.
    fn keep_system_fields(&self, stored: &Value, body: &mut Value) {
        let fields = [
            "uid",
            "creationTimestamp",
            "generation",
            "generateName",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ];
        for field in fields {
            set(&mut body["metadata"], field, stored["metadata"].get(field).cloned());
        }
        if self.resource.status_subresource {
            set(body, "status", stored.get("status").cloned());
        }
    }

    /// Stores what differs; an object whose last finalizer went while it is being deleted goes too.
    fn commit(&mut self, name: &str, stored: &Arc<Value>, mut next: Value) -> Arc<Value> {
        let tracked = self.resource.status_subresource || self.resource.custom;
        if tracked && desired(stored, self.resource) != desired(&next, self.resource) {
            let generation = stored["metadata"]["generation"].as_i64().unwrap_or(0);
            next["metadata"]["generation"] = (generation + 1).into();
        }
        next["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        if next == **stored {
            return Arc::clone(stored);
        }
        if self.dry_run {
            return Arc::new(next);
        }
        let key = self.key(name);
        if next["metadata"].get("deletionTimestamp").is_some() && next["metadata"].get("finalizers").is_none()
        {
            self.store.remove(&key);
            self.collect_garbage();
            // As it was sent, at the revision that it had.
            return Arc::new(next);
        }
        self.store.put(key, next)
    }

    // --- delete ---

    /// DELETE: the last state, and whether the object is gone (finalizers keep it, marked as being deleted).
    pub(super) fn delete(&mut self, name: &str, options: &Value) -> Result<(Arc<Value>, bool), Refusal> {
        let stored = self.stored(name)?;
        self.check_deletable(name, &stored, &options["preconditions"])?;
        if self.dry_run {
            return Ok((stored, true));
        }
        let key = self.key(name);
        let gone = self.end(&key, &stored);
        self.collect_garbage();
        Ok((self.store.get(&key).unwrap_or(stored), gone))
    }

    /// Removes an object, or marks it when finalizers hold it; whether it is gone.
    fn end(&mut self, key: &Key, stored: &Value) -> bool {
        if stored["metadata"].get("finalizers").is_none() {
            self.store.remove(key);
            return true;
        }
        if stored["metadata"].get("deletionTimestamp").is_none() {
            let mut marked = stored.clone();
            let metadata = &mut marked["metadata"];
            metadata["deletionTimestamp"] = self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
            metadata["deletionGracePeriodSeconds"] = 0.into();
            if let Some(generation) = metadata["generation"].as_i64() {
                metadata["generation"] = (generation + 1).into();
            }
            self.store.put(key.clone(), marked);
        }
        false
    }

    /// Ends every object none of whose owners is left, until nothing changes: each round ends at least one object.
    fn collect_garbage(&mut self) {
        loop {
            let living: BTreeSet<&str> = self.store.all().map(|(_, object)| text(object, "uid")).collect();
            let orphan = self.store.all().find(|(_, object)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                object["metadata"].get("deletionTimestamp").is_none()
                    && owners.is_some_and(|owners| {
                        !owners.iter().any(|owner| living.contains(owner["uid"].as_str().unwrap_or("")))
                    })
            });
            let Some((key, object)) = orphan.map(|(key, object)| (key.clone(), Arc::clone(object))) else {
                return;
            };
            self.end(&key, &object);
        }
    }

    // --- bodies ---

    /// Checks apiVersion, kind and namespace against the path, and puts the body in order.
    fn check_envelope(&self, body: &mut Value) -> Result<(), Refusal> {
        let Some(fields) = body.as_object_mut() else {
            return Err(Refusal::bad_request("the body is not a JSON object"));
        };
        for (field, expected) in
            [("apiVersion", self.resource.api_version()), ("kind", self.resource.kind.clone())]
        {
            match fields.get(field).and_then(Value::as_str) {
                Some(sent) if sent == expected => {}
                None if !self.resource.custom => drop(fields.insert(field.to_owned(), expected.into())),
                Some(sent) if field == "kind" && self.resource.custom => {
                    let cause = Cause::invalid(field, &format!("{sent:?}"), &format!("must be {expected}"));
                    return Err(Refusal::invalid(self.resource, "", &[cause]));
                }
                sent => {
                    let sent = sent.unwrap_or("");
                    let field = if field == "kind" { field } else { "API version" };
                    let message = format!(
                        "the {field} in the data ({sent}) does not match the expected {field} ({expected})"
                    );
                    return Err(Refusal::bad_request(message));
                }
            }
        }
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        let Some(metadata) = metadata.as_object_mut() else {
            return Err(Refusal::bad_request("metadata is not a JSON object"));
        };
        tidy(metadata)?;
        if !self.namespace.is_empty() {
            let namespace = metadata.entry("namespace").or_insert_with(|| self.namespace.into());
            if namespace != self.namespace {
                let message =
                    "the namespace of the provided object does not match the namespace sent on the request";
                return Err(Refusal::bad_request(message));
            }
        }
        if self.resource.schema.is_none() {
            drop_nulls(body);
        }
        if !self.resource.custom {
            typed(&self.resource.plural, body);
        }
        Ok(())
    }

    /// Prunes, defaults and validates by the schema; `adjust` runs between, and defaults follow it once more.
    fn conform(&self, name: &str, body: &mut Value, adjust: impl FnOnce(&mut Value)) -> Result<(), Refusal> {
        let Some(schema) = &self.resource.schema else {
            adjust(body);
            return Ok(());
        };
        let unknown = schema.prune(body);
        if self.strict && !unknown.is_empty() {
            let unknown: Vec<String> =
                unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
            let (kind, version) = (&self.resource.kind, &self.resource.version);
            return Err(Refusal::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
                unknown.join(", ")
            )));
        }
        adjust(body);
        schema.default(body);
        let causes = schema.validate(body);
        if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.resource, name, &causes)) }
    }
}

// --- parts ---

/// A text field of the metadata, empty when absent.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}

/// Sets a field of an object, or removes it.
fn set(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(fields) = object.as_object_mut() {
        match value {
            Some(value) => drop(fields.insert(field.to_owned(), value)),
            None => drop(fields.remove(field)),
        }
    }
}

/// What `metadata.generation` counts: all but metadata, and all but status where it has a path of its own.
fn desired<'a>(object: &'a Value, resource: &Resource) -> Vec<(&'a String, &'a Value)> {
    let ignored = |name: &str| name == "metadata" || (resource.status_subresource && name == "status");
    object.as_object().into_iter().flatten().filter(|(name, _)| !ignored(name)).collect()
}

/// Drops nulls, empty lists and maps, and what clients cannot set; refuses labels and annotations that are not text.
fn tidy(metadata: &mut Map<String, Value>) -> Result<(), Refusal> {
    for field in ["managedFields", "selfLink"] {
        metadata.remove(field);
    }
    metadata.retain(|_, value| !(value.is_null() || *value == json!({}) || *value == json!([])));
    for field in ["labels", "annotations"] {
        let Some(entries) = metadata.get(field) else { continue };
        if !entries.as_object().is_some_and(|entries| entries.values().all(Value::is_string)) {
            return Err(Refusal::bad_request(format!("metadata.{field} must be a map of strings")));
        }
    }
    Ok(())
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, change) in changes {
        if change.is_null() {
            set(target, name, None);
        } else {
            merge(&mut target[name], change);
        }
    }
}

/// What decoding into a built-in type does: empty maps go, a Secret's text becomes its data.
fn typed(plural: &str, body: &mut Value) {
    let Some(fields) = body.as_object_mut() else { return };
    if plural == "secrets" {
        let texts =
            fields.remove("stringData").and_then(|texts| texts.as_object().cloned()).unwrap_or_default();
        for (key, text) in texts {
            let bytes = BASE64_STANDARD.encode(text.as_str().unwrap_or(""));
            fields.entry("data").or_insert_with(|| json!({}))[&key] = bytes.into();
        }
        fields.entry("type").or_insert_with(|| "Opaque".into());
    }
    for field in ["data", "binaryData"] {
        if fields.get(field).is_some_and(|value| *value == json!({})) {
            fields.remove(field);
        }
    }
}

/// Typed kinds have no nulls: a null field is an absent one.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
