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
    Subject::new().tags_as(fixture, &open()).await
}

fn page(tags: &[&str], link: &str) -> Reply {
    let body = serde_json::to_vec(&serde_json::json!({"name": "acme/app", "tags": tags})).unwrap();
    let reply = Reply::ok("application/json", &body);
    if link.is_empty() { reply } else { reply.header("link", &format!("<{link}>; rel=\"next\"")) }
}

#[tokio::test(start_paused = true)]
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

/// How many tags a list has that is not whole, and why it is not.
async fn cut(fixture: &Fixture, kind: DoubtKind) -> (usize, Doubt) {
    let list = Subject::new().client.tags(&open(), &repository(fixture), Timestamp::MAX).await.sighting;
    let list = present(&list);
    let incomplete = list.incomplete.clone().expect("the list is not whole");
    (list.len(), doubt(&Sighting::<()>::Unknown(incomplete), kind))
}

#[tokio::test(start_paused = true)]
async fn a_failing_second_page_leaves_the_first_and_says_why() {
    let fixture = with_tags(250, 100).await;
    fixture.script("GET", "last=", 1, Reply::status(503).header("retry-after", "9"));
    let (tags, why) = cut(&fixture, DoubtKind::Transient).await;
    assert_eq!((tags, why.retry_after_secs), (100, Some(9)));
    fixture.script("GET", "last=", 1, Reply::ok("text/html", b"<html>"));
    assert_eq!(cut(&fixture, DoubtKind::Protocol).await.0, 100);
}

#[tokio::test(start_paused = true)]
async fn a_link_to_another_host_is_not_followed() {
    for link in ["https://evil.io/", "//evil.io/v2/", "http://127.0.0.2/v2/", "ftp://127.0.0.1/v2/"] {
        let fixture = Fixture::start(Guard::Open).await;
        fixture.script("GET", "/tags/list", 1, page(&["a"], link));
        assert_eq!(cut(&fixture, DoubtKind::Protocol).await.0, 1, "{link}");
        assert_eq!(fixture.log().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nexus_drops_the_port_and_the_credential_goes_nowhere_else() {
    for link in
        ["http://127.0.0.1/v2/acme/app/tags/list?last=a", "https://127.0.0.1:1/v2/acme/app/tags/list?last=a"]
    {
        let fixture = Fixture::start(Guard::Basic).await;
        fixture.script("GET", "last=a", 1, page(&["b"], ""));
        fixture.script("GET", "n=1000", 1, page(&["a"], link));
        assert_eq!(present(&Subject::new().tags_as(&fixture, &basic("user", "hunter2")).await), ["a", "b"]);
        assert_eq!(
            fixture.log()[1],
            "GET /v2/acme/app/tags/list?last=a",
            "path and query, on its own origin"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_page_without_a_link_is_followed_by_last() {
    let names: Vec<String> = (0..1_000).map(|number| format!("t{number:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (after, expected) in [
        (page(&["u"], ""), 1_001),
        (page(&[], ""), 1_000),
        (page(&names, ""), 1_000),
        (error(404, "NAME_UNKNOWN"), 1_000),
        (error(400, "PAGINATION_NUMBER_INVALID"), 1_000),
    ] {
        let fixture = Fixture::start(Guard::Open).await;
        fixture.script("GET", "last=t0999", 1, after);
        fixture.script("GET", "n=1000", 1, page(&names, ""));
        assert_eq!(present(&tags(&fixture).await).len(), expected);
        assert_eq!(fixture.log()[1], "GET /v2/acme/app/tags/list?n=1000&last=t0999");
    }
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "last=t0999", 3, Reply::status(500));
    fixture.script("GET", "n=1000", 1, page(&names, ""));
    assert_eq!(cut(&fixture, DoubtKind::Transient).await.0, 1_000, "there may be more");
}

#[tokio::test(start_paused = true)]
async fn a_named_page_that_is_not_there_leaves_the_list_open() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "last=a", 1, error(404, "NAME_UNKNOWN"));
    fixture.script("GET", "n=1000", 1, page(&["a"], "?last=a"));
    let list = Subject::new().client.tags(&open(), &repository(&fixture), Timestamp::MAX).await.sighting;
    assert!(present(&list).incomplete.is_some());
}

#[tokio::test(start_paused = true)]
async fn links_may_be_relative_to_the_page() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "last=b", 1, page(&["c"], ""));
    fixture.script("GET", "last=a", 1, page(&["b"], "?last=b"));
    fixture.script("GET", "n=1000", 1, page(&["a"], "list?last=a"));
    assert_eq!(present(&tags(&fixture).await), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_adds_nothing_ends_the_list() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "/tags/list", 99, page(&["a", "b"], "/v2/acme/app/tags/list?last=b"));
    assert_eq!(present(&tags(&fixture).await), ["a", "b"]);
    assert_eq!(fixture.log().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_page_size_is_made_smaller_and_remembered() {
    let fixture = with_tags(3, 1_000).await;
    fixture.script("GET", "n=1000", 9, error(400, "TOO_MANY_TAGS_REQUESTED"));
    let subject = Subject::new();
    for requests in [2, 1] {
        assert_eq!(present(&subject.tags_as(&fixture, &open()).await).len(), 3);
        assert_eq!(fixture.log().len(), requests);
    }
    fixture.script("GET", "n=100", 9, Reply::status(413));
    assert_eq!(present(&subject.tags_as(&fixture, &open()).await).len(), 3);
    assert_eq!(fixture.log(), ["GET /v2/acme/app/tags/list?n=100", "GET /v2/acme/app/tags/list"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_tag_is_left_out() {
    let fixture = Fixture::start(Guard::Open).await;
    fixture.script("GET", "/tags/list", 1, page(&["v1", "", "a b", "v1", &"x".repeat(129), "../v2"], ""));
    assert_eq!(present(&tags(&fixture).await), ["v1"]);
}

#[tokio::test(start_paused = true)]
async fn of_too_many_tags_fifty_thousand_are_known_and_the_rest_is_said() {
    let fixture = Fixture::start(Guard::Open).await;
    let names: Vec<String> = (0..50_001).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    fixture.script("GET", "/tags/list", 1, page(&names[..50_000], ""));
    assert_eq!(present(&tags(&fixture).await).len(), 50_000);
    fixture.script("GET", "/tags/list", 1, page(&names, ""));
    assert_eq!(cut(&fixture, DoubtKind::Corrupt).await.0, 50_000);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_ends_is_left_after_a_thousand_pages() {
    let fixture = with_tags(1_001, 1).await;
    assert_eq!(cut(&fixture, DoubtKind::Corrupt).await.0, 1_000);
    assert_eq!(fixture.log().len(), 1_000);
    let fixture = with_tags(1_000, 1).await;
    assert_eq!(present(&tags(&fixture).await).len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn thirty_two_mebibytes_of_pages_are_read() {
    let padded = |tag: &str, bytes: usize, link: &str| {
        let mut reply = page(&[tag], link);
        reply.body.resize(bytes, b' ');
        reply
    };
    let half = 16 * 1024 * 1024;
    for (second, expected) in [(half, Ok(2)), (half + 1, Err(1))] {
        let fixture = Fixture::start(Guard::Open).await;
        fixture.script("GET", "last=a", 1, padded("b", second, ""));
        fixture.script("GET", "n=1000", 1, padded("a", half, "?last=a"));
        match expected {
            Ok(count) => assert_eq!(present(&tags(&fixture).await).len(), count),
            Err(count) => assert_eq!(cut(&fixture, DoubtKind::Corrupt).await.0, count),
        }
    }
}
