//! Which repositories an entry of a docker config is for, by kubelet's rules: the keys of `auths`. Pure.
//!
//! Source: kubelet's `pkg/credentialprovider/keyring.go` and the Kubernetes documentation, "Images",
//! "Interpretation of config.json". An image that kubelet can pull must not be invisible to us, and the other
//! way round.

use crate::model::Repository;
use crate::model::reference::DOCKER_HUB;

/// The names under which Docker Hub is written; `docker login` writes `https://index.docker.io/v1/`.
const DOCKER_HUB_NAMES: [&str; 3] = [DOCKER_HUB, "index.docker.io", "registry-1.docker.io"];
/// Longest key looked at: a host name has at most 253 bytes and a repository's path 255.
const KEY_MAX_BYTES: usize = 1_024;

/// A key of `auths`, without scheme, user name and version suffix: `*.dkr.ecr.*.amazonaws.com`, `ghcr.io/acme`.
/// Ordered by its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Host, port and path, as people are told.
    text: String,
    /// How much of `text` is host and port.
    host_bytes: usize,
}

/// One part of a label's pattern (Go's `filepath.Match`, without its `?`, with which a URL's query begins).
enum Part {
    /// `*`
    Many,
    /// `[a-z]`, `[^0-9]`
    OneOf { negated: bool, ranges: Vec<(u8, u8)> },
    /// Itself.
    Exactly(u8),
}

// === impl Key ===

impl Key {
    /// Reads a key; `None` for one that names no host. `https://`, `http://` and a path of `/v1/` or `/v2/` are
    /// left out, and all names of Docker Hub are one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > KEY_MAX_BYTES {
            return None;
        }
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let bare = bare.split(['?', '#']).next().unwrap_or(bare);
        let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        let host = host.rsplit('@').next().unwrap_or(host).to_ascii_lowercase();
        if host.is_empty() || host.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return None;
        }
        let host = if DOCKER_HUB_NAMES.contains(&host.as_str()) { DOCKER_HUB.to_owned() } else { host };
        let path = match path {
            "/v1" | "/v2" => "",
            path if path.starts_with("/v1/") || path.starts_with("/v2/") => &path[3..],
            path => path,
        };
        let path = if path == "/" || path.bytes().any(|byte| byte.is_ascii_control()) { "" } else { path };
        Some(Self { text: format!("{host}{path}"), host_bytes: host.len() })
    }

    /// Host, port and path prefix.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True for a key that means the whole of `host`, without patterns.
    pub fn is_host(&self, host: &str) -> bool {
        self.text == host
    }

    /// Whether the entry is for `repository`: ports are equal, hosts have as many labels and each label fits
    /// its pattern, and the path begins with the key's. As with kubelet that is a prefix of the text:
    /// `ghcr.io/acme` is also for `ghcr.io/acme-labs/app`, and `ghcr.io/acme/` is not.
    pub fn fits(&self, repository: &Repository) -> bool {
        let (host, path) = self.text.split_at(self.host_bytes);
        let path_fits = path.strip_prefix('/').is_none_or(|prefix| repository.path().starts_with(prefix));
        path_fits && host_fits(host, repository.host())
    }
}

fn host_fits(pattern: &str, host: &str) -> bool {
    // An IPv6 address is no name: its brackets are no pattern.
    if host.starts_with('[') {
        return pattern == host;
    }
    let split = |text: &str| {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        (name.split('.').map(str::to_owned).collect::<Vec<_>>(), port.to_owned())
    };
    let ((patterns, pattern_port), (labels, port)) = (split(pattern), split(host));
    pattern_port == port
        && patterns.len() == labels.len()
        && patterns.iter().zip(&labels).all(|(pattern, label)| label_fits(pattern, label))
}

