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
    /// A literal link-local address, or one where a cloud keeps its metadata.
    #[error("it is a link-local address, where clouds keep credentials")]
    LinkLocal,
}

/// How far inside a host lies. A registry may name addresses as far inside as itself: a public one none that
/// is reserved, a private one private ones, one on this machine private ones and this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reach {
    /// Anywhere.
    Public,
    /// Networks of one organisation.
    Private,
    /// This machine.
    Loopback,
    /// Link-local and what is no host at all: where clouds keep their metadata service. Never named by anybody.
    LinkLocal,
}

/// Metadata services outside the link-local networks: Alibaba Cloud, Azure's platform address.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
/// The same for IPv6: AWS, Google Cloud.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// True when both are the same scheme, host and port: credentials may go from one to the other. Never with a user
/// name in one of them, which would be sent in place of our own.
pub fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
        && !has_user_info(one)
        && !has_user_info(other)
}

/// True for a host that is this machine: the environment's proxies are not asked for it (as Go's `net/http` does).
pub fn is_loopback(url: &Url) -> bool {
    reach(url) == Reach::Loopback
}

/// Whether the registry itself may be asked, as the user named it: everywhere but, over TLS, at a literal address
/// where clouds keep their metadata. Over plain HTTP too the user has to mean it.
pub fn check_own(registry: &Url) -> Result<(), Refused> {
    if registry.scheme() == "https" && reach(registry) == Reach::LinkLocal {
        return Err(Refused::LinkLocal);
    }
    Ok(())
}

/// Whether `target`, named by the registry at `registry`, may be asked. What its name resolves to is checked when
/// it is connected to (`wire::resolve`).
pub fn check(target: &Url, registry: &Url, insecure: bool) -> Result<(), Refused> {
    match target.scheme() {
        "https" => {}
        // A credential that came by TLS never leaves without it.
        "http" if insecure && registry.scheme() == "http" => {}
        "http" => return Err(Refused::PlainHttp),
        _ => return Err(Refused::NotAbsolute),
    }
    if target.host().is_none() {
        return Err(Refused::NotAbsolute);
    }
    if has_user_info(target) {
        return Err(Refused::UserInfo);
    }
    match reach(target) {
        Reach::LinkLocal if !same_origin(target, registry) => Err(Refused::Reserved),
        far if far > reach(registry) => Err(Refused::Reserved),
        _ => Ok(()),
    }
}

