//! The comment by which image-automation-controller finds a scalar: `# {"$imagepolicy": "namespace:name[:tag|:name|:digest]"}`.

use std::sync::LazyLock;

use regex::Regex;

/// As kyaml's setters read it: JSON in a comment at the end of the scalar's line.
static MARKER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"#\s*\{\s*"\$imagepolicy"\s*:\s*"(([^":\s]+):([^":\s]+))(?::(tag|name|digest))?"\s*\}"#).ok()
});

/// What a marker has written in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `repository:tag`.
    Whole,
    /// The tag.
    Tag,
    /// The repository.
    Name,
    /// The digest.
    Digest,
}

/// Namespace and name of an ImagePolicy, as markers write them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// One marker of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The policy that it names.
    pub policy: PolicyName,
    /// What is written.
    pub part: Part,
    /// Where `namespace:name` begins in the file, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

// === impl Marker ===

impl Marker {
    /// The marker of the scalar that begins at byte `at` of `file`.
    pub fn of(file: &str, at: usize) -> Option<Self> {
        let line = file.get(at..)?.lines().next()?;
        let found = MARKER.as_ref()?.captures(line)?;
        let (whole, part) = (found.get(1)?, found.get(4).map(|part| part.as_str()));
        Some(Self {
            policy: PolicyName { namespace: found[2].to_owned(), name: found[3].to_owned() },
            part: match part {
                None => Part::Whole,
                Some("tag") => Part::Tag,
                Some("name") => Part::Name,
                Some(_) => Part::Digest,
            },
            start: at + whole.start(),
            end: at + whole.end(),
        })
    }
}

// === impl PolicyName ===

impl std::fmt::Display for PolicyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_its_place_is_exact() {
        for (text, part) in [
            (r#"image: a:1 # {"$imagepolicy": "flux-system:app"}"#, Part::Whole),
            (r#"newTag: 1 # {"$imagepolicy": "flux-system:app:tag"}"#, Part::Tag),
            (r#"newName: a #{ "$imagepolicy" : "flux-system:app:name" }"#, Part::Name),
            (r#"digest: a # {"$imagepolicy": "flux-system:app:digest"}"#, Part::Digest),
        ] {
            let marker = Marker::of(text, 5).unwrap();
            assert_eq!((marker.part, &text[marker.start..marker.end]), (part, "flux-system:app"), "{text}");
            assert_eq!(marker.policy.to_string(), "flux-system/app");
        }
    }

    #[test]
    fn other_comments_and_other_lines_are_none() {
        for text in [
            "tag: 1 # the newest",
            "tag: 1\n# {\"$imagepolicy\": \"a:b\"}",
            r#"tag: 1 # {"$imagepolicy": "nonamespace"}"#,
            r#"tag: 1 # {"$imagepolicy": "a:b:c"}"#,
        ] {
            assert_eq!(Marker::of(text, 0), None, "{text}");
        }
    }
}
