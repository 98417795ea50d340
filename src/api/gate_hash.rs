//! The hash that binds a smoke verdict to what was run (S5).
//!
//! It covers the fields that the user set and nothing that was defaulted: a controller whose defaults or fields
//! grew must not forget verdicts, and must not give a Failed candidate a second life (failure sequence 16).
//! Which image ran, where and at which digest stands beside it in the binding.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::v1alpha1::Smoke;

/// Version of the canonical form. It changes only when two different tests could otherwise have one hash.
const VERSION: &str = "v1";

/// `v1:` and the SHA-256 of the canonical JSON of what was set: keys sorted, no spaces.
pub fn gate_hash(smoke: &Smoke) -> String {
    let mut set = Map::new();
    if !smoke.command.is_empty() {
        set.insert("command".to_owned(), json!(smoke.command));
    }
    if let Some(timeout) = &smoke.timeout {
        set.insert("timeout".to_owned(), json!(timeout));
    }
    if let Some(attempts) = smoke.attempts {
        set.insert("attempts".to_owned(), json!(attempts));
    }
    set.sort_keys();
    let hash = Sha256::digest(Value::Object(set).to_string().as_bytes());
    let mut text = format!("{VERSION}:");
    for byte in hash {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoke() -> Smoke {
        Smoke {
            image: "worker".to_owned(),
            platforms: None,
            command: vec!["/app".to_owned(), "--self-check".to_owned()],
            timeout: Some("5m".to_owned()),
            attempts: Some(2),
        }
    }

    /// `printf '%s' '{"attempts":2,"command":["/app","--self-check"],"timeout":"5m"}' | sha256sum`, and of `{}`.
    /// A change here makes every cluster run every smoke test again.
    #[test]
    fn the_hash_is_stable() {
        assert_eq!(
            gate_hash(&smoke()),
            "v1:39df6f3b6a895e647593728b7b961b31eecf6eed37baeb4b35a4c3d4317c499d"
        );
        let bare = Smoke { command: Vec::new(), timeout: None, attempts: None, ..smoke() };
        assert_eq!(gate_hash(&bare), "v1:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }

    #[test]
    fn only_what_runs_counts() {
        let elsewhere =
            Smoke { image: "app".to_owned(), platforms: Some(vec!["linux/arm64".to_owned()]), ..smoke() };
        assert_eq!(gate_hash(&elsewhere), gate_hash(&smoke()));
        let other = Smoke { command: vec!["/app --self-check".to_owned()], ..smoke() };
        assert_ne!(gate_hash(&other), gate_hash(&smoke()));
    }
}
