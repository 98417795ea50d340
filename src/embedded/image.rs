//! Builds small, valid OCI images and indexes as bytes: what a release pipeline would push.
//!
//! Pure: the same description gives the same bytes and so the same digests. Knows no registry and nothing of the product;
//! a cell is told apart from a rebuilt one by its `content`. Formats: OCI image-spec v1.1 (`manifest.md`, `config.md`, `image-index.md`).

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Media type of an image manifest.
pub const MEDIA_TYPE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
pub const MEDIA_TYPE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image configuration.
pub const MEDIA_TYPE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer, whose digest is its diff id.
pub const MEDIA_TYPE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Bytes with their media type and digest: a blob or a manifest as it lies in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What the bytes are, for example [`MEDIA_TYPE_MANIFEST`].
    pub media_type: &'static str,
    /// `sha256:` and 64 hexadecimal digits, computed from `bytes`.
    pub digest: String,
    /// The content itself.
    pub bytes: Bytes,
}

/// Where an image runs, written `os/architecture[/variant]` as in the image spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePlatform {
    /// `linux`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, … where the architecture has variants.
    pub variant: Option<String>,
}

/// Describes one image of one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDescription {
    /// Where it runs; written to its configuration.
    pub platform: ImagePlatform,
    /// Text of the one file in its one layer: other content, other digests.
    pub content: String,
    /// Labels of its configuration (what `LABEL` writes in a Dockerfile).
    pub labels: BTreeMap<String, String>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// When it says that it was built; absent in most tests, so that equal content is equal bytes.
    pub created: Option<String>,
}

/// One image of one platform, ready to be pushed: layer and config first, then the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it runs.
    pub platform: ImagePlatform,
    /// The image configuration, with its labels.
    pub config: Content,
    /// The only layer: a tar archive with one small file.
    pub layer: Content,
    /// The manifest that names both; its digest is the image's.
    pub manifest: Content,
}

/// An index over several platforms, ready to be pushed after its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The children, in the order of the index.
    pub images: Vec<Image>,
    /// The index itself; its digest is what a multi-platform tag points to.
    pub manifest: Content,
}

// === impl Content ===

impl Content {
    /// Names `bytes` by their sha256 digest.
    pub fn new(media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        Self { media_type, digest, bytes }
    }

    /// The descriptor by which other content points here.
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

// === impl ImagePlatform ===

impl ImagePlatform {
    /// Reads `os/architecture[/variant]`; `None` when there are not two or three parts or one is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some((*variant).to_owned())),
            _ => return None,
        };
        Some(Self { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant })
    }

    /// The fields that a configuration and an index entry share.
    fn fields(&self) -> Value {
        let mut fields = json!({ "os": self.os, "architecture": self.architecture });
        if let Some(variant) = &self.variant {
            fields["variant"] = json!(variant);
        }
        fields
    }
}

impl fmt::Display for ImagePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

// === impl ImageDescription ===

impl ImageDescription {
    /// An image without labels and annotations.
    pub fn new(platform: ImagePlatform, content: impl Into<String>) -> Self {
        Self {
            platform,
            content: content.into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            created: None,
        }
    }

    /// Adds a label to the configuration.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds an annotation to the manifest.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Says when it was built, as RFC 3339.
    #[must_use]
    pub fn created(mut self, at: impl Into<String>) -> Self {
        self.created = Some(at.into());
        self
    }

    /// Builds layer, configuration and manifest.
    pub fn build(&self) -> Image {
        let layer = Content::new(MEDIA_TYPE_LAYER, tar_with_one_file("content", &self.content));
        let mut config = self.platform.fields();
        config["config"] = json!({ "Labels": self.labels });
        if let Some(created) = &self.created {
            config["created"] = json!(created);
        }
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [layer.digest] });
        let config = Content::new(MEDIA_TYPE_CONFIG, config.to_string());
        let manifest = with_annotations(
            json!({
                "schemaVersion": 2,
                "mediaType": MEDIA_TYPE_MANIFEST,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
            }),
            &self.annotations,
        );
        let manifest = Content::new(MEDIA_TYPE_MANIFEST, manifest.to_string());
        Image { platform: self.platform.clone(), config, layer, manifest }
    }
}

// === impl Index ===

