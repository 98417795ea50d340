//! Bearer tokens: exchanged once however many ask, kept for their life, per host, repository and credential.
//!
//! A token is renewed ahead by whoever asks for it late in its life, within that request and not by a task of
//! its own: nothing is fetched for a repository that nobody looks at, and nothing outlives the look that
//! wanted it. It costs one request in eight tenths of a life one round trip; others use the old token meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;

use crate::model::sighting::Doubt;
use crate::registry::identity::auth::{Claim, KEPT_MAX, lock};
use crate::registry::identity::credentials::Fingerprint;
use crate::registry::identity::exchange::Server;
use crate::registry::identity::life::Life;
use crate::registry::wire::transport::Transport;
use crate::telemetry::clock::Clock;

/// Longest wait for a token that is renewed ahead: a good one is at hand, so a slow server may not hold up the
/// look. An exchange takes 0.1 to 0.5 s.
const RENEWAL_LIMIT: Duration = Duration::from_secs(2);

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

/// One token.
#[derive(Default)]
struct Slot {
    kept: Mutex<Option<Token>>,
    /// Exchanges that ended, so that who waited for one knows that its outcome is fresh.
    flights: AtomicU64,
    /// Held during an exchange, which makes concurrent ones one; the doubt that the last one ended with.
    flight: tokio::sync::Mutex<Option<Doubt>>,
}

/// A token as it is sent.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) life: Life,
}

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLife {
    /// Seconds, as they are believed: the least of what its server said (a minute when it said nothing), what the
    /// token says of itself, and an hour.
    pub secs: i64,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, slots: Mutex::default() }
    }

    /// The token for a claim: a kept one that is still good and was not `refused`, else a new one. However many
    /// ask at once, the token server is asked once.
    pub(crate) async fn get(
        &self,
        transport: &Transport,
        claim: &Claim<'_>,
        server: &Server,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Doubt> {
        let slot = self.slot(claim);
        if let Some(token) = self.good(&slot, refused) {
            return Ok(self.renewed(transport, claim, server, &slot, token).await);
        }
        let flights_before = slot.flights.load(Ordering::Acquire);
        let mut failure = slot.flight.lock().await;
        if let Some(token) = self.good(&slot, refused) {
            return Ok(token.header);
        }
        let fresh = slot.flights.load(Ordering::Acquire) != flights_before;
        if let Some(doubt) = failure.as_ref().filter(|_| fresh) {
            return Err(doubt.clone());
        }
        let exchanged = server.exchange(transport, &self.clock, claim).await;
        *failure = exchanged.as_ref().err().cloned();
        *lock(&slot.kept) = exchanged.as_ref().ok().cloned();
        slot.flights.fetch_add(1, Ordering::Release);
        exchanged.map(|token| token.header)
    }

    /// The life of the token that is kept for a claim.
    pub(crate) fn life(&self, claim: &Claim<'_>) -> Option<TokenLife> {
        // Rounded: what the way of the answer took is not the token's.
        let life = |token: &Token| token.life.whole.round(jiff::Unit::Second).unwrap_or(token.life.whole);
        lock(&self.slot(claim).kept).as_ref().map(|token| TokenLife { secs: life(token).as_secs() })
    }

    /// The kept token, if it may be used.
    fn good(&self, slot: &Slot, refused: Option<&HeaderValue>) -> Option<Token> {
        let good = |token: &Token| token.life.good_until > self.clock.now() && Some(&token.header) != refused;
        lock(&slot.kept).clone().filter(good)
    }

    /// A good token, or its successor when it is late in its life and nobody is fetching one. A renewal that
    /// fails costs nothing: the old token stays, and the next try waits a while.
    async fn renewed(
        &self,
        transport: &Transport,
        claim: &Claim<'_>,
        server: &Server,
        slot: &Slot,
        token: Token,
    ) -> HeaderValue {
        if self.clock.now() < token.life.fresh_until {
            return token.header;
        }
        let Ok(mut failure) = slot.flight.try_lock() else { return token.header };
        let exchange = server.exchange(transport, &self.clock, claim);
        let next = match tokio::time::timeout(RENEWAL_LIMIT, exchange).await {
            Ok(Ok(next)) => next,
            Ok(Err(_)) | Err(_) => {
                let again_at = self.clock.now().checked_add(token.life.pause);
                let life = Life { fresh_until: again_at.unwrap_or(token.life.good_until), ..token.life };
                Token { life, ..token }
            }
        };
        *failure = None;
        let header = next.header.clone();
        *lock(&slot.kept) = Some(next);
        header
    }

    fn slot(&self, claim: &Claim<'_>) -> Arc<Slot> {
        let key =
            TokenKey { origin: claim.place.origin(), scope: claim.scope(), fingerprint: claim.fingerprint };
        let mut tokens = lock(&self.slots);
        if tokens.len() >= KEPT_MAX && !tokens.contains_key(&key) {
            // Slots in flight are kept alive by who uses them; the others cost one exchange each.
            tokens.clear();
        }
        Arc::clone(tokens.entry(key).or_default())
    }
}
