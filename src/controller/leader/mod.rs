//! Which of several controllers acts (ADR 6): a Lease that is watched, and a token that lapses by itself.
//!
//! ```text
//!   Lease ─▶ evaluate ─▶ election ──extends──▶ Leadership ◀──asks── every write of the controller
//! ```
//!
//! The lease is advice. What holds the promise with two live leaders is the resourceVersion of each write. Nothing
//! here may know what is written.

pub mod election;
pub mod evaluate;
pub mod leadership;

pub use election::Election;
pub use leadership::Leadership;
