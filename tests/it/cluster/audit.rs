//! What was written to the API server, by whom and in which order, as its audit log tells it: the one witness of states that
//! were gone again before a test could read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

/// The policy file. Bodies of Deployments, for their images, of ReleaseSets, for what they declare, and of what is written to
/// ImageRepositories; of everything else only that it was written.
pub const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  verbs: [create, update, patch, delete]
  resources: [{group: apps, resources: [deployments]}]
- level: RequestResponse
  verbs: [create, update, patch]
  resources: [{group: tidegate.dev, resources: [releasesets]}]
- level: Request
  verbs: [create, update, patch]
  resources: [{group: image.toolkit.fluxcd.io, resources: [imagerepositories]}]
- level: Metadata
  verbs: [create, update, patch, delete]
  resources:
  - {group: "", resources: [configmaps]}
  - {group: tidegate.dev}
  - {group: image.toolkit.fluxcd.io}
  - {group: source.toolkit.fluxcd.io}
  - {group: kustomize.toolkit.fluxcd.io}
  - {group: helm.toolkit.fluxcd.io}
  - {group: fluxcd.controlplane.io}
# What a service account may do is what RBAC lets it: reads and refusals too.
- level: Metadata
  userGroups: [system:serviceaccounts]
- level: None
"#;

/// Verbs that change something.
const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];
/// Groups and kinds whose writes [`read`] tells of; the core group's are ConfigMaps.
const TOLD: [&str; 7] = [
    "apps",
    "tidegate.dev",
    "image.toolkit.fluxcd.io",
    "source.toolkit.fluxcd.io",
    "kustomize.toolkit.fluxcd.io",
    "helm.toolkit.fluxcd.io",
    "fluxcd.controlplane.io",
];

/// One request of a service account, carried out or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// API group; empty for the core group, and where the request is for no resource.
    pub group: String,
    /// Plural, with the subresource if there is one.
    pub resource: String,
    /// As RBAC calls it: `get`, `list`, `watch`, `create`, …
    pub verb: String,
    /// Namespace of the object; empty where it has none, or all are meant.
    pub namespace: String,
    /// Whether RBAC let it through.
    pub is_allowed: bool,
}

/// One write that the server carried out: no dry-run, nothing refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// When it was answered, to the microsecond.
    pub at: Timestamp,
    /// User name of the writer, of a service account its name alone: the controllers of Flux have their own names, `tidegate`
    /// is Tidegate, `admin` the test.
    pub user: String,
    /// First word of the writer's user agent, for example `tidegate/0.1.0`.
    pub agent: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// Plural, with the subresource if there is one: `deployments`, `imagepolicies/status`.
    pub resource: String,
    /// Name of the object.
    pub name: String,
    /// Images of its containers after the write, in their order; empty for all but Deployments.
    pub images: Vec<String>,
}

/// Which image each Deployment carried from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// From when on.
    pub at: Timestamp,
    /// First image by name of the Deployment.
    pub images: BTreeMap<String, String>,
}

// === impl State ===

impl State {
    /// The distinct tags among its images, sorted; a digest behind the tag is left out.
    pub fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> = self.images.values().map(|image| tag(image)).collect();
        tags.sort();
        tags.dedup();
        tags
    }

    /// Whether the Deployments carry different tags.
    pub fn is_mixed(&self) -> bool {
        self.tags().len() > 1
    }
}

/// The tag of `repository:tag@digest`; empty where there is none.
pub fn tag(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_default()
}

/// The writes to objects of `namespace` in an audit log, oldest first.
pub fn read(log: &Path, namespace: &str) -> Vec<Write> {
    let text = fs::read_to_string(log).expect("the API server writes its audit log");
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let events = whole.lines().map(|line| serde_json::from_str(line).expect("a line is one JSON object"));
    let mut writes: Vec<Write> = events.filter_map(|event| write(&event, namespace)).collect();
    writes.sort_by_key(|write| write.at);
    writes
}

/// What the Deployments carried after each write to one of them, oldest first.
pub fn states(writes: &[Write]) -> Vec<State> {
    let mut images = BTreeMap::new();
    let mut states: Vec<State> = Vec::new();
    for write in writes.iter().filter(|write| write.resource == "deployments") {
        match write.images.first() {
            Some(image) if write.verb != "delete" => images.insert(write.name.clone(), image.clone()),
            _ => images.remove(&write.name),
        };
        if states.last().is_none_or(|state| state.images != images) {
            states.push(State { at: write.at, images: images.clone() });
        }
    }
    states
}

