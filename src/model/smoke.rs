//! Smoke tests as values: what is to be run, what was seen of it, what it said.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::names::{GateName, ImageName};
use crate::model::platform::Platform;
use crate::model::reference::{Digest, Repository, Tag};

/// Longest log of a failed smoke test that is kept (design §3): its end.
pub const LOG_MAX_BYTES: usize = 4096;

/// Pods of one binding that may be lost to evictions, drains and deletions beyond `attempts`: a drain of three
/// nodes in a row.
pub const DISRUPTED_PODS_MAX: u32 = 3;

/// What a verdict counts for, and nothing else (S5): repository, platform, child digest, gate hash.
///
/// The hash of the gate's own fields is computed at the border (`api`) and opaque here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding(String);

/// What a smoke gate runs, as its user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeTest {
    /// Command; empty means the image's own entrypoint.
    pub command: Vec<String>,
    /// Arguments; empty means the image's own, unless a command is set.
    pub args: Vec<String>,
    /// Literal environment, in the order of the spec.
    pub env: Vec<(String, String)>,
    /// User of the container, above 0; `None` means the image's own, which must not be root.
    pub run_as_user: Option<i64>,
    /// What replaces the default requests and limits, by resource.
    pub resources: SmokeResources,
    /// Tolerations beside the one for the platform's architecture.
    pub tolerations: Vec<SmokeToleration>,
    /// How long one attempt may run, its image's pull included.
    pub timeout: SignedDuration,
    /// How often it is tried before it counts as failed, at least 1.
    pub attempts: u32,
    /// What passes.
    pub expect: SmokeExpect,
}

/// What passes a smoke test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmokeExpect {
    /// The container exits with 0 within the time-out.
    ExitsZero,
    /// The container still runs, and is Ready, after this time: a service.
    StaysUp {
        /// How long it must have run.
        stays_up: SignedDuration,
        /// What must answer for it to be Ready; `None`: a running container is.
        http_get: Option<SmokeHttpGet>,
    },
}

/// An HTTP GET that must be answered with 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeHttpGet {
    /// Port of the container.
    pub port: u16,
    /// Path, beginning with `/`.
    pub path: String,
}

/// Kubernetes quantities by resource name (`cpu`, `memory`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmokeResources {
    /// What the pod is scheduled by.
    pub requests: BTreeMap<String, String>,
    /// What it may use.
    pub limits: BTreeMap<String, String>,
}

/// One toleration, by the words of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmokeToleration {
    /// Key of the taint; absent with operator `Exists` means every taint.
    pub key: Option<String>,
    /// `Equal` or `Exists`.
    pub operator: Option<String>,
    /// Value of the taint.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; absent means all.
    pub effect: Option<String>,
}

/// The release that a test of `when: Complete` sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeRelease {
    /// The shared tag.
    pub tag: Tag,
    /// Each required image as `repository@digest` of its index.
    pub images: Vec<(ImageName, String)>,
}

/// Which run of a binding's test it is, and what is left to it (L3: attempts + 3 pods in all).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SmokeRun {
    /// How often a person asked for the gate to be run again.
    pub retry: u32,
    /// 1 for the first Job; one more for each that ended without a verdict.
    pub number: u32,
    /// Pods that this run and those after it may start.
    pub pods_left: u32,
    /// Attempts that may still fail before the test has.
    pub attempts_left: u32,
}

/// One smoke test that is to run: a container of the sibling's own image, by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeRequest {
    /// The gate that asks.
    pub gate: GateName,
    /// The sibling under test.
    pub image: ImageName,
    /// Where its image lives.
    pub repository: Repository,
    /// The platform under test.
    pub platform: Platform,
    /// Digest of that platform's child manifest.
    pub digest: Digest,
    /// What the verdict will be bound to.
    pub binding: Binding,
    /// What is run.
    pub test: SmokeTest,
    /// The siblings that it sees; `None` for one that sees its own image only.
    pub release: Option<SmokeRelease>,
    /// Which run of it.
    pub run: SmokeRun,
}

/// What is known of a smoke test that has no verdict yet, or just got one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmokeView {
    /// A Job of ours exists and has not ended.
    Running {
        /// When the Job was made.
        since: Timestamp,
        /// Named when it cannot start, or cannot give a verdict any more.
        waiting_for: Option<Hindrance>,
        /// When it has stayed up for long enough, if nothing happens.
        due_at: Option<Timestamp>,
    },
    /// The pod was read and says so.
    Ended(SmokeVerdict),
    /// It ended without a verdict, or could not be read.
    NoVerdict {
        /// Why.
        why: Hindrance,
        /// The run that ended so.
        run: SmokeRun,
        /// The next run; `None` when another would end alike, or the Job is not over.
        again: Option<SmokeAgain>,
    },
}

