//! The commands that steer a set: words, questions and refusals against the embedded API server over HTTP; whose field it is
//! afterwards, Events and refusals of the server against a real one ([`real`]).

mod docs;
mod real;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tidegate::embedded::api::Verb;

use super::cluster::Kube;
use super::fixture::{Answer, BINARY, Call, call};
use crate::cluster::tools::skip;

/// Calls the built binary with a kubeconfig, as a person would: `hand(kubeconfig, &["pin", "shop", "main-5", "-y"])`.
pub async fn hand(kubeconfig: &Path, args: &[&str]) -> Answer {
    let call = Call::new(args).env("KUBECONFIG", kubeconfig);
    tokio::task::spawn_blocking(|| call.answer()).await.expect("the call ends")
}

fn spec(kube: &Kube, name: &str) -> Value {
    kube.api.object("tidegate.dev", "releasesets", "acme", name).expect("the set is there")["spec"].clone()
}

fn promoted() -> Value {
    json!({
        "observedGeneration": 1,
        "promoted": {"tag": "main-7", "sequence": 3, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []},
        "floor": {"tag": "main-7", "key": "main-7"},
        "candidates": [{"tag": "main-8", "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z"}],
    })
}

/// Notes of the Events that this program wrote, oldest first.
fn notes(kube: &Kube) -> Vec<String> {
    let events = kube.api.objects("events.k8s.io", "events");
    let ours = events.iter().filter(|event| event["reportingController"] == "tidegate-cli");
    ours.map(|event| format!("{} {}: {}", event["type"], event["reason"], event["note"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_shows_its_change_and_makes_it() {
    let kube = Kube::with_crd("hands").await;
    kube.create("shop").await;
    kube.set_status("shop", promoted()).await;
    let mut story = String::new();
    for (args, field, value) in [
        (&["suspend", "shop", "--reason", "the registry moves"][..], "suspend", json!(true)),
        (&["suspend", "shop"], "suspend", json!(true)),
        (&["resume", "shop"], "suspend", Value::Null),
        (&["pin", "shop", "main-5", "--reason", "main-7 leaks"], "pin", json!("main-5")),
        (&["unpin", "shop"], "pin", Value::Null),
        (&["skip", "shop", "main-8", "main-9"], "skip", json!(["main-8", "main-9"])),
        (&["skip", "shop", "main-8", "--remove"], "skip", json!(["main-9"])),
        (&["skip", "shop", "main-9", "--remove"], "skip", Value::Null),
        (&["retry", "shop", "--gate", "worker-boots", "--reason", "the node was bad"], "pin", Value::Null),
    ] {
        let answer = kube.call(&[args, &["--yes"]].concat()).await;
        story.push_str(&format!("$ tidegate {} --yes\n{}\n", args.join(" "), answer.whole()));
        assert_eq!(answer.code, 0, "{}", answer.whole());
        assert_eq!(spec(&kube, "shop")[field], value, "{args:?}");
    }
    insta::assert_snapshot!("hands_story", story);
    insta::assert_snapshot!("hands_notes", notes(&kube).join("\n"));
    let patches = kube.api.count(|record| record.verb == Verb::Patch && record.actor == "cli");
    assert_eq!(patches, 8, "the second suspend writes nothing: {:?}", kube.api.writes());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sets_are_shown_and_asked_about_once() {
    let kube = Kube::with_crd("hands-many").await;
    for name in ["shop", "bakery"] {
        kube.create(name).await;
    }
    let answer = kube.call(&["suspend", "shop", "bakery", "shop", "-n", "acme", "-y"]).await;
    insta::assert_snapshot!("hands_two", answer.whole());
    assert_eq!(
        (&spec(&kube, "shop")["suspend"], &spec(&kube, "bakery")["suspend"]),
        (&json!(true), &json!(true))
    );
    // One name that is not there: nothing is changed at all.
    let unknown = kube.call(&["resume", "shop", "bakry", "-y"]).await;
    insta::assert_snapshot!("hands_unknown", unknown.whole());
    assert_eq!(spec(&kube, "shop")["suspend"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_without_consent_or_in_a_dry_run() {
    let kube = Kube::with_crd("hands-no").await;
    kube.create("shop").await;
    kube.set_status("shop", promoted()).await;
    let before = spec(&kube, "shop");
    insta::assert_snapshot!("hands_nobody", kube.call(&["pin", "shop", "main-5"]).await.whole());
    insta::assert_snapshot!(
        "hands_dry_run",
        kube.call(&["pin", "shop", "main-5", "--dry-run"]).await.whole()
    );
    for args in
        [&["suspend", "shop"][..], &["skip", "shop", "main-8"], &["retry", "shop", "-g", "worker-boots"]]
    {
        let nobody = kube.call(args).await;
        assert_eq!(nobody.code, 1, "{}", nobody.whole());
        let dry = kube.call(&[args, &["--dry-run"]].concat()).await;
        assert_eq!(dry.code, 0, "{}", dry.whole());
    }
    assert_eq!((spec(&kube, "shop"), notes(&kube)), (before, Vec::new()));
    assert_eq!(kube.annotations("shop"), Value::Null);
    let dry = kube
        .api
        .count(|record| record.verb == Verb::Patch && record.actor == "cli" && record.revision.is_some());
    assert_eq!(dry, 0, "{:?}", kube.api.writes());
}

/// Somebody writes between the read and the patch what changes nothing of what was shown, as the controller does at any
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_beside_the_change_is_no_hindrance() {
    let kube = Kube::with_crd("hands-beside").await;
    kube.create("shop").await;
    for (args, field) in [(&["suspend", "shop"][..], "suspend"), (&["pin", "shop", "main-5"], "pin")] {
        kube.meddle_with("shop", json!({"metadata": {"labels": {"somebody": format!("before-{field}")}}}));
        let answer = kube.call(&[args, &["-y"]].concat()).await;
        assert_eq!(answer.code, 0, "{}", answer.whole());
        assert!(!spec(&kube, "shop")[field].is_null(), "{}", answer.whole());
    }
}

/// Somebody writes between the read and the patch, so that the change would be another one than was shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_changed_meanwhile_is_not_changed() {
    let kube = Kube::with_crd("hands-conflict").await;
    kube.create("shop").await;
    kube.create("bakery").await;
    kube.meddle_with("shop", json!({"spec": {"pin": "main-4"}}));
    let answer = kube.call(&["pin", "shop", "main-5", "-y"]).await;
    insta::assert_snapshot!("hands_conflict", answer.whole());
    assert_eq!((&spec(&kube, "shop")["pin"], notes(&kube)), (&json!("main-4"), Vec::new()));
    // Of several the others are changed all the same, and it is said which.
    kube.meddle_with("shop", json!({"spec": {"suspend": true}}));
    let both = kube.call(&["suspend", "shop", "bakery", "-y"]).await;
    insta::assert_snapshot!("hands_conflict_of_one", both.whole());
    assert_eq!(spec(&kube, "bakery")["suspend"], json!(true));
    let again = kube.call(&["pin", "shop", "main-5", "-y"]).await;
    assert_eq!((again.code, &spec(&kube, "shop")["pin"]), (0, &json!("main-5")), "{}", again.whole());
}

/// On a terminal the person is asked, and only yes is yes. `script` of util-linux makes the terminal.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_person_is_asked() {
    let has_script = std::process::Command::new("script").arg("--version").output();
    if !has_script.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        return skip("hands on a terminal", "script of util-linux is not installed");
    }
    let kube = Kube::with_crd("hands-terminal").await;
    kube.create("shop").await;
    for (answer, code, pin) in [("n\n", 1, Value::Null), ("\n", 1, Value::Null), ("y\n", 0, json!("main-5"))]
    {
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &format!("{BINARY} pin shop main-5"), "/dev/null"]);
        command.env("KUBECONFIG", kube.kubeconfig()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script runs");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // Kept open until it ends: the end of input is no answer.
        stdin.write_all(answer.as_bytes()).expect("the terminal takes it");
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        drop(stdin);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("Change it? [y/N] "), "{said}");
        assert_eq!(
            (output.status.code(), &spec(&kube, "shop")["pin"]),
            (Some(code), &pin),
            "{answer:?}: {said}"
        );
    }
}

#[test]
fn usage_errors_name_the_mistake() {
    let cases: [&[&str]; 8] = [
        &["suspend"],
        &["pin", "shop"],
        &["pin", "shop", "a b"],
        &["pin", "shop", "v1", "v2"],
        &["skip", "shop"],
        &["skip", "shop", ".v1"],
        &["unpin", "shop", "--reason", " "],
        &["resume", "shop", "--reason", "one\ntwo"],
    ];
    let mut text = String::new();
    for args in cases {
        let answer = call(args);
        assert_eq!((answer.code, answer.stdout.as_str()), (2, ""), "{args:?}: {}", answer.whole());
        text.push_str(&format!("$ tidegate {}\n{}\n", args.join(" ").replace('\n', "\\n"), answer.stderr));
    }
    insta::assert_snapshot!("hands_usage", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seventeenth_dismissal_is_refused_while_all_are_needed() {
    let kube = Kube::with_crd("hands-skip").await;
    kube.create("shop").await;
    let tags: Vec<String> = (10..26).map(|n| format!("main-{n}")).collect();
    let args: Vec<&str> = ["skip", "shop"].into_iter().chain(tags.iter().map(String::as_str)).collect();
    let full = kube.call(&[&args[..], &["-y"]].concat()).await;
    assert!(full.code == 0 && full.stdout.contains("kept: 16 of at most 16"), "{}", full.whole());
    let refused = kube.call(&["skip", "shop", "main-26", "-y"]).await;
    assert_eq!(refused.code, 1, "{}", refused.whole());
    assert!(refused.stderr.contains("spec.skip holds at most 16 tags"), "{}", refused.whole());
    assert_eq!(spec(&kube, "shop")["skip"], json!(tags));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_one_set_or_all() {
    let kube = Kube::with_crd("doctor").await;
    let none = kube.call(&["doctor", "--no-registry"]).await;
    insta::assert_snapshot!("doctor_none", none.whole());
    kube.create("shop").await;
    kube.create("bakery").await;
    let ready = json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "main-7 is promoted",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut status = promoted();
    status["conditions"] = json!([ready]);
    kube.set_status("shop", status).await;
    insta::assert_snapshot!("doctor_all", kube.call(&["doctor", "--no-registry"]).await.whole());
    let one = kube.call(&["doctor", "shop", "-n", "acme", "--no-registry"]).await;
    assert!(one.code == 0 && !one.stdout.contains("bakery"), "{}", one.whole());
    let json = kube.call(&["doctor", "-o", "json", "--no-registry"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &report["namespace"]), (1, &json!("acme")));
    let keys: Vec<&String> = report["findings"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["check", "namespace", "next", "releaseSet", "severity", "what", "why"]);
    let unknown = kube.call(&["doctor", "shop2"]).await;
    assert!(
        unknown.code == 1 && unknown.stderr.contains("there is no ReleaseSet shop2"),
        "{}",
        unknown.whole()
    );
    assert_eq!(kube.api.count(|record| record.actor == "cli" && record.verb == Verb::Patch), 0);
}
