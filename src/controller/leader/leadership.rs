//! The right to act, asked at each effect: a token that lapses by itself, and the client that asks it.

use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, Stream};
use http::{Method, Request};
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::BoxError;

use crate::telemetry::kube_call::{CALL_LIMIT, Withheld};

/// What a process says that may not act now.
const NOT_LEADING: &str = "this controller does not hold the lease; the one that does will do it";

/// Whether this process may act. All clones are one.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    held: Mutex<Held>,
    /// Raised each time leadership is won or found lost.
    turns: watch::Sender<u64>,
    /// Effects under way.
    effects: watch::Sender<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// There is no election.
    Always,
    /// Effects may begin before this instant.
    Until(Instant),
    No,
}

/// An effect under way, until it is dropped.
#[derive(Debug)]
struct Effect(Leadership);

// === impl Held ===

impl Held {
    fn lasts(self) -> bool {
        match self {
            Self::Always => true,
            Self::Until(until) => Instant::now() < until,
            Self::No => false,
        }
    }
}

// === impl Leadership ===

impl Leadership {
    /// Of a process without election: it always leads.
    pub fn always() -> Self {
        Self::new(Held::Always)
    }

    /// Of a process that has yet to be elected.
    pub fn standby() -> Self {
        Self::new(Held::No)
    }

    fn new(held: Held) -> Self {
        let (turns, effects) = (watch::Sender::default(), watch::Sender::default());
        Self(Arc::new(Inner { held: Mutex::new(held), turns, effects }))
    }

    /// Whether an effect may begin now.
    pub fn is_held(&self) -> bool {
        self.held().lasts()
    }

    /// Begins an effect, which is counted until the answer is dropped.
    ///
    /// # Errors
    /// This process does not lead now.
    fn begin(&self) -> Result<Effect, Withheld> {
        // Counted before it is asked: whoever gives leadership up and then sees no effect will see none.
        let effect = Effect::count(self);
        if self.is_held() { Ok(effect) } else { Err(Withheld(NOT_LEADING)) }
    }

    /// Effects may begin before `until`. True when this process did not lead before.
    pub(super) fn extend(&self, until: Instant) -> bool {
        let is_won = {
            let mut held = self.held();
            let was_held = held.lasts();
            *held = Held::Until(until);
            !was_held
        };
        if is_won {
            self.turn();
        }
        is_won
    }

    /// Leadership was found to have lapsed.
    pub(super) fn lapsed(&self) {
        *self.held() = Held::No;
        self.turn();
    }

    fn turn(&self) {
        self.0.turns.send_modify(|turns| *turns += 1);
    }

    /// No effect begins any more; returns when none is under way. False when one still is after the longest time that
    /// one may take.
    pub(super) async fn resign(&self) -> bool {
        *self.held() = Held::No;
        let mut effects = self.0.effects.subscribe();
        let drained = effects.wait_for(|under_way| *under_way == 0);
        tokio::time::timeout(CALL_LIMIT, drained).await.is_ok()
    }

    /// An item each time leadership is won or found lost from now on; several at once may be one.
    pub fn turns(&self) -> impl Stream<Item = ()> + Send + 'static {
        stream::unfold(self.0.turns.subscribe(), |mut turns| async {
            // The sender lives as long as the process: an error is its end.
            turns.changed().await.ok().map(|()| ((), turns))
        })
    }

    /// `client` with a fence: what is not a read is withheld unless leadership is held as it leaves, and counted until it
    /// is answered.
    pub fn fence(&self, client: &kube::Client) -> kube::Client {
        let (leadership, inner) = (self.clone(), client.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
            let effect = if is_read { Ok(None) } else { leadership.begin().map(Some) };
            let inner = inner.clone();
            async move {
                let _under_way = effect?;
                inner.send(request).await.map_err(BoxError::from)
            }
        });
        kube::Client::new(service, client.default_namespace())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        // Only whole values are put in.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Effect ===

impl Effect {
    fn count(leadership: &Leadership) -> Self {
        leadership.0.effects.send_modify(|under_way| *under_way += 1);
        Self(leadership.clone())
    }
}

impl Drop for Effect {
    fn drop(&mut self) {
        self.0.0.effects.send_modify(|under_way| *under_way -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_lapses_without_anybody_running() {
        let leadership = Leadership::standby();
        let mut turns = Box::pin(leadership.turns());
        assert!(!leadership.is_held() && leadership.begin().is_err());
        assert!(leadership.extend(Instant::now() + Duration::from_secs(5)));
        assert!(turns.next().now_or_never().is_some(), "won");
        assert!(!leadership.extend(Instant::now() + Duration::from_secs(5)), "a renewal is no win");
        assert!(leadership.begin().is_ok());
        tokio::time::advance(Duration::from_secs(5)).await;
        let refused = leadership.begin().unwrap_err();
        assert!(refused.to_string().contains("does not hold the lease"), "{refused}");
        assert!(turns.next().now_or_never().is_none(), "nobody has looked");
        leadership.lapsed();
        assert!(turns.next().now_or_never().is_some(), "lost");
        assert!(Leadership::always().begin().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_resigns_waits_for_what_was_begun() {
        let leadership = Leadership::standby();
        leadership.extend(Instant::now() + Duration::from_secs(5));
        let effect = leadership.begin().unwrap();
        let mut resigning = Box::pin(leadership.resign());
        assert!((&mut resigning).now_or_never().is_none(), "one is under way");
        assert!(leadership.begin().is_err(), "and no other begins");
        drop(effect);
        assert!(resigning.await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_that_never_ends_is_not_waited_for_without_end() {
        let leadership = Leadership::always();
        let _effect = leadership.begin().unwrap();
        assert!(!leadership.resign().await);
    }
}
