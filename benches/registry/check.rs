//! A cold `tidegate check` beside loops over crane, regctl and skopeo: whole processes, one after the other, in turn.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::time::Instant;

use crate::cluster::counter::Counter;
use crate::cluster::push::Pusher;
use crate::cluster::registry::Registry;
use crate::cluster::story::{IMAGES, PLATFORMS, images_at, push_all};
use crate::cluster::tools::Tools;
use crate::cluster::watched::release_set;
use crate::numbers::{Row, Sample, table};

/// Counted runs; one more goes before them.
const RUNS: usize = 10;
const TAG: &str = "main-1";

/// One way of asking the six questions.
struct Peer {
    name: &'static str,
    what: &'static str,
    program: PathBuf,
    /// Arguments for one image on one platform; none for a program that is called once.
    each: fn(reference: &str, os: &str, architecture: &str) -> Vec<Vec<String>>,
    once: Option<Vec<&'static str>>,
    /// Requests that the issue expects of it.
    expected: usize,
    /// Our wall time shall be at most a fifth of its.
    has_goal: bool,
}

/// Milliseconds and requests of the runs of one peer.
#[derive(Default)]
struct Runs {
    millis: Vec<f64>,
    requests: Vec<usize>,
    /// Processor time of the commands themselves, all runs together, in ticks of 10 ms.
    own_ticks: u64,
    /// The same of the registry.
    registry_ticks: u64,
}

/// Measures all in turn, `RUNS` times; wall times against the registry itself, requests through a counter.
pub async fn measure(registry: &Registry) -> String {
    push_all(&Pusher::new(registry.url()), TAG).await;
    let counter = Counter::start(registry.url()).await;
    let peers = peers();
    let mut runs: Vec<Runs> = peers.iter().map(|_| Runs::default()).collect();
    for run in 0..=RUNS {
        for (peer, runs) in peers.iter().zip(&mut runs) {
            let (own, theirs) = (ticks_of_children(), ticks_of_registry());
            let millis = peer.call(&registry.host());
            let (own, theirs) = (ticks_of_children() - own, ticks_of_registry() - theirs);
            peer.call(&counter.host());
            let requests = counter.take().len();
            if run > 0 {
                runs.own_ticks += own;
                runs.registry_ticks += theirs;
                runs.millis.push(millis);
                runs.requests.push(requests);
            }
        }
    }
    report(&peers, &runs)
}

fn peers() -> Vec<Peer> {
    let built = Tools::find(&["crane", "regctl"]).unwrap_or_else(|missing| {
        panic!("{} not built; run: hack/tools {}", missing.join(", "), missing.join(" "))
    });
    let mut peers = ours();
    peers.push(Peer {
        name: "crane loop",
        what: "`crane digest --platform`: index and child",
        program: built.path("crane").to_owned(),
        each: |reference, os, architecture| {
            let platform = format!("{os}/{architecture}");
            vec![words(&["digest", "--platform", &platform, reference])]
        },
        once: None,
        expected: 18,
        has_goal: true,
    });
    peers.push(Peer {
        name: "crane loop with configs",
        what: "`crane digest` and `crane config`: index, child and config",
        program: built.path("crane").to_owned(),
        each: |reference, os, architecture| {
            let platform = format!("{os}/{architecture}");
            let of = |command| words(&[command, "--platform", &platform, reference]);
            vec![of("digest"), of("config")]
        },
        once: None,
        expected: 42,
        has_goal: true,
    });
    peers.push(Peer {
        name: "regctl loop",
        what: "`regctl image digest --platform`: index and child",
        program: built.path("regctl").to_owned(),
        each: |reference, os, architecture| {
            let host = reference.split('/').next().unwrap_or_default();
            let (plain, platform) = (format!("reg={host},tls=disabled"), format!("{os}/{architecture}"));
            vec![words(&["--host", &plain, "image", "digest", "--platform", &platform, reference])]
        },
        once: None,
        expected: 18,
        has_goal: false,
    });
    let skopeo = PathBuf::from("/usr/bin/skopeo");
    if skopeo.exists() {
        peers.push(Peer {
            name: "skopeo loop",
            what: "`skopeo inspect`: index, child, config, tag list",
            program: skopeo,
            each: |reference, os, architecture| {
                let reference = format!("docker://{reference}");
                let platform = ["--override-os", os, "--override-arch", architecture];
                vec![words(&[&["inspect", "--tls-verify=false"][..], &platform, &[&reference]].concat())]
            },
            once: None,
            expected: 36,
            has_goal: true,
        });
    } else {
        eprintln!("skopeo is not installed, so it is left out; install it: apt-get install skopeo");
    }
    peers
}

