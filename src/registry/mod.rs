//! Looking at registries: what exists, at which digest, for which platform. Reads only.
//!
//! Own transport, because an expired credential must never read as a missing image (registry research §1).
//! This room knows nothing of release sets, candidates or gates: it answers questions with sightings.
//!
//! ```text
//! client ─> share (the last answers, and those on their way)
//!        ─> evidence: look ─> walk ─> flatten     pure: challenge, guard, manifest, flatten, verdict
//!           │  └> fetch, facts (content of digests, never existence)
//!           └> tags ─> paging; blobs
//!        ─> probe: the same way, for the person who sets a registry up
//!        ─> wire: session ─> retry ─> transport ─> pace (every request waits for its host's turn)
//!             │                        └> clients (every request, counted)
//!             └> identity: auth ─> tokens ─> exchange
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::model::{Digest, ImageEvidence, Platform, Repository, Sighted, Sighting, Tag, TagList, Verify};

/// How much of an image is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// Index and child manifests (`check --no-config`).
    Manifests,
    /// Also each child's config: its own platform is compared and its labels are read.
    Configs,
}

/// How a repository is reached, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The credentials for the repository, tried in turn. A registry that never asks for a configured credential
    /// is not believed when it answers 404: that is Unknown(Auth), since it may hide what the credential shows.
    pub credentials: Credentials,
    /// Plain HTTP, as Flux's `insecure`.
    pub insecure: bool,
    /// CAs and client certificate of the registry and of whom it names; `None` means the system's CAs.
    pub tls: Option<Arc<Tls>>,
    /// The proxy that is asked for every host; `None` means what the environment says.
    pub proxy: Option<Arc<Proxy>>,
    /// Who asks: `namespace/name` of a set. Askers take turns at a host; it changes nothing of what is seen.
    pub asker: Option<Arc<str>>,
}

/// One question about one tag of one repository.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where.
    pub repository: Repository,
    /// Which tag, rendered.
    pub tag: Tag,
    /// Platforms whose children are read; others that the image declares are not.
    pub platforms: Vec<Platform>,
    /// Annotation and label keys whose values are wanted.
    pub revision_keys: Vec<String>,
    /// How much is read.
    pub depth: Depth,
    /// What must be there for a platform to be Present.
    pub verify: Verify,
}

/// When the build made what a tag holds, as the images' configs say. It is not when they were pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Each platform that was asked for and is declared, with its time; `None` where the config says none. A platform
    /// that is not among the keys is Missing.
    pub platforms: BTreeMap<Platform, Sighting<Option<Timestamp>>>,
}

/// What can be asked of registries. Every answer is a sighting; nothing here fails.
///
/// Where a method takes `since`, its answer may be one that others asked for, if that was later than `since`; with
/// `since` = now nothing is shared (ADR 3). Where it takes none, what it answers was asked for this call alone.
pub trait Registry: Send + Sync {
    /// All tags of a repository, unordered. `Missing` when the registry knows no such repository.
    /// Discovery, never evidence: a list may be partial, stale or empty (design §4 Look).
    fn tags<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<Arc<TagList>>>;

    /// What a tag holds now: its digest, and each asked platform's child.
    fn look<'a>(
        &'a self,
        access: &'a Access,
        question: &'a Question,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<ImageEvidence>>;

    /// The digest that a tag points at, by HEAD.
    fn pointer<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        tag: &'a Tag,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<Digest>>;

    /// The digest that a tag points at now, by HEAD. Never from a cache.
    fn head_tag<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        tag: &'a Tag,
    ) -> BoxFuture<'a, Sighting<Digest>>;

    /// Whether a manifest is there now, by HEAD. Never from a cache.
    fn head_manifest<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Sighting<()>>;

    /// Whether the config and every layer of each image are there now, by HEAD, in the order of `images` (digests
    /// of image manifests). Never from a cache; a blob of several images is asked for once.
    fn head_blobs<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        images: &'a [Digest],
    ) -> BoxFuture<'a, Vec<Sighting<()>>>;
}

mod client;
mod evidence;
#[doc(hidden)]
pub mod fuzz;
mod identity;
mod probe;
mod share;
mod verdict;
mod wire;

pub use client::Client;
pub use identity::challenge::Challenge;
pub use identity::credentials::{CredentialSource, Credentials};
pub use identity::tokens::TokenLife;
pub use identity::{credentials, docker_config, keyring, origin};
pub use probe::{FirstPage, Head, Probe};
pub use wire::pace::{HostObserver, HostState, Pace, Quota};
pub use wire::proxy::Proxy;
pub use wire::tls::{Tls, TlsPem};
pub use wire::transport::{InProcess, Observer, RequestKind, RequestRecord, Verb};

#[cfg(test)]
mod tests;
