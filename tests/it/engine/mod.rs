//! The engine alone: a paper world that answers its questions, and properties over random histories.

pub mod properties;
pub mod world;
