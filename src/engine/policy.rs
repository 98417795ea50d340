//! The validated ReleaseSet: no illegal value can be built, so nothing past this file checks again.
//!
//! The border (`api`) parses texts into values and calls [`Policy::new`], which holds the rules that join
//! several fields. The same rules are CEL in the CRD; here they hold for the command line too.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::engine::order::CandidateRule;
use crate::model::smoke::SmokeTest;
use crate::model::target::{KEYS_MAX, RELEASE_SEQUENCE_KEY, RELEASE_TAG_KEY, image_key};
use crate::model::{
    Doubt, GateName, ImageName, KeyTemplate, Platform, Problem, Repository, Tag, TagTemplate, TargetKind,
    TargetName, Verify,
};

/// Most images of a set (design §3); the engine keeps who lists a tag in 32 bits.
pub const IMAGES_MAX: usize = 32;
/// Most platforms of an image (design §3).
pub const PLATFORMS_MAX: usize = 16;
/// Most gates of a set (design §3).
pub const GATES_MAX: usize = 16;
/// Most targets of a set (design §3).
pub const TARGETS_MAX: usize = 16;
/// Most dismissed candidates (design §3).
pub const SKIP_MAX: usize = 16;

/// A ReleaseSet that may be acted upon.
#[derive(Clone, Debug)]
pub struct Policy {
    parts: PolicyParts,
}

/// The parts of a policy, each valid in itself. [`Policy::new`] judges them together.
#[derive(Clone, Debug)]
pub struct PolicyParts {
    /// `metadata.generation`; 0 for a file.
    pub generation: i64,
    /// Safety poll.
    pub interval: SignedDuration,
    /// How often promoted tags are looked at again.
    pub drift_interval: SignedDuration,
    /// No commit, no new Job, no target write.
    pub suspend: bool,
    /// Promote exactly this one.
    pub pin: Option<Tag>,
    /// Dismissed candidates.
    pub skip: BTreeSet<Tag>,
    /// Siblings; the first is the lead.
    pub images: Vec<ImagePolicy>,
    /// What must be there for an image to be Present.
    pub verify: Verify,
    /// Which tags are candidates, and their order.
    pub candidates: CandidateRule,
    /// Conditions beside completeness.
    pub gates: Vec<Gate>,
    /// How long a candidate may be incomplete, then untested, before it is called overdue.
    pub deadline: SignedDuration,
    /// What happens when a tag of the promoted release is moved.
    pub on_tag_moved: OnTagMoved,
    /// Objects that follow the promoted release.
    pub targets: Vec<TargetPolicy>,
}

/// One sibling.
#[derive(Clone, Debug)]
pub struct ImagePolicy {
    /// Its name in the set.
    pub name: ImageName,
    /// Where it lives.
    pub place: Place,
    /// How the shared tag is written there.
    pub tag_template: TagTemplate,
    /// Platforms that a release needs; never empty.
    pub platforms: Vec<Platform>,
    /// Platforms that are reported and block nothing.
    pub advisory_platforms: Vec<Platform>,
    /// The whole image is reported only, and never part of a release.
    pub advisory: bool,
}

/// Where an image lives: what a spec says, or what an object that it refers to says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this repository.
    At(Repository),
    /// The reference could not be followed: the image is Unknown, and nothing is asked of any registry.
    Untold {
        /// What the spec refers to, as in `ImageRepository/app`.
        reference: String,
        /// Why.
        doubt: Doubt,
    },
}

/// What happens when a tag of the promoted release is moved (`spec.onTagMoved`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTagMoved {
    /// It is told, and nothing else.
    #[default]
    Report,
    /// What the tag holds now is judged, and committed again when it passes.
    Repromote,
}

/// One condition beside completeness.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its name in the set.
    pub name: GateName,
    /// Reported, blocks nothing.
    pub advisory: bool,
    /// What it asks.
    pub kind: GateKind,
}

/// Kinds of gates.
#[expect(clippy::large_enum_variant, reason = "a policy has at most 16 gates, and most are smoke tests")]
#[derive(Clone, Debug)]
pub enum GateKind {
    /// A Job on the sibling's child image, by digest.
    Smoke(SmokeGate),
    /// All required images name the same revision.
    SameRevision(SameRevisionGate),
}

/// A smoke test.
#[derive(Clone, Debug)]
pub struct SmokeGate {
    /// The sibling under test.
    pub image: ImageName,
    /// Platforms under test; empty means all required platforms of the image.
    pub platforms: Vec<Platform>,
    /// When it starts, and what it sees.
    pub when: When,
    /// What is run.
    pub test: SmokeTest,
    /// Hash over what the user set, computed at the border and opaque here.
    pub hash: String,
}

/// When a smoke test starts. What it sees by then is what its verdict is bound to (S5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as its own cell is Present: beside the builds of its siblings, of which it sees nothing.
    ImagePresent,
    /// When every required cell is: it sees the tag and all images.
    Complete,
}

