//! The engine alone: a paper world that answers its questions, and properties over random histories.

mod answers;
mod confirmation;
mod edges;
mod hand;
pub mod properties;
mod semver;
mod sequences;
mod told;
pub mod world;
