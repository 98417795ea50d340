//! Tidegate as people install it: the chart by helm, the controller's image from a registry in pods of a real node, in a
//! namespace where only restricted pods may run.
//!
//! The CRD belongs to the whole cluster, and here it comes and goes: each story has a cluster of its own.

mod before;
mod first;
mod helm;
mod image;
mod measure;
mod moves;
mod upgrade;
mod world;

/// Name of this suite in the line that says why it is skipped.
const SUITE: &str = "installation by helm on a real node";
