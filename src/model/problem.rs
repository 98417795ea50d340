//! What is wrong with an input, where, and what to write instead.

use std::fmt;

/// One mistake in a ReleaseSet. Validation collects all of them instead of stopping at the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field as `kubectl` prints it, for example `spec.images[1].platforms`.
    pub field: String,
    /// What is wrong and what to write instead; one sentence, no final period.
    pub message: String,
}

// === impl Problem ===

impl Problem {
    /// A problem of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for Problem {}
