//! `WWW-Authenticate` of a registry's 401 (RFC 9110 §11.6.1; distribution token specification). Pure.

use std::collections::BTreeMap;

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// With user name and password on every request.
    Basic,
    /// With a token from a token server.
    Bearer {
        /// Address of the token server, as the registry wrote it: not yet checked.
        realm: String,
        /// Name that the registry goes by at the token server.
        service: Option<String>,
    },
}

/// Longest header looked at; real ones have about 200 bytes.
const HEADER_MAX_BYTES: usize = 4_096;

/// The strongest challenge among the header's values: Bearer before Basic, as containerd chooses. `None` when
/// there is none that we speak.
pub fn strongest<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for value in values.filter(|value| value.len() <= HEADER_MAX_BYTES) {
        for (scheme, mut parameters) in challenges(value) {
            match scheme.to_ascii_lowercase().as_str() {
                "bearer" => {
                    if let Some(realm) = parameters.remove("realm") {
                        return Some(Challenge::Bearer { realm, service: parameters.remove("service") });
                    }
                }
                "basic" => basic = Some(Challenge::Basic),
                _ => {}
            }
        }
    }
    basic
}

/// All challenges of one header value. Tolerant: what cannot be read ends the list.
fn challenges(value: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return found;
        }
        if let Some(after) = after.trim_start().strip_prefix('=').filter(|_| !found.is_empty()) {
            let Some((text, after)) = parameter_value(after.trim_start()) else { return found };
            if let Some((_, parameters)) = found.last_mut() {
                // The first of two wins, so that an appended one cannot redirect.
                parameters.entry(word.to_ascii_lowercase()).or_insert(text);
            }
            rest = after;
        } else {
            found.push((word.to_owned(), BTreeMap::new()));
            rest = after;
        }
    }
}

/// The longest prefix of token characters (RFC 9110 §5.6.2), and what follows.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// A token or a quoted string without its quotes, and what follows.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some registries write an address without quotes: everything up to the comma.
        let end = text.find([',', ' ']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) }
    }

    #[test]
    fn challenges_of_the_field_are_read() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull,push""#,
                Some(bearer("https://ghcr.io/token", Some("ghcr.io"))),
            ),
            (r#"bearer Realm = "https://a/\"t" , Service=s"#, Some(bearer("https://a/\"t", Some("s")))),
            (r#"Basic realm="Registry Realm""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            (r#"Basic realm="x", Bearer realm="https://t/",error="e""#, Some(bearer("https://t/", None))),
            ("Bearer realm=https://t/x,service=s", Some(bearer("https://t/x", Some("s")))),
            (r#"Bearer realm="a",realm="b""#, Some(bearer("a", None))),
            (r#"Bearer service="s""#, None),
            ("Negotiate", None),
            (r#"Bearer realm="unclosed"#, None),
            ("", None),
        ] {
            assert_eq!(strongest([header].into_iter()), expected, "{header}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let both = ["Basic realm=x", r#"Bearer realm="https://t/""#];
        assert_eq!(strongest(both.into_iter()), Some(bearer("https://t/", None)));
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "\\PC{0,80}") {
            let _any = strongest([header.as_str()].into_iter());
        }
    }
}