/// All required images carry one equal value under `key`.
#[derive(Clone, Debug)]
pub struct SameRevisionGate {
    /// Annotation or label key.
    pub key: String,
    /// Where it may be found.
    pub from: RevisionSource,
}

/// Where a revision is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionSource {
    /// Annotations only: labels are inherited from base images.
    Annotation,
    /// Annotations, else labels.
    Any,
}

/// One target.
#[derive(Clone, Debug)]
pub struct TargetPolicy {
    /// Its name in the set.
    pub name: TargetName,
    /// What it writes.
    pub kind: TargetKind,
}

// === impl Policy ===

impl std::ops::Deref for Policy {
    type Target = PolicyParts;

    fn deref(&self) -> &PolicyParts {
        &self.parts
    }
}

impl Policy {
    /// Judges the parts together.
    ///
    /// # Errors
    /// Every broken rule, each with its field and what to write instead.
    pub fn new(parts: PolicyParts) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        check_images(&parts, &mut problems);
        check_gates(&parts, &mut problems);
        check_targets(&parts, &mut problems);
        check_limit(parts.skip.len(), SKIP_MAX, "spec.skip", &mut problems);
        if problems.is_empty() { Ok(Self { parts }) } else { Err(problems) }
    }

    /// The images that a release needs, with their place in the spec.
    pub fn required_images(&self) -> impl Iterator<Item = (usize, &ImagePolicy)> {
        self.parts.images.iter().enumerate().filter(|(_, image)| !image.advisory)
    }

    /// The registry hosts of all images whose place is told.
    pub fn hosts(&self) -> BTreeSet<String> {
        let repositories = self.parts.images.iter().filter_map(|image| image.place.repository());
        repositories.map(|repository| repository.host().to_owned()).collect()
    }

    /// The required image of that name.
    pub fn image(&self, name: &ImageName) -> Option<&ImagePolicy> {
        self.parts.images.iter().find(|image| &image.name == name)
    }

    /// Keys whose values every look must bring, for the sameRevision gates.
    pub fn revision_keys(&self) -> Vec<String> {
        let keys: BTreeSet<&String> = self
            .parts
            .gates
            .iter()
            .filter_map(|gate| match &gate.kind {
                GateKind::SameRevision(gate) => Some(&gate.key),
                GateKind::Smoke(_) => None,
            })
            .collect();
        keys.into_iter().cloned().collect()
    }
}

impl SmokeGate {
    /// The platforms under test of `image`.
    pub fn platforms_of<'a>(&'a self, image: &'a ImagePolicy) -> &'a [Platform] {
        if self.platforms.is_empty() { &image.platforms } else { &self.platforms }
    }
}

fn check_limit(count: usize, limit: usize, field: &str, problems: &mut Vec<Problem>) {
    if count > limit {
        problems.push(Problem::new(field, format!("has {count} entries, at most {limit} are possible")));
    }
}

fn check_unique<'a>(names: impl Iterator<Item = &'a str>, field: &str, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            problems.push(Problem::new(
                format!("{field}[{index}].name"),
                format!("`{name}` is used twice: give each entry a name of its own"),
            ));
        }
    }
}

fn check_images(parts: &PolicyParts, problems: &mut Vec<Problem>) {
    let images = &parts.images;
    check_limit(images.len(), IMAGES_MAX, "spec.images", problems);
    check_unique(images.iter().map(|image| image.name.as_str()), "spec.images", problems);
    match images.first() {
        None => problems.push(Problem::new("spec.images", "is empty: name at least one image")),
        Some(lead) if lead.advisory => problems.push(Problem::new(
            "spec.images[0].advisory",
            "the first image is the lead and cannot be advisory: put a required image first",
        )),
        Some(_) => {}
    }
    for (index, image) in images.iter().enumerate() {
        check_image(index, image, problems);
        let twin = images[..index]
            .iter()
            .position(|other| other.place == image.place && other.tag_template == image.tag_template);
        if let Some(twin) = twin {
            problems.push(Problem::new(
                format!("spec.images[{index}].repository"),
                format!(
                    "is the same as spec.images[{twin}]: remove one, or give them different tagTemplates"
                ),
            ));
        }
    }
}

fn check_image(index: usize, image: &ImagePolicy, problems: &mut Vec<Problem>) {
    let field = format!("spec.images[{index}]");
    if image.platforms.is_empty() {
        problems.push(Problem::new(
            format!("{field}.platforms"),
            "is empty: name at least one platform, or leave the field out",
        ));
    }
    for (name, platforms) in
        [("platforms", &image.platforms), ("advisoryPlatforms", &image.advisory_platforms)]
    {
        check_limit(platforms.len(), PLATFORMS_MAX, &format!("{field}.{name}"), problems);
        if let Some(twice) = duplicate(platforms) {
            problems
                .push(Problem::new(format!("{field}.{name}"), format!("names {twice} twice: remove one")));
        }
    }
    if let Some(both) = image.advisory_platforms.iter().find(|platform| image.platforms.contains(platform)) {
        problems.push(Problem::new(
            format!("{field}.advisoryPlatforms"),
            format!("{both} is required too: name it in one of the two lists"),
        ));
    }
}

