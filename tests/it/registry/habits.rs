//! What hosted registries do otherwise than the specification.

use std::time::Duration;

use http::{Method, StatusCode};
use tidegate::embedded::registry::{Auth, Habit, On, Operation, Reply, Rule};
use tidegate::model::Sighting;
use tidegate::model::sighting::DoubtKind;

use super::scene::{APP, Scene, USER, anonymous, credentials, doubt, identity_token, known, login, present};

/// A registry of that habit with `acme/app:v1`.
async fn of(habit: Habit) -> Scene {
    let scene = Scene::with_app(habit.auth(credentials())).await;
    scene.registry.adopt(habit);
    scene
}

/// The same that asks for nothing, with `count` tags more.
async fn listing(habit: Habit, count: usize) -> Scene {
    let scene = Scene::with_app(Auth::Open).await;
    let digest = scene.registry.resolve(APP, "v1").unwrap();
    for number in 0..count {
        scene.registry.tag(APP, &format!("main-{number:05}"), &digest).unwrap();
    }
    scene.registry.adopt(habit);
    scene
}

#[tokio::test(start_paused = true)]
async fn docker_hub_answers_401_for_what_is_absent_or_private() {
    let scene = Scene::with(Habit::DockerHub.auth(credentials())).await;
    scene.registry.adopt(Habit::DockerHub);
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
    scene.push("v2");
    assert_eq!(scene.look_as(&known(), "v1").await, Sighting::Missing, "the repository may be seen now");
    assert!(scene.look_as(&known(), "v2").await.is_present());
}

#[tokio::test(start_paused = true)]
async fn docker_hub_counts_gets_and_a_second_look_sends_none() {
    let scene = listing(Habit::DockerHub, 0).await;
    let gets = || {
        scene.registry.count(|request| {
            request.info.operation == Operation::Manifest && request.info.method == Method::GET
        })
    };
    assert!(scene.look().await.is_present());
    let first = gets();
    assert!(first <= 3, "index and two children: {first}");
    assert!(scene.look().await.is_present());
    assert_eq!(gets(), first);
}

#[tokio::test(start_paused = true)]
async fn docker_hub_beyond_its_limit_is_unknown_throttled() {
    let scene = listing(Habit::DockerHub, 0).await;
    let url = format!("http://{}/v2/{APP}/manifests/v1", scene.registry.host());
    let mut left = String::new();
    for _ in 0..100 {
        let answer = reqwest::get(&url).await.unwrap();
        answer.headers()["ratelimit-remaining"].to_str().unwrap().clone_into(&mut left);
    }
    assert_eq!(left, "0;w=21600");
    doubt(&scene.look().await, DoubtKind::Throttled);
    assert!(!scene.look().await.is_present());
}

#[tokio::test(start_paused = true)]
async fn ghcr_refuses_the_token_for_an_absent_or_private_package() {
    let scene = Scene::with(Habit::Ghcr.auth(credentials())).await;
    scene.registry.adopt(Habit::Ghcr);
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
    scene.push("v2");
    assert_eq!(
        scene.look_as(&known(), "v1").await,
        Sighting::Missing,
        "a package that may be read lacks a tag"
    );
}

#[tokio::test(start_paused = true)]
async fn ghcr_answers_403_for_manifests_of_a_private_package() {
    let scene = of(Habit::Ghcr).await;
    scene.plan(Rule::new(On::manifest().credentials(true)).answer(Reply::error(
        StatusCode::FORBIDDEN,
        "DENIED",
        "permission_denied: read_package",
    )));
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
}

#[tokio::test(start_paused = true)]
async fn ghcr_pages_by_100_with_link() {
    let scene = listing(Habit::Ghcr, 249).await;
    assert_eq!(present(&scene.tags().await).len(), 250);
    assert_eq!(scene.count(Operation::Tags), 3);
}

#[tokio::test(start_paused = true)]
async fn ghcr_tokens_that_hide_their_life_are_good_for_a_minute() {
    let scene = of(Habit::Ghcr).await;
    present(&scene.look_as(&known(), "v1").await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    present(&scene.look_as(&known(), "v1").await);
    assert_eq!(scene.count(Operation::Token), 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    present(&scene.look_as(&known(), "v1").await);
    assert_eq!(scene.count(Operation::Token), 2);
}

#[tokio::test(start_paused = true)]
async fn ecr_answers_403_for_an_expired_password_until_it_is_rotated() {
    let scene = of(Habit::Ecr).await;
    doubt(&scene.look_as(&login("user", "hunter2-of-12-hours-ago"), "v1").await, DoubtKind::Auth);
    assert!(scene.statuses().contains(&Some(403)));
    assert!(scene.look_as(&known(), "v1").await.is_present());
    assert_eq!(scene.look_as(&known(), "v2").await, Sighting::Missing);
}

#[tokio::test(start_paused = true)]
async fn ecr_refuses_more_than_1000_tags_per_page_and_is_not_asked_for_them() {
    let scene = listing(Habit::Ecr, 1_500).await;
    assert_eq!(present(&scene.tags().await).len(), 1_501);
    assert!(!scene.statuses().contains(&Some(405)));
}

#[tokio::test(start_paused = true)]
async fn gar_answers_403_download_artifacts_for_what_is_absent_or_private() {
    let scene = Scene::with(Habit::Gar.auth(credentials())).await;
    scene.registry.adopt(Habit::Gar);
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Auth);
}

#[tokio::test(start_paused = true)]
async fn gar_tag_lists_with_their_manifests_are_read() {
    let scene = listing(Habit::Gar, 99).await;
    assert_eq!(present(&scene.tags().await).len(), 100);
}

#[tokio::test(start_paused = true)]
async fn acr_under_load_is_unknown_throttled() {
    let scene = of(Habit::Acr).await;
    let reply = Reply::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "");
    scene.plan(Rule::new(On::manifest().credentials(true)).answer(reply));
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Throttled);
}

