//! Reading manifests and configs from bytes. Pure, strict: a text that two readers could read differently is
//! refused (CVE-2021-41190; OCI distribution-spec "Pulling manifests").

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::sighting::{DefectKind, DoubtKind};
use crate::model::{Digest, Platform};
use crate::registry::verdict::Absence;

/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker manifest list, schema 2.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// All four in one header: with fewer, registries answer 404 for what is there, or choose a child themselves
/// (registry research §2).
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Schema 1, signed and unsigned.
pub const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";
/// Configs of images that a container runtime starts.
const RUNNABLE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Layers that the registry need not have: their bytes come from elsewhere (base images of Windows).
const FOREIGN_LAYERS: [&str; 2] = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];
/// Fields that decide what a manifest means. Go, in which runtimes and registries are written, reads a name in any
/// case: `Manifests` beside `manifests` would be another index to them than to us.
const MEANINGFUL: [&str; 12] = [
    "schemaVersion",
    "mediaType",
    "manifests",
    "config",
    "layers",
    "fsLayers",
    "digest",
    "platform",
    "annotations",
    "artifactType",
    "urls",
    "size",
];
/// Largest manifest or config read: the limit that registries themselves put on manifests.
pub const MANIFEST_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Key-value texts of a manifest or config.
pub type Texts = BTreeMap<String, String>;

/// What a manifest's bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// An index or manifest list.
    Index(Arc<Index>),
    /// The manifest of one image.
    Image(Arc<Image>),
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    /// Its annotations.
    pub annotations: Texts,
}

/// One entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Digest of the child, as written.
    pub digest: String,
    /// Media type that the index promises; empty when it does not.
    pub media_type: String,
    /// Platform that the index promises, not normalised.
    pub platform: Option<RawPlatform>,
    /// The entry is no image: an attestation or another artifact.
    pub is_artifact: bool,
}

/// One image's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of its config blob.
    pub config: Digest,
    /// Digests of its layers, without those that are not the registry's to have (non-distributable ones).
    pub layers: Vec<Digest>,
    /// Layers whose digest is of an algorithm that is not read.
    pub unreadable_layers: usize,
    /// Its annotations.
    pub annotations: Texts,
}

/// What an image config says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The platform that it was built for.
    pub platform: RawPlatform,
    /// Its labels.
    pub labels: Texts,
    /// When the build made the image; `None` where it says no time.
    pub created: Option<Timestamp>,
}

/// The platform fields of a descriptor or a config, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RawPlatform {
    /// `GOOS`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// `GOARCH`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Variant of the architecture.
    #[serde(default, deserialize_with = "null_is_default")]
    pub variant: String,
    /// Windows build.
    #[serde(default, rename = "os.version", deserialize_with = "null_is_default")]
    pub os_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    fs_layers: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: Texts,
    #[serde(flatten)]
    #[expect(clippy::zero_sized_map_values, reason = "serde flattens into maps only, and only names matter")]
    other: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    #[serde(default)]
    media_type: String,
    platform: Option<RawPlatform>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: Texts,
    artifact_type: Option<String>,
    #[serde(flatten)]
    #[expect(clippy::zero_sized_map_values, reason = "serde flattens into maps only, and only names matter")]
    other: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct ConfigBody {
    config: Option<Process>,
    /// Only a text is a time, and what else stands there is no reason to refuse an image that runs.
    #[serde(default)]
    created: serde_json::Value,
}

#[derive(Deserialize)]
struct Process {
    #[serde(default, rename = "Labels", deserialize_with = "null_is_default")]
    labels: Texts,
}

