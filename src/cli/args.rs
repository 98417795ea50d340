//! What the command line accepts. Words of `--help` are written for a person who reads them once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::duration;
use crate::cli::audit::args::AuditArgs;
use crate::cli::completions::CompletionsFor;
use crate::cli::demo::scenarios;
use crate::cli::doctor::args::DoctorArgs;
use crate::cli::exit;
use crate::cli::hands::args::{PinArgs, RetryArgs, SetsArgs, SkipArgs};
use crate::cli::init::args::InitArgs;
use crate::cli::printer::ColorChoice;
use crate::cli::smoke_exec::SmokeCommand;
use crate::controller::context::SMOKE_RUNNING_ALL_MAX;
use crate::engine::gates::SMOKE_RUNNING_MAX;
use crate::model::{Repository, Tag};

/// Heading of the options that every command takes.
const GLOBAL: &str = "Global options";

/// Promotes a tag only when every sibling image exists and is tested
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = exit::HELP,
    long_about = "Makes GitOps releases all-or-nothing: a tag that several images share is promoted only when \
                  every sibling exists in its registry for every required platform, at pinned digests, and its \
                  gates passed."
)]
pub struct Cli {
    /// Leave out notes and hints; errors are always printed
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// When to use colour: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true, help_heading = GLOBAL)]
    pub color: ColorChoice,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what would become of a release, without a cluster
    #[command(
        after_help = exit::HELP,
        long_about = "Looks at the registries and says what would become of a release: the same look and the same \
                      decision as the controller's, without a cluster and without writing anything. Without --tag \
                      the candidate is chosen as the controller would, with nothing promoted before.\n\n\
                      In CI: `check -f releaseset.yaml --tag \"$TAG\"` succeeds once every sibling of TAG is there."
    )]
    Check(CheckArgs),
    /// Check until the release would be promoted, or the time is up
    #[command(
        after_help = exit::HELP,
        long_about = "Does what `check` does until the release would be promoted, and asks only for what is not there \
                      yet, at the controller's pace. It ends early when waiting does not help: a gate failed, \
                      another tag is newer, the set is held. On a terminal it shows the matrix as it fills, otherwise \
                      one line for each change. Ctrl+C ends it with what is known."
    )]
    Wait(WaitArgs),
    /// Say why a ReleaseSet in a cluster stands where it stands, and what to do next
    #[command(
        long_about = "Reads a ReleaseSet from the cluster that kubectl uses and says why it stands where it \
                            stands: what is promoted, which image is there for which platform, what the gates say, \
                            how long it has been so, what is left of the deadline, when the next look is due, and \
                            the one next action. Everything is read from status and spec; no registry is asked."
    )]
    Explain(ExplainArgs),
    /// Find out what will not work, or will be undone, about ReleaseSets in a cluster
    #[command(
        after_help = "Exit codes: 0 no check failed (warnings are no failures), 1 a check failed or there was an error, 2 usage",
        long_about = "Checks the installation in the cluster that kubectl uses, the namespaces that hold ReleaseSets, and the \
                      ReleaseSets: the CRD, who leads, rights, the guard, fields that Git undoes, conditions, targets, \
                      deadlocks and suspended objects of Flux, markers, patterns, registries, clocks. Each finding says \
                      what, why and what to do; what cannot be read is said to be unknown. Reads only."
    )]
    Doctor(DoctorArgs),
    /// Hold ReleaseSets: no commit, no new test, no target write until `resume`
    #[command(
        after_help = exit::HANDS_HELP,
        long_about = "Sets spec.suspend: no commit, no new smoke Job and no target write, drift correction included, \
                      until `resume`. What is promoted stays. Looks at registries go on; a running Job ends and its \
                      verdict is kept. The change is shown first. kustomize-controller leaves the field alone as \
                      long as Git omits it."
    )]
    Suspend(SetsArgs),
    /// Let suspended ReleaseSets go on
    #[command(
        after_help = exit::HANDS_HELP,
        long_about = "Removes spec.suspend: commits, tests and target writes go on, beginning with what is due. The \
                      change is shown first."
    )]
    Resume(SetsArgs),
    /// Promote exactly this tag, newer or older, and nothing else until `unpin`
    #[command(
        after_help = exit::HANDS_HELP,
        long_about = "Sets spec.pin: this tag is promoted as soon as it is complete and its required gates passed, and \
                      nothing else until `unpin`. An older tag is how to go back. The change is shown first, and \
                      whether the tag is older or newer than what is promoted. kustomize-controller leaves the field \
                      alone as long as Git omits it."
    )]
    Pin(PinArgs),
    /// Let the policy choose again; a release that was rolled back from stays away
    #[command(
        after_help = exit::HANDS_HELP,
        long_about = "Removes spec.pin: candidates are chosen by policy again, and only those that are newer than every \
                      release before. So a release that was rolled back from stays away; to return to it, pin it. \
                      The change is shown first."
    )]
    Unpin(SetsArgs),
    /// Dismiss candidates, or take that back with --remove
    #[command(
        after_help = exit::HANDS_HELP,
        long_about = "Adds tags to spec.skip: they are never promoted without a pin, and nobody waits for them. What \
                      is promoted stays. At most 16 are kept; when there are more, those go first that are not newer \
                      than the newest release and stay away anyway. The change is shown first."
    )]
    Skip(SkipArgs),
    /// Run the failed tests of a smoke gate again, in the cluster
    #[command(
        after_help = exit::HANDS_HELP,
        long_about = "Has the failed tests of a smoke gate run again. A failed test counts until the image's \
                            digest or the gate changes; this raises the annotation retry.tidegate.dev/GATE of the \
                            ReleaseSet by one, and verdicts from before do not hold any more. Tests that passed \
                            are not run again. The change is shown first."
    )]
    Retry(RetryArgs),
    /// Ask registries directly
    #[command(subcommand, arg_required_else_help = true, disable_help_subcommand = true)]
    Registry(RegistryCommand),
    /// Find mistakes in ReleaseSet files
    #[command(after_help = "Exit codes: 0 no mistake (warnings are none), 1 mistakes, 2 usage")]
    Lint(LintArgs),
    /// Find images that share a tag in Flux manifests, and print a ReleaseSet for them
    #[command(
        after_help = "Exit codes: 0 there is a set, 1 error, or something could not be read, 2 usage, 3 no images share a tag",
        long_about = "Reads Flux and workload manifests and finds images that share a tag: those whose tag one \
                      ImagePolicy moves although it looks at one of them, and those of one owner that run the same \
                      tag. Prints a ReleaseSet that works unchanged, with the running tag as its floor, and on \
                      standard error the risk in words and the markers that must move, as a diff. Writes nothing."
    )]
    Init(InitArgs),
    /// Say how many of the last releases would have half-rolled without a set
    #[command(
        after_help = "Exit codes: 0 none would have, 1 error, 2 usage, 3 a release would have, or there is none, 7 could not tell",
        long_about = "Looks at the newest releases of a set in its registries alone, and says how many would have \
                      half-rolled if one image's tag had been followed without looking at its siblings, for how long, \
                      and which sibling was late or never came. Goes by when builds say that they made their images, \
                      which is not when these were pushed. Times that say nothing (reproducible builds) are told, \
                      never counted."
    )]
    Audit(AuditArgs),
    /// Print the CRD, for `kubectl apply --server-side -f -`
    Crd,
    /// Print the script by which a shell or kubectl completes commands
    #[command(
        after_help = "Exit codes: 0 done, 1 error, 2 usage",
        long_about = "Prints the script by which a shell completes commands and options. For bash: \
                      `source <(tidegate completions bash)`. For `kubectl tidegate`, save what `completions kubectl` \
                      prints as an executable kubectl_complete-tidegate on the PATH."
    )]
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands into a folder
    #[command(
        after_help = "Exit codes: 0 done, 1 error, 2 usage",
        long_about = "Prints the manual page tidegate(1): `tidegate man | man -l -`. With DIR it writes that page and one \
                      for each command, such as tidegate-check.1, into the folder."
    )]
    Man(ManArgs),
    /// Run the controller in a cluster, or against the one that kubectl uses
    Controller(ControllerArgs),
    /// Replay the incident, then its prevention, on an embedded registry and cluster
    Demo(DemoArgs),
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// How long to look; what was not answered by then is unknown
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = timeout)]
    pub timeout: Duration,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = timeout)]
    pub timeout: Duration,
}

