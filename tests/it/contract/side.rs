//! One of the two servers: sends exchanges, keeps their answers, fills in what later ones refer to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body as HttpBody;
use serde_json::{Value, json};
use tidegate::embedded::api::ApiServer;
use tidegate::telemetry::clock::Clock;

use super::exchange::{Answer, Body, Exchange};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::tools::Tools;
use crate::flux::controllers;

/// How long an answer may take; watches of this suite end by themselves after five seconds at most.
const DEADLINE: Duration = Duration::from_secs(20);
/// CRDs of Flux that the controller's kinds are from.
const FLUX_CRDS: [&str; 7] = [
    "image.toolkit.fluxcd.io_imagepolicies",
    "image.toolkit.fluxcd.io_imagerepositories",
    "image.toolkit.fluxcd.io_imageupdateautomations",
    "fluxcd.controlplane.io_resourcesetinputproviders",
    "kustomize.toolkit.fluxcd.io_kustomizations",
    "helm.toolkit.fluxcd.io_helmreleases",
    "source.toolkit.fluxcd.io_gitrepositories",
];

/// The real API server.
pub struct Real<'a> {
    plane: &'a ControlPlane,
    client: Client,
    flux_crds: PathBuf,
}

/// An embedded one.
pub struct Embedded {
    pub api: ApiServer,
}

/// One story's way to a server.
pub struct Side {
    client: Client,
    answers: BTreeMap<String, Value>,
}

/// The real API server with all definitions; `None` after one printed line when tools are missing.
pub async fn real(suite: &str) -> Option<Real<'static>> {
    real_on(suite, ControlPlane::shared(suite).await?).await
}

/// The same on that control plane.
pub async fn real_on<'a>(suite: &str, plane: &'a ControlPlane) -> Option<Real<'a>> {
    let tools = Tools::require(suite, &["flux-crds"])?;
    let client = plane.client().await;
    crate::crd::install(&client).await;
    let flux_crds = tools.path("flux-crds").to_owned();
    controllers::install(&client, &flux_crds).await;
    Some(Real { plane, client, flux_crds })
}

/// An embedded API with the same definitions.
pub fn embedded(flux_crds: &Path) -> Embedded {
    let api = ApiServer::new(Clock::system());
    tidegate::cli::demo::world::serve_crd(&api).expect("our definition is served");
    for definition in definitions(flux_crds) {
        api.register_crd(definition.clone()).unwrap_or_else(|error| panic!("{error}"));
    }
    // A server that runs for a while has forgotten its beginning.
    api.compact();
    Embedded { api }
}

/// Flux's definitions, read once.
fn definitions(folder: &Path) -> &'static [Value] {
    static READ: OnceLock<Vec<Value>> = OnceLock::new();
    READ.get_or_init(|| {
        let read = FLUX_CRDS.iter().map(|name| {
            let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("it is readable");
            serde_saphyr::from_str(&text).expect("it is YAML")
        });
        read.collect()
    })
}

// === impl Real ===

impl Real<'_> {
    pub fn flux_crds(&self) -> &Path {
        &self.flux_crds
    }

    pub async fn namespace(&self, prefix: &str) -> String {
        self.plane.namespace(&self.client, prefix).await
    }

    pub fn side(&self) -> Side {
        Side { client: self.client.clone(), answers: BTreeMap::new() }
    }
}

// === impl Embedded ===

impl Embedded {
    pub fn side(&self) -> Side {
        Side { client: self.api.client("contract", "default"), answers: BTreeMap::new() }
    }
}

// === impl Side ===

impl Side {
    /// Sends one exchange, and those meanwhile while its answer comes.
    pub async fn exchange(&mut self, exchange: &Exchange) -> Answer {
        let answer = tokio::time::timeout(DEADLINE, Box::pin(self.send(exchange))).await;
        let answer = answer.unwrap_or_else(|_| panic!("{}: no answer", exchange.name));
        let known = self.answers.insert(exchange.name.clone(), answer.body.clone());
        assert!(known.is_none(), "{}: the name is used twice", exchange.name);
        answer
    }

    async fn send(&mut self, exchange: &Exchange) -> Answer {
        let body = match &exchange.body {
            Body::Nothing => Vec::new(),
            Body::Text(text) => text.clone().into_bytes(),
            Body::Json(value) => self.filled(value).to_string().into_bytes(),
            Body::Edited { answer, fields } => self.edited(answer, fields).to_string().into_bytes(),
        };
        let request = http::Request::builder()
            .method(exchange.method.clone())
            .uri(self.filled_text(&exchange.path))
            .header("Content-Type", exchange.content_type)
            .header("Accept", exchange.accept)
            .body(HttpBody::from(body))
            .expect("the request is valid");
        let response = self.client.send(request).await.expect("there is an answer");
        let code = response.status().as_u16();
        let mut meanwhile = Vec::new();
        for inner in &exchange.meanwhile {
            meanwhile.push(Box::pin(self.exchange(inner)).await);
        }
        let bytes = response.into_body().collect().await.expect("the answer is whole").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("the answer is text");
        let body = if exchange.path.contains("watch=true") && code == 200 {
            events(&text, exchange.path.contains("allowWatchBookmarks=true"))
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Answer { code, body, meanwhile }
    }

    fn edited(&self, answer: &str, fields: &[(String, Value)]) -> Value {
        let mut body = self.answers.get(answer).unwrap_or_else(|| panic!("no exchange {answer}")).clone();
        for (pointer, value) in fields {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("{answer} has no {parent}"));
            let parent = parent.as_object_mut().expect("an object");
            match value {
                Value::Null => drop(parent.remove(&field.replace("~1", "/"))),
                value => drop(parent.insert(field.replace("~1", "/"), self.filled(value))),
            }
        }
        body
    }

    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.filled_text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.filled(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    fn filled_text(&self, text: &str) -> String {
        let mut parts = text.split("{{");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (reference, rest) = part.split_once("}}").expect("the reference is closed");
            let (answer, pointer) = reference.split_once('/').expect("EXCHANGE/POINTER");
            let answer = self.answers.get(answer).unwrap_or_else(|| panic!("no exchange {answer}"));
            // A value that is not there is one of the differences to be found.
            let value = answer.pointer(&format!("/{pointer}")).and_then(Value::as_str).unwrap_or("absent");
            filled.push_str(value);
            filled.push_str(rest);
        }
        filled
    }
}

/// The events of a watch. When a server sends bookmarks is its own choice, and none is owed: each that comes must be of
/// the form that both have, and is left out. One that was not asked for is kept, and differs.
fn events(text: &str, with_bookmarks: bool) -> Value {
    let mut events: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is one event")).collect();
    let is_bookmark = |event: &Value| with_bookmarks && event["type"] == "BOOKMARK";
    for bookmark in events.iter().filter(|event| is_bookmark(event)) {
        let revision = bookmark["object"]["metadata"]["resourceVersion"].clone();
        assert!(revision.as_str().is_some_and(|text| text.parse::<u64>().is_ok()), "{bookmark}");
        let metadata = json!({"resourceVersion": revision});
        let object =
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        assert_eq!(bookmark["object"], object, "watches of this suite that take bookmarks are of metadata");
    }
    events.retain(|event| !is_bookmark(event));
    events.into()
}
