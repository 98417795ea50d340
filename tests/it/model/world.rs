//! The small world: its states, and everything that can happen next in each.

use std::fmt;

use tidegate::engine::observation::Marks;
use tidegate::engine::policy::Gate;
use tidegate::engine::{CHILD_SEEN_LIFE, CONFIRMATION_LIFE};
use tidegate::invariants::{self, Commit, Truth, Violation};
use tidegate::model::{Digest, Platform, Promoted, Repository, Tag};

use super::brain::{Brain, FAILED, Held, Id, JOBS, Known, PASSED, REFUSED, RUNNING, Wish, job_of};
use super::mutants::Mutant;
use super::paper::{ABSENT, DANGLING, FIRST, IMAGES, PAPER, SECOND, Spec, TAGS, TESTED};

/// How often each kind of event may happen on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub pushes: u8,
    pub deletions: u8,
    pub refusals: u8,
    pub waits: u8,
    pub crashes: u8,
    pub lost: u8,
    pub stale: u8,
    pub jumps: u8,
    pub edits: u8,
    pub failures: u8,
    pub recreations: u8,
}

/// Which events a world has, and how many of each.
#[expect(clippy::struct_excessive_bools, reason = "what a world has, each for itself")]
#[derive(Clone, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub budget: Budget,
    pub controllers: usize,
    /// What may be pushed: image, tag, content.
    pub pushes: Vec<(usize, usize, u8)>,
    /// What is there in the beginning.
    pub held: Held,
    pub edits: Vec<Spec>,
    /// The set may be deleted, which is one edit.
    pub deletes_set: bool,
    /// Spans that may pass, in seconds.
    pub waits: Vec<u16>,
    /// Anything may happen between the answers of two images; else only between two rounds.
    pub fine: bool,
    /// All registries may refuse at once.
    pub outages: bool,
    /// From each state the continuation without faults is walked (L1).
    pub liveness: bool,
    /// The first release was promoted before anything else happens.
    pub settled: bool,
    /// Breadth first up to so many states, where there are more.
    pub states_max: usize,
    pub mutant: Option<Mutant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Idle,
    /// Answers of images before `next` are taken in.
    Round,
    /// HEADs of images before `next` have come.
    Confirm,
    /// The commit is about to be written.
    Commit,
    /// The report is about to be written.
    Report,
}

/// One process. All but memory and clock is of the reconcile under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    pub memory: Id,
    memory_generation: u8,
    /// Its wall clock beside the true one.
    hours: i8,
    pub stage: Stage,
    /// Nothing was written since it read the set.
    fresh: bool,
    object: Object,
    jobs: u16,
    marks: u8,
    ask: Id,
    images: u8,
    next: u8,
    heads: [u8; 3],
    /// When the confirming look began, by its own clock.
    looked: i64,
    /// The same by the true clock.
    looked_truly: u16,
    tag: u8,
    /// What each image held, and whether it answered, since the look began: a bit for each content.
    window: [u8; 3],
    write: Id,
    noted: Id,
}

/// What the API server holds of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    pub record: Id,
    pub spec: Spec,
    pub generation: u8,
    pub deleting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub held: Held,
    /// A bit for each image whose registry refuses; the fourth for targets that cannot be read.
    pub refused: u8,
    pub jobs: u16,
    pub object: Object,
    /// What a stale read gives.
    before: Object,
    pub highest: u8,
    /// Tag of the highest commit.
    last: u8,
    pub now: u16,
    pub controllers: [Controller; 2],
    /// When the arm64 child of each tag of the third image was lost.
    lost_at: [u16; TAGS.len()],
    pub used: Budget,
    /// How often a clock may jump yet.
    jumps_left: u8,
}