/// What to look at, and how.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// The ReleaseSet, YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Look at this tag instead of choosing one
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Take this tag as the newest release so far: only newer ones are promoted
    #[arg(long, value_name = "TAG")]
    pub above: Option<Tag>,
    /// Do not read image configs: fewer requests, but platforms are believed as the index names them
    #[arg(long)]
    pub no_config: bool,
    /// Wait, with exit code 4, when a required smoke test was not run; without --smoke-exec none is
    #[arg(long)]
    pub require_smoke: bool,
    /// Run smoke tests by this command, for example "docker run --rm"; exit code 0 passes, anything else is exit code 4.
    /// The image by digest follows as its last argument, or stands where {image} does; then the gate's command and
    /// args. It sees what the test would (TIDEGATE_IMAGE and the like) as its own environment, and writes to standard
    /// error. Tests for another platform than this machine's are not run
    #[arg(long, value_name = "CMD")]
    pub smoke_exec: Option<SmokeCommand>,
    /// How to print the answer
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: ReportFormat,
}

/// Formats of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Table,
    /// For programs: a stable contract
    Json,
    /// The same as JSON
    Yaml,
    /// For pull requests and job summaries
    Markdown,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Name of the ReleaseSet
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Namespace of the ReleaseSet; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Go on and show every change, until Ctrl+C
    #[arg(short, long)]
    pub watch: bool,
    /// How to print it; JSON of --watch is one line for each change
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: ExplainFormat,
}

