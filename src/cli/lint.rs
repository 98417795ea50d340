//! `tidegate lint`: every mistake of a file at once, each with its field and what to write instead.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::api::manifest::Manifest;
use crate::api::validate;
use crate::cli::args::{LintArgs, LintFormat};
use crate::cli::error::{CliError, Result};
use crate::cli::input::{Input, Misread};
use crate::cli::{Context, exit};
use crate::model::Problem;

/// What `lint -o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Findings {
    file: String,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

/// One mistake or warning.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// `metadata.name`; null where the file could not be read so far.
    release_set: Option<String>,
    /// Path of the field; null where the text itself is wrong.
    field: Option<String>,
    /// Line of the file, where it is known.
    line: Option<usize>,
    /// Column of the file, where it is known.
    column: Option<usize>,
    /// What is wrong and what to write instead.
    message: String,
    #[serde(skip)]
    snippet: Option<String>,
}

/// Prints what is wrong with a file: exit code 0 when nothing is, 1 otherwise. Warnings are no mistakes.
///
/// # Errors
/// When the file cannot be read.
pub fn run(args: &LintArgs, context: &Context) -> Result<u8> {
    let input = Input::read(&args.file)?;
    let findings = lint(&input);
    let text = match args.output {
        LintFormat::Text => text(&input, &findings),
        LintFormat::Json => serde_json::to_string_pretty(&findings)
            .map(|json| json + "\n")
            .map_err(|error| CliError::new("failed to write JSON").caused_by(&error))?,
    };
    context.printer.data(&text)?;
    context.printer.note(&format!(
        "{}: {}, {}",
        findings.file,
        counted(findings.problems.len(), "problem"),
        counted(findings.warnings.len(), "warning")
    ));
    Ok(if findings.problems.is_empty() { exit::OK } else { exit::ERROR })
}

/// `no warnings`, `1 warning`, `2 warnings`.
pub(in crate::cli) fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn lint(input: &Input) -> Findings {
    let mut findings = Findings { file: input.name.clone(), problems: Vec::new(), warnings: Vec::new() };
    match input.manifests() {
        Ok(manifests) => {
            for manifest in &manifests {
                let problems = validate::policy(&manifest.spec, 0).err().unwrap_or_default();
                findings.problems.extend(problems.iter().map(|problem| Finding::of(manifest, problem)));
                findings
                    .warnings
                    .extend(manifest.warnings.iter().map(|warning| Finding::of(manifest, warning)));
            }
        }
        Err(misread) => findings.problems.push(Finding::misread(input, misread)),
    }
    findings
}

fn text(input: &Input, findings: &Findings) -> String {
    let mut text = String::new();
    let all = || findings.problems.iter().chain(&findings.warnings);
    let sets: BTreeSet<&String> = all().filter_map(|finding| finding.release_set.as_ref()).collect();
    for (word, found) in [("error", &findings.problems), ("warning", &findings.warnings)] {
        for Finding { release_set, field, line, column, message, snippet } in found {
            // Which set of several; with one the file says it.
            let set = release_set.as_ref().filter(|_| sets.len() > 1);
            let part = |part: Option<&String>| part.map(|part| format!("{part}: ")).unwrap_or_default();
            let (set, field) = (part(set), part(field.as_ref()));
            text.extend([
                input.place(*line, *column).as_str(),
                ": ",
                word,
                ": ",
                &set,
                &field,
                message,
                "\n",
            ]);
            if let Some(snippet) = snippet {
                text.extend([snippet, "\n"]);
            }
        }
    }
    text
}

// === impl Finding ===

impl Finding {
    fn of(manifest: &Manifest, problem: &Problem) -> Self {
        Self {
            release_set: Some(manifest.name.clone()),
            field: Some(problem.field.clone()),
            line: None,
            column: None,
            message: problem.message.clone(),
            snippet: None,
        }
    }

    fn misread(input: &Input, misread: Misread) -> Self {
        let snippet = input.snippet(&misread);
        let Misread { line, column, message } = misread;
        Self { release_set: None, field: None, line, column, message, snippet }
    }
}
