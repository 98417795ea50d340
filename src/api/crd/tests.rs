use serde_json::Value;

use super::*;

/// `make generate` writes what this compares.
#[test]
fn the_committed_file_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(CRD_PATH);
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == crd_yaml().unwrap(), "{CRD_PATH} is out of date: run `make generate`");
}

#[test]
fn the_bytes_are_the_same_on_every_call() {
    assert_eq!(crd_yaml().unwrap(), crd_yaml().unwrap());
    let read: CustomResourceDefinition = serde_saphyr::from_str(&crd_yaml().unwrap()).unwrap();
    assert_eq!(read, crd());
}

fn schema() -> Value {
    let crd = serde_json::to_value(crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Calls `look` with the path of every property below `schema`, the property, and whether its parent requires it.
fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value, bool)) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        look(&path, property, required.contains(&name.as_str()));
        walk(&path, property, look);
        if property.get("items").is_some() {
            walk(&format!("{path}[]"), &property["items"], look);
        }
    }
}

#[test]
fn every_field_is_described_exampled_and_defaulted() {
    let mut faults = Vec::new();
    let mut count = 0;
    for part in ["spec", "status"] {
        walk(part, &schema()["properties"][part], &mut |path, property, required| {
            count += 1;
            let description = property["description"].as_str().unwrap_or_default();
            if description.len() < 10 || !description.ends_with('.') {
                faults.push(format!("{path} has no description"));
            }
            if property.get("example").is_none() {
                faults.push(format!("{path} has no example"));
            }
            if !required && property.get("default").is_none() && !description.contains("Absent") {
                faults.push(format!("{path} has neither a default nor a sentence on absence"));
            }
        });
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(count > 100, "only {count} fields were found");
}

#[test]
fn every_string_and_list_has_a_limit() {
    fn limits(path: &str, schema: &Value, faults: &mut Vec<String>) {
        let missing = |limit: &str| schema.get(limit).is_none();
        match schema["type"].as_str() {
            Some("string") if missing("maxLength") && missing("enum") => {
                faults.push(format!("{path}: maxLength"));
            }
            Some("array") if missing("maxItems") => faults.push(format!("{path}: maxItems")),
            Some("array") if missing("x-kubernetes-list-type") => faults.push(format!("{path}: list type")),
            Some("object") if missing("properties") && missing("maxProperties") => {
                faults.push(format!("{path}: maxProperties"));
            }
            None => faults.push(format!("{path}: type")),
            _ => {}
        }
        if schema.get("nullable").is_some() {
            faults.push(format!("{path}: nullable"));
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            limits(&format!("{path}.{name}"), property, faults);
        }
        for part in ["items", "additionalProperties"] {
            if schema.get(part).is_some() {
                limits(&format!("{path}.{part}"), &schema[part], faults);
            }
        }
    }
    let mut faults = Vec::new();
    for part in ["spec", "status"] {
        limits(part, &schema()["properties"][part], &mut faults);
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn status_lists_are_atomic_and_the_default_is_never_observed() {
    let status = &schema()["properties"]["status"];
    walk("status", status, &mut |path, property, _| {
        if property["type"] == "array" {
            assert_eq!(property["x-kubernetes-list-type"], "atomic", "{path}");
        }
    });
    assert_eq!(status["default"]["observedGeneration"], -1);
    assert_eq!(status["properties"]["observedGeneration"]["default"], -1);
    assert_eq!(status["x-kubernetes-validations"][0]["message"], "status.promoted never goes back");
}

#[test]
fn the_columns_are_those_of_the_design() {
    let crd = crd();
    let columns = crd.spec.versions[0].additional_printer_columns.iter().flatten();
    let names: Vec<String> = columns.map(|column| column.name.to_uppercase()).collect();
    assert_eq!(names, ["PROMOTED", "CANDIDATE", "IMAGES", "GATES", "READY", "STATUS", "SINCE", "AGE"]);
}
