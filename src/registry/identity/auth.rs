//! Proving who asks: challenges remembered per host, bearer tokens exchanged once and shared.
//!
//! A token server that refuses or cannot be reached ends the question with Unknown. Nothing here ever goes on
//! without the token: an anonymous 404 would read as "the image is missing" (registry research §1.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::identity::challenge::{self, Challenge};
use crate::registry::identity::credentials::{Candidate, Credential, Fingerprint};
use crate::registry::identity::exchange::Server;
use crate::registry::identity::tokens::{TokenLife, Tokens};
use crate::registry::verdict;
use crate::registry::wire::place::Place;
use crate::registry::wire::transport::{Ask, Reply, RequestKind, Transport, Verb};
use crate::telemetry::clock::Clock;

/// Tokens and challenges kept. One per repository and credential: 10,000 sets of some images share far fewer.
pub(crate) const KEPT_MAX: usize = 16_384;
/// Body read of the answer that brings a challenge: nothing of it is used.
const CHALLENGE_BODY_MAX_BYTES: usize = 64 * 1024;

/// One credential, or none, presented at one place.
pub(crate) struct Claim<'a> {
    pub(crate) place: &'a Place<'a>,
    /// `None` asks as nobody in particular.
    pub(crate) candidate: Option<&'a Candidate>,
    /// Of everything that changes what this claim sees.
    pub(crate) fingerprint: Fingerprint,
}

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Proof {
    /// Nothing: the registry has not asked yet.
    None,
    /// Nothing: the registry once asked, no token is to be had, and now it says that it asks for none.
    Lapsed,
    /// User name and password.
    Basic(HeaderValue),
    /// A token.
    Bearer(HeaderValue),
}

/// What a host wants of who asks, as it says now.
enum Wanted {
    Proof(Challenge),
    Nothing,
    Untold,
}

/// Challenges and tokens of all hosts.
pub(crate) struct Auth {
    /// By origin and claim. Replaced by newer ones, and dropped only when something was shown without a token: a request
    /// without the token that a host once asked for could be answered by a 404 that proves nothing.
    challenges: Mutex<HashMap<(String, Fingerprint), Challenge>>,
    /// The claim that was last shown something, by origin, path of the repository and identity of the place.
    readers: Mutex<HashMap<(String, String, Fingerprint), Fingerprint>>,
    tokens: Tokens,
}

// === impl Claim ===

impl<'a> Claim<'a> {
    pub(crate) fn new(place: &'a Place<'a>, candidate: Option<&'a Candidate>) -> Self {
        let fingerprint = match candidate {
            Some(candidate) => place.fingerprint.and(candidate.credential.fingerprint()),
            None => place.fingerprint,
        };
        Self { place, candidate, fingerprint }
    }

    pub(crate) fn credential(&self) -> Option<&'a Credential> {
        self.candidate.map(|candidate| &candidate.credential)
    }

    /// The only right that is ever asked for.
    pub(crate) fn scope(&self) -> String {
        format!("repository:{}:pull", self.place.repository.path())
    }

    /// What may be sent to a registry that hides instead of asking: to the host that it was given for.
    pub(crate) fn unasked(&self) -> Option<Proof> {
        let credential = self.credential()?;
        let basic = || credential.basic_header().map(Proof::Basic);
        credential.bearer_header().map(Proof::Bearer).or_else(basic)
    }
}

// === impl Proof ===

impl Proof {
    pub(crate) fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::None | Self::Lapsed => None,
            Self::Basic(value) | Self::Bearer(value) => Some(value),
        }
    }
}

// === impl Auth ===

