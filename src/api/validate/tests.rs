use serde_json::{Value, json};

use super::*;

fn spec(change: impl FnOnce(&mut Value)) -> ReleaseSetSpec {
    let mut spec = json!({
        "platforms": ["linux/amd64"],
        "images": [
            {"name": "app", "repository": "ghcr.io/acme/app", "advisoryPlatforms": ["linux/arm64"]},
            {"name": "worker", "repository": "ghcr.io/acme/worker", "platforms": ["linux/amd64", "linux/arm64"]},
        ],
        "candidates": {
            "filterTags": {"pattern": "^main-[0-9a-f]{7}-(?P<ts>[0-9]+)$", "extract": "$ts"},
            "policy": {"numerical": {"order": "asc"}},
        },
        "gates": [
            {"name": "boots", "smoke": {"image": "worker", "command": ["/app"]}},
            {"name": "same", "advisory": true, "sameRevision": {"key": "org.opencontainers.image.revision"}},
        ],
        "targets": [
            {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}},
            {"name": "config", "configMap": {"name": "acme.release"}},
        ],
    });
    change(&mut spec);
    serde_json::from_value(spec).unwrap()
}

fn problems(change: impl FnOnce(&mut Value)) -> Vec<String> {
    policy(&spec(change), 1).unwrap_err().iter().map(Problem::to_string).collect()
}

#[test]
fn a_sound_spec_becomes_a_policy() {
    let policy = policy(&spec(|_| ()), 4).unwrap();
    assert_eq!((policy.generation, policy.interval.as_secs(), policy.suspend), (4, 60, false));
    assert_eq!(policy.images[0].platforms, ["linux/amd64".parse().unwrap()]);
    assert_eq!(policy.images[1].platforms.len(), 2);
    let GateKind::Smoke(smoke) = &policy.gates[0].kind else { panic!("a smoke gate") };
    assert_eq!((smoke.test.timeout.as_secs(), smoke.test.attempts), (300, 2));
    assert!(smoke.hash.starts_with("v1:"));
    let GateKind::SameRevision(same) = &policy.gates[1].kind else { panic!("a sameRevision gate") };
    assert_eq!(same.from, RevisionSource::Annotation);
    assert_eq!(policy.candidates.max_followed, 5);
}

#[test]
fn all_problems_are_told_at_once() {
    let told = problems(|spec| {
        spec["interval"] = json!("0s");
        spec["deadline"] = json!("soon");
        spec["images"][1]["repository"] = json!("https://ghcr.io/acme/worker");
        spec["images"][1]["platforms"] = json!(["linux/amd65"]);
        spec["candidates"]["filterTags"]["pattern"] = json!("^(a");
        spec["candidates"]["maxFollowed"] = json!(21);
        spec["gates"][0]["smoke"]["attempts"] = json!(0);
        spec["targets"][1]["configMap"]["name"] = json!("A");
        spec["historyLimit"] = json!(0);
    });
    let fields: Vec<&str> = told.iter().map(|told| told.split(": ").next().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "spec.interval",
            "spec.deadline",
            "spec.images[1].repository",
            "spec.images[1].platforms[0]",
            "spec.candidates.filterTags.pattern",
            "spec.candidates.maxFollowed",
            "spec.gates[0].smoke.attempts",
            "spec.targets[1].configMap.name",
            "spec.historyLimit",
        ]
    );
    assert_eq!(told[0], "spec.interval: `0s` is out of bounds: write 10s to 24h");
}

#[test]
fn rules_that_join_fields_are_the_engines() {
    let told = problems(|spec| spec["gates"][0]["smoke"]["image"] = json!("app2"));
    assert_eq!(
        told,
        ["spec.gates[0].smoke.image: `app2` is no image of this set: write one of spec.images[].name"]
    );
}

#[test]
fn platforms_are_known_and_equal_after_normalising() {
    let told = problems(|spec| spec["platforms"] = json!(["linux/amd64", "linux/x86_64"]));
    assert_eq!(told, ["spec.platforms: names linux/amd64 twice: remove one"]);
    for unknown in ["linux", "linux/", "Linux/amd64", "linux/arm65", "lunix/arm64", "linux/arm64/v8/x"] {
        let told = problems(|spec| spec["platforms"] = json!([unknown]));
        assert!(told[0].contains("is not a known platform"), "{told:?}");
    }
    let told = problems(|spec| spec["gates"][0]["smoke"]["platforms"] = json!([]));
    assert_eq!(
        told,
        ["spec.gates[0].smoke.platforms: is empty: name at least one platform, or leave the field out"]
    );
}

#[test]
fn an_images_registry_replaces_the_sets() {
    let spec = spec(|spec| {
        spec["registry"] = json!({"secretRef": {"name": "pull"}, "insecure": true});
        spec["images"][1]["registry"] = json!({"insecure": false});
    });
    let access = |index: usize| References::default().registry_access(&spec, &spec.images[index]);
    assert_eq!(access(0).secret_ref.map(|secret| secret.name).as_deref(), Some("pull"));
    assert_eq!(access(1), RegistryAccess::default());
}

/// The bad files of `tests/corpus/bad`, judged without a server. The first line of each says what is expected.
#[test]
fn the_corpus_is_refused_with_its_words() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 13, "design's list of bad input has 13 entries about the spec");
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).unwrap();
        let told = match crate::api::manifest::read(&text) {
            Err(error) => error.to_string(),
            Ok(manifests) => match policy(&manifests[0].spec, 0) {
                Ok(_) => panic!("{} is accepted", path.display()),
                Err(problems) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"),
            },
        };
        assert!(told.contains(expected), "{}: expected `{expected}`, told `{told}`", path.display());
    }
}

#[test]
fn the_examples_are_sound() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if !text.contains("\nkind: ReleaseSet\n") {
                continue;
            }
            for manifest in crate::api::manifest::read(&text).unwrap() {
                policy(&manifest.spec, 0).unwrap();
                assert!(manifest.spec.pin.is_none() && manifest.spec.suspend.is_none(), "{}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 7);
}

#[test]
fn what_may_surprise_is_a_warning() {
    let spec = spec(|spec| {
        // A field of hands: one that Git holds is open for ever.
        spec["breakGlass"] = json!({"reason": "main-7 leaks"});
        spec["targets"] = json!([
            {"name": "config", "configMap": {"name": "acme", "keys": {"values.yaml": "{tag}", "_ui": "{tag}", "2fa": "{tag}"}}},
        ]);
    });
    let fields: Vec<String> = warnings(&spec).into_iter().map(|warning| warning.field).collect();
    assert_eq!(
        fields,
        [
            "spec.breakGlass",
            "spec.targets[0].configMap.keys[2fa]",
            "spec.targets[0].configMap.keys[values.yaml]"
        ]
    );
}