/// In the place of an image: all of them.
const ALL: usize = 4;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A controller does the next thing.
    Step(usize),
    /// Its write is lost: before it arrives, or with its reply.
    Lose(usize, bool),
    /// It reads the set as it was before the last write.
    ReadStale(usize),
    Crash(usize),
    Jump(usize, i8),
    Push(usize, usize, u8),
    Delete(usize, usize),
    LoseChild(usize, usize),
    Refuse(usize),
    Admit(usize),
    Wait(u16),
    Edit(Spec),
    DeleteSet,
    /// Deleted, and made again without a status.
    Recreate,
    End(usize, bool),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |controller: &usize| ["a", "b"][*controller];
        match self {
            Self::Step(c) => write!(f, "{} goes on", who(c)),
            Self::Lose(c, false) => write!(f, "{}'s write is lost", who(c)),
            Self::Lose(c, true) => write!(f, "{}'s write is applied, its reply is lost", who(c)),
            Self::ReadStale(c) => write!(f, "{} reads the set as it was before", who(c)),
            Self::Crash(c) => write!(f, "{} crashes", who(c)),
            Self::Jump(c, hours) => write!(f, "{}'s clock jumps by {hours} h", who(c)),
            Self::Push(i, t, content) => write!(f, "push {}:{} as {content}", IMAGES[*i], TAGS[*t]),
            Self::Delete(i, t) => write!(f, "delete {}:{}", IMAGES[*i], TAGS[*t]),
            Self::LoseChild(i, t) => write!(f, "the arm64 child of {}:{} goes", IMAGES[*i], TAGS[*t]),
            Self::Refuse(ALL) => write!(f, "every registry refuses"),
            Self::Admit(ALL) => write!(f, "every registry answers"),
            Self::Refuse(3) => write!(f, "targets cannot be read"),
            Self::Refuse(i) => write!(f, "the registry of {} refuses", IMAGES[*i]),
            Self::Admit(3) => write!(f, "targets can be read"),
            Self::Admit(i) => write!(f, "the registry of {} answers", IMAGES[*i]),
            Self::Wait(secs) => write!(f, "{secs} s pass"),
            Self::Edit(spec) => write!(f, "the spec becomes {spec:?}"),
            Self::DeleteSet => write!(f, "the set is being deleted"),
            Self::Recreate => write!(f, "the set is made anew, without a status"),
            Self::End(job, passed) => {
                let build = if job % 2 == 1 { "second" } else { "first" };
                let word = if *passed { "passes" } else { "fails" };
                write!(f, "the smoke test of worker:{}, {build} build, {word}", TAGS[job / 2])
            }
        }
    }
}

/// The world while one commit is taken.
struct Window<'a> {
    state: &'a State,
    tag: usize,
    seen: [u8; 3],
}

impl Truth for Window<'_> {
    fn pointed_at(&self, repository: &Repository, _tag: &Tag) -> Vec<Digest> {
        let image = PAPER.repository(repository);
        let codes = (1..8_u8).filter(|code| self.seen[image] & 1 << code != 0);
        codes.filter_map(|code| PAPER.index(image, self.tag, code).cloned()).collect()
    }

    fn child(&self, repository: &Repository, index: &Digest, platform: &Platform) -> Option<Digest> {
        let image = PAPER.repository(repository);
        let place = PAPER.platforms.iter().position(|known| known == platform)?;
        // What a tag held keeps its children when the tag is moved; only a lost child is gone.
        let codes = (1..5_u8).filter(|code| self.seen[image] & 1 << code != 0);
        let codes = codes.filter(|code| PAPER.index(image, self.tag, *code) == Some(index));
        // A child that was seen a moment ago is not asked for again.
        let lost_for = i64::from(self.state.now - self.state.lost_at[self.tag]);
        let gone = place == 1 && lost_for > CHILD_SEEN_LIFE.as_secs();
        let mut there = codes.filter(|code| !(*code == DANGLING && gone));
        there.find_map(|code| PAPER.child(image, self.tag, code, place).cloned())
    }

    fn answers(&self, repository: &Repository) -> bool {
        self.seen[PAPER.repository(repository)] & 1 << REFUSED != 0
    }

    fn passes(&self, _: &Gate, _: &Repository, _: &Platform, child: &Digest) -> Option<bool> {
        let job = PAPER.job_of(child)?;
        match self.state.jobs >> (2 * job) & 3 {
            PASSED => Some(true),
            FAILED => Some(false),
            _ => None,
        }
    }
}

/// A state that may follow, and what was broken on the way.
pub struct Next {
    pub action: Action,
    pub state: State,
    pub broken: Vec<Violation>,
}

