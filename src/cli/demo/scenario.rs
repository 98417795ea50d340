//! Scenario files: a timeline of pushes and edits with what is expected of the set at each point.
//!
//! The same files run on the engine alone, on the embedded world in virtual time, and on real parts. They are
//! data: `tests/scenarios/*.yaml`, one per line "Scenarios:" of the incidents that the product exists for.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

use crate::api::{ReleaseSetSpec, duration};

/// Largest scenario file: the longest of ours has 6 kB.
pub const SCENARIO_MAX_BYTES: usize = 64 * 1024;

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// Its name; the file's name without `.yaml`.
    pub name: String,
    /// Which line of which incident it replays, in words.
    pub incident: String,
    /// What it shows, in one sentence.
    pub shows: String,
    /// The worlds that can play it; absent means the engine and the embedded world.
    #[serde(default = "both_worlds")]
    pub worlds: Vec<World>,
    /// The set. Repositories are written as `registry/NAME`; each world puts its own registry in.
    pub spec: ReleaseSetSpec,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

/// Where a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// `decide` with answers from a map.
    Engine,
    /// The controller on the embedded registry and API in virtual time.
    Embedded,
    /// The built binary on etcd, kube-apiserver and a registry. Time between steps does not pass there: a
    /// step is done, the set is asked to look, and the expected status is waited for.
    Real,
}

/// One point of the timeline.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    /// When, counted from the start.
    #[serde(deserialize_with = "go_duration")]
    pub at: SignedDuration,
    /// A line for the demo's timeline.
    pub say: Option<String>,
    /// CI starts every build of this tag at once.
    pub start: Option<String>,
    /// Images that appear.
    #[serde(default)]
    pub push: Vec<Push>,
    /// Tags that are deleted.
    #[serde(default)]
    pub delete: Vec<ImageTag>,
    /// Images whose registry refuses the credential from now on.
    #[serde(default)]
    pub refuse: Vec<String>,
    /// Images whose registry answers again.
    #[serde(default)]
    pub admit: Vec<String>,
    /// A merge patch on the spec (RFC 7386).
    pub edit: Option<serde_json::Value>,
    /// The controller's process is replaced: everything that is not in the API is lost.
    #[serde(default)]
    pub restart: bool,
    /// What the set must say now.
    pub expect: Option<Expect>,
}

/// An image that appears under a tag, replacing what was there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Push {
    /// The sibling's name.
    pub image: String,
    /// Its own tag.
    pub tag: String,
    /// Platforms of the index.
    #[serde(default = "amd64")]
    pub platforms: Vec<String>,
    /// Another build of the same tag has other digests.
    #[serde(default)]
    pub build: u32,
    /// `org.opencontainers.image.revision` on the index; absent means one made from the tag.
    pub revision: Option<String>,
    /// What a smoke test of it exits with.
    #[serde(default)]
    pub exit_code: i32,
    /// How long a smoke test of it runs.
    #[serde(default, deserialize_with = "go_duration")]
    pub runs_for: SignedDuration,
}

/// One tag of one image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTag {
    /// The sibling's name.
    pub image: String,
    /// Its own tag.
    pub tag: String,
}

/// What the set must say. Absent fields are not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expect {
    /// `status.promoted.tag`; `none` for nothing promoted.
    pub promoted: Option<String>,
    /// `status.promoted.sequence`.
    pub sequence: Option<i64>,
    /// The printed candidate; `none` for none.
    pub candidate: Option<String>,
    /// Its phase.
    pub phase: Option<String>,
    /// `status.summary.images`.
    pub images: Option<String>,
    /// `status.summary.blockedBy`, in part.
    pub blocked_by: Option<String>,
    /// Condition type → `True/Reason` or `False/Reason`; `none` for an absent one.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Tag → outcome, among `status.recent`.
    #[serde(default)]
    pub ended: BTreeMap<String, String>,
}

