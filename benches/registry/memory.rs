//! Memory of a process that lists 50,000 tags: the kernel's count, in a process that does nothing else.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::routing::get;
use tidegate::model::Repository;
use tidegate::registry::{Access, Client, Registry as _};
use tidegate::telemetry::clock::Clock;

use crate::numbers::{Row, table};

const TAGS: usize = 50_000;
const LIMIT_MIB: f64 = 32.0;

/// Measures a list in pages of 1,000, and the whole list in one answer as docker-registry gives it.
pub fn measure() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let host = runtime.block_on(serve());
    let row = |what: &str, repository: &str| {
        let (above_mib, idle_mib, tags) = child(&host, repository);
        assert_eq!(tags, TAGS, "the list is whole");
        let measured = format!("{above_mib:.1} MiB above {idle_mib:.1} MiB");
        Row::new(what, measured, format!("≤ {LIMIT_MIB} MiB above idle"), above_mib <= LIMIT_MIB)
    };
    table(
        "Peak memory of listing 50,000 tags of 56 bytes",
        &[row("in pages of 1,000 with Link", "shop/paged"), row("all in one answer", "shop/whole")],
    )
}

/// A tag as CI writes it: branch, commit, time.
fn tag(number: usize) -> String {
    format!("main-{:040x}-{:010}", number * 0x9e37_79b9, 1_700_000_000 + number)
}

/// `shop/paged`, `shop/whole` and `shop/one`, which holds a single tag.
async fn serve() -> String {
    let tags: &'static [String] = Vec::leak((0..TAGS).map(tag).collect());
    let body = |tags: &[String]| serde_json::json!({"name": "shop", "tags": tags}).to_string();
    let (whole, one) = (body(tags), body(&tags[..1]));
    let paged = move |State(tags): State<&'static [String]>, Query(query): Query<Vec<(String, String)>>| async move {
        let of = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let size: usize = of("n").and_then(|n| n.parse().ok()).unwrap_or(TAGS);
        let from = of("last").map_or(0, |last| tags.partition_point(|tag| *tag <= last));
        let to = (from + size).min(TAGS);
        let mut headers = HeaderMap::new();
        if to < TAGS {
            let link = format!("</v2/shop/paged/tags/list?n={size}&last={}>; rel=\"next\"", tags[to - 1]);
            headers.insert(header::LINK, link.parse().expect("a header"));
        }
        (headers, serde_json::json!({"name": "shop", "tags": &tags[from..to]}).to_string())
    };
    let router = Router::new()
        .route("/v2/shop/paged/tags/list", get(paged))
        .route("/v2/shop/whole/tags/list", get(move || async move { whole }))
        .route("/v2/shop/one/tags/list", get(move || async move { one }))
        .with_state(tags);
    let listener =
        tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    address.to_string()
}

/// MiB above idle, MiB at idle, and how many tags were listed, by a process of its own.
fn child(host: &str, repository: &str) -> (f64, f64, usize) {
    let output = Command::new(std::env::current_exe().expect("this program is a file"))
        .args([crate::LIST, host, repository])
        .stderr(Stdio::inherit())
        .output()
        .expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u32> = text.split_whitespace().map(|word| word.parse().expect("numbers")).collect();
    let [idle_kib, peak_kib, tags] = numbers[..] else { panic!("the child printed {text:?}") };
    let mib = |kib: u32| f64::from(kib) / 1024.0;
    (mib(peak_kib - idle_kib), mib(idle_kib), tags as usize)
}

/// The child: lists a repository of one tag, notes its memory, lists the large one.
pub fn list(args: &[String]) {
    let [host, repository] = args else { panic!("two arguments, not {args:?}") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let clock = Clock::system();
        let client = Client::new(clock.clone());
        let access = Access { insecure: true, ..Access::default() };
        let small: Repository = format!("{host}/shop/one").parse().expect("a repository");
        let large: Repository = format!("{host}/{repository}").parse().expect("a repository");
        assert!(
            client.tags(&access, &small, clock.now()).await.sighting.is_present(),
            "the small list is there"
        );
        let idle_kib = of_status("VmRSS:");
        let listed = client.tags(&access, &large, clock.now()).await;
        let tags = listed.sighting.present().map_or(0, |list| list.len());
        println!("{idle_kib} {} {tags}", of_status("VmHWM:"));
    });
}

/// A field of this process's status, in KiB.
fn of_status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
    line.and_then(|kib| kib.trim().parse().ok()).expect("the field is there")
}
