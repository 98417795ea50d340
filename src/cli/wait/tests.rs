//! Waiting in virtual time, on an embedded registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Parser as _;

use super::*;
use crate::cli::args::{Cli, Command};
use crate::cli::env::Environment;
use crate::cli::printer::ColorChoice;
use crate::embedded::image::{Image, ImageDescription, ImagePlatform, Index};
use crate::embedded::registry::{Fault, Options, RegistryServer};

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Keeps the lines that a log would get.
#[derive(Default)]
struct Lines {
    last: Option<Report>,
    lines: Vec<String>,
}

impl Watcher for Lines {
    fn looked(&mut self, report: &Report, waited: Duration) {
        let last = self.last.replace(report.clone());
        let changes = changes(last.as_ref(), report).into_iter();
        self.lines.extend(changes.map(|change| format!("{:>7}  {change}", text(waited))));
    }
}

/// How a wait went.
struct Waited {
    end: End,
    code: u8,
    took: Duration,
    watched: Lines,
}

async fn registry() -> (RegistryServer, Clock) {
    let clock = Clock::following_tokio("2026-01-01T00:00:00Z".parse().unwrap());
    (RegistryServer::start(Options::default(), clock.clone()).await.unwrap(), clock)
}

fn push(registry: &RegistryServer, image: &str, tag: &str, platforms: &[&str]) {
    let child = |platform: &&str| -> Image {
        ImageDescription::new(ImagePlatform::parse(platform).unwrap(), format!("{image} {tag}")).build()
    };
    let revision =
        ("org.opencontainers.image.revision".to_owned(), if tag == "bad" { image } else { "1" }.to_owned());
    let index = Index::build(platforms.iter().map(child).collect(), &BTreeMap::from([revision]));
    registry.push_index(image, Some(tag), &index);
}

/// Waits with `args` on a set of `app` and `worker`, while `meanwhile` happens.
async fn wait(
    (registry, clock): (&RegistryServer, &Clock),
    more: &str,
    args: &[&str],
    meanwhile: impl Future<Output = ()>,
) -> Waited {
    let host = registry.host();
    let file = std::env::temp_dir().join(format!(
        "tidegate-wait-{}-{}.yaml",
        std::process::id(),
        registry.address().port()
    ));
    let images: Vec<String> = ["app", "worker"]
        .iter()
        .map(|image| {
            format!("{{name: {image}, repository: {host}/{image}, platforms: [linux/amd64, linux/arm64]}}")
        })
        .collect();
    let set = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: ReleaseSet\nmetadata: {{name: shop}}\nspec:\n  registry: {{insecure: true}}\n  \
         images: [{}]\n  candidates: {{policy: {{alphabetical: {{}}}}}}\n{more}",
        images.join(", ")
    );
    std::fs::write(&file, set).unwrap();
    let file = file.to_str().unwrap();
    let cli = Cli::try_parse_from(["tidegate", "wait", "-f", file].iter().chain(args)).unwrap();
    let Command::Wait(args) = cli.command else { panic!("{cli:?}") };
    let environment = Environment::default();
    let printer = Printer::new(&environment, ColorChoice::Never, true);
    let context = Context { program: "tidegate", printer, environment };
    let request = Request::read(&args.look, &context).unwrap();
    std::fs::remove_file(file).unwrap();
    let access = request.access(&context).await;
    let client = Client::new(clock.clone()).paced_by(Pace::of_one_command());
    let eyes = request.eyes(&client, &access, clock);
    let rounds = Rounds { request: &request, eyes, timeout: args.timeout };
    let (mut observation, mut watched) = (request.observation(), Lines::default());
    let started = Instant::now();
    let (end, ()) = futures::join!(rounds.run(&mut observation, &mut watched), meanwhile);
    let end = end.unwrap();
    let took = started.elapsed();
    let judgement = request.judged(&decide(&request.asked, &observation, clock.now()));
    Waited { end, code: ended(end, judgement).exit_code, took, watched }
}

