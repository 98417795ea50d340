//! Properties over random histories: S1–S3, S5–S7, total order, floor, determinism, no panic on any input.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tidegate::engine::decide;
use tidegate::engine::decision::{Answer, Checked};
use tidegate::engine::observation::{Marks, Observation};
use tidegate::engine::order::{CandidateRule, Direction, Order, Source, TagFilter};
use tidegate::engine::policy::{
    Gate, GateKind, ImagePolicy, OnTagMoved, Place, Policy, PolicyParts, RevisionSource, SameRevisionGate,
    SmokeGate, When,
};
use tidegate::model::smoke::SmokeTest;
use tidegate::model::{
    Defect, DefectKind, Digest, Doubt, DoubtKind, ImageEvidence, ImageName, Sighted, Sighting, Tag, TagList,
    TagTemplate,
};

use super::world::World;

pub const IMAGES: [&str; 3] = ["app", "worker", "embeddings"];
const TAGS: [&str; 4] = ["main-1", "main-2", "main-3", "main-4"];
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// One thing that happens outside.
#[derive(Clone, Debug)]
enum Event {
    Push { image: usize, tag: usize, both: bool, build: u32 },
    Delete { image: usize, tag: usize },
    Refuse { image: usize, on: bool },
    Pass { secs: i64 },
    Restart,
    Suspend { on: bool },
    Pin { tag: Option<usize> },
    BreakSmoke { image: usize, tag: usize, build: u32 },
    Hint,
    Share { percent: i64 },
    RequireArm { on: bool },
    OnTagMoved { repromote: bool },
    Name { tag: Option<usize> },
    ForgetOrder { on: bool },
    Restore { back: i64 },
    HideTargets { on: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let (image, tag) = (0..IMAGES.len(), 0..TAGS.len());
    prop_oneof![
        8 => (image.clone(), tag.clone(), any::<bool>(), 0..2_u32)
            .prop_map(|(image, tag, both, build)| Event::Push { image, tag, both, build }),
        2 => (image.clone(), tag.clone()).prop_map(|(image, tag)| Event::Delete { image, tag }),
        2 => (image.clone(), any::<bool>()).prop_map(|(image, on)| Event::Refuse { image, on }),
        6 => (0..400_i64).prop_map(|secs| Event::Pass { secs }),
        1 => Just(Event::Restart),
        1 => any::<bool>().prop_map(|on| Event::Suspend { on }),
        1 => proptest::option::of(tag.clone()).prop_map(|tag| Event::Pin { tag }),
        2 => (image, tag, 0..2_u32).prop_map(|(image, tag, build)| Event::BreakSmoke { image, tag, build }),
        1 => Just(Event::Hint),
        2 => (0..=100_i64).prop_map(|percent| Event::Share { percent }),
        2 => any::<bool>().prop_map(|on| Event::RequireArm { on }),
        1 => any::<bool>().prop_map(|repromote| Event::OnTagMoved { repromote }),
        3 => proptest::option::of(0..TAGS.len()).prop_map(|tag| Event::Name { tag }),
        1 => any::<bool>().prop_map(|on| Event::ForgetOrder { on }),
        1 => (0..4_i64).prop_map(|back| Event::Restore { back }),
        1 => any::<bool>().prop_map(|on| Event::HideTargets { on }),
    ]
}

/// A policy of three images; `gates` as bits: smoke on worker, sameRevision.
pub fn policy(gates: u8, arm64_advisory: bool) -> PolicyParts {
    let amd64 = || "linux/amd64".parse().unwrap();
    let images = IMAGES.map(|name| ImagePolicy {
        name: name.parse().unwrap(),
        place: Place::At(format!("registry.example/acme/{name}").parse().unwrap()),
        tag_template: TagTemplate::default(),
        platforms: vec![amd64()],
        advisory_platforms: if arm64_advisory { vec!["linux/arm64".parse().unwrap()] } else { Vec::new() },
        advisory: false,
    });
    let smoke = Gate {
        name: "worker-boots".parse().unwrap(),
        advisory: false,
        kind: GateKind::Smoke(SmokeGate {
            image: "worker".parse().unwrap(),
            platforms: Vec::new(),
            when: When::ImagePresent,
            test: SmokeTest::new(vec!["/app".into(), "--self-check".into()], SignedDuration::from_mins(5), 2),
            hash: "v1:0".into(),
        }),
    };
    let same = Gate {
        name: "same-commit".parse().unwrap(),
        advisory: false,
        kind: GateKind::SameRevision(SameRevisionGate {
            key: "org.opencontainers.image.revision".into(),
            from: RevisionSource::Annotation,
        }),
    };
    let gates = [(1, smoke), (2, same)].into_iter().filter(|(bit, _)| gates & bit != 0).map(|(_, gate)| gate);
    PolicyParts {
        generation: 1,
        interval: SignedDuration::from_mins(1),
        drift_interval: SignedDuration::from_mins(10),
        suspend: false,
        pin: None,
        skip: std::collections::BTreeSet::new(),
        images: images.to_vec(),
        verify: tidegate::model::Verify::Manifests,
        candidates: CandidateRule {
            source: Source::Lists,
            filter: Some(TagFilter::new("^main-(?P<n>[0-9]+)$", Some("$n")).unwrap()),
            exclude: Vec::new(),
            order: Order::Numerical(Direction::Ascending),
            not_before: None,
            max_followed: 5,
            settle: SignedDuration::from_secs(60),
        },
        gates: gates.collect(),
        deadline: SignedDuration::from_mins(45),
        on_tag_moved: OnTagMoved::Report,
        targets: Vec::new(),
    }
}

fn apply(world: &mut World, event: &Event) {
    let name = |image: usize| IMAGES[image].parse().unwrap();
    let tag_of = |tag: usize| TAGS[tag].parse::<Tag>().unwrap();
    match event {
        Event::Push { image, tag, both, build } => {
            let platforms = if *both { &PLATFORMS[..] } else { &PLATFORMS[..1] };
            world.push(IMAGES[*image], TAGS[*tag], platforms, *build);
        }
        Event::Delete { image, tag } => {
            world.pushed.remove(&(name(*image), tag_of(*tag)));
        }
        Event::Refuse { image, on } => {
            world.refused.remove(&name(*image));
            if *on {
                world.refused.insert(name(*image));
            }
        }
        Event::Pass { secs } => world.pass(SignedDuration::from_secs(*secs)),
        Event::Restart => world.restart(),
        Event::Suspend { on } => world.edit(|parts| parts.suspend = *on),
        Event::Pin { tag } => world.edit(|parts| parts.pin = tag.map(tag_of)),
        Event::BreakSmoke { image, tag, build } => {
            let text = format!("{} {} linux/amd64 build {build}", IMAGES[*image], TAGS[*tag]);
            world.break_smoke(super::world::digest(&text));
        }
        Event::Share { percent } => world.shared_age_percent = *percent,
        Event::Hint => world.observation.memory.hinted_at = Some(world.now),
        Event::RequireArm { on } => world.edit(|parts| require_arm(parts, *on)),
        Event::OnTagMoved { repromote } => world.edit(|parts| {
            parts.on_tag_moved = if *repromote { OnTagMoved::Repromote } else { OnTagMoved::Report };
        }),
        Event::Name { tag } => world.observation.named = tag.map(tag_of),
        Event::ForgetOrder { on } => forget_order(world, *on),
        Event::Restore { back } => {
            let last = world.commits.last().map_or(0, |last| last.sequence);
            world.restore((last - back).max(0));
        }
        Event::HideTargets { on } => world.marks = on.then(|| Marks::Unreadable("down".into())),
    }
    world.reconcile();
}

/// arm64 of worker, required or not.
fn require_arm(parts: &mut PolicyParts, on: bool) {
    let arm64 = "linux/arm64".parse().unwrap();
    let worker = &mut parts.images[1];
    worker.platforms.truncate(1);
    worker.advisory_platforms.clear();
    if on { worker.platforms.push(arm64) } else { worker.advisory_platforms.push(arm64) }
}

/// The object that says the order cannot be read: no edit, so that generation and memory stay.
fn forget_order(world: &mut World, on: bool) {
    let mut parts = PolicyParts::clone(&world.policy);
    let doubt = Doubt::new(DoubtKind::Reference, "ImagePolicy app is not there");
    parts.candidates.order = if on { Order::Untold(doubt) } else { Order::Numerical(Direction::Ascending) };
    world.policy = Policy::new(parts).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Every commit of a random history is checked against the world (S1–S5, S7); what is promoted is never
    /// lost or replaced otherwise (S6); and once the world is whole and quiet, the newest complete release
    /// that passes is promoted (L1).
    #[test]
    fn histories_keep_the_promise(
        gates in 0..4_u8,
        advisory in any::<bool>(),
        named in proptest::bool::weighted(0.3),
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut parts = policy(gates, advisory);
        parts.candidates.source = if named { Source::Named } else { Source::Lists };
        let mut world = World::new(Policy::new(parts).unwrap());
        for event in &events {
            apply(&mut world, event);
            prop_assert_eq!(
                world.observation.record.promoted.as_ref(), world.expected.as_ref(), "S6: only a commit moves it");
        }
        heal(&mut world);
        let promoted = world.commits.last().map(|promoted| promoted.release.tag.clone());
        prop_assert_eq!(promoted, Some("main-9".parse().unwrap()), "L1: {:?}", world.decision.followed.first());
    }

    /// No answers, asked for or not, in order or not, by clocks that go back and forth, make the engine panic, decide
    /// differently the second time, or commit without one confirming look of all images.
    #[test]
    fn no_answers_panic(
        gates in 0..4_u8,
        answers in proptest::collection::vec(answer(), 0..40),
    ) {
        let policy = Policy::new(policy(gates, true)).unwrap();
        let mut observation = Observation::default();
        for (answer, now) in answers {
            let now = "2026-01-01T02:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(now);
            observation.memory.absorb(&policy, &observation.record, answer, now);
            let decision = decide(&policy, &observation, now);
            prop_assert_eq!(&decision, &decide(&policy, &observation, now));
            // An answer here is of one image, and three are required.
            prop_assert!(decision.commit.is_none());
            observation.record.candidates = decision.followed.iter().map(|followed| followed.record.clone()).collect();
        }
    }

    /// The order is total and strict: exactly one of older, same, newer.
    #[test]
    fn order_is_total(a in "[a-z]{0,2}[0-9]{1,20}", b in "[a-z]{0,2}[0-9]{1,20}", descending in any::<bool>()) {
        let direction = if descending { Direction::Descending } else { Direction::Ascending };
        let mut rule = policy(0, false).candidates;
        rule.filter = Some(TagFilter::new("^[a-z]*(?P<n>[0-9]+)$", Some("$n")).unwrap());
        for order in [Order::Numerical(direction), Order::Alphabetical(direction)] {
            rule.order = order;
            let (a, b) = (rule.rank(&a.parse().unwrap()).unwrap(), rule.rank(&b.parse().unwrap()).unwrap());
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.tag() == b.tag());
        }
    }

