//! Objects that follow the promoted release.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::key_template::KeyTemplate;
use crate::model::names::ImageName;

/// Key of a ConfigMap target: the shared tag.
pub const RELEASE_TAG_KEY: &str = "RELEASE_TAG";
/// Key of a ConfigMap target: the sequence of the release.
pub const RELEASE_SEQUENCE_KEY: &str = "RELEASE_SEQUENCE";
/// Most keys of its own that a ConfigMap target has: one per image of the largest set.
pub const KEYS_MAX: usize = 32;
/// Most objects that a target asks whether a commit was rolled out: a handful of tenants; each is a GET per look.
pub const ROLLED_OUT_BY_MAX: usize = 8;

/// Kind and name of the object that a target writes, in the set's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// A ConfigMap with `RELEASE_TAG` and one `<NAME>_IMAGE` per required image.
    ConfigMap {
        /// Name of the ConfigMap.
        name: String,
        /// Keys beside those, each with its value.
        keys: BTreeMap<String, KeyTemplate>,
    },
    /// A Flux ImagePolicy of ours that selects exactly the promoted tag.
    ImagePolicy {
        /// Name of the ImagePolicy.
        name: String,
        /// The Flux ImageRepository of the lead image.
        image_repository: String,
        /// The ImageUpdateAutomation that commits; `None` means those that have taken the policy.
        image_update_automation: Option<String>,
        /// Who reports that the commit was rolled out.
        rolled_out_by: Vec<FluxObject>,
    },
    /// A Static `ResourceSetInputProvider` of the Flux Operator.
    ResourceSetInputProvider {
        /// Name of the `ResourceSetInputProvider`.
        name: String,
    },
}

/// An object of Flux that reports which revision it applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FluxObject {
    /// Which kind.
    pub kind: FluxKind,
    /// Its name, in the set's namespace.
    pub name: String,
}

/// Kinds of [`FluxObject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FluxKind {
    /// `kustomize.toolkit.fluxcd.io/v1`.
    Kustomization,
    /// `helm.toolkit.fluxcd.io/v2`.
    HelmRelease,
}

/// How far a target is. The words are those of `status.targets[].state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetState {
    /// Nothing was promoted yet, or what must come first is not done; the object was not written.
    Pending,
    /// Our write was read back: the object carries the promoted release.
    Applied,
    /// ImagePolicy: image-reflector selected the promoted tag.
    Selected,
    /// ImagePolicy: an ImageUpdateAutomation took it to Git.
    Committed,
    /// ImagePolicy: it was pushed to a branch of its own, and is to be merged.
    AwaitingMerge,
    /// ImagePolicy: everything in `rolledOutBy` applied the commit.
    RolledOut,
    /// The set is suspended: the object is left as it is.
    Held,
    /// An object of that name exists and is not ours; it was not touched.
    Taken,
    /// The object carries a higher sequence than the set, whose status is older: it is not moved back, and its sequence
    /// is continued once its tag or a newer one is complete.
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
            Self::ResourceSetInputProvider { .. } => "ResourceSetInputProvider",
        }
    }

    /// The object's name.
    pub fn object_name(&self) -> &str {
        match self {
            Self::ConfigMap { name, .. }
            | Self::ImagePolicy { name, .. }
            | Self::ResourceSetInputProvider { name } => name,
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.object_name())
    }
}

// === impl FluxObject ===

impl FluxKind {
    /// The Kubernetes kind.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
        }
    }
}

impl fmt::Display for FluxObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.word(), self.name)
    }
}

// === impl TargetState ===

impl TargetState {
    /// True when the object carries the promoted release, whatever Flux has made of it so far.
    pub fn carries_release(self) -> bool {
        match self {
            Self::Applied | Self::Selected | Self::Committed | Self::AwaitingMerge | Self::RolledOut => true,
            Self::Pending | Self::Held | Self::Taken | Self::Ahead | Self::Failed => false,
        }
    }

    /// The state's word in status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Applied => "Applied",
            Self::Selected => "Selected",
            Self::Committed => "Committed",
            Self::AwaitingMerge => "AwaitingMerge",
            Self::RolledOut => "RolledOut",
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
