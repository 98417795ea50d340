//! YAML as a tree whose scalars know where they stand, so that a file can be edited as text. Knows no Kubernetes.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Deepest nesting that is followed; custom resources of the field stay below 20 levels.
pub const DEPTH_MAX: usize = 64;

/// One place of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Keys in the order of the text.
    Map(Vec<(String, Node)>),
    /// Entries in order.
    List(Vec<Node>),
    /// A scalar that says something.
    Scalar(Scalar),
    /// `null`, or nothing.
    Null,
}

/// A scalar with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scalar {
    /// What it says, without quotes; of a number the digits as they are written.
    pub text: String,
    /// Where it begins in the file, in bytes. Of an alias, where the anchor's value does.
    pub start: usize,
    /// Line of the file, from 1.
    pub line: usize,
}

enum Raw {
    Map(Vec<(String, Spanned<Raw>)>),
    List(Vec<Spanned<Raw>>),
    Text(String),
    /// A number or a truth value: its text is read from the source, for `1.10` is no `1.1`.
    Plain,
    Null,
}

/// Where a document lies in its file.
#[derive(Clone, Copy, Debug)]
pub struct Place<'text> {
    /// The whole file.
    pub file: &'text str,
    /// The document, a part of it.
    pub document: &'text str,
}

// === impl Place ===

impl Place<'_> {
    fn offset(&self) -> usize {
        (self.document.as_ptr() as usize).saturating_sub(self.file.as_ptr() as usize)
    }

    /// Reads the document.
    ///
    /// # Errors
    /// Its line in the file and what is wrong there.
    pub fn read(&self) -> Result<Node, (usize, String)> {
        let options = serde_saphyr::options! { with_snippet: false };
        let lines_before = self.file[..self.offset()].matches('\n').count();
        let raw: Spanned<Raw> =
            serde_saphyr::from_str_with_options(self.document, options).map_err(|error| {
                let line = error.location().and_then(|place| usize::try_from(place.line()).ok()).unwrap_or(1);
                let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
                let words = text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words);
                (lines_before + line, words.lines().next().unwrap_or_default().to_owned())
            })?;
        Ok(self.node(raw, lines_before, 0))
    }

    fn node(&self, raw: Spanned<Raw>, lines_before: usize, depth: usize) -> Node {
        if depth > DEPTH_MAX {
            return Node::Null;
        }
        let node = |raw| self.node(raw, lines_before, depth + 1);
        let span = raw.defined.span();
        let number = |number: u64| usize::try_from(number).unwrap_or_default();
        let (start, length) = (
            span.byte_offset().map(number).unwrap_or_default(),
            span.byte_len().map(number).unwrap_or_default(),
        );
        let scalar = |text: String| {
            let line = lines_before + number(raw.defined.line());
            Node::Scalar(Scalar { text, start: self.offset() + start, line })
        };
        match raw.value {
            Raw::Map(entries) => Node::Map(entries.into_iter().map(|(key, raw)| (key, node(raw))).collect()),
            Raw::List(entries) => Node::List(entries.into_iter().map(node).collect()),
            Raw::Text(text) => scalar(text),
            Raw::Plain => {
                let written = self.document.get(start..start + length).unwrap_or_default();
                scalar(written.trim().to_owned())
            }
            Raw::Null => Node::Null,
        }
    }
}

// === impl Node ===

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The value below keys, for example `metadata`, `name`.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The scalar below keys.
    pub fn scalar(&self, path: &[&str]) -> Option<&Scalar> {
        match self.at(path)? {
            Self::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// What the scalar below keys says; `None` also when it says nothing.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.scalar(path).map(|scalar| scalar.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The entries of the list below keys.
    pub fn list(&self, path: &[&str]) -> &[Self] {
        match self.at(path) {
            Some(Self::List(entries)) => entries,
            _ => &[],
        }
    }
}

// === impl Raw ===

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("YAML")
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_bytes<E>(self, _: &[u8]) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = entries.next_element()? {
                    list.push(entry);
                }
                Ok(Raw::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Raw::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        Place { file: text, document: text }.read().unwrap()
    }

    #[test]
    fn a_scalar_knows_its_place_and_a_number_keeps_its_digits() {
        let text = "a:\r\n- tag: 1.10 # c\r\n- tag: \"ü\"\r\n  b: 007\r\n  c: 20261121\r\n";
        let node = read(text);
        let [first, second] = node.list(&["a"]) else { panic!("{node:?}") };
        let tag = first.scalar(&["tag"]).unwrap();
        assert_eq!((tag.text.as_str(), tag.line, &text[tag.start..tag.start + 4]), ("1.10", 2, "1.10"));
        assert_eq!(second.text(&["tag"]), Some("ü"));
        assert_eq!((second.text(&["b"]), second.text(&["c"])), (Some("007"), Some("20261121")));
    }

    #[test]
    fn an_alias_stands_where_its_anchor_does() {
        let text = "x: &t main-7 # m\ny: *t\nz:\n  <<: &m {k: v}\n";
        let node = read(text);
        assert_eq!(node.scalar(&["x"]).unwrap(), node.scalar(&["y"]).unwrap());
        assert_eq!(node.scalar(&["x"]).unwrap().line, 1);
        assert_eq!(node.text(&["z", "k"]), Some("v"));
    }

    #[test]
    fn a_later_document_counts_in_its_file() {
        let text = "a: 1\n---\nb:\n  c: x\n";
        let node = Place { file: text, document: &text[8..] }.read().unwrap();
        let scalar = node.scalar(&["b", "c"]).unwrap();
        assert_eq!((scalar.line, &text[scalar.start..=scalar.start]), (4, "x"));
        let broken = "a: 1\n---\nb: [1}\n";
        let (line, words) = Place { file: broken, document: &broken[8..] }.read().unwrap_err();
        assert_eq!(line, 3, "{words}");
    }
}
