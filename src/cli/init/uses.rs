//! The places of a document where an image is written, and the markers on them. Pure.

use crate::cli::init::inventory::Object;
use crate::cli::init::marker::{Marker, Part, PolicyName};
use crate::cli::init::node::{Node, Scalar};

/// One place where an image is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// The object that it is in.
    pub object: Object,
    /// Line of the file, from 1.
    pub line: usize,
    /// Host and path, without tag.
    pub repository: String,
    /// The tag; `None` where none is written (a Kustomization may set it).
    pub tag: Option<String>,
    /// The variable that stands for the tag: `${TAG}`.
    pub variable: Option<String>,
    /// A digest is written too, so that a tag alone moves nothing.
    pub is_pinned: bool,
    /// The policy whose marker writes the tag.
    pub policy: Option<PolicyName>,
    /// Repository and tag are one scalar, which a `:tag` marker cannot write.
    pub is_whole: bool,
    /// Where the scalar of the tag begins in the file.
    pub start: usize,
}

/// One marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The object that it is in.
    pub object: Object,
    /// The marker.
    pub marker: Marker,
    /// Line of the file, from 1.
    pub line: usize,
    /// What is written in front of it.
    pub text: String,
    /// The repository whose name, tag or digest that is, where it can be told.
    pub repository: Option<String>,
    /// The variable of `postBuild.substitute` that it sets.
    pub variable: Option<String>,
    /// Where objects go that are built with that variable.
    pub target_namespace: Option<String>,
    /// A repository was found for it elsewhere.
    pub is_used: bool,
}

/// Goes through one document.
pub struct Walk<'a> {
    file: &'a str,
    object: &'a Object,
    /// Places found so far.
    pub uses: Vec<Use>,
    /// Markers found so far.
    pub marks: Vec<Mark>,
    /// Variables and what they hold, of `postBuild.substitute` and ConfigMaps.
    pub variables: Vec<(String, String)>,
}

/// `repository[:tag][@digest]` in parts.
pub fn split(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let path_at = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[path_at..].find(':') {
        Some(colon) => (&name[..path_at + colon], Some(&name[path_at + colon + 1..]), digest),
        None => (name, None, digest),
    }
}

