use std::collections::BTreeMap;

use super::*;
use crate::engine::order::{CandidateRule, Direction, Order, Source, TagFilter};
use crate::engine::policy::{OnTagMoved, Place, PolicyParts, SmokeGate, When};
use crate::model::smoke::SmokeTest;
use crate::model::{Binding, Release, TagTemplate, Verify};

const IMAGES: [&str; 2] = ["app", "worker"];

fn digest(byte: u8) -> Digest {
    format!("sha256:{byte:064x}").parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + secs).unwrap()
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn parts() -> PolicyParts {
    let images = IMAGES.map(|name| ImagePolicy {
        name: name.parse().unwrap(),
        place: Place::At(format!("registry.example/acme/{name}").parse().unwrap()),
        tag_template: TagTemplate::default(),
        platforms: vec![amd64()],
        advisory_platforms: Vec::new(),
        advisory: false,
    });
    let smoke = SmokeGate {
        image: "worker".parse().unwrap(),
        platforms: Vec::new(),
        when: When::ImagePresent,
        test: SmokeTest::new(vec!["/app".into()], SignedDuration::from_mins(5), 2),
        hash: "v1:0".into(),
    };
    PolicyParts {
        generation: 3,
        interval: SignedDuration::from_mins(1),
        drift_interval: SignedDuration::from_mins(10),
        suspend: false,
        pin: None,
        skip: std::collections::BTreeSet::new(),
        images: images.to_vec(),
        verify: Verify::Manifests,
        candidates: CandidateRule {
            source: Source::Lists,
            filter: Some(TagFilter::new("^main-(?P<n>[0-9]+)$", Some("$n")).unwrap()),
            exclude: Vec::new(),
            order: Order::Numerical(Direction::Ascending),
            not_before: None,
            max_followed: 5,
            settle: SignedDuration::from_secs(60),
        },
        gates: vec![Gate { name: "boots".parse().unwrap(), advisory: false, kind: GateKind::Smoke(smoke) }],
        deadline: SignedDuration::from_mins(45),
        on_tag_moved: OnTagMoved::Report,
        targets: Vec::new(),
    }
}

fn promoted(text: &str, sequence: i64) -> Promoted {
    let image = |(place, name): (usize, &str)| ReleaseImage {
        name: name.parse().unwrap(),
        repository: format!("registry.example/acme/{name}").parse().unwrap(),
        tag: tag(text),
        digest: digest(u8::try_from(place).unwrap() * 2),
        platforms: vec![(amd64(), digest(u8::try_from(place).unwrap() * 2 + 1))],
    };
    let images = IMAGES.into_iter().enumerate().map(image).collect();
    let release = Release { tag: tag(text), images, revision: None };
    Promoted { release, sequence, at: at(0), generation: 3 }
}

fn floor(text: &str) -> Floor {
    Floor { tag: tag(text), key: String::new() }
}

/// One write as it should be, to be spoiled.
struct Case {
    parts: PolicyParts,
    deleting: bool,
    before: Record,
    marks: Marks,
    after: Promoted,
    floor: Option<Floor>,
    verdicts: Vec<SmokeVerdict>,
    looked_at: i64,
    highest: i64,
    /// Digests that the tags point at, by repository.
    tags: BTreeMap<String, Vec<Digest>>,
    gone: Vec<Digest>,
    silent: bool,
    passes: Option<bool>,
}

impl Truth for Case {
    fn pointed_at(&self, repository: &Repository, _: &Tag) -> Vec<Digest> {
        self.tags.get(repository.path()).cloned().unwrap_or_default()
    }

    fn child(&self, repository: &Repository, _: &Digest, _: &Platform) -> Option<Digest> {
        let place = IMAGES.iter().position(|name| repository.path().ends_with(name)).unwrap();
        let child = digest(u8::try_from(place).unwrap() * 2 + 1);
        (!self.gone.contains(&child)).then_some(child)
    }

    fn answers(&self, _: &Repository) -> bool {
        !self.silent
    }

    fn passes(&self, _: &Gate, _: &Repository, _: &Platform, _: &Digest) -> Option<bool> {
        self.passes
    }
}

impl Case {
    fn sound() -> Self {
        let image = &promoted("main-2", 2).release.images[1];
        let binding = Binding::of_image(&image.repository, &amd64(), &digest(3), "v1:0");
        Self {
            parts: parts(),
            deleting: false,
            before: Record {
                promoted: Some(promoted("main-1", 1)),
                floor: Some(floor("main-1")),
                ..Record::default()
            },
            marks: Marks::InStep,
            after: promoted("main-2", 2),
            floor: Some(floor("main-2")),
            verdicts: vec![SmokeVerdict {
                binding,
                outcome: SmokeOutcome::Passed,
                at: at(0),
                exit_code: Some(0),
                message: String::new(),
                retry: 0,
                log: None,
            }],
            looked_at: 0,
            highest: 1,
            tags: [("acme/app".to_owned(), vec![digest(0)]), ("acme/worker".to_owned(), vec![digest(2)])]
                .into(),
            gone: Vec::new(),
            silent: false,
            passes: Some(true),
        }
    }

