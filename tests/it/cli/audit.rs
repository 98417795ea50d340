//! `tidegate audit` against a registry over HTTP, with images that say when they were built.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::Fault;

use super::fixture::{Answer, BOTH, Call, Shop};

/// Pushes one image whose builds end at these times, one for each platform.
fn push(shop: &Shop, image: &str, tag: &str, times: &[&str]) {
    let images = BOTH.iter().zip(times).map(|(platform, at)| {
        let platform = ImagePlatform::parse(platform).expect("a platform");
        ImageDescription::new(platform, format!("{image} {tag}")).created(*at).build()
    });
    let index = Index::build(images.collect(), &BTreeMap::new());
    shop.registry.push_index(&format!("shop/{image}"), Some(tag), &index);
}

fn audit(shop: &Shop, args: &[&str]) -> Answer {
    let set = shop.release_set(", platforms: [linux/amd64, linux/arm64]", "");
    let args: Vec<&str> = ["audit", "-f", "-"].iter().chain(args).copied().collect();
    shop.same_everywhere(Call::new(&args).stdin(set).answer())
}

/// Five releases of an autumn day: whole, worker late, embeddings never, reproducible, worker's arm64 late.
fn history(shop: &Shop) {
    let at = |time: &'static str| [time, time];
    let builds = [
        ("main-1", ["2024-10-01T10:05:00Z", "2024-10-01T10:00:00Z", "2024-10-01T10:01:00Z"]),
        ("main-2", ["2024-10-02T10:05:00Z", "2024-10-02T10:17:30Z", "2024-10-02T10:01:00Z"]),
        ("main-3", ["2024-10-03T10:05:00Z", "2024-10-03T10:00:00Z", ""]),
        ("main-4", ["2024-10-04T10:05:00Z", "1970-01-01T00:00:00Z", "2024-10-04T10:05:00Z"]),
    ];
    for (tag, times) in builds {
        for (image, time) in ["app", "worker", "embeddings"].iter().zip(times) {
            if !time.is_empty() {
                push(shop, image, tag, &at(time));
            }
        }
    }
    push(shop, "app", "main-5", &at("2024-10-05T10:05:00Z"));
    push(shop, "worker", "main-5", &["2024-10-05T10:00:00Z", "2024-10-05T10:14:00Z"]);
    push(shop, "embeddings", "main-5", &at("2024-10-05T10:00:00Z"));
    shop.registry.push_index("shop/app", Some("buildcache"), &Index::build(Vec::new(), &BTreeMap::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_of_the_past_are_judged_by_their_own_times() {
    let shop = Shop::open().await;
    history(&shop);
    for format in ["table", "json"] {
        insta::assert_snapshot!(format!("audit_{format}"), audit(&shop, &["-o", format]).whole());
    }
    insta::assert_snapshot!("audit_watched", audit(&shop, &["--watched", "worker", "--last", "2"]).whole());
    let whole = audit(&shop, &["--watched", "nobody"]);
    assert_eq!(whole.code, 1, "{}", whole.whole());
    assert!(whole.stderr.contains("name one of app, worker, embeddings"), "{}", whole.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_bounded_by_what_was_asked_for() {
    let shop = Shop::open().await;
    history(&shop);
    shop.registry.clear_log();
    audit(&shop, &["--last", "1"]);
    // One list; of each of three images an index, two manifests and two configs.
    assert!(shop.registry.total() <= 1 + 3 * 5, "{:#?}", shop.registry.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_does_not_answer_cannot_be_told() {
    let shop = Shop::open().await;
    for (tag, day) in [("main-1", "01"), ("main-2", "02")] {
        for image in ["app", "worker", "embeddings"] {
            let minute = if image == "app" { "05" } else { "00" };
            let time = format!("2024-10-{day}T10:{minute}:00Z");
            push(&shop, image, tag, &[&time, &time]);
        }
    }
    assert_eq!(audit(&shop, &[]).code, 0);
    shop.registry.set_fault(Some(Arc::new(|request| {
        (request.repository.as_deref() == Some("shop/worker")).then(|| Fault::Respond {
            status: http::StatusCode::FORBIDDEN,
            headers: Vec::new(),
            body: Bytes::new(),
        })
    })));
    let answer = audit(&shop, &["-o", "json"]);
    assert_eq!(answer.code, 7, "{}", answer.whole());
    let report: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&report["summary"]["cannotTell"], &report["summary"]["halfRolled"]), (&2.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_refers_to_flux_is_audited_beside_its_flux_objects() {
    let shop = Shop::open().await;
    history(&shop);
    let host = shop.registry.host();
    let object = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    let set = shop
        .release_set(", platforms: [linux/amd64, linux/arm64]", "")
        .replace(&format!("repository: {host}/shop/app"), "imageRepositoryRef: {name: app}");
    let alone = Call::new(&["audit", "-f", "-"]).stdin(set.as_str()).answer();
    assert_eq!(alone.code, 1, "{}", alone.whole());
    assert!(alone.stderr.contains("one more `-f`"), "{}", alone.stderr);
    let repository = object(
        "ImageRepository",
        "app",
        &format!("{{image: {host}/shop/app, insecure: true, interval: 5m}}"),
    );
    let beside = Call::new(&["audit", "-f", "-"]).stdin(format!("{set}{repository}")).answer();
    assert_eq!(beside.code, 3, "{}", beside.whole());
    assert!(beside.stdout.contains("3 of 5 releases would have half-rolled"), "{}", beside.stdout);
}
