//! Semantic versions and ranges of them, with the answers that Flux gives.
//!
//! Flux reads tags by `fluxcd/pkg/version` and ranges by Masterminds/semver v3 (v3.4.0 and v3.5.0 answer alike;
//! the limits are those of v3.5.0). No crate has these ranges: Cargo's own know no `||`, no hyphen ranges, and
//! treat pre-releases otherwise. `tests/corpus/semver` holds answers of the library itself.
//!
//! ```text
//! text ─> parse ─> Range: groups (or) ─> comparisons (and) ─> Partial, the version that each names
//!                    └─ accepts(Version) ─> bool
//! ```
//!
//! Whatever is accepted here means the same to Flux. What Flux reads in a way that nobody would guess is refused
//! with a message instead: see [`Mistake`].

mod comparison;
mod parse;
mod range;
mod version;

#[cfg(test)]
mod tests;

pub use parse::{Mistake, RangeError};
pub use range::{GROUPS_MAX, RANGE_MAX_BYTES, Range};
pub use version::{VERSION_MAX_BYTES, Version, VersionError};
