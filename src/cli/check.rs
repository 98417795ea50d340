//! `tidegate check`: looks with the controller's eyes and says what would become of a release. Writes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::manifest::Manifest;
use crate::api::references::References;
use crate::api::v1alpha1::RegistryAccess;
use crate::api::validate;
use crate::cli::args::{CheckArgs, LookArgs};
use crate::cli::credential_helper::DockerConfigFile;
use crate::cli::error::{CliError, Result};
use crate::cli::hint::{Source, Sources};
use crate::cli::input::Input;
use crate::cli::judge::{self, Judgement, Terms};
use crate::cli::{Context, render, smoke_exec};
use crate::controller::look::Eyes;
use crate::engine::clearance::Floor;
use crate::engine::decide;
use crate::engine::decision::Decision;
use crate::engine::observation::Observation;
use crate::engine::order::Source as CandidateSource;
use crate::engine::policy::{Place, Policy};
use crate::engine::record::Record;
use crate::model::{ImageName, Tag};
use crate::registry::origin::Origin;
use crate::registry::{Access, Client, CredentialSource as _, Depth, Pace};
use crate::telemetry::clock::Clock;

/// Generation of a spec that comes from a file.
const NO_GENERATION: i64 = 0;

/// What is looked at: one valid ReleaseSet and how the person wants it looked at.
pub(in crate::cli) struct Request<'a> {
    args: &'a LookArgs,
    manifest: Manifest,
    policy: Policy,
    /// The policy to look with: a tag that was asked for is pinned.
    pub asked: Policy,
    sources: Sources,
}

/// Looks, prints the report and returns the exit code of its verdict.
///
/// # Errors
/// When there is no valid ReleaseSet to look at, or the report cannot be printed.
pub fn run(args: &CheckArgs, context: &Context) -> Result<u8> {
    let request = Request::read(&args.look, context)?;
    let (decision, ran_out) = look(&request, args.timeout, context)?;
    if ran_out {
        let secs = args.timeout.as_secs();
        context.printer.note(&format!("stopped after {secs} s: what was not answered by then is unknown"));
    }
    request.print(request.judged(&decision), context)
}

// === impl Request ===

impl<'a> Request<'a> {
    /// Reads the file and says what of it cannot be had without a cluster.
    ///
    /// # Errors
    /// When there is no valid ReleaseSet in it.
    pub fn read(args: &'a LookArgs, context: &Context) -> Result<Self> {
        let input = Input::read(&args.file)?;
        let manifest = only_one(&input, context)?;
        let policy = validate::policy(&manifest.spec, NO_GENERATION).map_err(|problems| {
            let error = CliError::new(format!("{} is not a valid ReleaseSet", input.name));
            problems
                .iter()
                .fold(error, |error, problem| error.because(problem.to_string()))
                .hint("edit the fields named above, then run this again")
        })?;
        for (source, instead) in cluster_sources(&manifest) {
            context
                .printer
                .note(&format!("{source} cannot be read without a cluster, using {instead} instead"));
        }
        readable_here(&policy, args.tag.is_some())?;
        let asked = pinned(&policy, args.tag.as_ref())?;
        let sources = sources(&manifest, &policy, context);
        Ok(Self { args, manifest, policy, asked, sources })
    }

    /// Nothing seen yet, above the floor that was given.
    pub fn observation(&self) -> Observation {
        let floor = self.args.above.clone().map(|tag| Floor { tag, key: String::new() });
        // Smoke tests are run here one by one, however many could start.
        let smoke_running_max = Some(usize::MAX);
        let record = Record { floor, ..Record::default() };
        Observation { record, smoke_running_max, ..Observation::default() }
    }

    /// How much of each image is read.
    pub fn depth(&self) -> Depth {
        if self.args.no_config { Depth::Manifests } else { Depth::Configs }
    }

    /// How each image is reached.
    pub async fn access(&self, context: &Context) -> BTreeMap<ImageName, Access> {
        access(&self.manifest, &self.policy, context).await
    }

