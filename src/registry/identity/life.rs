//! How long a token may be used. Pure.
//!
//! What the token server says is believed within limits, and what the token says of itself is read for nothing
//! but this: its signature is the registry's affair.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// Life of a token that does not say (distribution token specification: "defaults to 60 seconds").
const LIFE_DEFAULT_SECS: f64 = 60.0;
/// Longest life believed: a rotated or revoked right is noticed within the hour.
const LIFE_MAX_SECS: f64 = 3_600.0;
/// A token is used for nine tenths of its life, so that it does not end on its way.
const GOOD_PART: f64 = 0.9;
/// From here on a new one is fetched ahead by who asks for it, and the old one is good as long as that fails.
const FRESH_PART: f64 = 0.8;
/// Pause after a renewal that failed: two tries fit between the end of freshness and the end.
const PAUSE_PART: f64 = 0.05;

/// What a token server says with a token.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Stated {
    /// Seconds: a number, or with some servers a number in quotes.
    #[serde(default)]
    expires_in: Value,
    /// When the token was made, of which `expires_in` counts; RFC 3339.
    #[serde(default)]
    issued_at: Value,
}

/// The times of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// Until then it is used without a question.
    pub(crate) fresh_until: Timestamp,
    /// From then on it is not used.
    pub(crate) good_until: Timestamp,
    /// From its arrival to its end.
    pub(crate) whole: SignedDuration,
    /// How long nobody tries again to renew it ahead.
    pub(crate) pause: SignedDuration,
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
}

// === impl Life ===

impl Life {
    /// The life of `token`, which arrived at `now`: the least of what the server states and what a JWT says of
    /// itself. An instant that was over when the token arrived tells of clocks that disagree and not of the
    /// token, so it is left out; a token that is really over is refused and replaced.
    pub(crate) fn of(token: &str, stated: &Stated, now: Timestamp) -> Self {
        let own = expiry(token).map(|exp| exp - secs(now)).filter(|secs| *secs > 0.0);
        let life = match (stated.secs(now), own) {
            (Some(stated), Some(own)) => stated.min(own),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => LIFE_DEFAULT_SECS,
        }
        .min(LIFE_MAX_SECS);
        let part = |part: f64| SignedDuration::try_from_secs_f64(life * part).unwrap_or(SignedDuration::ZERO);
        let after = |duration: SignedDuration| now.checked_add(duration).unwrap_or(now);
        Self {
            fresh_until: after(part(FRESH_PART)),
            good_until: after(part(GOOD_PART)),
            whole: part(1.0),
            pause: part(PAUSE_PART),
        }
    }
}

// === impl Stated ===

impl Stated {
    /// Seconds from `now` that the server grants; `None` when it does not say, or nothing that makes sense.
    fn secs(&self, now: Timestamp) -> Option<f64> {
        let written = match &self.expires_in {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let life = written.filter(|secs| secs.is_finite() && *secs > 0.0)?;
        let issued_at: Option<Timestamp> = self.issued_at.as_str().and_then(|text| text.parse().ok());
        // Servers keep tokens too: one from the shelf has less to live than it had.
        let age = issued_at.map_or(0.0, |issued_at| secs(now) - secs(issued_at));
        Some(if (0.0..life).contains(&age) { life - age } else { life })
    }
}

/// `exp` of a JWT, in seconds since 1970; `None` for any other token.
fn expiry(token: &str) -> Option<f64> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Claims>(&payload).ok()?.exp.filter(|exp| exp.is_finite())
}

fn secs(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn jwt(payload: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()))
    }

    /// Seconds for which `token` is good.
    fn good_secs(token: &str, stated: Value) -> i64 {
        let life = Life::of(token, &serde_json::from_value(stated).unwrap(), now());
        life.good_until.duration_since(now()).as_secs()
    }

    #[test]
    fn a_token_is_fresh_for_eight_tenths_and_good_for_nine() {
        let life = Life::of("opaque", &serde_json::from_value(json!({"expires_in": 300})).unwrap(), now());
        assert_eq!(life.fresh_until.duration_since(now()).as_secs(), 240);
        assert_eq!(life.good_until.duration_since(now()).as_secs(), 270);
        assert_eq!(life.pause.as_secs(), 15);
    }

    #[test]
    fn an_opaque_token_lives_as_the_server_states() {
        for (stated, secs) in [
            (json!({"expires_in": 300}), 270),
            (json!({"expires_in": "300"}), 270),
            (json!({}), 54),
            (json!({"expires_in": null}), 54),
            (json!({"expires_in": 0}), 54),
            (json!({"expires_in": -5}), 54),
            (json!({"expires_in": "soon"}), 54),
            (json!({"expires_in": "NaN"}), 54),
            (json!({"expires_in": 1e300}), 3_240),
        ] {
            assert_eq!(good_secs("opaque", stated.clone()), secs, "{stated}");
        }
    }

    #[test]
    fn a_token_from_the_shelf_has_less_to_live() {
        for (issued_at, secs) in [
            ("2026-11-21T10:00:00Z", 270),
            ("2026-11-21T09:58:20Z", 180),
            ("2026-11-21T09:00:00Z", 270),
            ("2026-11-21T11:00:00Z", 270),
            ("yesterday", 270),
        ] {
            let stated = json!({"expires_in": 300, "issued_at": issued_at});
            assert_eq!(good_secs("opaque", stated), secs, "{issued_at}");
        }
    }

    #[test]
    fn a_jwt_that_ends_before_the_server_says_is_believed() {
        let until = |secs: i64| jwt(&json!({"exp": now().as_second() + secs}));
        assert_eq!(good_secs(&until(100), json!({"expires_in": 300})), 90);
        assert_eq!(good_secs(&until(300), json!({"expires_in": 100})), 90);
        assert_eq!(good_secs(&until(200), json!({})), 180);
        assert_eq!(good_secs(&until(-200), json!({"expires_in": 100})), 90, "clocks disagree");
        assert_eq!(good_secs(&until(-200), json!({})), 54, "clocks disagree");
    }

    #[test]
    fn what_is_no_jwt_says_nothing() {
        for token in ["a.b", "a.b.c.d", "e30.!.c", &jwt(&json!("x")), &jwt(&json!({"exp": "x"}))] {
            assert_eq!(good_secs(token, json!({"expires_in": 300})), 270, "{token}");
        }
    }

    proptest! {
        #[test]
        fn no_token_panics_and_none_outlives_the_limit(token in "\\PC{0,40}", secs in any::<f64>()) {
            let good = good_secs(&token, json!({"expires_in": secs}));
            prop_assert!((0..=3_240).contains(&good));
        }
    }
}