impl State {
    pub fn first(bounds: &Bounds, brain: &Brain) -> Self {
        let object = Object { record: brain.empty, spec: Spec::Base, generation: 1, deleting: false };
        let controller = Controller::new(brain);
        let mut first = Self {
            held: bounds.held,
            refused: 0,
            jobs: 0,
            object,
            before: object,
            highest: 0,
            last: 0,
            now: 0,
            controllers: [controller; 2],
            lost_at: [0; TAGS.len()],
            used: Budget::default(),
            jumps_left: 0,
        };
        while bounds.settled && !(first.is_promoted(0, brain) && first.is_idle()) {
            first.go_on(brain).unwrap();
        }
        first.jumps_left = bounds.budget.jumps;
        first
    }

    fn is_idle(&self) -> bool {
        self.controllers.iter().all(|controller| controller.stage == Stage::Idle)
    }

    /// Everything that may happen next, always in the same order.
    pub fn next(&self, bounds: &Bounds, brain: &Brain) -> Vec<Next> {
        let mut next = Vec::new();
        for action in self.actions(bounds) {
            let mut state = *self;
            let mut broken = state.happen(action, brain);
            if let Action::Step(c) = action
                && !bounds.fine
            {
                while state.controllers[c].is_in_round() {
                    broken.extend(state.happen(action, brain));
                }
            }
            if state != *self {
                next.push(Next { action, state, broken });
            }
        }
        next
    }

    fn actions(&self, bounds: &Bounds) -> Vec<Action> {
        let (used, max) = (&self.used, &bounds.budget);
        let mut actions = Vec::new();
        for c in 0..bounds.controllers {
            let controller = &self.controllers[c];
            actions.push(Action::Step(c));
            if matches!(controller.stage, Stage::Commit | Stage::Report) && used.lost < max.lost {
                actions.extend([Action::Lose(c, false), Action::Lose(c, true)]);
            }
            if controller.stage == Stage::Idle && used.stale < max.stale && self.before != self.object {
                actions.push(Action::ReadStale(c));
            }
            if used.crashes < max.crashes {
                actions.push(Action::Crash(c));
            }
            if used.jumps < max.jumps {
                actions.extend([Action::Jump(c, 1), Action::Jump(c, -1)]);
            }
        }
        if used.pushes < max.pushes {
            actions
                .extend(bounds.pushes.iter().map(|&(image, tag, content)| Action::Push(image, tag, content)));
        }
        for (image, tag) in (0..IMAGES.len()).flat_map(|image| (0..TAGS.len()).map(move |tag| (image, tag))) {
            if used.deletions < max.deletions && self.held[image][tag] != ABSENT {
                actions.push(Action::Delete(image, tag));
                if self.held[image][tag] == FIRST && image == 2 {
                    actions.push(Action::LoseChild(image, tag));
                }
            }
        }
        let refusable = if max.recreations > 0 { 4 } else { 3 };
        if bounds.outages && self.refused == 7 {
            actions.push(Action::Admit(ALL));
        } else if bounds.outages && used.refusals < max.refusals {
            actions.push(Action::Refuse(ALL));
        }
        let refusable = if bounds.outages { 0 } else { refusable };
        for image in 0..refusable {
            if self.refused & 1 << image != 0 {
                actions.push(Action::Admit(image));
            } else if used.refusals < max.refusals {
                actions.push(Action::Refuse(image));
            }
        }
        if used.waits < max.waits {
            actions.extend(bounds.waits.iter().map(|secs| Action::Wait(*secs)));
        }
        if used.edits < max.edits && !self.object.deleting {
            actions.extend(bounds.edits.iter().map(|spec| Action::Edit(*spec)));
            actions.extend(bounds.deletes_set.then_some(Action::DeleteSet));
        }
        if used.recreations < max.recreations {
            actions.push(Action::Recreate);
        }
        for job in (0..JOBS).filter(|job| self.jobs >> (2 * job) & 3 == RUNNING) {
            actions.push(Action::End(job, true));
            if used.failures < max.failures {
                actions.push(Action::End(job, false));
            }
        }
        actions
    }

