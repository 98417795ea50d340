//! One request as data, and what of its answer is compared.

use http::Method;
use serde_json::{Value, json};

use super::compare::Names;

/// One request. Text in `{{…}}` in path and body stands for a value of an earlier answer: `{{made/metadata/uid}}`.
pub struct Exchange {
    /// Unique in its story; later exchanges refer to its answer by it.
    pub name: String,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub content_type: &'static str,
    pub accept: &'static str,
    pub body: Body,
    /// Sent while this one's answer, a watch, is being read.
    pub meanwhile: Vec<Self>,
    /// Fields of the answer that are not compared, with the reason.
    unlike: Vec<(String, &'static str)>,
    /// If not empty, nothing but these fields is compared.
    only: Vec<String>,
}

/// What is sent.
pub enum Body {
    Nothing,
    Text(String),
    Json(Value),
    /// The answer of an earlier exchange with these fields set; null removes one.
    Edited {
        answer: String,
        fields: Vec<(String, Value)>,
    },
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub code: u16,
    /// A string where the answer is no JSON, a list of events where it is a watch.
    pub body: Value,
    /// Of the exchanges that were sent meanwhile.
    pub meanwhile: Vec<Self>,
}

// === impl Exchange ===

impl Exchange {
    fn new(name: &str, method: Method, path: impl Into<String>, body: Body) -> Self {
        Self {
            name: name.to_owned(),
            method,
            path: path.into(),
            content_type: "application/json",
            accept: "application/json",
            body,
            meanwhile: Vec::new(),
            unlike: Vec::new(),
            only: Vec::new(),
        }
    }

    pub fn get(name: &str, path: impl Into<String>) -> Self {
        Self::new(name, Method::GET, path, Body::Nothing)
    }

    pub fn post(name: &str, path: impl Into<String>, body: Value) -> Self {
        Self::new(name, Method::POST, path, Body::Json(body))
    }

    pub fn put(name: &str, path: impl Into<String>, body: Value) -> Self {
        Self::new(name, Method::PUT, path, Body::Json(body))
    }

    /// PUT of an earlier answer with some fields changed.
    pub fn put_edited(name: &str, path: impl Into<String>, answer: &str, fields: &[(&str, Value)]) -> Self {
        let fields = fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
        Self::new(name, Method::PUT, path, Body::Edited { answer: answer.to_owned(), fields })
    }

    pub fn merge(name: &str, path: impl Into<String>, patch: Value) -> Self {
        let exchange = Self::new(name, Method::PATCH, path, Body::Json(patch));
        Self { content_type: "application/merge-patch+json", ..exchange }
    }

    pub fn delete(name: &str, path: impl Into<String>, options: Value) -> Self {
        let body = if options.is_null() { Body::Nothing } else { Body::Json(options) };
        Self::new(name, Method::DELETE, path, body)
    }

    pub fn other(name: &str, method: Method, path: impl Into<String>, body: Body) -> Self {
        Self::new(name, method, path, body)
    }

    /// As kube's watches of metadata ask.
    pub fn metadata_of(mut self, what: &'static str) -> Self {
        self.accept = match what {
            "list" => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            _ => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        };
        self
    }

    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }

    pub fn meanwhile(mut self, exchanges: Vec<Self>) -> Self {
        self.meanwhile = exchanges;
        self
    }

    /// Leaves a field of the answer out of the comparison, and says why.
    pub fn but(mut self, pointer: &str, why: &'static str) -> Self {
        self.unlike.push((pointer.to_owned(), why));
        self
    }

    /// A refusal with the same code and reason, in other words.
    pub fn but_words(self, why: &'static str) -> Self {
        self.but("/body/message", why).but("/body/details", why)
    }

    /// Compares nothing but these fields of an answer's body, those that the controller reads of a kind that the real
    /// server fills with defaults.
    pub fn only(mut self, pointers: &[&str]) -> Self {
        self.only = pointers.iter().map(|pointer| format!("/body{pointer}")).collect();
        self
    }

    /// What of an answer is compared, in names that do not depend on the side.
    pub fn compared(&self, names: &mut Names, answer: &Answer) -> Value {
        let mut whole = json!({"code": answer.code, "body": answer.body});
        for (pointer, why) in &self.unlike {
            assert!(!why.is_empty());
            remove(&mut whole, pointer);
        }
        if !self.only.is_empty() && answer.code < 400 {
            let mut picked = json!({"code": answer.code});
            for pointer in &self.only {
                let value = whole.pointer(pointer).cloned().unwrap_or(Value::Null);
                put(&mut picked, pointer, value);
            }
            whole = picked;
        }
        // Last: what is not compared is not named either.
        let mut whole = names.of(&whole);
        for (exchange, answer) in self.meanwhile.iter().zip(&answer.meanwhile) {
            whole[&exchange.name] = exchange.compared(names, answer);
        }
        whole
    }
}

/// Removes a field; `*` stands for every item of a list.
fn remove(value: &mut Value, pointer: &str) {
    let (head, rest) = match pointer[1..].split_once('/') {
        Some((head, rest)) => (head, Some(format!("/{rest}"))),
        None => (&pointer[1..], None),
    };
    match (value, rest) {
        (Value::Array(items), Some(rest)) if head == "*" => {
            for item in items {
                remove(item, &rest);
            }
        }
        (Value::Object(fields), None) => drop(fields.remove(&head.replace("~1", "/"))),
        (value, Some(rest)) => {
            if let Some(inner) = value.pointer_mut(&format!("/{head}")) {
                remove(inner, &rest);
            }
        }
        _ => {}
    }
}

/// Sets a field, whatever is above it; lists become maps by index.
fn put(target: &mut Value, pointer: &str, value: Value) {
    let mut place = target;
    for segment in pointer.split('/').skip(1) {
        place = &mut place[segment.replace("~1", "/")];
    }
    *place = value;
}
