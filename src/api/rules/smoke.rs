//! Rules of `spec.gates[].smoke`.

use super::{Range, Rule, rule, rule_at};

/// A smoke test as a whole. CEL writes the field `for` as `__for__`.
pub const SMOKE: &[Rule] = &[
    rule_at(
        ".for",
        "!has(self.__for__) || (has(self.expect) && self.expect == 'StaysUp')",
        "only a service stays up: set `expect: StaysUp`, or remove `for`",
    ),
    rule_at(
        ".httpGet",
        "!has(self.httpGet) || (has(self.expect) && self.expect == 'StaysUp')",
        "only a service is asked: set `expect: StaysUp`, or remove `httpGet`",
    ),
    rule_at(
        ".for",
        "!has(self.expect) || self.expect != 'StaysUp' || !(has(self.__for__) ? self.__for__ : '20s').matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || !(has(self.timeout) ? self.timeout : '5m').matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || duration(has(self.__for__) ? self.__for__ : '20s') < duration(has(self.timeout) ? self.timeout : '5m')",
        "is not shorter than the timeout, so that nothing could pass: raise `timeout` or shorten `for`",
    ),
];
/// `env`: names that are not used twice.
pub const ENV_UNIQUE: Rule =
    rule("self.all(e, self.exists_one(f, f.name == e.name))", "sets a variable twice: remove one");
/// `env[].name`.
pub const ENV_NAME: Rule = rule(
    "self.matches('^[A-Za-z_][A-Za-z0-9_]*$') && !self.startsWith('TIDEGATE_')",
    "is not possible: use letters, digits and `_`, not beginning with a digit nor with TIDEGATE_, which is Tidegate's own",
);
/// `httpGet.path`.
pub const HTTP_PATH: Rule = rule("self.startsWith('/')", "begins with no `/`: write `/healthz` for example");
/// `resources.requests` and `resources.limits`.
pub const QUANTITIES: &[Rule] = &[
    rule(
        "self.all(name, name in ['cpu', 'memory'])",
        "names something else than cpu and memory: a limit on ephemeral-storage evicts pods in a way that looks like success",
    ),
    rule(
        "self.all(name, self[name].matches('^[0-9]{1,12}([.][0-9]{1,3})?(m|k|Ki|M|Mi|G|Gi)?$'))",
        "has an amount that is no quantity: write 500m, 2 or 512Mi for example",
    ),
];
/// `tolerations[].operator`.
pub const TOLERATION_OPERATOR: Rule =
    rule("self in ['Equal', 'Exists']", "is not possible: write Equal or Exists");
/// `tolerations[].effect`.
pub const TOLERATION_EFFECT: Rule = rule(
    "self in ['NoSchedule', 'PreferNoSchedule', 'NoExecute']",
    "is not possible: write NoSchedule, PreferNoSchedule or NoExecute",
);
/// `runAsUser`: above root, up to the greatest user of Linux.
pub const RUN_AS_USER: Range = Range {
    min: 1,
    max: 2_147_483_647,
    rule: rule(
        "self >= 1 && self <= 2147483647",
        "is out of bounds: write 1 to 2147483647; smoke tests do not run as root",
    ),
};
/// `httpGet.port`.
pub const PORT: Range = Range {
    min: 1,
    max: 65_535,
    rule: rule("self >= 1 && self <= 65535", "is out of bounds: write 1 to 65535"),
};
