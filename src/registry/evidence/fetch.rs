//! Bytes from a registry, verified against their digest before anything reads them.

use bytes::Bytes;
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::model::sighting::{DefectKind, DoubtKind};
use crate::model::{Digest, hex};
use crate::registry::evidence::manifest;
use crate::registry::verdict::Absence;
use crate::registry::wire::session::Session;
use crate::registry::wire::transport::{Reply, RequestKind, Verb};

/// Bytes of a manifest that hash to its digest.
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) content_type: String,
}

// === impl Session ===

impl Session<'_> {
    /// GET of a manifest by tag or digest. The digest is computed over the bytes; what the registry says it is,
    /// and what was `expected`, must agree with that.
    pub(crate) async fn get_manifest(
        &self,
        reference: &str,
        expected: Option<&Digest>,
        subject: &str,
    ) -> Result<Fetched, Absence> {
        let answer = self.ask(self.request(Verb::Get, RequestKind::Manifest, reference), subject).await?;
        if answer.reply.status != StatusCode::OK {
            return Err(self.judge(&answer, subject));
        }
        let content_type = content_type(&answer.reply);
        let Reply { headers, body: bytes, .. } = answer.reply;
        let digest = digest_of(&bytes).ok_or_else(|| self.corrupt(subject, "its bytes have no digest"))?;
        let named = headers.get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
        // Not checked for a web page, nor for a signed schema 1 manifest, whose digest leaves its signatures
        // out: who parses them names them for what they are, and never uses their digest.
        if content_type.ends_with("json") {
            if named.is_some_and(|named| named.starts_with("sha256:") && named != digest.as_str()) {
                let why = "its bytes do not hash to the digest that the registry names";
                return Err(self.corrupt(subject, why));
            }
            if expected.is_some_and(|expected| *expected != digest) {
                return Err(self.corrupt(subject, "its bytes do not hash to the digest that was asked for"));
            }
        }
        Ok(Fetched { digest, bytes, content_type })
    }

    /// The digest that a reference has now, by HEAD, or by GET where HEAD does not tell.
    pub(crate) async fn head(&self, reference: &str, subject: &str) -> Result<Digest, Absence> {
        let habits = &self.shared.habits;
        if !habits.knows_no_head(self.place) {
            let answer =
                self.ask(self.request(Verb::Head, RequestKind::Manifest, reference), subject).await?;
            match answer.reply.status {
                StatusCode::OK => {
                    let content_type = content_type(&answer.reply);
                    if content_type.starts_with("text/") {
                        return Err(self.no_manifest(subject, &content_type));
                    }
                    let named = answer.reply.headers.get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
                    if let Some(digest) = named.and_then(|named| named.parse().ok()) {
                        return Ok(digest);
                    }
                }
                StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {}
                _ => return Err(self.judge(&answer, subject)),
            }
            habits.learn_no_head(self.place);
        }
        let fetched = self.get_manifest(reference, None, subject).await?;
        // Only what parses is a manifest; a page that answers every address also has a hash.
        match manifest::parse(&fetched.bytes, &fetched.content_type, subject) {
            Ok(_) | Err(Absence::Broken(_)) => Ok(fetched.digest),
            Err(other) => Err(other),
        }
    }

    /// GET of a blob of at most [`MANIFEST_MAX_BYTES`], verified.
    pub(crate) async fn get_blob(&self, digest: &Digest, subject: &str) -> Result<Bytes, Absence> {
        let answer = self.ask(self.request(Verb::Get, RequestKind::Blob, digest.as_str()), subject).await?;
        if answer.reply.status != StatusCode::OK {
            return Err(self.judge(&answer, subject));
        }
        let content_type = content_type(&answer.reply);
        if digest_of(&answer.reply.body).as_ref() == Some(digest) {
            return Ok(answer.reply.body);
        }
        if content_type.starts_with("text/html") {
            return Err(self.no_manifest(subject, &content_type));
        }
        Err(self.corrupt(subject, "its bytes do not hash to the digest that was asked for"))
    }

    /// A 200 to a HEAD of a blob: a web page that answers every address is none.
    pub(crate) fn check_head(&self, reply: &Reply, subject: &str) -> Result<(), Absence> {
        let content_type = content_type(reply);
        if content_type.starts_with("text/html") {
            return Err(self.no_manifest(subject, &content_type));
        }
        Ok(())
    }

    fn no_manifest(&self, subject: &str, content_type: &str) -> Absence {
        let shown: String = content_type.chars().filter(char::is_ascii_graphic).take(80).collect();
        Absence::unknown(
            DoubtKind::Protocol,
            format!(
                "{} answered 200 with `{shown}` for {subject}; check that a registry and no web page or proxy answers there",
                self.place.host()
            ),
        )
    }

    pub(crate) fn corrupt(&self, subject: &str, why: &str) -> Absence {
        Absence::unknown(
            DoubtKind::Corrupt,
            format!(
                "what {} answered for {subject} cannot be trusted, as {why}; find out what lies between, and ask the registry itself",
                self.place.host()
            ),
        )
    }

    /// A manifest or blob that something else names, and that is gone.
    pub(crate) fn gone(kind: DefectKind, subject: &str, named_by: &str) -> Absence {
        Absence::broken(
            kind,
            format!(
                "{subject} is gone from the registry, but {named_by} names it; push the image again and look at clean-up jobs that delete untagged versions"
            ),
        )
    }
}

/// The registry's own word for what it answers.
const DIGEST_HEADER: &str = "docker-content-digest";

fn content_type(reply: &Reply) -> String {
    let value = reply.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    manifest::essence(value.unwrap_or_default())
}

fn digest_of(bytes: &[u8]) -> Option<Digest> {
    format!("sha256:{}", hex(&Sha256::digest(bytes))).parse().ok()
}
