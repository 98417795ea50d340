//! Placeholder.
pub mod image;
