//! `--smoke-exec CMD`: smoke gates run by a command of the user's, for example `docker run --rm`.
//!
//! The engine says which tests there are and takes the verdicts in, bound to the same digests as those of Jobs; here
//! a command stands for the Job. There is no shell: words are split as a shell would, and nothing is expanded.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::api::duration;
use crate::cli::check::Request;
use crate::cli::error::{CliError, Result};
use crate::controller::look::Eyes;
use crate::engine::decision::Decision;
use crate::engine::observation::Observation;
use crate::model::smoke::{Hindrance, HindranceKind, SmokeExpect, SmokeRequest, SmokeVerdict};
use crate::model::{SmokeOutcome, SmokeView};
use crate::smoke::environment;

/// What stands for the image reference in the words of the command.
const PLACEHOLDER: &str = "{image}";
/// Between two looks whether the command ended: short beside any test.
const POLL: Duration = Duration::from_millis(20);
/// How long a command that was told to end may take: the grace period of `docker stop`.
const GRACE: Duration = Duration::from_secs(10);
/// Most rounds of testing: each ends at least one of 16 gates on 16 platforms.
const ROUNDS_MAX: usize = 256;
/// Variables that steer the command itself. A gate's `env` is meant for the container, and whoever may edit the file
/// must not rule the machine that checks it.
const STEERING: [&str; 8] =
    ["PATH", "HOME", "SHELL", "IFS", "ENV", "BASH_ENV", "KUBECONFIG", "REGISTRY_AUTH_FILE"];
/// Beginnings of such names.
const STEERING_PREFIXES: [&str; 6] = ["LD_", "DYLD_", "DOCKER_", "CONTAINER_", "PODMAN_", "XDG_"];

/// A command that tests an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeCommand {
    program: String,
    words: Vec<String>,
}

/// How one run of the command ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Exited(ExitStatus),
    TimedOut,
    /// It still ran after the time that a service must stay up; it was ended then.
    StayedUp,
}

/// What one run may take.
#[derive(Clone, Copy)]
struct Limits {
    timeout: Duration,
    stays_up: Option<Duration>,
}

/// A running command; ended when this is dropped, so that none outlives a wait.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl SmokeCommand ===

impl FromStr for SmokeCommand {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut words = shlex::split(text).ok_or("a quote in it is not closed")?.into_iter();
        let program = words.next().ok_or("name a command, for example `docker run --rm`")?;
        Ok(Self { program, words: words.collect() })
    }
}

impl SmokeCommand {
    /// The words that test `request`, without the program: the reference where the placeholder stands, else at the end; then
    /// the gate's own command and arguments.
    fn arguments(&self, request: &SmokeRequest) -> Vec<String> {
        let image = format!("{}@{}", request.repository, request.digest);
        let mut words: Vec<String> =
            self.words.iter().map(|word| word.replace(PLACEHOLDER, &image)).collect();
        if !self.words.iter().any(|word| word.contains(PLACEHOLDER)) {
            words.push(image);
        }
        words.extend(request.test.command.iter().chain(&request.test.args).cloned());
        words
    }

    /// Runs the test as often as its gate allows, until it passes. What cannot be run here says so.
    async fn test(
        &self,
        request: &SmokeRequest,
        eyes: &Eyes<'_>,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<SmokeView> {
        if let Some(message) = not_here(request) {
            let why = Hindrance { kind: HindranceKind::Unschedulable, message };
            return Ok(SmokeView::NoVerdict { why, run: request.run, again: None });
        }
        let arguments = self.arguments(request);
        let spoken = std::iter::once(self.program.as_str()).chain(arguments.iter().map(String::as_str));
        let spoken = shlex::try_join(spoken).unwrap_or_else(|_| self.program.clone());
        let (environment, left_out) = own_environment(request);
        for name in left_out {
            say(&format!(
                "env {name} of gate {} is left out: it would steer {} itself",
                request.gate, self.program
            ));
        }
        let limits = Limits::of(request);
        let mut last = None;
        for attempt in 1..=request.test.attempts.max(1) {
            let of = if request.test.attempts > 1 {
                format!(", attempt {attempt} of {}", request.test.attempts)
            } else {
                String::new()
            };
            say(&format!("gate {} on {}{of}: {spoken}", request.gate, request.platform));
            let ended = self.run(&arguments, &environment, limits).await?;
            let verdict = verdict(request, &ended, eyes, limits);
            if verdict.outcome == SmokeOutcome::Passed {
                return Ok(SmokeView::Ended(verdict));
            }
            last = Some(SmokeView::Ended(verdict));
        }
        last.ok_or_else(|| CliError::new(format!("gate {} has no attempts", request.gate)))
    }