#[tokio::test(start_paused = true)]
async fn quay_refuses_more_than_100_tags_per_page_in_two_ways() {
    for habit in [Habit::Quay, Habit::QuayNewer] {
        let scene = listing(habit, 249).await;
        let listed = present(&scene.tags().await);
        assert_eq!(listed.len(), 250, "{habit:?}");
        scene.statuses();
        present(&scene.tags().await);
        assert!(scene.statuses().iter().all(|status| *status == Some(200)), "{habit:?}: learnt once");
    }
}

#[tokio::test(start_paused = true)]
async fn quay_throttles_with_a_web_page() {
    let scene = of(Habit::Quay).await;
    let page = Reply::html(StatusCode::TOO_MANY_REQUESTS, "<html>Too many login attempts</html>");
    scene.plan(Rule::new(On::manifest().credentials(true)).answer(page));
    doubt(&scene.look_as(&known(), "v1").await, DoubtKind::Throttled);
}

#[tokio::test(start_paused = true)]
async fn harbor_says_not_found_in_its_own_word() {
    let scene = of(Habit::Harbor).await;
    assert_eq!(scene.look_as(&known(), "v2").await, Sighting::Missing);
    let robot = login("robot$acme+puller", "hunter2");
    doubt(&scene.look_as(&robot, "v1").await, DoubtKind::Auth);
}

#[tokio::test(start_paused = true)]
async fn gitlab_tokens_of_five_minutes_are_renewed_in_time() {
    let scene = of(Habit::GitLab).await;
    present(&scene.look_as(&known(), "v1").await);
    scene.statuses();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_mins(1)).await;
        present(&scene.look_as(&known(), "v1").await);
    }
    assert!(!scene.statuses().contains(&Some(401)), "no request with a token that had ended");
    assert!((4..=7).contains(&scene.count(Operation::Token)), "{}", scene.count(Operation::Token));
}

#[tokio::test(start_paused = true)]
async fn artifactory_answers_403_for_an_absent_tag_which_is_not_missing() {
    let scene = of(Habit::Artifactory).await;
    doubt(&scene.look_as(&known(), "v2").await, DoubtKind::Auth);
    assert!(scene.look_as(&known(), "v1").await.is_present());
}

#[tokio::test(start_paused = true)]
async fn nexus_loses_the_port_of_its_link_which_is_followed_on_its_own_address() {
    let scene = listing(Habit::Nexus, 1_500).await;
    assert_eq!(present(&scene.tags().await).len(), 1_501);
    assert!(scene.hosts().iter().all(|host| *host == scene.registry.host()));
}

#[tokio::test(start_paused = true)]
async fn nexus_without_digest_headers_is_hashed() {
    let scene = of(Habit::Nexus).await;
    let digest = present(&scene.look_as(&known(), "v1").await).digest;
    assert_eq!(scene.registry.resolve(APP, "v1").unwrap(), digest.as_str());
}

#[tokio::test(start_paused = true)]
async fn zot_answers_404_for_any_trouble_with_a_list_which_says_nothing_of_manifests() {
    let scene = of(Habit::Zot).await;
    let absent = Reply::error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry");
    scene.plan(Rule::new(On::tags()).answer(absent));
    assert!(!scene.tags_as(&known()).await.is_present());
    assert!(scene.look_as(&known(), "v1").await.is_present());
}

#[tokio::test(start_paused = true)]
async fn zot_answers_404_where_a_list_shall_go_on_after_an_unknown_tag() {
    let scene = Scene::with_app(Auth::Open).await;
    scene.registry.adopt(Habit::Zot);
    let page = Reply::json(StatusCode::OK, "{\"name\":\"acme/app\",\"tags\":[\"v0\",\"v1\"]}");
    let page = page.header("link", "</v2/acme/app/tags/list?last=v9&n=2>; rel=\"next\"");
    scene.plan(Rule::new(On::tags()).answer(page));
    // Neither the whole list nor a missing repository.
    doubt(&scene.tags_as(&anonymous()).await, DoubtKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn acr_takes_an_identity_token_by_post() {
    let scene = of(Habit::Acr).await;
    let access = identity_token(USER.1);
    assert!(scene.look_as(&access, "v1").await.is_present());
    assert_eq!(scene.look_as(&access, "v2").await, Sighting::Missing);
    let posts = scene
        .registry
        .count(|request| request.info.operation == Operation::Token && request.info.method == Method::POST);
    assert_eq!(posts, 1);
}
