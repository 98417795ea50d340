//! `status` between the API server and the engine: read as a record, written from a decision.
//!
//! `promoted`, `floor` and `history` are set by [`apply_commit`] alone, which uses up the engine's grant; every
//! other function hands them on as they were read. Nothing here reads a clock or talks to a server.

mod commit;
mod record;
mod render;
mod wire;

pub use commit::{HISTORY_MAX_BYTES, apply_commit, committed};
pub use record::{UnreadableStatus, record};
pub use render::{STATUS_MAX_BYTES, render, with_conditions};
pub use wire::{lost_fields, merge_into};

use jiff::Timestamp;

/// An instant as status holds it: RFC 3339 in UTC with whole seconds, later parts cut off.
pub fn time_text(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests;