    /// No text makes the parsers or the order panic.
    #[test]
    fn no_text_panics(text in "\\PC{0,80}", pattern in "\\PC{0,20}", extract in "\\PC{0,10}") {
        let _ = text.parse::<tidegate::model::Repository>();
        let _ = text.parse::<tidegate::model::Platform>();
        let _ = text.parse::<tidegate::model::Digest>();
        let template = text.parse::<TagTemplate>();
        let mut rule = policy(0, false).candidates;
        if let Ok(filter) = TagFilter::new(&pattern, Some(&extract)) {
            rule.filter = Some(filter);
        }
        if let (Ok(template), Ok(tag)) = (template, "x1".parse::<Tag>()) {
            prop_assert!(template.render(tag.as_str()).is_none_or(|tag| template.extract(tag.as_str()).is_some()));
        }
        if let Ok(tag) = text.parse::<Tag>() {
            let _ = rule.rank(&tag);
        }
    }
}

proptest! {
    // Each case passes seven minutes of virtual time three times.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// More Unknown never leads to a commit that less Unknown would not (S6): while a required image cannot be told
    /// nothing is promoted, and what is promoted stays; once it can be told again, it goes on.
    #[test]
    fn unknown_promotes_nothing(
        gates in 0..4_u8,
        events in proptest::collection::vec(event(), 1..30),
        refused in 1..8_u8,
    ) {
        let mut world = World::new(Policy::new(policy(gates, false)).unwrap());
        for event in &events {
            apply(&mut world, event);
        }
        let (mut less, mut more) = (world.clone(), world.clone());
        less.refused.clear();
        let names = IMAGES.iter().enumerate().filter(|(bit, _)| refused & 1 << bit != 0);
        more.refused.extend(names.map(|(_, name)| name.parse::<ImageName>().unwrap()));
        for world in [&mut less, &mut more] {
            world.pass(SignedDuration::from_secs(150));
        }
        prop_assert_eq!(more.commits.len(), world.commits.len());
        prop_assert_eq!(more.observation.record.promoted.as_ref(), more.expected.as_ref());
        more.refused.clear();
        more.pass(SignedDuration::from_secs(150));
        let promoted = |world: &World| world.observation.record.promoted.as_ref().map(|known| known.release.tag.clone());
        prop_assert_eq!(promoted(&more), promoted(&less), "it ends where the other did");
    }
}

