//! Names to addresses, and which of them may be connected to. The connection goes to the very addresses that were
//! checked, so a name that means something else a moment later gains nothing (DNS rebinding).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::registry::wire::guard::{self, Reach};

/// Who knows names. The system does; tests bring their own.
pub(crate) trait Names: Send + Sync {
    /// All addresses of a name; the ports mean nothing.
    fn look_up(&self, name: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// `getaddrinfo`.
pub(crate) struct System;

/// How far inside the addresses of a name may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    /// The registry's own host, or a proxy: a person named it. Anywhere but where clouds keep their metadata.
    Own,
    /// A host that the registry named: as far inside as the registry itself.
    Named(Reach),
}

/// Looks up names for one kind of host.
pub(crate) struct Guarded {
    pub(crate) names: Arc<dyn Names>,
    pub(crate) limit: Limit,
}

/// Every address of a name lies where it may not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{name} resolves to {address}, {why}")]
pub(crate) struct Inside {
    name: String,
    address: std::net::IpAddr,
    why: &'static str,
}

// === impl System ===

impl Names for System {
    fn look_up(&self, name: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    }
}

// === impl Limit ===

impl Limit {
    fn allows(self, address: SocketAddr) -> bool {
        let reach = guard::reach_of(address.ip());
        match self {
            _ if reach == Reach::LinkLocal => false,
            Self::Own => true,
            Self::Named(most) => reach <= most,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Own => "where clouds keep credentials and no registry is",
            Self::Named(_) => "a loopback, link-local or private address, and the registry is not at one",
        }
    }
}

// === impl Guarded ===

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (limit, name) = (self.limit, name.as_str().to_owned());
        let looking = self.names.look_up(name.clone());
        Box::pin(async move {
            let (allowed, refused): (Vec<_>, Vec<_>) =
                looking.await?.into_iter().partition(|address| limit.allows(*address));
            if let (true, Some(address)) = (allowed.is_empty(), refused.first()) {
                return Err(Inside { name, address: address.ip(), why: limit.why() }.into());
            }
            let addresses: reqwest::dns::Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use reqwest::dns::Resolve as _;

    use super::*;

    struct Fixed(Vec<SocketAddr>);

    impl Names for Fixed {
        fn look_up(&self, _name: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let addresses = self.0.clone();
            async move { Ok(addresses) }.boxed()
        }
    }

    /// What of `addresses` may be connected to; `None` when all are refused.
    fn allowed(limit: Limit, addresses: &[&str]) -> Option<Vec<String>> {
        let addresses = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        let guarded = Guarded { names: Arc::new(Fixed(addresses)), limit };
        let found = guarded.resolve("r.test".parse().unwrap()).now_or_never().unwrap().ok()?;
        Some(found.map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn a_host_that_a_public_registry_names_is_public() {
        let limit = Limit::Named(Reach::Public);
        assert_eq!(allowed(limit, &["1.1.1.1", "2606:4700::1"]).unwrap().len(), 2);
        assert_eq!(allowed(limit, &["10.0.0.1", "1.1.1.1", "127.0.0.1"]).unwrap(), ["1.1.1.1"]);
        for address in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00::1", "64:ff9b::a00:1"] {
            assert_eq!(allowed(limit, &[address]), None, "{address}");
        }
    }

    #[test]
    fn a_host_that_a_private_registry_names_is_public_or_private() {
        let limit = Limit::Named(Reach::Private);
        assert_eq!(allowed(limit, &["10.0.0.1", "1.1.1.1", "127.0.0.1"]).unwrap(), ["10.0.0.1", "1.1.1.1"]);
        assert_eq!(allowed(limit, &["127.0.0.1"]), None);
        assert_eq!(allowed(Limit::Named(Reach::LinkLocal), &["169.254.169.254"]), None);
    }

    #[test]
    fn a_host_that_a_person_names_is_anywhere_but_at_metadata() {
        for address in ["10.0.0.1", "127.0.0.1", "::1", "1.1.1.1"] {
            assert_eq!(allowed(Limit::Own, &[address]).unwrap(), [address]);
        }
        for address in ["169.254.169.254", "fd00:ec2::254", "fe80::1", "100.100.100.200", "0.0.0.0"] {
            assert_eq!(allowed(Limit::Own, &[address]), None, "{address}");
        }
    }

    #[test]
    fn a_name_without_addresses_is_not_called_inside() {
        assert_eq!(allowed(Limit::Own, &[]), Some(Vec::new()));
    }
}
