//! Objects that follow the promoted release.

use std::fmt;

use crate::model::names::ImageName;

/// Kind and name of the object that a target writes, in the set's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// A ConfigMap with `RELEASE_TAG` and one `<NAME>_IMAGE` per required image.
    ConfigMap {
        /// Name of the ConfigMap.
        name: String,
    },
    /// A Flux ImagePolicy of ours that selects exactly the promoted tag.
    ImagePolicy {
        /// Name of the ImagePolicy.
        name: String,
        /// The Flux ImageRepository of the lead image.
        image_repository: String,
    },
}

/// How far a target is. The words are those of `status.targets[].state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetState {
    /// Nothing was promoted yet, so the object was not made.
    Pending,
    /// Our write was read back: the object carries the promoted release.
    Applied,
    /// The set is suspended: the object is left as it is.
    Held,
    /// An object of that name exists and is not ours; it was not touched.
    Taken,
    /// The object carries a higher sequence than the set: it was not moved back.
    Ahead,
    /// The API server refused or could not be reached; tried again at the next look.
    Failed,
}

/// `<NAME>_IMAGE` of a ConfigMap target: upper case, `-` becomes `_`, a leading digit gets `_` in front, so
/// that kustomize-controller accepts it as a variable (failure sequence 25).
pub fn image_key(image: &ImageName) -> String {
    let name = image.as_str().to_ascii_uppercase().replace('-', "_");
    let lead = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    format!("{lead}{name}_IMAGE")
}

// === impl TargetKind ===

impl TargetKind {
    /// The Kubernetes kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ConfigMap { .. } => "ConfigMap",
            Self::ImagePolicy { .. } => "ImagePolicy",
        }
    }

    /// The object's name.
    pub fn object_name(&self) -> &str {
        match self {
            Self::ConfigMap { name } | Self::ImagePolicy { name, .. } => name,
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.object_name())
    }
}

// === impl TargetState ===

impl TargetState {
    /// The state's word in status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Applied => "Applied",
            Self::Held => "Held",
            Self::Taken => "Taken",
            Self::Ahead => "Ahead",
            Self::Failed => "Failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_variables_for_kustomize_controller() {
        for (name, key) in [("app", "APP_IMAGE"), ("web-ui", "WEB_UI_IMAGE"), ("2fa", "_2FA_IMAGE")] {
            assert_eq!(name.parse::<ImageName>().map(|name| image_key(&name)), Ok(key.to_owned()));
        }
    }
}