    /// Lets one thing happen; what it broke.
    pub fn happen(&mut self, action: Action, brain: &Brain) -> Vec<Violation> {
        let mut broken = Vec::new();
        let used = &mut self.used;
        match action {
            Action::Step(c) => broken = self.step(c, brain, None),
            Action::Lose(c, applied) => {
                used.lost += 1;
                broken = self.step(c, brain, Some(applied));
            }
            Action::ReadStale(c) => {
                used.stale += 1;
                let object = self.before;
                self.read(c, brain, object, false);
            }
            Action::Crash(c) => {
                used.crashes += 1;
                let hours = self.controllers[c].hours;
                self.controllers[c] = Controller { hours, ..Controller::new(brain) };
            }
            Action::Jump(c, hours) => {
                used.jumps += 1;
                self.jumps_left -= 1;
                self.controllers[c].hours += hours;
            }
            Action::Push(image, tag, content) => {
                used.pushes += 1;
                self.held[image][tag] = content;
            }
            Action::Delete(image, tag) => {
                used.deletions += 1;
                self.held[image][tag] = ABSENT;
            }
            Action::LoseChild(image, tag) => {
                used.deletions += 1;
                self.held[image][tag] = DANGLING;
                self.lost_at[tag] = self.now;
            }
            Action::Refuse(image) => {
                used.refusals += 1;
                self.refused |= if image == ALL { 7 } else { 1 << image };
            }
            Action::Admit(image) => self.refused &= if image == ALL { !7 } else { !(1 << image) },
            Action::Wait(secs) => {
                used.waits += 1;
                self.now += secs;
            }
            Action::Edit(spec) => {
                used.edits += 1;
                self.edit(spec);
            }
            Action::DeleteSet => {
                used.edits += 1;
                let object = Object { deleting: true, ..self.object };
                self.write(object);
            }
            Action::Recreate => {
                used.recreations += 1;
                self.recreate(brain);
            }
            Action::End(job, passed) => {
                used.failures += u8::from(!passed);
                self.jobs &= !(3 << (2 * job));
                self.jobs |= (if passed { PASSED } else { FAILED }) << (2 * job);
            }
        }
        self.watch_windows();
        broken
    }

    fn edit(&mut self, spec: Spec) {
        if spec != self.object.spec {
            self.write(Object { spec, generation: self.object.generation + 1, ..self.object });
        }
    }

    fn recreate(&mut self, brain: &Brain) {
        let object = Object { record: brain.empty, generation: 1, deleting: false, ..self.object };
        self.write(object);
        // Another uid: nothing that was known of the old one counts, and nothing written for it arrives.
        for controller in &mut self.controllers {
            controller.memory = brain.fresh;
            controller.memory_generation = 0;
        }
    }

    fn write(&mut self, object: Object) {
        self.before = self.object;
        self.object = object;
        self.controllers.iter_mut().for_each(|controller| controller.fresh = false);
    }

    /// What images hold now was so in every window that is open.
    fn watch_windows(&mut self) {
        let now = |tag: u8| self.window_now(usize::from(tag));
        let windows = self.controllers.map(|controller| now(controller.tag));
        for (controller, now) in self.controllers.iter_mut().zip(windows) {
            let opens = controller.stage == Stage::Confirm;
            if opens || controller.window != [0; 3] {
                controller.window.iter_mut().zip(now).for_each(|(window, now)| *window |= now);
            }
        }
        for c in 0..self.controllers.len() {
            let age = self.clock(c) - self.controllers[c].looked;
            let idle = self.controllers[c].stage == Stage::Idle;
            // A clock that is set back makes an old look young again.
            if idle && age >= CONFIRMATION_LIFE.as_secs() && self.jumps_left == 0 {
                self.controllers[c].forget_look();
            }
        }
    }

    fn window_now(&self, tag: usize) -> [u8; 3] {
        [0, 1, 2].map(|image| {
            let answers = u8::from(self.refused & 1 << image == 0) << REFUSED;
            answers | 1 << self.held[image][tag]
        })
    }

    fn known(&self, c: usize) -> Known {
        let controller = &self.controllers[c];
        Known {
            memory: controller.memory,
            record: controller.object.record,
            spec: controller.object.spec,
            generation: controller.object.generation,
            jobs: controller.jobs,
            marks: controller.marks,
            now: self.clock(c),
        }
    }

    fn clock(&self, c: usize) -> i64 {
        i64::from(self.now) + i64::from(self.controllers[c].hours) * 3600
    }