    async fn run(
        &self,
        arguments: &[String],
        environment: &[(String, String)],
        limits: Limits,
    ) -> Result<Ended> {
        let cannot = |error: &io::Error| {
            CliError::new(format!("failed to run `{}`", self.program))
                .caused_by(error)
                .hint("`--smoke-exec` takes a command that can be run here, for example `docker run --rm`")
        };
        let mut command = Command::new(OsStr::new(&self.program));
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        // Standard output is for the report.
        command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr())).stderr(Stdio::inherit());
        let child = command.spawn().map_err(|error| cannot(&error))?;
        let (mut running, ended) = Running::watch(child, limits);
        let ended = ended.await;
        running.join();
        match ended {
            Ok(Ok(ended)) => Ok(ended),
            Ok(Err(error)) => Err(cannot(&error)),
            Err(_) => Err(CliError::new(format!("failed to follow `{}`", self.program))),
        }
    }
}

/// Runs every test of the chosen candidate that can start, and takes the verdicts in, until none is left.
///
/// # Errors
/// When the command cannot be run.
pub(in crate::cli) async fn run_all(
    command: &SmokeCommand,
    request: &Request<'_>,
    eyes: &Eyes<'_>,
    observation: &mut Observation,
    mut decision: Decision,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Decision> {
    for _ in 0..ROUNDS_MAX {
        let chosen = request.judged(&decision).report.tag;
        let tests: Vec<SmokeRequest> =
            decision.start.iter().filter(|test| is_of(&decision, chosen.as_deref(), test)).cloned().collect();
        if tests.is_empty() {
            break;
        }
        for test in tests {
            let view = command.test(&test, eyes, say).await?;
            observation.smoke.insert(test.binding, view);
        }
        decision = eyes.judge(&request.asked, observation).await;
    }
    Ok(decision)
}

/// True when the test is of the candidate with this tag.
fn is_of(decision: &Decision, tag: Option<&str>, test: &SmokeRequest) -> bool {
    let candidate = decision.followed.iter().find(|candidate| Some(candidate.tag.as_str()) == tag);
    candidate.is_some_and(|candidate| {
        let images = candidate.images.iter().filter(|image| image.name == test.image);
        let mut cells = images.flat_map(|image| &image.cells);
        let same =
            cells.any(|cell| cell.platform == test.platform && cell.sighting.present() == Some(&test.digest));
        same && test.release.as_ref().is_none_or(|release| release.tag == candidate.tag)
    })
}

/// Why a test cannot be run on this machine.
fn not_here(request: &SmokeRequest) -> Option<String> {
    let here = native_architecture();
    let platform = &request.platform;
    if platform.os() != "linux" || platform.architecture() != here {
        return Some(format!("this machine runs linux/{here}"));
    }
    match &request.test.expect {
        SmokeExpect::StaysUp { http_get: Some(_), .. } => {
            Some("its httpGet is asked in a cluster only".to_owned())
        }
        _ => None,
    }
}

/// The architecture of this machine's containers, by its OCI name.
fn native_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The Job's environment without what would steer the command itself, and the names of those.
fn own_environment(request: &SmokeRequest) -> (Vec<(String, String)>, Vec<String>) {
    let steers = |name: &str| {
        let upper = name.to_ascii_uppercase();
        STEERING.contains(&upper.as_str())
            || upper.ends_with("_PROXY")
            || STEERING_PREFIXES.iter().any(|prefix| upper.starts_with(prefix))
    };
    let (left_out, passed): (Vec<_>, Vec<_>) =
        environment(request).into_iter().partition(|(name, _)| steers(name));
    (passed, left_out.into_iter().map(|(name, _)| name).collect())
}

fn verdict(request: &SmokeRequest, ended: &Ended, eyes: &Eyes<'_>, limits: Limits) -> SmokeVerdict {
    let span =
        |span: Duration| duration::Text(jiff::SignedDuration::try_from(span).unwrap_or_default()).to_string();
    let (outcome, exit_code, message) = match (ended, limits.stays_up) {
        (Ended::StayedUp, _) => (SmokeOutcome::Passed, None, "passed".to_owned()),
        (Ended::TimedOut, _) => {
            (SmokeOutcome::TimedOut, None, format!("timed out after {}", span(limits.timeout)))
        }
        (Ended::Exited(status), Some(stays_up)) => (
            SmokeOutcome::Failed,
            status.code(),
            format!("did not stay up for {}: {}", span(stays_up), words(*status)),
        ),
        (Ended::Exited(status), None) if status.success() => {
            (SmokeOutcome::Passed, Some(0), "passed".to_owned())
        }
        (Ended::Exited(status), None) => (SmokeOutcome::Failed, status.code(), words(*status)),
    };
    SmokeVerdict {
        binding: request.binding.clone(),
        outcome,
        at: eyes.clock.now(),
        exit_code,
        message,
        retry: request.run.retry,
        log: None,
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

// === impl Limits ===

impl Limits {
    fn of(request: &SmokeRequest) -> Self {
        let span = |span: jiff::SignedDuration| Duration::try_from(span).unwrap_or_default();
        let stays_up = match &request.test.expect {
            SmokeExpect::StaysUp { stays_up, .. } => Some(span(*stays_up)),
            SmokeExpect::ExitsZero => None,
        };
        Self { timeout: span(request.test.timeout), stays_up }
    }
}

// === impl Running ===

impl Running {
    /// Follows `child` on a thread of its own: std knows no wait with a limit.
    fn watch(mut child: Child, limits: Limits) -> (Self, oneshot::Receiver<io::Result<Ended>>) {
        let (sender, receiver) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // Nobody waits any more: the wait's own time is up.
            let _late = sender.send(follow(&mut child, limits, &stopped));
        });
        (Self { stop, thread: Some(thread) }, receiver)
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; if it did, the answer is missing and said so.
            let _ended = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

fn follow(child: &mut Child, limits: Limits, stop: &AtomicBool) -> io::Result<Ended> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Exited(status));
        }
        let elapsed = started.elapsed();
        if limits.stays_up.is_some_and(|stays_up| elapsed >= stays_up) {
            end(child)?;
            return Ok(Ended::StayedUp);
        }
        if elapsed >= limits.timeout || stop.load(Ordering::Relaxed) {
            end(child)?;
            return Ok(Ended::TimedOut);
        }
        std::thread::sleep(POLL);
    }
}

