//! A paper world: registries and smoke tests as plain maps, driven by the real `decide` in virtual time.
//!
//! It checks the invariants of design §7 at every commit against what the world holds at that instant, which
//! is more than the engine was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tidegate::engine::clearance::Floor;
use tidegate::engine::decide;
use tidegate::engine::decision::{Answer, Checked, Decision, Question};
use tidegate::engine::observation::{Marks, Observation};
use tidegate::engine::policy::{Gate, ImagePolicy, OnTagMoved, Policy, PolicyParts};
use tidegate::engine::record::{Outcome, Record};
use tidegate::invariants::{self, Commit, Truth};
use tidegate::model::{
    Digest, Doubt, DoubtKind, ImageEvidence, ImageName, Platform, Promoted, Repository, Revision, Sighted,
    Sighting, SmokeOutcome, SmokeVerdict, SmokeView, Tag, TagList,
};

/// Rounds after which the engine must have stopped asking.
const ROUNDS_MAX: usize = 16;

/// One image under one tag.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    /// Child digest of each platform.
    pub children: BTreeMap<Platform, Digest>,
    /// Revision annotation.
    pub revision: Option<String>,
}

/// Everything outside the engine.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    pub policy: Policy,
    pub observation: Observation,
    pub pushed: BTreeMap<(ImageName, Tag), Pushed>,
    /// Images whose registry answers nothing but "unauthorized".
    pub refused: BTreeSet<ImageName>,
    /// Exit code and duration of the smoke test of a child digest; absent means it exits with 0 at once.
    pub smoke: BTreeMap<Digest, (i32, SignedDuration)>,
    /// Started smoke tests: when they end.
    running: BTreeMap<tidegate::model::Binding, (Timestamp, Digest)>,
    /// Every commit, oldest first.
    pub commits: Vec<Promoted>,
    /// What `status.promoted` must be: only a commit moves it, and a restored backup.
    pub expected: Option<Promoted>,
    /// What marks say; `None` when they say what was committed last.
    pub marks: Option<Marks>,
    /// Status after each commit, by sequence.
    records: BTreeMap<i64, Record>,
    /// Every ended candidate, oldest first.
    pub ended: Vec<(Tag, Outcome)>,
    /// Every name that was ignored, oldest first.
    pub older: Vec<Tag>,
    /// The newest decision.
    pub decision: std::rc::Rc<Decision>,
    /// Requests since the start, by kind: list, look, head.
    pub requests: BTreeMap<&'static str, usize>,
    /// How old shared answers are, in percent of what the engine accepts; 0 means that nobody shares.
    pub shared_age_percent: i64,
    /// What registries held, each up to an instant.
    past: Vec<(Timestamp, Held)>,
}

/// What registries hold at one moment.
#[derive(Clone, Debug)]
struct Held {
    pushed: BTreeMap<(ImageName, Tag), Pushed>,
    refused: BTreeSet<ImageName>,
}

/// A digest that says what it is of.
pub fn digest(text: &str) -> Digest {
    tidegate::embedded::image::sha256(text.as_bytes()).parse().unwrap()
}

impl Pushed {
    /// Digest of the index: it changes when a child or the annotation does.
    pub fn digest(&self) -> Digest {
        digest(&format!("{self:?}"))
    }
}

impl Held {
    fn doubt() -> Doubt {
        Doubt::new(DoubtKind::Auth, "the registry refused the credential")
    }

    fn look(&self, image: &ImageName, tag: &Tag) -> Sighting<ImageEvidence> {
        if self.refused.contains(image) {
            return Sighting::Unknown(Self::doubt());
        }
        let Some(pushed) = self.pushed.get(&(image.clone(), tag.clone())) else { return Sighting::Missing };
        let children = pushed.children.iter();
        let revision = Revision { annotation: pushed.revision.clone(), label: None };
        Sighting::Present(ImageEvidence {
            digest: pushed.digest(),
            children: children.map(|(p, d)| (p.clone(), Sighting::Present(d.clone()))).collect(),
            revisions: [("org.opencontainers.image.revision".to_owned(), revision)].into(),
        })
    }
}

