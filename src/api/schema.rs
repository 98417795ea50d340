//! Schemas of the texts and numbers of a ReleaseSet: limits, and the CEL rules of single values.
//!
//! Every list and string has a limit, because the API server refuses rules whose cost it cannot bound (failure
//! sequence 23).

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::api::duration::DURATION_MAX_BYTES;
use crate::api::rules::{self, Rule};
use crate::engine::order::{EXCLUDE_MAX, PATTERN_MAX_BYTES};
use crate::engine::policy::{PLATFORMS_MAX, SKIP_MAX};
use crate::engine::record::NAMED_MAX;
use crate::engine::semver::RANGE_MAX_BYTES;
use crate::model::key_template::KEY_TEMPLATE_MAX_BYTES;
use crate::model::names::LABEL_MAX_BYTES;
use crate::model::platform::PLATFORM_MAX_BYTES;
use crate::model::reference::{REPOSITORY_MAX_BYTES, TAG_MAX_BYTES};
use crate::model::smoke::LOG_MAX_BYTES;
use crate::model::target::KEYS_MAX;

/// Longest name of a Kubernetes object (RFC 1123 subdomain).
pub const OBJECT_NAME_MAX_BYTES: usize = 253;
/// Longest `extract`: a handful of groups.
pub const EXTRACT_MAX_BYTES: usize = 64;
/// Most words of a command, and the longest of them (design §3).
pub const COMMAND_MAX: usize = 64;
/// See [`COMMAND_MAX`].
pub const COMMAND_WORD_MAX_BYTES: usize = 1024;
/// Most variables of a smoke test, and the longest names and values of them (design §3).
pub const ENV_MAX: usize = 32;
/// See [`ENV_MAX`].
pub const ENV_NAME_MAX_BYTES: usize = 128;
/// See [`ENV_MAX`].
pub const ENV_VALUE_MAX_BYTES: usize = 1024;
/// Most tolerations of a smoke test: clusters taint nodes by a handful of reasons.
pub const TOLERATIONS_MAX: usize = 8;
/// Longest path of an HTTP GET.
pub const HTTP_PATH_MAX_BYTES: usize = 1024;
/// Longest quantity: 12 digits, a point, 3 digits and a suffix.
const QUANTITY_MAX_BYTES: usize = 20;
/// Longest annotation or label key: a prefix of 253, a slash and a name of 63.
pub const REVISION_KEY_MAX_BYTES: usize = 317;

/// Longest reason of `breakGlass`: with its sentence it stays under the 1 kB of an Event's note.
pub const BREAK_GLASS_REASON_MAX_BYTES: usize = 512;

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

fn text(max: usize, rules: &[Rule]) -> Value {
    let mut value = json!({"type": "string", "maxLength": max});
    if !rules.is_empty() {
        value["x-kubernetes-validations"] = json!(rules);
    }
    value
}

fn list(items: &Value, max: usize, rules: &[Rule]) -> Value {
    let mut value =
        json!({"type": "array", "items": items, "maxItems": max, "x-kubernetes-list-type": "atomic"});
    if !rules.is_empty() {
        value["x-kubernetes-validations"] = json!(rules);
    }
    value
}

fn set(items: &Value, max: usize, rules: &[Rule]) -> Value {
    let mut value = list(items, max, rules);
    value["x-kubernetes-list-type"] = json!("set");
    value
}

macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident => $value:expr;)+) => {
        $(
            $(#[$doc])*
            pub fn $name(_: &mut SchemaGenerator) -> Schema {
                schema($value)
            }
        )+
    };
}