impl Index {
    /// Builds an index over `images`, in their order, with annotations of its own.
    pub fn build(images: Vec<Image>, annotations: &BTreeMap<String, String>) -> Self {
        let children: Vec<Value> = images.iter().map(Image::index_entry).collect();
        let index = with_annotations(
            json!({ "schemaVersion": 2, "mediaType": MEDIA_TYPE_INDEX, "manifests": children }),
            annotations,
        );
        Self { images, manifest: Content::new(MEDIA_TYPE_INDEX, index.to_string()) }
    }
}

// === impl Image ===

impl Image {
    /// The descriptor of this image in an index: with its platform.
    fn index_entry(&self) -> Value {
        let mut entry = self.manifest.descriptor();
        entry["platform"] = self.platform.fields();
        entry
    }
}

/// The digest of `bytes` as registries write it.
pub fn sha256(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn with_annotations(mut manifest: Value, annotations: &BTreeMap<String, String>) -> Value {
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    manifest
}

/// A POSIX ustar archive of one regular file that any user may read, dated 1970 so that its digest depends on nothing else.
fn tar_with_one_file(name: &str, text: &str) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, field: &[u8]| {
        for (place, byte) in header.iter_mut().skip(at).zip(field) {
            *place = *byte;
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000444\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", text.len()).as_bytes());
    put(136, b"00000000000\0");
    // The checksum is taken with its own field as spaces (POSIX.1-1988, ustar).
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let checksum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in header.iter_mut().skip(148).zip(format!("{checksum:06o}\0 ").bytes()) {
        *place = byte;
    }
    let mut archive = header.to_vec();
    archive.extend_from_slice(text.as_bytes());
    // The file is padded to whole blocks, and two empty blocks end the archive.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> ImagePlatform {
        ImagePlatform::parse(text).unwrap()
    }

    #[test]
    fn platforms_read_and_write_the_same_text() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(platform(text).to_string(), text);
        }
        for text in ["", "linux", "linux/", "linux//v7", "a/b/c/d"] {
            assert_eq!(ImagePlatform::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn digests_depend_on_content_platform_and_labels_only() {
        let base = ImageDescription::new(platform("linux/amd64"), "one");
        assert_eq!(base.build(), base.clone().build());
        let others = [
            ImageDescription::new(platform("linux/amd64"), "two"),
            ImageDescription::new(platform("linux/arm64"), "one"),
            base.clone().label("tidegate.dev/exit-code", "1"),
            base.clone().annotation("org.opencontainers.image.revision", "abc"),
        ];
        for other in others {
            assert_ne!(base.build().manifest.digest, other.build().manifest.digest, "{other:?}");
        }
        assert_eq!(sha256(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn documents_name_each_other_by_digest_and_size() {
        let image = ImageDescription::new(platform("linux/arm64/v8"), "x").label("a", "b").build();
        let manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
        let config: Value = serde_json::from_slice(&image.config.bytes).unwrap();
        assert_eq!(manifest["config"], image.config.descriptor());
        assert_eq!(manifest["layers"][0]["size"], image.layer.bytes.len());
        assert_eq!(config["rootfs"]["diff_ids"][0], image.layer.digest);
        assert_eq!(config["config"]["Labels"]["a"], "b");
        assert_eq!((&config["os"], &config["variant"]), (&json!("linux"), &json!("v8")));

        let annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let index = Index::build(vec![image.clone()], &annotations);
        let document: Value = serde_json::from_slice(&index.manifest.bytes).unwrap();
        assert_eq!(document["manifests"][0]["digest"], image.manifest.digest);
        assert_eq!(document["manifests"][0]["platform"]["architecture"], "arm64");
        assert_eq!(document["annotations"]["k"], "v");
    }

    #[test]
    fn the_layer_is_an_archive_with_a_right_checksum() {
        let archive = tar_with_one_file("content", "hello");
        assert_eq!(archive.len(), 512 * 4);
        let stored = u32::from_str_radix(std::str::from_utf8(&archive[148..154]).unwrap(), 8).unwrap();
        let summed: u32 = archive[..512]
            .iter()
            .enumerate()
            .map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) })
            .sum();
        assert_eq!(stored, summed);
        assert_eq!(&archive[512..517], b"hello");
    }
}