async fn after(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_last_sibling_is_there_and_asks_only_for_what_is_not() {
    let (registry, clock) = registry().await;
    push(&registry, "app", "v1", &BOTH);
    let asked = |repository: &str| {
        let requests = registry.requests();
        requests.iter().filter(|request| request.info.repository.as_deref() == Some(repository)).count()
    };
    let (mut cold, mut resumed) = (0, 0);
    let waited = wait((&registry, &clock), "", &["--tag", "v1"], async {
        after(10).await;
        cold = asked("app");
        after(110).await;
        push(&registry, "worker", "v1", &["linux/amd64"]);
        after(60).await;
        resumed = asked("app");
        push(&registry, "worker", "v1", &BOTH);
    })
    .await;
    assert_eq!((waited.end, waited.code), (End::Answered, 0));
    assert!(waited.took < Duration::from_secs(180 + 12), "{:?}", waited.took);
    assert!(cold > 0 && resumed == cold, "app is known: {cold} requests, then {resumed}");
    insta::assert_snapshot!("lines", waited.watched.lines.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn it_times_out_and_says_so_by_its_exit_code() {
    let (registry, clock) = registry().await;
    push(&registry, "app", "v1", &BOTH);
    let waited = wait((&registry, &clock), "", &["--tag", "v1", "--timeout", "10m"], async {}).await;
    assert_eq!((waited.end, waited.code), (End::TimedOut, exit::TIMED_OUT));
    assert_eq!(waited.took, Duration::from_mins(10));
    // 20 in the first minute, then one for every twentieth of the age: 20 + 20 ln 10, and the cold look at app.
    let requests = registry.total();
    assert!((50..=80).contains(&requests), "{requests} requests");
}

/// A registry that never answers is not waited for beyond the time.
#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_ends_with_the_time() {
    let (registry, clock) = registry().await;
    registry.set_fault(Some(Arc::new(|_| Some(Fault::Delay(Duration::from_hours(1))))));
    let waited = wait((&registry, &clock), "", &["--tag", "v1", "--timeout", "5s"], async {}).await;
    assert_eq!(
        (waited.end, waited.code, waited.took),
        (End::TimedOut, exit::TIMED_OUT, Duration::from_secs(5))
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_early_when_waiting_does_not_help() {
    const GATE: &str =
        "  gates: [{name: same-commit, sameRevision: {key: org.opencontainers.image.revision}}]\n";
    const SMOKE: &str = "  gates: [{name: boots, smoke: {image: worker}}]\n";
    let (registry, clock) = registry().await;
    for tag in ["bad", "v1"] {
        push(&registry, "app", tag, &BOTH);
        push(&registry, "worker", tag, &BOTH);
    }
    for (more, args, code) in [
        (GATE, &["--tag", "bad"][..], exit::BLOCKED),
        ("  suspend: true\n", &["--tag", "v1"], exit::HELD),
        ("", &["--tag", "v1", "--above", "v1"], exit::BLOCKED),
        (SMOKE, &["--tag", "v1", "--require-smoke"], exit::SMOKE),
    ] {
        let waited = wait((&registry, &clock), more, args, async {}).await;
        assert_eq!((waited.end, waited.code), (End::Answered, code), "{more} {args:?}");
        assert!(waited.took < Duration::from_secs(5), "{:?}", waited.took);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_tag_it_waits_for_the_next_one() {
    let (registry, clock) = registry().await;
    let waited = wait((&registry, &clock), "", &[], async {
        after(90).await;
        push(&registry, "app", "v1", &BOTH);
        push(&registry, "worker", "v1", &BOTH);
    })
    .await;
    assert_eq!((waited.end, waited.code), (End::Answered, 0));
    assert!(waited.took < Duration::from_secs(160), "{:?}", waited.took);
}

/// A re-run build must not be blended with the first.
#[tokio::test(start_paused = true)]
async fn a_tag_that_moved_meanwhile_must_be_still_first() {
    let (registry, clock) = registry().await;
    push(&registry, "app", "v1", &["linux/amd64"]);
    let waited = wait((&registry, &clock), "", &["--tag", "v1"], async {
        after(30).await;
        // Another content under the same tag.
        let moved: Vec<Image> = BOTH
            .iter()
            .map(|platform| {
                ImageDescription::new(ImagePlatform::parse(platform).unwrap(), "app again").build()
            })
            .collect();
        registry.push_index("app", Some("v1"), &Index::build(moved, &BTreeMap::new()));
        push(&registry, "worker", "v1", &BOTH);
    })
    .await;
    assert_eq!((waited.end, waited.code), (End::Answered, 0));
    assert!(waited.took >= Duration::from_secs(90), "settle is 60 s: {:?}", waited.took);
    assert!(waited.took < Duration::from_secs(110), "{:?}", waited.took);
}

#[tokio::test(start_paused = true)]
async fn the_picture_on_a_terminal() {
    let (registry, clock) = registry().await;
    push(&registry, "app", "v1", &BOTH);
    push(&registry, "worker", "v1", &["linux/amd64"]);
    let waited = wait((&registry, &clock), "", &["--tag", "v1", "--timeout", "1m"], async {}).await;
    let report = waited.watched.last.unwrap();
    let (so_far, timeout) = (Duration::from_secs(72), Duration::from_mins(30));
    let plain = picture(&report, so_far, timeout, Some(Duration::from_millis(3_600)), Palette::PLAIN);
    let text = [plain, picture(&report, so_far, timeout, None, Palette::PLAIN)].join("---\n");
    insta::assert_snapshot!("picture", text.replace(&registry.host(), "registry.test"));
}