schemas! {
    /// `spec.interval`.
    interval => text(DURATION_MAX_BYTES, &[rules::DURATION_FORM, rules::INTERVAL.rule]);
    /// `spec.driftInterval`.
    drift_interval => text(DURATION_MAX_BYTES, &[rules::DURATION_FORM, rules::DRIFT_INTERVAL.rule]);
    /// `spec.candidates.settle`.
    settle => text(DURATION_MAX_BYTES, &[rules::DURATION_FORM, rules::SETTLE.rule]);
    /// `spec.deadline`.
    deadline => text(DURATION_MAX_BYTES, &[rules::DURATION_FORM, rules::DEADLINE.rule]);
    /// `spec.gates[].smoke.timeout`.
    timeout => text(DURATION_MAX_BYTES, &[rules::DURATION_FORM, rules::TIMEOUT.rule]);
    /// `spec.candidates.maxFollowed`.
    max_followed => number(rules::MAX_FOLLOWED.rule);
    /// `spec.gates[].smoke.attempts`.
    attempts => number(rules::ATTEMPTS.rule);
    /// `spec.historyLimit`.
    history_limit => number(rules::HISTORY_LIMIT.rule);
    /// A name inside the set.
    label => text(LABEL_MAX_BYTES, &[rules::LABEL]);
    /// A name of a Kubernetes object.
    object_name => text(OBJECT_NAME_MAX_BYTES, &[rules::OBJECT_NAME]);
    /// A tag.
    tag => text(TAG_MAX_BYTES, &[rules::TAG]);
    /// A tag template.
    tag_template => text(TAG_MAX_BYTES, &[rules::TAG_TEMPLATE]);
    /// A repository.
    repository => text(REPOSITORY_MAX_BYTES, rules::REPOSITORY);
    /// Tags that an ImagePolicy named.
    named_tags => list(&text(TAG_MAX_BYTES, &[]), NAMED_MAX, &[]);
    /// Dismissed tags. A set, so that each has a manager of its own: those of Git and of a person's hands add up.
    skip => set(&text(TAG_MAX_BYTES, &[rules::TAG]), SKIP_MAX, &[rules::SKIP_UNIQUE]);
    /// Why the glass was broken.
    break_glass_reason => text(BREAK_GLASS_REASON_MAX_BYTES, &[rules::BREAK_GLASS_REASON]);
    /// Required platforms.
    platforms => platform_list(&[rules::PLATFORMS_NOT_EMPTY, rules::PLATFORMS_UNIQUE]);
    /// Advisory platforms; may be empty.
    advisory_platforms => platform_list(&[rules::PLATFORMS_UNIQUE]);
    /// Platforms under test.
    smoke_platforms => platform_list(
        &[rules::PLATFORMS_NOT_EMPTY, rules::PLATFORMS_UNIQUE, rules::PLATFORMS_NOT_WINDOWS],
    );
    /// Keys of a ConfigMap target with their templates, whose grammar is not for CEL.
    keys => json!({
        "type": "object", "maxProperties": KEYS_MAX,
        "additionalProperties": text(KEY_TEMPLATE_MAX_BYTES, &[]),
        "x-kubernetes-validations": [rules::KEYS],
    });
    /// A regular expression; its rule stands on the object that holds it.
    pattern => text(PATTERN_MAX_BYTES, &[]);
    /// A range of versions; its grammar is not for CEL.
    range => text(RANGE_MAX_BYTES, &[]);
    /// What orders a tag.
    extract => text(EXTRACT_MAX_BYTES, &[]);
    /// Exclusions.
    exclude => list(&text(PATTERN_MAX_BYTES, &[]), EXCLUDE_MAX, rules::EXCLUDE);
    /// A command with its arguments.
    command => list(&text(COMMAND_WORD_MAX_BYTES, &[]), COMMAND_MAX, &[]);
    /// How long a service stays up.
    stays_up => text(DURATION_MAX_BYTES, &[rules::DURATION_FORM, rules::STAYS_UP.rule]);
    /// Name of a variable.
    env_name => text(ENV_NAME_MAX_BYTES, &[rules::smoke::ENV_NAME]);
    /// Value of a variable.
    env_value => text(ENV_VALUE_MAX_BYTES, &[]);
    /// Requests or limits.
    quantities => json!({
        "type": "object", "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": QUANTITY_MAX_BYTES},
        "x-kubernetes-validations": rules::smoke::QUANTITIES,
    });
    /// Key or value of a taint.
    toleration_text => text(REVISION_KEY_MAX_BYTES, &[]);
    /// How a toleration compares.
    toleration_operator => text(16, &[rules::smoke::TOLERATION_OPERATOR]);
    /// What a taint does.
    toleration_effect => text(32, &[rules::smoke::TOLERATION_EFFECT]);
    /// A user other than root.
    run_as_user => number(rules::smoke::RUN_AS_USER.rule);
    /// A port.
    port => number(rules::smoke::PORT.rule);
    /// A path of an HTTP GET.
    http_path => text(HTTP_PATH_MAX_BYTES, &[rules::smoke::HTTP_PATH]);
    /// An annotation or label key.
    revision_key => {
        let mut value = text(REVISION_KEY_MAX_BYTES, &[]);
        value["minLength"] = json!(1);
        value
    };
}

