//! As whom a registry is asked: credentials, what a registry wants of them, and the tokens they buy.
//!
//! ```text
//!   keyring, docker_config ─▶ credentials (tried in turn) ─▶ auth ─▶ tokens ─▶ exchange
//!        └ key                                                └ challenge       └ life
//! ```

pub(crate) mod auth;
pub(crate) mod challenge;
pub mod credentials;
pub mod docker_config;
mod exchange;
pub(crate) mod expiry;
mod key;
pub mod keyring;
mod life;
pub mod origin;
pub(crate) mod tokens;
