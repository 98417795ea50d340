//! How far the registry's word for an image is followed.

/// What must be there for an image to be Present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verify {
    /// The index, and each asked platform's manifest with its config. A registry that answers for a manifest
    /// mostly has its layers too: it checked when the manifest was pushed.
    #[default]
    Manifests,
    /// The config and every layer as well: clean-up jobs may take blobs from under a manifest.
    Blobs,
}
