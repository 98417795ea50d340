//! One place asked as one identity: sends, proves who asks, judges, verifies. Everything above this file deals
//! in sightings.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::model::Digest;
use crate::model::sighting::{DefectKind, Doubt, DoubtKind};
use crate::registry::auth::{Auth, Proof, retry_after_secs};
use crate::registry::challenge;
use crate::registry::credentials::Credential;
use crate::registry::facts::Facts;
use crate::registry::manifest::{self, MANIFEST_MAX_BYTES};
use crate::registry::place::Place;
use crate::registry::transport::{Ask, Reply, RequestKind, Transport, Verb};
use crate::registry::verdict::{self, Absence, Refusal, Standing};
use crate::telemetry::clock::Clock;

/// What the whole process shares.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) transport: Transport,
    pub(super) auth: Auth,
    pub(super) facts: Facts,
    pub(super) habits: Habits,
}

/// What hosts were found not to do; learnt once, by origin.
#[derive(Default)]
pub(super) struct Habits {
    /// HEAD is refused or gives no digest: a GET is sent in its place.
    no_head: Mutex<HashSet<String>>,
    /// Number of tags per page that the host accepts; `None` = the parameter is refused.
    page: Mutex<HashMap<String, Option<u32>>>,
}

/// One place, asked as one identity.
#[derive(Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) shared: &'a Shared,
    pub(super) place: &'a Place<'a>,
}

/// An answer and what its request was entitled to see.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) standing: Standing,
}

/// Bytes of a manifest that hash to its digest.
pub(super) struct Fetched {
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
    pub(super) content_type: String,
}

// === impl Session ===

impl Session<'_> {
    /// Asks, proving who asks as the registry wants it: at most two requests and one token.
    pub(super) async fn ask(&self, mut ask: Ask, subject: &str) -> Result<Answer, Doubt> {
        let Shared { transport, auth, .. } = self.shared;
        if let Credential::Unusable { why } = &self.place.access.credential {
            return Err(Doubt::new(
                DoubtKind::Auth,
                format!("{} was not asked for {subject}: {why}", self.place.host()),
            ));
        }
        let mut proof = auth.prepare(transport, self.place).await?;
        let mut reply = self.send(&mut ask, &proof, subject).await?;
        if self.may_be_hidden(&reply, &proof) {
            // A registry that hides instead of asking: the credential is offered once, to the host that it was
            // given for. What shows itself then, or a challenge, settles it; another 404 proves nothing.
            let Some(basic) = self.place.access.credential.basic_header() else {
                return Ok(Answer { reply, standing: Standing::Unproven });
            };
            let offered = self.send(&mut ask, &Proof::Basic(basic.clone()), subject).await?;
            match offered.status {
                StatusCode::OK => {
                    auth.remember(self.place, challenge::Challenge::Basic);
                    return Ok(Answer { reply: offered, standing: Standing::Accepted });
                }
                StatusCode::UNAUTHORIZED => (reply, proof) = (offered, Proof::Basic(basic)),
                _ => return Ok(Answer { reply: offered, standing: Standing::Unproven }),
            }
        }
        if reply.status == StatusCode::UNAUTHORIZED && !reply.foreign {
            let values = reply.headers.get_all(header::WWW_AUTHENTICATE).iter();
            if let Some(challenge) = challenge::strongest(values.filter_map(|value| value.to_str().ok())) {
                proof = auth.answer(transport, self.place, challenge, &proof).await?;
                reply = self.send(&mut ask, &proof, subject).await?;
            }
        }
        let standing = match (&proof, self.place.access.credential.is_configured()) {
            (Proof::Basic(_) | Proof::Bearer(_), _) => Standing::Accepted,
            (Proof::None, false) => Standing::Open,
            (Proof::None, true) => Standing::Unproven,
        };
        Ok(Answer { reply, standing })
    }

    async fn send(&self, ask: &mut Ask, proof: &Proof, subject: &str) -> Result<Reply, Doubt> {
        ask.authorization = proof.header().cloned();
        let sent = self.shared.transport.send(ask.clone()).await;
        sent.map_err(|failure| failure.doubt(self.place.host(), subject))
    }

    /// A 404 to a request without the credential that is configured.
    fn may_be_hidden(&self, reply: &Reply, proof: &Proof) -> bool {
        reply.status == StatusCode::NOT_FOUND
            && matches!(proof, Proof::None)
            && self.place.access.credential.is_configured()
    }

    /// The verdict of an answer that is not 200.
    pub(super) fn judge(&self, answer: &Answer, subject: &str) -> Absence {
        let now = self.shared.clock.now();
        verdict::judge(&Refusal {
            host: self.place.host(),
            subject,
            status: answer.reply.status,
            standing: answer.standing,
            foreign: answer.reply.foreign,
            codes: &verdict::error_codes(&answer.reply.body),
            retry_after_secs: retry_after_secs(&answer.reply.headers, now),
        })
    }

    pub(super) fn request(&self, verb: Verb, kind: RequestKind, last: &str) -> Ask {
        let (path, accept) = match kind {
            RequestKind::Manifest => ("manifests", manifest::ACCEPT),
            RequestKind::Blob => ("blobs", "*/*"),
            RequestKind::Tags | RequestKind::Token => ("tags", "application/json"),
        };
        Ask {
            verb,
            kind,
            url: self.place.url(path, last),
            accept,
            authorization: None,
            body_max_bytes: MANIFEST_MAX_BYTES,
            insecure: self.place.access.insecure,
        }
    }

    /// GET of a manifest by tag or digest. The digest is computed over the bytes; what the registry says it is,
    /// and what was `expected`, must agree with that.
    pub(super) async fn get_manifest(
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
    pub(super) async fn head(&self, reference: &str, subject: &str) -> Result<Digest, Absence> {
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
    pub(super) async fn get_blob(&self, digest: &Digest, subject: &str) -> Result<Bytes, Absence> {
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

    pub(super) fn corrupt(&self, subject: &str, why: &str) -> Absence {
        Absence::unknown(
            DoubtKind::Corrupt,
            format!(
                "what {} answered for {subject} cannot be trusted, as {why}; find out what lies between, and ask the registry itself",
                self.place.host()
            ),
        )
    }

    /// A manifest or blob that something else names, and that is gone.
    pub(super) fn gone(kind: DefectKind, subject: &str, named_by: &str) -> Absence {
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
    use std::fmt::Write as _;
    let mut text = String::with_capacity("sha256:".len() + 64);
    text.push_str("sha256:");
    Sha256::digest(bytes).iter().try_for_each(|byte| write!(text, "{byte:02x}")).ok()?;
    text.parse().ok()
}

// === impl Habits ===

impl Habits {
    fn knows_no_head(&self, place: &Place<'_>) -> bool {
        self.no_head.lock().unwrap_or_else(PoisonError::into_inner).contains(&place.origin())
    }

    fn learn_no_head(&self, place: &Place<'_>) {
        self.no_head.lock().unwrap_or_else(PoisonError::into_inner).insert(place.origin());
    }

    /// The page size that the host is known to accept; `default` when nothing is known.
    pub(super) fn page(&self, place: &Place<'_>, default: u32) -> Option<u32> {
        let pages = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(&place.origin()).copied().unwrap_or(Some(default))
    }

    pub(super) fn learn_page(&self, place: &Place<'_>, page: Option<u32>) {
        self.page.lock().unwrap_or_else(PoisonError::into_inner).insert(place.origin(), page);
    }
}