    fn read(&mut self, c: usize, brain: &Brain, object: Object, fresh: bool) {
        let promoted = brain.record(object.record).promoted.as_ref().map_or(0, |known| known.sequence);
        let marks = if promoted == 0 && self.refused & 8 != 0 {
            255
        } else if promoted < self.highest.into() {
            self.highest * 4 + self.last
        } else {
            0
        };
        let controller = &mut self.controllers[c];
        if object.deleting {
            return;
        }
        if controller.memory_generation != object.generation {
            controller.memory = brain.fresh;
            controller.memory_generation = object.generation;
        }
        (controller.object, controller.fresh) = (object, fresh);
        (controller.jobs, controller.marks) = (self.jobs, marks);
        self.decide(c, brain);
    }

    /// Asks the engine, and begins what it wants.
    fn decide(&mut self, c: usize, brain: &Brain) {
        let wish = brain.wish(&self.known(c));
        let started = match wish {
            Wish::Rest { start, .. } => start,
            _ => 0,
        };
        for job in (0..JOBS).filter(|job| started & 1 << job != 0) {
            if self.job(job) == 0 {
                self.jobs |= RUNNING << (2 * job);
            }
        }
        let (clock, now) = (self.clock(c), self.now);
        let controller = &mut self.controllers[c];
        match wish {
            Wish::Ask { ask, images, confirm } => {
                controller.ask = ask;
                controller.images = images;
                controller.next = u8::try_from(images.trailing_zeros()).unwrap();
                controller.stage = Stage::Round;
                if let Some(tag) = confirm {
                    controller.stage = Stage::Confirm;
                    (controller.tag, controller.looked, controller.looked_truly) = (tag, clock, now);
                    (controller.heads, controller.window) = ([0; 3], [0; 3]);
                }
            }
            Wish::Commit { record, memory, noted, looked } => {
                controller.stage = Stage::Commit;
                (controller.write, controller.memory, controller.noted) = (record, memory, noted);
                controller.looked = looked;
            }
            Wish::Rest { record, memory, .. } => {
                controller.memory = memory;
                if record == controller.object.record {
                    controller.rest();
                } else {
                    (controller.stage, controller.write) = (Stage::Report, record);
                }
            }
        }
    }

    /// How one test stands.
    fn job(&self, job: usize) -> u16 {
        self.jobs >> (2 * job) & 3
    }

    fn step(&mut self, c: usize, brain: &Brain, lost: Option<bool>) -> Vec<Violation> {
        let controller = self.controllers[c];
        match controller.stage {
            Stage::Idle => self.read(c, brain, self.object, true),
            Stage::Round => {
                let image = usize::from(controller.next);
                let known = self.known(c);
                let memory = brain.absorb(&known, controller.ask, image, &self.held, self.refused);
                self.controllers[c].memory = memory;
                if !self.controllers[c].go_on() {
                    self.decide(c, brain);
                }
            }
            Stage::Confirm => {
                let image = usize::from(controller.next);
                let refused = self.refused & 1 << image != 0;
                let unseen = refused && brain.mutant != Some(Mutant::UnknownIsPresent);
                let head = if unseen { REFUSED } else { self.held[image][usize::from(controller.tag)] };
                self.controllers[c].heads[image] = head;
                if !self.controllers[c].go_on() {
                    let (known, heads) = (self.known(c), self.controllers[c].heads);
                    self.controllers[c].memory =
                        brain.confirm(&known, controller.ask, heads, controller.looked);
                    self.decide(c, brain);
                }
            }
            Stage::Commit => return self.commit(c, brain, lost),
            Stage::Report => return self.report(c, brain, lost),
        }
        Vec::new()
    }

    /// Whether the API server takes this write.
    fn takes(&self, c: usize, brain: &Brain) -> bool {
        let lax = [Mutant::VersionIgnored, Mutant::VersionAndRuleIgnored];
        let version_ignored = brain.mutant.is_some_and(|mutant| lax.contains(&mutant));
        let new_promoted = brain.record(self.controllers[c].write).promoted.clone();
        let old_promoted = brain.record(self.object.record).promoted.clone();
        let rule = rule_allows(old_promoted.as_ref(), new_promoted.as_ref())
            || brain.mutant == Some(Mutant::VersionAndRuleIgnored);
        (self.controllers[c].fresh || version_ignored) && rule
    }