fn has_user_info(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// How far inside the host of an address lies, as far as its letters tell.
pub(crate) fn reach(url: &Url) -> Reach {
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

/// How far inside an address lies.
pub(crate) fn reach_of(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        // The further inside of both: an address that leads to an IPv4 one may lie inside by itself, too.
        IpAddr::V6(address) => reach_v6(address).max(embedded_v4(address).map_or(Reach::Public, reach_v4)),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [first, second, third, _] = address.octets();
    let shared = first == 100 && (second & 0xc0) == 64; // RFC 6598
    let benchmark = first == 198 && (second & 0xfe) == 18; // RFC 2544
    let protocol = (first, second, third) == (192, 0, 0); // RFC 6890; Oracle Cloud's metadata is there
    if METADATA_V4.contains(&address) {
        Reach::LinkLocal
    } else if address.is_loopback() {
        Reach::Loopback
    } else if address.is_private() || shared || benchmark {
        Reach::Private
    } else if address.is_link_local() || protocol || first == 0 || first >= 224 {
        Reach::LinkLocal
    } else {
        Reach::Public
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    let site_local = (segments[0] & 0xffc0) == 0xfec0; // RFC 3879
    let local_nat64 = segments[..3] == [0x64, 0xff9b, 1]; // RFC 8215: an operator's own, wherever it leads
    if METADATA_V6.contains(&address) {
        Reach::LinkLocal
    } else if address.is_loopback() {
        Reach::Loopback
    } else if address.is_unique_local() || site_local || local_nat64 {
        Reach::Private
    } else if address.is_unicast_link_local() || address.is_unspecified() || address.is_multicast() {
        Reach::LinkLocal
    } else {
        Reach::Public
    }
}

/// The IPv4 address that an IPv6 one leads to: mapped (`::ffff:0:0/96`), compatible (`::/96`), by NAT64
/// (`64:ff9b::/96`) or by 6to4 (`2002::/16`).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        // `::` and `::1` are what they are.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(of(high, low)),
        _ => None,
    }
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
        for target in ["https://auth.docker.io/token", "https://[2606:4700::1]/", "https://1.1.1.1:8443/"] {
            assert_eq!(check(&url(target), &registry, false), Ok(()), "{target}");
        }
        for (target, refused) in [
            ("http://ghcr.io/token", Refused::PlainHttp),
            ("ftp://ghcr.io/token", Refused::NotAbsolute),
            ("data:text/plain,x", Refused::NotAbsolute),
            ("https://a:b@ghcr.io/token", Refused::UserInfo),
            ("https://:b@ghcr.io/token", Refused::UserInfo),
            ("https://ghcr.io@169.254.169.254/token", Refused::UserInfo),
            ("https://localhost/token", Refused::Reserved),
            ("https://localhost./token", Refused::Reserved),
            ("https://LOCALHOST:8443/token", Refused::Reserved),
            ("https://x.localhost./token", Refused::Reserved),
            ("https://ｌｏｃａｌｈｏｓｔ/token", Refused::Reserved),
            ("https://127.0.0.1/token", Refused::Reserved),
            ("https://127.0.0.1./token", Refused::Reserved),
            ("https://127.1/token", Refused::Reserved),
            ("https://0x7f.1/token", Refused::Reserved),
            ("https://0177.0.0.1/token", Refused::Reserved),
            ("https://2130706433/token", Refused::Reserved),
            ("https://①②⑦.0.0.1/token", Refused::Reserved),
            ("https://10.1.2.3/token", Refused::Reserved),
            ("https://172.31.0.1/token", Refused::Reserved),
            ("https://100.64.0.1/token", Refused::Reserved),
            ("https://198.18.0.1/token", Refused::Reserved),
            ("https://192.0.0.192/token", Refused::Reserved),
            ("https://169.254.169.254/token", Refused::Reserved),
            ("https://100.100.100.200/token", Refused::Reserved),
            ("https://168.63.129.16/token", Refused::Reserved),
            ("https://0.0.0.0/token", Refused::Reserved),
            ("https://255.255.255.255/token", Refused::Reserved),
            ("https://[::]/token", Refused::Reserved),
            ("https://[::1]/token", Refused::Reserved),
            ("https://[::7f00:1]/token", Refused::Reserved),
            ("https://[::ffff:10.0.0.1]/token", Refused::Reserved),
            ("https://[::ffff:7f00:1]/token", Refused::Reserved),
            ("https://[64:ff9b::a9fe:a9fe]/token", Refused::Reserved),
            ("https://[64:ff9b:1::1]/token", Refused::Reserved),
            ("https://[2002:a00:1::]/token", Refused::Reserved),
            ("https://[fe80::1]/token", Refused::Reserved),
            ("https://[fec0::1]/token", Refused::Reserved),
            ("https://[fd00::1]/token", Refused::Reserved),
            ("https://[fd00:ec2::254]/token", Refused::Reserved),
            ("https://[ff02::1]/token", Refused::Reserved),
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
    fn nobody_names_a_metadata_address_but_its_own() {
        let here = url("http://169.254.20.10:5000/");
        assert_eq!(check(&url("http://169.254.20.10:5000/token"), &here, true), Ok(()));
        assert_eq!(check(&url("http://169.254.169.254/token"), &here, true), Err(Refused::Reserved));
        assert_eq!(check(&url("http://169.254.20.10:80/token"), &here, true), Err(Refused::Reserved));
    }

    #[test]
    fn a_registry_at_a_metadata_address_is_plain_http_and_meant() {
        for registry in ["https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://0.0.0.0/"] {
            assert_eq!(check_own(&url(registry)), Err(Refused::LinkLocal), "{registry}");
        }
        for registry in
            ["https://10.0.0.1/", "https://127.0.0.1/", "http://169.254.20.10/", "https://ghcr.io/"]
        {
            assert_eq!(check_own(&url(registry)), Ok(()), "{registry}");
        }
    }

    #[test]
    fn https_is_never_left() {
        // `insecure` belongs to plain registries: one that answers by TLS names no plain host, whatever is set.
        let registry = url("https://r.io/");
        assert_eq!(check(&url("http://r.io/token"), &registry, true), Err(Refused::PlainHttp));
        assert_eq!(check(&url("https://auth.io/token"), &url("http://r.io/"), true), Ok(()));
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let one = url("https://ghcr.io/v2/");
        for same in ["https://ghcr.io:443/other", "https://GHCR.io/", "https://ghcr%2Eio/"] {
            assert!(same_origin(&one, &url(same)), "{same}");
        }
        for other in [
            "http://ghcr.io/",
            "https://ghcr.io:444/",
            "https://ghcr.io.evil.io/",
            "https://ghcr.io./",
            "https://ghcr.io@evil.io/",
            "https://user@ghcr.io/",
            "https://ghсr.io/", // a Cyrillic letter
        ] {
            assert!(!same_origin(&one, &url(other)), "{other}");
        }
    }
}
