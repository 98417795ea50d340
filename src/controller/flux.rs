//! Flux objects in a reconcile: what a spec refers to, how far targets are, and which sets a change wakes.
//!
//! Everything is read by GET in the set's own namespace. Nothing that Flux says is evidence: a scan is a hint, a
//! policy names a candidate and lends its order, and how far a target is never touches Ready.

pub mod following;
pub mod index;
pub mod references;