    /// The invariants that are broken, each once.
    fn broken(&self) -> Vec<InvariantName> {
        let policy = Policy::new(self.parts.clone()).unwrap();
        let commit = Commit {
            policy: &policy,
            deleting: self.deleting,
            before: &self.before,
            marks: &self.marks,
            after: &self.after,
            floor: self.floor.as_ref(),
            verdicts: &self.verdicts,
            looked_and_written: Some((at(self.looked_at), at(4))),
        };
        let mut broken: Vec<InvariantName> =
            check_commit(&commit, self, self.highest).into_iter().map(|found| found.invariant).collect();
        broken.sort();
        broken.dedup();
        broken
    }
}

#[test]
fn a_sound_commit_breaks_nothing() {
    assert_eq!(Case::sound().broken(), []);
}

#[test]
fn each_wrong_commit_is_found() {
    use InvariantName::{S1, S2, S3, S4, S5, S7};
    type Spoil = fn(&mut Case);
    let cases: [(&str, InvariantName, Spoil); 24] = [
        ("another generation", S1, |case| case.after.generation = 2),
        ("an image less", S1, |case| drop(case.after.release.images.pop())),
        ("a platform less", S1, |case| case.after.release.images[0].platforms.clear()),
        ("a child that is gone", S1, |case| case.gone.push(digest(1))),
        ("another child", S1, |case| case.after.release.images[0].platforms[0].1 = digest(9)),
        ("a registry that does not answer", S1, |case| case.silent = true),
        ("another repository", S1, |case| {
            case.after.release.images[0].repository = "registry.example/acme/other-app".parse().unwrap();
            case.tags.insert("acme/other-app".to_owned(), vec![digest(0)]);
        }),
        ("no verdict", S1, |case| case.verdicts.clear()),
        ("a failed verdict", S1, |case| case.verdicts[0].outcome = SmokeOutcome::Failed),
        ("a verdict of another gate", S1, |case| {
            let image = &case.after.release.images[1];
            case.verdicts[0].binding = Binding::of_image(&image.repository, &amd64(), &digest(3), "v1:01");
        }),
        ("no revision", S1, |case| {
            case.parts.gates[0].kind = GateKind::SameRevision(crate::engine::policy::SameRevisionGate {
                key: "revision".into(),
                from: crate::engine::policy::RevisionSource::Annotation,
            });
        }),
        ("a digest of another look", S2, |case| {
            case.tags.insert("acme/worker".to_owned(), vec![digest(7)]);
        }),
        ("a look long ago", S2, |case| case.looked_at = -1),
        ("a look after the write", S2, |case| case.looked_at = 5),
        ("below the floor", S3, |case| case.before.floor = Some(floor("main-3"))),
        ("at the floor", S3, |case| case.before.floor = Some(floor("main-2"))),
        ("a floor that sinks", S3, |case| case.floor = Some(floor("main-0"))),
        ("not the pin", S3, |case| case.parts.pin = Some(tag("main-7"))),
        ("no place in the order", S3, |case| {
            case.after.release.tag = tag("dev");
            case.after.release.images.iter_mut().for_each(|image| image.tag = tag("dev"));
        }),
        ("below what a target carries", S3, |case| {
            case.marks = Marks::Highest { sequence: 5, tag: Some(tag("main-4")) };
            (case.highest, case.after.sequence) = (5, 6);
        }),
        ("a sequence twice", S4, |case| case.highest = 2),
        ("a sequence left out", S4, |case| case.after.sequence = 3),
        ("a test that was never run", S5, |case| case.passes = None),
        ("while suspended", S7, |case| case.parts.suspend = true),
    ];
    for (what, invariant, spoil) in cases {
        let mut case = Case::sound();
        spoil(&mut case);
        assert_eq!(case.broken(), [invariant], "{what}");
    }
    let mut case = Case::sound();
    case.deleting = true;
    assert_eq!(case.broken(), [S7]);
    case = Case::sound();
    case.passes = Some(false);
    assert_eq!(case.broken(), [S5]);
}