    /// What one command looks with: there is no other set to take turns with.
    pub fn eyes<'b>(
        &self,
        registry: &'b Client,
        access: &'b BTreeMap<ImageName, Access>,
        clock: &'b Clock,
    ) -> Eyes<'b> {
        Eyes { registry, access, depth: self.depth(), clock, line: None }
    }

    /// The decision in words.
    pub fn judged(&self, decision: &Decision) -> Judgement {
        let terms = Terms {
            set: &self.manifest.name,
            policy: &self.policy,
            tag: self.args.tag.as_ref(),
            above: self.args.above.as_ref(),
            require_smoke: self.args.require_smoke,
            smoke_exec: self.args.smoke_exec.is_some(),
            sources: &self.sources,
        };
        judge::judge(terms, decision)
    }

    /// Looks once at what is due, and runs the smoke tests that can start then.
    ///
    /// # Errors
    /// When the command of `--smoke-exec` cannot be run.
    pub async fn round(
        &self,
        eyes: &Eyes<'_>,
        observation: &mut Observation,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Decision> {
        let decision = eyes.judge(&self.asked, observation).await;
        self.tested(eyes, observation, decision, say).await
    }

    async fn tested(
        &self,
        eyes: &Eyes<'_>,
        observation: &mut Observation,
        decision: Decision,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Decision> {
        match &self.args.smoke_exec {
            Some(command) => smoke_exec::run_all(command, self, eyes, observation, decision, say).await,
            None => Ok(decision),
        }
    }

    /// One tag is asked for, whatever comes after it.
    pub fn is_of_one_tag(&self) -> bool {
        self.args.tag.is_some() || self.policy.pin.is_some()
    }

    /// Prints the answer and gives its exit code.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn print(&self, judgement: Judgement, context: &Context) -> Result<u8> {
        let Judgement { report, exit_code, hint, notes } = judgement;
        context.printer.data(&render::report(&report, self.args.output, context.printer.data_colors())?)?;
        for note in &notes {
            context.printer.note(note);
        }
        if let Some(hint) = hint {
            context.printer.hint(&hint);
        }
        Ok(exit_code)
    }
}

/// The one ReleaseSet of a file.
fn only_one(input: &Input, context: &Context) -> Result<Manifest> {
    let mut manifests = input.manifests().map_err(|misread| {
        let place = input.place(misread.line, misread.column);
        let error =
            CliError::new(format!("failed to read a ReleaseSet from {place}")).because(&misread.message);
        match input.snippet(&misread) {
            Some(snippet) => error.because(snippet),
            None => error,
        }
        .hint(format!("`{} crd` says what every field means", context.program))
    })?;
    if manifests.len() > 1 {
        let names: Vec<&str> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
        return Err(CliError::new(format!("{} holds {} ReleaseSets", input.name, names.len()))
            .because(names.join(", "))
            .hint("`check` answers for one: give it a file with one ReleaseSet"));
    }
    manifests.pop().ok_or_else(|| CliError::new(format!("{} holds no ReleaseSet", input.name)))
}

/// The first object of each kind that the spec names for a registry, with what stands in for it here.
fn cluster_sources(manifest: &Manifest) -> Vec<(String, &'static str)> {
    const DOCKER_CONFIG: &str = "your docker config";
    let spec = &manifest.spec;
    let first = |kind: &str, of: fn(RegistryAccess) -> Option<String>| {
        let name =
            spec.images.iter().find_map(|image| of(References::default().registry_access(spec, image)));
        name.map(|name| format!("{kind} `{name}`"))
    };
    let kinds: [(Option<String>, &str); 4] = [
        (first("Secret", |registry| registry.secret_ref.map(|secret| secret.name)), DOCKER_CONFIG),
        (first("ServiceAccount", |registry| registry.service_account_name), DOCKER_CONFIG),
        (
            first("Secret", |registry| registry.cert_secret_ref.map(|secret| secret.name)),
            "the system's CAs (or those of SSL_CERT_FILE)",
        ),
        (
            first("Secret", |registry| registry.proxy_secret_ref.map(|secret| secret.name)),
            "HTTPS_PROXY of your environment",
        ),
    ];
    kinds.into_iter().filter_map(|(source, instead)| Some((source?, instead))).collect()
}

