//! Proving who asks: challenges remembered per host, bearer tokens exchanged once and shared.
//!
//! A token server that refuses or cannot be reached ends the question with Unknown. Nothing here ever goes on
//! without the token: an anonymous 404 would read as "the image is missing" (registry research §1.2).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::HeaderValue;
use jiff::Timestamp;
use url::Url;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::identity::challenge::Challenge;
use crate::registry::identity::credentials::Fingerprint;
use crate::registry::identity::tokens::{TokenLife, Tokens};
use crate::registry::verdict;
use crate::registry::wire::guard;
use crate::registry::wire::place::Place;
use crate::registry::wire::transport::Transport;
use crate::telemetry::clock::Clock;

/// Tokens and challenges kept. One per repository and credential: 10,000 sets of some images share far fewer.
pub(crate) const KEPT_MAX: usize = 16_384;

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Proof {
    /// Nothing: the registry has not asked yet.
    None,
    /// User name and password.
    Basic(HeaderValue),
    /// A token.
    Bearer(HeaderValue),
}

/// Challenges and tokens of all hosts.
pub(crate) struct Auth {
    /// By origin and credential. Never forgotten while the process lives: a request without the token that a
    /// host once asked for could be answered by a 404 that proves nothing.
    challenges: Mutex<HashMap<(String, Fingerprint), Challenge>>,
    tokens: Tokens,
}

// === impl Proof ===

impl Proof {
    pub(crate) fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::None => None,
            Self::Basic(value) | Self::Bearer(value) => Some(value),
        }
    }
}

// === impl Auth ===

impl Auth {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { challenges: Mutex::default(), tokens: Tokens::new(clock) }
    }

    /// What a request to `place` should carry from the start: nothing until the host has asked for something.
    pub(crate) async fn prepare(&self, transport: &Transport, place: &Place<'_>) -> Result<Proof, Doubt> {
        let known = lock(&self.challenges).get(&(place.origin(), place.fingerprint)).cloned();
        match known {
            None => Ok(Proof::None),
            Some(challenge) => self.prove(transport, place, &challenge, &Proof::None).await,
        }
    }

    /// What to carry after a 401 that came with `challenge` to a request that carried `refused`. An error when
    /// there is nothing else to offer.
    pub(crate) async fn answer(
        &self,
        transport: &Transport,
        place: &Place<'_>,
        challenge: Challenge,
        refused: &Proof,
    ) -> Result<Proof, Doubt> {
        let proof = self.prove(transport, place, &challenge, refused).await?;
        self.remember(place, challenge);
        Ok(proof)
    }

    /// How the host wants to be asked, if it said so.
    pub(crate) fn known(&self, place: &Place<'_>) -> Option<Challenge> {
        lock(&self.challenges).get(&(place.origin(), place.fingerprint)).cloned()
    }

    /// The life of the token that is kept for `place`.
    pub(crate) async fn token_life(&self, place: &Place<'_>) -> Option<TokenLife> {
        self.tokens.life(place).await
    }

    /// Remembers how the host wants to be asked.
    pub(crate) fn remember(&self, place: &Place<'_>, challenge: Challenge) {
        let mut challenges = lock(&self.challenges);
        let key = (place.origin(), place.fingerprint);
        // When full, hosts that are new cost one more 401 each; nothing known is given up.
        if challenges.len() < KEPT_MAX || challenges.contains_key(&key) {
            challenges.insert(key, challenge);
        }
    }

    async fn prove(
        &self,
        transport: &Transport,
        place: &Place<'_>,
        challenge: &Challenge,
        refused: &Proof,
    ) -> Result<Proof, Doubt> {
        match challenge {
            Challenge::Basic => match (place.access.credential.basic_header(), refused) {
                (Some(_), Proof::Basic(_)) => Err(place.refused("user name and password were not accepted")),
                (Some(header), _) => Ok(Proof::Basic(header)),
                (None, _) => {
                    Err(place.refused("it asks for a user name and password and none are configured for it"))
                }
            },
            Challenge::Bearer { realm, service } => {
                let url = token_url(place, realm, service.as_deref())?;
                self.tokens.get(transport, place, url, refused.header()).await.map(Proof::Bearer)
            }
        }
    }
}

/// The token server's address with the question in it.
fn token_url(place: &Place<'_>, realm: &str, service: Option<&str>) -> Result<Url, Doubt> {
    let refused = |why: String| {
        Doubt::new(
            DoubtKind::Auth,
            format!(
                "{} names a token server that is not asked for {}, because {why}; check that `repository` \
                 names the registry that you mean",
                place.host(),
                place.name()
            ),
        )
    };
    let mut url: Url = realm.parse().map_err(|_| refused(guard::Refused::NotAbsolute.to_string()))?;
    guard::check(&url, &place.base, place.access.insecure).map_err(|why| refused(why.to_string()))?;
    url.set_fragment(None);
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &scope(place));
    }
    Ok(url)
}

/// The only right that is ever asked for.
pub(crate) fn scope(place: &Place<'_>) -> String {
    format!("repository:{}:pull", place.repository.path())
}

/// `Retry-After` of an answer.
pub(crate) fn retry_after_secs(headers: &http::HeaderMap, now: Timestamp) -> Option<u32> {
    verdict::retry_after(headers.get(http::header::RETRY_AFTER)?.to_str().ok()?, now)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