/// What a world saw of the set, in the words of [`Expect`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// As in [`Expect`].
    pub promoted: Option<String>,
    /// As in [`Expect`].
    pub sequence: Option<i64>,
    /// As in [`Expect`].
    pub candidate: Option<String>,
    /// As in [`Expect`].
    pub phase: Option<String>,
    /// As in [`Expect`].
    pub images: Option<String>,
    /// As in [`Expect`].
    pub blocked_by: Option<String>,
    /// As in [`Expect`].
    pub conditions: BTreeMap<String, String>,
    /// As in [`Expect`].
    pub ended: BTreeMap<String, String>,
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file is larger than any scenario.
    #[error("the scenario has {0} bytes, at most {SCENARIO_MAX_BYTES} are possible")]
    TooLarge(usize),
    /// The file is no scenario.
    #[error("failed to read the scenario: {0}")]
    Parse(String),
    /// Steps go back in time.
    #[error("the scenario {name} goes back in time at step {step}")]
    Order {
        /// Which scenario.
        name: String,
        /// Which step, from 1.
        step: usize,
    },
}

fn both_worlds() -> Vec<World> {
    vec![World::Engine, World::Embedded]
}

fn amd64() -> Vec<String> {
    vec!["linux/amd64".to_owned()]
}

fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration::parse(&text).map_err(serde::de::Error::custom)
}

// === impl Scenario ===

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// When it is too large, no scenario, or goes back in time.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        if text.len() > SCENARIO_MAX_BYTES {
            return Err(ScenarioError::TooLarge(text.len()));
        }
        let scenario: Self =
            serde_saphyr::from_str(text).map_err(|error| ScenarioError::Parse(error.to_string()))?;
        let backwards = scenario.steps.windows(2).position(|pair| pair[1].at < pair[0].at);
        match backwards {
            Some(step) => Err(ScenarioError::Order { name: scenario.name, step: step + 2 }),
            None => Ok(scenario),
        }
    }

    /// The spec with `host` in the place of `registry/`.
    pub fn spec_at(&self, host: &str) -> ReleaseSetSpec {
        let mut spec = self.spec.clone();
        for image in &mut spec.images {
            let path =
                image.repository.as_deref().and_then(|repository| repository.strip_prefix("registry/"));
            if let Some(path) = path {
                image.repository = Some(format!("{host}/{path}"));
            }
        }
        spec
    }

    /// Path of an image's repository inside the registry.
    pub fn path_of(&self, image: &str) -> Option<&str> {
        let known = self.spec.images.iter().find(|known| known.name == image);
        let repository = known.and_then(|known| known.repository.as_deref());
        repository.or_else(|| self.edited_in(image))?.strip_prefix("registry/")
    }

    /// Repository of an image that joins the set by an edit.
    fn edited_in(&self, image: &str) -> Option<&str> {
        let edits = self.steps.iter().filter_map(|step| step.edit.as_ref()?.get("images")?.as_array());
        let joins = edits.flatten().find(|known| known["name"].as_str() == Some(image))?;
        joins["repository"].as_str()
    }

    /// Whether its builds are known, so that a naive follower of the lead's tag is worth a comparison.
    pub fn is_told_twice(&self) -> bool {
        self.steps.iter().any(|step| step.start.is_some())
    }

    /// How much sooner a release is out when all its builds run in parallel: the chain with the lead built
    /// last, less the time from start to commit. `committed_at` counts from the start of the timeline.
    pub fn saved(&self, tag: &str, committed_at: SignedDuration) -> Option<SignedDuration> {
        let started = self.steps.iter().find(|step| step.start.as_deref() == Some(tag))?.at;
        let lead = &self.spec.images.first()?.name;
        let pushed = |of_lead: bool| {
            let steps = self.steps.iter().filter(|step| {
                step.push.iter().any(|push| push.tag == tag && (&push.image == lead) == of_lead)
            });
            steps.map(|step| step.at.saturating_sub(started)).max()
        };
        let chain = pushed(false)?.saturating_add(pushed(true)?);
        Some(chain.saturating_sub(committed_at.saturating_sub(started)))
    }
}

// === impl Push ===

impl Push {
    fn told(&self) -> String {
        let platforms = self.platforms.join(" and ");
        let again = if self.build > 0 { ", another build" } else { "" };
        format!("{}:{} is pushed for {platforms}{again}", self.image, self.tag)
    }
}

// === impl Step ===

