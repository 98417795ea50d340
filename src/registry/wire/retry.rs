//! Trying again within a look.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::wire::failure::Failure;
use crate::registry::wire::transport::{Ask, Reply, Transport};

/// The longest wait before each further try: three tries, each wait drawn between nothing and its length, so
/// that those who failed together do not come back together. At most 4 s in all, on average 2: a confirming
/// look that needed them mostly still lies within the 5 s in which it may be committed, else it is looked again.
/// More is left to the next look: tries multiply what a registry in trouble is asked, by at most 3.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

// === impl Transport ===

impl Transport {
    /// Sends one request, and again when it met what may pass by itself, all until the end of its look.
    ///
    /// Every request here only reads, so all may be repeated; a token that was issued twice is one that is not
    /// used. What a registry answered is preferred over what kept a further try from being sent.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Reply, Failure> {
        let mut last = self.follow(ask.clone()).await;
        for most in WAITS {
            let again = after(&last);
            if again == Again::Never {
                break;
            }
            if again == Again::Waited {
                let at = Instant::now() + self.pacer.jitter(most);
                if at >= ask.turn.deadline {
                    break;
                }
                tokio::time::sleep_until(at).await;
            }
            match self.follow(ask.clone()).await {
                Err(Failure::Held(_) | Failure::OutOfTime) => break,
                next => last = next,
            }
        }
        last
    }
}

/// Whether another try is worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Never,
    /// After a wait of our own.
    Waited,
    /// As soon as the host's gate lets it through: a 429 is always a pause of the whole host.
    Gated,
}

/// The statuses are those of go-containerregistry. A request that took all of its 15 s is not sent again: it had
/// half of the look already.
fn after(result: &Result<Reply, Failure>) -> Again {
    match result {
        Err(Failure::Unreachable(_)) => Again::Waited,
        Err(_) => Again::Never,
        Ok(reply) => match reply.status.as_u16() {
            429 => Again::Gated,
            408 | 499 | 500 | 502 | 503 | 504 | 522 => Again::Waited,
            _ => Again::Never,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let of = |status: u16| {
            let status = http::StatusCode::from_u16(status).unwrap();
            after(&Ok(Reply {
                version: http::Version::HTTP_11,
                status,
                headers: http::HeaderMap::new(),
                body: bytes::Bytes::new(),
                foreign: false,
            }))
        };
        for status in 200..=599 {
            let expected = match status {
                429 => Again::Gated,
                408 | 499 | 500 | 502 | 503 | 504 | 522 => Again::Waited,
                _ => Again::Never,
            };
            assert_eq!(of(status), expected, "{status}");
        }
        assert_eq!(after(&Err(Failure::TimedOut)), Again::Never);
        assert_eq!(after(&Err(Failure::Unreachable("refused".into()))), Again::Waited);
    }
}
