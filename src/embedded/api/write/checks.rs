//! What a write must hold, each with the words of the API machinery.

use serde_json::Value;

use super::super::{
    refusal::{Cause, Refusal},
    rules::{RegisteredRule, RegisteredValidation},
};
use super::{Writer, text};

/// What it says of label values that are none.
const LABEL_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
/// Longest label value.
const LABEL_VALUE_MAX: usize = 63;

// === impl Writer ===

impl Writer<'_> {
    pub(super) fn check_name(name: &str, body: &Value) -> Result<(), Refusal> {
        let sent = text(body, "name");
        if sent.is_empty() {
            let message = format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            );
            return Err(Refusal::bad_request(message));
        }
        if sent != name {
            let message =
                format!("the name of the object ({sent}) does not match the name on the URL ({name})");
            return Err(Refusal::bad_request(message));
        }
        Ok(())
    }

    /// A write may leave out when an object is deleted, but not say another time.
    pub(super) fn check_times(&self, name: &str, stored: &Value, body: &Value) -> Result<(), Refusal> {
        let (field, sent) = ("deletionTimestamp", text(body, "deletionTimestamp"));
        if sent.is_empty() || sent == text(stored, field) {
            return Ok(());
        }
        Err(self.immutable(name, field, body))
    }

    pub(super) fn immutable(&self, name: &str, field: &str, body: &Value) -> Refusal {
        let value = format!("{:?}", text(body, field));
        let cause = Cause::invalid(format!("metadata.{field}"), &value, "field is immutable");
        Refusal::invalid(self.resource, name, &[cause])
    }

    pub(super) fn foreign_uid(&self, name: &str, uid: &str, actual: &str) -> Refusal {
        let (plural, namespace) = (&self.resource.plural, self.namespace);
        let group = if self.resource.custom { format!("{}/", self.resource.group) } else { String::new() };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{group}{plural}/{namespace}/{name}, \
            ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object \
            meta: {actual}"
        );
        Refusal::conflict(self.resource, name, &why)
    }

    pub(super) fn check_preconditions(
        &self,
        name: &str,
        stored: &Value,
        uid: &str,
        revision: &str,
    ) -> Result<(), Refusal> {
        let (actual_uid, actual) = (text(stored, "uid"), text(stored, "resourceVersion"));
        if !uid.is_empty() && uid != actual_uid {
            return Err(self.foreign_uid(name, uid, actual_uid));
        }
        if !revision.is_empty() && revision != actual {
            return Err(Refusal::stale(self.resource, name));
        }
        Ok(())
    }

    pub(super) fn check_labels(&self, name: &str, body: &Value) -> Result<(), Refusal> {
        let values = body["metadata"]["labels"].as_object().into_iter().flatten();
        let wrong = values.filter_map(|(_, value)| {
            let text = value.as_str().unwrap_or("");
            let letters = |byte: u8| byte.is_ascii_alphanumeric();
            let sound = text.bytes().all(|byte| letters(byte) || b"-_.".contains(&byte))
                && text.bytes().next().is_none_or(letters)
                && text.bytes().last().is_none_or(letters);
            let rule = if text.len() > LABEL_VALUE_MAX {
                "must be no more than 63 characters"
            } else if sound {
                return None;
            } else {
                LABEL_RULE
            };
            Some(Cause::invalid("metadata.labels", &format!("{text:?}"), rule))
        });
        let causes: Vec<Cause> = wrong.collect();
        if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.resource, name, &causes)) }
    }

    /// An object that is being deleted gets no new finalizers.
    pub(super) fn check_finalizers(&self, name: &str, stored: &Value, next: &Value) -> Result<(), Refusal> {
        if stored["metadata"].get("deletionTimestamp").is_none() {
            return Ok(());
        }
        let finalizers =
            |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let old = finalizers(stored);
        let added: Vec<Value> = finalizers(next).into_iter().filter(|added| !old.contains(added)).collect();
        let Some(first) = added.first() else { return Ok(()) };
        let message = format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{first}}}"
        );
        let cause = Cause::new("FieldValueForbidden", "metadata.finalizers", message);
        Err(Refusal::invalid(self.resource, name, &[cause]))
    }

    pub(super) fn check_rules(&self, name: &str, stored: &Value, next: &Value) -> Result<(), Refusal> {
        let here =
            |rule: &&RegisteredRule| rule.group == self.resource.group && rule.plural == self.resource.plural;
        let causes: Vec<Cause> = self
            .rules
            .iter()
            .filter(here)
            .filter_map(|rule| {
                let message = (rule.rule)(stored, next).err()?;
                Some(Cause::invalid(rule.field.clone(), "\"object\"", &message))
            })
            .collect();
        if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.resource, name, &causes)) }
    }

    /// What stands in for CEL. A spec that did not change is not judged again.
    pub(super) fn check_validations(
        &self,
        name: &str,
        stored: Option<&Value>,
        next: &Value,
    ) -> Result<(), Refusal> {
        if stored.is_some_and(|stored| stored.get("spec") == next.get("spec")) {
            return Ok(());
        }
        let here = |known: &&RegisteredValidation| {
            known.group == self.resource.group && known.plural == self.resource.plural
        };
        let wrong = self.validations.iter().filter(here).flat_map(|known| (known.validation)(next));
        let causes: Vec<Cause> =
            wrong.map(|(field, message)| Cause::invalid(field, "\"object\"", &message)).collect();
        if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.resource, name, &causes)) }
    }

    pub(super) fn check_deletable(
        &self,
        name: &str,
        stored: &Value,
        preconditions: &Value,
    ) -> Result<(), Refusal> {
        for (field, called, hint) in
            [("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified")]
        {
            let (wanted, actual) = (preconditions[field].as_str().unwrap_or(""), text(stored, field));
            if !wanted.is_empty() && wanted != actual {
                let why = format!(
                    "the {called} in the precondition ({wanted}) does not match the {called} in record ({actual}). The \
                    object might have been {hint}"
                );
                return Err(Refusal::precondition(self.resource, name, &why));
            }
        }
        Ok(())
    }
}