/// Whether one label fits one pattern; a malformed pattern fits nothing. Linear in both: only the last `*` is
/// gone back to.
fn label_fits(pattern: &str, label: &str) -> bool {
    let Some(parts) = parts(pattern.as_bytes()) else { return false };
    let label = label.as_bytes();
    let (mut part, mut byte) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while byte < label.len() {
        match parts.get(part) {
            Some(Part::Many) => {
                star = Some((part + 1, byte));
                part += 1;
            }
            Some(one) if one.fits(label[byte]) => (part, byte) = (part + 1, byte + 1),
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (part, byte) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    parts[part..].iter().all(|part| matches!(part, Part::Many))
}

fn parts(mut pattern: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let [first, rest @ ..] = pattern {
        pattern = rest;
        parts.push(match first {
            b'*' => Part::Many,
            b'[' => {
                let end = rest.iter().position(|byte| *byte == b']')?;
                pattern = &rest[end + 1..];
                one_of(&rest[..end])?
            }
            other => Part::Exactly(*other),
        });
    }
    Some(parts)
}

fn one_of(class: &[u8]) -> Option<Part> {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        class => (false, class),
    };
    let mut ranges = Vec::new();
    while let [from, rest @ ..] = class {
        let to = match rest {
            [b'-', to, after @ ..] => {
                class = after;
                to
            }
            _ => {
                class = rest;
                from
            }
        };
        ranges.push((*from, *to));
    }
    (!ranges.is_empty()).then_some(Part::OneOf { negated, ranges })
}

// === impl Part ===

impl Part {
    fn fits(&self, byte: u8) -> bool {
        match self {
            Self::Many => false,
            Self::OneOf { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&byte)) != *negated
            }
            Self::Exactly(other) => *other == byte,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(key: &str, repository: &str) -> bool {
        Key::parse(key).is_some_and(|key| key.fits(&repository.parse().unwrap()))
    }

    /// The table of the Kubernetes documentation, "Interpretation of config.json".
    #[test]
    fn the_documentations_patterns_fit_as_documented() {
        for (key, host, expected) in [
            ("*.kubernetes.io", "abc.kubernetes.io", true),
            ("*.kubernetes.io", "kubernetes.io", false),
            ("*.*.kubernetes.io", "abc.kubernetes.io", false),
            ("*.*.kubernetes.io", "abc.def.kubernetes.io", true),
            ("prefix.*.io", "prefix.kubernetes.io", true),
            ("*-good.kubernetes.io", "prefix-good.kubernetes.io", true),
            ("my-registry.example/images", "my-registry.example", true),
            ("*.my-registry.example/images", "sub.my-registry.example", true),
            ("*.my-registry.example/images", "sub.sub.my-registry.example", false),
        ] {
            assert_eq!(fits(key, &format!("{host}/images/app")), expected, "{key} {host}");
        }
    }

    #[test]
    fn patterns_stay_within_one_label() {
        let ecr = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/acme/app";
        for (key, expected) in [
            ("*.dkr.ecr.*.amazonaws.com", true),
            ("https://*.dkr.ecr.*.amazonaws.com/", true),
            ("123456789012.dkr.ecr.*.amazonaws.com/acme", true),
            ("*.dkr.ecr.us-*.amazonaws.com", false),
            ("*.amazonaws.com", false),
            ("*", false),
            ("[0-9]*.dkr.ecr.eu-central-?.amazonaws.com", false), // as with kubelet: a query begins
            ("[0-9]*[0-9].dkr.ecr.eu-central-[^2].amazonaws.com", true),
            ("[0-9.dkr.ecr.eu-central-1.amazonaws.com", false),
            ("[].dkr.ecr.eu-central-1.amazonaws.com", false),
        ] {
            assert_eq!(fits(key, ecr), expected, "{key}");
        }
    }

    #[test]
    fn ports_must_match() {
        for (key, repository, expected) in [
            ("r.io:5000", "r.io:5000/a", true),
            ("r.io", "r.io:5000/a", false),
            ("r.io:443", "r.io/a", false),
            ("*.r.io:5000", "x.r.io:5000/a", true),
            ("*.r.io:5000", "x.r.io:5001/a", false),
            ("127.0.0.1:5000", "127.0.0.1:5000/a", true),
            ("[::1]:5000", "[::1]:5000/a", true),
            ("[::1]:5000", "[::1]:5001/a", false),
        ] {
            assert_eq!(fits(key, repository), expected, "{key} {repository}");
        }
    }

    #[test]
    fn paths_are_prefixes() {
        for (key, repository, expected) in [
            ("ghcr.io/acme", "ghcr.io/acme/app", true),
            ("ghcr.io/acme/", "ghcr.io/acme/app", true),
            ("ghcr.io/acme/app", "ghcr.io/acme/app", true),
            ("ghcr.io/acme/app/", "ghcr.io/acme/app", false),
            ("ghcr.io/acme", "ghcr.io/other/app", false),
            ("ghcr.io/acme", "ghcr.io/acme-labs/app", true),
            ("ghcr.io/acme/", "ghcr.io/acme-labs/app", false),
            ("https://GHCR.io/v2/", "ghcr.io/acme/app", true),
            ("http://ghcr.io/v1", "ghcr.io/acme/app", true),
            ("ghcr.io/v2/acme", "ghcr.io/acme/app", true),
            ("ghcr.io/v2/acme", "ghcr.io/other/app", false),
            ("ghcr.io/v3/", "ghcr.io/acme/app", false),
            ("https://user:word@ghcr.io/acme?x=y#z", "ghcr.io/acme/app", true),
            ("evil.ghcr.io", "ghcr.io/acme/app", false),
            ("", "ghcr.io/acme/app", false),
            ("https:///acme", "ghcr.io/acme/app", false),
        ] {
            assert_eq!(fits(key, repository), expected, "{key} {repository}");
        }
    }

    #[test]
    fn docker_hub_has_many_names() {
        for key in [
            "https://index.docker.io/v1/",
            "https://index.docker.io/v1",
            "index.docker.io",
            "registry-1.docker.io",
            "docker.io",
            "docker.io/library",
        ] {
            for repository in ["nginx", "docker.io/library/nginx", "index.docker.io/library/nginx"] {
                assert!(fits(key, repository), "{key} {repository}");
            }
        }
        assert!(!fits("docker.io/acme", "nginx"));
        assert!(!fits("*.docker.io", "nginx"), "as with kubelet: another number of labels");
    }

    #[test]
    fn a_key_tells_people_no_user_name() {
        let key = Key::parse("https://user:hunter2@ghcr.io/v2/acme").unwrap();
        assert_eq!(key.as_str(), "ghcr.io/acme");
    }

    proptest! {
        #[test]
        fn no_key_panics(key in "\\PC{0,60}") {
            let _fits = fits(&key, "ghcr.io/acme/app");
        }

        /// A label's pattern against the same pattern as a regular expression.
        #[test]
        fn stars_fit_as_regular_expressions_do(pattern in "[ab*]{0,8}", label in "[ab]{0,8}") {
            let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
            prop_assert_eq!(label_fits(&pattern, &label), regex.is_match(&label));
        }
    }
}