impl World {
    pub fn new(policy: Policy) -> Self {
        Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            policy,
            observation: Observation::default(),
            pushed: BTreeMap::new(),
            refused: BTreeSet::new(),
            smoke: BTreeMap::new(),
            running: BTreeMap::new(),
            commits: Vec::new(),
            expected: None,
            marks: None,
            records: BTreeMap::new(),
            ended: Vec::new(),
            older: Vec::new(),
            decision: std::rc::Rc::default(),
            requests: BTreeMap::new(),
            shared_age_percent: 0,
            past: Vec::new(),
        }
    }

    fn held(&self) -> Held {
        Held { pushed: self.pushed.clone(), refused: self.refused.clone() }
    }

    /// Time goes on: what is held now was held until now.
    fn go_to(&mut self, now: Timestamp) {
        let held = self.held();
        self.past.push((self.now, held));
        self.now = now;
    }

    /// When somebody else asked, whose answer is given to who accepts one of later than `since`; and what was held
    /// then.
    fn shared(&self, since: Timestamp) -> (Timestamp, Held) {
        let accepted = self.now.duration_since(since).max(SignedDuration::ZERO);
        // Later than `since`, not at it.
        let age = SignedDuration::from_millis(
            i64::try_from(accepted.as_millis()).unwrap() * self.shared_age_percent / 100,
        );
        let asked_at = self
            .now
            .checked_sub(age.min(accepted - SignedDuration::from_millis(1)).max(SignedDuration::ZERO))
            .unwrap();
        let past = self.past.iter().rev().find(|(until, _)| *until <= asked_at);
        match past {
            Some((_, held)) if asked_at < self.now => (asked_at, held.clone()),
            _ => (self.now, self.held()),
        }
    }

    /// Pushes an image for some platforms; what was there under the tag is replaced.
    pub fn push(&mut self, image: &str, tag: &str, platforms: &[&str], build: u32) {
        let children = platforms.iter().map(|platform| {
            (platform.parse().unwrap(), digest(&format!("{image} {tag} {platform} build {build}")))
        });
        let pushed = Pushed { children: children.collect(), revision: Some(format!("rev-of-{tag}")) };
        self.pushed.insert((image.parse().unwrap(), tag.parse().unwrap()), pushed);
    }

    /// From its first test on an image behaves as it does: its digest is what it is.
    pub fn break_smoke(&mut self, digest: Digest) {
        let tested = self.observation.smoke.keys().any(|binding| binding.as_str().contains(digest.as_str()));
        if !tested {
            self.smoke.insert(digest, (3, SignedDuration::from_secs(20)));
        }
    }

    /// An edit of the spec: another generation, under which everything is looked at anew.
    pub fn edit(&mut self, change: impl FnOnce(&mut PolicyParts)) {
        let mut parts = PolicyParts::clone(&self.policy);
        change(&mut parts);
        parts.generation += 1;
        self.policy = Policy::new(parts).unwrap();
        self.restart();
    }

    /// Status is as it was after the commit of that sequence, 0 for none at all; targets carry the last commit.
    pub fn restore(&mut self, sequence: i64) {
        self.observation.record = self.records.get(&sequence).cloned().unwrap_or_default();
        self.expected.clone_from(&self.observation.record.promoted);
        self.restart();
    }

    /// What the targets' marks say.
    fn read_marks(&self) -> Marks {
        let known = self.observation.record.promoted.as_ref().map_or(0, |promoted| promoted.sequence);
        match (&self.marks, self.commits.last()) {
            (Some(marks), _) => marks.clone(),
            (None, Some(last)) if last.sequence > known => {
                Marks::Highest { sequence: last.sequence, tag: Some(last.release.tag.clone()) }
            }
            (None, _) => Marks::InStep,
        }
    }

    /// A new process: everything that is not in status is gone.
    pub fn restart(&mut self) {
        self.observation.memory = tidegate::engine::memory::Memory::default();
    }

    /// Lets `span` pass, with a reconcile whenever the engine asked to be woken.
    pub fn pass(&mut self, span: SignedDuration) {
        let end = self.now.checked_add(span).unwrap();
        loop {
            self.reconcile();
            let smoke = self.running.values().map(|(ends, _)| *ends).filter(|ends| *ends > self.now).min();
            let next = [self.decision.next_look, smoke].into_iter().flatten().min();
            match next {
                Some(next) if next < end => {
                    assert!(next > self.now, "the engine must not wake at once: {next} at {}", self.now);
                    self.go_to(next);
                }
                _ => break,
            }
        }
        self.go_to(end);
        self.reconcile();
    }

    /// One reconcile: look and decide until nothing is asked, then act.
    pub fn reconcile(&mut self) {
        self.observation.marks = self.read_marks();
        self.settle_smoke();
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "still asking {:?}", self.decision.ask);
            let decision = decide(&self.policy, &self.observation, self.now);
            let again = decide(&self.policy, &self.observation, self.now);
            assert_eq!(decision, again, "decide is deterministic");
            let asks = decision.ask.clone();
            if asks.is_empty() {
                if self.act(decision) {
                    continue;
                }
                return;
            }
            self.decision = std::rc::Rc::new(decision);
            for question in asks {
                let answer = self.answer(question);
                self.observation.memory.absorb(&self.policy, &self.observation.record, answer, self.now);
            }
        }
    }

    /// Carries a decision out; true when it committed, so that the engine is asked again.
    fn act(&mut self, mut decision: Decision) -> bool {
        for request in &decision.start {
            let (_, span) = self.smoke.get(&request.digest).copied().unwrap_or((0, SignedDuration::ZERO));
            let ends = self.now.checked_add(span).unwrap();
            self.running.insert(request.binding.clone(), (ends, request.digest.clone()));
            let view = SmokeView::Running { since: self.now, waiting_for: None, due_at: None };
            self.observation.smoke.insert(request.binding.clone(), view);
        }
        let record = &mut self.observation.record;
        record.verdicts.clone_from(&decision.verdicts);
        record.candidates = decision.followed.iter().map(|candidate| candidate.record.clone()).collect();
        record.named.clone_from(&decision.named);
        self.older.extend(decision.named_older.clone());
        for ended in &decision.ended {
            record.recent.insert(0, ended.clone());
            record.recent.truncate(5);
            self.ended.push((ended.tag.clone(), ended.outcome));
            if ended.outcome == Outcome::Gone {
                self.observation.memory.forget_gone(&ended.tag);
            }
        }
        let granted = decision.commit.take();
        let committed = granted.is_some();
        if let Some(granted) = granted {
            let (promoted, floor) = granted.into_promoted(self.now);
            self.check_commit(&promoted, &floor);
            self.observation.memory.note_commit(&promoted, self.now);
            self.observation.record.promoted = Some(promoted.clone());
            self.observation.record.floor = Some(floor);
            self.records.insert(promoted.sequence, self.observation.record.clone());
            self.expected = Some(promoted.clone());
            self.commits.push(promoted);
        }
        let starts_now = decision.start.iter().any(|request| self.running[&request.binding].0 <= self.now);
        self.decision = std::rc::Rc::new(decision);
        if starts_now {
            self.settle_smoke();
        }
        committed || starts_now
    }

    fn settle_smoke(&mut self) {
        let ended: Vec<_> = self
            .running
            .iter()
            .filter(|(_, (ends, _))| *ends <= self.now)
            .map(|(b, r)| (b.clone(), r.clone()))
            .collect();
        for (binding, (at, digest)) in ended {
            self.running.remove(&binding);
            let (code, _) = self.smoke.get(&digest).copied().unwrap_or_default();
            let outcome = if code == 0 { SmokeOutcome::Passed } else { SmokeOutcome::Failed };
            let message = format!("exit code {code}");
            let verdict = SmokeVerdict {
                binding: binding.clone(),
                outcome,
                at,
                exit_code: Some(code),
                message,
                retry: 0,
                log: None,
            };
            self.observation.smoke.insert(binding, SmokeView::Ended(verdict));
        }
    }

    /// What the world says to a question.
    pub fn answer(&mut self, question: Question) -> Answer {
        let kind = match &question {
            Question::List { .. } => "list",
            Question::Look { .. } => "look",
            Question::Confirm { .. } | Question::Drift { .. } => "head",
        };
        *self.requests.entry(kind).or_default() += 1;
        match question {
            Question::List { image, since } => {
                let (asked_at, held) = self.shared(since);
                let sighted = Sighted { asked_at, sighting: self.list(&held, &image) };
                Answer::List { sighted, image }
            }
            Question::Look { tag, image, since } => {
                let (asked_at, held) = self.shared(since);
                let sighted = Sighted { asked_at, sighting: held.look(&image, &tag) };
                Answer::Look { tag, image, sighted }
            }
            Question::Confirm { tag, checks } => {
                let held = self.held();
                let checked = checks.into_iter().map(|check| {
                    let head = held.look(&check.image, &tag).map(|evidence| evidence.digest);
                    let pushed = self.pushed.get(&(check.image.clone(), tag.clone()));
                    let children = check.children.into_iter().map(|(platform, digest)| {
                        let there = pushed
                            .is_some_and(|pushed| pushed.children.values().any(|child| *child == digest));
                        let sighting = if there { Sighting::Present(()) } else { Sighting::Missing };
                        (platform, digest, sighting)
                    });
                    Checked { tag: head, children: children.collect(), blobs: Vec::new(), image: check.image }
                });
                Answer::Confirm { started_at: self.now, checked: checked.collect(), tag }
            }
            Question::Drift { release, since } => {
                let (asked_at, held) = self.shared(since);
                let heads = release.images.iter().map(|image| {
                    let sighting = held.look(&image.name, &release.tag).map(|evidence| evidence.digest);
                    (image.name.clone(), Sighted { asked_at, sighting })
                });
                Answer::Drift { heads: heads.collect() }
            }
        }
    }

    fn list(&self, held: &Held, image: &ImageName) -> Sighting<Arc<TagList>> {
        if held.refused.contains(image) {
            return Sighting::Unknown(Held::doubt());
        }
        let template = &self.policy.image(image).unwrap().tag_template;
        let tags = held.pushed.keys().filter(|(name, _)| name == image);
        let tags = tags.filter_map(|(_, tag)| template.render(tag.as_str())).map(|tag| tag.to_string());
        Sighting::Present(Arc::new(tags.collect()))
    }

    /// S1 to S5 and S7 against the world as it is at this instant: the confirming look is made at the same one.
    fn check_commit(&self, promoted: &Promoted, floor: &Floor) {
        let Observation { record, marks, deleting, .. } = &self.observation;
        let commit = Commit {
            policy: &self.policy,
            deleting: *deleting,
            before: record,
            marks,
            after: promoted,
            floor: Some(floor),
            verdicts: &record.verdicts,
            looked_and_written: None,
        };
        let highest = self.commits.last().map_or(0, |last| last.sequence);
        let broken = invariants::check_commit(&commit, self, highest);
        assert!(
            broken.is_empty(),
            "{}",
            broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        );
        let known = record.promoted.as_ref().filter(|known| known.release.tag == promoted.release.tag);
        if let Some(known) = known.filter(|_| self.policy.pin.is_none()) {
            self.check_again(known, promoted);
        }
    }

    /// The promoted tag is committed again for a reason, and under `Report` with its required children only.
    fn check_again(&self, known: &Promoted, promoted: &Promoted) {
        let same_children = known.release.images.iter().all(|image| {
            let now = promoted.release.images.iter().find(|now| now.name == image.name);
            now.is_none_or(|now| {
                let kept = |(platform, digest): &(Platform, Digest)| {
                    let now = now.platforms.iter().find(|(now, _)| now == platform);
                    now.is_none_or(|(_, now)| now == digest)
                };
                now.repository != image.repository || image.platforms.iter().all(kept)
            })
        });
        let repromoted = self.policy.on_tag_moved == OnTagMoved::Repromote;
        assert!(same_children || repromoted, "{}: moved, and committed under Report", known.release.tag);
        let ahead =
            matches!(self.observation.marks, Marks::Highest { sequence, .. } if sequence > known.sequence);
        let edited = known.generation != self.policy.generation;
        assert!(edited || ahead || !same_children, "{}: committed again for nothing", known.release.tag);
    }
}

