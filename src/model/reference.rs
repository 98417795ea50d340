//! Repositories, tags, digests and tag templates: the parts of an image reference (OCI distribution-spec).

use std::fmt;
use std::str::FromStr;

/// Longest tag (OCI distribution-spec, "Pulling manifests").
pub const TAG_MAX_BYTES: usize = 128;
/// Longest repository; the CRD holds the same limit (design §3).
pub const REPOSITORY_MAX_BYTES: usize = 255;
/// The registry that a reference without a host means.
pub const DOCKER_HUB: &str = "docker.io";

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`, ASCII only. Ordered by bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// A `sha256:` digest with 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// A repository: host and path, without scheme, tag or digest. Two repositories are equal when they name
/// the same place; the text is kept as the user wrote it.
#[derive(Clone, Debug)]
pub struct Repository {
    written: String,
    host: String,
    path: String,
}

/// How a shared tag becomes an image's own tag: a text that holds `{tag}` exactly once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TagTemplate {
    prefix: String,
    suffix: String,
}

/// Why a text is no part of a reference. The message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not a tag.
    #[error(
        "`{0}` is not a tag: use 1 to 128 of a-z, A-Z, 0-9, `_`, `.` and `-`, not beginning with `.` or `-`"
    )]
    Tag(String),
    /// Not a digest.
    #[error("`{0}` is not a digest: write sha256: and 64 hexadecimal digits")]
    Digest(String),
    /// A repository with `https://` or the like in front.
    #[error("`{0}` has a scheme: write the repository alone, for example ghcr.io/acme/app")]
    Scheme(String),
    /// A repository with `:tag` or `@digest` behind.
    #[error("`{0}` has a tag or digest: write the repository alone, for example ghcr.io/acme/app")]
    Tagged(String),
    /// Any other text that names no repository.
    #[error("`{0}` is not a repository: write host/path in lower case, for example ghcr.io/acme/app")]
    Repository(String),
    /// Not a template.
    #[error(
        "`{0}` must hold {{tag}} exactly once, with only tag characters around it, for example {{tag}}-debian"
    )]
    Template(String),
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

// === impl Tag ===

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let sound = (1..=TAG_MAX_BYTES).contains(&text.len())
            && text.bytes().all(is_tag_byte)
            && !text.starts_with(['.', '-']);
        if sound { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Tag(text.to_owned())) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Digest ===

impl Digest {
    /// The digest as text, algorithm included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(7..19).unwrap_or(&self.0)
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let sound = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if sound { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Digest(text.to_owned())) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Repository ===

impl Repository {
    /// Host and port of the registry, `docker.io` when none was written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path inside the registry, with `library/` where Docker Hub implies it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = || ReferenceError::Repository(text.to_owned());
        if text.contains("://") {
            return Err(ReferenceError::Scheme(text.to_owned()));
        }
        if text.is_empty() || text.len() > REPOSITORY_MAX_BYTES {
            return Err(error());
        }
        let (host, path) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first.to_ascii_lowercase(), rest)
            }
            _ => (DOCKER_HUB.to_owned(), text),
        };
        if path.contains(['@', ':']) {
            return Err(ReferenceError::Tagged(text.to_owned()));
        }
        if !is_host(&host) || !path.split('/').all(is_path_component) {
            return Err(error());
        }
        let host = if host == "index.docker.io" { DOCKER_HUB.to_owned() } else { host };
        let implied = host == DOCKER_HUB && !path.contains('/');
        let path = if implied { format!("library/{path}") } else { path.to_owned() };
        Ok(Self { written: text.to_owned(), host, path })
    }
}

/// A host name, IPv4 or bracketed IPv6 address, with an optional port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_is_sound = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let name_is_sound = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_name_or_ipv4(name),
    };
    port_is_sound && name_is_sound
}

/// A URL reads a host that ends in a number as an IPv4 address in any spelling: `0x7f.1` would be 127.0.0.1. Only the
/// plain spelling is one here.
fn is_name_or_ipv4(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_number {
        return name.parse::<std::net::Ipv4Addr>().is_ok();
    }
    name.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (OCI distribution-spec).
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_are_sound =
        bytes.first().is_some_and(|&b| alphanumeric(b)) && bytes.last().is_some_and(|&b| alphanumeric(b));
    let separators_are_sound = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'));
    ends_are_sound && separators_are_sound
}