/// With and without configs: the second looks at as much as the other tools do.
fn ours() -> Vec<Peer> {
    let peer = |name, what, more: &[&'static str], expected| Peer {
        name,
        what,
        program: PathBuf::from(env!("CARGO_BIN_EXE_tidegate")),
        each: |_, _, _| Vec::new(),
        once: Some([&["check", "-q", "-f", "-", "--tag", TAG][..], more].concat()),
        expected,
        has_goal: false,
    };
    vec![
        peer("`tidegate check --tag`", "index, child and config of each image and platform", &[], 15),
        peer("`tidegate check --tag --no-config`", "index and child", &["--no-config"], 9),
    ]
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn report(peers: &[Peer], runs: &[Runs]) -> String {
    let mut text = format!(
        "### Cold look at 3 images × 2 platforms on docker-registry, {RUNS} runs in turn\n\n\
         | command | looks at | requests | expected | wall median, ms | p99 = max, ms | min, ms | own CPU, ms | registry's CPU, ms |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for (peer, runs) in peers.iter().zip(runs) {
        let sample = Sample::new(runs.millis.clone());
        let (least, most) = (runs.requests.iter().min(), runs.requests.iter().max());
        let requests = match (least, most) {
            (Some(least), Some(most)) if least != most => format!("{least}–{most}"),
            (Some(least), _) => least.to_string(),
            _ => "-".to_owned(),
        };
        text.push_str(&format!(
            "| {} | {} | {requests} | {} | {:.1} | {:.1} | {:.1} | {} | {} |\n",
            peer.name,
            peer.what,
            peer.expected,
            sample.median(),
            sample.max(),
            sample.min(),
            // Ticks of 10 ms, as many runs: the mean in ms.
            runs.own_ticks * 10 / RUNS as u64,
            runs.registry_ticks * 10 / RUNS as u64
        ));
    }
    let ours = &runs[0];
    let mut rows = Vec::new();
    for (peer, theirs) in peers.iter().zip(runs).skip(2) {
        let (words, ratio) = ratio("check --tag", ours, peer, theirs);
        rows.push(if peer.has_goal {
            Row::new(&words, shown(&ratio), "≤ 1/5", ratio.median() >= 5.0)
        } else {
            Row::beside(&words, shown(&ratio))
        });
    }
    // The crane loop reads no configs: this is the pair that looks at the same.
    let (words, ratio) = ratio("check --tag --no-config", &runs[1], &peers[2], &runs[2]);
    rows.push(Row::beside(&words, shown(&ratio)));
    let most = |runs: &Runs| runs.requests.iter().max().copied().unwrap_or(usize::MAX);
    rows.push(Row::count("requests of a cold `check --tag`", most(&runs[0]), 15));
    rows.push(Row::count("requests of a cold `check --tag --no-config`", most(&runs[1]), 9));
    let millis = Sample::new(ours.millis.clone()).max();
    rows.push(Row::new("longest `check --tag`", format!("{millis:.1} ms"), "≤ 1 s", millis <= 1_000.0));
    format!("{text}\n{}", table("The same as ratios", &rows))
}

/// How many times as long theirs took, pair by pair, with the words for it.
fn ratio(command: &str, ours: &Runs, peer: &Peer, theirs: &Runs) -> (String, Sample) {
    let ratios = ours.millis.iter().zip(&theirs.millis).map(|(ours, theirs)| theirs / ours);
    let words = format!("wall time of `tidegate {command}` to that of the {}, pair by pair", peer.name);
    (words, Sample::new(ratios.collect()))
}

fn shown(ratio: &Sample) -> String {
    format!("1/{:.1} (1/{:.1} to 1/{:.1})", ratio.median(), ratio.min(), ratio.max())
}

// === impl Peer ===

impl Peer {
    /// Asks the registry at `host` all six questions; how long it took in milliseconds.
    fn call(&self, host: &str) -> f64 {
        let started = Instant::now();
        match &self.once {
            Some(args) => self.run(args, &release_set(&images_at(host))),
            None => {
                for (image, platform) in
                    IMAGES.iter().flat_map(|image| PLATFORMS.map(|platform| (image, platform)))
                {
                    let (os, architecture) = platform.split_once('/').expect("os/architecture");
                    let reference = format!("{host}/shop/{image}:{TAG}");
                    for args in (self.each)(&reference, os, architecture) {
                        self.run(&args, "");
                    }
                }
            }
        }
        started.elapsed().as_secs_f64() * 1_000.0
    }

    fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S], input: &str) {
        let mut child = Command::new(&self.program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A program that reads nothing closes it: no matter.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}: {stderr}", self.name, output.status);
    }
}

/// Processor time of all processes that this one started and that ended, in ticks of 10 ms.
fn ticks_of_children() -> u64 {
    ticks("self", 13)
}

/// Processor time of docker-registry, the child of a child of this process, in ticks of 10 ms.
fn ticks_of_registry() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has it").flatten();
    let watchdogs = tasks.flat_map(|task| numbers(&task.path().join("children")));
    let servers = watchdogs.flat_map(|pid| numbers(Path::new(&format!("/proc/{pid}/task/{pid}/children"))));
    let is_registry = |pid: &String| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "docker-registry"
    };
    servers.filter(is_registry).map(|pid| ticks(&pid, 11)).sum()
}

/// User and system time out of a process's `stat`: the field at `first`, counted from the state, and the next.
fn ticks(process: &str, first: usize) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(first).take(2);
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn numbers(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(ToOwned::to_owned).collect()
}
