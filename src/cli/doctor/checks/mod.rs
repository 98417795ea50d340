//! The checks of `tidegate doctor`, in the order in which they are told. Each looks at one [`Subject`] and says what it
//! found, at least one finding each, so that what was checked can be seen.

mod conditions;
mod hands;
mod targets;

use crate::cli::cluster::Found;
use crate::cli::doctor::finding::Finding;

/// What a check is given.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The set as it was read.
    pub found: &'a Found,
    /// The one next action, as `explain` says it.
    pub next_action: &'a str,
    /// How this program was called, for commands in words.
    pub program: &'static str,
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name in the table and in JSON; never changes.
    pub name: &'static str,
    /// What it finds.
    pub examine: fn(&Subject<'_>) -> Vec<Finding>,
}

/// Every check.
pub const CHECKS: &[Check] = &[
    Check { name: "hands", examine: hands::examine },
    Check { name: "conditions", examine: conditions::examine },
    Check { name: "targets", examine: targets::examine },
];

// === impl Subject ===

impl Subject<'_> {
    /// `` `tidegate VERB NAME REST -n NAMESPACE` ``.
    fn command(&self, verb: &str, rest: &str) -> String {
        let metadata = &self.found.object.metadata;
        let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
        format!(
            "`{} {verb} {}{rest} -n {}`",
            self.program,
            metadata.name.as_deref().unwrap_or_default(),
            metadata.namespace.as_deref().unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests;
