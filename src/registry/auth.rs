//! Proving who asks: challenges remembered per host, bearer tokens exchanged once and shared.
//!
//! A token server that refuses or cannot be reached ends the question with Unknown. Nothing here ever goes on
//! without the token: an anonymous 404 would read as "the image is missing" (registry research §1.2).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::challenge::Challenge;
use crate::registry::credentials::{Credential, Fingerprint};
use crate::registry::guard;
use crate::registry::place::Place;
use crate::registry::transport::{Ask, Failure, RequestKind, Transport, Verb, host_and_port};
use crate::registry::verdict;
use crate::telemetry::clock::Clock;

/// Largest body of a token server: the largest tokens seen have about 10 kB.
const TOKEN_BODY_MAX_BYTES: usize = 64 * 1024;
/// Life of a token that does not say (distribution token specification: "defaults to 60 seconds").
const TOKEN_LIFE_DEFAULT_SECS: u32 = 60;
/// Longest life believed: a rotated or revoked right is noticed within the hour.
const TOKEN_LIFE_MAX_SECS: u32 = 3_600;
/// Tokens and challenges kept. One per repository and credential: 10,000 sets of some images share far fewer.
const KEPT_MAX: usize = 16_384;

/// What a request carries.
#[derive(Clone)]
pub(super) enum Proof {
    /// Nothing: the registry has not asked yet.
    None,
    /// User name and password.
    Basic(HeaderValue),
    /// A token.
    Bearer(HeaderValue),
}

/// Challenges and tokens of all hosts.
pub(super) struct Auth {
    clock: Clock,
    /// By origin and credential. Never forgotten while the process lives: a request without the token that a
    /// host once asked for could be answered by a 404 that proves nothing.
    challenges: Mutex<HashMap<(String, Fingerprint), Challenge>>,
    tokens: Mutex<HashMap<TokenKey, Arc<Slot>>>,
}

/// Whose token for what. The credential is part of it: nobody rides on another's token.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    origin: String,
    scope: String,
    fingerprint: Fingerprint,
}

/// One token; its lock makes concurrent exchanges one.
#[derive(Default)]
struct Slot {
    /// Exchanges that ended, so that who waited for one knows that its outcome is fresh.
    flights: AtomicU64,
    outcome: tokio::sync::Mutex<Option<Result<Token, Doubt>>>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    good_until: Timestamp,
}

#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

// === impl Proof ===

impl Proof {
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::None => None,
            Self::Basic(value) | Self::Bearer(value) => Some(value),
        }
    }
}

// === impl Auth ===

impl Auth {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, challenges: Mutex::default(), tokens: Mutex::default() }
    }

    /// What a request to `place` should carry from the start: nothing until the host has asked for something.
    pub(super) async fn prepare(&self, transport: &Transport, place: &Place<'_>) -> Result<Proof, Doubt> {
        let known = lock(&self.challenges).get(&(place.origin(), place.fingerprint)).cloned();
        match known {
            None => Ok(Proof::None),
            Some(challenge) => self.prove(transport, place, &challenge, &Proof::None).await,
        }
    }

    /// What to carry after a 401 that came with `challenge` to a request that carried `refused`. An error when
    /// there is nothing else to offer.
    pub(super) async fn answer(
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

    /// Remembers how the host wants to be asked.
    pub(super) fn remember(&self, place: &Place<'_>, challenge: Challenge) {
        let mut challenges = lock(&self.challenges);
        if challenges.len() < KEPT_MAX {
            challenges.insert((place.origin(), place.fingerprint), challenge);
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
                self.token(transport, place, url, refused.header()).await.map(Proof::Bearer)
            }
        }
    }

    /// The token for a place: a kept one that is still good and was not `refused`, else a new one. However many
    /// ask at once, the token server is asked once.
    async fn token(
        &self,
        transport: &Transport,
        place: &Place<'_>,
        url: Url,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Doubt> {
        let slot = self.slot(place);
        let flights_before = slot.flights.load(Ordering::Acquire);
        let mut outcome = slot.outcome.lock().await;
        let fresh = slot.flights.load(Ordering::Acquire) != flights_before;
        match &*outcome {
            Some(Ok(token)) if token.good_until > self.clock.now() && Some(&token.header) != refused => {
                return Ok(token.header.clone());
            }
            Some(Err(doubt)) if fresh => return Err(doubt.clone()),
            _ => {}
        }
        let exchanged = self.exchange(transport, place, url).await;
        *outcome = Some(exchanged.clone());
        slot.flights.fetch_add(1, Ordering::Release);
        exchanged.map(|token| token.header)
    }

    fn slot(&self, place: &Place<'_>) -> Arc<Slot> {
        let key = TokenKey { origin: place.origin(), scope: scope(place), fingerprint: place.fingerprint };
        let mut tokens = lock(&self.tokens);
        if tokens.len() >= KEPT_MAX && !tokens.contains_key(&key) {
            // Slots in flight are kept alive by who uses them; the others cost one exchange each.
            tokens.clear();
        }
        Arc::clone(tokens.entry(key).or_default())
    }

    async fn exchange(&self, transport: &Transport, place: &Place<'_>, url: Url) -> Result<Token, Doubt> {
        let server = host_and_port(&url);
        let subject = format!("a token to pull {}", place.name());
        let ask = Ask {
            verb: Verb::Get,
            kind: RequestKind::Token,
            url,
            accept: "application/json",
            authorization: place.access.credential.basic_header(),
            body_max_bytes: TOKEN_BODY_MAX_BYTES,
            insecure: place.access.insecure,
        };
        let reply = transport.send(ask).await.map_err(|failure| match failure {
            // A token server that sends us elsewhere has not given a token: no more is known than that.
            Failure::Redirect { .. } => Doubt { kind: DoubtKind::Auth, ..failure.doubt(&server, &subject) },
            other => other.doubt(&server, &subject),
        })?;
        let now = self.clock.now();
        if reply.status != StatusCode::OK {
            let codes = verdict::error_codes(&reply.body);
            return Err(refusal(&server, place, reply.status, &codes, retry_after_secs(&reply.headers, now)));
        }
        let body: TokenBody = serde_json::from_slice(&reply.body).map_err(|_| no_token(&server, place))?;
        let secret = [body.token, body.access_token]
            .into_iter()
            .flatten()
            .find(|token| !token.is_empty())
            .ok_or_else(|| no_token(&server, place))?;
        let mut header = HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| {
            Doubt::new(
                DoubtKind::Auth,
                format!("the token server {server} gave a token for {} that cannot be sent, as it holds control characters; check what answers at that address", place.name()),
            )
        })?;
        header.set_sensitive(true);
        Ok(Token { header, good_until: good_until(now, body.expires_in) })
    }
}

