//! `tidegate registry ping` against registries of every kind, and against what is none.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::embedded::registry::{Auth, BearerAuth, Credentials, Fault, Options};

use super::fixture::{Answer, BOTH, Call, Folder, Shop, call};

/// The answer with the registry's name for its port, the time of the day's network left out, and the folder named.
fn steady(shop: &Shop, answer: Answer, folder: &Folder) -> Answer {
    let answer = shop.same_everywhere(answer);
    let hidden = |text: String| {
        let text = text.replace(folder.0.to_str().unwrap(), "FOLDER");
        let lines = text.lines().map(|line| {
            let (before, rest) = match (line.split_once("round trip "), line.split_once("\"roundTripMs\": "))
            {
                (Some((before, rest)), _) => (format!("{before}round trip "), rest),
                (_, Some((before, rest))) => (format!("{before}\"roundTripMs\": "), rest),
                _ => return format!("{line}\n"),
            };
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            assert!(rest[..end].parse::<f64>().unwrap() < 30_000.0, "{line}");
            format!("{before}1{}\n", &rest[end..])
        });
        lines.collect()
    };
    Answer { code: answer.code, stdout: hidden(answer.stdout), stderr: hidden(answer.stderr) }
}

fn ping(shop: &Shop, folder: &Folder, args: &[&str]) -> Answer {
    let repository = format!("{}/shop/app", shop.registry.host());
    let args: Vec<&str> =
        ["registry", "ping", repository.as_str(), "--insecure"].iter().chain(args).copied().collect();
    steady(shop, Call::new(&args).env("DOCKER_CONFIG", &folder.0).answer(), folder)
}

fn log_in(shop: &Shop, folder: &Folder, password: &str) {
    let entry = serde_json::json!({"username": "ci", "password": password});
    let config = serde_json::json!({"auths": {shop.registry.host(): entry}});
    std::fs::write(folder.0.join("config.json"), config.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_registry_in_every_format() {
    let (shop, folder) = (Shop::open().await, Folder::new("ping-open"));
    shop.push("app", "main-7", &BOTH);
    for format in ["table", "json", "yaml"] {
        let answer = ping(&shop, &folder, &["-o", format]);
        assert_eq!(answer.code, 0, "{}", answer.whole());
        if format == "json" {
            assert!(serde_json::from_str::<serde_json::Value>(&answer.stdout).is_ok());
        }
        if format != "yaml" {
            insta::assert_snapshot!(format!("ping_open_{format}"), answer.whole());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_by_its_life_and_never_itself() {
    let auth = BearerAuth { credentials: Some(Credentials::new("ci", "hunter2")), ..BearerAuth::anonymous() };
    let options = Options { auth: Auth::Bearer(auth), page_tags_max: Some(1), ..Options::default() };
    let (shop, folder) = (Shop::with(options).await, Folder::new("ping-bearer"));
    shop.push("app", "main-7", &BOTH);
    shop.push("app", "main-8", &BOTH);
    log_in(&shop, &folder, "hunter2");
    let answer = ping(&shop, &folder, &["--tag", "main-8"]);
    assert!(!answer.whole().contains("hunter2"), "{}", answer.whole());
    insta::assert_snapshot!("ping_bearer", answer.whole());
    log_in(&shop, &folder, "wr0ng");
    let refused = ping(&shop, &folder, &[]);
    assert!(!refused.whole().contains("wr0ng"), "{}", refused.whole());
    insta::assert_snapshot!("ping_bearer_refused", refused.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_with_and_without_a_credential() {
    let auth = Auth::Basic(Credentials::new("ci", "hunter2"));
    let shop = Shop::with(Options { auth, ..Options::default() }).await;
    let folder = Folder::new("ping-basic");
    shop.push("app", "main-7", &BOTH);
    insta::assert_snapshot!("ping_basic_none", ping(&shop, &folder, &[]).whole());
    log_in(&shop, &folder, "hunter2");
    insta::assert_snapshot!("ping_basic", ping(&shop, &folder, &[]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_from_what_could_not_be_told() {
    let (shop, folder) = (Shop::open().await, Folder::new("ping-missing"));
    insta::assert_snapshot!("ping_no_repository", ping(&shop, &folder, &[]).whole());
    shop.push("app", "main-7", &BOTH);
    insta::assert_snapshot!("ping_no_tag", ping(&shop, &folder, &["--tag", "main-8"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_is_no_registry_whatever_its_status() {
    let (shop, folder) = (Shop::open().await, Folder::new("ping-page"));
    for status in [200, 404] {
        shop.registry.set_fault(Some(Arc::new(move |_| {
            Some(Fault::Respond {
                status: http::StatusCode::from_u16(status).unwrap(),
                headers: vec![("content-type".into(), "text/html".into())],
                body: Bytes::from_static(b"<html>welcome</html>"),
            })
        })));
        insta::assert_snapshot!(format!("ping_page_{status}"), ping(&shop, &folder, &[]).whole());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limits_are_shown() {
    let (shop, folder) = (Shop::open().await, Folder::new("ping-limits"));
    shop.registry.set_fault(Some(Arc::new(|_| {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Some(Fault::Respond {
            status: http::StatusCode::TOO_MANY_REQUESTS,
            headers: vec![
                header("retry-after", "120"),
                header("ratelimit-limit", "100;w=21600"),
                header("ratelimit-remaining", "0;w=21600"),
            ],
            body: Bytes::new(),
        })
    })));
    insta::assert_snapshot!("ping_throttled", ping(&shop, &folder, &[]).whole());
}

#[test]
fn what_nobody_serves_and_what_is_no_repository() {
    // Port 9 is "discard": nothing listens there.
    let answer = call(&["registry", "ping", "127.0.0.1:9/acme/app", "--insecure"]);
    insta::assert_snapshot!("ping_nobody", answer.whole());
    insta::assert_snapshot!("ping_usage", call(&["registry", "ping", "https://ghcr.io/acme/app"]).whole());
}