/// The variable of a text that is nothing but `${NAME}` or one of its forms with a default.
fn variable(text: &str) -> Option<String> {
    let inside = text.strip_prefix("${")?.strip_suffix('}')?;
    let name: String = inside.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

// === impl Walk ===

impl<'a> Walk<'a> {
    /// Nothing found yet.
    pub fn new(file: &'a str, object: &'a Object) -> Self {
        Self { file, object, uses: Vec::new(), marks: Vec::new(), variables: Vec::new() }
    }

    /// Reads a document. Without a `kind` it is a kustomization.yaml or values, of which only markers say what they are for.
    pub fn document(&mut self, node: &Node, file_name: &str) {
        self.node(node, None);
        let is_kustomization = file_name.to_ascii_lowercase().starts_with("kustomization");
        if self.object.kind.is_empty() && !is_kustomization {
            self.uses.retain(|place| place.policy.is_some());
        }
        let path: &[&str] =
            if self.object.kind == "ConfigMap" { &["data"] } else { &["spec", "postBuild", "substitute"] };
        if let Some(Node::Map(variables)) = node.at(path) {
            let target = node.text(&["spec", "targetNamespace"]).map(str::to_owned);
            for (name, value) in variables {
                let Node::Scalar(value) = value else { continue };
                self.variables.push((name.clone(), value.text.clone()));
                for mark in self.marks.iter_mut().filter(|mark| mark.is_at(self.file, value)) {
                    (mark.variable, mark.target_namespace) = (Some(name.clone()), target.clone());
                }
            }
        }
    }

    fn node(&mut self, node: &Node, parent: Option<&str>) {
        match node {
            Node::Map(entries) => {
                let known = self.map(node, parent);
                for (key, value) in entries {
                    match value {
                        Node::Scalar(scalar) if !known.contains(&scalar.start) => self.marked(scalar, None),
                        Node::Scalar(_) | Node::Null => {}
                        Node::Map(_) | Node::List(_) => self.node(value, Some(key)),
                    }
                }
            }
            Node::List(entries) => entries.iter().for_each(|entry| match entry {
                Node::Scalar(scalar) => self.marked(scalar, None),
                entry => self.node(entry, parent),
            }),
            Node::Scalar(_) | Node::Null => {}
        }
    }

    /// The image that a map writes; where its scalars begin.
    fn map(&mut self, node: &Node, parent: Option<&str>) -> Vec<usize> {
        let (image, repository, tag) =
            (node.scalar(&["image"]), node.scalar(&["repository"]), node.scalar(&["tag"]));
        let (name, digest) = (node.scalar(&["name"]), node.scalar(&["digest"]));
        if let (Some("images"), Some(name)) = (parent, name) {
            let new_name = node.scalar(&["newName"]);
            let place = new_name.filter(|new| !new.text.is_empty()).unwrap_or(name);
            return self.parts(place, new_name, node.scalar(&["newTag"]), digest, None);
        }
        if let Some(image) = image.filter(|image| !image.text.is_empty()) {
            if let Some(tag) = tag {
                return self.parts(image, Some(image), Some(tag), digest, node.text(&["registry"]));
            }
            self.whole(image);
            return vec![image.start];
        }
        match repository {
            Some(repository)
                if tag.is_some() || parent.is_some_and(|key| key.to_lowercase().contains("image")) =>
            {
                self.parts(repository, Some(repository), tag, digest, node.text(&["registry"]))
            }
            _ => Vec::new(),
        }
    }

    /// An image whose parts are scalars of their own.
    fn parts(
        &mut self,
        repository: &Scalar,
        name: Option<&Scalar>,
        tag: Option<&Scalar>,
        digest: Option<&Scalar>,
        registry: Option<&str>,
    ) -> Vec<usize> {
        let (path, own_tag, own_digest) = split(&repository.text);
        let full = registry.filter(|registry| !path.starts_with(registry));
        let full = full.map_or_else(|| path.to_owned(), |registry| format!("{registry}/{path}"));
        let tag = tag.filter(|tag| !tag.text.is_empty());
        let text = tag.map(|tag| tag.text.clone()).or_else(|| own_tag.map(str::to_owned));
        let variable = text.as_deref().and_then(variable);
        let marker = tag.and_then(|tag| Marker::of(self.file, tag.start));
        let digest = digest.filter(|digest| !digest.text.is_empty());
        let at = tag.unwrap_or(repository);
        self.uses.push(Use {
            object: self.object.clone(),
            line: at.line,
            repository: full.clone(),
            tag: text.filter(|_| variable.is_none()),
            variable,
            is_pinned: digest.is_some() || own_digest.is_some(),
            policy: marker.filter(|marker| marker.part == Part::Tag).map(|marker| marker.policy),
            is_whole: false,
            start: at.start,
        });
        let scalars: Vec<&Scalar> = [name, tag, digest].into_iter().flatten().collect();
        for scalar in &scalars {
            self.marked(scalar, Some(&full));
        }
        scalars.iter().map(|scalar| scalar.start).collect()
    }

    fn whole(&mut self, image: &Scalar) {
        let (repository, tag, digest) = split(&image.text);
        // A variable's default may hold anything: what stands before it is the repository.
        let (repository, tag) = match image.text.find("${") {
            Some(at) if at > 0 && image.text[..at].ends_with(':') => {
                (&image.text[..at - 1], Some(&image.text[at..]))
            }
            Some(_) => return self.marked(image, None),
            None => (repository, tag),
        };
        let variable = tag.and_then(variable);
        let marker = Marker::of(self.file, image.start);
        self.uses.push(Use {
            object: self.object.clone(),
            line: image.line,
            repository: repository.to_owned(),
            tag: tag.filter(|_| variable.is_none()).map(str::to_owned),
            variable,
            is_pinned: digest.is_some(),
            policy: marker.map(|marker| marker.policy),
            is_whole: true,
            start: image.start,
        });
        self.marked(image, Some(repository));
    }

    fn marked(&mut self, scalar: &Scalar, repository: Option<&str>) {
        let Some(marker) = Marker::of(self.file, scalar.start) else { return };
        let place = (marker.start, marker.end);
        // Of several scalars in one line the marker is one; an alias leads to its anchor's.
        if self.marks.iter().any(|mark| (mark.marker.start, mark.marker.end) == place) {
            return;
        }
        self.marks.push(Mark {
            object: self.object.clone(),
            marker,
            line: scalar.line,
            text: scalar.text.clone(),
            repository: repository.map(str::to_owned),
            variable: None,
            target_namespace: None,
            is_used: false,
        });
    }
}

// === impl Mark ===

impl Mark {
    fn is_at(&self, file: &str, scalar: &Scalar) -> bool {
        Marker::of(file, scalar.start).as_ref() == Some(&self.marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_falls_into_its_parts() {
        for (text, parts) in [
            ("nginx", ("nginx", None, None)),
            ("ghcr.io/acme/app:main-7", ("ghcr.io/acme/app", Some("main-7"), None)),
            ("localhost:5000/app", ("localhost:5000/app", None, None)),
            ("localhost:5000/app:1@sha256:ab", ("localhost:5000/app", Some("1"), Some("sha256:ab"))),
        ] {
            assert_eq!(split(text), parts);
        }
        assert_eq!(variable("${TAG:=main-1}").as_deref(), Some("TAG"));
        assert_eq!(variable("main-${N}"), None);
    }
}
