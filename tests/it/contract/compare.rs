//! Answers in names that do not depend on who gave them, and where two of them differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Uids, revisions and generated names of one side, by first appearance.
#[derive(Default)]
pub struct Names {
    uids: BTreeMap<String, String>,
    revisions: BTreeMap<String, String>,
    generated: BTreeMap<String, String>,
}

/// Letters told of an answer with another code.
const WORDS_MAX: usize = 600;
/// Shorter texts are no uid of a server, and would be found in words.
const UID_MIN: usize = 36;
/// Times that a server sets.
const TIMES: [&str; 3] = ["creationTimestamp", "deletionTimestamp", "lastTransitionTime"];

// === impl Names ===

impl Names {
    /// The value with names for what differs from server to server. Fields of who wrote what are left out: the
    /// embedded API keeps none, and nothing that runs on it reads them.
    pub fn of(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => self.of_object(fields),
            Value::Array(items) => items.iter().map(|item| self.of(item)).collect(),
            Value::String(text) => self.of_text(text).into(),
            other => other.clone(),
        }
    }

    fn of_object(&mut self, fields: &Map<String, Value>) -> Value {
        self.note_generated(fields);
        let is_list = fields.contains_key("items");
        let mut named = Map::new();
        for (field, value) in fields {
            let text = value.as_str().unwrap_or_default();
            let renamed = match field.as_str() {
                "managedFields" => continue,
                "metadata" if is_list => list_metadata(value),
                "uid" if text.len() >= UID_MIN => name(&mut self.uids, "uid", text).into(),
                "resourceVersion" if !text.is_empty() => name(&mut self.revisions, "revision", text).into(),
                field if TIMES.contains(&field) && !text.is_empty() => "<time>".into(),
                // The reason of a refused watch: "too old resource version: 1 (612)".
                "message" => digits_left_out(&self.of_text(text)).into(),
                _ => self.of(value),
            };
            named.insert(field.clone(), renamed);
        }
        named.into()
    }

    fn note_generated(&mut self, fields: &Map<String, Value>) {
        let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
        let (prefix, name) = (text("generateName"), text("name"));
        if !prefix.is_empty() && name.len() == prefix.len() + 5 && name.starts_with(prefix) {
            self.generated.insert(name.to_owned(), format!("{prefix}<five letters>"));
        }
    }

    fn of_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, name) in self.uids.iter().chain(&self.generated) {
            text = text.replace(value, name);
        }
        text
    }
}

/// The revision of a list is that of the server, where other tests write too.
fn list_metadata(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    for field in ["resourceVersion", "continue"] {
        let is_told = metadata.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if is_told {
            metadata[field] = format!("<{field}>").into();
        }
    }
    metadata
}

fn name(known: &mut BTreeMap<String, String>, what: &str, value: &str) -> String {
    let next = format!("<{what} {}>", known.len() + 1);
    known.entry(value.to_owned()).or_insert(next).clone()
}

fn digits_left_out(text: &str) -> String {
    const BEFORE: [&str; 3] = ["too old resource version: ", "ResourceVersion in record (", ", current: "];
    let Some((start, place)) = BEFORE.iter().find_map(|words| Some((text.find(words)?, words))) else {
        return text.to_owned();
    };
    let (words, numbers) = text.split_at(start + place.len());
    format!("{words}{}", numbers.replace(|letter: char| letter.is_ascii_digit(), ""))
}

/// Every place where the embedded answer is not as the real one, in words.
pub fn differences(place: &str, real: &Value, embedded: &Value) -> Vec<String> {
    if real["code"] != embedded["code"] {
        let told = |answer: &Value| {
            let words =
                answer.pointer("/body/message").or(answer.get("body")).unwrap_or(&Value::Null).to_string();
            format!("{} {}", answer["code"], words.chars().take(WORDS_MAX).collect::<String>())
        };
        return vec![format!("{place}:\n    real     {}\n    embedded {}", told(real), told(embedded))];
    }
    let mut found = Vec::new();
    compare(place, "", real, embedded, &mut found);
    found
}

fn compare(place: &str, path: &str, real: &Value, embedded: &Value, found: &mut Vec<String>) {
    match (real, embedded) {
        (Value::Object(one), Value::Object(other)) => {
            let mut fields: Vec<&String> = one.keys().chain(other.keys()).collect();
            fields.sort();
            fields.dedup();
            for field in fields {
                let (one, other) = (one.get(field), other.get(field));
                let null = &Value::Null;
                compare(place, &format!("{path}/{field}"), one.unwrap_or(null), other.unwrap_or(null), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(place, &format!("{path}/{index}"), one, other, found);
            }
        }
        _ if real == embedded => {}
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        _ => found.push(format!("{place}{path}:\n    real     {real}\n    embedded {embedded}")),
    }
}

#[test]
fn names_tell_equal_from_different_and_differences_are_found() {
    let mut names = Names::default();
    let object = |uid: &str, revision: &str| serde_json::json!({"metadata": {"uid": uid.repeat(UID_MIN), "resourceVersion": revision}});
    let first = names.of(&object("a", "7"));
    assert_eq!(first, names.of(&object("a", "7")));
    let second = names.of(&object("a", "9"));
    assert_eq!(
        differences("x", &first, &second),
        ["x/metadata/resourceVersion:\n    real     \"<revision 1>\"\n    embedded \"<revision 2>\""]
    );
    assert_eq!(differences("x", &serde_json::json!([1]), &serde_json::json!([1, 2])).len(), 1);
}
