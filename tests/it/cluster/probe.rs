//! Images that hold one small program ([`tests/tools/probe`]) and say by their entrypoint what it does.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::json;
use tidegate::embedded::image::{
    Content, Image, ImagePlatform, MEDIA_TYPE_CONFIG, MEDIA_TYPE_LAYER, MEDIA_TYPE_MANIFEST,
};

use super::tools::Tools;

/// Who runs in the image unless it says otherwise: the user of "nonroot" images.
const USER: &str = "65532:65532";

/// Where the program lies in the image, for commands.
pub const PROGRAM: &str = "/probe";

/// Describes an image of the probe.
#[derive(Clone, Debug)]
pub struct ProbeImage {
    platform: ImagePlatform,
    steps: Vec<String>,
    user: String,
    labels: BTreeMap<String, String>,
}

// === impl ProbeImage ===

impl ProbeImage {
    /// An image for linux/amd64 whose entrypoint does `steps`, words with blanks between: `"print 3 40 exit 3"`.
    pub fn new(steps: &str) -> Self {
        Self {
            platform: ImagePlatform::parse("linux/amd64").expect("the platform is valid"),
            steps: steps.split_whitespace().map(str::to_owned).collect(),
            user: USER.to_owned(),
            labels: BTreeMap::new(),
        }
    }

    /// For another platform. The program stays that of this machine: such an image can be pulled and named, not run.
    #[must_use]
    pub fn platform(mut self, platform: &str) -> Self {
        self.platform = ImagePlatform::parse(platform).expect("the platform is valid");
        self
    }

    /// Run by another user; empty is what an image without `USER` says, and means root.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// With a label: another label, another digest.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Builds layer, configuration and manifest.
    ///
    /// # Panics
    /// When the tool `probe` is not built.
    pub fn build(&self) -> Image {
        let layer = layer();
        let mut entrypoint = vec![PROGRAM.to_owned()];
        entrypoint.extend(self.steps.iter().cloned());
        let config = json!({
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "variant": self.platform.variant,
            "config": { "User": self.user, "Entrypoint": entrypoint, "Labels": self.labels },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        });
        let config = Content::new(MEDIA_TYPE_CONFIG, config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPE_MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        let manifest = Content::new(MEDIA_TYPE_MANIFEST, manifest.to_string());
        Image { platform: self.platform.clone(), config, layer, manifest }
    }
}

/// The one layer of every image, hashed once: two megabytes.
fn layer() -> Content {
    static LAYER: OnceLock<Content> = OnceLock::new();
    LAYER
        .get_or_init(|| {
            let tools = Tools::find(&["probe"]).expect("hack/tools probe was run");
            let program = std::fs::read(tools.path("probe")).expect("the tool can be read");
            Content::new(MEDIA_TYPE_LAYER, archive(PROGRAM.trim_start_matches('/'), &program))
        })
        .clone()
}

/// A ustar archive of one program that anyone may run, dated 1970: the same bytes, the same digest.
fn archive(name: &str, program: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
    put(0, name.as_bytes());
    put(100, b"0000555\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", program.len()).as_bytes());
    put(136, b"00000000000\0");
    // The checksum is taken with its own field as blanks (POSIX.1-1988, ustar).
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let checksum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{checksum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(program);
    // Padded to whole blocks; two empty ones end the archive.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}