/// Formats of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For people
    Table,
    /// For programs: a stable contract
    Json,
}

/// The commands of `registry`.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Show what answers at a repository and how it wants to be asked
    #[command(
        after_help = "Exit codes: 0 a look would work, 2 usage, 3 the repository or tag is missing, 7 could not tell",
        long_about = "Asks a registry as a look does, with the credential of your docker config file, and shows what \
                      answers: the challenge, the token and its life, paging, rate limits, whether HEAD carries a \
                      digest. The last line says what to do next. Secrets are never shown."
    )]
    Ping(PingArgs),
}

/// Arguments of `registry ping`.
#[derive(Debug, Args)]
pub struct PingArgs {
    /// The repository, for example ghcr.io/acme/app
    #[arg(value_name = "HOST/REPO")]
    pub repository: Repository,
    /// Ask over plain HTTP
    #[arg(long)]
    pub insecure: bool,
    /// Ask for this tag; without it, for one of those that are listed
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// How to print the answer
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: PlainFormat,
}

/// Formats of what is no report on a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlainFormat {
    /// For people
    Table,
    /// For programs: a stable contract
    Json,
    /// The same as JSON
    Yaml,
}

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// The file, YAML or JSON, one or many documents; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// How to print what was found
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: LintFormat,
}

/// Formats of lint's findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// One finding a line
    Text,
    /// For programs
    Json,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Who completes
    #[arg(value_name = "SHELL")]
    pub shell: CompletionsFor,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the pages into this folder, which must exist
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Arguments of `controller`.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// Watch this namespace only; absent means all
    #[arg(long, value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Work on ReleaseSets with these labels only, as one shard of several; each set belongs into one
    #[arg(long, value_name = "SELECTOR", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub watch_label_selector: Option<String>,
    // In a pod it is the Deployment that says how many there are, and a rollout runs two at once. Whoever starts one by hand
    // has one, and may have no right to write Leases.
    /// Act only while this process holds a Lease, so that several can stand by; absent means true in a pod and false
    /// elsewhere
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: Option<bool>,
    /// Namespace of that Lease; absent means that of the pod, or of the kubeconfig's context
    #[arg(long, value_name = "NAMESPACE")]
    pub leader_election_namespace: Option<String>,
    // A reconcile mostly waits. Of 64 a host that does not answer holds eight (`look_room`), until its breaker opens after
    // 15 s at most.
    /// How many ReleaseSets are worked on at once
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// How many requests a second one registry host gets from all sets; twice as many at once after a rest
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub registry_requests_per_second_per_host: u32,
    /// Smoke tests of one ReleaseSet that run at once
    #[arg(long, value_name = "NUMBER", default_value_t = SMOKE_RUNNING_MAX, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub smoke_tests_per_set: u16,
    /// Smoke tests of all ReleaseSets together that run at once
    #[arg(long, value_name = "NUMBER", default_value_t = SMOKE_RUNNING_ALL_MAX, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub smoke_tests: u16,
    /// Where Flux's notification-controller takes events, as in Flux's own --events-addr; absent means that none are posted
    #[arg(long, value_name = "URL", value_parser = http_url)]
    pub flux_events_addr: Option<url::Url>,
    /// Keep the ConfigMap tidegate-guard in each namespace of a ReleaseSet: what the admission policies of the chart compare with
    #[arg(long)]
    pub guard: bool,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub http_addr: SocketAddr,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, also by module (`info,tidegate::registry=debug`)
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Formats of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Which scenario to play; `--list` prints their names
    #[arg(long, value_name = "NAME", default_value = scenarios::FOUNDING_INCIDENT, value_parser = scenarios::name)]
    pub scenario: String,

    /// Print the name of every scenario and what it shows, and play none
    #[arg(long, conflicts_with = "scenario")]
    pub list: bool,

    /// How to print the story
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: DemoFormat,
}

/// Formats of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoFormat {
    /// For a terminal
    Text,
    /// For a page
    Markdown,
}

fn http_url(text: &str) -> Result<url::Url, String> {
    let url: url::Url = text.parse().map_err(|error| format!("{error}: write http://HOST/"))?;
    if ["http", "https"].contains(&url.scheme()) { Ok(url) } else { Err("write http://HOST/".to_owned()) }
}

pub(in crate::cli) fn timeout(text: &str) -> Result<Duration, String> {
    let span = duration::parse(text).map_err(|error| format!("`{text}` {error}"))?;
    let span = Duration::try_from(span).map_err(|error| error.to_string())?;
    if span.is_zero() { Err("write at least 1s".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn time_is_written_as_in_a_spec() {
        assert_eq!(timeout("90s"), Ok(Duration::from_secs(90)));
        assert!(timeout("0s").is_err() && timeout("5").is_err());
    }
}
