//! Groups and versions of the Flux kinds that are read. All are served since Flux 2.7.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// A kind of Flux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `image.toolkit.fluxcd.io/v1`: scans the tags of one image.
    ImageRepository,
    /// `image.toolkit.fluxcd.io/v1`: selects one of them.
    ImagePolicy,
    /// `image.toolkit.fluxcd.io/v1`: takes what policies select to Git.
    ImageUpdateAutomation,
    /// `kustomize.toolkit.fluxcd.io/v1`.
    Kustomization,
    /// `helm.toolkit.fluxcd.io/v2`.
    HelmRelease,
    /// `source.toolkit.fluxcd.io/v1`.
    GitRepository,
}

// === impl Kind ===

impl Kind {
    /// The Kubernetes kind.
    pub fn word(self) -> &'static str {
        match self {
            Self::ImageRepository => "ImageRepository",
            Self::ImagePolicy => "ImagePolicy",
            Self::ImageUpdateAutomation => "ImageUpdateAutomation",
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
            Self::GitRepository => "GitRepository",
        }
    }

    /// Group, version and plural.
    pub fn resource(self) -> ApiResource {
        let (group, version, plural) = match self {
            Self::ImageRepository => ("image.toolkit.fluxcd.io", "v1", "imagerepositories"),
            Self::ImagePolicy => ("image.toolkit.fluxcd.io", "v1", "imagepolicies"),
            Self::ImageUpdateAutomation => ("image.toolkit.fluxcd.io", "v1", "imageupdateautomations"),
            Self::Kustomization => ("kustomize.toolkit.fluxcd.io", "v1", "kustomizations"),
            Self::HelmRelease => ("helm.toolkit.fluxcd.io", "v2", "helmreleases"),
            Self::GitRepository => ("source.toolkit.fluxcd.io", "v1", "gitrepositories"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.word()), plural)
    }
}