/// An answer that nobody has to have asked for.
fn answer() -> impl Strategy<Value = (Answer, i64)> {
    let image = (0..IMAGES.len()).prop_map(|image| IMAGES[image].parse::<ImageName>().unwrap());
    let tag = (0..TAGS.len()).prop_map(|tag| TAGS[tag].parse::<Tag>().unwrap());
    let kinds = (0..4_u8, 0..3_u8, -4_000..4_000_i64);
    (image, tag, kinds, 0..4_u8, -4_000..4_000_i64).prop_map(
        |(image, tag, (kind, build, asked), which, now)| {
            let at = |secs: i64| {
                "2026-01-01T02:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
            };
            let digest = super::world::digest(&format!("{image} {tag} {build}"));
            let sighting = match kind {
                0 => Sighting::Present(digest.clone()),
                1 => Sighting::Missing,
                2 => Sighting::Broken(Defect { kind: DefectKind::Unsupported, message: "broken".into() }),
                _ => Sighting::Unknown(Doubt {
                    retry_after_secs: Some(build.into()),
                    ..Doubt::new(DoubtKind::Throttled, "later")
                }),
            };
            let evidence = |digest: Digest| ImageEvidence {
                children: PLATFORMS
                    .iter()
                    .map(|name| (name.parse().unwrap(), Sighting::Present(digest.clone())))
                    .collect(),
                digest,
                revisions: std::collections::BTreeMap::new(),
            };
            let asked_at = at(asked);
            let answer = match which {
                0 => {
                    let sighting =
                        sighting.map(|_| Arc::new([tag.as_str(), "latest"].iter().collect::<TagList>()));
                    Answer::List { image, sighted: Sighted { asked_at, sighting } }
                }
                1 => Answer::Look {
                    tag,
                    image,
                    sighted: Sighted { asked_at, sighting: sighting.map(evidence) },
                },
                2 => Answer::Drift { heads: [(image, Sighted { asked_at, sighting })].into() },
                _ => {
                    let checked = Checked { image, tag: sighting, children: Vec::new(), blobs: Vec::new() };
                    Answer::Confirm { tag, started_at: asked_at, checked: vec![checked] }
                }
            };
            (answer, now)
        },
    )
}

/// Faults stop, nothing is held, and one more release is pushed whole and sound.
fn heal(world: &mut World) {
    world.refused.clear();
    forget_order(world, false);
    world.marks = None;
    world.observation.named = Some("main-9".parse().unwrap());
    world.edit(|parts| (parts.suspend, parts.pin) = (false, None));
    for image in IMAGES {
        world.push(image, "main-9", &PLATFORMS, 7);
    }
    world.pass(SignedDuration::from_secs(180));
}
