//! What `audit` says: a table for people, a contract for programs. Pure.

use serde::Serialize;

use crate::cli::args::PlainFormat;
use crate::cli::audit::verdict::{Outcome, Release};
use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::cli::printer::{Palette, Tone};
use crate::cli::render::{Mark, aligned, one_line};
use crate::model::ImageName;

/// What `audit -o json` prints. Fields may be added, none changes its name, type or meaning.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `metadata.name` of the set.
    pub release_set: String,
    /// The image whose tag alone would have been followed.
    pub watched: String,
    /// Over all releases.
    pub summary: Summary,
    /// Newest first.
    pub releases: Vec<Release>,
}

/// Over all releases.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many were looked at.
    pub releases: usize,
    /// How many would have half-rolled.
    pub half_rolled: usize,
    /// How many of these until somebody mended them.
    pub for_ever: usize,
    /// How many are not old enough to be judged.
    pub not_yet: usize,
    /// Of how many it cannot be told.
    pub cannot_tell: usize,
    /// The longest that is known; null when none is.
    pub worst_secs: Option<i64>,
    /// All that are known together.
    pub total_secs: i64,
    /// Each sibling, in the order of the set.
    pub images: Vec<Sibling>,
}

/// One sibling over all releases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sibling {
    /// Its name.
    pub name: String,
    /// How often it was built after the watched image.
    pub late: usize,
    /// How often it never came.
    pub never: usize,
    /// How often it cannot be told.
    pub cannot_tell: usize,
    /// The longest that it was late; null when it never was.
    pub worst_secs: Option<i64>,
}

/// Seconds as people say them, exactly: `12m`, `1h3m20s`.
fn span(secs: i64) -> String {
    let parts = [(secs / 3600, 'h'), (secs / 60 % 60, 'm'), (secs % 60, 's')];
    let said: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if said.is_empty() { "0s".to_owned() } else { said.concat() }
}

// === impl Report ===

impl Report {
    /// The report on releases of a set; `siblings` are its required images but the watched one.
    pub fn new(
        release_set: &str,
        watched: &ImageName,
        siblings: &[ImageName],
        releases: Vec<Release>,
    ) -> Self {
        let count = |outcome| releases.iter().filter(|release| release.outcome == outcome).count();
        let half_rolled = || releases.iter().filter(|release| release.outcome == Outcome::HalfRolled);
        let images = siblings.iter().map(|name| {
            let name = name.as_str();
            let late = || half_rolled().flat_map(|release| &release.late).filter(|late| late.image == name);
            Sibling {
                name: name.to_owned(),
                late: late().count(),
                never: half_rolled()
                    .flat_map(|release| &release.never)
                    .filter(|one| one.image == name)
                    .count(),
                cannot_tell: releases
                    .iter()
                    .flat_map(|release| &release.untold)
                    .filter(|one| one.image == name)
                    .count(),
                worst_secs: late().map(|late| late.secs).max(),
            }
        });
        let summary = Summary {
            releases: releases.len(),
            half_rolled: count(Outcome::HalfRolled),
            for_ever: half_rolled().filter(|release| !release.never.is_empty()).count(),
            not_yet: count(Outcome::NotYet),
            cannot_tell: count(Outcome::CannotTell),
            worst_secs: releases.iter().filter_map(|release| release.half_rolled_secs).max(),
            total_secs: releases.iter().filter_map(|release| release.half_rolled_secs).sum(),
            images: images.collect(),
        };
        Self { release_set: release_set.to_owned(), watched: watched.to_string(), summary, releases }
    }

    /// 3 when a release would have half-rolled; else 7 when of one it cannot be told; else 0.
    pub fn code(&self) -> u8 {
        match &self.summary {
            Summary { half_rolled: 1.., .. } => exit::BLOCKED,
            Summary { cannot_tell: 1.., .. } => exit::COULD_NOT_TELL,
            _ => exit::OK,
        }
    }

