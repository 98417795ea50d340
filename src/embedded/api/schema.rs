//! Structural schemas of custom resources: prune, default, validate; as far as this project's CRDs go.
//!
//! Not evaluated: CEL (`x-kubernetes-validations`; rules and validations stand in for it, see
//! [`super::rules`]), `format`, and `anyOf`/`oneOf`/`allOf`/`not`. A real API server has the last word: the same
//! scenarios run against one.

use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::{refusal::Cause, resources::CrdError};

/// Fields of every object that no schema describes.
const ENVELOPE: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The `openAPIV3Schema` of one version, with its patterns compiled.
#[derive(Debug)]
pub(super) struct Schema {
    root: Value,
    /// Whether it has CEL rules, which are not run on an object that the schema refuses.
    has_rules: bool,
    patterns: HashMap<String, Regex>,
}

// === impl Schema ===

impl Schema {
    pub(super) fn new(root: Value) -> Result<Self, CrdError> {
        let mut patterns = HashMap::new();
        compile_patterns(&root, &mut patterns)?;
        let has_rules = has_rules(&root);
        Ok(Self { root, has_rules, patterns })
    }

    /// Removes what the schema does not declare and returns the paths removed.
    pub(super) fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut removed = Vec::new();
        without_envelope(object, |fields| prune(&self.root, fields, "", &mut removed));
        removed
    }

    /// Fills absent fields; a null where the schema allows none counts as absent.
    pub(super) fn default(&self, object: &mut Value) {
        without_envelope(object, |fields| default(&self.root, fields));
    }

    /// Every field that breaks the schema, in the order of the names (a real API server's order varies).
    pub(super) fn validate(&self, object: &mut Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        without_envelope(object, |fields| self.check(&self.root, fields, "", &mut causes));
        let hides_rules = |cause: &Cause| {
            let reasons = ["Required", "TypeInvalid", "NotSupported", "TooLong", "TooMany"];
            reasons.iter().any(|reason| cause.reason.strip_prefix("FieldValue") == Some(*reason))
        };
        if self.has_rules && causes.iter().any(hides_rules) {
            let message = "some validation rules were not checked because the object was invalid; correct the existing \
                errors to complete validation";
            causes.push(Cause::invalid("<nil>", "null", message));
        }
        causes
    }

    fn check(&self, schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        if let Some(cause) = wrong_type(schema, value, path) {
            causes.push(cause);
            return;
        }
        check_enum(schema, value, path, causes);
        match value {
            Value::Object(fields) => self.check_object(schema, fields, path, causes),
            Value::Array(items) => {
                check_items(schema, items, path, causes);
                for (index, item) in items.iter().enumerate() {
                    self.check(&schema["items"], item, &format!("{path}[{index}]"), causes);
                }
            }
            Value::String(text) => self.check_text(schema, text, path, causes),
            Value::Number(number) => check_number(schema, number.as_f64().unwrap_or(0.0), path, causes),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn check_object(&self, schema: &Value, fields: &Map<String, Value>, path: &str, causes: &mut Vec<Cause>) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let aside = path.is_empty() && ENVELOPE.contains(&name);
            if !aside && !fields.contains_key(name) {
                causes.push(Cause::required(join(path, name), ""));
            }
        }
        let count = fields.len() as u64;
        if let Some(max) = schema["maxProperties"].as_u64().filter(|max| count > *max) {
            causes.push(too_many(path, count, max));
        }
        if let Some(min) = schema["minProperties"].as_u64().filter(|min| count < *min) {
            let message = format!("{path} in body should have at least {min} properties");
            causes.push(Cause::invalid(path, &count.to_string(), &message));
        }
        for (name, value) in fields {
            if let Some(property) = property(schema, name) {
                self.check(property, value, &join(path, name), causes);
            }
        }
    }

    fn check_text(&self, schema: &Value, text: &str, path: &str, causes: &mut Vec<Cause>) {
        let length = text.chars().count() as u64;
        if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            causes.push(Cause::new(
                "FieldValueTooLong",
                path,
                format!("Too long: may not be more than {max} bytes"),
            ));
        }
        if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
            let message = format!("{path} in body should be at least {min} chars long");
            causes.push(Cause::invalid(path, &format!("{text:?}"), &message));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && self.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            let message = format!("{path} in body should match '{pattern}'");
            causes.push(Cause::invalid(path, &format!("{text:?}"), &message));
        }
    }
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.contains_key("x-kubernetes-validations") || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

