//! Connections: one pool for each identity and each way of reaching hosts. Knows who may be connected to, and that
//! the first request to a host leads.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use rustls_platform_verifier::Verifier;
use url::Url;

use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::address::host_and_port;
use crate::registry::wire::failure::{Failure, innermost};
use crate::registry::wire::guard::{self, Reach};
use crate::registry::wire::lead::Lead;
use crate::registry::wire::proxy::Setting;
use crate::registry::wire::resolve::{Guarded, Limit, Names, System};
use crate::registry::wire::route::Route;
use crate::registry::wire::tls;

/// To open a connection: a registry on another continent takes 0.3 s, one lost SYN costs 1 s, two 3 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Idle connections outlive the default poll interval (60 s) twice, so that a poll finds a warm one.
const POOL_IDLE_LIMIT: Duration = Duration::from_mins(2);
/// Idle connections kept per host: what one look uses at once.
const POOL_IDLE_MAX_PER_HOST: usize = 8;
/// A ping, and the wait for its answer, while a request is open: a connection whose other end is gone is given up
/// after 10 s, within one request's time. None is sent at rest: front ends count pings.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Pools kept: 256 idle TLS connections of about 80 kB are 20 MB. With more identities than that, those asked longest
/// ago pay a handshake again.
const POOLS_MAX: usize = 256;
/// Hosts remembered in one pool, and registries whose address is remembered: far more than one identity asks.
const HOSTS_MAX: usize = 1_024;

/// The pools of the process.
pub(crate) struct Clients {
    pools: Mutex<Pools>,
    /// How far inside each registry was found to lie, by origin: what answered last.
    seen: Mutex<HashMap<String, Reach>>,
    /// The system's CAs, read when first needed: a machine without them can still ask plain HTTP registries.
    system: Mutex<Option<Arc<Verifier>>>,
    names: Arc<dyn Names>,
    environment: Matcher,
}

#[derive(Default)]
struct Pools {
    by_key: HashMap<Key, Pool>,
    /// Counts uses, to know which was used longest ago.
    uses: u64,
}

/// What makes connections different.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: Fingerprint,
    https: bool,
    limit: Limit,
    /// The client certificate is shown.
    shown: bool,
    proxy: Option<Fingerprint>,
}

struct Pool {
    client: reqwest::Client,
    used: u64,
    leads: HashMap<String, Arc<Lead>>,
}

/// What one request is sent with.
pub(crate) struct Way {
    pub(crate) client: reqwest::Client,
    /// Who has to go first; nobody where HTTP/2 cannot be (plain HTTP).
    pub(crate) lead: Option<Arc<Lead>>,
    /// The proxy in between.
    pub(crate) proxy: Option<Arc<Setting>>,
}

// === impl Clients ===

impl Default for Clients {
    fn default() -> Self {
        Self::new(Arc::new(System), Matcher::from_env())
    }
}

impl Clients {
    /// `names` knows addresses, `environment` which hosts are asked through a proxy when the spec names none.
    pub(crate) fn new(names: Arc<dyn Names>, environment: Matcher) -> Self {
        let (pools, seen, system) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { pools, seen, system, names, environment }
    }

    /// The way to an address. `away`: a redirect led off the registry, where neither credential nor client
    /// certificate go.
    pub(crate) fn way(&self, route: &Route, url: &Url, away: bool) -> Result<Way, Failure> {
        let proxy = match route.proxy() {
            Some(setting) => Some(Arc::new(setting.clone())),
            None => Setting::of_environment(&self.environment, url).map_err(Failure::BadProxy)?,
        };
        // Through a proxy only the proxy's own name is looked up here: a person named it. What lies behind, the
        // proxy decides.
        let own = proxy.is_some() || route.is_own(url);
        let key = Key {
            identity: route.identity,
            https: url.scheme() == "https",
            limit: if own { Limit::Own } else { Limit::Named(self.reach_of(route)) },
            shown: !away,
            proxy: proxy.as_ref().map(|setting| setting.fingerprint),
        };
        let mut pools = lock(&self.pools);
        pools.uses += 1;
        let used = pools.uses;
        if !pools.by_key.contains_key(&key) {
            let client = self.build(route, &key, proxy.as_deref())?;
            pools.make_room();
            pools.by_key.insert(key.clone(), Pool { client, used, leads: HashMap::new() });
        }
        let Some(pool) = pools.by_key.get_mut(&key) else { return Err(Failure::NoTls(String::new())) };
        pool.used = used;
        let lead = key.https.then(|| pool.lead(url));
        Ok(Way { client: pool.client.clone(), lead, proxy })
    }

    /// Notes where an answer of the registry itself came from: that is how far inside the hosts may lie that it
    /// names. Not its name: what that resolves to may be another machine the next time.
    pub(crate) fn answered(&self, route: &Route, url: &Url, peer: Option<SocketAddr>, way: &Way) {
        let (Some(peer), None, true) = (peer, &way.proxy, route.is_own(url)) else { return };
        let mut seen = lock(&self.seen);
        if seen.len() >= HOSTS_MAX {
            seen.clear();
        }
        seen.insert(route.registry.as_str().to_owned(), guard::reach_of(peer.ip()));
    }

    fn reach_of(&self, route: &Route) -> Reach {
        let seen = lock(&self.seen).get(route.registry.as_str()).copied();
        seen.unwrap_or_else(|| guard::reach(&route.registry))
    }

