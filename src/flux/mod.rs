//! What Flux objects say: a small subset of their types, read by GET. This room must never know what is decided from
//! it; it writes nothing but `reconcile.fluxcd.io/requestedAt`.

pub mod events;
pub mod follow;
pub mod kinds;
pub mod objects;
pub mod observe;
pub mod reader;
