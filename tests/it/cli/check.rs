//! `tidegate check` against a registry over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate::embedded::registry::{Auth, Credentials, Fault, Options};

use super::fixture::{BOTH, Call, Folder, Shop, child};

const AMD64: [&str; 1] = ["linux/amd64"];
const ARM64_ADVISORY: &str = ", advisoryPlatforms: [linux/arm64]";
const SMOKE: &str = "  gates: [{name: worker-boots, smoke: {image: worker}}]\n";
const SAME_COMMIT: &str =
    "  gates: [{name: same-commit, sameRevision: {key: org.opencontainers.image.revision}}]\n";

#[tokio::test(flavor = "multi_thread")]
async fn complete_in_every_format() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    for format in ["table", "json", "yaml", "markdown"] {
        let answer = shop.check(&["--tag", "main-7", "-o", format]);
        insta::assert_snapshot!(format!("check_complete_{format}"), answer.whole());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_sibling_blocks_in_every_format() {
    let shop = Shop::open().await;
    shop.push("app", "main-7", &BOTH);
    shop.push("worker", "main-7", &BOTH);
    shop.push("embeddings", "main-7", &AMD64);
    for format in ["table", "json", "yaml", "markdown"] {
        let answer = shop.check(&["--tag", "main-7", "-o", format]);
        insta::assert_snapshot!(format!("check_missing_{format}"), answer.whole());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_that_was_never_pushed_is_missing_whole() {
    let shop = Shop::open().await;
    shop.push_all("main-6");
    shop.push("app", "main-7", &BOTH);
    insta::assert_snapshot!("check_never_pushed", shop.check(&["--tag", "main-7"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_platform_blocks_nothing() {
    let shop = Shop::open().await;
    for image in ["app", "worker", "embeddings"] {
        shop.push(image, "main-7", if image == "app" { &BOTH } else { &AMD64 });
    }
    let set = shop.release_set(ARM64_ADVISORY, "");
    insta::assert_snapshot!("check_advisory", shop.check_set(&set, &["--tag", "main-7"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_unknown_and_never_missing() {
    let auth = Auth::Basic(Credentials::new("ci", "right"));
    let shop = Shop::with(Options { auth, ..Options::default() }).await;
    shop.push_all("main-7");
    insta::assert_snapshot!("check_refused", shop.check(&["--tag", "main-7"]).whole());
    insta::assert_snapshot!("check_refused_list", shop.check(&[]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_config_file_is_used_and_its_secrets_are_never_shown() {
    let auth = Auth::Basic(Credentials::new("ci", "hunter2"));
    let shop = Shop::with(Options { auth, ..Options::default() }).await;
    shop.push_all("main-7");
    let set = shop
        .release_set(", platforms: [linux/amd64, linux/arm64]", "")
        .replace("insecure: true", "insecure: true, secretRef: {name: pull}");
    let folder = Folder::new("docker-config");
    let check = |password: &str| {
        let config =
            serde_json::json!({"auths": {shop.registry.host(): {"username": "ci", "password": password}}});
        std::fs::write(folder.0.join("config.json"), config.to_string()).unwrap();
        let call = Call::new(&["check", "-f", "-", "--tag", "main-7"]).env("DOCKER_CONFIG", &folder.0);
        shop.same_everywhere(call.stdin(set.as_str()).answer())
    };
    let right = check("hunter2");
    assert_eq!(right.code, 0, "{}", right.whole());
    insta::assert_snapshot!("check_secret_ref", right.stderr);
    let wrong = check("wr0ng");
    assert_eq!(wrong.code, 7, "{}", wrong.whole());
    assert!(!wrong.whole().contains("wr0ng"), "{}", wrong.whole());
}

/// One answer of each kind that leaves a cell Unknown (registry research §3).
fn doubtful_answers() -> [(&'static str, Fault); 5] {
    let answer = |status: u16, content_type: &str, body: &'static [u8]| Fault::Respond {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: Bytes::from_static(body),
    };
    let index = "application/vnd.oci.image.index.v1+json";
    [
        ("auth", answer(403, "application/json", b"{}")),
        ("throttled", answer(429, "application/json", b"{}")),
        ("transient", answer(503, "text/plain", b"")),
        ("protocol", answer(200, "text/html", b"<html></html>")),
        ("corrupt", answer(200, index, br#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unknown_cell_says_what_to_do_next() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    for (kind, fault) in doubtful_answers() {
        shop.registry.set_fault(Some(Arc::new(move |request| {
            (request.repository.as_deref() == Some("shop/worker")).then(|| fault.clone())
        })));
        let answer = shop.check(&["--tag", "main-7", "-o", "json"]);
        assert_eq!(answer.code, 7, "{kind}: {}", answer.whole());
        let report: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        let cells =
            report["images"].as_array().unwrap().iter().flat_map(|image| image["cells"].as_array().unwrap());
        let (unknown, known): (Vec<_>, Vec<_>) = cells.partition(|cell| cell["state"] == "Unknown");
        assert_eq!((unknown.len(), known.len()), (2, 4), "{kind}: {}", answer.whole());
        for cell in unknown {
            assert!(
                cell["next"].as_str().is_some_and(|next| next.contains("registry.test")),
                "{kind}: {cell}"
            );
        }
        assert!(known.iter().all(|cell| cell["next"].is_null()), "{kind}: {}", answer.whole());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_child_is_named() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    shop.registry.delete_manifest("shop/worker", &child("worker", "main-7", "linux/arm64").manifest.digest);
    insta::assert_snapshot!("check_broken", shop.check(&["--tag", "main-7"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tag_the_candidate_is_chosen_as_the_controller_would() {
    let shop = Shop::open().await;
    shop.push_all("main-9");
    shop.push_all("main-10");
    shop.push("app", "main-11", &BOTH);
    insta::assert_snapshot!("check_chosen", shop.check(&[]).whole());
    insta::assert_snapshot!("check_chosen_above", shop.check(&["--above", "main-10"]).whole());
    insta::assert_snapshot!("check_none_above", shop.check(&["--above", "main-11"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_candidate_says_how_many_tags_there_are() {
    let shop = Shop::open().await;
    shop.push_all("v1");
    insta::assert_snapshot!("check_no_candidate", shop.check(&[]).whole());
    let json = shop.check(&["-o", "json"]).stdout;
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["tag"], &report["verdict"]), (&serde_json::Value::Null, &"Wait".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_newer_is_superseded() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    insta::assert_snapshot!(
        "check_superseded",
        shop.check(&["--tag", "main-7", "--above", "main-7"]).whole()
    );
    let newer = shop.check(&["--tag", "main-7", "--above", "main-6"]);
    assert_eq!(newer.code, 0, "{}", newer.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_promoted_in_no_case() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    let check =
        |more: &str, args: &[&str]| shop.check_set(&shop.release_set("", &format!("  {more}\n")), args);
    insta::assert_snapshot!("check_suspended", check("suspend: true", &["--tag", "main-7"]).whole());
    for (more, args, why) in [
        ("suspend: true", vec![], "spec.suspend is set"),
        ("pin: main-6", vec!["--tag", "main-7"], "spec.pin is main-6"),
        ("skip: [main-7]", vec!["--tag", "main-7"], "spec.skip dismisses main-7"),
        ("skip: []", vec!["--tag", "v7"], "spec.candidates does not accept v7"),
        ("skip: []", vec!["--above", "v6"], "spec.candidates does not accept v6, the floor"),
        (
            "skip: []",
            vec!["--tag", "main-7", "--above", "v6"],
            "spec.candidates does not accept v6, the floor",
        ),
    ] {
        let answer = check(more, &args);
        assert_eq!(answer.code, 6, "{}", answer.whole());
        assert!(answer.stdout.contains(&format!("Held: {why}\n")), "{}", answer.whole());
    }
    let pinned = check("pin: main-7", &["--above", "main-9"]);
    assert_eq!(pinned.code, 0, "a pin goes below the floor: {}", pinned.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn sequence_24_smoke_tests_are_not_run_and_said_so() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    let set = shop.release_set("", SMOKE);
    insta::assert_snapshot!("check_smoke", shop.check_set(&set, &["--tag", "main-7"]).whole());
    insta::assert_snapshot!("check_smoke_required", shop.check_set(&set, &["--require-smoke"]).whole());
    shop.push("app", "main-8", &AMD64);
    let partial = shop.check_set(&set, &["--tag", "main-8", "--require-smoke"]);
    assert_eq!(partial.code, 3, "what is missing goes first: {}", partial.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_fails_is_named() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    let set = shop.release_set("", SAME_COMMIT);
    assert_eq!(shop.check_set(&set, &["--tag", "main-7"]).code, 0);
    shop.push_from("worker", "main-7", &AMD64, "0000000");
    insta::assert_snapshot!("check_gate_failed", shop.check_set(&set, &["--tag", "main-7"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_answer_in_time_is_unknown() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    shop.registry.set_fault(Some(Arc::new(|request| {
        let slow = request.repository.as_deref() == Some("shop/worker");
        slow.then_some(Fault::Delay(Duration::from_mins(10)))
    })));
    insta::assert_snapshot!("check_timeout", shop.check(&["--tag", "main-7", "--timeout", "1s"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_check_asks_no_more_than_promised() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    for (args, requests_max) in [(vec!["--tag", "main-7"], 15), (vec!["--tag", "main-7", "--no-config"], 9)] {
        shop.registry.clear_log();
        let started = tokio::time::Instant::now();
        let answer = shop.check(&args);
        let took_ms = started.elapsed().as_millis();
        assert_eq!(answer.code, 0, "{}", answer.whole());
        let requests = shop.registry.total();
        println!("check {}: {requests} requests, {took_ms} ms", args.join(" "));
        assert_eq!(requests, requests_max, "{:#?}", shop.registry.requests());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_file_names_every_problem() {
    let shop = Shop::open().await;
    let set = shop.release_set(", platforms: []", "  interval: 0s\n");
    insta::assert_snapshot!("check_invalid", shop.check_set(&set, &[]).whole());
    let typo = shop.release_set("", "  dedline: 5m\n");
    insta::assert_snapshot!("check_unknown_field", shop.check_set(&typo, &[]).whole());
    let two = format!("{}---\n{}", shop.release_set("", ""), shop.release_set("", ""));
    insta::assert_snapshot!("check_two_sets", shop.check_set(&two, &[]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_decorates_and_never_carries_meaning() {
    let shop = Shop::open().await;
    shop.push("app", "main-7", &BOTH);
    let plain = shop.check(&["--tag", "main-7"]);
    let painted = shop.check(&["--tag", "main-7", "--color", "always"]);
    assert!(!plain.stdout.contains('\u{1b}') && painted.stdout.contains('\u{1b}'));
    let mut bare = String::new();
    for (index, part) in painted.stdout.split("\u{1b}[").enumerate() {
        bare.push_str(if index == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    assert_eq!(bare, plain.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_leaves_the_data_and_the_exit_code() {
    let shop = Shop::open().await;
    shop.push("app", "main-7", &BOTH);
    let quiet = shop.check(&["--tag", "main-7", "--quiet"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (3, ""));
    assert_eq!(quiet.stdout, shop.check(&["--tag", "main-7"]).stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_is_asked_once_for_its_host() {
    use std::os::unix::fs::PermissionsExt as _;

    let auth = Auth::Basic(Credentials::new("ci", "hunter2"));
    let shop = Shop::with(Options { auth, ..Options::default() }).await;
    shop.push_all("main-7");
    let folder = Folder::new("credential-helper");
    let config = serde_json::json!({"credHelpers": {shop.registry.host(): "shop"}});
    std::fs::write(folder.0.join("config.json"), config.to_string()).unwrap();
    let check = |secret: &str| {
        let asked = folder.0.join("asked");
        let script = format!(
            "#!/bin/sh\nread -r server\necho \"$1 $server\" >>'{}'\nprintf '{{\"Username\":\"ci\",\"Secret\":\"{secret}\"}}'\n",
            asked.display()
        );
        let program = folder.0.join("docker-credential-shop");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let set = shop.release_set(", platforms: [linux/amd64, linux/arm64]", "");
        let call = Call::new(&["check", "-f", "-", "--tag", "main-7"])
            .env("DOCKER_CONFIG", &folder.0)
            .env("PATH", &folder.0);
        (call.stdin(set).answer(), std::fs::read_to_string(asked).unwrap())
    };
    let (right, asked) = check("hunter2");
    assert_eq!(right.code, 0, "{}", right.whole());
    assert_eq!(asked, format!("get {}\n", shop.registry.host()), "once for three images");
    let (wrong, _) = check("wr0ng");
    assert_eq!(wrong.code, 7, "{}", wrong.whole());
    assert!(wrong.whole().contains("the credential helper `shop`"), "{}", wrong.whole());
    assert!(!wrong.whole().contains("wr0ng"), "{}", wrong.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_prints_what_check_prints_and_its_progress_line_by_line() {
    let shop = Shop::open().await;
    shop.push_all("main-7");
    let set = shop.release_set(", platforms: [linux/amd64, linux/arm64]", "");
    let wait = |args: &[&str]| {
        let args: Vec<&str> = ["wait", "-f", "-"].iter().chain(args).copied().collect();
        shop.same_everywhere(Call::new(&args).stdin(set.as_str()).answer())
    };
    let there = wait(&["--tag", "main-7"]);
    assert_eq!(
        (there.code, &there.stdout),
        (0, &shop.check(&["--tag", "main-7"]).stdout),
        "{}",
        there.whole()
    );
    assert_eq!(there.stderr, "     0s  main-7: 6/6 required cells are present\n");
    shop.push("app", "main-8", &BOTH);
    let absent = wait(&["--tag", "main-8", "--timeout", "1s", "-o", "json"]);
    insta::assert_snapshot!("wait_timeout", absent.whole());
}

/// Ctrl+C ends a wait with what is known.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_wait_with_the_report() {
    use std::io::{BufRead as _, Read as _, Write as _};
    use std::process::{Command, Stdio};

    let shop = Shop::open().await;
    shop.push("app", "main-7", &BOTH);
    let mut child = Command::new(super::fixture::BINARY)
        .args(["wait", "-f", "-", "--tag", "main-7"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(shop.release_set("", "").as_bytes()).unwrap();
    let mut talk = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    talk.read_line(&mut first).unwrap();
    assert!(first.contains("main-7: 1/3 required cells are present"), "{first}");
    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let mut rest = String::new();
    talk.read_to_string(&mut rest).unwrap();
    assert_eq!(output.status.code(), Some(3), "{rest}");
    assert!(rest.contains("note: stopped: this is what was known by then"), "{rest}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Wait: worker linux/amd64 missing"));
}