    fn commit(&mut self, c: usize, brain: &Brain, lost: Option<bool>) -> Vec<Violation> {
        let controller = self.controllers[c];
        let age = self.clock(c) - controller.looked;
        if !(0..CONFIRMATION_LIFE.as_secs()).contains(&age) && brain.mutant != Some(Mutant::LateWrite) {
            self.controllers[c].rest();
            return Vec::new();
        }
        let mut broken = Vec::new();
        let applied = lost.unwrap_or(true) && self.takes(c, brain);
        if applied {
            broken = self.check_commit(c, brain);
            let promoted = brain.record(controller.write).promoted.clone().unwrap();
            self.highest = u8::try_from(promoted.sequence).unwrap();
            self.last = u8::try_from(PAPER.tag(&promoted.release.tag)).unwrap();
            self.write(Object { record: controller.write, ..self.object });
        }
        let controller = &mut self.controllers[c];
        match (lost, applied) {
            // An answer that did not come ends the reconcile, and what it knew goes with it.
            (Some(_), _) => {
                controller.memory = brain.fresh;
                controller.rest();
            }
            (None, false) => controller.rest(),
            (None, true) => {
                controller.memory = controller.noted;
                controller.object = self.object;
                (controller.fresh, controller.marks) = (true, 0);
                self.decide(c, brain);
            }
        }
        broken
    }

    fn report(&mut self, c: usize, brain: &Brain, lost: Option<bool>) -> Vec<Violation> {
        let controller = self.controllers[c];
        let mut broken = Vec::new();
        if lost.unwrap_or(true) && self.takes(c, brain) {
            let (before, after) = (brain.record(self.object.record), brain.record(controller.write));
            broken.extend(invariants::s6_only_a_commit_moves_it(&before, &after));
            let highest = self.highest.into();
            broken.extend(invariants::s4_sequence(
                before.promoted.as_ref(),
                after.promoted.as_ref(),
                highest,
            ));
            self.write(Object { record: controller.write, ..self.object });
        }
        if lost.is_some() {
            // The reconcile failed at its very end; its memory was kept before.
            self.controllers[c].fresh = false;
        }
        self.controllers[c].rest();
        broken
    }

    fn check_commit(&self, c: usize, brain: &Brain) -> Vec<Violation> {
        let controller = &self.controllers[c];
        let (before, after) = (brain.record(self.object.record), brain.record(controller.write));
        let promoted = after.promoted.as_ref().unwrap();
        let tag = PAPER.tag(&promoted.release.tag);
        let marks = Marks::Highest {
            sequence: self.highest.into(),
            tag: Some(PAPER.tags[usize::from(self.last)].clone()),
        };
        let mut window = self.window_now(tag);
        if usize::from(controller.tag) == tag {
            window.iter_mut().zip(controller.window).for_each(|(now, seen)| *now |= seen);
        }
        let commit = Commit {
            policy: PAPER.policy(self.object.spec, self.object.generation),
            deleting: self.object.deleting,
            before: &before,
            marks: if self.highest > 0 { &marks } else { &Marks::InStep },
            after: promoted,
            floor: after.floor.as_ref(),
            verdicts: &after.verdicts,
            looked_and_written: Some((PAPER.at(controller.looked_truly.into()), PAPER.at(self.now.into()))),
        };
        invariants::check_commit(&commit, &Window { state: self, tag, seen: window }, self.highest.into())
    }

    /// The end of faults, as far as people and machines bring it about: registries answer, the spec is sound, and there is
    /// a release that passes. Which release must be promoted then; `None` for a set that is being deleted.
    pub fn heal(&mut self, brain: &Brain) -> Option<usize> {
        if self.object.deleting {
            return None;
        }
        self.refused = 0;
        self.used = Budget::default();
        self.jumps_left = 0;
        self.edit(Spec::Base);
        self.before = self.object;
        let record = brain.record(self.object.record);
        let floor = [
            record.floor.as_ref().map(|floor| &floor.tag),
            record.promoted.as_ref().map(|known| &known.release.tag),
        ];
        let floor = floor.into_iter().flatten().map(|tag| PAPER.tag(tag) + 1).max().unwrap_or(0);
        let floor = floor.max(if self.highest > 0 { usize::from(self.last) + 1 } else { 0 });
        let passes = |tag: &usize| {
            let complete = (0..3).all(|image| {
                let content = self.held[image][*tag];
                if image == 2 { matches!(content, FIRST | SECOND) } else { content != ABSENT }
            });
            complete && self.jobs >> (2 * job_of(*tag, self.held[TESTED][*tag])) & 3 != FAILED
        };
        let newest = (floor..TAGS.len()).rev().find(passes);
        Some(newest.unwrap_or_else(|| {
            self.held.iter_mut().for_each(|tags| tags[TAGS.len() - 1] = FIRST);
            TAGS.len() - 1
        }))
    }

