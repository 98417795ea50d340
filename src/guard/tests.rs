//! What sets say to the list, what has room, and what is written.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::config_map::{NOTE_ANNOTATION, Plan, plan};
use super::list::{ALLOWED_MAX, DATA_MAX_BYTES, List};
use super::sets::canonical;
use super::*;

fn digest(seed: u64) -> String {
    format!("sha256:{seed:064x}")
}

fn set(name: &str, spec: &Value, status: &Value) -> SetFacts {
    let object = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet",
        "metadata": {"name": name, "uid": name, "namespace": "acme"}, "spec": spec, "status": status,
    });
    facts(&serde_json::from_value::<DynamicObject>(object).unwrap())
}

fn promoted() -> Value {
    json!({
        "promoted": {"tag": "v3", "images": [
            {"name": "app", "repository": "acme/app", "tag": "v3", "digest": digest(3),
                "platforms": [{"platform": "linux/amd64", "digest": digest(33)}]},
        ]},
        "history": [
            {"tag": "v3", "digests": {"app": digest(3)}},
            {"tag": "v2", "digests": {"app": digest(2), "gone": digest(9)}},
        ],
        "recent": [{"tag": "v1", "outcome": "Failed"}],
        "candidates": [{"tag": "v4", "phase": "Partial"}],
    })
}

fn spec() -> Value {
    json!({"images": [{"name": "app", "repository": "acme/app"}]})
}

#[test]
fn only_promoted_references_are_listed() {
    let list = List::of(&[set("shop", &spec(), &promoted())]).unwrap();
    assert_eq!(list.repositories, ["docker.io/acme/app"]);
    let expected = [
        "docker.io/acme/app:v2".to_owned(),
        "docker.io/acme/app:v3".to_owned(),
        format!("docker.io/acme/app@{}", digest(2)),
        format!("docker.io/acme/app@{}", digest(3)),
        format!("docker.io/acme/app@{}", digest(33)),
    ];
    assert_eq!(list.allowed, expected);
    assert!(list.open.is_empty() && list.dropped == 0);
}

#[test]
fn before_the_first_promotion_nothing_is_judged() {
    let list = List::of(&[set("shop", &spec(), &json!({}))]).unwrap();
    assert_eq!(list, List::default());
}

#[test]
fn a_set_that_cannot_be_parsed_keeps_what_its_status_says() {
    for broken in [
        json!({"images": "none"}),
        json!(null),
        json!({"images": [{"name": 7}, {"repository": []}], "breakGlass": "x"}),
    ] {
        let list = List::of(&[set("shop", &broken, &promoted())]).unwrap();
        assert_eq!(list.repositories, ["docker.io/acme/app"]);
        assert!(list.allowed.contains(&"docker.io/acme/app:v3".to_owned()), "{broken}");
        assert!(list.allowed.contains(&format!("docker.io/acme/app@{}", digest(2))), "{broken}");
    }
}

#[test]
fn templates_render_and_advisory_images_do_not_count() {
    let spec = json!({"images": [
        {"name": "app", "repository": "acme/app", "tagTemplate": "{tag}-debian"},
        {"name": "docs", "repository": "acme/docs", "advisory": true},
    ]});
    let mut status = promoted();
    status["promoted"]["images"][0]["tag"] = json!("v3-debian");
    let list = List::of(&[set("shop", &spec, &status)]).unwrap();
    assert_eq!(list.repositories, ["docker.io/acme/app"]);
    assert!(list.allowed.contains(&"docker.io/acme/app:v2-debian".to_owned()));
    assert!(!list.allowed.iter().any(|line| line.ends_with(":v3") || line.ends_with(":v2")), "{list:?}");
}

#[test]
fn broken_glass_opens_the_repositories_of_that_set_alone() {
    let mut open = spec();
    open["breakGlass"] = json!({"reason": "v3 leaks"});
    let other = json!({"images": [{"name": "web", "repository": "ghcr.io/acme/web"}]});
    let sets = [set("shop", &open, &promoted()), set("web", &other, &json!({}))];
    let list = List::of(&sets).unwrap();
    assert_eq!(list.open, ["docker.io/acme/app"]);
}

