//! Values of a ConfigMap target's own keys: a text with placeholders for what was promoted.

use std::fmt;
use std::str::FromStr;

use crate::model::names::{ImageName, is_label};
use crate::model::release::{Promoted, ReleaseImage};

/// Longest template: a small values file. 32 keys of it with each placeholder as long as a reference may be stay
/// below the 1 MiB of a ConfigMap only when they are checked again as they are rendered.
pub const KEY_TEMPLATE_MAX_BYTES: usize = 4096;

/// A text in which `{tag}`, `{sequence}` and `{NAME.image}`, `{NAME.repository}`, `{NAME.tag}`, `{NAME.digest}` stand
/// for what was promoted; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Literal(String),
    Tag,
    Sequence,
    Image(ImageName, Field),
}

/// What of an image a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Image,
    Repository,
    Tag,
    Digest,
}

/// Why a text is no template; each says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKeyTemplate {
    /// Longer than [`KEY_TEMPLATE_MAX_BYTES`].
    #[error("has {0} bytes, at most {KEY_TEMPLATE_MAX_BYTES} are possible: shorten it")]
    TooLong(usize),
    /// A brace without its partner.
    #[error("has a `{0}` without its partner: write `{0}{0}` for the character itself")]
    Brace(char),
    /// A placeholder that stands for nothing.
    #[error(
        "has the placeholder {{{0}}}, which stands for nothing: write {{tag}}, {{sequence}}, or {{NAME.image}}, {{NAME.repository}}, {{NAME.tag}} or {{NAME.digest}} with the name of an image"
    )]
    Placeholder(String),
}

// === impl KeyTemplate ===

impl KeyTemplate {
    /// The images that it names.
    pub fn images(&self) -> impl Iterator<Item = &ImageName> {
        self.parts.iter().filter_map(|part| match part {
            Part::Image(name, _) => Some(name),
            _ => None,
        })
    }

    /// The text for a promoted release. `None` when it names an image that the release does not hold, as after an
    /// image was added to the spec: there is nothing true to write yet.
    pub fn render(&self, promoted: &Promoted) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Tag => text.push_str(promoted.release.tag.as_str()),
                Part::Sequence => text.push_str(&promoted.sequence.to_string()),
                Part::Image(name, field) => {
                    let image = promoted.release.images.iter().find(|image| &image.name == name)?;
                    text.push_str(&field.of(image));
                }
            }
        }
        Some(text)
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for KeyTemplate {
    type Err = NotAKeyTemplate;

    fn from_str(text: &str) -> Result<Self, NotAKeyTemplate> {
        if text.len() > KEY_TEMPLATE_MAX_BYTES {
            return Err(NotAKeyTemplate::TooLong(text.len()));
        }
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = if rest[at..].starts_with('{') { '{' } else { '}' };
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push(brace);
                rest = after;
                continue;
            }
            let (name, after) =
                rest.split_once('}').filter(|_| brace == '{').ok_or(NotAKeyTemplate::Brace(brace))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(placeholder(name).ok_or_else(|| NotAKeyTemplate::Placeholder(name.to_owned()))?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn placeholder(name: &str) -> Option<Part> {
    match name {
        "tag" => return Some(Part::Tag),
        "sequence" => return Some(Part::Sequence),
        _ => {}
    }
    let (image, field) = name.split_once('.').filter(|(image, _)| is_label(image))?;
    let field = match field {
        "image" => Field::Image,
        "repository" => Field::Repository,
        "tag" => Field::Tag,
        "digest" => Field::Digest,
        _ => return None,
    };
    Some(Part::Image(image.parse().ok()?, field))
}

// === impl Field ===

impl Field {
    fn of(self, image: &ReleaseImage) -> String {
        match self {
            Self::Image => image.reference(),
            Self::Repository => image.repository.to_string(),
            Self::Tag => image.tag.to_string(),
            Self::Digest => image.digest.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::Release;

    fn promoted() -> Promoted {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = ReleaseImage {
            name: "web-ui".parse().unwrap(),
            repository: "ghcr.io/acme/ui".parse().unwrap(),
            tag: "v1-debian".parse().unwrap(),
            digest: digest.parse().unwrap(),
            platforms: Vec::new(),
        };
        let release = Release { tag: "v1".parse().unwrap(), images: vec![image], revision: None };
        Promoted { release, sequence: 7, at: Timestamp::UNIX_EPOCH, generation: 1 }
    }

    fn rendered(text: &str) -> Option<String> {
        text.parse::<KeyTemplate>().unwrap().render(&promoted())
    }

    #[test]
    fn placeholders_stand_for_what_was_promoted() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(rendered("{tag}/{sequence}"), Some("v1/7".to_owned()));
        assert_eq!(rendered("{web-ui.image}"), Some(format!("ghcr.io/acme/ui:v1-debian@{digest}")));
        assert_eq!(
            rendered("{web-ui.repository} {web-ui.tag} {web-ui.digest}"),
            Some(format!("ghcr.io/acme/ui v1-debian {digest}"))
        );
        assert_eq!(rendered("a: {{b: {tag}}}"), Some("a: {b: v1}".to_owned()));
        assert_eq!(rendered(""), Some(String::new()));
        assert_eq!(rendered("{other.tag}"), None, "an image that the release does not hold");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| text.parse::<KeyTemplate>().unwrap_err();
        assert_eq!(error("{tag"), NotAKeyTemplate::Brace('{'));
        assert_eq!(error("tag}"), NotAKeyTemplate::Brace('}'));
        for unknown in ["", "tags", "app", "app.sha", "App.tag", "app.tag.x", ".tag"] {
            assert_eq!(error(&format!("{{{unknown}}}")), NotAKeyTemplate::Placeholder(unknown.to_owned()));
        }
        assert_eq!(error(&"x".repeat(4097)), NotAKeyTemplate::TooLong(4097));
    }
}