/// Nine tenths of a token's life, so that it does not end on its way.
fn good_until(now: Timestamp, expires_in_secs: Option<f64>) -> Timestamp {
    let life_secs = expires_in_secs
        .filter(|secs| secs.is_finite() && *secs > 0.0)
        .unwrap_or_else(|| f64::from(TOKEN_LIFE_DEFAULT_SECS))
        .min(f64::from(TOKEN_LIFE_MAX_SECS));
    let life = SignedDuration::try_from_secs_f64(life_secs * 0.9).unwrap_or(SignedDuration::ZERO);
    now.checked_add(life).unwrap_or(now)
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
fn scope(place: &Place<'_>) -> String {
    format!("repository:{}:pull", place.repository.path())
}

/// The doubt of a token server that answered something else than 200.
fn refusal(
    server: &str,
    place: &Place<'_>,
    status: StatusCode,
    codes: &[String],
    retry_after_secs: Option<u32>,
) -> Doubt {
    let who = match place.access.credential {
        Credential::Anonymous => "without a credential",
        _ => "with the configured credential",
    };
    let (kind, next) = match status.as_u16() {
        429 => (DoubtKind::Throttled, "it is asked again later"),
        408 => (DoubtKind::Transient, "it is asked again at the next look"),
        400..=499 => {
            (DoubtKind::Auth, "check the name of the repository and that the credential may pull it")
        }
        300..=399 => (DoubtKind::Auth, "check that `repository` names the registry that you mean"),
        _ => (DoubtKind::Transient, "it is asked again at the next look"),
    };
    let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
    let message = format!(
        "the token server {server} answered {}{codes} when asked {who} for a token to pull {}; {next}",
        status.as_u16(),
        place.name()
    );
    Doubt { kind, message, retry_after_secs }
}

fn no_token(server: &str, place: &Place<'_>) -> Doubt {
    Doubt::new(
        DoubtKind::Protocol,
        format!(
            "the token server {server} answered 200 without a token to pull {}; check what answers at that address",
            place.name()
        ),
    )
}

/// `Retry-After` of an answer.
pub(super) fn retry_after_secs(headers: &http::HeaderMap, now: Timestamp) -> Option<u32> {
    verdict::retry_after(headers.get(http::header::RETRY_AFTER)?.to_str().ok()?, now)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_for_nine_tenths_of_its_life() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (expires_in, secs) in [
            (Some(300.0), 270),
            (None, 54),
            (Some(0.0), 54),
            (Some(-5.0), 54),
            (Some(f64::NAN), 54),
            (Some(1e300), 3_240),
        ] {
            assert_eq!(good_until(now, expires_in).duration_since(now).as_secs(), secs, "{expires_in:?}");
        }
    }
}