#[test]
fn what_people_may_do_is_no_breach() {
    let mut case = Case::sound();
    case.parts.pin = Some(tag("main-2"));
    case.before.floor = Some(floor("main-9"));
    case.floor = Some(floor("main-9"));
    assert_eq!(case.broken(), [], "a pin goes below the floor, and leaves it");
    case = Case::sound();
    case.before.promoted = Some(promoted("main-2", 1));
    case.before.floor = Some(floor("main-2"));
    assert_eq!(case.broken(), [], "the promoted tag again");
    case = Case::sound();
    (case.before, case.highest) = (Record::default(), 1);
    case.marks = Marks::Highest { sequence: 1, tag: Some(tag("main-2")) };
    assert_eq!(case.broken(), [], "what targets carry, after status was lost");
}

#[test]
fn a_release_that_is_taken_back_is_found() {
    let (first, second) = (promoted("main-1", 1), promoted("main-2", 2));
    let broken = |before, after| s4_sequence(before, after, 2).len();
    assert_eq!(broken(Some(&second), Some(&second)), 0);
    assert_eq!(broken(Some(&second), None), 1);
    assert_eq!(broken(Some(&second), Some(&first)), 1);
    let other = promoted("main-3", 2);
    assert_eq!(broken(Some(&second), Some(&other)), 1, "another release under the same sequence");
    assert_eq!(broken(None, None), 0);
}

#[test]
fn a_target_that_goes_back_or_ahead_is_found() {
    let broken = |before, carried, committed| s4_target(before, carried, committed).len();
    assert_eq!(broken(None, (1, "main-1"), Some("main-1")), 0);
    assert_eq!(broken(Some(1), (1, "main-1"), Some("main-1")), 0);
    assert_eq!(broken(Some(2), (1, "main-1"), Some("main-1")), 1);
    assert_eq!(broken(Some(1), (2, "main-2"), None), 1, "before its commit");
    assert_eq!(broken(Some(2), (1, "main-2"), Some("main-1")), 2);
}

#[test]
fn writes_without_a_commit_move_nothing() {
    let before = Case::sound().before;
    assert_eq!(s6_only_a_commit_moves_it(&before, &before), []);
    let found = s6_only_a_commit_moves_it(&before, &Record::default());
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].to_string(), "S6: main-1 became nothing without a commit");
}

#[test]
fn the_rest_can_fail_too() {
    assert_eq!(s7_held(false, false, "x"), None);
    assert_eq!(s7_held(true, false, "x").unwrap().to_string(), "S7: x while the set was suspended");
    assert!(s8_no_secret("log", "token=hunter2", &["other"]).is_empty());
    let leak = s8_no_secret("log", "token=hunter2", &["other", "hunter2"]);
    assert_eq!(leak[0].to_string(), "S8: log holds secret 1", "a report must not leak it again");
    let declared = ["acme/ConfigMap/acme-release".to_owned(), "acme/Job/acme-*".to_owned()];
    assert_eq!(s9_declared("acme/Job/acme-1", &declared), None);
    assert!(s9_declared("other/ConfigMap/acme-release", &declared).is_some());
    let policy = Policy::new(parts()).unwrap();
    let second = SignedDuration::from_secs(1);
    let l1 = |wanted: &str, promoted: Option<&Promoted>, waited| {
        l1_promoted(&policy, &tag(wanted), promoted, waited, second).is_some()
    };
    assert!(
        !l1("main-2", Some(&promoted("main-2", 1)), second)
            && !l1("main-2", Some(&promoted("main-3", 1)), second)
    );
    assert!(l1("main-2", Some(&promoted("main-1", 1)), second) && l1("main-2", None, second));
    assert!(l1("main-2", Some(&promoted("main-2", 1)), second * 2));
    assert!(l3_bounded("b", 5, 5).is_none() && l3_bounded("b", 6, 5).is_some());
    assert!(
        l4_not_delayed(second * 3, second * 2).is_none() && l4_not_delayed(second * 4, second * 2).is_some()
    );
    assert!(l5_quiet(&[]).is_none() && l5_quiet(&["status".to_owned()]).is_some());
}

#[test]
fn names_are_those_of_the_design() {
    let names: Vec<String> = InvariantName::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names.join(" "), "S1 S2 S3 S4 S5 S6 S7 S8 S9 L1 L2 L3 L4 L5");
    let statements: std::collections::BTreeSet<&str> =
        InvariantName::ALL.iter().map(|name| name.statement()).collect();
    assert_eq!(statements.len(), InvariantName::ALL.len());
}

/// ARCHITECTURE.md says where each is enforced and tested; what it says that holds is said here.
#[test]
fn the_map_has_the_same_words() {
    let map = include_str!("../../ARCHITECTURE.md");
    for name in InvariantName::ALL {
        let row = map.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        assert!(row.starts_with(&format!("| {name} | {} |", name.statement())), "{row}");
    }
}
