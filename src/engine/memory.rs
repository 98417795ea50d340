//! What was seen in registries so far, and how a new answer changes it.

/// What was seen in registries.
#[derive(Clone, Debug, Default)]
pub struct Memory {}
