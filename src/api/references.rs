//! What the objects that a spec refers to say, read by somebody else. Knows their settings by the names of our own
//! fields, and nothing of how they are read.

use std::collections::BTreeMap;

use crate::api::v1alpha1::{FilterTags, Image, OrderPolicy, RegistryAccess, ReleaseSetSpec};
use crate::model::{Doubt, DoubtKind};

/// What was read of the objects that a spec refers to. One that is absent here counts as not read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// By name of the ImageRepository (`spec.images[].imageRepositoryRef`).
    pub image_repositories: BTreeMap<String, Result<BorrowedImage, Doubt>>,
    /// The rule of the ImagePolicy (`spec.candidates.policyRef`).
    pub policy: Option<Result<BorrowedRule, Doubt>>,
}

/// What an ImageRepository says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorrowedImage {
    /// `spec.image`.
    pub repository: String,
    /// How its registry is reached.
    pub registry: RegistryAccess,
}

/// How an ImagePolicy orders tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorrowedRule {
    /// `spec.filterTags`.
    pub filter_tags: Option<FilterTags>,
    /// `spec.policy`.
    pub policy: OrderPolicy,
}

// === impl References ===

impl References {
    /// What the ImageRepository `name` says.
    ///
    /// # Errors
    /// The doubt, when it could not be read or was not.
    pub fn image_repository(&self, name: &str) -> Result<&BorrowedImage, Doubt> {
        match self.image_repositories.get(name) {
            Some(read) => read.as_ref().map_err(Clone::clone),
            None => Err(unread(&format!("ImageRepository {name}"))),
        }
    }

    /// How the ImagePolicy `name` of `spec.candidates.policyRef` orders tags.
    ///
    /// # Errors
    /// The doubt, when it could not be read or was not.
    pub fn rule(&self, name: &str) -> Result<&BorrowedRule, Doubt> {
        match &self.policy {
            Some(read) => read.as_ref().map_err(Clone::clone),
            None => Err(unread(&format!("ImagePolicy {name}"))),
        }
    }

    /// How an image's registry is reached: its reference's way, else its own `registry`, else the set's.
    pub fn registry_access(&self, spec: &ReleaseSetSpec, image: &Image) -> RegistryAccess {
        match &image.image_repository_ref {
            Some(reference) => self
                .image_repository(&reference.name)
                .map_or_else(|_| RegistryAccess::default(), |borrowed| borrowed.registry.clone()),
            None => image.registry.as_ref().or(spec.registry.as_ref()).cloned().unwrap_or_default(),
        }
    }
}

fn unread(object: &str) -> Doubt {
    Doubt::new(
        DoubtKind::Reference,
        format!("{object} is read in a cluster only; look at the set there with `tidegate explain`"),
    )
}
