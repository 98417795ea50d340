//! ReleaseSets in a YAML or JSON text, for the command line and tests. Reads no file itself.
//!
//! Stricter than an API server: an unknown field or a key that stands twice is an error with line and column.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::api::rules;
use crate::api::v1alpha1::ReleaseSetSpec;
use crate::api::validate;
use crate::model::Problem;

/// Largest accepted text: etcd takes no larger object.
pub const TEXT_MAX_BYTES: usize = 1 << 20;
/// Most documents of one text: a rendered Kustomization has some hundreds.
pub const DOCUMENTS_MAX: usize = 1000;
/// `apiVersion` of a ReleaseSet.
pub const API_VERSION: &str = "tidegate.dev/v1alpha1";
/// `kind` of a ReleaseSet.
pub const KIND: &str = "ReleaseSet";

/// One ReleaseSet of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, when it is written.
    pub namespace: Option<String>,
    /// Its spec, not yet judged: see [`validate::policy`].
    pub spec: ReleaseSetSpec,
    /// What is allowed and may surprise.
    pub warnings: Vec<Problem>,
    /// Line of the text on which the document begins, from 1.
    pub line: usize,
}

/// Why a text holds no ReleaseSet that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML, not the fields of a ReleaseSet, or a key that stands twice.
    #[error("line {line}, column {column}: {message}")]
    Document {
        /// Line of the text, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A ReleaseSet of a version that this program does not know.
    #[error("line {line}: apiVersion is `{found}`: write {API_VERSION}")]
    ApiVersion {
        /// Line on which the document begins.
        line: usize,
        /// What is written there.
        found: String,
    },
    /// `metadata.name` is unusable.
    #[error("line {line}: {message}")]
    Name {
        /// Line on which the document begins.
        line: usize,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// No document is a ReleaseSet.
    #[error("no {KIND} was found, only {0}: write `kind: {KIND}` and `apiVersion: {API_VERSION}`")]
    NoReleaseSet(String),
    /// Nothing in it.
    #[error("the text is empty: write a {KIND}")]
    Empty,
    /// Larger than [`TEXT_MAX_BYTES`].
    #[error("the text has {0} bytes, at most {TEXT_MAX_BYTES} are possible")]
    TooLong(usize),
    /// More than [`DOCUMENTS_MAX`].
    #[error("the text has {0} documents, at most {DOCUMENTS_MAX} are possible")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Root {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Metadata,
    spec: ReleaseSetSpec,
    #[serde(rename = "status", default)]
    status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

/// One document with the number of lines before it.
struct Document<'text> {
    text: &'text str,
    lines_before: usize,
}

/// Every ReleaseSet of a text with one or many documents; other kinds are passed over.
///
/// # Errors
/// At the first document that cannot be read, or when none is a ReleaseSet.
pub fn read(text: &str) -> Result<Vec<Manifest>, ManifestError> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(ManifestError::TooLong(text.len()));
    }
    let documents = split(text);
    if documents.len() > DOCUMENTS_MAX {
        return Err(ManifestError::TooMany(documents.len()));
    }
    let mut manifests = Vec::new();
    let mut others = Vec::new();
    for document in &documents {
        let header: Header = document.parse()?;
        let (api_version, kind) = (header.api_version.unwrap_or_default(), header.kind.unwrap_or_default());
        if kind != KIND {
            others.push(if kind.is_empty() { "a document without kind".to_owned() } else { kind });
        } else if api_version == API_VERSION {
            manifests.push(document.manifest()?);
        } else {
            return Err(ManifestError::ApiVersion { line: document.line(), found: api_version });
        }
    }
    match (manifests.is_empty(), documents.is_empty()) {
        (true, true) => Err(ManifestError::Empty),
        (true, false) => Err(ManifestError::NoReleaseSet(others.join(", "))),
        (false, _) => Ok(manifests),
    }
}

/// The documents of a text, each a part of it, without those of comments alone.
pub fn documents(text: &str) -> Vec<&str> {
    split(text).into_iter().map(|document| document.text).collect()
}

/// Splits at document markers, which YAML allows nowhere else at the beginning of a line. Documents of comments
/// alone are left out.
fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_marker {
            documents.push(Document { text: &text[start..offset], lines_before: start_line });
            (start, start_line) = (offset + 3, number);
        }
        offset += line.len();
    }
    documents.push(Document { text: &text[start..], lines_before: start_line });
    documents.retain(|document| {
        document
            .text
            .lines()
            .map(str::trim)
            .any(|line| !line.is_empty() && !line.starts_with('#') && line != "...")
    });
    documents
}

/// The error in users' words, without the place, which counts from the document's beginning.
fn words_of(error: &serde_saphyr::Error) -> String {
    let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

// === impl Document ===

impl Document<'_> {
    fn line(&self) -> usize {
        let blank =
            self.text.lines().take_while(|line| line.trim().is_empty() || line.trim().starts_with('#'));
        self.lines_before + blank.count() + 1
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self) -> Result<T, ManifestError> {
        // A tag like 1.0 must be quoted, as an API server wants it; snippets would print the text twice.
        let options = serde_saphyr::options! { no_schema: true, with_snippet: false };
        serde_saphyr::from_str_with_options(self.text, options).map_err(|error| {
            let location = error.location();
            let at = |number: Option<u64>| usize::try_from(number.unwrap_or(1)).unwrap_or(usize::MAX);
            ManifestError::Document {
                line: self.lines_before + at(location.map(|location| location.line())),
                column: at(location.map(|location| location.column())),
                message: words_of(&error),
            }
        })
    }

    fn manifest(&self) -> Result<Manifest, ManifestError> {
        let Root { metadata, spec, status, .. } = self.parse()?;
        let Metadata { name, namespace } = metadata;
        if name.is_empty() || name.len() > crate::model::names::LABEL_MAX_BYTES {
            let message = if name.is_empty() {
                "metadata.name is empty: name the set"
            } else {
                rules::OBJECT[0].message
            };
            return Err(ManifestError::Name { line: self.line(), message: message.to_owned() });
        }
        let mut warnings = validate::warnings(&spec);
        if status.is_some() {
            warnings.push(Problem::new("status", "is not read from a file"));
        }
        Ok(Manifest { name, namespace, spec, warnings, line: self.line() })
    }
}

#[cfg(test)]
mod tests;
