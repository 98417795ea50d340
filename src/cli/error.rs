//! Errors as a person reads them: what happened, why, and the next step.

use std::fmt;

use crate::cli::exit;

/// Why a command ends without an answer.
#[derive(Debug)]
pub struct CliError {
    /// What happened: a lowercase fragment without a final period.
    what: String,
    /// Why, from the outside in; each becomes a line of its own.
    why: Vec<String>,
    /// The one next step.
    hint: Option<String>,
}

/// An error or anything else that may go wrong in a command.
pub type Result<T> = std::result::Result<T, CliError>;

// === impl CliError ===

impl CliError {
    /// An error of which only the event is known.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), why: Vec::new(), hint: None }
    }

    /// Adds a reason below those that are there.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    /// Adds `error` and everything below it as reasons.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.why.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Says what to do next, as a sentence without a final period.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code: an error is never a verdict.
    pub fn code(&self) -> u8 {
        exit::ERROR
    }

    /// The next step.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.why.iter().try_for_each(|why| {
            // Several lines (a snippet of YAML) keep their shape below the first.
            write!(f, "\n  {}", why.trim_end().replace('\n', "\n  "))
        })
    }
}

impl std::error::Error for CliError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_below_the_event() {
        let error = CliError::new("failed to read a.yaml").because("line 1\nline 2").hint("look");
        assert_eq!(error.to_string(), "failed to read a.yaml\n  line 1\n  line 2");
        assert_eq!((error.next_step(), error.code()), (Some("look"), 1));
    }

    #[test]
    fn sources_are_kept() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::fmt::Error);
        let error = CliError::new("x").caused_by(&Outer(std::fmt::Error));
        assert!(error.to_string().starts_with("x\n  outer\n  "), "{error}");
    }
}
