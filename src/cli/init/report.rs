//! What `init` says: YAML, a diff, JSON, and words. Pure.

use serde::Serialize;

use crate::cli::error::{CliError, Result};
use crate::cli::init::args::InitFormat;
use crate::cli::init::gather::Unread;
use crate::cli::init::group::Trap;
use crate::cli::init::output::Set;
use crate::cli::init::propose::Proposal;
use crate::cli::lint::counted;
use crate::cli::printer::{Palette, Tone};
use crate::cli::render::one_line;

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Documents that were read.
    pub read: usize,
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// Sets.
    pub proposals: Vec<Proposal>,
    /// What is no set, in sentences.
    pub notes: Vec<String>,
    /// What would be a set if more were known, in sentences.
    pub problems: Vec<String>,
    /// Changes of files.
    pub diff: String,
}

/// What `init -o json` prints. Fields may be added, none changes its name, type or meaning.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Contract<'a> {
    /// The sets.
    sets: Vec<SetSaid<'a>>,
    /// Changes of files as a unified diff; empty when there are none.
    diff: &'a str,
    /// Files that could not be read, and why.
    unread: Vec<UnreadSaid<'a>>,
    /// What would be a set if more were known.
    problems: &'a [String],
    /// Anything else.
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SetSaid<'a> {
    /// How the images are moved today: `OnePolicy`, `SeveralPolicies` or `Unmarked`.
    moved_by: &'static str,
    /// The object to apply.
    release_set: &'a Set,
    /// Where each image is written, in the order of the set.
    images: Vec<ImageSaid<'a>>,
    /// What can go wrong today.
    risks: &'a [String],
    /// What to know before it is applied.
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageSaid<'a> {
    name: &'a str,
    repository: &'a str,
    /// The tag that is written now; null where none is.
    tag: Option<&'a str>,
    /// `file:line` of each place.
    places: &'a [String],
}

#[derive(Debug, Serialize)]
struct UnreadSaid<'a> {
    name: &'a str,
    why: &'a str,
}

// === impl Report ===

impl Report {
    /// All sets as documents of one text; empty when there are none.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        for proposal in &self.proposals {
            if self.proposals.len() > 1 {
                text.push_str("---\n");
            }
            let why = if proposal.set.spec.candidates.policy_ref.is_some() {
                "# Candidates are named by the ImagePolicy itself: its rule cannot be written out here.\n"
            } else if proposal.trap == Trap::Unmarked {
                "# Candidates are guessed from the tag that runs now: check filterTags and policy.\n"
            } else {
                "# Candidates are those of the ImagePolicy, written out: releases that it never named are seen too.\n"
            };
            text.push_str(why);
            text.push_str(&proposal.yaml);
        }
        text
    }

    /// Everything, as JSON.
    ///
    /// # Errors
    /// When the serialiser fails.
    pub fn json(&self) -> Result<String> {
        let sets = self.proposals.iter().map(|proposal| SetSaid {
            moved_by: match proposal.trap {
                Trap::OnePolicy => "OnePolicy",
                Trap::SeveralPolicies => "SeveralPolicies",
                Trap::Unmarked => "Unmarked",
            },
            release_set: &proposal.set,
            images: proposal
                .images
                .iter()
                .map(|image| ImageSaid {
                    name: &image.name,
                    repository: &image.repository,
                    tag: image.runs.as_deref(),
                    places: &image.places,
                })
                .collect(),
            risks: &proposal.risks,
            notes: &proposal.notes,
        });
        let contract = Contract {
            sets: sets.collect(),
            diff: &self.diff,
            unread: self.unread.iter().map(|one| UnreadSaid { name: &one.name, why: &one.why }).collect(),
            problems: &self.problems,
            notes: &self.notes,
        };
        serde_json::to_string_pretty(&contract)
            .map(|json| json + "\n")
            .map_err(|error| CliError::new("failed to write JSON").caused_by(&error))
    }

    /// What a person should read first.
    pub fn talk(&self, palette: Palette, with_diff: bool) -> String {
        let mut text = String::new();
        let mut line = |begin: String, said: &str| text.push_str(&format!("{begin} {}\n", one_line(said)));
        for proposal in &self.proposals {
            let names: Vec<&str> = proposal.images.iter().map(|image| image.name.as_str()).collect();
            let heading = format!("{}:", proposal.set.metadata.name);
            line(palette.paint(Tone::Strong, &heading), &format!("{} share a tag", names.join(", ")));
            for image in &proposal.images {
                let tag = image.runs.as_deref().map(|tag| format!(":{tag}")).unwrap_or_default();
                line(String::from(" "), &format!("{}{tag} at {}", image.repository, image.places.join(", ")));
            }
            for risk in &proposal.risks {
                line(palette.paint(Tone::Bad, "risk:"), risk);
            }
            for note in &proposal.notes {
                line(palette.paint(Tone::Faint, "note:"), note);
            }
        }
        for problem in &self.problems {
            line(palette.paint(Tone::Doubtful, "open:"), problem);
        }
        for note in &self.notes {
            line(palette.paint(Tone::Faint, "note:"), note);
        }
        if self.proposals.is_empty() && self.problems.is_empty() {
            let read = counted(self.read, "document");
            text.push_str(&format!(
                "{read} read: no images share a tag behind one policy, or run the same tag\n"
            ));
        }
        if with_diff && !self.diff.is_empty() {
            text.push_str(&format!("\nChanges of files that go with it:\n\n{}", self.diff));
        }
        text
    }

    /// The one next step.
    pub fn hint(&self, program: &str, format: InitFormat) -> Option<String> {
        if self.proposals.is_empty() {
            return Some(
                "name the folders that hold ImagePolicies and what they move, or use `--cluster`; a set can also be \
                 written by hand (docs/how-to/adopt.md)"
                    .to_owned(),
            );
        }
        (format == InitFormat::Yaml).then(|| {
            let diff = if self.diff.is_empty() {
                String::new()
            } else {
                format!("keep the changes first (`{program} init -q -o diff >adopt.diff`), then ")
            };
            format!("{diff}write the set beside your Flux objects, review and commit (docs/how-to/adopt.md)")
        })
    }
}
