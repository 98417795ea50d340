//! Repositories in memory: blobs, manifests by digest, tags, uploads. Knows no HTTP.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use thiserror::Error;

use super::DOCKER_LIST;
use crate::embedded::image::{MEDIA_TYPE_INDEX, sha256};

/// Uploads open at once in the whole registry; a push holds one per layer.
pub(super) const UPLOADS_MAX: usize = 1_024;

/// Why a change of contents was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// A tag can only point to a manifest that is there.
    #[error("failed to tag {repository}: it holds no manifest {digest}; push it first")]
    ManifestUnknown {
        /// Repository asked for.
        repository: String,
        /// Digest asked for.
        digest: String,
    },
}

/// A manifest or an index as pushed.
#[derive(Clone, Debug)]
pub(super) struct StoredManifest {
    pub(super) media_type: String,
    pub(super) content: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    repositories: BTreeMap<String, Repository>,
    uploads: HashMap<String, Upload>,
    uploads_started: u64,
}

#[derive(Debug, Default)]
struct Repository {
    blobs: HashMap<String, Bytes>,
    manifests: HashMap<String, StoredManifest>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Upload {
    repository: String,
    received: BytesMut,
}

// === impl Store ===

impl Store {
    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(super) fn put_blob(&mut self, repository: &str, content: Bytes) -> String {
        let digest = sha256(&content);
        self.repository(repository).blobs.insert(digest.clone(), content);
        digest
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        content: Bytes,
    ) -> String {
        let digest = sha256(&content);
        let manifest = StoredManifest { media_type: media_type.to_owned(), content };
        let repository = self.repository(repository);
        repository.manifests.insert(digest.clone(), manifest);
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest.clone());
        }
        digest
    }

    pub(super) fn tag(&mut self, repository: &str, tag: &str, digest: &str) -> Result<(), StoreError> {
        let unknown =
            || StoreError::ManifestUnknown { repository: repository.to_owned(), digest: digest.to_owned() };
        let found = self.repositories.get_mut(repository).ok_or_else(unknown)?;
        if !found.manifests.contains_key(digest) {
            return Err(unknown());
        }
        found.tags.insert(tag.to_owned(), digest.to_owned());
        Ok(())
    }

    pub(super) fn delete_tag(&mut self, repository: &str, tag: &str) -> bool {
        self.repositories.get_mut(repository).is_some_and(|found| found.tags.remove(tag).is_some())
    }

    pub(super) fn delete_manifest(&mut self, repository: &str, digest: &str) -> bool {
        let Some(found) = self.repositories.get_mut(repository) else { return false };
        found.tags.retain(|_, pointed| pointed != digest);
        found.manifests.remove(digest).is_some()
    }

    pub(super) fn delete_blob(&mut self, repository: &str, digest: &str) -> bool {
        self.repositories.get_mut(repository).is_some_and(|found| found.blobs.remove(digest).is_some())
    }

    pub(super) fn resolve(&self, repository: &str, tag: &str) -> Option<String> {
        self.repositories.get(repository)?.tags.get(tag).cloned()
    }

    /// Tags in byte order; `None` when nothing was ever pushed there.
    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.repositories.get(repository)?.tags.keys().cloned().collect())
    }

    /// Digest and manifest by tag or digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, &StoredManifest)> {
        let found = self.repositories.get(repository)?;
        let digest = if is_digest(reference) { reference } else { found.tags.get(reference)? };
        Some((digest.to_owned(), found.manifests.get(digest)?))
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.repositories.get(repository)?.blobs.get(digest).cloned()
    }

    /// See [`super::RegistryServer::image_config`].
    pub(super) fn image_config(&self, repository: &str, reference: &str, platform: &str) -> Option<Value> {
        let (_, manifest) = self.manifest(repository, reference)?;
        let mut body: Value = serde_json::from_slice(&manifest.content).ok()?;
        if manifest.media_type == MEDIA_TYPE_INDEX || manifest.media_type == DOCKER_LIST {
            let child = child_for(&body, platform)?.to_owned();
            let (_, manifest) = self.manifest(repository, &child)?;
            body = serde_json::from_slice(&manifest.content).ok()?;
        }
        let config = body.pointer("/config/digest")?.as_str()?;
        serde_json::from_slice(&self.blob(repository, config)?).ok()
    }

    // --- uploads ---

    /// Opens an upload; `None` when too many are open.
    pub(super) fn start_upload(&mut self, repository: &str) -> Option<String> {
        if self.uploads.len() >= UPLOADS_MAX {
            return None;
        }
        self.uploads_started += 1;
        let name = format!("upload-{}", self.uploads_started);
        let upload = Upload { repository: repository.to_owned(), received: BytesMut::new() };
        self.uploads.insert(name.clone(), upload);
        Some(name)
    }

    fn upload(&mut self, repository: &str, name: &str) -> Option<&mut Upload> {
        self.uploads.get_mut(name).filter(|upload| upload.repository == repository)
    }

    /// Bytes received so far; `None` for an unknown upload.
    pub(super) fn upload_bytes(&mut self, repository: &str, name: &str) -> Option<usize> {
        Some(self.upload(repository, name)?.received.len())
    }

    /// Appends a chunk and returns the bytes received in all.
    pub(super) fn append(&mut self, repository: &str, name: &str, chunk: &[u8]) -> Option<usize> {
        let upload = self.upload(repository, name)?;
        upload.received.extend_from_slice(chunk);
        Some(upload.received.len())
    }

    /// Closes an upload and hands its bytes over.
    pub(super) fn finish_upload(&mut self, repository: &str, name: &str) -> Option<Bytes> {
        self.upload(repository, name)?;
        self.uploads.remove(name).map(|upload| upload.received.freeze())
    }
}

/// The digest of an index's child for `os/architecture`.
pub(super) fn child_for<'a>(index: &'a Value, platform: &str) -> Option<&'a str> {
    let (os, architecture) = platform.split_once('/')?;
    let child = index.get("manifests")?.as_array()?.iter().find(|child| {
        child.pointer("/platform/os").and_then(Value::as_str) == Some(os)
            && child.pointer("/platform/architecture").and_then(Value::as_str) == Some(architecture)
    })?;
    child.get("digest")?.as_str()
}

/// `REPOSITORY[:TAG][@DIGEST]` as repository and the stronger of digest, tag and `latest`.
pub(super) fn split_reference(path: &str) -> (&str, &str) {
    let (named, digest) = match path.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (path, None),
    };
    let (repository, tag) = named.rsplit_once(':').unwrap_or((named, "latest"));
    (repository, digest.unwrap_or(tag))
}

/// Whether `text` is `sha256:` and 64 lower-case hexadecimal digits, the only digests stored here.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether `text` is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(super) fn is_tag(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-'])
}

/// Whether `text` is a repository name of the specification: lower-case parts joined by `/`, each of letters and
/// digits joined by `.`, `_`, `__` or dashes; at most 255 bytes.
pub(super) fn is_repository(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.split('/').all(is_repository_part)
}

fn is_repository_part(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<u8>| byte.is_some_and(word);
    let joint =
        |joint: &str| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-');
    ends(part.bytes().next())
        && ends(part.bytes().last())
        && part.split(|letter: char| letter.is_ascii() && u8::try_from(letter).is_ok_and(word)).all(joint)
}