impl Auth {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { challenges: Mutex::default(), readers: Mutex::default(), tokens: Tokens::new(clock) }
    }

    /// The claims of a place in the order in which they are tried: the one that was shown something before
    /// first, then as they are configured. Without credentials it is one, of nobody in particular.
    pub(crate) fn claims<'a>(&self, place: &'a Place<'a>) -> Vec<Claim<'a>> {
        let candidates = place.access.credentials.candidates();
        if candidates.is_empty() {
            return vec![Claim::new(place, None)];
        }
        let mut claims: Vec<Claim<'a>> =
            candidates.iter().map(|candidate| Claim::new(place, Some(candidate))).collect();
        claims.sort_by_key(|claim| !self.is_reader(claim));
        claims
    }

    /// Whether the repository showed something to this claim the last time that it showed something to anyone
    /// of this identity.
    pub(crate) fn is_reader(&self, claim: &Claim<'_>) -> bool {
        lock(&self.readers).get(&reader_key(claim.place)) == Some(&claim.fingerprint)
    }

    /// The repository showed something to this claim.
    pub(crate) fn note_reader(&self, claim: &Claim<'_>) {
        let mut readers = lock(&self.readers);
        if readers.len() >= KEPT_MAX {
            // Each then costs what it cost at first: its credentials are tried in turn once more.
            readers.clear();
        }
        readers.insert(reader_key(claim.place), claim.fingerprint);
    }

    /// What a request should carry from the start: nothing until the host has asked for something.
    ///
    /// When a token cannot be had where the host once said, the host is asked where tokens are to be had now:
    /// it may have moved its token server, which no request without a token would ever tell us. One that asks for nothing
    /// any more is asked without: what it shows counts, what it does not show proves nothing ([`Proof::Lapsed`]).
    pub(crate) async fn prepare(&self, transport: &Transport, claim: &Claim<'_>) -> Result<Proof, Doubt> {
        let Some(known) = self.known(claim) else { return Ok(Proof::None) };
        let doubt = match self.prove(transport, claim, &known, &Proof::None).await {
            Err(doubt) if doubt.kind != DoubtKind::Throttled && known != Challenge::Basic => doubt,
            proved => return proved,
        };
        match wanted_now(transport, claim).await {
            Wanted::Proof(challenge) if challenge != known => {
                self.answer(transport, claim, challenge, &Proof::None).await
            }
            Wanted::Nothing => Ok(Proof::Lapsed),
            Wanted::Proof(_) | Wanted::Untold => Err(doubt),
        }
    }

    /// A host that once asked for a token showed something without one: it is open now.
    pub(crate) fn forget(&self, claim: &Claim<'_>) {
        lock(&self.challenges).remove(&(claim.place.origin(), claim.fingerprint));
    }

    /// What to carry after a 401 that came with `challenge` to a request that carried `refused`. An error when
    /// there is nothing else to offer. The newest challenge of a host counts.
    pub(crate) async fn answer(
        &self,
        transport: &Transport,
        claim: &Claim<'_>,
        challenge: Challenge,
        refused: &Proof,
    ) -> Result<Proof, Doubt> {
        let proof = self.prove(transport, claim, &challenge, refused).await?;
        self.remember(claim, challenge);
        Ok(proof)
    }

    /// How the host wants this claim to be proved, as far as it said.
    pub(crate) fn known(&self, claim: &Claim<'_>) -> Option<Challenge> {
        lock(&self.challenges).get(&(claim.place.origin(), claim.fingerprint)).cloned()
    }

    /// How the host wants any claim of `place` to be proved, as far as it said.
    pub(crate) fn known_at(&self, place: &Place<'_>) -> Option<Challenge> {
        self.claims(place).iter().find_map(|claim| self.known(claim))
    }

    /// The life of the token that is kept for `place`.
    pub(crate) fn token_life(&self, place: &Place<'_>) -> Option<TokenLife> {
        self.claims(place).iter().find_map(|claim| self.tokens.life(claim))
    }

    /// Remembers how the host wants to be asked.
    pub(crate) fn remember(&self, claim: &Claim<'_>, challenge: Challenge) {
        let mut challenges = lock(&self.challenges);
        let key = (claim.place.origin(), claim.fingerprint);
        // When full, hosts that are new cost one more 401 each; nothing known is given up.
        if challenges.len() < KEPT_MAX || challenges.contains_key(&key) {
            challenges.insert(key, challenge);
        }
    }

    async fn prove(
        &self,
        transport: &Transport,
        claim: &Claim<'_>,
        challenge: &Challenge,
        refused: &Proof,
    ) -> Result<Proof, Doubt> {
        let Challenge::Bearer { realm, service } = challenge else { return basic(claim, refused) };
        if let Some(bearer) = claim.credential().and_then(Credential::bearer_header) {
            return match refused {
                Proof::Bearer(_) => Err(claim.place.refused("the registry token was not accepted")),
                _ => Ok(Proof::Bearer(bearer)),
            };
        }
        if matches!(claim.credential(), Some(Credential::RegistryToken { .. })) {
            return Err(claim.place.refused("the registry token holds control characters"));
        }
        let server = Server::new(claim, realm, service.as_deref())?;
        self.tokens.get(transport, claim, &server, refused.header()).await.map(Proof::Bearer)
    }
}

fn basic(claim: &Claim<'_>, refused: &Proof) -> Result<Proof, Doubt> {
    let why = match (claim.credential().and_then(Credential::basic_header), refused) {
        (Some(header), Proof::None | Proof::Lapsed | Proof::Bearer(_)) => return Ok(Proof::Basic(header)),
        (Some(_), Proof::Basic(_)) => "user name and password were not accepted",
        (None, _) if claim.candidate.is_some() => {
            "it asks for a user name and password, and the configured credential is a token without them"
        }
        (None, _) => "it asks for a user name and password and none are configured for it",
    };
    Err(claim.place.refused(why))
}

/// How the host says that it wants to be asked, by `GET /v2/` (OCI distribution specification, end-1).
async fn wanted_now(transport: &Transport, claim: &Claim<'_>) -> Wanted {
    let Ok(url) = claim.place.base.join("v2/") else { return Wanted::Untold };
    let ask = Ask {
        verb: Verb::Get,
        kind: RequestKind::Token,
        url,
        accept: "*/*",
        authorization: None,
        form: None,
        body_max_bytes: CHALLENGE_BODY_MAX_BYTES,
        route: Arc::clone(&claim.place.route),
        turn: claim.place.turn(),
    };
    match transport.send(ask).await {
        Ok(reply) if reply.status == StatusCode::OK && !reply.foreign => Wanted::Nothing,
        Ok(reply) => challenge_of(&reply).map_or(Wanted::Untold, Wanted::Proof),
        Err(_) => Wanted::Untold,
    }
}

/// The challenge of a 401; `None` for every other answer, and for one that we do not speak.
pub(crate) fn challenge_of(reply: &Reply) -> Option<Challenge> {
    if reply.status != StatusCode::UNAUTHORIZED || reply.foreign {
        return None;
    }
    let values = reply.headers.get_all(header::WWW_AUTHENTICATE).iter();
    challenge::strongest(values.filter_map(|value| value.to_str().ok()))
}

fn reader_key(place: &Place<'_>) -> (String, String, Fingerprint) {
    (place.origin(), place.repository.path().to_owned(), place.fingerprint)
}

/// `Retry-After` of an answer.
pub(crate) fn retry_after_secs(headers: &http::HeaderMap, now: Timestamp) -> Option<u32> {
    verdict::retry_after(headers.get(header::RETRY_AFTER)?.to_str().ok()?, now)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
