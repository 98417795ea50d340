//! Credentials for one registry host.

use secrecy::SecretString;

/// As whom a registry is asked.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// User name and password (or personal access token).
    Basic {
        /// User name.
        username: String,
        /// Password or token; never printed.
        password: SecretString,
    },
    /// A credential was asked for and cannot be used: every answer is then Unknown(Auth) with this sentence,
    /// and no request is sent.
    Unusable {
        /// What is wrong with it and what to do, for people.
        why: String,
    },
}
