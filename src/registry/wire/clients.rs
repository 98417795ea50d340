//! Connections: one pool for each way of reaching hosts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use crate::registry::wire::failure::{Failure, innermost};
use crate::registry::wire::guard;

/// To open a connection: a registry on another continent takes 0.3 s, one lost SYN costs 1 s, two 3 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Idle connections outlive the default poll interval (60 s) twice, so that a poll finds a warm one.
const POOL_IDLE_LIMIT: Duration = Duration::from_mins(2);
/// Idle connections kept per host: what one look uses at once.
const POOL_IDLE_MAX_PER_HOST: usize = 8;

/// The pools of the process.
#[derive(Default)]
pub(crate) struct Clients {
    /// Connections of plain and TLS hosts, through a proxy and direct.
    clients: Mutex<[Option<reqwest::Client>; 4]>,
}

// === impl Clients ===

impl Clients {
    /// The client for an address, built when first needed: a machine without CA certificates can still ask
    /// plain HTTP registries, and gets a sentence instead of a panic for the others.
    pub(crate) fn of(&self, url: &Url) -> Result<reqwest::Client, Failure> {
        let (tls, direct) = (url.scheme() == "https", guard::is_loopback(url));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut clients[usize::from(tls) * 2 + usize::from(direct)];
        if let Some(client) = place {
            return Ok(client.clone());
        }
        let client = build(tls, direct).map_err(|error| Failure::NoTls(innermost(&error)))?;
        Ok(place.insert(client).clone())
    }
}

fn build(tls: bool, direct: bool) -> Result<reqwest::Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // `main` installs it first thing; a library user or a test that did not would meet a panic in reqwest.
        let _another_thread_was_first = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(POOL_IDLE_LIMIT)
        .pool_max_idle_per_host(POOL_IDLE_MAX_PER_HOST);
    if !tls {
        // No roots: reqwest's default asks the platform for its own and fails where there are none.
        builder = builder.tls_certs_only([]);
    }
    if direct {
        builder = builder.no_proxy();
    }
    builder.build()
}
