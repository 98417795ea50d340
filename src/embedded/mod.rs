//! A world to run in without a cluster: an OCI registry over HTTP, a Kubernetes API and a node, in process.
//!
//! The demo and the proofs run the real controller against it, under virtual time: everything here lives on the
//! caller's tokio runtime, takes its instants from one [`Clock`](crate::telemetry::clock::Clock) and its waits
//! from tokio's timers, and draws no random numbers. It is a world, so it must never know the product: no type of
//! `model`, `engine`, `api` or the adapters appears here.
//!
//! ```text
//! RegistryServer <- HTTP on loopback <- reqwest, oci-client, crane
//! ApiServer      <- tower service    <- kube::Client (one per actor)
//! Node           -> kube::Client, and a resolver for what an image "does"
//! ```

pub mod api;
pub mod image;
pub mod node;
pub mod registry;