/// The policy under which `tag` is looked at whatever the order says, as if it were pinned.
fn pinned(policy: &Policy, tag: Option<&Tag>) -> Result<Policy> {
    let Some(tag) = tag else { return Ok(policy.clone()) };
    let mut parts = (**policy).clone();
    parts.pin = Some(tag.clone());
    Policy::new(parts).map_err(|problems| {
        let error = CliError::new(format!("failed to look at {tag}"));
        problems.iter().fold(error, |error, problem| error.because(problem.to_string()))
    })
}

/// What a file refers to in a cluster cannot be judged from the file alone.
fn readable_here(policy: &Policy, has_tag: bool) -> Result<()> {
    let untold = policy.images.iter().find_map(|image| match &image.place {
        Place::Untold { reference, .. } => Some(reference),
        Place::At(_) => None,
    });
    if let Some(reference) = untold {
        return Err(CliError::new(format!("{reference} is read in a cluster only")).hint(
            "write `repository` in a copy of the file, or look at the set in its cluster with `explain`",
        ));
    }
    if policy.candidates.source == CandidateSource::Named && !has_tag {
        return Err(CliError::new("candidates.policyRef names candidates in a cluster only")
            .hint("name the tag to judge with `--tag`, or look at the set in its cluster with `explain`"));
    }
    Ok(())
}

/// How each image is reached: `insecure` from the file, the credentials from the user's docker config file and the
/// helpers that it names.
async fn access(manifest: &Manifest, policy: &Policy, context: &Context) -> BTreeMap<ImageName, Access> {
    let spec = &manifest.spec;
    let source = DockerConfigFile::of(&context.environment);
    let mut access = BTreeMap::new();
    for (image, written) in policy.images.iter().zip(&spec.images) {
        let insecure = References::default().registry_access(spec, written).insecure;
        let Some(repository) = image.place.repository() else { continue };
        let credentials = source.credentials(repository).await;
        access.insert(image.name.clone(), Access { credentials, insecure, ..Access::default() });
    }
    access
}

/// As whom each image is asked, for the sentences about what could not be told.
fn sources(manifest: &Manifest, policy: &Policy, context: &Context) -> Sources {
    let spec = &manifest.spec;
    let file = context.environment.docker_config_file.as_deref();
    let images = policy.images.iter().zip(&spec.images).filter_map(|(image, written)| {
        let repository = image.place.repository()?;
        let wanted = References::default().registry_access(spec, written);
        let insecure = if wanted.insecure { " --insecure" } else { "" };
        let source = Source {
            repository: repository.clone(),
            origin: Origin::of(file, repository),
            secret: wanted.secret_ref.map(|secret| secret.name),
            ping: Some(format!("{} registry ping {}{insecure}", context.program, repository)),
        };
        Some((image.name.clone(), source))
    });
    images.collect()
}

/// Looks until nothing is left to ask or the time is up; the flag says that it was.
fn look(request: &Request<'_>, timeout: Duration, context: &Context) -> Result<(Decision, bool)> {
    let runtime = runtime()?;
    let clock = Clock::system();
    let mut observation = request.observation();
    runtime.block_on(async {
        let client = Client::new(clock.clone()).paced_by(Pace::of_one_command());
        let mut access = BTreeMap::new();
        let judged = async {
            access = request.access(context).await;
            request.eyes(&client, &access, &clock).judge(&request.asked, &mut observation).await
        };
        // What was seen so far is judged all the same; the rest is Unknown.
        let Some(decision) = within(timeout, judged).await else {
            return Ok((decide(&request.asked, &observation, clock.now()), true));
        };
        // Tests have limits of their own.
        let eyes = request.eyes(&client, &access, &clock);
        let mut say = |text: &str| context.printer.note(text);
        Ok((request.tested(&eyes, &mut observation, decision, &mut say).await?, false))
    })
}

/// What a command that mostly waits for answers runs on.
pub(in crate::cli) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new("failed to start").caused_by(&error))
}

async fn within<T>(timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(timeout, future).await.ok()
}