impl PartialEq for Repository {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, &self.path) == (&other.host, &other.path)
    }
}

impl Eq for Repository {}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

// === impl TagTemplate ===

impl TagTemplate {
    /// The image's own tag for the shared tag `x`; `None` when that breaks the tag grammar or its length.
    pub fn render(&self, x: &str) -> Option<Tag> {
        format!("{}{x}{}", self.prefix, self.suffix).parse().ok()
    }

    /// The shared tag that `raw` renders from, when it is of this template's form.
    pub fn extract<'raw>(&self, raw: &'raw str) -> Option<&'raw str> {
        raw.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix).filter(|x| !x.is_empty())
    }

    /// Length of the literal part: in a shared repository a tag belongs to the longest that matches.
    pub fn literal_len(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }
}

impl FromStr for TagTemplate {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.split_once("{tag}") {
            Some((prefix, suffix))
                if text.len() < TAG_MAX_BYTES + "{tag}".len()
                    && prefix.bytes().chain(suffix.bytes()).all(is_tag_byte)
                    && !prefix.starts_with(['.', '-']) =>
            {
                Ok(Self { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
            }
            _ => Err(ReferenceError::Template(text.to_owned())),
        }
    }
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{tag}}{}", self.prefix, self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_host_and_path() {
        for (text, host, path) in [
            ("ghcr.io/acme/app", "ghcr.io", "acme/app"),
            ("localhost:5000/app", "localhost:5000", "app"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000", "a/b/c"),
            ("[::1]:5000/app", "[::1]:5000", "app"),
            ("nginx", "docker.io", "library/nginx"),
            ("acme/app", "docker.io", "acme/app"),
            ("index.docker.io/acme/app", "docker.io", "acme/app"),
            ("ghcr.io/a__b/c-d.e", "ghcr.io", "a__b/c-d.e"),
        ] {
            let repository: Repository = text.parse().unwrap();
            assert_eq!((repository.host(), repository.path(), repository.as_str()), (host, path, text));
        }
        for same in ["docker.io/library/nginx", "Docker.io/nginx", "INDEX.docker.io/nginx"] {
            assert_eq!("nginx".parse::<Repository>(), same.parse());
        }
    }

    #[test]
    fn wrong_repositories_say_what_to_write() {
        assert!(matches!("https://ghcr.io/a/b".parse::<Repository>(), Err(ReferenceError::Scheme(_))));
        assert!(matches!("ghcr.io/a/b:v1".parse::<Repository>(), Err(ReferenceError::Tagged(_))));
        assert!(matches!("ghcr.io/a/b@sha256:1".parse::<Repository>(), Err(ReferenceError::Tagged(_))));
        for bad in [
            "",
            "ghcr.io/",
            "ghcr.io/A/b",
            "ghcr.io//b",
            "a..b/c d",
            "ghcr.io:99999/a",
            "ghcr.io/a---_b",
            "0x7f.1/a",
            "127.1/a",
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_are_ascii() {
        for good in ["v1", "_x", "main-3f9ac1-17", &"a".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "ä", "a/b", &"a".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn templates_render_and_extract() {
        let template: TagTemplate = "os-{tag}-debian".parse().unwrap();
        assert_eq!(template.render("v1").unwrap().as_str(), "os-v1-debian");
        assert_eq!(template.extract("os-v1-debian"), Some("v1"));
        assert_eq!(template.extract("os--debian"), None);
        assert_eq!(template.extract("v1"), None);
        assert_eq!(template.literal_len(), 10);
        assert!(template.render(&"x".repeat(120)).is_none());
        for bad in ["", "tag", "{tag}{tag}", "{tag} x", ".{tag}"] {
            assert!(bad.parse::<TagTemplate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_are_sha256() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(digest.parse::<Digest>().unwrap().short(), "0a0a0a0a0a0a");
        for bad in ["sha256:0a", "md5:0a", &digest.to_uppercase(), &format!("{digest}0")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
