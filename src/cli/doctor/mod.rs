//! `tidegate doctor`: what will not work, or will be undone, about an installation, its namespaces and their ReleaseSets.
//!
//! ```text
//!   gather (all I/O) ─▶ facts ─▶ checks (each pure, one file) ─▶ finding::Report ─▶ table or JSON
//! ```
//!
//! Reads only. A check never asks anything itself: what it needs is gathered before and stands in what it is given. What
//! could not be read is a finding that says why, never a guess.

pub mod args;
pub mod checks;
pub mod facts;
pub mod finding;
pub mod gather;

use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, ListParams};

use crate::api::ReleaseSet;
use crate::cli::cluster::{Cluster, Found};
use crate::cli::doctor::args::{DoctorArgs, DoctorFormat};
use crate::cli::doctor::checks::{CHECKS, Examine, PlaceSubject, Subject, Whole};
use crate::cli::doctor::facts::{Facts, Place, SetFacts};
use crate::cli::doctor::finding::{Finding, Report, Severity};
use crate::cli::doctor::gather::Wanted;
use crate::cli::error::{CliError, Result};
use crate::cli::explain::explain;
use crate::cli::lint::counted;
use crate::cli::{Context, exit};
use crate::telemetry::clock::Clock;
use crate::telemetry::kube_call::call;

/// Sets of one page of a list: kubectl's own chunk.
const PAGE: u32 = 500;
/// Most sets that are checked: ten times what one controller is measured with, and a screen that nobody reads.
const SETS_MAX: usize = 10_000;
/// Name of the check that a set can be read at all.
pub const READABLE: &str = "readable";
/// How long nothing is said: below it a command seems quick (three times the time of one call to a cluster far away).
const QUIET: Duration = Duration::from_secs(1);

/// Checks one set, all of a namespace, or all: exit code 0 unless a check failed.
///
/// # Errors
/// When there is no cluster or no such set, the API server does not answer, or `--path` cannot be read.
pub fn run(args: &DoctorArgs, context: &Context) -> Result<u8> {
    let markers = args.path.as_deref().map(gather::markers).transpose()?;
    let runtime = crate::cli::check::runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::connect(args.namespace.as_deref(), context.program).await?;
        let objects = match &args.name {
            Some(name) => vec![cluster.get(name).await?.object],
            None => all(&cluster, args.all_namespaces).await?,
        };
        let clock = Clock::system();
        let (mut sets, mut unreadable) = (Vec::new(), Vec::new());
        for object in objects {
            match Found::new(object.clone()) {
                Ok(found) => sets.push(found),
                Err(error) => unreadable.push(self::unreadable(&object, &error)),
            }
        }
        let wanted = Wanted {
            controller_namespace: args.controller_namespace.as_deref(),
            asks_registries: !args.no_registry,
        };
        let gathering = Box::pin(gather::gather(cluster.client(), &clock, &sets, wanted));
        let mut facts = slowly(gathering, sets.len(), context).await;
        facts.markers = markers;
        let namespace = if args.all_namespaces { "" } else { cluster.namespace() };
        let count = sets.len() + unreadable.len();
        let mut findings = examine(&sets, &facts, &clock, context.program);
        findings.extend(unreadable);
        let report = Report { namespace: namespace.to_owned(), findings };
        print(&report, count, args, context)
    })
}

/// Says what is being done when it takes long.
async fn slowly<T>(work: impl Future<Output = T>, sets: usize, context: &Context) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(QUIET) => {}
    }
    let sets = counted(sets, "ReleaseSet");
    context
        .printer
        .note(&format!("asking the cluster, and the registries of {sets}; a lease is watched for up to 6 s"));
    work.await
}

async fn all(cluster: &Cluster, everywhere: bool) -> Result<Vec<DynamicObject>> {
    let api = if everywhere {
        Api::all_with(cluster.client(), &ApiResource::erase::<ReleaseSet>(&()))
    } else {
        cluster.sets().clone()
    };
    let place =
        if everywhere { "all namespaces".to_owned() } else { format!("namespace {}", cluster.namespace()) };
    let mut objects = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = call(api.list(&params))
            .await
            .map_err(|error| cluster.refused(&format!("list the ReleaseSets of {place}"), &error))?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if objects.len() < SETS_MAX => params = params.continue_token(&token),
            _ => return Ok(objects),
        }
    }
}

fn unreadable(object: &DynamicObject, error: &CliError) -> Finding {
    let finding = Finding::new(Severity::Fail, error.to_string()).next(error.next_step().unwrap_or_default());
    Finding {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        release_set: object.metadata.name.clone().unwrap_or_default(),
        check: READABLE,
        ..finding
    }
}

/// Everything that the checks find. Pure but for the clock that `explain` reads.
fn examine(sets: &[Found], facts: &Facts, clock: &Clock, program: &'static str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let whole = Whole { installation: &facts.installation, sets, program };
    for check in CHECKS {
        if let Examine::Installation(examine) = check.examine {
            findings.extend(examine(&whole).into_iter().map(|found| Finding { check: check.name, ..found }));
        }
    }
    for place in facts.places.values() {
        let subject = PlaceSubject { place, installation: &facts.installation };
        for check in CHECKS {
            if let Examine::Place(examine) = check.examine {
                let named =
                    |found| Finding { namespace: place.namespace.clone(), check: check.name, ..found };
                findings.extend(examine(&subject).into_iter().map(named));
            }
        }
    }
    for found in sets {
        findings.extend(of_set(found, facts, clock, program));
    }
    findings
}

fn of_set(found: &Found, facts: &Facts, clock: &Clock, program: &'static str) -> Vec<Finding> {
    let (nowhere, nothing) = (Place::default(), SetFacts::default());
    let key = gather::key(found);
    let explanation = explain(found, clock.now(), program);
    let subject = Subject {
        found,
        next_action: &explanation.next_action,
        program,
        installation: &facts.installation,
        place: facts.places.get(&key.0).unwrap_or(&nowhere),
        facts: facts.sets.get(&key).unwrap_or(&nothing),
        markers: facts.markers.as_ref(),
    };
    let mut findings = Vec::new();
    for check in CHECKS {
        if let Examine::Set(examine) = check.examine {
            let (namespace, release_set) = key.clone();
            let named = |finding| Finding {
                namespace: namespace.clone(),
                release_set: release_set.clone(),
                check: check.name,
                ..finding
            };
            findings.extend(examine(&subject).into_iter().map(named));
        }
    }
    findings
}

fn print(report: &Report, sets: usize, args: &DoctorArgs, context: &Context) -> Result<u8> {
    let text = match args.output {
        DoctorFormat::Table => report.table(context.printer.data_colors()),
        DoctorFormat::Json => serde_json::to_string_pretty(report)
            .map(|json| json + "\n")
            .map_err(|error| CliError::new("failed to write JSON").caused_by(&error))?,
    };
    context.printer.data(&text)?;
    let (failed, warned) = (report.count(Severity::Fail), report.count(Severity::Warn));
    let what = match (sets, report.namespace.as_str()) {
        (0, "") => "no namespace has a ReleaseSet".to_owned(),
        (0, namespace) => format!("namespace {namespace} has no ReleaseSet"),
        _ => counted(sets, "ReleaseSet"),
    };
    let untold = match report.count(Severity::Unknown) {
        0 => String::new(),
        count => format!(", {count} could not be told"),
    };
    let (failures, warnings) = (counted(failed, "failure"), counted(warned, "warning"));
    context.printer.note(&format!("{what}: {failures}, {warnings}{untold}"));
    Ok(if failed == 0 { exit::OK } else { exit::ERROR })
}