/// Go writes an empty map as `null`, and other tools an empty text.
fn null_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A Content-Type without its parameters, lower case.
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a manifest. `subject` names it in the sentences of what is wrong.
pub fn parse(bytes: &[u8], content_type: &str, subject: &str) -> Result<Manifest, Absence> {
    let content_type = essence(content_type);
    if content_type.starts_with(DOCKER_SCHEMA_1) {
        return Err(schema_1(subject));
    }
    let is_index = match content_type.as_str() {
        OCI_INDEX | DOCKER_LIST => true,
        OCI_MANIFEST | DOCKER_MANIFEST => false,
        _ => {
            // Names what the registry said, cut short and without what a terminal would obey.
            let shown: String = content_type.chars().filter(char::is_ascii_graphic).take(80).collect();
            let said = if shown.is_empty() { "no Content-Type".to_owned() } else { format!("`{shown}`") };
            return Err(Absence::unknown(
                DoubtKind::Protocol,
                format!(
                    "the answer for {subject} is {said}, which is no image manifest; check that a registry and no web page or proxy answers there"
                ),
            ));
        }
    };
    let mut body: Body = serde_json::from_slice(bytes).map_err(|error| unreadable(&error, subject))?;
    if body.schema_version == Some(1) || body.fs_layers.is_some() {
        return Err(schema_1(subject));
    }
    if body.is_two_faced() {
        return Err(ambiguous(subject, "it names a field in two ways of writing"));
    }
    if body.media_type.as_deref().is_some_and(|written| essence(written) != content_type) {
        return Err(ambiguous(subject, "its mediaType is not its Content-Type"));
    }
    let has_image_parts = body.config.is_some() || body.layers.is_some();
    match (is_index, body.manifests.take()) {
        (_, Some(_)) if has_image_parts => {
            Err(ambiguous(subject, "it has `manifests` and also `config` or `layers`"))
        }
        (true, Some(manifests)) => Ok(Manifest::Index(Arc::new(Index {
            entries: manifests.into_iter().map(Entry::from).collect(),
            annotations: body.annotations,
        }))),
        (true, None) if has_image_parts => Err(ambiguous(subject, "it is called an index and is none")),
        (true, None) => Err(Absence::unknown(
            DoubtKind::Protocol,
            format!("the index {subject} has no `manifests`; push the image again"),
        )),
        (false, Some(_)) => Err(ambiguous(subject, "it is called an image manifest and is an index")),
        (false, None) => image(body, subject).map(|image| Manifest::Image(Arc::new(image))),
    }
}

fn image(body: Body, subject: &str) -> Result<Image, Absence> {
    let unsupported = |why: &str| {
        Absence::broken(
            DefectKind::Unsupported,
            format!("{subject} is no container image, as {why}; push an image under this tag"),
        )
    };
    let config = body.config.ok_or_else(|| unsupported("it has no config"))?;
    if !RUNNABLE_CONFIGS.contains(&essence(&config.media_type).as_str()) {
        return Err(unsupported("its config is not that of a container image"));
    }
    let digest = config.digest.parse().map_err(|_| unsupported("its config has no sha256 digest"))?;
    let layers = body.layers.unwrap_or_default();
    let own =
        layers.iter().filter(|layer| !FOREIGN_LAYERS.iter().any(|kind| layer.media_type.starts_with(kind)));
    let digests: Vec<Option<Digest>> = own.map(|layer| layer.digest.parse().ok()).collect();
    Ok(Image {
        config: digest,
        unreadable_layers: digests.iter().filter(|digest| digest.is_none()).count(),
        layers: digests.into_iter().flatten().collect(),
        annotations: body.annotations,
    })
}

/// Reads a config whose bytes hash to its digest: what is wrong with it stays wrong.
pub fn parse_config(bytes: &[u8], subject: &str) -> Result<Config, Absence> {
    // Read twice instead of flattened: serde would copy the whole history to do that.
    let platform = serde_json::from_slice::<RawPlatform>(bytes);
    let body = serde_json::from_slice::<ConfigBody>(bytes);
    let (Ok(platform), Ok(body)) = (platform, body) else {
        return Err(Absence::broken(
            DefectKind::Unsupported,
            format!("the config of {subject} is no image config; build and push the image again"),
        ));
    };
    Ok(Config {
        platform,
        created: body.created.as_str().and_then(|text| text.parse().ok()),
        labels: body.config.map(|process| process.labels).unwrap_or_default(),
    })
}

fn schema_1(subject: &str) -> Absence {
    Absence::broken(
        DefectKind::Unsupported,
        format!(
            "{subject} is a Docker schema 1 manifest, which current runtimes do not start; push the image again with a current tool"
        ),
    )
}

