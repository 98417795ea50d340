//! Bearer tokens: exchanged once however many ask, kept for their life, per host, repository and credential.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::identity::auth::{KEPT_MAX, lock, retry_after_secs, scope};
use crate::registry::identity::credentials::{Credential, Fingerprint};
use crate::registry::verdict;
use crate::registry::wire::failure::Failure;
use crate::registry::wire::place::Place;
use crate::registry::wire::transport::{Ask, RequestKind, Transport, Verb, host_and_port};
use crate::telemetry::clock::Clock;

/// Largest body of a token server: the largest tokens seen have about 10 kB.
const TOKEN_BODY_MAX_BYTES: usize = 64 * 1024;
/// Life of a token that does not say (distribution token specification: "defaults to 60 seconds").
const TOKEN_LIFE_DEFAULT_SECS: u32 = 60;
/// Longest life believed: a rotated or revoked right is noticed within the hour.
const TOKEN_LIFE_MAX_SECS: u32 = 3_600;
/// The tokens of all hosts.
pub(crate) struct Tokens {
    clock: Clock,
    slots: Mutex<HashMap<TokenKey, Arc<Slot>>>,
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
    life: TokenLife,
    good_until: Timestamp,
}

/// How long a token lives, as its server said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenLife {
    /// `expires_in` of the answer in seconds, as it was; `None` when the server did not say, which means a minute
    /// (distribution token specification).
    pub expires_in_secs: Option<f64>,
}

#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, slots: Mutex::default() }
    }

    /// The token for a place: a kept one that is still good and was not `refused`, else a new one. However many
    /// ask at once, the token server is asked once.
    pub(crate) async fn get(
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

    /// The life of the token that is kept for a place.
    pub(crate) async fn life(&self, place: &Place<'_>) -> Option<TokenLife> {
        let slot = self.slot(place);
        let outcome = slot.outcome.lock().await;
        outcome.as_ref()?.as_ref().ok().map(|token| token.life)
    }

    fn slot(&self, place: &Place<'_>) -> Arc<Slot> {
        let key = TokenKey { origin: place.origin(), scope: scope(place), fingerprint: place.fingerprint };
        let mut tokens = lock(&self.slots);
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
            route: Arc::clone(&place.route),
            turn: place.turn(),
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
        let life = TokenLife { expires_in_secs: body.expires_in };
        Ok(Token { header, life, good_until: good_until(now, body.expires_in) })
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
