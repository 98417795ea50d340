//! A smoke gate's fields as values.

use jiff::SignedDuration;

use super::Reader;
use crate::api::gate_hash::gate_hash;
use crate::api::rules;
use crate::api::schema::{
    COMMAND_MAX, COMMAND_WORD_MAX_BYTES, ENV_MAX, ENV_NAME_MAX_BYTES, ENV_VALUE_MAX_BYTES,
    HTTP_PATH_MAX_BYTES, TOLERATIONS_MAX,
};
use crate::api::v1alpha1::{self, Smoke, SmokeEnv, SmokeWhen};
use crate::engine::policy::{SmokeGate, When};
use crate::model::smoke::{SmokeExpect, SmokeHttpGet, SmokeResources, SmokeTest, SmokeToleration};

/// `timeout` of a smoke gate that sets none (design §3). Not in the CRD: see `gate_hash`.
const TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_mins(5);
/// `attempts` of a smoke gate that sets none (design §3).
const ATTEMPTS_DEFAULT: u32 = 2;
/// `for` of a service that sets none (issue "Smoke gate on a real node").
const STAYS_UP_DEFAULT: SignedDuration = SignedDuration::from_secs(20);

// === impl Reader ===

impl Reader {
    pub(super) fn smoke(&mut self, field: &str, smoke: &Smoke) -> Option<SmokeGate> {
        let image = self.parse(&format!("{field}.image"), &smoke.image);
        let platforms = match &smoke.platforms {
            Some(platforms) => self.platforms(&format!("{field}.platforms"), platforms, false),
            None => Some(Vec::new()),
        };
        let test = self.smoke_test(field, smoke);
        let when = match smoke.when {
            SmokeWhen::ImagePresent => When::ImagePresent,
            SmokeWhen::Complete => When::Complete,
        };
        Some(SmokeGate { image: image?, platforms: platforms?, when, test: test?, hash: gate_hash(smoke) })
    }

    fn smoke_test(&mut self, field: &str, smoke: &Smoke) -> Option<SmokeTest> {
        let command = self.words(&format!("{field}.command"), &smoke.command);
        let args = self.words(&format!("{field}.args"), &smoke.args);
        let env = self.env(&format!("{field}.env"), &smoke.env);
        let timeout = match &smoke.timeout {
            Some(timeout) => self.duration(&format!("{field}.timeout"), timeout, rules::TIMEOUT),
            None => Some(TIMEOUT_DEFAULT),
        };
        let attempts = match smoke.attempts {
            Some(attempts) => self
                .number(&format!("{field}.attempts"), attempts, rules::ATTEMPTS)
                .and_then(|attempts| u32::try_from(attempts).ok()),
            None => Some(ATTEMPTS_DEFAULT),
        };
        let run_as_user = match smoke.run_as_user {
            Some(user) => {
                self.number(&format!("{field}.runAsUser"), user, rules::smoke::RUN_AS_USER).map(Some)
            }
            None => Some(None),
        };
        let resources = self.resources(&format!("{field}.resources"), smoke.resources.as_ref());
        let tolerations = self.tolerations(&format!("{field}.tolerations"), &smoke.tolerations);
        let expect = self.expect(field, smoke, timeout);
        Some(SmokeTest {
            command: command?,
            args: args?,
            env: env?,
            run_as_user: run_as_user?,
            resources: resources?,
            tolerations: tolerations?,
            timeout: timeout?,
            attempts: attempts?,
            expect: expect?,
        })
    }

    fn expect(&mut self, field: &str, smoke: &Smoke, timeout: Option<SignedDuration>) -> Option<SmokeExpect> {
        let [only_for, only_http_get, shorter] = rules::smoke::SMOKE else { return None };
        if smoke.expect == v1alpha1::SmokeExpect::ExitsZero {
            if smoke.stays_up.is_some() {
                return self.fail(format!("{field}.for"), only_for.message);
            }
            if smoke.http_get.is_some() {
                return self.fail(format!("{field}.httpGet"), only_http_get.message);
            }
            return Some(SmokeExpect::ExitsZero);
        }
        let stays_up = match &smoke.stays_up {
            Some(text) => self.duration(&format!("{field}.for"), text, rules::STAYS_UP),
            None => Some(STAYS_UP_DEFAULT),
        };
        let http_get = match &smoke.http_get {
            Some(http_get) => self.http_get(&format!("{field}.httpGet"), http_get).map(Some),
            None => Some(None),
        };
        let (stays_up, http_get) = (stays_up?, http_get?);
        if timeout.is_some_and(|timeout| stays_up >= timeout) {
            return self.fail(format!("{field}.for"), shorter.message);
        }
        Some(SmokeExpect::StaysUp { stays_up, http_get })
    }

