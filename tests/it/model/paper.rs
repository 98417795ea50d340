//! Values of the small world, made once: three images, two platforms, four tags, and what a tag may hold.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use tidegate::engine::order::{CandidateRule, Direction, Order, Source, TagFilter};
use tidegate::engine::policy::{
    Gate, GateKind, ImagePolicy, OnTagMoved, Place, Policy, PolicyParts, SmokeGate, When,
};
use tidegate::model::smoke::SmokeTest;
use tidegate::model::{
    Binding, Defect, DefectKind, Digest, Doubt, DoubtKind, ImageEvidence, ImageName, Platform, Repository,
    Sighting, Tag, TagTemplate, Verify,
};

/// Siblings: the second has a smoke test, the third needs both platforms.
pub const IMAGES: [&str; 3] = ["app", "worker", "embeddings"];
/// Shared tags; the last is pushed by nobody but the fault-free continuation.
pub const TAGS: [&str; 4] = ["main-1", "main-2", "main-3", "main-9"];
pub const TESTED: usize = 1;
/// Hash of the smoke gate.
const HASH: &str = "v1:0";
/// Generations of which policies are kept: one more than edits are possible.
pub const GENERATIONS: usize = 6;

/// What one tag of one image holds. `Absent` is 0.
pub const ABSENT: u8 = 0;
/// First build, amd64 alone.
pub const FIRST_AMD: u8 = 1;
/// First build, both platforms: extends [`FIRST_AMD`].
pub const FIRST: u8 = 2;
/// Second build, both platforms.
pub const SECOND: u8 = 3;
/// As [`FIRST`], and its arm64 child is gone.
pub const DANGLING: u8 = 4;
pub const CONTENTS: u8 = 5;

/// Edits of the spec that a person makes; each is one more generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Spec {
    Base,
    Suspended,
    PinFirst,
    RequireArm,
    SkipSecond,
    FilterFirstOut,
    PinSecond,
    Repromote,
    OrderUntold,
}

pub const SPECS: [Spec; 9] = [
    Spec::Base,
    Spec::Suspended,
    Spec::PinFirst,
    Spec::RequireArm,
    Spec::SkipSecond,
    Spec::FilterFirstOut,
    Spec::PinSecond,
    Spec::Repromote,
    Spec::OrderUntold,
];

pub struct Paper {
    pub names: Vec<ImageName>,
    pub tags: Vec<Tag>,
    pub platforms: [Platform; 2],
    pub repositories: Vec<Repository>,
    pub began: Timestamp,
    /// By spec, then by generation from 1.
    policies: Vec<Vec<Policy>>,
    reversed: Vec<Policy>,
    indexes: BTreeMap<(usize, usize, u8), Digest>,
    children: BTreeMap<(usize, usize, bool, usize), Digest>,
}

pub static PAPER: LazyLock<Paper> = LazyLock::new(Paper::new);

impl Paper {
    fn new() -> Self {
        let repository = |name: &&str| format!("registry.example/acme/{name}").parse().unwrap();
        let mut paper = Self {
            names: IMAGES.iter().map(|name| name.parse().unwrap()).collect(),
            tags: TAGS.iter().map(|tag| tag.parse().unwrap()).collect(),
            platforms: ["linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap()],
            repositories: IMAGES.iter().map(repository).collect(),
            began: "2026-01-01T00:00:00Z".parse().unwrap(),
            policies: Vec::new(),
            reversed: Vec::new(),
            indexes: BTreeMap::new(),
            children: BTreeMap::new(),
        };
        let generations = |spec: Spec| {
            (1..=GENERATIONS).map(|generation| Policy::new(parts(spec, generation)).unwrap()).collect()
        };
        paper.policies = SPECS.iter().map(|spec| generations(*spec)).collect();
        let reversed = |generation: usize| {
            let mut parts = parts(Spec::Base, generation);
            parts.candidates.order = Order::Numerical(Direction::Descending);
            Policy::new(parts).unwrap()
        };
        paper.reversed = (1..=GENERATIONS).map(reversed).collect();
        let mut serial = 0_u32;
        let mut digest = || {
            serial += 1;
            format!("sha256:{serial:064x}").parse::<Digest>().unwrap()
        };
        for image in 0..IMAGES.len() {
            for tag in 0..TAGS.len() {
                let [amd, first, second] = [digest(), digest(), digest()];
                paper.indexes.insert((image, tag, FIRST_AMD), amd);
                paper.indexes.insert((image, tag, FIRST), first.clone());
                paper.indexes.insert((image, tag, DANGLING), first);
                paper.indexes.insert((image, tag, SECOND), second);
                for (second, platform) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
                    paper.children.insert((image, tag, second, platform), digest());
                }
            }
        }
        paper
    }

    pub fn policy(&self, spec: Spec, generation: u8) -> &Policy {
        &self.policies[spec as usize][usize::from(generation) - 1]
    }

    /// The first spec with the least number as the newest.
    pub fn reversed(&self, generation: u8) -> &Policy {
        &self.reversed[usize::from(generation) - 1]
    }

    pub fn at(&self, secs: i64) -> Timestamp {
        self.began.checked_add(SignedDuration::from_secs(secs)).unwrap()
    }

