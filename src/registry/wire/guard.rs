//! Where a request may go when a registry names the address: token realms, redirects and next pages. Pure.
//!
//! A registry is not trusted to choose hosts inside our network, nor to receive what was not given for it
//! (reliability research §2.1: CVE-2020-15157, CVE-2026-12566, CVE-2026-4789).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Why an address is refused; the sentence goes on from "… because ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not an absolute http(s) URL with a host.
    #[error("it is no absolute http or https address")]
    NotAbsolute,
    /// Plain HTTP without `insecure`.
    #[error("it is not https and `insecure` is not set")]
    PlainHttp,
    /// `user:password@` in the address.
    #[error("it carries a user name")]
    UserInfo,
    /// An address inside a network that the registry is no part of.
    #[error("it is a loopback, link-local or private address and the registry is not")]
    Reserved,
}

/// How far inside a host lies. A registry may name addresses as far inside as itself: a public one none that
/// is reserved, a private one private ones, one on this machine private ones and this machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Public,
    Private,
    Loopback,
    /// Link-local: where clouds keep their metadata service.
    LinkLocal,
}

/// True when both are the same scheme, host and port: credentials may go from one to the other.
pub fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// True for a host that is this machine: proxies are not asked for it (as Go's `net/http` does).
pub fn is_loopback(url: &Url) -> bool {
    reach(url) == Reach::Loopback
}

/// Whether `target`, named by the registry at `registry`, may be asked.
pub fn check(target: &Url, registry: &Url, insecure: bool) -> Result<(), Refused> {
    match target.scheme() {
        "https" => {}
        "http" if insecure => {}
        "http" => return Err(Refused::PlainHttp),
        _ => return Err(Refused::NotAbsolute),
    }
    if target.host().is_none() {
        return Err(Refused::NotAbsolute);
    }
    if !target.username().is_empty() || target.password().is_some() {
        return Err(Refused::UserInfo);
    }
    if reach(target) > reach(registry) { Err(Refused::Reserved) } else { Ok(()) }
}

fn reach(url: &Url) -> Reach {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            // RFC 6761 §6.3: localhost and everything under it is loopback.
            if name == "localhost" || name.ends_with(".localhost") { Reach::Loopback } else { Reach::Public }
        }
        Some(Host::Ipv4(address)) => reach_of(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => reach_of(IpAddr::V6(address)),
        None => Reach::LinkLocal,
    }
}

fn reach_of(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(address) => reach_v4(address),
            None => reach_v6(address),
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (second & 0xc0) == 64; // RFC 6598
    if address.is_loopback() {
        Reach::Loopback
    } else if address.is_private() || shared {
        Reach::Private
    } else if address.is_link_local() || first == 0 || first >= 224 {
        Reach::LinkLocal
    } else {
        Reach::Public
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if address.is_loopback() {
        Reach::Loopback
    } else if address.is_unique_local() {
        Reach::Private
    } else if address.is_unicast_link_local() || address.is_unspecified() || address.is_multicast() {
        Reach::LinkLocal
    } else {
        Reach::Public
    }
}

/// The IPv4 address that an IPv6 one leads to: mapped (`::ffff:0:0/96`) or by NAT64 (`64:ff9b::/96`).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let nat64 = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [a, b, c, d] = [segments[6] >> 8, segments[6] & 0xff, segments[7] >> 8, segments[7] & 0xff]
        .map(|part| u8::try_from(part).unwrap_or_default());
    address.to_ipv4_mapped().or(nat64.then_some(Ipv4Addr::new(a, b, c, d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_public_registry_names_public_https_hosts_only() {
        let registry = url("https://ghcr.io/");
        assert_eq!(check(&url("https://auth.docker.io/token"), &registry, false), Ok(()));
        for (target, refused) in [
            ("http://ghcr.io/token", Refused::PlainHttp),
            ("ftp://ghcr.io/token", Refused::NotAbsolute),
            ("data:text/plain,x", Refused::NotAbsolute),
            ("https://a:b@ghcr.io/token", Refused::UserInfo),
            ("https://localhost/token", Refused::Reserved),
            ("https://x.localhost./token", Refused::Reserved),
            ("https://127.0.0.1/token", Refused::Reserved),
            ("https://0x7f.1/token", Refused::Reserved),
            ("https://2130706433/token", Refused::Reserved),
            ("https://10.1.2.3/token", Refused::Reserved),
            ("https://100.64.0.1/token", Refused::Reserved),
            ("https://169.254.169.254/token", Refused::Reserved),
            ("https://0.0.0.0/token", Refused::Reserved),
            ("https://[::1]/token", Refused::Reserved),
            ("https://[::ffff:10.0.0.1]/token", Refused::Reserved),
            ("https://[64:ff9b::a9fe:a9fe]/token", Refused::Reserved),
            ("https://[fe80::1]/token", Refused::Reserved),
            ("https://[fd00::1]/token", Refused::Reserved),
        ] {
            assert_eq!(check(&url(target), &registry, false), Err(refused), "{target}");
        }
    }

    #[test]
    fn a_registry_names_addresses_as_far_inside_as_itself() {
        let local = url("http://127.0.0.1:5000/");
        let private = url("https://10.0.0.5/");
        assert_eq!(check(&url("http://127.0.0.1:5001/token"), &local, true), Ok(()));
        assert_eq!(check(&url("http://10.0.0.6/token"), &local, true), Ok(()));
        assert_eq!(check(&url("http://169.254.169.254/token"), &local, true), Err(Refused::Reserved));
        assert_eq!(check(&url("https://192.168.1.1/token"), &private, false), Ok(()));
        assert_eq!(check(&url("https://127.0.0.1/token"), &private, false), Err(Refused::Reserved));
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let one = url("https://ghcr.io/v2/");
        assert!(same_origin(&one, &url("https://ghcr.io:443/other")));
        for other in ["http://ghcr.io/", "https://ghcr.io:444/", "https://ghcr.io.evil.io/"] {
            assert!(!same_origin(&one, &url(other)), "{other}");
        }
    }
}
