use super::*;

const GOOD: &str = "apiVersion: tidegate.dev/v1alpha1
kind: ReleaseSet
metadata:
  name: acme
spec:
  images:
  - name: app
    repository: ghcr.io/acme/app
  candidates:
    policy:
      numerical: {}
";

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn one_of_many_documents_is_read() {
    let text = format!("# file\n---\nkind: ConfigMap\na: 1\n---\n# comment\n---\n{GOOD}");
    let manifests = read(&text).unwrap();
    assert_eq!(manifests.len(), 1);
    assert_eq!((manifests[0].name.as_str(), manifests[0].line), ("acme", 8));
    assert_eq!(manifests[0].spec.interval, "1m");
    assert_eq!(read(&format!("{GOOD}---\n{GOOD}")).unwrap().len(), 2);
}

#[test]
fn json_is_yaml() {
    let json = r#"{"apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "metadata": {"name": "acme", "namespace": "prod"},
        "spec": {"images": [{"name": "app", "repository": "ghcr.io/acme/app"}], "candidates": {"policy": {"alphabetical": {}}}}}"#;
    assert_eq!(read(json).unwrap()[0].namespace.as_deref(), Some("prod"));
}

#[test]
fn mistakes_have_a_place_in_the_whole_text() {
    let typo = GOOD.replace("    repository", "    platfroms: [linux/amd64]\n    repository");
    let message = "unknown field `platfroms`, expected one of name, repository, imageRepositoryRef, platforms, advisoryPlatforms, \
                   tagTemplate, advisory, registry";
    assert_eq!(error(&typo), format!("line 8, column 5: {message}"));
    assert_eq!(error(&format!("kind: A\n---\n{typo}")), format!("line 10, column 5: {message}"));
    let twice = GOOD.replace("    repository", "    name: app\n    repository");
    assert_eq!(error(&twice), "line 8, column 5: duplicate mapping key: name not allowed here");
    assert!(error(&GOOD.replace("acme\n", "acme\n  annotations: [}\n")).starts_with("line 5, column "));
    assert!(
        error(&GOOD.replace("{}", "{order: up}")).starts_with("line 11, column 26: unknown variant `up`")
    );
    let number = error(&GOOD.replace("spec:", "spec:\n  pin: 1.0"));
    assert!(number.starts_with("line 6, column 8: ") && number.contains("quoting"), "{number}");
    assert!(
        error(&GOOD.replace("  - name: app\n    repository", "  - repository"))
            .contains("missing field `name`")
    );
}

#[test]
fn other_objects_are_told_apart() {
    assert_eq!(
        error(&GOOD.replace("v1alpha1", "v1")),
        "line 1: apiVersion is `tidegate.dev/v1`: write tidegate.dev/v1alpha1"
    );
    assert!(error("kind: Deployment\n---\na: 1").contains("only Deployment, a document without kind"));
    assert_eq!(read("# nothing\n---\n"), Err(ManifestError::Empty));
    assert!(error(&GOOD.replace("acme", &"a".repeat(64))).contains("metadata.name"));
    assert!(matches!(read(&" ".repeat(TEXT_MAX_BYTES + 1)), Err(ManifestError::TooLong(_))));
    assert!(matches!(read(&"---\na: 1\n".repeat(DOCUMENTS_MAX + 1)), Err(ManifestError::TooMany(_))));
}

#[test]
fn what_may_surprise_is_said() {
    let text = GOOD.replace(
        "spec:",
        // Dismissals may stand in Git: those of the file and of `tidegate skip` add up.
        "spec:\n  pin: v1\n  suspend: false\n  skip: [v0]\n  targets: [{name: a, imagePolicy: {name: a, imageRepositoryRef: {name: b}}}]",
    );
    let manifests = read(&format!("{text}status: {{}}\n")).unwrap();
    let fields: Vec<&str> = manifests[0].warnings.iter().map(|warning| warning.field.as_str()).collect();
    assert_eq!(fields, ["spec.pin", "spec.suspend", "spec.targets[0].imagePolicy", "status"]);
}
