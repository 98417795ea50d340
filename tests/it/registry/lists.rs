//! Tag lists: paging, and the ways in which it goes wrong. A list is discovery: whatever it says, a manifest that is there is
//! Present.

use http::StatusCode;
use serde_json::json;
use tidegate::embedded::registry::{Auth, On, Operation, Options, RegistryServer, Reply, Rule, Step, When};
use tidegate::model::Sighting;
use tidegate::model::sighting::DoubtKind;

use super::scene::{APP, Scene, doubt, present};

/// The scene with `count` tags that point at one image, and pages of at most `page`.
async fn with_tags(count: usize, page: usize) -> Scene {
    let mut scene = Scene::open().await;
    let options = Options { page_tags_max: Some(page), ..Options::default() };
    scene.registry = RegistryServer::start(options, scene.clock()).await.unwrap();
    let digest = scene.push("v1");
    for number in 1..count {
        scene.registry.tag(APP, &format!("main-{number:05}"), digest.as_str()).unwrap();
    }
    scene
}

fn page(tags: &[&str]) -> Reply {
    Reply::json(StatusCode::OK, json!({"name": APP, "tags": tags}).to_string())
}

fn next(target: &str) -> String {
    format!("<{target}>; rel=\"next\"")
}

#[tokio::test(start_paused = true)]
async fn nine_thousand_tags_are_read_page_by_page() {
    let scene = with_tags(9_036, 1_000).await;
    assert_eq!(present(&scene.tags().await).len(), 9_036);
    assert_eq!(scene.count(Operation::Tags), 10);
}

#[tokio::test(start_paused = true)]
async fn a_list_stuck_at_its_first_page_is_not_taken_twice() {
    let scene = Scene::with_app(Auth::Open).await;
    let stuck = page(&["a", "b"]).header("link", next("/v2/acme/app/tags/list?last=b&n=1000"));
    scene.plan(Rule::new(On::tags()).answer(stuck));
    assert_eq!(present(&scene.tags().await), ["a", "b"]);
    assert!(scene.count(Operation::Tags) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_is_unknown_corrupt() {
    let scene = Scene::with_app(Auth::Open).await;
    scene.plan(Rule::new(On::tags()).step(Step::EndlessTags(1_000)));
    doubt(&scene.tags().await, DoubtKind::Corrupt);
    assert!(scene.count(Operation::Tags) <= 51, "50,000 tags and one page that is too much");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_more_than_32_mib_is_unknown_corrupt() {
    let scene = Scene::with_app(Auth::Open).await;
    let long = "x".repeat((32 << 20) + 1);
    scene.plan(Rule::new(On::tags()).answer(page(&[&long])));
    doubt(&scene.tags().await, DoubtKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_flaps_hides_no_manifest() {
    let scene = with_tags(3, 1_000).await;
    scene.plan(Rule::new(On::tags()).when(When::Every(2)).answer(page(&[])));
    assert_eq!(present(&scene.tags().await).len(), 3);
    assert_eq!(present(&scene.tags().await).len(), 0);
    assert_eq!(present(&scene.tags().await).len(), 3);
    assert!(scene.look().await.is_present());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lies_makes_nothing_present_and_nothing_missing() {
    let scene = Scene::open().await;
    scene.push("v2");
    scene.plan(Rule::new(On::tags()).answer(page(&["v1"])));
    assert_eq!(present(&scene.tags().await), ["v1"]);
    assert_eq!(scene.look().await, Sighting::Missing, "it was listed and is not there");
    assert!(scene.look_as(&super::scene::anonymous(), "v2").await.is_present(), "and the other way round");
}

#[tokio::test(start_paused = true)]
async fn trouble_with_a_page_fails_the_list_and_does_not_shorten_it() {
    let scene = with_tags(250, 100).await;
    let trouble = Reply::status(StatusCode::SERVICE_UNAVAILABLE);
    scene.plan(Rule::new(On::tags()).when(When::After(1)).answer(trouble));
    doubt(&scene.tags().await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_web_page_or_wrong_json_for_a_list_is_unknown_protocol() {
    for reply in [
        Reply::html(StatusCode::OK, "<html>sign in</html>"),
        Reply::json(StatusCode::OK, "[]"),
        Reply::json(StatusCode::OK, "{\"tags\":[1]}"),
    ] {
        let scene = Scene::with_app(Auth::Open).await;
        scene.plan(Rule::new(On::tags()).answer(reply));
        doubt(&scene.tags().await, DoubtKind::Protocol);
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_list_is_unknown_transient() {
    let scene = with_tags(250, 1_000).await;
    scene.plan(Rule::new(On::tags()).step(Step::Truncate(100)));
    doubt(&scene.tags().await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_link_to_another_place_is_not_followed() {
    let elsewhere = Scene::with_app(Auth::Open).await;
    let there = format!("http://{}/v2/acme/app/tags/list?last=a", elsewhere.registry.host());
    for target in ["https://registry.invalid/v2/acme/app/tags/list", "//registry.invalid/v2/"] {
        let scene = Scene::with_app(Auth::Open).await;
        scene.plan(Rule::new(On::tags()).answer(page(&["a"]).header("link", next(target))));
        doubt(&scene.tags().await, DoubtKind::Protocol);
        assert_eq!(scene.count(Operation::Tags), 1);
    }
    // The same host at another port: a proxy's mistake, of which path and query are taken and nothing else.
    let scene = Scene::with_app(Auth::Open).await;
    scene.plan(Rule::new(On::tags()).answer(page(&["a"]).header("link", next(&there))));
    assert_eq!(present(&scene.tags().await), ["a"]);
    assert_eq!(elsewhere.registry.total(), 0, "not even asked");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_tag_is_left_out() {
    let scene = Scene::with_app(Auth::Open).await;
    let long = "x".repeat(129);
    scene.plan(Rule::new(On::tags()).answer(page(&["v1", "", "a b", "v1", &long, "../v2", "täg"])));
    assert_eq!(present(&scene.tags().await), ["v1"]);
}
