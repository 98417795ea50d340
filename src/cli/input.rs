//! Reads ReleaseSet files. Every mistake is named with its place and what to write instead.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::api::manifest::{self, Manifest, ManifestError, TEXT_MAX_BYTES};
use crate::cli::error::{CliError, Result};

/// A text with the name that messages give it.
#[derive(Debug)]
pub struct Input {
    /// The file as the user wrote it, or `standard input`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Where and why a text cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Misread {
    /// Line, from 1, where it is known.
    pub line: Option<usize>,
    /// Column, from 1, where it is known.
    pub column: Option<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
}

// === impl Input ===

impl Input {
    /// Reads a file, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8, or is larger than any ReleaseSet.
    pub fn read(path: &Path) -> Result<Self> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let read =
            if is_stdin { read_some(io::stdin().lock()) } else { File::open(path).and_then(read_some) };
        let failed = || CliError::new(format!("failed to read {name}"));
        let bytes = read.map_err(|error| {
            failed()
                .caused_by(&error)
                .hint("`-f` names a file with a ReleaseSet; `-f -` reads standard input")
        })?;
        if bytes.len() > TEXT_MAX_BYTES {
            return Err(failed().because(format!("it is larger than {TEXT_MAX_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            failed().because(format!("byte {} is no UTF-8", error.utf8_error().valid_up_to() + 1))
        })?;
        Ok(Self { name, text })
    }

    /// Every ReleaseSet in it, not yet judged.
    ///
    /// # Errors
    /// The first place that cannot be read.
    pub fn manifests(&self) -> std::result::Result<Vec<Manifest>, Misread> {
        manifest::read(&self.text).map_err(Misread::from)
    }

    /// `FILE`, `FILE:LINE` or `FILE:LINE:COLUMN`, as editors and terminals understand it.
    pub fn place(&self, line: Option<usize>, column: Option<usize>) -> String {
        let part = |number: Option<usize>| number.map(|number| format!(":{number}")).unwrap_or_default();
        format!("{}{}{}", self.name, part(line), part(line.and(column)))
    }

    /// The line of a mistake with a mark below its column; `None` where the line is not known.
    pub fn snippet(&self, misread: &Misread) -> Option<String> {
        /// More of a line than fits on a screen helps nobody.
        const COLUMNS_MAX: usize = 160;
        let number = misread.line?;
        let line: String = self.text.lines().nth(number.checked_sub(1)?)?.chars().take(COLUMNS_MAX).collect();
        let gutter = " ".repeat(number.to_string().len());
        let before = misread.column.unwrap_or(1).saturating_sub(1).min(line.chars().count());
        // Tabs stay tabs, so that the mark stands below what it means.
        let blank: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        Some(format!("{gutter} |\n{number} | {line}\n{gutter} | {blank}^"))
    }
}

fn read_some(from: impl Read) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(TEXT_MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

// === impl Misread ===

impl From<ManifestError> for Misread {
    fn from(error: ManifestError) -> Self {
        let (line, column) = match &error {
            ManifestError::Document { line, column, .. } => (Some(*line), Some(*column)),
            ManifestError::ApiVersion { line, .. } | ManifestError::Name { line, .. } => (Some(*line), None),
            _ => (None, None),
        };
        let text = error.to_string();
        // The place is printed in front of the file's line; said once is enough.
        let message = match (&error, line) {
            (ManifestError::Document { message, .. } | ManifestError::Name { message, .. }, _) => {
                message.clone()
            }
            (_, Some(line)) => text.strip_prefix(&format!("line {line}: ")).unwrap_or(&text).to_owned(),
            _ => text,
        };
        Self { line, column, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_below_the_column() {
        let input = Input { name: "a.yaml".into(), text: "a: 1\n\tb: 2\n".into() };
        let misread = Misread { line: Some(2), column: Some(2), message: String::new() };
        assert_eq!(input.snippet(&misread).as_deref(), Some("  |\n2 | \tb: 2\n  | \t^"));
        assert_eq!(input.place(Some(2), Some(2)), "a.yaml:2:2");
        assert_eq!(input.place(None, Some(2)), "a.yaml");
        let beyond = Misread { line: Some(9), column: None, message: String::new() };
        assert_eq!(input.snippet(&beyond), None);
    }
}
