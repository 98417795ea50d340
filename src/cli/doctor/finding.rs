//! What a check found: a stable contract in JSON, a table for people.

use serde::Serialize;

use crate::cli::printer::{Palette, Tone};
use crate::cli::render::{Mark, aligned, one_line};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// As it was chosen, and worth knowing.
    Info,
    /// It could not be told, and `what` says why. Never a guess.
    Unknown,
    /// It works, and may surprise.
    Warn,
    /// It does not work until somebody does something.
    Fail,
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Namespace that it is about; empty where it is about the installation.
    pub namespace: String,
    /// `metadata.name` of the set; empty where it is about the installation or the namespace.
    pub release_set: String,
    /// Name of the check.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why it is so, or what follows; null when there is nothing to add.
    pub why: Option<String>,
    /// What to do next; null when there is nothing to do.
    pub next: Option<String>,
}

/// Everything that was found: what `doctor -o json` prints. Fields may be added, none changes its
/// name, type or meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The namespace; empty for all of them.
    pub namespace: String,
    /// Of the installation, of namespaces, then of sets; each in the order of checks.
    pub findings: Vec<Finding>,
}

// === impl Severity ===

impl Severity {
    /// The word in the table and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Info => Tone::Plain,
            Self::Unknown | Self::Warn => Tone::Doubtful,
            Self::Fail => Tone::Bad,
        }
    }
}

// === impl Finding ===

impl Finding {
    /// A finding whose set and check are filled in by who runs the check. `what` may hold text of the cluster.
    pub fn new(severity: Severity, what: impl AsRef<str>) -> Self {
        Self {
            namespace: String::new(),
            release_set: String::new(),
            check: "",
            severity,
            what: one_line(what.as_ref()),
            why: None,
            next: None,
        }
    }

    /// What could not be told: `what` names it, `why` is the reason.
    pub fn untold(what: &str, why: &str) -> Self {
        Self::new(Severity::Unknown, format!("could not be told: {what}")).because(why)
    }

    /// Adds why it is so, or what follows.
    #[must_use]
    pub fn because(mut self, why: impl AsRef<str>) -> Self {
        self.why = Some(one_line(why.as_ref()));
        self
    }

    /// What it is about: the set, or `-`; with its namespace where there are several.
    fn subject(&self, is_of_all: bool) -> String {
        match (self.namespace.as_str(), self.release_set.as_str()) {
            ("", "") => "-".to_owned(),
            (namespace, "") if is_of_all => namespace.to_owned(),
            (_, "") => "-".to_owned(),
            (namespace, set) if is_of_all => format!("{namespace}/{set}"),
            (_, set) => set.to_owned(),
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next: impl AsRef<str>) -> Self {
        self.next = Some(one_line(next.as_ref()));
        self
    }
}

// === impl Report ===

impl Report {
    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// For people: one line for each finding, with why and what next below those that are not ok.
    pub fn table(&self, palette: Palette) -> String {
        let is_of_all = self.namespace.is_empty();
        let mut rows = vec![Vec::from(["RESULT", "SET", "CHECK", "FINDING"].map(Mark::heading))];
        rows.extend(self.findings.iter().map(|finding| {
            vec![
                Mark { text: finding.severity.word().to_owned(), tone: finding.severity.tone() },
                Mark::plain(&finding.subject(is_of_all)),
                Mark::plain(finding.check),
                Mark::plain(&finding.what),
            ]
        }));
        let aligned = aligned(&rows, palette);
        let mut lines = aligned.lines();
        let mut text = String::new();
        text.extend(lines.next().map(|heading| format!("{heading}\n")));
        for (line, finding) in lines.zip(&self.findings) {
            text.push_str(&format!("{line}\n"));
            for (word, said) in [("why", &finding.why), ("next", &finding.next)] {
                text.extend(said.as_ref().map(|said| format!("  {word}: {said}\n")));
            }
        }
        text
    }
}