impl World {
    /// The images of a repository: several, where templates tell them apart.
    fn images_at<'a>(&'a self, repository: &'a Repository) -> impl Iterator<Item = &'a ImagePolicy> {
        self.policy.images.iter().filter(move |image| image.place.repository() == Some(repository))
    }

    /// What is held there under a tag as it stands in the registry, or as `is_it` knows it.
    fn held_at(&self, repository: &Repository, is_it: impl Fn(&Tag, &Pushed) -> bool) -> Option<&Pushed> {
        self.images_at(repository).find_map(|image| {
            let of_image = self.pushed.iter().filter(|((name, _), _)| *name == image.name);
            let mut rendered = of_image
                .filter_map(|((_, tag), pushed)| Some((image.tag_template.render(tag.as_str())?, pushed)));
            rendered.find(|(tag, pushed)| is_it(tag, pushed)).map(|(_, pushed)| pushed)
        })
    }
}

impl Truth for World {
    fn pointed_at(&self, repository: &Repository, tag: &Tag) -> Vec<Digest> {
        self.held_at(repository, |known, _| known == tag).map(Pushed::digest).into_iter().collect()
    }

    fn child(&self, repository: &Repository, index: &Digest, platform: &Platform) -> Option<Digest> {
        self.held_at(repository, |_, pushed| pushed.digest() == *index)?.children.get(platform).cloned()
    }

    fn answers(&self, repository: &Repository) -> bool {
        self.images_at(repository).any(|image| !self.refused.contains(&image.name))
    }

    fn passes(&self, _: &Gate, _: &Repository, _: &Platform, child: &Digest) -> Option<bool> {
        let ran = self.observation.smoke.values().any(|view| {
            matches!(view, SmokeView::Ended(verdict) if verdict.binding.as_str().contains(child.as_str()))
        });
        ran.then(|| self.smoke.get(child).is_none_or(|(code, _)| *code == 0))
    }
}
