//! One place asked as one identity: sends, proves who asks, judges, verifies. Everything above this file deals
//! in sightings.

use std::sync::Arc;

use http::{StatusCode, header};

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::evidence::blobs::BlobsSeen;
use crate::registry::evidence::facts::Facts;
use crate::registry::evidence::manifest::{self, MANIFEST_MAX_BYTES};
use crate::registry::identity::auth::{Auth, Proof, retry_after_secs};
use crate::registry::identity::challenge;
use crate::registry::identity::credentials::Credential;
use crate::registry::verdict::{self, Absence, Refusal, Standing};
use crate::registry::wire::habits::Habits;
use crate::registry::wire::place::Place;
use crate::registry::wire::transport::{Ask, Reply, RequestKind, Transport, Verb};
use crate::telemetry::clock::Clock;

/// What the whole process shares.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) transport: Transport,
    pub(crate) auth: Auth,
    pub(crate) facts: Facts,
    pub(crate) blobs: BlobsSeen,
    pub(crate) habits: Habits,
}

/// One place, asked as one identity.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) place: &'a Place<'a>,
}

/// An answer and what its request was entitled to see.
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) standing: Standing,
}

// === impl Session ===

impl Session<'_> {
    /// Asks, proving who asks as the registry wants it: at most two requests and one token.
    pub(crate) async fn ask(&self, mut ask: Ask, subject: &str) -> Result<Answer, Doubt> {
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
    pub(crate) fn judge(&self, answer: &Answer, subject: &str) -> Absence {
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

    pub(crate) fn request(&self, verb: Verb, kind: RequestKind, last: &str) -> Ask {
        if kind == RequestKind::Tags {
            self.place.renew();
        }
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
            route: Arc::clone(&self.place.route),
            turn: self.place.turn(),
        }
    }
}