fn ambiguous(subject: &str, why: &str) -> Absence {
    Absence::unknown(
        DoubtKind::Corrupt,
        format!(
            "the manifest {subject} can be read in two ways, as {why}; find out who pushed it and push the image again"
        ),
    )
}

fn unreadable(error: &serde_json::Error, subject: &str) -> Absence {
    if error.is_data() && error.to_string().starts_with("duplicate field") {
        return ambiguous(subject, "it names a field twice");
    }
    Absence::unknown(
        DoubtKind::Protocol,
        format!(
            "the manifest {subject} is not the JSON it should be (line {}, column {}); push the image again if this stays",
            error.line(),
            error.column()
        ),
    )
}

// === impl Body ===

impl Body {
    /// A name that only other readers take for one of ours.
    fn is_two_faced(&self) -> bool {
        let parts = self.manifests.iter().chain(&self.layers).flatten().chain(&self.config);
        let mut names = self.other.keys().chain(parts.flat_map(|part| part.other.keys()));
        names.any(|name| {
            // Go folds these two letters to `s` and `k` as well (encoding/json).
            let folded = name.replace('\u{17f}', "s").replace('\u{212a}', "k");
            MEANINGFUL.iter().any(|known| known.eq_ignore_ascii_case(&folded) && *known != name)
        })
    }
}

// === impl Entry ===

impl From<Descriptor> for Entry {
    fn from(descriptor: Descriptor) -> Self {
        Self {
            is_artifact: descriptor.artifact_type.is_some_and(|kind| !kind.is_empty())
                || descriptor.annotations.contains_key("vnd.docker.reference.type"),
            digest: descriptor.digest,
            media_type: essence(&descriptor.media_type),
            platform: descriptor.platform,
        }
    }
}

// === impl RawPlatform ===

impl RawPlatform {
    /// In normal form; `None` for `unknown` and incomplete ones.
    pub fn normal(&self) -> Option<Platform> {
        Platform::from_parts(&self.os, &self.architecture, &self.variant, &self.os_version)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_and_case_of_a_content_type_do_not_matter() {
        let parsed =
            parse(b"{\"manifests\":[]}", "Application/VND.oci.image.index.v1+JSON; charset=utf-8", "x");
        assert!(matches!(parsed, Ok(Manifest::Index(_))), "{parsed:?}");
    }

    #[test]
    fn nulls_of_other_tools_are_absence() {
        let body = br#"{"annotations":null,"manifests":[{"digest":"d","platform":{"os":"linux","architecture":"amd64","variant":null},"annotations":null}]}"#;
        assert!(parse(body, OCI_INDEX, "x").is_ok());
        let config = br#"{"os":"linux","architecture":"amd64","variant":null,"config":{"Labels":null}}"#;
        assert_eq!(parse_config(config, "x").unwrap().platform.os, "linux");
        assert!(parse_config(br#"{"os":"linux","config":null}"#, "x").is_ok());
    }

    #[test]
    fn a_time_is_read_where_it_is_one() {
        let created = |text: &str| {
            let config = format!(r#"{{"os":"linux","created":{text}}}"#);
            parse_config(config.as_bytes(), "x").unwrap().created
        };
        assert_eq!(created(r#""2026-11-21T12:00:00.5Z""#), "2026-11-21T12:00:00.5Z".parse().ok());
        for none in ["null", "7", r#""yesterday""#] {
            assert_eq!(created(none), None);
        }
    }

    #[test]
    fn a_config_that_is_none_is_broken() {
        for bytes in [&b"<html>"[..], b"[]", br#"{"os":1}"#, b""] {
            assert!(matches!(parse_config(bytes, "x"), Err(Absence::Broken(_))));
        }
    }

    #[test]
    fn the_accept_header_names_all_four() {
        let named: Vec<&str> = ACCEPT.split(", ").collect();
        assert_eq!(named, [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), index in any::<bool>()) {
            let _any = parse(&bytes, if index { OCI_INDEX } else { OCI_MANIFEST }, "x");
            let _any = parse_config(&bytes, "x");
        }
    }
}