impl Step {
    /// What CI does, for the timeline: the file's own words, or one line for each image.
    pub fn built(&self) -> Vec<String> {
        self.say.as_ref().map_or_else(|| self.push.iter().map(Push::told).collect(), |say| vec![say.clone()])
    }

    /// What happens from outside, one line for each thing; nothing where the file has words of its own.
    pub fn befell(&self) -> Vec<String> {
        if self.say.is_some() {
            return Vec::new();
        }
        let deleted = self.delete.iter().map(|gone| format!("{}:{} is deleted", gone.image, gone.tag));
        let mut lines: Vec<String> = deleted.collect();
        lines.extend(self.refuse.iter().map(|image| format!("{image}'s registry refuses the credential")));
        lines.extend(self.admit.iter().map(|image| format!("{image}'s registry answers again")));
        lines.extend(self.edit.iter().map(|edit| format!("the spec is edited: {edit}")));
        lines.extend(self.restart.then(|| "the controller is replaced".to_owned()));
        lines
    }

    /// The edit of the spec with `host` in the place of `registry/`.
    pub fn edit_at(&self, host: &str) -> Option<serde_json::Value> {
        let mut edit = self.edit.clone()?;
        let images = edit.get_mut("images").and_then(serde_json::Value::as_array_mut);
        for repository in images.into_iter().flatten().filter_map(|image| image.get_mut("repository")) {
            let path = repository.as_str().and_then(|repository| repository.strip_prefix("registry/"));
            if let Some(path) = path {
                *repository = format!("{host}/{path}").into();
            }
        }
        Some(edit)
    }
}

// === impl Expect ===

impl Expect {
    /// Every difference, in words; empty when all is as expected.
    pub fn differences(&self, seen: &Seen) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, expected: Option<&String>, seen: Option<&String>| {
            let same = match expected.map(String::as_str) {
                None => true,
                Some("none") => seen.is_none(),
                Some(expected) => seen.is_some_and(|seen| seen == expected),
            };
            if !same {
                differences.push(format!("{what}: expected {expected:?}, is {seen:?}"));
            }
        };
        compare("promoted", self.promoted.as_ref(), seen.promoted.as_ref());
        compare("candidate", self.candidate.as_ref(), seen.candidate.as_ref());
        compare("phase", self.phase.as_ref(), seen.phase.as_ref());
        compare("images", self.images.as_ref(), seen.images.as_ref());
        let sequence = |value: Option<i64>| value.map(|value| value.to_string());
        compare("sequence", sequence(self.sequence).as_ref(), sequence(seen.sequence).as_ref());
        for (condition, expected) in &self.conditions {
            compare(condition, Some(expected), seen.conditions.get(condition));
        }
        for (tag, outcome) in &self.ended {
            compare(tag, Some(outcome), seen.ended.get(tag));
        }
        if let Some(part) = &self.blocked_by {
            let seen = seen.blocked_by.as_deref();
            let same =
                if part == "none" { seen.is_none() } else { seen.is_some_and(|seen| seen.contains(part)) };
            if !same {
                differences.push(format!("blockedBy: expected {part:?}, is {seen:?}"));
            }
        }
        differences
    }
}

// === impl Seen ===

impl Seen {
    /// Reads a status in the words of [`Expect`].
    pub fn of(status: &crate::api::ReleaseSetStatus) -> Self {
        let candidate = status.candidates.first();
        let promoted = status.promoted.as_ref();
        let summary = status.summary.as_ref();
        Self {
            promoted: promoted.map(|promoted| promoted.tag.clone()),
            sequence: promoted.map(|promoted| promoted.sequence),
            candidate: candidate.map(|candidate| candidate.tag.clone()),
            phase: candidate.map(|candidate| candidate.phase.clone()),
            images: summary.map(|summary| summary.images.clone()),
            blocked_by: summary.and_then(|summary| summary.blocked_by.clone()),
            conditions: status
                .conditions
                .iter()
                .map(|known| (known.condition.clone(), format!("{}/{}", known.status, known.reason)))
                .collect(),
            ended: status
                .recent
                .iter()
                .rev()
                .map(|ended| (ended.tag.clone(), ended.outcome.clone()))
                .collect(),
        }
    }
}
