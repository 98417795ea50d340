//! Tag lists: paging, and the ways in which it goes wrong.

use super::fixture::{Fixture, Guard, Reply, error};
use super::*;

async fn with_tags(count: usize, page_max: usize) -> Fixture {
    let fixture = Fixture::start(Guard::Open).await;
    let digest = fixture.push_app();
    fixture.world(|world| world.page_max = page_max);
    (1..count).for_each(|number| fixture.tag(&format!("main-{number:05}"), &digest));
    fixture
}

async fn tags(fixture: &Fixture) -> Sighting<Vec<String>> {
    Subject::new().client.tags(&open(), &repository(fixture)).await
}

fn page(tags: &[&str], link: &str) -> Reply {
    let body = serde_json::to_vec(&serde_json::json!({"name": "acme/app", "tags": tags})).unwrap();
    let reply = Reply::ok("application/json", &body);
    if link.is_empty() { reply } else { reply.header("link", &format!("<{link}>; rel=\"next\"")) }
}

#[tokio::test]
async fn all_pages_are_read() {
    let fixture = with_tags(250, 100).await;
    assert_eq!(present(&tags(&fixture).await).len(), 250);
    let log = fixture.log();
    assert_eq!(log.len(), 3);
    assert_eq!(log[0], "GET /v2/acme/app/tags/list?n=1000");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_repository_is_missing_and_trouble_is_not() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "/tags/list", 1, error(404, "NAME_UNKNOWN"));
    assert_eq!(tags(&fixture).await, Sighting::Missing);
    fixture.script("GET", "/tags/list", 3, error(500, "UNKNOWN"));
    doubt(&tags(&fixture).await, DoubtKind::Transient);
    fixture.script("GET", "/tags/list", 1, Reply::ok("application/json", b"{\"name\":\"x\",\"tags\":null}"));
    assert_eq!(tags(&fixture).await, Sighting::Present(Vec::new()));
    for body in [&b"<html>"[..], b"[]", b"{\"tags\":[1]}"] {
        fixture.script("GET", "/tags/list", 1, Reply::ok("application/json", body));
        doubt(&tags(&fixture).await, DoubtKind::Protocol);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_second_page_fails_the_list() {
    let fixture = with_tags(250, 100).await;
    fixture.script("GET", "last=", 3, Reply::status(503));
    doubt(&tags(&fixture).await, DoubtKind::Transient);
}

#[tokio::test]
async fn a_link_elsewhere_is_not_followed() {
    for link in ["http://127.0.0.1:1/v2/acme/app/tags/list?last=a", "https://evil.io/", "//evil.io/v2/"] {
        let fixture = Fixture::start(Guard::Open).await;
        fixture.script("GET", "/tags/list", 1, page(&["a"], link));
        doubt(&tags(&fixture).await, DoubtKind::Protocol);
    }
}

#[tokio::test]
async fn links_may_be_relative_to_the_page() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "last=b", 1, page(&["c"], ""));
    fixture.script("GET", "last=a", 1, page(&["b"], "?last=b"));
    fixture.script("GET", "n=1000", 1, page(&["a"], "list?last=a"));
    assert_eq!(present(&tags(&fixture).await), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_page_that_adds_nothing_ends_the_list() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "/tags/list", 99, page(&["a", "b"], "/v2/acme/app/tags/list?last=b"));
    assert_eq!(present(&tags(&fixture).await), ["a", "b"]);
    assert_eq!(fixture.log().len(), 2);
}

#[tokio::test]
async fn a_refused_page_size_is_made_smaller_and_remembered() {
    let fixture = with_tags(3, 1_000).await;
    fixture.script("GET", "n=1000", 9, error(400, "TOO_MANY_TAGS_REQUESTED"));
    let subject = Subject::new();
    for requests in [2, 1] {
        assert_eq!(present(&subject.client.tags(&open(), &repository(&fixture)).await).len(), 3);
        assert_eq!(fixture.log().len(), requests);
    }
    fixture.script("GET", "n=100", 9, Reply::status(413));
    assert_eq!(present(&subject.client.tags(&open(), &repository(&fixture)).await).len(), 3);
    assert_eq!(fixture.log(), ["GET /v2/acme/app/tags/list?n=100", "GET /v2/acme/app/tags/list"]);
}

#[tokio::test]
async fn what_is_no_tag_is_left_out() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "/tags/list", 1, page(&["v1", "", "a b", "v1", &"x".repeat(129), "../v2"], ""));
    assert_eq!(present(&tags(&fixture).await), ["v1"]);
}

#[tokio::test]
async fn too_many_tags_are_unknown_not_cut_off() {
    let fixture = Fixture::start(Guard::Open).await;
    let names: Vec<String> = (0..50_001).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    fixture.script("GET", "/tags/list", 1, page(&names, ""));
    doubt(&tags(&fixture).await, DoubtKind::Corrupt);
}