    fn build(&self, route: &Route, key: &Key, proxy: Option<&Setting>) -> Result<reqwest::Client, Failure> {
        let config = if key.https || proxy.is_some() {
            tls::config(route.material(), key.shown, &|| self.system())
        } else {
            tls::plain_config()
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tls_backend_preconfigured(config.map_err(Failure::NoTls)?)
            .dns_resolver(Guarded { names: Arc::clone(&self.names), limit: key.limit })
            .connect_timeout(CONNECT_LIMIT)
            .pool_idle_timeout(POOL_IDLE_LIMIT)
            .pool_max_idle_per_host(POOL_IDLE_MAX_PER_HOST)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_INTERVAL)
            // The environment's proxies are in `proxy` already, and decided per host.
            .no_proxy();
        let failed = |error: reqwest::Error| Failure::NoTls(innermost(&error));
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy.for_reqwest().map_err(failed)?);
        }
        builder.build().map_err(failed)
    }

    fn system(&self) -> Result<tls::Verified, String> {
        let mut system = lock(&self.system);
        let verifier = match &*system {
            Some(verifier) => Arc::clone(verifier),
            None => {
                let read = Verifier::new(tls::provider()).map_err(|error| error.to_string())?;
                Arc::clone(system.insert(Arc::new(read)))
            }
        };
        tls::trusting(verifier)
    }
}

// === impl Pools ===

impl Pools {
    /// Gives up the pool that was used longest ago when there are enough; requests on it go on.
    fn make_room(&mut self) {
        if self.by_key.len() < POOLS_MAX {
            return;
        }
        let oldest = self.by_key.iter().min_by_key(|(_, pool)| pool.used).map(|(key, _)| key.clone());
        oldest.and_then(|key| self.by_key.remove(&key));
    }
}

// === impl Pool ===

impl Pool {
    fn lead(&mut self, url: &Url) -> Arc<Lead> {
        if self.leads.len() >= HOSTS_MAX {
            self.leads.retain(|_, lead| !lead.is_forgettable());
        }
        Arc::clone(self.leads.entry(host_and_port(url)).or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Repository;
    use crate::registry::Access;
    use crate::registry::credentials::Credential;
    use crate::registry::wire::place::Place;

    fn clients() -> Clients {
        Clients::new(Arc::new(System), Matcher::builder().build())
    }

    /// The way to `url` for the plain registry `host`, as a user of that number.
    fn way(clients: &Clients, host: &str, url: &str, user: usize) -> (Arc<Route>, Way) {
        let repository: Repository = format!("{host}/acme/app").parse().unwrap();
        let credential = Credential::Basic { username: user.to_string(), password: "p".to_owned().into() };
        let access = Access { credentials: credential.into(), insecure: true, ..Access::default() };
        let route = Place::new(&access, &repository).unwrap().route;
        let way = clients.way(&route, &url.parse().unwrap(), false).unwrap();
        (route, way)
    }

    fn limits(clients: &Clients) -> Vec<Limit> {
        lock(&clients.pools).by_key.keys().map(|key| key.limit).collect()
    }

    #[test]
    fn pools_are_bounded_and_the_one_used_longest_ago_goes() {
        let clients = clients();
        for user in 0..POOLS_MAX + 10 {
            way(&clients, "r.test", "http://r.test/v2/", 0);
            way(&clients, "r.test", "http://r.test/v2/", user);
        }
        let pools = lock(&clients.pools);
        assert_eq!(pools.by_key.len(), POOLS_MAX);
        let oldest = pools.by_key.values().map(|pool| pool.used).min().unwrap();
        drop(pools);
        way(&clients, "r.test", "http://r.test/v2/", 0);
        assert_eq!(lock(&clients.pools).by_key.len(), POOLS_MAX, "the busiest was never given up");
        assert!(oldest > 20, "{oldest}");
    }

    #[test]
    fn a_registry_names_hosts_as_far_inside_as_what_answered_for_it() {
        let clients = clients();
        let (route, own) = way(&clients, "r.test", "http://r.test/v2/", 1);
        assert_eq!(limits(&clients), [Limit::Own]);
        for (peer, most) in [
            ("10.0.0.1:80", Reach::Private),
            ("1.1.1.1:80", Reach::Public),
            ("127.0.0.1:80", Reach::Loopback),
        ] {
            clients.answered(
                &route,
                &"http://r.test/v2/".parse().unwrap(),
                Some(peer.parse().unwrap()),
                &own,
            );
            way(&clients, "r.test", "http://auth.test/token", 1);
            assert!(limits(&clients).contains(&Limit::Named(most)), "{peer}");
        }
        // What another host answered says nothing of the registry.
        let away = "http://auth.test/token".parse().unwrap();
        clients.answered(&route, &away, Some("10.0.0.1:80".parse().unwrap()), &own);
        assert_eq!(clients.reach_of(&route), Reach::Loopback);
    }

    #[test]
    fn a_registry_that_has_not_answered_names_public_hosts_only() {
        let clients = clients();
        way(&clients, "r.test", "http://auth.test/token", 1);
        assert_eq!(limits(&clients), [Limit::Named(Reach::Public)]);
    }

    #[test]
    fn another_port_of_the_same_host_is_a_host_that_was_named() {
        let clients = clients();
        way(&clients, "r.test", "http://r.test:8080/token", 1);
        assert_eq!(limits(&clients), [Limit::Named(Reach::Public)]);
    }
}
