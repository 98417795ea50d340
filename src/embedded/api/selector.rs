//! Label and field selectors of LIST and WATCH.

use serde_json::Value;

use super::{refusal::Refusal, resources::Resource};

/// Fields beside the metadata by which Events of the core group are selected: those that the product asks by.
const OF_EVENTS: [&str; 5] =
    ["involvedObject.kind", "involvedObject.name", "involvedObject.uid", "reason", "type"];

/// What an object must have to be listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    /// JSON pointer, value, and whether it must be this one.
    fields: Vec<(String, String, bool)>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    wanted: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// True also without the label, as in Kubernetes.
    NotIn(Vec<String>),
}

// === impl Selector ===

impl Selector {
    pub(super) fn parse(
        resource: &Resource,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, Refusal> {
        let labels = split(labels.unwrap_or("")).into_iter().map(Requirement::parse).collect::<Option<_>>();
        let labels =
            labels.ok_or_else(|| Refusal::bad_request("unable to parse requirement of labelSelector"))?;
        let mut parsed = Vec::new();
        for part in split(fields.unwrap_or("")) {
            let (name, value, equal) = match (part.split_once("!="), part.split_once('=')) {
                (Some((name, value)), _) => (name, value, false),
                (None, Some((name, value))) => (name, value.trim_start_matches('='), true),
                (None, None) => return Err(Refusal::bad_request(format!("invalid selector: {part}"))),
            };
            let of_events =
                resource.plural == "events" && resource.group.is_empty() && OF_EVENTS.contains(&name);
            if !of_events && !matches!(name, "metadata.name" | "metadata.namespace") {
                return Err(Refusal::bad_request(format!("field label not supported: {name}")));
            }
            parsed.push((format!("/{}", name.replace('.', "/")), value.to_owned(), equal));
        }
        Ok(Self { labels, fields: parsed })
    }

    /// Whether it selects all there is.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        self.labels.iter().all(|requirement| requirement.matches(&object["metadata"]["labels"]))
            && self.fields.iter().all(|(pointer, value, equal)| (text(pointer) == value) == *equal)
    }
}

// === impl Requirement ===

impl Requirement {
    fn parse(text: &str) -> Option<Self> {
        let list = |text: &str| -> Option<Vec<String>> {
            let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
            Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
        };
        let one = |value: &str| vec![value.trim().to_owned()];
        let (key, wanted) = if let Some((key, values)) = text.split_once(" notin ") {
            (key, Test::NotIn(list(values)?))
        } else if let Some((key, values)) = text.split_once(" in ") {
            (key, Test::In(list(values)?))
        } else if let Some((key, value)) = text.split_once("!=") {
            (key, Test::NotIn(one(value)))
        } else if let Some((key, value)) = text.split_once('=') {
            (key, Test::In(one(value.trim_start_matches('='))))
        } else if let Some(key) = text.strip_prefix('!') {
            (key, Test::Absent)
        } else {
            (text, Test::Exists)
        };
        let key = key.trim();
        (!key.is_empty() && !key.contains([' ', '('])).then(|| Self { key: key.to_owned(), wanted })
    }

    fn matches(&self, labels: &Value) -> bool {
        let value = labels.get(&self.key).and_then(Value::as_str);
        let listed =
            |values: &[String]| value.is_some_and(|value| values.iter().any(|listed| listed == value));
        match &self.wanted {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => listed(values),
            Test::NotIn(values) => !listed(values),
        }
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}
