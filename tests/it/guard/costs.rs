//! What the longest list costs: the bounds of `guard::list` hold on the API server's own budget.

use serde_json::json;
use tidegate::guard::list::{ALLOWED_MAX, DATA_MAX_BYTES, REPOSITORIES_MAX};

use super::world::{World, deployment};

const SUITE: &str = "guard";

#[tokio::test]
async fn the_longest_list_and_the_largest_workload_are_judged() {
    let Some(world) = World::start(SUITE, json!({})).await else { return };
    let repository = |at: usize| format!("ghcr.io/acme/{at:05}");
    let mut repositories: String = (0..REPOSITORIES_MAX).map(|at| repository(at) + "\n").collect();
    let width = (DATA_MAX_BYTES - repositories.len()) / ALLOWED_MAX - 1;
    let line = |at: usize| format!("{:x<width$}\n", format!("ghcr.io/acme/00000:v{at}"));
    let allowed: String = (0..ALLOWED_MAX).map(line).collect();
    repositories.push_str("last/one\n");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tidegate-guard"},
        "data": {"repositories": repositories, "allowed": allowed, "open": ""}});
    assert_eq!(world.create(&world.controller, map).await.0, 201);
    world.until_refused("ghcr.io/acme/00000:evil").await;
    // Every image of its own repository, none of them promoted: each is looked for in the whole list.
    let refused: Vec<String> =
        (0..64).map(|at| format!("{}:{}", repository(REPOSITORIES_MAX - 1 - at), "e".repeat(128))).collect();
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    let begun = tokio::time::Instant::now();
    let (code, words) = world.dry(&world.client, deployment("worst", &refused)).await;
    println!("64 images × {ALLOWED_MAX} lines of {width} bytes: {:?}", begun.elapsed());
    assert_eq!(code, 403, "{words}");
    assert!(words.contains("and 63 more"), "{words}");
    // The longest that is judged at all, of everything that a name can hold.
    let long: Vec<String> = (0..64)
        .map(|at| format!("GHCR.io:443/{}/x:{}@sha256:{}", "acme/".repeat(180), "t".repeat(80), at))
        .collect();
    let long: Vec<&str> =
        long.iter().map(String::as_str).chain(["ghcr.io/acme/00000:evil"]).skip(1).collect();
    let (code, words) = world.dry(&world.client, deployment("long", &long)).await;
    assert_eq!(code, 403, "{words}");
    let last = line(ALLOWED_MAX - 1).trim().to_owned();
    let passes: Vec<&str> = std::iter::repeat_n(&*last, 64).collect();
    assert_eq!(world.dry(&world.client, deployment("worst", &passes)).await.0, 201);
    let (code, words) =
        world.dry(&world.client, deployment("more", &[refused.as_slice(), &["nginx"]].concat())).await;
    assert!(code == 403 && words.contains("more than 64 images"), "{words}");
    let long = format!("ghcr.io/acme/00000:{}", "x".repeat(200_000));
    let (code, words) = world.dry(&world.client, deployment("long", &[&long])).await;
    assert_eq!(code, 403, "{}", &words[..words.len().min(300)]);
}
