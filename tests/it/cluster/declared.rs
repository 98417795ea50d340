//! S9: everything that a controller wrote, or tried to, as the audit log of the API server tells it, held against what its sets
//! declared. Each suite that runs a controller on a real API server ends with this.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate::invariants::s9_declared;

/// Verbs that change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// The only annotation that is written to an object of Flux which no target is.
const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// What one log says of one controller.
#[derive(Debug, Default)]
pub struct Record {
    /// The objects of its writes: `namespace/resource/name`, with the subresource behind the resource.
    pub written: BTreeSet<String>,
    /// Writes that no set declared at any time, and those that changed more of an object than is theirs to.
    pub broken: Vec<String>,
}

/// What the controller `user` wrote, by the text of an audit log. Its lease is in the namespace of its account or in one
/// of `leases`; what it watches may be wider.
pub fn record(log: &str, user: &str) -> Record {
    // The last line may be half written.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let is_told = |line: &&str| line.contains(user) || line.contains("\"releasesets\"");
    let events: Vec<Value> = whole
        .lines()
        .filter(is_told)
        .map(|line| serde_json::from_str(line).expect("a line is one JSON object"))
        .collect();
    let declared = declared(&events, user);
    let mut record = Record::default();
    for event in events.iter().filter(|event| event["user"]["username"] == user && is_write(event)) {
        let object = object(event);
        record.broken.extend(s9_declared(&object, &declared).map(|broken| broken.to_string()));
        record.broken.extend(too_much(event).map(|what| format!("S9: {what} of {object} was written")));
        record.written.insert(object);
    }
    record
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_write(event: &Value) -> bool {
    WRITES.contains(&text(&event["verb"])) && !text(&event["requestURI"]).contains("dryRun=All")
}

/// `namespace/resource/name`.
fn object(event: &Value) -> String {
    let reference = &event["objectRef"];
    let subresource = reference["subresource"].as_str().map_or_else(String::new, |sub| format!("/{sub}"));
    let (namespace, resource) = (text(&reference["namespace"]), text(&reference["resource"]));
    format!("{namespace}/{resource}{subresource}/{}", text(&reference["name"]))
}

/// What all sets ever declared, whoever wrote them, and what belongs to the controller itself.
fn declared(events: &[Value], user: &str) -> Vec<String> {
    let home = user.split(':').nth(2).unwrap_or_default();
    let mut declared = vec![format!("{home}/leases/tidegate*")];
    let sets = events.iter().filter(|event| {
        let reference = &event["objectRef"];
        reference["resource"] == "releasesets" && reference["subresource"].is_null() && is_write(event)
    });
    for event in sets {
        let set = &event["responseObject"];
        if set["spec"].is_object() {
            let namespace = text(&event["objectRef"]["namespace"]);
            declared.extend(of_set(namespace, text(&set["metadata"]["name"]), &set["spec"]));
        }
    }
    declared
}

/// What a set lets its controller write.
fn of_set(namespace: &str, name: &str, spec: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut declared = vec![
        format!("releasesets/{name}"),
        format!("releasesets/status/{name}"),
        format!("events/{name}.*"),
        // Of a controller with `--guard`; without it the chart gives no right to it.
        "configmaps/tidegate-guard".to_owned(),
    ];
    for target in list(&spec["targets"]) {
        for (field, resource) in [
            ("configMap", "configmaps"),
            ("imagePolicy", "imagepolicies"),
            ("resourceSetInputProvider", "resourcesetinputproviders"),
        ] {
            declared.extend(target[field]["name"].as_str().map(|name| format!("{resource}/{name}")));
        }
        let scanned = target["imagePolicy"]["imageRepositoryRef"]["name"].as_str();
        declared.extend(scanned.map(|name| format!("imagerepositories/{name}")));
    }
    if list(&spec["gates"]).iter().any(|gate| gate["smoke"].is_object()) {
        declared.push("jobs/tg-*".to_owned());
    }
    declared.into_iter().map(|object| format!("{namespace}/{object}")).collect()
}

/// What a write changes that is not the controller's, of objects that it may write a part of only.
fn too_much(event: &Value) -> Option<String> {
    let reference = &event["objectRef"];
    let (sent, is_patch) = (&event["requestObject"], event["verb"] == "patch");
    match (text(&reference["resource"]), reference["subresource"].as_str()) {
        // The finalizer.
        ("releasesets", None) if is_patch => others(sent, &["metadata"])
            .or_else(|| others(&sent["metadata"], &["finalizers", "resourceVersion", "uid"])),
        ("imagerepositories", None) if is_patch => others(sent, &["metadata"])
            .or_else(|| others(&sent["metadata"], &["annotations", "resourceVersion"]))
            .or_else(|| others(&sent["metadata"]["annotations"], &[REQUESTED_AT])),
        ("releasesets", None) | ("imagerepositories", _) => Some(format!("more by {}", event["verb"])),
        _ => None,
    }
}

/// The first key beside those.
fn others(object: &Value, known: &[&str]) -> Option<String> {
    object.as_object()?.keys().find(|key| !known.contains(&key.as_str())).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USER: &str = "system:serviceaccount:shop:tidegate";

    fn line(user: &str, verb: &str, place: [&str; 3], more: &Value) -> Value {
        let [namespace, resource, name] = place;
        let (resource, subresource) =
            resource.split_once('/').map_or((resource, None), |(resource, sub)| (resource, Some(sub)));
        let mut event = json!({"verb": verb, "user": {"username": user}, "requestURI": "/x", "objectRef":
            {"namespace": namespace, "resource": resource, "subresource": subresource, "name": name}});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    }

    fn told(lines: &[Value]) -> Record {
        let spec = json!({"targets": [
            {"name": "config", "configMap": {"name": "release"}},
            {"name": "flux", "imagePolicy": {"name": "policy", "imageRepositoryRef": {"name": "app"}}}]});
        let set = json!({"responseObject": {"metadata": {"name": "acme"}, "spec": spec}});
        let set = line("admin", "create", ["shop", "releasesets", "acme"], &set);
        let lines: Vec<String> = std::iter::once(&set).chain(lines).map(ToString::to_string).collect();
        record(&(lines.join("\n") + "\n{half a li"), USER)
    }

    #[test]
    fn what_a_set_declares_may_be_written() {
        let write = |verb, resource, name| line(USER, verb, ["shop", resource, name], &json!({}));
        let patch = |annotations: Value| {
            let body =
                json!({"requestObject": {"metadata": {"resourceVersion": "1", "annotations": annotations}}});
            line(USER, "patch", ["shop", "imagerepositories", "app"], &body)
        };
        let found = told(&[
            write("update", "releasesets/status", "acme"),
            write("create", "configmaps", "release"),
            write("create", "events", "acme.18a"),
            write("update", "leases", "tidegate-0f"),
            write("delete", "imagepolicies", "policy"),
            patch(json!({"reconcile.fluxcd.io/requestedAt": "x"})),
            line(USER, "get", ["other", "secrets", "pull"], &json!({})),
            line(USER, "create", ["other", "leases", "x"], &json!({"requestURI": "/x?dryRun=All"})),
            line("somebody", "create", ["other", "secrets", "x"], &json!({"by": USER})),
        ]);
        assert_eq!((found.broken, found.written.len()), (Vec::new(), 6));
    }

    #[test]
    fn what_no_set_declares_is_found() {
        for (verb, namespace, resource, name) in [
            ("create", "shop", "configmaps", "other"),
            ("create", "other", "configmaps", "release"),
            ("update", "other", "releasesets/status", "acme"),
            ("patch", "shop", "secrets", "release"),
            ("create", "shop", "jobs", "tg-1"),
            ("delete", "shop", "pods", "tg-1-x"),
            ("create", "shop", "events", "other.18a"),
            ("update", "other", "leases", "tidegate"),
            ("patch", "shop", "imagerepositories", "other"),
            ("deletecollection", "shop", "configmaps", ""),
            ("create", "", "namespaces", "shop"),
            ("update", "shop", "releasesets", "acme"),
        ] {
            let found = told(&[line(USER, verb, [namespace, resource, name], &json!({}))]);
            assert_eq!(found.broken.len(), 1, "{verb} {namespace}/{resource}/{name}: {found:?}");
        }
        for (resource, name, body) in [
            ("imagerepositories", "app", json!({"spec": {"suspend": true}})),
            ("imagerepositories", "app", json!({"metadata": {"labels": {"x": "y"}}})),
            ("imagerepositories", "app", json!({"metadata": {"annotations": {"other": "y"}}})),
            ("releasesets", "acme", json!({"spec": {"suspend": true}})),
            ("releasesets", "acme", json!({"metadata": {"annotations": {"other": "y"}}})),
        ] {
            let write = line(USER, "patch", ["shop", resource, name], &json!({"requestObject": body}));
            assert_eq!(told(std::slice::from_ref(&write)).broken.len(), 1, "{write}");
        }
    }
}
