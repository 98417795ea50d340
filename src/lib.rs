//! Tidegate.
pub mod api;
pub mod cli;
pub mod controller;
pub mod embedded;
pub mod engine;
pub mod model;
pub mod registry;
pub mod smoke;
pub mod targets;
pub mod telemetry;
pub mod web;
