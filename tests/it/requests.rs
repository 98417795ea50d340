//! What a set costs a registry, in requests (goal G3): on the embedded registry, on distribution v3 and on Debian's
//! docker-registry. The numbers of `docs/reference/performance.md` come from the same story.

use tidegate::embedded::registry::{Options, RegistryServer};
use tidegate::telemetry::clock::Clock;
use url::Url;

use crate::cli::fixture::Call;
use crate::cluster::counter::Counter;
use crate::cluster::push::Pusher;
use crate::cluster::registry::Registry;
use crate::cluster::story::{self, Costs};
use crate::cluster::watched::release_set;

const SUITE: &str = "requests";

async fn embedded() -> (RegistryServer, Url) {
    let registry = RegistryServer::start(Options::default(), Clock::system()).await.unwrap();
    let url = Url::parse(&format!("http://{}/", registry.host())).unwrap();
    (registry, url)
}

/// Cold, `check` asks for each index, each child and each config once.
async fn check_is_cheap(upstream: &Url) {
    story::push_all(&Pusher::new(upstream), "main-1").await;
    let counter = Counter::start(upstream).await;
    let set = release_set(&story::images_at(&counter.host()));
    for (more, expected) in [(&[][..], 15), (&["--no-config"][..], 9)] {
        let args: Vec<&str> = ["check", "-f", "-", "--tag", "main-1"].iter().chain(more).copied().collect();
        let (call, set) = (Call::new(&args), set.clone());
        let answer = tokio::task::spawn_blocking(move || call.stdin(set).answer()).await.unwrap();
        assert_eq!(answer.code, 0, "{}", answer.whole());
        let seen = counter.take();
        assert_eq!(seen.len(), expected, "{more:?}: {seen:#?}");
    }
}

async fn a_set_is_cheap(upstream: &Url) {
    let costs = story::tell(upstream).await;
    let allowed =
        Costs { release: 18, rest_max: 3, drift_max: 6, hot_max: 1, read_again: 0, repeated_early: 0 };
    assert!(costs.release <= allowed.release, "{costs:?}");
    assert_eq!(Costs { release: allowed.release, ..costs.clone() }, allowed, "{costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sequence_22_a_cold_check_is_cheap_on_every_registry() {
    let (_registry, url) = embedded().await;
    check_is_cheap(&url).await;
    for registry in Registry::start_each(SUITE).await {
        check_is_cheap(registry.url()).await;
    }
}

#[tokio::test]
async fn sequence_22_a_set_is_cheap_on_the_embedded_registry() {
    let (_registry, url) = embedded().await;
    a_set_is_cheap(&url).await;
}

#[tokio::test]
async fn a_set_is_cheap_on_real_registries() {
    for registry in Registry::start_each(SUITE).await {
        a_set_is_cheap(registry.url()).await;
    }
}