#[test]
fn spellings_of_one_repository_are_one_line() {
    for (written, expected) in [
        ("nginx", "docker.io/library/nginx"),
        ("docker.io/library/nginx", "docker.io/library/nginx"),
        ("index.docker.io/acme/app", "docker.io/acme/app"),
        ("registry-1.docker.io/acme/app", "docker.io/acme/app"),
        ("GHCR.io:0443/acme/app", "ghcr.io/acme/app"),
        ("localhost:5000/app", "localhost:5000/app"),
    ] {
        assert_eq!(canonical(written).as_deref(), Some(expected), "{written}");
    }
    assert_eq!(canonical("https://ghcr.io/a"), None);
}

#[test]
fn the_oldest_have_no_room_and_the_promoted_always_has() {
    let many = |name: &str, images: usize| {
        let of = |at: usize| (format!("i{at}"), format!("ghcr.io/acme/{name}-{at}"));
        let spec =
            (0..images).map(of).map(|(name, repository)| json!({"name": name, "repository": repository}));
        let image = |at: usize| {
            let (name, repository) = of(at);
            json!({"name": name, "repository": repository, "tag": "v9", "digest": digest(9), "platforms": []})
        };
        let history = |tag: String| {
            let digests = (0..images).map(|at| (format!("i{at}"), json!(digest(1)))).collect::<Value>();
            json!({"tag": tag, "digests": digests})
        };
        let status = json!({
            "promoted": {"tag": "v9", "images": (0..images).map(image).collect::<Vec<_>>()},
            "history": (0..50).map(|at| history(format!("v{at}"))).collect::<Vec<_>>(),
        });
        set(name, &json!({"images": spec.collect::<Vec<_>>()}), &status)
    };
    let sets: Vec<_> = (0..8).map(|at| many(&format!("set{at}"), 32)).collect();
    let list = List::of(&sets).unwrap();
    assert_eq!(list.allowed.len(), ALLOWED_MAX);
    assert!(list.dropped > 0);
    let bytes: usize = list.allowed.iter().chain(&list.repositories).map(|line| line.len() + 1).sum();
    assert!(bytes <= DATA_MAX_BYTES, "{bytes}");
    for reference in sets.iter().flat_map(|set| &set.promoted) {
        assert!(list.allowed.contains(reference), "{reference}");
    }
    assert!(list.allowed.contains(&"ghcr.io/acme/set7-31:v1".to_owned()));
    assert!(!list.allowed.contains(&"ghcr.io/acme/set7-31:v49".to_owned()));
    let too_many: Vec<_> = (0..20).map(|at| many(&format!("set{at}"), 32)).collect();
    assert!(List::of(&too_many).unwrap_err().to_string().contains("640 repositories"));
}

#[test]
fn the_map_is_made_once_kept_in_step_and_never_taken_from_others() {
    let sets = [set("shop", &spec(), &promoted())];
    let list = List::of(&sets).unwrap();
    assert!(matches!(plan("acme", None, &[], &List::default()), Ok(Plan::Absent)));
    let Ok(Plan::Create(made, change)) = plan("acme", None, &sets, &list) else { panic!("it is made") };
    assert!(change.opened.is_empty());
    assert!(matches!(plan("acme", Some(&made), &sets, &list), Ok(Plan::InStep)));
    let mut edited = made.clone();
    edited.data["data"]["allowed"] = json!("docker.io/acme/app:evil\n");
    let Ok(Plan::Update(mended, _)) = plan("acme", Some(&edited), &sets, &list) else { panic!("drift") };
    assert_eq!(mended.data, made.data);

    let mut broken = spec();
    broken["breakGlass"] = json!({"reason": "v3 leaks"});
    let open = [set("shop", &broken, &promoted())];
    let list_open = List::of(&open).unwrap();
    let Ok(Plan::Update(opened, change)) = plan("acme", Some(&made), &open, &list_open) else {
        panic!("open")
    };
    assert_eq!(change.opened[0].reason, "v3 leaks");
    let Ok(Plan::Update(_, change)) = plan("acme", Some(&opened), &sets, &list) else { panic!("closed") };
    assert_eq!(change.closed[0].name, "shop");

    let mut foreign = made;
    foreign.metadata.annotations.as_mut().unwrap().remove(NOTE_ANNOTATION);
    assert!(plan("acme", Some(&foreign), &sets, &list).is_err());
}