/// Tells the command to end, as `docker run` passes on to its container, and ends it when it does not.
fn end(child: &mut Child) -> io::Result<()> {
    let told = Instant::now();
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        let _gone = kill_process(pid, Signal::TERM);
    }
    while told.elapsed() < GRACE {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    child.kill()?;
    child.wait().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would_and_nothing_is_expanded() {
        let command: SmokeCommand = "docker run --rm -e 'A=b c' $HOME".parse().unwrap();
        assert_eq!(command.program, "docker");
        assert_eq!(command.words, ["run", "--rm", "-e", "A=b c", "$HOME"]);
        for wrong in ["", "  ", "docker 'run"] {
            assert!(wrong.parse::<SmokeCommand>().is_err(), "{wrong}");
        }
    }

    fn followed(script: &str, limits: Limits, stop: bool) -> Ended {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
        follow(&mut child, limits, &AtomicBool::new(stop)).unwrap()
    }

    #[test]
    fn a_command_ends_by_itself_or_is_ended() {
        let limits = Limits { timeout: Duration::from_secs(30), stays_up: None };
        let soon = Duration::from_millis(50);
        let Ended::Exited(status) = followed("exit 3", limits, false) else { panic!() };
        assert_eq!(status.code(), Some(3));
        assert_eq!(followed("exec sleep 60", Limits { timeout: soon, ..limits }, false), Ended::TimedOut);
        assert_eq!(
            followed("exec sleep 60", Limits { stays_up: Some(soon), ..limits }, false),
            Ended::StayedUp
        );
        assert_eq!(followed("exec sleep 60", limits, true), Ended::TimedOut, "nobody waits any more");
    }
}
