//! Which children of an index are images, and for which platforms. Pure.

use crate::model::{Digest, Platform};
use crate::registry::evidence::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA_1, Entry, Index, OCI_INDEX, OCI_MANIFEST,
};

/// What an entry of an index is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// An image for a platform.
    Image {
        /// The platform that the index promises.
        platform: Platform,
        /// Its manifest.
        digest: Digest,
    },
    /// Another index.
    Nested(Digest),
    /// An image of which the index does not say the platform: its config does. linux/amd64 is *not* assumed.
    Unlabelled(Digest),
    /// An image that is there and of no use; only its platform is known.
    Unsupported {
        /// The platform that the index promises.
        platform: Platform,
        /// What is wrong with it; the sentence goes on from "its linux/amd64 image is ".
        why: &'static str,
    },
}

/// The children of an index that a runtime could be given, in order. Left out are attestations (platform
/// `unknown/unknown`, annotation `vnd.docker.reference.type`: Docker attestation storage), artifacts, and
/// entries of media types that are no images.
pub fn children(index: &Index) -> impl Iterator<Item = Child> {
    index.entries.iter().filter_map(child)
}

fn child(entry: &Entry) -> Option<Child> {
    let is_index = [OCI_INDEX, DOCKER_LIST].contains(&entry.media_type.as_str());
    let is_image = ["", OCI_MANIFEST, DOCKER_MANIFEST].contains(&entry.media_type.as_str());
    let is_schema_1 = entry.media_type.starts_with(DOCKER_SCHEMA_1);
    if entry.is_artifact || !(is_index || is_image || is_schema_1) {
        return None;
    }
    let digest = entry.digest.parse::<Digest>();
    match (&entry.platform, digest) {
        // What a nested index promises of itself does not matter: its own entries say more.
        (_, Ok(digest)) if is_index => Some(Child::Nested(digest)),
        (Some(platform), digest) => platform.normal().map(|platform| match digest {
            _ if is_schema_1 => Child::Unsupported { platform, why: "a Docker schema 1 manifest" },
            Ok(digest) => Child::Image { platform, digest },
            Err(_) => Child::Unsupported { platform, why: "named by a digest that is not sha256" },
        }),
        (None, _) if is_schema_1 => None,
        (None, digest) => digest.ok().map(Child::Unlabelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::evidence::manifest::{RawPlatform, Texts};

    fn entry(media_type: &str, platform: Option<(&str, &str)>) -> Entry {
        Entry {
            digest: format!("sha256:{}", "ab".repeat(32)),
            media_type: media_type.into(),
            platform: platform.map(|(os, architecture)| RawPlatform {
                os: os.into(),
                architecture: architecture.into(),
                ..RawPlatform::default()
            }),
            is_artifact: false,
        }
    }

    fn only(entry: Entry) -> Option<Child> {
        children(&Index { entries: vec![entry], annotations: Texts::new() }).next()
    }

    #[test]
    fn attestations_and_artifacts_are_left_out() {
        assert_eq!(only(entry(OCI_MANIFEST, Some(("unknown", "unknown")))), None);
        assert_eq!(only(Entry { is_artifact: true, ..entry(OCI_MANIFEST, Some(("linux", "amd64"))) }), None);
        assert_eq!(only(entry("application/vnd.cncf.helm.config.v1+json", None)), None);
        assert_eq!(only(entry(OCI_MANIFEST, Some(("", "")))), None);
    }

    #[test]
    fn images_nested_indexes_and_unlabelled_ones_are_told_apart() {
        let image = only(entry("", Some(("linux", "aarch64"))));
        assert!(
            matches!(image, Some(Child::Image { platform, .. }) if platform.to_string() == "linux/arm64")
        );
        assert!(matches!(only(entry(OCI_INDEX, Some(("linux", "amd64")))), Some(Child::Nested(_))));
        assert!(matches!(only(entry(DOCKER_MANIFEST, None)), Some(Child::Unlabelled(_))));
        let sha512 = Entry { digest: "sha512:00".into(), ..entry(OCI_MANIFEST, Some(("linux", "amd64"))) };
        assert!(matches!(only(sha512), Some(Child::Unsupported { why, .. }) if why.contains("sha256")));
        let schema_1 =
            entry("application/vnd.docker.distribution.manifest.v1+prettyjws", Some(("linux", "amd64")));
        assert!(matches!(only(schema_1), Some(Child::Unsupported { why, .. }) if why.contains("schema 1")));
    }
}