/// The distinct requests of a user in an audit log, those for no resource left out.
pub fn requests(log: &Path, user: &str) -> BTreeSet<Request> {
    let text = fs::read_to_string(log).expect("the API server writes its audit log");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let events = whole.lines().map(|line| serde_json::from_str(line).expect("a line is one JSON object"));
    events.filter_map(|event| request(&event, user)).collect()
}

/// Messages of the validation failures that admission policies noted on requests for objects of `namespace`.
pub fn noted(log: &Path, namespace: &str) -> Vec<String> {
    let text = fs::read_to_string(log).expect("the API server writes its audit log");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let events: Vec<Value> =
        whole.lines().map(|line| serde_json::from_str(line).expect("a line is one JSON object")).collect();
    let of_namespace = events.iter().filter(|event| event["objectRef"]["namespace"] == namespace);
    let notes = of_namespace
        .filter_map(|event| {
            event["annotations"]["validation.policy.admission.k8s.io/validation_failure"].as_str()
        })
        .map(|note| serde_json::from_str::<Value>(note).expect("the annotation is JSON"));
    notes
        .flat_map(|note| note.as_array().cloned().unwrap_or_default())
        .map(|note| note["message"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn request(event: &Value, user: &str) -> Option<Request> {
    let object = &event["objectRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if event["user"]["username"] != user || object["resource"].is_null() {
        return None;
    }
    Some(Request {
        group: text(&object["apiGroup"]),
        resource: resource(object),
        verb: text(&event["verb"]),
        namespace: text(&object["namespace"]),
        is_allowed: event["annotations"]["authorization.k8s.io/decision"] == "allow",
    })
}

/// Plural, with the subresource if there is one.
fn resource(object: &Value) -> String {
    let resource = object["resource"].as_str().unwrap_or_default();
    match object["subresource"].as_str() {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    }
}

fn write(event: &Value, namespace: &str) -> Option<Write> {
    let object = &event["objectRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = object["apiGroup"].as_str();
    let is_told = group.map_or(object["resource"] == "configmaps", |group| TOLD.contains(&group));
    if !is_told || !WRITES.contains(&event["verb"].as_str().unwrap_or_default()) {
        return None;
    }
    let carried_out = event["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
    if object["namespace"] != namespace || !carried_out || text(&event["requestURI"]).contains("dryRun=All") {
        return None;
    }
    let reply = &event["responseObject"];
    let containers = reply["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    // A name that the server generates is only in the reply.
    let name = object["name"].as_str().or(reply["metadata"]["name"].as_str()).unwrap_or_default();
    Some(Write {
        at: text(&event["stageTimestamp"]).parse().expect("the server writes RFC 3339"),
        user: text(&event["user"]["username"]).rsplit(':').next().unwrap_or_default().to_owned(),
        agent: text(&event["userAgent"]).split(' ').next().unwrap_or_default().to_owned(),
        verb: text(&event["verb"]),
        resource: resource(object),
        name: name.to_owned(),
        images: containers.iter().map(|container| text(&container["image"])).collect(),
    })
}

#[test]
fn a_dry_run_and_a_refusal_are_no_writes_and_a_digest_is_no_tag() {
    let event = |uri: &str, code: u16, image: &str| {
        serde_json::json!({
            "stageTimestamp": "2026-11-21T10:00:00.000001Z", "verb": "patch", "requestURI": uri,
            "user": {"username": "kustomize-controller"}, "userAgent": "kustomize-controller/v1 (linux)",
            "objectRef": {"namespace": "shop", "apiGroup": "apps", "resource": "deployments", "name": "app"},
            "responseStatus": {"code": code},
            "responseObject": {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}},
        })
    };
    let seen = |event: Value| write(&event, "shop");
    assert_eq!(seen(event("/x?dryRun=All&force=true", 200, "a:1")), None);
    assert_eq!(seen(event("/x", 409, "a:1")), None);
    assert_eq!(write(&event("/x", 200, "a:1"), "other"), None);
    let mut look = event("/x", 200, "a:1");
    look["verb"] = serde_json::json!("get");
    assert_eq!(write(&look, "shop"), None);
    let first = seen(event("/x", 200, "127.0.0.1:5000/acme/app:main-1@sha256:00")).unwrap();
    let second =
        Write { name: "worker".to_owned(), images: vec!["acme/worker:main-2".to_owned()], ..first.clone() };
    let states = states(&[first.clone(), first, second]);
    assert_eq!(
        states.iter().map(State::tags).collect::<Vec<_>>(),
        [vec!["main-1"], vec!["main-1", "main-2"]]
    );
    assert!(!states[0].is_mixed() && states[1].is_mixed());
}
