//! The border between Kubernetes or YAML and the engine: wire types, the CRD, parsing into values, status.
//!
//! Serde and kube types live here and never pass into `model` or `engine`. This room does no I/O and reads no
//! clock.

pub mod crd;
pub mod duration;
pub mod gate_hash;
pub mod manifest;
pub mod references;
pub mod rules;
pub mod schema;
pub mod status;
pub mod v1alpha1;
pub mod validate;

pub use v1alpha1::{ReleaseSet, ReleaseSetSpec, ReleaseSetStatus};
