//! Calls the built binary in an environment of its own, and a registry with a shop in it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tidegate::embedded::image::{Image, ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::{Options, RegistryServer};
use tidegate::telemetry::clock::Clock;

pub const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// One call of the binary.
pub struct Call {
    command: Command,
    stdin: String,
}

/// What it answered.
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

/// A registry that holds `shop/app`, `shop/worker` and `shop/embeddings`.
pub struct Shop {
    pub registry: RegistryServer,
}

pub fn call(args: &[&str]) -> Answer {
    Call::new(args).answer()
}

// === impl Call ===

impl Call {
    /// A call with a clean environment, in the root of the repository.
    pub fn new(args: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.args(args).env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
        Self { command, stdin: String::new() }
    }

    /// Called by another name, as kubectl calls a plugin.
    pub fn named(mut self, name: &str) -> Self {
        self.command.arg0(name);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = text.into();
        self
    }

    pub fn answer(mut self) -> Answer {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A call that never reads its input closes it: no matter.
        let _written = stdin.write_all(self.stdin.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the binary ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary writes UTF-8");
        Answer {
            code: output.status.code().expect("no signal ended it"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Everything that a caller sees, for a snapshot.
    pub fn whole(&self) -> String {
        format!("exit code: {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

// === impl Folder ===

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

// === impl Shop ===

pub const IMAGES: [&str; 3] = ["app", "worker", "embeddings"];
pub const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

impl Shop {
    pub async fn open() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let registry = RegistryServer::start(options, Clock::system()).await.expect("loopback can be bound");
        Self { registry }
    }

    /// Pushes one image as an index over `platforms`; the content depends on name, tag and platform alone.
    pub fn push(&self, image: &str, tag: &str, platforms: &[&str]) {
        self.push_from(image, tag, platforms, "3f9ac1d");
    }

    /// The same, built from `revision`.
    pub fn push_from(&self, image: &str, tag: &str, platforms: &[&str], revision: &str) {
        let children: Vec<Image> = platforms.iter().map(|platform| child(image, tag, platform)).collect();
        let revision = ("org.opencontainers.image.revision".to_owned(), revision.to_owned());
        let index = Index::build(children, &BTreeMap::from([revision]));
        self.registry.push_index(&format!("shop/{image}"), Some(tag), &index);
    }

    /// Pushes all three for both platforms.
    pub fn push_all(&self, tag: &str) {
        for image in IMAGES {
            self.push(image, tag, &BOTH);
        }
    }

    /// A ReleaseSet over the shop; `more` is appended to its spec.
    pub fn release_set(&self, platforms: &str, more: &str) -> String {
        let host = self.registry.host();
        let images: Vec<String> = IMAGES
            .iter()
            .map(|image| format!("  - {{name: {image}, repository: {host}/shop/{image}{platforms}}}"))
            .collect();
        format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: ReleaseSet\nmetadata: {{name: shop}}\nspec:\n  \
             registry: {{insecure: true}}\n  images:\n{}\n  candidates:\n    filterTags: {{pattern: '^main-(?P<n>[0-9]+)$', \
             extract: '$n'}}\n    policy: {{numerical: {{order: asc}}}}\n{more}",
            images.join("\n")
        )
    }

    /// `check -f -` with `args` on a set that requires both platforms.
    pub fn check(&self, args: &[&str]) -> Answer {
        self.check_set(&self.release_set(", platforms: [linux/amd64, linux/arm64]", ""), args)
    }

    pub fn check_set(&self, set: &str, args: &[&str]) -> Answer {
        let args: Vec<&str> = ["check", "-f", "-"].iter().chain(args).copied().collect();
        self.same_everywhere(Call::new(&args).stdin(set).answer())
    }

    /// The port of the day becomes a name.
    pub fn same_everywhere(&self, answer: Answer) -> Answer {
        let host = self.registry.host();
        let named = |text: String| text.replace(&host, "registry.test");
        Answer { code: answer.code, stdout: named(answer.stdout), stderr: named(answer.stderr) }
    }
}

pub fn child(image: &str, tag: &str, platform: &str) -> Image {
    let platform = ImagePlatform::parse(platform).expect("a platform");
    ImageDescription::new(platform, format!("{image} {tag}")).build()
}
