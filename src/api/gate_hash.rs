//! The hash that binds a smoke verdict to what was run (S5).
//!
//! It covers the fields that the user set and nothing that was defaulted: a controller whose defaults or fields
//! grew must not forget verdicts, and must not give a Failed candidate a second life (failure sequence 16).
//! Which image ran, where and at which digest stands beside it in the binding.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::v1alpha1::{Smoke, SmokeExpect, SmokeWhen};
use crate::model::hex;

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
    // Each field enters only where it was set, so that a field that is new forgets no verdict.
    if smoke.when != SmokeWhen::default() {
        set.insert("when".to_owned(), json!(smoke.when));
    }
    if !smoke.args.is_empty() {
        set.insert("args".to_owned(), json!(smoke.args));
    }
    if !smoke.env.is_empty() {
        set.insert("env".to_owned(), json!(smoke.env));
    }
    if smoke.expect != SmokeExpect::default() {
        set.insert("expect".to_owned(), json!(smoke.expect));
    }
    if let Some(stays_up) = &smoke.stays_up {
        set.insert("for".to_owned(), json!(stays_up));
    }
    if let Some(http_get) = &smoke.http_get {
        set.insert("httpGet".to_owned(), json!(http_get));
    }
    if let Some(user) = smoke.run_as_user {
        set.insert("runAsUser".to_owned(), json!(user));
    }
    if let Some(resources) = &smoke.resources {
        set.insert("resources".to_owned(), json!(resources));
    }
    if !smoke.tolerations.is_empty() {
        set.insert("tolerations".to_owned(), json!(smoke.tolerations));
    }
    let mut set = Value::Object(set);
    set.sort_all_objects();
    format!("{VERSION}:{}", hex(&Sha256::digest(set.to_string().as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::v1alpha1::{SmokeEnv, SmokeHttpGet, SmokeResources, SmokeToleration};

    fn smoke() -> Smoke {
        Smoke {
            image: "worker".to_owned(),
            platforms: None,
            when: SmokeWhen::ImagePresent,
            args: Vec::new(),
            env: Vec::new(),
            expect: SmokeExpect::ExitsZero,
            stays_up: None,
            http_get: None,
            run_as_user: None,
            resources: None,
            tolerations: Vec::new(),
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

    /// `printf '%s' '{"args":["serve"],"env":[{"name":"A","value":"b"}],"expect":"StaysUp","for":"20s","httpGet":{"path":"/healthz","port":8080},"resources":{"limits":{"memory":"2Gi"}},"runAsUser":65532,"tolerations":[{"key":"dedicated","operator":"Exists"}],"when":"Complete"}' | sha256sum`.
    #[test]
    fn the_hash_covers_every_field() {
        let full = Smoke {
            command: Vec::new(),
            timeout: None,
            attempts: None,
            when: SmokeWhen::Complete,
            args: vec!["serve".to_owned()],
            env: vec![SmokeEnv { name: "A".to_owned(), value: "b".to_owned() }],
            expect: SmokeExpect::StaysUp,
            stays_up: Some("20s".to_owned()),
            http_get: Some(SmokeHttpGet { port: 8080, path: "/healthz".to_owned() }),
            run_as_user: Some(65_532),
            resources: Some(SmokeResources {
                limits: BTreeMap::from([("memory".to_owned(), "2Gi".to_owned())]),
                ..SmokeResources::default()
            }),
            tolerations: vec![SmokeToleration {
                key: Some("dedicated".to_owned()),
                operator: Some("Exists".to_owned()),
                ..SmokeToleration::default()
            }],
            ..smoke()
        };
        assert_eq!(gate_hash(&full), "v1:366a900807755c99b3e8c4cb73bf466f7c38eaef25acba9b5db6aa451871b6b8");
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