    /// One step without faults: tests pass, a controller that is in the middle goes on, time passes when nothing is due.
    /// `None` when nothing will ever happen again.
    pub fn go_on(&mut self, brain: &Brain) -> Option<()> {
        if let Some(busy) = [1, 0].into_iter().find(|c| self.controllers[*c].stage != Stage::Idle) {
            self.happen(Action::Step(busy), brain);
            return Some(());
        }
        self.used = Budget::default();
        self.before = self.object;
        if let Some(job) = (0..JOBS).find(|job| self.jobs >> (2 * job) & 3 == RUNNING) {
            self.happen(Action::End(job, true), brain);
            return Some(());
        }
        let before = *self;
        self.happen(Action::Step(0), brain);
        if *self != before {
            return Some(());
        }
        let mut known = self.known(0);
        known.record = self.object.record;
        (known.spec, known.generation) = (self.object.spec, self.object.generation);
        (known.jobs, known.marks) = (self.jobs, self.marks_of(brain));
        let Wish::Rest { next: Some(next), .. } = brain.wish(&known) else { return None };
        let wait = next - self.clock(0);
        self.now = self.now.checked_add(u16::try_from(wait.max(1)).ok()?)?;
        Some(())
    }

    fn marks_of(&self, brain: &Brain) -> u8 {
        let promoted = brain.record(self.object.record).promoted.as_ref().map_or(0, |known| known.sequence);
        if promoted < self.highest.into() { self.highest * 4 + self.last } else { 0 }
    }

    /// L1: `tag`, or something newer, is promoted.
    pub fn is_promoted(&self, tag: usize, brain: &Brain) -> bool {
        let record = brain.record(self.object.record);
        record.promoted.as_ref().is_some_and(|known| PAPER.tag(&known.release.tag) >= tag)
    }
}

impl Controller {
    const IDLE: Self = Self {
        memory: 0,
        memory_generation: 0,
        hours: 0,
        stage: Stage::Idle,
        fresh: false,
        object: Object { record: 0, spec: Spec::Base, generation: 0, deleting: false },
        jobs: 0,
        marks: 0,
        ask: 0,
        images: 0,
        next: 0,
        heads: [0; 3],
        looked: 0,
        looked_truly: 0,
        tag: 0,
        window: [0; 3],
        write: 0,
        noted: 0,
    };

    fn new(brain: &Brain) -> Self {
        Self { memory: brain.fresh, ..Self::IDLE }
    }

    /// The reconcile is over: nothing of it is left but what is known.
    fn rest(&mut self) {
        let Self { memory, memory_generation, hours, looked, looked_truly, tag, window, .. } = *self;
        let kept = Self { memory, memory_generation, hours, ..Self::IDLE };
        *self = Self { looked, looked_truly, tag, window, ..kept };
    }

    /// No confirming look is known any more that a commit could come from.
    fn forget_look(&mut self) {
        (self.looked, self.looked_truly, self.tag, self.window) = (0, 0, 0, [0; 3]);
    }

    /// To the next image that something is asked of; false after the last.
    fn go_on(&mut self) -> bool {
        let left = u16::from(self.images) >> (self.next + 1);
        if left == 0 {
            return false;
        }
        self.next += 1 + u8::try_from(left.trailing_zeros()).unwrap();
        true
    }

    /// Some answers of a round are in, and others are not.
    fn is_in_round(&self) -> bool {
        let first = u8::try_from(self.images.trailing_zeros()).unwrap();
        matches!(self.stage, Stage::Round | Stage::Confirm) && self.next > first
    }
}

/// The transition rule of the CRD (design §3).
fn rule_allows(old: Option<&Promoted>, new: Option<&Promoted>) -> bool {
    let Some(old) = old else { return true };
    new.is_some_and(|new| {
        new.sequence > old.sequence || (new.sequence == old.sequence && new.release.tag == old.release.tag)
    })
}
