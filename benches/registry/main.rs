//! `make bench-registry`: what Tidegate asks of registries and how long it takes, beside crane, regctl and skopeo.
//!
//! Numbers come from this command alone: it prints them and writes them between the markers of
//! docs/reference/performance.md. Nothing here judges but the column "goal".

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]
#![expect(clippy::print_stderr, reason = "and what it is at")]
#![expect(clippy::panic, clippy::expect_used, reason = "a benchmark that cannot measure has failed")]

mod check;
mod cluster;
mod machine;
mod memory;
mod numbers;
mod page;
mod sharing;

use cluster::registry::Registry;
use cluster::tools::Tools;
use numbers::Row;

/// Argument of the child process that [`memory`] starts.
const LIST: &str = "--list";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == LIST) {
        return memory::list(&args[at + 1..]);
    }
    let debian = find_docker_registry();
    let started = tokio::time::Instant::now();
    let versions = machine::versions(&debian);
    let mut blocks = vec![machine::block(&versions)];

    let many = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    eprintln!("cold check beside crane, regctl and skopeo …");
    blocks.push(many.block_on(async {
        let registry = Registry::run(&debian).await;
        check::measure(&registry).await
    }));
    drop(many);

    eprintln!("a release, at rest, with a sibling missing, refused …");
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let costs = one.block_on(async {
        let registry = Registry::run(&debian).await;
        cluster::story::tell(registry.url()).await
    });
    drop(one);
    blocks.push(story(&costs));

    eprintln!("1,000 sets over 50 repositories …");
    blocks.push(sharing::measure());

    eprintln!("a list of 50,000 tags …");
    blocks.push(memory::measure());

    let text = blocks.join("\n");
    println!("{text}");
    page::write(&text);
    eprintln!("took {} s", started.elapsed().as_secs());
}

fn find_docker_registry() -> std::path::PathBuf {
    let found = Tools::find(&["docker-registry"]);
    found
        .expect("docker-registry is there; run: hack/tools docker-registry")
        .path("docker-registry")
        .to_owned()
}

fn story(costs: &cluster::story::Costs) -> String {
    let most = |what: &str, number: usize, goal: usize| Row::count(what, number, goal);
    numbers::table(
        "Requests of one set: 3 images × 2 platforms on docker-registry",
        &[
            most("a whole release, from first look to commit, beside tag lists", costs.release, 18),
            most("at rest, per interval", costs.rest_max, 3),
            most("at rest, in the interval that looks at the promoted tags too", costs.drift_max, 6),
            most("per look while one sibling is missing, beside tag lists", costs.hot_max, 1),
            most("GETs of content that was read before", costs.read_again, 0),
            most(
                "requests repeated after a 429 before its Retry-After (90 s) was over",
                costs.repeated_early,
                0,
            ),
        ],
    )
}
