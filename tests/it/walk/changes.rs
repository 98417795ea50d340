//! Everything that a schema and a sound spec give to write: each field taken away, of another type, and at and beyond its bounds.

use serde_json::{Value, json};

/// A spec that differs from a sound one in one place.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where, as a path in the spec: `images[0].tagTemplate`.
    pub path: String,
    /// What was done there.
    pub what: String,
    /// The whole spec.
    pub spec: Value,
}

/// Texts that are wrong in most places, each for a reason of its own: nothing, no name, a broken expression, a wrong unit, a
/// tag, a slash, not ASCII.
const TEXTS: &[&str] = &["", "x", "X_", "(", "$", "0", "10s", "-1s", "main-1", "linux/arm64", "a/b", "☃"];

/// All changes of `spec`, which has the form of `schema`.
pub fn changes(schema: &Value, spec: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    walk(schema, spec, &mut Vec::new(), spec, &mut found);
    found
}

fn walk(schema: &Value, value: &Value, path: &mut Vec<Step>, whole: &Value, found: &mut Vec<Change>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        path.push(Step::Key(key.clone()));
        if let Some(present) = value.get(key) {
            push(found, whole, path, "absent", None);
            walk(property, present, path, whole, found);
        }
        if property["type"] != "object" && property["type"] != "array" || value.get(key).is_some() {
            for (what, text) in values(property, value.get(key)) {
                push(found, whole, path, &what, Some(text));
            }
        }
        path.pop();
    }
    if let (Some(items), Some(first)) = (schema.get("items"), value.get(0)) {
        path.push(Step::First);
        walk(items, first, path, whole, found);
        if items["type"] != "object" {
            for (what, text) in values(items, Some(first)) {
                push(found, whole, path, &what, Some(text));
            }
        }
        path.pop();
    }
}

/// One step into a spec.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    First,
}

fn push(found: &mut Vec<Change>, whole: &Value, path: &[Step], what: &str, value: Option<Value>) {
    let mut spec = whole.clone();
    let mut place = &mut spec;
    let mut shown = String::new();
    for (index, step) in path.iter().enumerate() {
        let is_last = index + 1 == path.len();
        match step {
            Step::Key(key) => {
                shown = if shown.is_empty() { key.clone() } else { format!("{shown}.{key}") };
                if is_last && value.is_none() {
                    place.as_object_mut().expect("the path is the spec's").remove(key);
                    break;
                }
                place = &mut place[key.as_str()];
            }
            Step::First => {
                shown.push_str("[0]");
                place = &mut place[0];
            }
        }
    }
    if let Some(value) = value {
        *place = value;
    }
    found.push(Change { path: shown, what: what.to_owned(), spec });
}

/// What to write into a place of this schema, with words for it.
fn values(schema: &Value, present: Option<&Value>) -> Vec<(String, Value)> {
    let bound = |key: &str| schema[key].as_i64();
    match schema["type"].as_str() {
        Some("string") => {
            let mut values: Vec<Value> = TEXTS.iter().map(|text| json!(text)).collect();
            values.extend(schema["enum"].as_array().into_iter().flatten().cloned());
            let most = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(64);
            values.push(json!(7));
            let mut values: Vec<_> = values.into_iter().map(|value| (value.to_string(), value)).collect();
            values.push((format!("{most} letters"), json!("a".repeat(most))));
            values.push((format!("{} letters", most + 1), json!("a".repeat(most + 1))));
            values
        }
        Some("integer") => {
            let (least, most) =
                (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(i64::from(i32::MAX)));
            let numbers = [least - 1, least, most, most + 1, -1, i64::MAX];
            let numbers = numbers.map(|number| (number.to_string(), json!(number)));
            numbers.into_iter().chain([("\"x\"".to_owned(), json!("x"))]).collect()
        }
        Some("boolean") => [json!(true), json!(false), json!("x")].map(|v| (v.to_string(), v)).to_vec(),
        Some("array") => {
            let first = present.and_then(|list| list.get(0)).cloned().unwrap_or(json!("x"));
            let most = schema["maxItems"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(64);
            vec![
                ("no entries".to_owned(), json!([])),
                ("one entry twice".to_owned(), json!([first, first])),
                (format!("{} entries", most + 1), json!(vec![first; most + 1])),
                ("\"x\"".to_owned(), json!("x")),
            ]
        }
        _ => vec![("{}".to_owned(), json!({})), ("\"x\"".to_owned(), json!("x"))],
    }
}

#[test]
fn each_field_is_taken_away_wrong_and_beyond_its_bounds() {
    let schema = json!({"type": "object", "properties": {
        "pin": {"type": "string", "maxLength": 3},
        "images": {"type": "array", "maxItems": 1, "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    }});
    let found = changes(&schema, &json!({"images": [{"name": "app"}]}));
    let has = |path: &str, spec: Value| {
        assert!(found.iter().any(|change| change.path == path && change.spec == spec), "{path}: {spec}");
    };
    has("pin", json!({"images": [{"name": "app"}], "pin": "aaaa"}));
    has("pin", json!({"images": [{"name": "app"}], "pin": 7}));
    has("images", json!({}));
    has("images", json!({"images": [{"name": "app"}, {"name": "app"}]}));
    has("images[0].name", json!({"images": [{}]}));
    has("images[0].name", json!({"images": [{"name": "("}]}));
}
