//! `tidegate registry ping`: what answers at a repository, how it wants to be asked, and what to do when it does not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::cli::args::{PingArgs, PlainFormat};
use crate::cli::credential_helper::DockerConfigFile;
use crate::cli::error::{CliError, Result};
use crate::cli::hint::{self, Source};
use crate::cli::printer::{Palette, Tone};
use crate::cli::{Context, exit};
use crate::model::sighting::Doubt;
use crate::model::{DoubtKind, Sighting};
use crate::registry::origin::{Found, Origin};
use crate::registry::{Access, Challenge, Client, CredentialSource as _, Probe};
use crate::telemetry::clock::Clock;

/// For the whole conversation: each of its at most six requests has a limit of its own, and a person waits.
const PING_LIMIT: Duration = Duration::from_secs(30);

/// What `-o json|yaml` prints: a stable contract, as that of `check`.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// As it was given.
    repository: String,
    /// Scheme, host and port that were asked.
    address: String,
    /// For example `HTTP/2.0`; null when nothing answered.
    http_version: Option<String>,
    /// Of the last request; null when nothing answered.
    round_trip_ms: Option<f64>,
    /// Null when the registry asked for nothing.
    challenge: Option<ChallengeReport>,
    /// Where the credential came from.
    credential: CredentialReport,
    /// Null when no token was got.
    token: Option<TokenReport>,
    /// The first page of tags.
    tags: TagsReport,
    /// Null when there was no tag to ask for.
    manifest: Option<ManifestReport>,
    /// Headers about the rate limit.
    rate_limit: BTreeMap<String, String>,
    /// `Ok`, `Missing` or `CouldNotTell`.
    verdict: Verdict,
    /// Why it is not `Ok`; null otherwise.
    reason: Option<String>,
    /// The one next step.
    next: String,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChallengeReport {
    /// `Basic` or `Bearer`.
    scheme: &'static str,
    /// Address of the token server, as the registry wrote it.
    realm: Option<String>,
    service: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct CredentialReport {
    /// `DockerConfig`, `Helper` or `None`.
    source: &'static str,
    /// The docker config file that was looked into.
    file: Option<String>,
    /// The key of its entry.
    key: Option<String>,
    /// The credential helper that it names.
    helper: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenReport {
    /// As it is believed: the least of what its server said (60 when nothing), what it says of itself, and an hour.
    expires_in_secs: i64,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TagsReport {
    /// `Present`, `Missing`, `Broken` or `Unknown`.
    state: &'static str,
    /// Tags on the first page.
    first_page: Option<usize>,
    /// Tags per page that were asked for and not refused; null when the registry takes no page size.
    page_size: Option<u32>,
    /// A `Link` header names a next page.
    has_link: Option<bool>,
    reason: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestReport {
    tag: String,
    /// `Present`, `Missing`, `Broken` or `Unknown`.
    state: &'static str,
    /// What the answer to HEAD carried; null when it carried none.
    head_digest: Option<String>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Verdict {
    Ok,
    Missing,
    CouldNotTell,
}

/// Asks, prints and returns the exit code.
///
/// # Errors
/// When the report cannot be printed.
pub fn run(args: &PingArgs, context: &Context) -> Result<u8> {
    let origin = Origin::of(context.environment.docker_config_file.as_deref(), &args.repository);
    let source = Source { repository: args.repository.clone(), origin, secret: None, ping: None };
    let report = report(ask(args, context)?.as_ref(), &source);
    let text = match args.output {
        PlainFormat::Table => table(&report, context.printer.data_colors()),
        PlainFormat::Json => serde_json::to_string_pretty(&report)
            .map(|json| json + "\n")
            .map_err(|error| CliError::new("failed to write JSON").caused_by(&error))?,
        PlainFormat::Yaml => serde_saphyr::to_string(&report)
            .map_err(|error| CliError::new("failed to write YAML").caused_by(&error))?,
    };
    context.printer.data(&text)?;
    Ok(report.verdict.code())
}

/// The probe; `None` when it took too long.
fn ask(args: &PingArgs, context: &Context) -> Result<Option<Probe>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new("failed to start").caused_by(&error))?;
    Ok(runtime.block_on(async {
        let credentials = DockerConfigFile::of(&context.environment).credentials(&args.repository).await;
        let access = Access { credentials, insecure: args.insecure, ..Access::default() };
        let client = Client::new(Clock::system());
        let probe = client.probe(&access, &args.repository, args.tag.as_ref());
        tokio::time::timeout(PING_LIMIT, probe).await.ok()
    }))
}

fn report(probe: Option<&Probe>, source: &Source) -> Report {
    let late = || {
        let host = source.repository.host();
        let secs = PING_LIMIT.as_secs();
        Sighting::Unknown(Doubt::new(DoubtKind::Transient, format!("{host} took longer than {secs} s")))
    };
    let obstacle = probe.map_or_else(late, Probe::obstacle);
    let (verdict, next) = judge(probe, &obstacle, source);
    let tags = probe.map(|probe| &probe.tags);
    let page = tags.and_then(Sighting::present);
    let manifest = probe.and_then(|probe| probe.manifest.as_ref());
    Report {
        repository: source.repository.to_string(),
        address: probe.map(|probe| probe.address.clone()).unwrap_or_default(),
        http_version: probe.and_then(|probe| probe.http_version.clone()),
        round_trip_ms: probe.and_then(|probe| probe.round_trip).map(milliseconds),
        challenge: probe.and_then(|probe| probe.challenge.as_ref()).map(ChallengeReport::of),
        credential: CredentialReport::of(&source.origin),
        token: probe.and_then(|probe| probe.token).map(|life| TokenReport { expires_in_secs: life.secs }),
        tags: TagsReport {
            state: tags.map_or("Unknown", Sighting::word),
            first_page: page.map(|page| page.tags),
            page_size: page.and_then(|page| page.page_size),
            has_link: page.map(|page| page.has_link),
            reason: tags.and_then(Sighting::why).map(ToOwned::to_owned),
        },
        manifest: manifest.map(|(tag, head)| ManifestReport {
            tag: tag.to_string(),
            state: head.word(),
            head_digest: head.present().and_then(|head| head.digest.as_ref()).map(ToString::to_string),
            reason: head.why().map(ToOwned::to_owned),
        }),
        rate_limit: probe.map(|probe| probe.rate_limit.clone()).unwrap_or_default(),
        verdict,
        reason: obstacle.why().map(ToOwned::to_owned),
        next,
    }
}

/// The verdict and the one next step.
fn judge(probe: Option<&Probe>, obstacle: &Sighting<()>, source: &Source) -> (Verdict, String) {
    let repository = &source.repository;
    match obstacle {
        Sighting::Unknown(doubt) => (Verdict::CouldNotTell, hint::unknown(doubt, Some(source))),
        Sighting::Missing | Sighting::Broken(_) => {
            let next = match probe.and_then(|probe| probe.manifest.as_ref()) {
                Some((tag, _)) => format!("push {repository}:{tag}, or ask for another tag with `--tag`"),
                None => format!("push an image to {repository}, or correct its name"),
            };
            (Verdict::Missing, next)
        }
        Sighting::Present(()) => {
            let head = probe.and_then(|probe| probe.manifest.as_ref()).and_then(|(_, head)| head.present());
            let next = match head {
                None => format!("push an image to {repository}; there is no tag to look at yet"),
                Some(head) if head.digest.is_none() => {
                    "as HEAD carries no digest, each look at a tag costs a GET; nothing to do".to_owned()
                }
                Some(_) => "nothing to do".to_owned(),
            };
            (Verdict::Ok, next)
        }
    }
}

/// To a hundredth: loopback answers within one.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

fn table(report: &Report, palette: Palette) -> String {
    let rows = [
        ("ADDRESS", address(report)),
        ("CHALLENGE", challenge(report)),
        ("CREDENTIAL", credential(&report.credential)),
        ("TOKEN", token(report)),
        ("TAGS", tags(&report.tags)),
        ("MANIFEST", manifest(report)),
        ("RATE LIMIT", rate_limit(report)),
    ];
    let mut text = format!("{}\n\n", palette.paint(Tone::Strong, &report.repository));
    for (name, value) in rows {
        text.push_str(&palette.paint(Tone::Faint, name));
        text.push_str(&" ".repeat(13 - name.len()));
        text.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        text.push('\n');
    }
    let (tone, words) = match report.verdict {
        Verdict::Ok => (Tone::Good, "Ok"),
        Verdict::Missing => (Tone::Bad, "Missing"),
        Verdict::CouldNotTell => (Tone::Doubtful, "Could not tell"),
    };
    text.push_str(&format!("\n{}: {}\n", palette.paint(tone, words), report.next));
    text
}

fn address(report: &Report) -> String {
    match (&report.http_version, report.round_trip_ms) {
        (Some(version), Some(ms)) => format!("{} {version}, round trip {ms} ms", report.address),
        _ => format!("{} does not answer", report.address),
    }
}

fn challenge(report: &Report) -> String {
    match &report.challenge {
        None if report.verdict == Verdict::CouldNotTell => "none seen".to_owned(),
        None => "none: it asks for no credential".to_owned(),
        Some(ChallengeReport { scheme, realm, service }) => {
            let part = |name: &str, value: &Option<String>| {
                value.as_ref().map(|value| format!(", {name} {value}")).unwrap_or_default()
            };
            format!("{scheme}{}{}", part("realm", realm), part("service", service))
        }
    }
}

fn credential(credential: &CredentialReport) -> String {
    let Some(file) = &credential.file else { return "none: no docker config file is known".to_owned() };
    match (&credential.key, &credential.helper) {
        (Some(key), _) => format!("entry {key} of {file}"),
        (None, Some(helper)) => format!("credential helper {helper}, named by {file}"),
        (None, None) => format!("none: nothing for this repository in {file}"),
    }
}

fn token(report: &Report) -> String {
    match &report.token {
        None => "none".to_owned(),
        Some(token) => format!("got one, good for {} s", token.expires_in_secs),
    }
}

fn tags(tags: &TagsReport) -> String {
    let Some(count) = tags.first_page else {
        return tags.reason.clone().unwrap_or_else(|| tags.state.to_ascii_lowercase());
    };
    let size = match tags.page_size {
        Some(size) => format!("page size {size} accepted"),
        None => "no page size accepted".to_owned(),
    };
    let link = if tags.has_link == Some(true) { "Link to the next page" } else { "no Link" };
    format!("{count} on the first page, {size}, {link}")
}

fn manifest(report: &Report) -> String {
    let Some(manifest) = &report.manifest else { return "not asked: no tag is known".to_owned() };
    let what = match (manifest.state, &manifest.head_digest) {
        ("Present", Some(digest)) => format!("HEAD carries the digest {digest}"),
        ("Present", None) => "HEAD carries no digest".to_owned(),
        (state, _) => manifest.reason.clone().unwrap_or_else(|| state.to_ascii_lowercase()),
    };
    format!("{}: {what}", manifest.tag)
}

fn rate_limit(report: &Report) -> String {
    let shown: Vec<String> =
        report.rate_limit.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if shown.is_empty() { "none told".to_owned() } else { shown.join(", ") }
}

// === impl Verdict ===

impl Verdict {
    fn code(self) -> u8 {
        match self {
            Self::Ok => exit::OK,
            Self::Missing => exit::BLOCKED,
            Self::CouldNotTell => exit::COULD_NOT_TELL,
        }
    }
}

// === impl ChallengeReport ===

impl ChallengeReport {
    fn of(challenge: &Challenge) -> Self {
        match challenge {
            Challenge::Basic => Self { scheme: "Basic", realm: None, service: None },
            Challenge::Bearer { realm, service } => {
                Self { scheme: "Bearer", realm: Some(realm.clone()), service: service.clone() }
            }
        }
    }
}

// === impl CredentialReport ===

impl CredentialReport {
    fn of(origin: &Origin) -> Self {
        let (source, key, helper) = match &origin.found {
            Found::Key(key) => ("DockerConfig", Some(key.clone()), None),
            Found::Helper(helper) => ("Helper", None, Some(helper.clone())),
            Found::NoFile | Found::Unusable | Found::NoEntry => ("None", None, None),
        };
        let file = origin.file.as_ref().map(|file| file.display().to_string());
        Self { source, file, key, helper }
    }
}
