//! A ReleaseSet names objects of its own namespace and nothing else: no field reaches another namespace's Secret, Job or target,
//! whatever is written into it (CVE-2026-22872, CVE-2022-24877 and others of their kind).

use std::collections::BTreeSet;

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::response::Status;
use serde_json::{Value, json};
use tidegate::api::{ReleaseSet, crd};

use crate::cluster::tools::say_once;
use crate::controller::real::Real;

const SUITE: &str = "tenants";

/// Every field that names an object outside the set; what only names a part of the set itself is in [`OWN`].
const FIELDS: &[&str] = &[
    "candidates.policyRef.name",
    "images[].imageRepositoryRef.name",
    "images[].registry.certSecretRef.name",
    "images[].registry.proxySecretRef.name",
    "images[].registry.secretRef.name",
    "images[].registry.serviceAccountName",
    "registry.certSecretRef.name",
    "registry.proxySecretRef.name",
    "registry.secretRef.name",
    "registry.serviceAccountName",
    "targets[].configMap.name",
    "targets[].imagePolicy.imageRepositoryRef.name",
    "targets[].imagePolicy.imageUpdateAutomationRef.name",
    "targets[].imagePolicy.name",
    "targets[].imagePolicy.rolledOutBy[].name",
    "targets[].resourceSetInputProvider.name",
];

/// Names that are looked up in the set itself. Those of gates become a part of a Job's name, and are tried too.
const OWN: &[&str] = &["gates[].name", "gates[].smoke.env[].name", "images[].name", "targets[].name"];

/// What a tenant may write to get at `other`.
fn attempts(other: &str) -> Vec<String> {
    vec![
        format!("{other}/pull"),
        format!("../{other}/pull"),
        format!("../../namespaces/{other}/secrets/pull"),
        format!("..%2f..%2fnamespaces%2f{other}%2fsecrets%2fpull"),
        format!("/api/v1/namespaces/{other}/secrets/pull"),
        format!("{other}:pull"),
        format!("pull?namespace={other}"),
        format!("pull#{other}"),
        "..".to_owned(),
        ".".to_owned(),
        "pull\n".to_owned(),
        "PULL".to_owned(),
        "*".to_owned(),
        String::new(),
    ]
}

/// Paths of all strings of `schema` that name something.
fn names(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if property["type"] == "string" && (key == "name" || key.ends_with("Name")) {
            found.insert(path.clone());
        }
        assert_ne!(key, "namespace", "{path}: a set names objects of its own namespace");
        names(&path, property, found);
    }
    if schema.get("items").is_some() {
        names(&format!("{path}[]"), &schema["items"], found);
    }
}

#[test]
fn every_field_that_names_an_object_is_tried() {
    let schema = serde_json::to_value(crd::crd()).unwrap();
    let spec = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = BTreeSet::new();
    names("", spec, &mut found);
    let known: BTreeSet<String> = FIELDS.iter().chain(OWN).map(|path| (*path).to_owned()).collect();
    assert_eq!(found, known);
}

/// Puts `value` where `path` says; on the way lists get one entry and objects are made.
fn put(spec: &mut Value, path: &str, value: &str) {
    let mut place = &mut *spec;
    for step in path.split('.') {
        let (key, is_list) = step.strip_suffix("[]").map_or((step, false), |key| (key, true));
        if place[key].is_null() {
            place[key] = if is_list { json!([{}]) } else { json!({}) };
        }
        place = if is_list { &mut place[key][0] } else { &mut place[key] };
    }
    *place = json!(value);
}

/// A spec that is sound but for the field.
fn spec(real: &Real, path: &str, value: &str) -> Value {
    let mut spec = real.spec("release");
    if path.starts_with("candidates.policyRef") {
        spec["candidates"] = json!({});
    }
    if path == "registry.certSecretRef.name" {
        spec["registry"] = json!({});
    }
    if path.starts_with("images[].imageRepositoryRef") {
        spec["images"][0].as_object_mut().unwrap().remove("repository");
        spec.as_object_mut().unwrap().remove("registry");
    }
    if path.starts_with("targets[].imagePolicy") {
        spec["targets"] =
            json!([{"name": "it", "imagePolicy": {"name": "it", "imageRepositoryRef": {"name": "it"}}}]);
    }
    if path.starts_with("targets[].imagePolicy.rolledOutBy") {
        spec["targets"][0]["imagePolicy"]["rolledOutBy"] = json!([{"kind": "Kustomization"}]);
    }
    if path.starts_with("targets[].resourceSetInputProvider") {
        spec["targets"] = json!([{"name": "it"}]);
    }
    if path.starts_with("gates[]") {
        spec["gates"] = json!([{"smoke": {"image": "app", "command": ["/app"]}}]);
    }
    put(&mut spec, path, value);
    spec
}

/// The set as the API server took it, or why it did not.
async fn create(real: &Real, name: &str, spec: &Value) -> Result<(), Status> {
    let kind = ApiResource::erase::<ReleaseSet>(&());
    let sets: Api<DynamicObject> = Api::namespaced_with(real.client.clone(), &real.namespace, &kind);
    let mut set = DynamicObject::new(name, &kind);
    set.data = json!({"spec": spec});
    match sets.create(&PostParams::default(), &set).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(refusal)) => Err(*refusal),
        Err(error) => panic!("{name}: {error}"),
    }
}

#[tokio::test]
async fn no_field_reaches_another_namespace() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let mut refused = 0;
    for path in FIELDS.iter().chain(&["gates[].name"]) {
        let sound = create(&real, "sound", &spec(&real, path, "it")).await;
        assert!(sound.is_ok(), "{path} takes a sound name: {sound:?}");
        real.sets().delete("sound", &DeleteParams::default()).await.unwrap();
        for attempt in attempts("kube-system") {
            let answer = create(&real, "attempt", &spec(&real, path, &attempt)).await;
            let refusal = answer.expect_err(&format!("{path} takes {attempt:?}"));
            let field = format!("spec.{}", path.replace("[]", "[0]"));
            assert_eq!(refusal.code, 422, "{path}: {refusal:?}");
            assert!(refusal.message.contains(&field), "{path}: {}", refusal.message);
            refused += 1;
        }
    }
    say_once(format!("{SUITE}: {refused} attempts were refused by the API server"));
}
