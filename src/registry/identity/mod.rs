//! As whom a registry is asked: credentials, what a registry wants of them, and the tokens they buy.

pub(crate) mod auth;
pub(crate) mod challenge;
pub mod credentials;
pub mod docker_config;
pub mod origin;
pub(crate) mod tokens;
