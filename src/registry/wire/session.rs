//! One place asked as one identity: sends, proves who asks, judges, verifies. Everything above this file deals
//! in sightings.

use std::sync::Arc;

use http::StatusCode;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::evidence::facts::Facts;
use crate::registry::evidence::manifest::{self, MANIFEST_MAX_BYTES};
use crate::registry::evidence::seen::BlobsSeen;
use crate::registry::identity::auth::{Auth, Claim, Proof, challenge_of, retry_after_secs};
use crate::registry::identity::challenge::Challenge;
use crate::registry::identity::expiry;
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
    /// What is said with a doubt about who asks: which credentials were tried. Begins with `; ` or is empty.
    pub(crate) remark: String,
}

/// What one claim's answer is worth when another claim may see more; the greatest of several counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Not there, says the registry to somebody whom it knows, and who was never shown anything here.
    Absent,
    /// Not there, or hidden.
    Hidden,
    /// Not for this claim.
    Refused,
    /// Nobody else would see more.
    Conclusive,
}

// === impl Session ===

impl Session<'_> {
    /// Asks, proving who asks as the registry wants it, with one credential after the other until one is shown
    /// something: at most two requests and one token for each. Absence is believed of a credential that was
    /// shown something of this repository before, or when all say so.
    pub(crate) async fn ask(&self, mut ask: Ask, subject: &str) -> Result<Answer, Doubt> {
        if let Some(why) = self.place.access.credentials.refusal() {
            return Err(Doubt::new(
                DoubtKind::Auth,
                format!("{} was not asked for {subject}: {why}", self.place.host()),
            ));
        }
        let auth = &self.shared.auth;
        let mut heaviest: Option<(Weight, Result<Answer, Doubt>)> = None;
        for claim in auth.claims(self.place) {
            let outcome = self.ask_as(&claim, &mut ask, subject).await;
            let weight = self.weigh(&claim, &outcome);
            if matches!(&outcome, Ok(answer) if answer.reply.status == StatusCode::OK) {
                auth.note_reader(&claim);
            }
            if weight == Weight::Conclusive {
                return outcome;
            }
            if heaviest.as_ref().is_none_or(|(other, _)| weight > *other) {
                heaviest = Some((weight, outcome));
            }
        }
        let remark = self.remark();
        match heaviest {
            Some((_, Ok(answer))) => Ok(Answer { remark, ..answer }),
            Some((_, Err(doubt))) => Err(Doubt { message: doubt.message + &remark, ..doubt }),
            None => Err(self.place.refused("there is nobody to ask as")),
        }
    }

    /// Asks as one claim: at most two requests and one token.
    async fn ask_as(&self, claim: &Claim<'_>, ask: &mut Ask, subject: &str) -> Result<Answer, Doubt> {
        let Shared { transport, auth, .. } = self.shared;
        let mut proof = auth.prepare(transport, claim).await?;
        let mut reply = self.send(ask, &proof, subject).await?;
        if self.may_be_hidden(&reply, &proof) {
            // A registry that hides instead of asking: the credential is offered once, to the host that it was
            // given for. What shows itself then, or a challenge, settles it; another 404 proves nothing.
            let Some(offer) = claim.unasked() else { return Ok(answer(reply, Standing::Unproven)) };
            let offered = self.send(ask, &offer, subject).await?;
            match offered.status {
                StatusCode::OK => {
                    if let Proof::Basic(_) = offer {
                        auth.remember(claim, Challenge::Basic);
                    }
                    return Ok(answer(offered, Standing::Accepted));
                }
                StatusCode::UNAUTHORIZED => (reply, proof) = (offered, offer),
                _ => return Ok(answer(offered, Standing::Unproven)),
            }
        }
        // Once and no more: who is refused again is not allowed.
        let has_ended = expiry::may_have_ended(self.place.host(), ask.verb, &reply, &proof);
        let known = || has_ended.then(|| auth.known(claim)).flatten();
        if let Some(challenge) = challenge_of(&reply).or_else(known) {
            proof = auth.answer(transport, claim, challenge, &proof).await?;
            reply = self.send(ask, &proof, subject).await?;
        }
        let standing = match (&proof, claim.candidate) {
            (Proof::Lapsed, _) => Standing::Lapsed,
            (Proof::Basic(_) | Proof::Bearer(_), Some(_)) => Standing::Accepted,
            // A token for nobody proves no absence where a credential was meant and is not at hand.
            _ if self.place.access.credentials.is_configured() => Standing::Unproven,
            (Proof::Basic(_) | Proof::Bearer(_), None) => Standing::Accepted,
            (Proof::None, _) => Standing::Open,
        };
        if standing == Standing::Lapsed && reply.status == StatusCode::OK {
            auth.forget(claim);
        }
        Ok(answer(reply, standing))
    }

    fn weigh(&self, claim: &Claim<'_>, outcome: &Result<Answer, Doubt>) -> Weight {
        match outcome {
            Err(doubt) if doubt.kind == DoubtKind::Auth => Weight::Refused,
            // The host is in trouble or asks for a pause: the next credential would only add to it.
            Err(_) => Weight::Conclusive,
            Ok(answer) if answer.reply.foreign => Weight::Conclusive,
            Ok(answer) => match answer.reply.status.as_u16() {
                404 if matches!(answer.standing, Standing::Unproven | Standing::Lapsed) => Weight::Hidden,
                404 if !self.shared.auth.is_reader(claim) => Weight::Absent,
                401 | 403 => Weight::Refused,
                400 if expiry::is_public_ecr(self.place.host()) => Weight::Refused,
                _ => Weight::Conclusive,
            },
        }
    }

    /// Which credentials were tried and which could not be, for who wonders why nothing is shown.
    fn remark(&self) -> String {
        let credentials = &self.place.access.credentials;
        let tried: Vec<&str> =
            credentials.candidates().iter().map(|candidate| candidate.source.as_str()).collect();
        let tried =
            if tried.is_empty() { String::new() } else { format!("; tried: {}", tried.join(", then ")) };
        credentials.problems().into_iter().fold(tried, |text, problem| format!("{text}; {problem}"))
    }

    async fn send(&self, ask: &mut Ask, proof: &Proof, subject: &str) -> Result<Reply, Doubt> {
        ask.authorization = proof.header().cloned();
        let sent = self.shared.transport.send(ask.clone()).await;
        sent.map_err(|failure| failure.doubt(self.place.host(), subject))
    }

    /// A 404 to a request without the credential that is configured.
    fn may_be_hidden(&self, reply: &Reply, proof: &Proof) -> bool {
        reply.status == StatusCode::NOT_FOUND
            && proof.header().is_none()
            && self.place.access.credentials.is_configured()
    }

    /// The verdict of an answer that is not 200.
    pub(crate) fn judge(&self, answer: &Answer, subject: &str) -> Absence {
        let now = self.shared.clock.now();
        let absence = verdict::judge(&Refusal {
            host: self.place.host(),
            subject,
            status: answer.reply.status,
            standing: answer.standing,
            foreign: answer.reply.foreign,
            codes: &verdict::error_codes(&answer.reply.body),
            retry_after_secs: retry_after_secs(&answer.reply.headers, now),
        });
        match absence {
            Absence::Unknown(doubt) if doubt.kind == DoubtKind::Auth => {
                let ended = if expiry::says_ended(&answer.reply) { expiry::REMARK } else { "" };
                Absence::Unknown(Doubt { message: doubt.message + ended + &answer.remark, ..doubt })
            }
            other => other,
        }
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
            form: None,
            body_max_bytes: MANIFEST_MAX_BYTES,
            route: Arc::clone(&self.place.route),
            turn: self.place.turn(),
        }
    }
}

fn answer(reply: Reply, standing: Standing) -> Answer {
    Answer { reply, standing, remark: String::new() }
}