    fn http_get(&mut self, field: &str, http_get: &v1alpha1::SmokeHttpGet) -> Option<SmokeHttpGet> {
        let port = self.number(&format!("{field}.port"), http_get.port, rules::smoke::PORT);
        let path = &http_get.path;
        if !path.starts_with('/') {
            return self.refuse(format!("{field}.path"), path, rules::smoke::HTTP_PATH.message);
        }
        self.at_most_bytes(&format!("{field}.path"), path, HTTP_PATH_MAX_BYTES)?;
        Some(SmokeHttpGet { port: u16::try_from(port?).ok()?, path: path.clone() })
    }

    fn words(&mut self, field: &str, words: &[String]) -> Option<Vec<String>> {
        self.at_most(field, words.len(), COMMAND_MAX)?;
        self.each(field, words, |reader, field, word| {
            reader.at_most_bytes(field, word, COMMAND_WORD_MAX_BYTES)?;
            Some(word.clone())
        })
    }

    fn env(&mut self, field: &str, env: &[SmokeEnv]) -> Option<Vec<(String, String)>> {
        self.at_most(field, env.len(), ENV_MAX)?;
        let pairs = self.each(field, env, |reader, field, variable| {
            let SmokeEnv { name, value } = variable;
            let (name_field, first) = (format!("{field}.name"), name.bytes().next().unwrap_or(b'0'));
            let sound = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !sound || first.is_ascii_digit() || name.starts_with("TIDEGATE_") {
                return reader.refuse(name_field, name, rules::smoke::ENV_NAME.message);
            }
            reader.at_most_bytes(&name_field, name, ENV_NAME_MAX_BYTES)?;
            reader.at_most_bytes(&format!("{field}.value"), value, ENV_VALUE_MAX_BYTES)?;
            Some((name.clone(), value.clone()))
        })?;
        let twice = |index: usize| pairs[..index].iter().any(|(name, _)| *name == pairs[index].0);
        if (0..pairs.len()).any(twice) {
            return self.fail(field, rules::smoke::ENV_UNIQUE.message);
        }
        Some(pairs)
    }

    fn resources(
        &mut self,
        field: &str,
        resources: Option<&v1alpha1::SmokeResources>,
    ) -> Option<SmokeResources> {
        let Some(v1alpha1::SmokeResources { requests, limits }) = resources else {
            return Some(SmokeResources::default());
        };
        let [names, amounts] = rules::smoke::QUANTITIES else { return None };
        for (part, quantities) in [("requests", requests), ("limits", limits)] {
            for (name, amount) in quantities {
                if !matches!(name.as_str(), "cpu" | "memory") {
                    return self.fail(format!("{field}.{part}"), names.message);
                }
                if !is_quantity(amount) {
                    return self.fail(format!("{field}.{part}"), amounts.message);
                }
            }
        }
        Some(SmokeResources { requests: requests.clone(), limits: limits.clone() })
    }

    fn tolerations(
        &mut self,
        field: &str,
        tolerations: &[v1alpha1::SmokeToleration],
    ) -> Option<Vec<SmokeToleration>> {
        self.at_most(field, tolerations.len(), TOLERATIONS_MAX)?;
        self.each(field, tolerations, |reader, field, toleration| {
            let v1alpha1::SmokeToleration { key, operator, value, effect } = toleration.clone();
            let operators = ["Equal", "Exists"];
            if let Some(wrong) = operator.as_deref().filter(|word| !operators.contains(word)) {
                let message = rules::smoke::TOLERATION_OPERATOR.message;
                return reader.refuse(format!("{field}.operator"), wrong, message);
            }
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            if let Some(wrong) = effect.as_deref().filter(|word| !effects.contains(word)) {
                return reader.refuse(
                    format!("{field}.effect"),
                    wrong,
                    rules::smoke::TOLERATION_EFFECT.message,
                );
            }
            Some(SmokeToleration { key, operator, value, effect })
        })
    }

    fn at_most_bytes(&mut self, field: &str, text: &str, limit: usize) -> Option<()> {
        if text.len() > limit {
            return self.fail(field, format!("has {} bytes, at most {limit} are possible", text.len()));
        }
        Some(())
    }
}

/// What the rule on quantities accepts.
fn is_quantity(text: &str) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &text[number.len()..];
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    digits(whole, 12) && digits(part, 3) && matches!(suffix, "" | "m" | "k" | "Ki" | "M" | "Mi" | "G" | "Gi")
}
