//! Rules that the API server holds by CEL, each with the words that it and the command line say.
//!
//! The CRD and `validate` use the same constants, so that `tidegate lint` and a server-side dry-run agree. Where
//! the engine's `Policy::new` holds a rule too, the corpus of bad files keeps the words equal.

pub mod smoke;

use serde::Serialize;

/// One entry of `x-kubernetes-validations`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// CEL expression over `self`.
    pub rule: &'static str,
    /// What is wrong and what to write instead.
    pub message: &'static str,
    /// Field below `self` that the error names; `self` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_path: Option<&'static str>,
}

const fn rule(rule: &'static str, message: &'static str) -> Rule {
    Rule { rule, message, field_path: None }
}

const fn rule_at(field_path: &'static str, rule: &'static str, message: &'static str) -> Rule {
    Rule { rule, message, field_path: Some(field_path) }
}

// Durations. The form is tested first in each bound, because CEL's `duration` fails on any other text.

/// Any duration.
pub const DURATION_FORM: Rule = rule(
    "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && size(self) > 0",
    "is not a duration: write whole hours, minutes and seconds, for example 90s, 5m or 1h30m",
);

macro_rules! bounds {
    ($($(#[$doc:meta])* $name:ident: $min:literal, $max:literal;)+) => {
        $(
            $(#[$doc])*
            pub const $name: Bounds = Bounds {
                min: $min,
                max: $max,
                rule: rule(
                    concat!(
                        "!(self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && size(self) > 0) || ",
                        "(duration(self) >= duration('", $min, "') && duration(self) <= duration('", $max, "'))",
                    ),
                    concat!("is out of bounds: write ", $min, " to ", $max),
                ),
            };
        )+
    };
}

/// Least and greatest value of a duration.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The least value.
    pub min: &'static str,
    /// The greatest value.
    pub max: &'static str,
    /// The same as a CEL rule.
    pub rule: Rule,
}

bounds! {
    /// `spec.interval`: 10 s keeps a registry's rate limit (design §3); a day is the longest safety poll.
    INTERVAL: "10s", "24h";
    /// `spec.driftInterval`: no more often than the least interval.
    DRIFT_INTERVAL: "10s", "24h";
    /// `spec.candidates.settle`: longer than a day would mean that re-pushed tags are never promoted.
    SETTLE: "0s", "24h";
    /// `spec.deadline`: a build takes at least a minute, at most a week.
    DEADLINE: "1m", "168h";
    /// `spec.gates[].smoke.timeout`.
    TIMEOUT: "1s", "24h";
    /// `spec.gates[].smoke.for`.
    STAYS_UP: "1s", "1h";
}

/// Least and greatest value of a number.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The least value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
    /// The same as a CEL rule.
    pub rule: Rule,
}

macro_rules! ranges {
    ($($(#[$doc:meta])* $name:ident: $min:literal, $max:literal;)+) => {
        $(
            $(#[$doc])*
            pub const $name: Range = Range {
                min: $min,
                max: $max,
                rule: rule(
                    concat!("self >= ", $min, " && self <= ", $max),
                    concat!("is out of bounds: write ", $min, " to ", $max),
                ),
            };
        )+
    };
}

ranges! {
    /// `spec.candidates.maxFollowed` (design §3).
    MAX_FOLLOWED: 1, 20;
    /// `spec.gates[].smoke.attempts`: more than five pods per image and push is a load, not a test.
    ATTEMPTS: 1, 5;
    /// `spec.historyLimit`: 50 entries of three images are 24 kB, the most that history may take.
    HISTORY_LIMIT: 1, 50;
}

/// Names inside a set.
pub const LABEL: Rule = rule(
    "self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
    "is not a DNS label: use 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit",
);
/// Names of Kubernetes objects.
pub const OBJECT_NAME: Rule = rule(
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') && size(self) <= 253",
    "is not an object name: use 1 to 253 of a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit",
);
/// Tags.
pub const TAG: Rule = rule(
    "self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$')",
    "is not a tag: use 1 to 128 of a-z, A-Z, 0-9, `_`, `.` and `-`, not beginning with `.` or `-`",
);
/// Tag templates.
pub const TAG_TEMPLATE: Rule = rule(
    "self.matches('^([A-Za-z0-9_][A-Za-z0-9_.-]*)?[{]tag[}][A-Za-z0-9_.-]*$')",
    "must hold {tag} exactly once, with only tag characters around it, for example {tag}-debian",
);
/// Repositories: a scheme, a tag, then everything else that is wrong.
pub const REPOSITORY: &[Rule] = &[
    rule("!self.contains('://')", "has a scheme: write the repository alone, for example ghcr.io/acme/app"),
    rule(
        "self.contains('://') || !self.matches('@|/.*:|^[^/]*:[^/]*$')",
        "has a tag or digest: write the repository alone, for example ghcr.io/acme/app",
    ),
    rule(
        "self.contains('://') || self.matches('@|/.*:|^[^/]*:[^/]*$') || self.matches('^([A-Za-z0-9.-]+(:[0-9]{1,5})?/|[[][0-9A-Fa-f:.]+[]](:[0-9]{1,5})?/)?[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*$')",
        "is not a repository: write host/path in lower case, for example ghcr.io/acme/app",
    ),
];
/// Operating systems of `GOOS` and spellings that containerd normalises.
pub const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "macos",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
];
/// Architectures of `GOARCH` and spellings that containerd normalises.
pub const KNOWN_ARCHITECTURES: &[&str] = &[
    "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "loong64", "mips", "mips64",
    "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm", "x86-64", "x86_64",
];
/// One platform: a `GOOS` and a `GOARCH` that exist, so that a typing error cannot block for ever.
pub const PLATFORM: Rule = rule(
    "self.matches('^(aix|android|darwin|dragonfly|freebsd|illumos|ios|js|linux|macos|netbsd|openbsd|plan9|solaris|wasip1|windows)/(386|aarch64|amd64|arm|arm64|armel|armhf|i386|loong64|mips|mips64|mips64le|mipsle|ppc64|ppc64le|riscv64|s390x|wasm|x86-64|x86_64)(/[a-z0-9._-]+)?$')",
    "is not a known platform: write os/architecture or os/architecture/variant as Go names them, for example linux/arm64",
);
/// Why the glass was broken: one line that says something.
pub const BREAK_GLASS_REASON: Rule = rule(
    "self.matches('^[^\\\\x00-\\\\x1f\\\\x7f]*[^ \\\\x00-\\\\x1f\\\\x7f][^\\\\x00-\\\\x1f\\\\x7f]*$')",
    "says nothing, or holds a line break: write one line, for example main-7 leaks",
);
/// Lists of platforms that may not be empty.
pub const PLATFORMS_NOT_EMPTY: Rule =
    rule("size(self) > 0", "is empty: name at least one platform, or leave the field out");
/// Lists of platforms.
pub const PLATFORMS_UNIQUE: Rule =
    rule("self.all(p, self.exists_one(q, q == p))", "names a platform twice: remove one");
/// Platforms under test.
pub const PLATFORMS_NOT_WINDOWS: Rule = rule(
    "!self.exists(p, p.startsWith('windows/'))",
    "no smoke tests on Windows yet, because restricted pods are refused there",
);
/// Dismissed candidates.
pub const SKIP_UNIQUE: Rule =
    rule("self.all(t, self.exists_one(u, u == t))", "names a tag twice: remove one");

/// How a registry is reached: who names certificates means TLS, and `insecure` is no word for "do not verify" here.
pub const REGISTRY_CERTIFICATES: Rule = rule_at(
    ".insecure",
    "!has(self.certSecretRef) || !self.insecure",
    "certSecretRef is for TLS and insecure is plain HTTP, which uses no certificate: remove one of the two",
);
/// Where an image lives.
pub const IMAGE_ONE: Rule = rule(
    "has(self.repository) != has(self.imageRepositoryRef)",
    "has none or both places: set exactly one of repository and imageRepositoryRef",
);
/// A reference brings its own registry settings.
pub const IMAGE_REGISTRY: Rule = rule_at(
    ".registry",
    "!has(self.imageRepositoryRef) || !has(self.registry)",
    "imageRepositoryRef says how the registry is reached: remove registry, or write repository instead of the reference",
);
/// One image.
pub const IMAGE: &[Rule] = &[
    rule_at(
        ".advisoryPlatforms",
        "!has(self.platforms) || !has(self.advisoryPlatforms) || !self.advisoryPlatforms.exists(p, p in self.platforms)",
        "names a platform that is required too: name it in one of the two lists",
    ),
    IMAGE_ONE,
    IMAGE_REGISTRY,
];
/// All images.
pub const IMAGES: &[Rule] = &[
    rule("size(self) > 0", "is empty: name at least one image"),
    rule(
        "size(self) == 0 || !self[0].advisory",
        "the first image is the lead and cannot be advisory: put a required image first",
    ),
    rule(
        "self.all(a, !has(a.repository) || self.exists_one(b, has(b.repository) && b.repository == a.repository && b.tagTemplate == a.tagTemplate)) && self.all(a, !has(a.imageRepositoryRef) || self.exists_one(b, has(b.imageRepositoryRef) && b.imageRepositoryRef.name == a.imageRepositoryRef.name && b.tagTemplate == a.tagTemplate))",
        "two images have the same repository: remove one, or give them different tagTemplates",
    ),
];
/// `filterTags`. RE2's own words come with the error of the first (design §3).
pub const FILTER_TAGS: &[Rule] = &[
    rule_at(".pattern", "'x'.matches(self.pattern) ? true : true", "the pattern is no regular expression"),
    rule_at(
        ".extract",
        "!has(self.extract) || self.extract == '' || self.extract.replace('$$', '').matches('[$][{]?[A-Za-z0-9_]')",
        "extract names no group: write `$name` for a (?P<name>…) of the pattern",
    ),
    rule_at(
        ".extract",
        "!has(self.extract) || self.extract.replace('$$', '').findAll('[$][{]?[A-Za-z0-9_]+').all(g, g.matches('^[$][{]?[0-9]+$') || self.pattern.contains('(?P<' + g.replace('$', '').replace('{', '') + '>') || self.pattern.contains('(?<' + g.replace('$', '').replace('{', '') + '>'))",
        "extract names a group which the pattern does not have: write (?P<name>…) in the pattern",
    ),
];
/// `exclude`.
pub const EXCLUDE: &[Rule] =
    &[rule("self.all(e, 'x'.matches(e) ? true : true)", "the pattern is no regular expression")];
/// The candidate policy.
pub const POLICY_ONE: Rule = rule(
    "[has(self.semver), has(self.numerical), has(self.alphabetical)].filter(x, x).size() == 1",
    "has none or several policies: set exactly one of semver, numerical and alphabetical",
);
/// Where candidates and their order come from.
pub const CANDIDATES_ONE: Rule = rule(
    "has(self.policy) != has(self.policyRef)",
    "has none or both orders: set exactly one of policy and policyRef",
);
/// A Flux ImagePolicy brings its own filter.
pub const CANDIDATES_FILTER: Rule = rule_at(
    ".filterTags",
    "!has(self.policyRef) || !has(self.filterTags)",
    "policyRef brings the filterTags of that ImagePolicy: remove one of the two",
);
/// Candidates.
pub const CANDIDATES: &[Rule] = &[CANDIDATES_ONE, CANDIDATES_FILTER];
/// One gate.
pub const GATE_ONE: Rule = rule(
    "has(self.smoke) != has(self.sameRevision)",
    "has none or several kinds: set exactly one of smoke and sameRevision",
);
/// One target.
pub const TARGET_ONE: Rule = rule(
    "[has(self.configMap), has(self.imagePolicy), has(self.resourceSetInputProvider)].filter(x, x).size() == 1",
    "has none or several kinds: set exactly one of configMap, imagePolicy and resourceSetInputProvider",
);
/// Keys of a ConfigMap target.
pub const KEYS: Rule = rule(
    "self.all(k, size(k) <= 253 && k.matches('^[-._a-zA-Z0-9]+$'))",
    "has a name that no key of a ConfigMap may have: use 1 to 253 of a-z, A-Z, 0-9, `-`, `_` and `.`",
);
/// A set that followed its own target would name its own candidates.
pub const POLICY_REF_NO_TARGET: &str = "is a target of this set: name the ImagePolicy that you wrote";
/// All targets.
pub const TARGETS: &[Rule] = &[
    rule(
        "self.all(t, !has(t.configMap) || self.exists_one(u, has(u.configMap) && u.configMap.name == t.configMap.name))",
        "two targets write one ConfigMap, the second is a target already: remove one",
    ),
    rule(
        "self.all(t, !has(t.imagePolicy) || self.exists_one(u, has(u.imagePolicy) && u.imagePolicy.name == t.imagePolicy.name))",
        "two targets write one ImagePolicy, the second is a target already: remove one",
    ),
    rule(
        "self.all(t, !has(t.resourceSetInputProvider) || self.exists_one(u, has(u.resourceSetInputProvider) && u.resourceSetInputProvider.name == t.resourceSetInputProvider.name))",
        "two targets write one ResourceSetInputProvider, the second is a target already: remove one",
    ),
];
/// The spec as a whole.
pub const SPEC: &[Rule] = &[
    rule_at(
        ".images",
        "self.images.all(i, has(i.platforms) || !has(i.advisoryPlatforms) || !i.advisoryPlatforms.exists(p, p in self.platforms))",
        "an advisoryPlatforms names a platform of spec.platforms that is required too: name it in one of the two lists",
    ),
    rule_at(
        ".gates",
        "!has(self.gates) || self.gates.all(g, !has(g.smoke) || self.images.exists(i, i.name == g.smoke.image))",
        "a gate's smoke.image is no image of this set: write one of spec.images[].name",
    ),
    rule_at(
        ".gates",
        "!has(self.gates) || self.gates.all(g, !has(g.smoke) || g.advisory || !self.images.exists(i, i.name == g.smoke.image && i.advisory))",
        "a required gate's smoke.image is advisory: make the gate advisory too, or the image required",
    ),
    rule_at(
        ".targets",
        "!has(self.targets) || !self.targets.exists(t, has(t.imagePolicy)) || self.images.all(i, i.advisory || i.tagTemplate == self.images[0].tagTemplate)",
        "one ImagePolicy carries one tag: give all non-advisory images the same tagTemplate, or use a configMap target",
    ),
    rule_at(
        ".candidates.policyRef",
        "!has(self.candidates.policyRef) || !has(self.targets) || self.targets.all(t, !has(t.imagePolicy) || t.imagePolicy.name != self.candidates.policyRef.name)",
        POLICY_REF_NO_TARGET,
    ),
];
/// The object: its name is written into a label of its targets.
pub const OBJECT: &[Rule] = &[rule(
    "size(self.metadata.name) <= 63",
    "metadata.name has more than 63 characters: shorten it, because it is written into a label of the targets",
)];
/// The status: S4 held by the API server itself (design §3).
pub const STATUS: &[Rule] = &[rule(
    "!has(oldSelf.promoted) || (has(self.promoted) && (self.promoted.sequence > oldSelf.promoted.sequence || (self.promoted.sequence == oldSelf.promoted.sequence && self.promoted.tag == oldSelf.promoted.tag)))",
    "status.promoted never goes back",
)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_rule_knows_the_lists() {
        assert!(PLATFORM.rule.contains(&format!(
            "({})/({})(",
            KNOWN_OS.join("|"),
            KNOWN_ARCHITECTURES.join("|")
        )));
    }
}
