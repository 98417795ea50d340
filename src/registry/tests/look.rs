//! What a look finds in indexes and images, and with how many requests.

use serde_json::{Value, json};

use super::fixture::{Fixture, Guard, Part, Reply, error};
use super::*;
use crate::model::sighting::DefectKind;
use crate::registry::evidence::manifest::OCI_INDEX;

const REVISION: &str = "org.opencontainers.image.revision";

async fn cells(fixture: &Fixture) -> BTreeMap<String, &'static str> {
    words(&present(&Subject::new().app(fixture).await))
}

fn both(amd64: &'static str, arm64: &'static str) -> BTreeMap<String, &'static str> {
    BTreeMap::from([("linux/amd64".into(), amd64), ("linux/arm64".into(), arm64)])
}

fn defect(sighting: &Sighting<Digest>) -> &crate::model::Defect {
    match sighting {
        Sighting::Broken(defect) => defect,
        other => panic!("{other:?} is not Broken"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_look_at_two_platforms_is_five_requests() {
    let fixture = Fixture::with_app(Guard::Open).await;
    let subject = Subject::new();
    assert_eq!(words(&present(&subject.app(&fixture).await)), both("Present", "Present"));
    assert_eq!(subject.requests(), 5, "index, 2 children, 2 configs");
    let again = present(&subject.app(&fixture).await);
    assert_eq!(words(&again), both("Present", "Present"));
    assert!(subject.records.lock().unwrap().iter().all(|record| record.verb == crate::registry::Verb::Head));
    assert_eq!(subject.requests(), 3, "known content is only asked whether it is there");
    let shallow = Question { depth: Depth::Manifests, ..app(&fixture) };
    let other = Subject::new();
    assert!(other.look(&open(), &shallow).await.is_present());
    assert_eq!(other.requests(), 3, "index and 2 children");
}

#[tokio::test(start_paused = true)]
async fn known_content_that_is_gone_is_noticed() {
    let fixture = Fixture::start(Guard::Open).await;
    let parts = [fixture.image("linux", "amd64", ""), fixture.image("linux", "arm64", "")];
    let child = parts[1].digest.clone();
    let index = fixture.index("v1", &parts);
    let subject = Subject::new();
    assert!(subject.app(&fixture).await.is_present());
    fixture.forget(&child);
    assert_eq!(words(&present(&subject.app(&fixture).await)), both("Present", "Broken"));
    fixture.forget(&index);
    assert_eq!(subject.app(&fixture).await, Sighting::Missing);
}

#[tokio::test(start_paused = true)]
async fn a_moved_tag_is_read_anew() {
    let fixture = Fixture::start(Guard::Open).await;
    let amd64 = fixture.image("linux", "amd64", "");
    let first = fixture.index("v1", &[amd64]);
    let subject = Subject::new();
    assert_eq!(present(&subject.app(&fixture).await).digest, first);
    subject.requests();
    let second = fixture.push_app();
    let evidence = present(&subject.app(&fixture).await);
    assert_eq!(evidence.digest, second);
    assert_eq!(words(&evidence), both("Present", "Present"));
    assert_eq!(subject.requests(), 5, "HEAD and GET of the tag, HEAD of amd64, GET of arm64 and its config");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_the_index_lacks_is_missing_and_others_are_not_fetched() {
    let fixture = Fixture::start(Guard::Open).await;
    let parts = ["amd64", "s390x", "ppc64le"].map(|architecture| fixture.image("linux", architecture, ""));
    fixture.index("v1", &parts);
    let subject = Subject::new();
    let evidence = present(&subject.app(&fixture).await);
    assert_eq!(words(&evidence), BTreeMap::from([("linux/amd64".into(), "Present")]));
    assert_eq!(evidence.cell(&platform("linux/arm64")), Sighting::Missing);
    assert_eq!(subject.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn arm64_is_found_with_and_without_its_variant() {
    for variant in ["", "v8", "8"] {
        let fixture = Fixture::start(Guard::Open).await;
        let parts = [fixture.image("linux", "amd64", ""), fixture.image("linux", "arm64", variant)];
        fixture.index("v1", &parts);
        assert_eq!(cells(&fixture).await, both("Present", "Present"), "{variant}");
    }
}

#[tokio::test(start_paused = true)]
async fn attestations_are_skipped() {
    let fixture = Fixture::start(Guard::Open).await;
    let mut by_annotation = fixture.image("linux", "arm64", "");
    by_annotation.descriptor["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let mut by_type = fixture.image("linux", "arm64", "");
    by_type.descriptor["artifactType"] = json!("application/vnd.example");
    let parts = [
        by_annotation,
        by_type,
        fixture.image("unknown", "unknown", ""),
        fixture.image("linux", "amd64", ""),
    ];
    fixture.index("v1", &parts);
    assert_eq!(cells(&fixture).await, BTreeMap::from([("linux/amd64".into(), "Present")]));
}

#[tokio::test(start_paused = true)]
async fn of_two_children_for_one_platform_the_first_counts() {
    let fixture = Fixture::start(Guard::Open).await;
    let config = |comment: &str| json!({"os": "linux", "architecture": "amd64", "comment": comment});
    let platform_of = json!({"os": "linux", "architecture": "amd64"});
    let first = fixture.image_of(&config("first"), &json!({}), &platform_of);
    let second = fixture.image_of(&config("second"), &json!({}), &platform_of);
    let expected = first.digest.clone();
    fixture.index("v1", &[first, second]);
    let evidence = present(&Subject::new().app(&fixture).await);
    assert_eq!(present(&evidence.cell(&platform("linux/amd64"))), expected);
}

#[tokio::test(start_paused = true)]
async fn a_missing_child_is_broken_and_named() {
    let fixture = Fixture::start(Guard::Open).await;
    let parts = [fixture.image("linux", "amd64", ""), fixture.image("linux", "arm64", "")];
    let child = parts[1].digest.clone();
    fixture.index("v1", &parts);
    fixture.forget(&child);
    let evidence = present(&Subject::new().app(&fixture).await);
    let cell = evidence.cell(&platform("linux/arm64"));
    assert_eq!(defect(&cell).kind, DefectKind::DanglingChild(child.clone()));
    assert!(defect(&cell).message.contains("linux/arm64") && defect(&cell).message.contains(child.as_str()));
    assert!(evidence.cell(&platform("linux/amd64")).is_present());
}

#[tokio::test(start_paused = true)]
async fn a_child_that_cannot_be_told_is_unknown_alone() {
    let fixture = Fixture::start(Guard::Open).await;
    let parts = [fixture.image("linux", "amd64", ""), fixture.image("linux", "arm64", "")];
    let path = format!("/manifests/{}", parts[1].digest);
    fixture.index("v1", &parts);
    fixture.script("GET", &path, 3, error(503, "UNAVAILABLE"));
    assert_eq!(cells(&fixture).await, both("Present", "Unknown"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_is_broken() {
    let fixture = Fixture::start(Guard::Open).await;
    let part = fixture.image("linux", "amd64", "");
    let config = fixture.config_of(&part.digest);
    fixture.index("v1", &[part]);
    fixture.forget(&config);
    let evidence = present(&Subject::new().app(&fixture).await);
    let cell = evidence.cell(&platform("linux/amd64"));
    assert_eq!(defect(&cell).kind, DefectKind::DanglingBlob(config));
}

#[tokio::test(start_paused = true)]
async fn a_mislabelled_child_is_broken_only_when_configs_are_read() {
    let fixture = Fixture::start(Guard::Open).await;
    let config = json!({"os": "linux", "architecture": "amd64"});
    let arm64 = json!({"os": "linux", "architecture": "arm64"});
    let parts = [fixture.image("linux", "amd64", ""), fixture.image_of(&config, &json!({}), &arm64)];
    fixture.index("v1", &parts);
    let evidence = present(&Subject::new().app(&fixture).await);
    assert_eq!(defect(&evidence.cell(&platform("linux/arm64"))).kind, DefectKind::PlatformMismatch);
    let shallow = Question { depth: Depth::Manifests, ..app(&fixture) };
    let evidence = present(&Subject::new().look(&open(), &shallow).await);
    assert_eq!(words(&evidence), both("Present", "Present"));
}

#[tokio::test(start_paused = true)]
async fn a_config_that_leaves_the_variant_out_contradicts_nothing() {
    let fixture = Fixture::start(Guard::Open).await;
    let config = json!({"os": "linux", "architecture": "arm"});
    let v6 = json!({"os": "linux", "architecture": "arm", "variant": "v6"});
    let part = fixture.image_of(&config, &json!({}), &v6);
    fixture.index("v1", &[part]);
    let question = Question { platforms: vec![platform("linux/arm/v6")], ..app(&fixture) };
    let evidence = present(&Subject::new().look(&open(), &question).await);
    assert!(evidence.cell(&platform("linux/arm/v6")).is_present());
}

#[tokio::test(start_paused = true)]
async fn a_single_image_is_what_its_config_says() {
    let fixture = Fixture::start(Guard::Open).await;
    let part = fixture.image("linux", "arm64", "v8");
    fixture.tag("v1", &part.digest);
    let subject = Subject::new();
    let evidence = present(&subject.app(&fixture).await);
    assert_eq!(evidence.cell(&platform("linux/amd64")), Sighting::Missing);
    assert_eq!(evidence.cell(&platform("linux/arm64")), Sighting::Present(part.digest.clone()));
    assert_eq!(subject.requests(), 2);
    fixture.forget(&fixture.config_of(&part.digest));
    assert_eq!(cells(&fixture).await, both("Broken", "Broken"));
}

#[tokio::test(start_paused = true)]
async fn entries_without_a_platform_are_read_only_when_needed() {
    let fixture = Fixture::start(Guard::Open).await;
    let config = json!({"os": "linux", "architecture": "arm64"});
    let unlabelled = fixture.image_of(&config, &json!({}), &Value::Null);
    let expected = unlabelled.digest.clone();
    let amd64 = fixture.image("linux", "amd64", "");
    fixture.index("v1", &[unlabelled, amd64]);
    let evidence = present(&Subject::new().app(&fixture).await);
    assert_eq!(words(&evidence), both("Present", "Present"));
    assert_eq!(present(&evidence.cell(&platform("linux/arm64"))), expected);
    let subject = Subject::new();
    let question = Question { platforms: vec![platform("linux/amd64")], ..app(&fixture) };
    assert!(subject.look(&open(), &question).await.is_present());
    assert_eq!(subject.requests(), 3, "the entry without a platform is not needed");
    fixture.forget(&expected);
    assert_eq!(cells(&fixture).await, both("Present", "Broken"), "it could have been arm64");
}

#[tokio::test(start_paused = true)]
async fn windows_images_are_compared_by_three_parts_of_their_version() {
    let windows = |version: &str| json!({"os": "windows", "architecture": "amd64", "os.version": version});
    for (promised, own, word) in [
        ("10.0.20348.1234", "10.0.20348.99", "Present"),
        ("10.0.20348.1234", "10.0.17763.1", "Broken"),
        ("10.0.20348.1234", "", "Present"),
    ] {
        let fixture = Fixture::start(Guard::Open).await;
        let part = fixture.image_of(&windows(own), &json!({}), &windows(promised));
        fixture.index("v1", &[part]);
        let question = Question { platforms: vec![platform("windows/amd64")], ..app(&fixture) };
        let evidence = present(&Subject::new().look(&open(), &question).await);
        assert_eq!(evidence.cell(&platform("windows/amd64")).word(), word, "{promised} {own}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_schema_1_entry_is_broken_for_its_platform_alone() {
    let fixture = Fixture::start(Guard::Open).await;
    let mut old = fixture.image("linux", "arm64", "");
    old.descriptor["mediaType"] = json!("application/vnd.docker.distribution.manifest.v1+prettyjws");
    fixture.index("v1", &[fixture.image("linux", "amd64", ""), old]);
    assert_eq!(cells(&fixture).await, both("Present", "Broken"));
}

fn nested(fixture: &Fixture, parts: &[Part]) -> Part {
    let digest = fixture.index_of(parts, &json!({}));
    let descriptor = json!({"mediaType": OCI_INDEX, "digest": digest.as_str(), "size": 1});
    Part { digest, descriptor }
}

#[tokio::test(start_paused = true)]
async fn nested_indexes_are_followed_three_deep() {
    for (levels, arm64) in [(1, Some("Present")), (3, Some("Present")), (4, Some("Unknown"))] {
        let fixture = Fixture::start(Guard::Open).await;
        let mut inner = fixture.image("linux", "arm64", "");
        for _ in 0..levels {
            inner = nested(&fixture, &[inner]);
        }
        fixture.index("v1", &[inner, fixture.image("linux", "amd64", "")]);
        let seen = cells(&fixture).await;
        assert_eq!(seen.get("linux/arm64").copied(), arm64, "{levels}");
        assert_eq!(seen["linux/amd64"], "Present");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_nested_index_is_broken_for_what_is_not_found_elsewhere() {
    let fixture = Fixture::start(Guard::Open).await;
    let inner = nested(&fixture, &[fixture.image("linux", "arm64", "")]);
    fixture.forget(&inner.digest);
    fixture.index("v1", &[inner, fixture.image("linux", "amd64", "")]);
    assert_eq!(cells(&fixture).await, both("Present", "Broken"));
}

#[tokio::test(start_paused = true)]
async fn an_index_of_too_many_images_is_unknown_corrupt() {
    let fixture = Fixture::start(Guard::Open).await;
    let parts: Vec<Part> = (0..257).map(|_| fixture.image("linux", "amd64", "")).collect();
    fixture.index("v1", &parts);
    doubt(&Subject::new().app(&fixture).await, DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn revisions_come_from_the_index_else_from_children_and_labels_apart() {
    let part = |fixture: &Fixture, architecture: &str, annotation: Value, label: &str| {
        let platform = json!({"os": "linux", "architecture": architecture});
        let config =
            json!({"os": "linux", "architecture": architecture, "config": {"Labels": {REVISION: label}}});
        fixture.image_of(&config, &annotation, &platform)
    };
    for (index, amd64, arm64, annotation) in [
        (json!({REVISION: "i"}), json!({REVISION: "a"}), json!({REVISION: "b"}), Some("i")),
        (json!({}), json!({REVISION: "a"}), json!({REVISION: "a"}), Some("a")),
        (json!({}), json!({REVISION: "a"}), json!({REVISION: "b"}), Some("a and b")),
        (json!({}), json!({}), json!({REVISION: "b"}), Some("b")),
        (Value::Null, Value::Null, Value::Null, None),
    ] {
        let fixture = Fixture::start(Guard::Open).await;
        let parts = [part(&fixture, "amd64", amd64, "l"), part(&fixture, "arm64", arm64, "l")];
        fixture.tag("v1", &fixture.index_of(&parts, &index));
        let evidence = present(&Subject::new().app(&fixture).await);
        let revision = &evidence.revisions[REVISION];
        assert_eq!(revision.annotation.as_deref(), annotation);
        assert_eq!(revision.label.as_deref(), Some("l"));
    }
}

#[tokio::test(start_paused = true)]
async fn children_are_asked_in_parallel() {
    let fixture = Fixture::start(Guard::Open).await;
    let parts = [fixture.image("linux", "amd64", ""), fixture.image("linux", "arm64", "")];
    let paths = parts.each_ref().map(|part| format!("/manifests/{}", part.digest));
    fixture.index("v1", &parts);
    for path in &paths {
        fixture.script("GET", path, 1, Reply { hangs: true, ..Reply::default() });
    }
    let before = tokio::time::Instant::now();
    assert_eq!(cells(&fixture).await, both("Unknown", "Unknown"));
    assert_eq!(before.elapsed().as_secs(), 15, "both time-outs at once");
}