fn compile_patterns(schema: &Value, patterns: &mut HashMap<String, Regex>) -> Result<(), CrdError> {
    match schema {
        Value::Object(fields) => {
            if let Some(pattern) = fields.get("pattern").and_then(Value::as_str) {
                let compiled = Regex::new(pattern)
                    .map_err(|source| CrdError::Pattern { pattern: pattern.to_owned(), source })?;
                patterns.insert(pattern.to_owned(), compiled);
            }
            fields.values().try_for_each(|value| compile_patterns(value, patterns))
        }
        Value::Array(items) => items.iter().try_for_each(|item| compile_patterns(item, patterns)),
        _ => Ok(()),
    }
}

/// Runs `work` on the object without the fields that no schema describes.
fn without_envelope(object: &mut Value, work: impl FnOnce(&mut Value)) {
    let Some(fields) = object.as_object_mut() else { return };
    let kept: Vec<_> = ENVELOPE.iter().filter_map(|name| fields.remove_entry(*name)).collect();
    work(object);
    if let Some(fields) = object.as_object_mut() {
        fields.extend(kept);
    }
}

/// The schema of one field: declared, or of any further field.
fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let declared = schema.get("properties").and_then(|properties| properties.get(name));
    declared.or_else(|| schema.get("additionalProperties").filter(|further| further.is_object()))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn prune(schema: &Value, value: &mut Value, path: &str, removed: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true
                || schema["additionalProperties"] == true
                || schema["x-kubernetes-embedded-resource"] == true;
            fields.retain(|name, value| {
                if let Some(property) = property(schema, name) {
                    prune(property, value, &join(path, name), removed);
                    return true;
                }
                if !keeps_unknown {
                    removed.push(join(path, name));
                }
                keeps_unknown
            });
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune(&schema["items"], item, &format!("{path}[{index}]"), removed);
            }
        }
        _ => {}
    }
}

fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            fields.retain(|name, value| {
                let known = properties.and_then(|properties| properties.get(name));
                !(value.is_null() && known.is_some_and(|known| known["nullable"] != true))
            });
            for (name, property) in properties.into_iter().flatten() {
                if let Some(preset) = property.get("default") {
                    fields.entry(name.clone()).or_insert_with(|| preset.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(property) = property(schema, name) {
                    default(property, value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| default(&schema["items"], item)),
        _ => {}
    }
}

fn wrong_type(schema: &Value, value: &Value, path: &str) -> Option<Cause> {
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if schema["x-kubernetes-int-or-string"] == true && matches!(actual, "integer" | "string") {
        return None;
    }
    let wanted = schema["type"].as_str()?;
    if wanted == actual || (wanted == "number" && actual == "integer") {
        return None;
    }
    let path = if path.is_empty() { "<nil>" } else { path };
    let message = format!("{path} in body must be of type {wanted}: {actual:?}");
    Some(Cause::new("FieldValueTypeInvalid", path, format!("Invalid value: {actual:?}: {message}")))
}

fn check_enum(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) else { return };
    let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
    let message = format!("Unsupported value: {value}: supported values: {}", allowed.join(", "));
    causes.push(Cause::new("FieldValueNotSupported", path, message));
}

fn check_number(schema: &Value, number: f64, path: &str, causes: &mut Vec<Cause>) {
    if let Some(min) = schema["minimum"].as_f64().filter(|min| number < *min) {
        let message = format!("{path} in body should be greater than or equal to {min}");
        causes.push(Cause::invalid(path, &number.to_string(), &message));
    }
    if let Some(max) = schema["maximum"].as_f64().filter(|max| number > *max) {
        let message = format!("{path} in body should be less than or equal to {max}");
        causes.push(Cause::invalid(path, &number.to_string(), &message));
    }
}

fn check_items(schema: &Value, items: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let count = items.len() as u64;
    if let Some(max) = schema["maxItems"].as_u64().filter(|max| count > *max) {
        causes.push(too_many(path, count, max));
    }
    if let Some(min) = schema["minItems"].as_u64().filter(|min| count < *min) {
        let message = format!("{path} in body should have at least {min} items");
        causes.push(Cause::invalid(path, &count.to_string(), &message));
    }
    let keys: Vec<&str> = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Vec::new(),
        Some("map") => schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
        _ => return,
    };
    let mut seen = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let identity = if keys.is_empty() {
            item.clone()
        } else {
            keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect::<Map<_, _>>().into()
        };
        if seen.contains(&identity) {
            let message = format!("Duplicate value: {identity}");
            causes.push(Cause::new("FieldValueDuplicate", format!("{path}[{index}]"), message));
        }
        seen.push(identity);
    }
}

fn too_many(path: &str, count: u64, max: u64) -> Cause {
    let message = format!("Too many: {count}: must have at most {max} items");
    Cause::new("FieldValueTooMany", path, message)
}
