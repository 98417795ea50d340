//! `tidegate doctor`: what will not work, or will be undone, about the ReleaseSets of a namespace.
//!
//! ```text
//!   cluster::Found ─▶ Subject ─▶ checks (each pure, one file) ─▶ finding::Report ─▶ table or JSON
//! ```
//!
//! Reads only. A check never asks anything itself: what it needs is gathered before and stands in its [`Subject`].

pub mod args;
pub mod checks;
pub mod finding;

use kube::api::{DynamicObject, ListParams};

use crate::cli::cluster::{Cluster, Found};
use crate::cli::doctor::args::{DoctorArgs, DoctorFormat};
use crate::cli::doctor::checks::{CHECKS, Subject};
use crate::cli::doctor::finding::{Finding, Report, Severity};
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
const READABLE: &str = "readable";

/// Checks one set or all of a namespace: exit code 0 unless a check failed.
///
/// # Errors
/// When there is no cluster or no such set, or the API server does not answer.
pub fn run(args: &DoctorArgs, context: &Context) -> Result<u8> {
    let runtime = crate::cli::check::runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::connect(args.namespace.as_deref(), context.program).await?;
        let objects = match &args.name {
            Some(name) => vec![cluster.get(name).await?.object],
            None => all(&cluster).await?,
        };
        let clock = Clock::system();
        let mut findings = Vec::new();
        for object in &objects {
            findings.extend(examine(object, &clock, context.program));
        }
        let report = Report { namespace: cluster.namespace().to_owned(), findings };
        print(&report, objects.len(), args, context)
    })
}

async fn all(cluster: &Cluster) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = call(cluster.sets().list(&params)).await.map_err(|error| {
            cluster.refused(&format!("list the ReleaseSets of namespace {}", cluster.namespace()), &error)
        })?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if objects.len() < SETS_MAX => params = params.continue_token(&token),
            _ => return Ok(objects),
        }
    }
}

/// Everything that the checks find about one set.
fn examine(object: &DynamicObject, clock: &Clock, program: &'static str) -> Vec<Finding> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let found = match Found::new(object.clone()) {
        Ok(found) => found,
        Err(error) => {
            let finding = Finding::new(Severity::Fail, error.to_string());
            let finding = finding.next(error.next_step().unwrap_or_default());
            return vec![Finding { release_set: name, check: READABLE, ..finding }];
        }
    };
    let explanation = explain(&found, clock.now(), program);
    let subject = Subject { found: &found, next_action: &explanation.next_action, program };
    let of_check = |check: &checks::Check| {
        let named = |finding| Finding { release_set: name.clone(), check: check.name, ..finding };
        (check.examine)(&subject).into_iter().map(named).collect::<Vec<_>>()
    };
    CHECKS.iter().flat_map(of_check).collect()
}

fn print(report: &Report, sets: usize, args: &DoctorArgs, context: &Context) -> Result<u8> {
    let text = match args.output {
        DoctorFormat::Table if sets == 0 => String::new(),
        DoctorFormat::Table => report.table(context.printer.data_colors()),
        DoctorFormat::Json => serde_json::to_string_pretty(report)
            .map(|json| json + "\n")
            .map_err(|error| CliError::new("failed to write JSON").caused_by(&error))?,
    };
    context.printer.data(&text)?;
    let (failed, warned) = (report.count(Severity::Fail), report.count(Severity::Warn));
    context.printer.note(&match sets {
        0 => format!("namespace {} has no ReleaseSet", report.namespace),
        1 => format!("1 ReleaseSet: {}, {}", counted(failed, "failure"), counted(warned, "warning")),
        _ => format!("{sets} ReleaseSets: {}, {}", counted(failed, "failure"), counted(warned, "warning")),
    });
    Ok(if failed == 0 { exit::OK } else { exit::ERROR })
}