fn duplicate(platforms: &[Platform]) -> Option<&Platform> {
    platforms
        .iter()
        .enumerate()
        .find(|(index, platform)| platforms[..*index].contains(platform))
        .map(|(_, p)| p)
}

fn check_gates(parts: &PolicyParts, problems: &mut Vec<Problem>) {
    check_limit(parts.gates.len(), GATES_MAX, "spec.gates", problems);
    check_unique(parts.gates.iter().map(|gate| gate.name.as_str()), "spec.gates", problems);
    for (index, gate) in parts.gates.iter().enumerate() {
        let GateKind::Smoke(smoke) = &gate.kind else { continue };
        let field = format!("spec.gates[{index}].smoke");
        let Some(image) = parts.images.iter().find(|image| image.name == smoke.image) else {
            problems.push(Problem::new(
                format!("{field}.image"),
                format!("`{}` is no image of this set: write one of spec.images[].name", smoke.image),
            ));
            continue;
        };
        if image.advisory && !gate.advisory {
            problems.push(Problem::new(
                format!("{field}.image"),
                format!("`{}` is advisory: make the gate advisory too, or the image required", smoke.image),
            ));
        }
        if let Some(twice) = duplicate(&smoke.platforms) {
            problems
                .push(Problem::new(format!("{field}.platforms"), format!("names {twice} twice: remove one")));
        }
        for platform in smoke.platforms_of(image) {
            if !image.platforms.contains(platform) {
                problems.push(Problem::new(
                    format!("{field}.platforms"),
                    format!(
                        "{platform} is not required of image `{}`: add it there or remove it here",
                        image.name
                    ),
                ));
            }
            if platform.os() == "windows" {
                problems.push(Problem::new(
                    format!("{field}.platforms"),
                    format!(
                        "{platform}: no smoke tests on Windows yet, because restricted pods are refused there"
                    ),
                ));
            }
        }
    }
}

fn check_targets(parts: &PolicyParts, problems: &mut Vec<Problem>) {
    check_limit(parts.targets.len(), TARGETS_MAX, "spec.targets", problems);
    check_unique(parts.targets.iter().map(|target| target.name.as_str()), "spec.targets", problems);
    let templates: BTreeSet<String> = parts
        .images
        .iter()
        .filter(|image| !image.advisory)
        .map(|image| image.tag_template.to_string())
        .collect();
    for (index, target) in parts.targets.iter().enumerate() {
        let field = format!("spec.targets[{index}]");
        let same = |other: &TargetPolicy| {
            (other.kind.kind(), other.kind.object_name()) == (target.kind.kind(), target.kind.object_name())
        };
        if parts.targets[..index].iter().any(same) {
            problems.push(Problem::new(
                field.clone(),
                format!("{} is a target already: remove one", target.kind),
            ));
        }
        match &target.kind {
            TargetKind::ImagePolicy { .. } if templates.len() > 1 => problems.push(Problem::new(
                format!("{field}.imagePolicy"),
                "one ImagePolicy carries one tag: give all non-advisory images the same tagTemplate, or use a configMap target",
            )),
            TargetKind::ConfigMap { keys, .. } => check_config_map_keys(parts, keys, &field, problems),
            TargetKind::ImagePolicy { .. } | TargetKind::ResourceSetInputProvider { .. } => {}
        }
    }
}

fn check_config_map_keys(
    parts: &PolicyParts,
    keys: &BTreeMap<String, KeyTemplate>,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let mut seen = BTreeSet::from([RELEASE_TAG_KEY.to_owned(), RELEASE_SEQUENCE_KEY.to_owned()]);
    let required = || parts.images.iter().filter(|image| !image.advisory);
    for image in required() {
        let key = image_key(&image.name);
        if !seen.insert(key.clone()) {
            problems.push(Problem::new(
                format!("{field}.configMap"),
                format!("two images would write the key {key}: rename one image"),
            ));
        }
    }
    check_limit(keys.len(), KEYS_MAX, &format!("{field}.configMap.keys"), problems);
    for (key, template) in keys {
        let field = format!("{field}.configMap.keys[{key}]");
        if seen.contains(key) {
            problems.push(Problem::new(field.clone(), "is written in any case: give it another name"));
        }
        if let Some(unknown) = template.images().find(|name| !required().any(|image| &image.name == *name)) {
            problems.push(Problem::new(
                field,
                format!("names `{unknown}`, which is no required image of this set: write one of spec.images[].name"),
            ));
        }
    }
}

// === impl Place ===

impl Place {
    /// The repository, where it is known.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::At(repository) => Some(repository),
            Self::Untold { .. } => None,
        }
    }

    /// The repository as text, or what the spec refers to.
    pub fn text(&self) -> String {
        match self {
            Self::At(repository) => repository.to_string(),
            Self::Untold { reference, .. } => reference.clone(),
        }
    }
}