    /// As text that ends with a newline.
    ///
    /// # Errors
    /// When a serialiser fails.
    pub fn text(&self, format: PlainFormat, palette: Palette) -> Result<String> {
        match format {
            PlainFormat::Table => Ok(self.table(palette)),
            PlainFormat::Json => serde_json::to_string_pretty(self)
                .map(|json| json + "\n")
                .map_err(|error| CliError::new("failed to write JSON").caused_by(&error)),
            PlainFormat::Yaml => serde_saphyr::to_string(self)
                .map_err(|error| CliError::new("failed to write YAML").caused_by(&error)),
        }
    }

    fn table(&self, palette: Palette) -> String {
        let heading = format!("{}, if {}'s tag alone had been followed", self.release_set, self.watched);
        let mut rows = vec![Vec::from(["TAG", "OUTCOME", "FOR", "BECAUSE"].map(Mark::heading))];
        rows.extend(self.releases.iter().map(Release::row));
        let mut siblings =
            vec![Vec::from(["SIBLING", "LATE", "WORST", "NEVER", "UNTOLD"].map(Mark::heading))];
        siblings.extend(self.summary.images.iter().map(|image| {
            let worst = image.worst_secs.map_or_else(|| "-".to_owned(), span);
            let counts = [image.never.to_string(), image.cannot_tell.to_string()];
            let texts = [image.name.clone(), image.late.to_string(), worst].into_iter().chain(counts);
            texts.map(|text| Mark::plain(&text)).collect()
        }));
        format!(
            "{}\n\n{}\n{}\n{}",
            palette.paint(Tone::Strong, &heading),
            aligned(&rows, palette),
            aligned(&siblings, palette),
            self.last_line(palette)
        )
    }

    fn last_line(&self, palette: Palette) -> String {
        let summary = &self.summary;
        let tone = match self.code() {
            exit::OK => Tone::Good,
            exit::BLOCKED => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let mut parts = vec![format!(
            "{} of {} would have half-rolled",
            palette.paint(tone, &summary.half_rolled.to_string()),
            match summary.releases {
                1 => "1 release".to_owned(),
                count => format!("{count} releases"),
            }
        )];
        if let Some(worst) = summary.worst_secs {
            parts.push(format!("at worst for {}, {} in total", span(worst), span(summary.total_secs)));
        }
        if summary.for_ever > 0 {
            parts.push(format!("{} until somebody mended it", summary.for_ever));
        }
        if summary.cannot_tell > 0 {
            parts.push(format!("of {} it cannot be told", summary.cannot_tell));
        }
        if summary.not_yet > 0 {
            parts.push(format!("{} not complete yet", summary.not_yet));
        }
        parts.join("; ") + "\n"
    }
}

// === impl Release ===

impl Release {
    fn row(&self) -> Vec<Mark> {
        let (word, tone) = match self.outcome {
            Outcome::Whole => ("whole", Tone::Good),
            Outcome::HalfRolled => ("half-rolled", Tone::Bad),
            Outcome::NotYet => ("not yet", Tone::Doubtful),
            Outcome::CannotTell => ("cannot tell", Tone::Doubtful),
        };
        let time = match (self.outcome, self.half_rolled_secs) {
            (Outcome::HalfRolled, Some(secs)) => span(secs),
            (Outcome::HalfRolled, None) => "ever".to_owned(),
            _ => "-".to_owned(),
        };
        let never = self.never.iter().map(|said| format!("{} {}", said.image, said.why));
        let late = self.late.iter().map(|late| format!("{} {} later", late.image, span(late.secs)));
        let untold = self.untold.iter().map(|said| format!("{}: {}", said.image, said.why));
        let because: Vec<String> = never.chain(late).chain(untold).collect();
        let because = if because.is_empty() { "-".to_owned() } else { because.join("; ") };
        vec![
            Mark::plain(&self.tag),
            Mark { text: word.to_owned(), tone },
            Mark::plain(&time),
            Mark::plain(&one_line(&because)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exact() {
        assert_eq!([0, 59, 720, 3800].map(span), ["0s", "59s", "12m", "1h3m20s"]);
    }
}