fn number(rule: Rule) -> Value {
    json!({"type": "integer", "format": "int64", "x-kubernetes-validations": [rule]})
}

fn platform_list(rules: &[Rule]) -> Value {
    list(&text(PLATFORM_MAX_BYTES, &[rules::PLATFORM]), PLATFORMS_MAX, rules)
}

// Status: limits that `api::status` keeps, and no rules, because a status write must not fail for a text.

/// Longest message in status beside conditions (design §3).
pub const MESSAGE_MAX_BYTES: usize = 512;
/// Longest message of a condition (`metav1.Condition`).
pub const CONDITION_MESSAGE_MAX_BYTES: usize = 32_768;
/// Longest key of the floor: 32 groups of a 64-byte `extract`, each a whole tag.
pub const KEY_MAX_BYTES: usize = 4096;
/// Longest binding: repository, digest, platform, two hashes and what stands between.
pub const BINDING_MAX_BYTES: usize = 640;
/// Longest revision: a commit id or a build's address.
pub const REVISION_MAX_BYTES: usize = 512;
/// Longest word of an enumeration, count such as `512/512`, or time.
pub const WORD_MAX_BYTES: usize = 64;
/// Longest digest text: `sha256:` and 64 digits.
pub const DIGEST_MAX_BYTES: usize = 71;

schemas! {
    /// A message.
    message => text(MESSAGE_MAX_BYTES, &[]);
    /// A condition's message.
    condition_message => text(CONDITION_MESSAGE_MAX_BYTES, &[]);
    /// The floor's key.
    key => text(KEY_MAX_BYTES, &[]);
    /// What a verdict counts for.
    binding => text(BINDING_MAX_BYTES, &[]);
    /// The log of a failed smoke test.
    log => text(LOG_MAX_BYTES, &[]);
    /// A revision.
    revision => text(REVISION_MAX_BYTES, &[]);
    /// One word.
    word => text(WORD_MAX_BYTES, &[]);
    /// An instant, RFC 3339 with whole seconds.
    time => json!({"type": "string", "format": "date-time", "maxLength": WORD_MAX_BYTES});
    /// A tag, as it was accepted.
    seen_tag => text(TAG_MAX_BYTES, &[]);
    /// A name, as it was accepted.
    seen_name => text(LABEL_MAX_BYTES, &[]);
    /// A repository, as it was accepted.
    seen_repository => text(REPOSITORY_MAX_BYTES, &[]);
    /// A platform, as it was accepted.
    seen_platform => text(PLATFORM_MAX_BYTES, &[]);
    /// A digest.
    digest => text(DIGEST_MAX_BYTES, &[]);
    /// A digest for each image.
    digests => json!({
        "type": "object",
        "maxProperties": crate::engine::policy::IMAGES_MAX,
        "additionalProperties": text(DIGEST_MAX_BYTES, &[]),
    });
    /// `metadata.annotations["reconcile.fluxcd.io/requestedAt"]`, as it was seen.
    requested_at => text(MESSAGE_MAX_BYTES, &[]);
}