    pub fn image(&self, name: &ImageName) -> usize {
        self.names.iter().position(|known| known == name).unwrap()
    }

    pub fn tag(&self, tag: &Tag) -> usize {
        self.tags.iter().position(|known| known == tag).unwrap()
    }

    pub fn repository(&self, repository: &Repository) -> usize {
        self.repositories.iter().position(|known| known == repository).unwrap()
    }

    pub fn index(&self, image: usize, tag: usize, content: u8) -> Option<&Digest> {
        self.indexes.get(&(image, tag, content))
    }

    /// The child that an index of that content names; [`DANGLING`] names one that is gone.
    pub fn child(&self, image: usize, tag: usize, content: u8, platform: usize) -> Option<&Digest> {
        if content == ABSENT || (content == FIRST_AMD && platform == 1) {
            return None;
        }
        self.children.get(&(image, tag, content == SECOND, platform))
    }

    /// The child under the smoke test, and what its verdict is bound to.
    pub fn tested(&self, tag: usize, second: bool) -> (&Digest, Binding) {
        let content = if second { SECOND } else { FIRST };
        let child = self.child(TESTED, tag, content, 0).unwrap();
        (child, Binding::of_image(&self.repositories[TESTED], &self.platforms[0], child, HASH))
    }

    /// Which tested child a digest is: bit of the jobs' masks.
    pub fn job_of(&self, child: &Digest) -> Option<usize> {
        let jobs = (0..TAGS.len()).flat_map(|tag| [(tag, false), (tag, true)]);
        jobs.clone().position(|(tag, second)| self.tested(tag, second).0 == child)
    }

    pub fn look(&self, image: usize, tag: usize, content: u8) -> Sighting<ImageEvidence> {
        let Some(digest) = self.index(image, tag, content) else { return Sighting::Missing };
        let child = |platform: usize| {
            let child = self.child(image, tag, content, platform)?.clone();
            let gone = content == DANGLING && platform == 1;
            let defect = || Defect { kind: DefectKind::DanglingChild(child.clone()), message: "gone".into() };
            let sighting = if gone { Sighting::Broken(defect()) } else { Sighting::Present(child) };
            Some((self.platforms[platform].clone(), sighting))
        };
        let children = [0, 1].into_iter().filter_map(child).collect();
        Sighting::Present(ImageEvidence { digest: digest.clone(), children, revisions: BTreeMap::new() })
    }
}

pub fn doubt() -> Doubt {
    Doubt::new(DoubtKind::Auth, "refused")
}

fn parts(spec: Spec, generation: usize) -> PolicyParts {
    let amd64 = || "linux/amd64".parse::<Platform>().unwrap();
    let arm64 = || "linux/arm64".parse::<Platform>().unwrap();
    let images = IMAGES.map(|name| {
        let both = name == "embeddings" || (name == "worker" && spec == Spec::RequireArm);
        ImagePolicy {
            name: name.parse().unwrap(),
            place: Place::At(format!("registry.example/acme/{name}").parse().unwrap()),
            tag_template: TagTemplate::default(),
            platforms: if both { vec![amd64(), arm64()] } else { vec![amd64()] },
            advisory_platforms: if both { Vec::new() } else { vec![arm64()] },
            advisory: false,
        }
    });
    let gate = SmokeGate {
        image: "worker".parse().unwrap(),
        platforms: vec![amd64()],
        when: When::ImagePresent,
        test: SmokeTest::new(vec!["/app".into()], SignedDuration::from_mins(5), 2),
        hash: HASH.into(),
    };
    let pattern = if spec == Spec::FilterFirstOut { "^main-(?P<n>[02-9]+)$" } else { "^main-(?P<n>[0-9]+)$" };
    let untold = || Order::Untold(Doubt::new(DoubtKind::Reference, "ImagePolicy app is not there"));
    PolicyParts {
        generation: i64::try_from(generation).unwrap(),
        interval: SignedDuration::from_mins(1),
        drift_interval: SignedDuration::from_mins(10),
        suspend: spec == Spec::Suspended,
        pin: match spec {
            Spec::PinFirst => Some(TAGS[0].parse().unwrap()),
            Spec::PinSecond => Some(TAGS[1].parse().unwrap()),
            _ => None,
        },
        skip: (spec == Spec::SkipSecond).then(|| TAGS[1].parse().unwrap()).into_iter().collect(),
        images: images.to_vec(),
        verify: Verify::Manifests,
        candidates: CandidateRule {
            source: Source::Lists,
            filter: Some(TagFilter::new(pattern, Some("$n")).unwrap()),
            exclude: Vec::new(),
            order: if spec == Spec::OrderUntold { untold() } else { Order::Numerical(Direction::Ascending) },
            not_before: None,
            max_followed: 5,
            settle: SignedDuration::from_secs(60),
        },
        gates: vec![Gate {
            name: "worker-boots".parse().unwrap(),
            advisory: false,
            kind: GateKind::Smoke(gate),
        }],
        deadline: SignedDuration::from_mins(45),
        on_tag_moved: if spec == Spec::Repromote { OnTagMoved::Repromote } else { OnTagMoved::Report },
        targets: Vec::new(),
    }
}