/// The run that follows one without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmokeAgain {
    /// Not before.
    pub at: Timestamp,
    /// Which.
    pub run: SmokeRun,
}

/// Why a test has no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// Which kind.
    pub kind: HindranceKind,
    /// One sentence for people, without times.
    pub message: String,
}

/// Kinds of hindrances, by the words of `status.candidates[].gates[].reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HindranceKind {
    /// No node takes the pod.
    Unschedulable,
    /// The node cannot get the image.
    ImagePull,
    /// The node or the API server refuses the pod as it is.
    ConfigRefused,
    /// A quota forbids the pod.
    QuotaDenied,
    /// The pod was given another image.
    ImageRewritten,
    /// The pod was evicted, drained, deleted or lost.
    Evicted,
    /// The cluster could not be read, or does not say.
    Unreadable,
}

/// A verdict, bound to exactly what was tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeVerdict {
    /// What it counts for.
    pub binding: Binding,
    /// Passed or failed.
    pub outcome: SmokeOutcome,
    /// When the container ended.
    pub at: Timestamp,
    /// Exit code of the container, where one exists.
    pub exit_code: Option<i32>,
    /// One sentence for people.
    pub message: String,
    /// [`SmokeRun::retry`] of the run that said so.
    pub retry: u32,
    /// The last lines that a failed container wrote, while they have just been read.
    pub log: Option<SmokeLog>,
}

/// The end of what a failed container wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeLog {
    /// Whose test it was.
    pub gate: GateName,
    /// The last lines.
    pub text: String,
}

/// What a smoke test can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmokeOutcome {
    /// The container did what was expected of it, undisturbed.
    Passed,
    /// It exited with something else, or could not be started.
    Failed,
    /// It ran out of time.
    TimedOut,
    /// It was killed for using more memory than it may.
    OomKilled,
}

// === impl Binding ===

impl Binding {
    /// The binding of an eager smoke test (design §4 Gates, `when: ImagePresent`).
    pub fn of_image(repository: &Repository, platform: &Platform, digest: &Digest, gate_hash: &str) -> Self {
        Self(format!("{repository}@{digest} {platform} {gate_hash}"))
    }

    /// The binding of a test that sees the whole release (`when: Complete`): `seen` is a hash of all that it
    /// sees, computed by the engine.
    pub fn of_release(
        repository: &Repository,
        platform: &Platform,
        digest: &Digest,
        gate_hash: &str,
        seen: &str,
    ) -> Self {
        Self(format!("{repository}@{digest} {platform} {gate_hash} {seen}"))
    }

    /// A binding as it was stored in status.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The binding as one line of text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl SmokeTest ===

impl SmokeTest {
    /// A test that must exit with 0, of which nothing else was said.
    pub fn new(command: Vec<String>, timeout: SignedDuration, attempts: u32) -> Self {
        Self {
            command,
            args: Vec::new(),
            env: Vec::new(),
            run_as_user: None,
            resources: SmokeResources::default(),
            tolerations: Vec::new(),
            timeout,
            attempts,
            expect: SmokeExpect::ExitsZero,
        }
    }

    /// The first run after `retry` requests of a person.
    pub fn first_run(&self, retry: u32) -> SmokeRun {
        SmokeRun {
            retry,
            number: 1,
            pods_left: self.attempts.saturating_add(DISRUPTED_PODS_MAX),
            attempts_left: self.attempts,
        }
    }
}

// === impl SmokeOutcome ===

impl SmokeOutcome {
    /// All of them, for reading a word back.
    pub const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::TimedOut, Self::OomKilled];

    /// The word of `status.verdicts[].outcome`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::OomKilled => "OOMKilled",
        }
    }
}

// === impl HindranceKind ===

impl HindranceKind {
    /// The word of `status.candidates[].gates[].reason`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::ImagePull => "ImagePull",
            Self::ConfigRefused => "ConfigRefused",
            Self::QuotaDenied => "QuotaDenied",
            Self::ImageRewritten => "ImageRewritten",
            Self::Evicted => "Evicted",
            Self::Unreadable => "Unreadable",
        }
    }
}
