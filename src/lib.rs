//! Tidegate makes GitOps releases all-or-nothing: a tag that several images share is promoted only when every
//! sibling exists in its registry for every required platform, at pinned digests, and its gates passed.
//!
//! This page is the map. An arrow reads "may use"; a test holds that there are no others.
//!
//! ```text
//!                  main ─▶ cli ─▶ everything below
//!                           │
//!                           ▼
//!                      controller ─▶ web
//!              ┌────────────┼──────────────┬───────────┐
//!              ▼            ▼              ▼           ▼
//!             api       registry         smoke      targets     (adapters know neither api nor each other)
//!              │            │              │           │
//!              ▼            │              │           │ engine::clearance only
//!            engine ◀───────┼──────────────┼───────────┘
//!              │            │              │
//!              ▼            ▼              ▼
//!                         model                                  (values; knows nobody)
//!
//!   telemetry: a leaf for all but model and engine.   embedded: a world to run in, knows telemetry alone.
//! ```
//!
//! - [`model`]: values of the domain, parsed once.
//! - [`engine`]: `decide(policy, observation, now)`, pure and total: the core of the product.
//! - [`api`]: the CRD, its wire types, parsing into a policy, status.
//! - [`registry`], [`smoke`], [`targets`]: what is asked of the world, and what is written to it.
//! - [`flux`]: what objects of Flux say.
//! - [`guard`]: the list that admission policies compare workloads with.
//! - [`controller`]: observe, decide, act, report; shares the looking with the command line.
//! - [`web`]: health, readiness and metrics over HTTP.
//! - [`cli`]: the commands, their words and exit codes.
//! - [`embedded`]: an OCI registry, a Kubernetes API and a node, in process.
//! - [`telemetry`]: clock, log, metrics.
//! - [`invariants`]: the promise as code, for every test and the demo.
//! - `fuzz`: what must hold for every input; for cargo-fuzz and the tests alone.

pub mod api;
pub mod cli;
pub mod controller;
pub mod embedded;
pub mod engine;
pub mod flux;
#[doc(hidden)]
pub mod fuzz;
pub mod guard;
pub mod invariants;
pub mod model;
pub mod registry;
pub mod smoke;
pub mod targets;
pub mod telemetry;
pub mod web;
