//! The real engine, asked once for each distinct question: `decide` and `absorb` behind a memory of answers.
//!
//! What a controller knows is a value of the engine; states name it by a hash of its text, so that two controllers that
//! know the same are in the same state however they came to know it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use tidegate::engine::decide;
use tidegate::engine::decision::{Answer, Candidate, Checked, Decision, Question};
use tidegate::engine::memory::Memory;
use tidegate::engine::observation::{Marks, Observation};
use tidegate::engine::policy::Policy;
use tidegate::engine::record::{Outcome, Record};
use tidegate::model::{Binding, Sighted, Sighting, SmokeOutcome, SmokeVerdict, SmokeView, TagList};

use super::mutants::Mutant;
use super::paper::{ABSENT, CONTENTS, DANGLING, PAPER, SECOND, Spec, TAGS, doubt};
use tidegate::invariants::{self, Violation};

/// Tests of one tag each: by tag and build, two bits in the mask of a state.
pub const JOBS: usize = TAGS.len() * 2;
pub const RUNNING: u16 = 1;
pub const PASSED: u16 = 2;
pub const FAILED: u16 = 3;
/// What a HEAD found when the registry refused.
pub const REFUSED: u8 = 7;
const SHARDS: usize = 16;

/// Name of a value: a hash of its text.
pub type Id = u64;
/// What the three images hold under the four tags, 3 bits each.
pub type Held = [[u8; TAGS.len()]; 3];

/// What a controller read, and knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Known {
    pub memory: Id,
    pub record: Id,
    pub spec: Spec,
    pub generation: u8,
    pub jobs: u16,
    /// `0`: in step; `255`: unreadable; else sequence × 4 + tag.
    pub marks: u8,
    /// By the controller's own clock.
    pub now: i64,
}

/// What the engine wants.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// Ask the registry. `images` says whose questions there are; `confirm` names the tag of a confirming look.
    Ask { ask: Id, images: u8, confirm: Option<u8> },
    /// Write this record; with it written, `noted` is what is known.
    Commit { record: Id, memory: Id, noted: Id, looked: i64 },
    /// Start these tests (a bit each), and report this record; look again then.
    Rest { start: u8, record: Id, memory: Id, next: Option<i64> },
}

struct Shards<K, V>(Vec<Mutex<HashMap<K, V>>>);

impl<K: Hash + Eq, V: Clone> Shards<K, V> {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn shard(&self, key: &K) -> &Mutex<HashMap<K, V>> {
        &self.0[usize::try_from(hash(key) % SHARDS as u64).unwrap()]
    }

    fn get(&self, key: &K) -> Option<V> {
        self.shard(key).lock().unwrap().get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        self.shard(&key).lock().unwrap().entry(key).or_insert(value);
    }

    fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hashes what is formatted into it (FNV-1a over words), so that no text is kept.
struct Texter(u64);

impl std::fmt::Write for Texter {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for chunk in text.as_bytes().chunks(8) {
            let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
            self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        Ok(())
    }
}

fn name_of(value: &impl Debug) -> Id {
    let mut texter = Texter(0xcbf2_9ce4_8422_2325);
    std::fmt::write(&mut texter, format_args!("{value:?}")).unwrap();
    hash(&texter.0)
}

type AbsorbKey = (Id, Id, u8, u8, Id, u8, Held, u8, i64);

pub struct Brain {
    pub mutant: Option<Mutant>,
    memories: Shards<Id, Arc<Memory>>,
    records: Shards<Id, Arc<Record>>,
    asks: Shards<Id, Arc<Vec<Question>>>,
    wishes: Shards<Known, Wish>,
    absorbed: Shards<AbsorbKey, Id>,
    confirmed: Shards<(Known, Id, [u8; 3], i64), Id>,
    /// Every kind of decision that was seen.
    pub covered: Mutex<BTreeSet<String>>,
    /// Breaches of what a decision itself must keep (L2).
    pub broken: Mutex<Vec<Violation>>,
    pub fresh: Id,
    pub empty: Id,
}

impl Brain {
    pub fn new(mutant: Option<Mutant>) -> Self {
        let mut brain = Self {
            mutant,
            memories: Shards::new(),
            records: Shards::new(),
            asks: Shards::new(),
            wishes: Shards::new(),
            absorbed: Shards::new(),
            confirmed: Shards::new(),
            covered: Mutex::default(),
            broken: Mutex::default(),
            fresh: 0,
            empty: 0,
        };
        brain.fresh = brain.keep_memory(Memory::default());
        brain.empty = brain.keep_record(Record::default());
        brain
    }

    fn keep_memory(&self, memory: Memory) -> Id {
        let id = name_of(&memory);
        self.memories.put(id, Arc::new(memory));
        id
    }

    fn keep_record(&self, record: Record) -> Id {
        let id = name_of(&record);
        self.records.put(id, Arc::new(record));
        id
    }

    pub fn record(&self, id: Id) -> Arc<Record> {
        self.records.get(&id).unwrap()
    }

    pub fn values(&self) -> (usize, usize, usize) {
        (self.memories.len(), self.records.len(), self.wishes.len())
    }

    fn memory(&self, id: Id) -> Memory {
        Memory::clone(&self.memories.get(&id).unwrap())
    }

    fn policy(&self, known: &Known) -> &'static Policy {
        if self.mutant == Some(Mutant::OrderReversed) {
            return PAPER.reversed(known.generation);
        }
        let ignored = known.spec == Spec::Suspended && self.mutant == Some(Mutant::SuspendIgnored);
        PAPER.policy(if ignored { Spec::Base } else { known.spec }, known.generation)
    }

    fn observation(&self, known: &Known) -> Observation {
        Observation {
            record: Record::clone(&self.record(known.record)),
            memory: self.memory(known.memory),
            smoke: self.views(known.jobs),
            marks: marks(known.marks),
            ..Observation::default()
        }
    }

    fn views(&self, jobs: u16) -> BTreeMap<Binding, SmokeView> {
        let mut views = BTreeMap::new();
        for job in 0..JOBS {
            let (tag, second) = (job / 2, job % 2 == 1);
            let mut state = jobs >> (2 * job) & 3;
            if self.mutant == Some(Mutant::VerdictOfTag) {
                let other = jobs >> (2 * (job ^ 1)) & 3;
                state = if other == PASSED { PASSED } else { state };
            }
            let binding = PAPER.tested(tag, second).1;
            let verdict = |outcome| {
                SmokeView::Ended(SmokeVerdict {
                    binding: binding.clone(),
                    outcome,
                    at: PAPER.began,
                    exit_code: None,
                    message: "told by the node".into(),
                    retry: 0,
                    log: None,
                })
            };
            let view = match state {
                RUNNING => SmokeView::Running { since: PAPER.began, waiting_for: None, due_at: None },
                PASSED => verdict(SmokeOutcome::Passed),
                FAILED => verdict(SmokeOutcome::Failed),
                _ => continue,
            };
            views.insert(binding, view);
        }
        views
    }

    pub fn wish(&self, known: &Known) -> Wish {
        if let Some(wish) = self.wishes.get(known) {
            return wish;
        }
        let wish = self.think(known);
        self.wishes.put(*known, wish);
        wish
    }

    fn think(&self, known: &Known) -> Wish {
        let (policy, now) = (self.policy(known), PAPER.at(known.now));
        let mut observation = self.observation(known);
        let mut decision = decide(policy, &observation, now);
        self.cover(&decision);
        if !decision.ask.is_empty() {
            return self.ask(decision.ask);
        }
        let record = Record::clone(&self.record(known.record));
        if let Some(granted) = decision.commit.take() {
            let looked = granted.look_started_at().duration_since(PAPER.began).as_secs();
            let (promoted, floor) = granted.into_promoted(now);
            let mut noted = forget(&decision, self.memory(known.memory));
            let memory = self.keep_memory(noted.clone());
            noted.note_commit(&promoted, now);
            let record =
                Record { promoted: Some(promoted), floor: Some(floor), ..rendered(record, &decision) };
            return Wish::Commit {
                record: self.keep_record(record),
                memory,
                noted: self.keep_memory(noted),
                looked,
            };
        }
        let mut start = 0;
        if !decision.start.is_empty() {
            for request in &decision.start {
                start |= 1_u8 << PAPER.job_of(&request.digest).unwrap();
                let view = SmokeView::Running { since: PAPER.began, waiting_for: None, due_at: None };
                observation.smoke.insert(request.binding.clone(), view);
            }
            decision = decide(policy, &observation, now);
            self.cover(&decision);
        }
        let memory = self.keep_memory(forget(&decision, self.memory(known.memory)));
        let next = decision.next_look.map(|next| next.duration_since(PAPER.began).as_secs());
        Wish::Rest { start, record: self.keep_record(rendered(record, &decision)), memory, next }
    }

    fn ask(&self, ask: Vec<Question>) -> Wish {
        let mut images = 0;
        let mut confirm = None;
        for question in &ask {
            images |= match question {
                Question::List { image, .. } | Question::Look { image, .. } => 1 << PAPER.image(image),
                Question::Drift { .. } => 1 << 2,
                Question::Confirm { tag, .. } => {
                    confirm = Some(u8::try_from(PAPER.tag(tag)).unwrap());
                    7
                }
            };
        }
        let id = name_of(&ask);
        self.asks.put(id, Arc::new(ask));
        Wish::Ask { ask: id, images, confirm }
    }

    /// Takes in the answers to the questions of one image, given at this instant.
    pub fn absorb(&self, known: &Known, ask: Id, image: usize, held: &Held, refused: u8) -> Id {
        let questions = self.asks.get(&ask).unwrap();
        let drifts = questions.iter().any(|question| matches!(question, Question::Drift { .. }));
        let (mut held, mut refused) = (*held, refused & 7);
        if !(drifts && image == 2) {
            // What other images hold is not asked for.
            (0..3).filter(|other| *other != image).for_each(|other| held[other] = [ABSENT; TAGS.len()]);
            refused &= 1 << image;
        }
        let key = (
            known.memory,
            known.record,
            known.spec as u8,
            known.generation,
            ask,
            u8::try_from(image).unwrap(),
            held,
            refused,
            known.now,
        );
        if let Some(id) = self.absorbed.get(&key) {
            return id;
        }
        let mut memory = self.memory(known.memory);
        let record = self.record(known.record);
        for question in questions.iter() {
            if let Some(answer) = self.answer(question, image, &held, refused, known.now) {
                memory.absorb(self.policy(known), &record, answer, PAPER.at(known.now));
            }
        }
        let id = self.keep_memory(memory);
        self.absorbed.put(key, id);
        id
    }

    fn answer(&self, question: &Question, at: usize, held: &Held, refused: u8, now: i64) -> Option<Answer> {
        let asked_at = PAPER.at(now);
        let refused = |image: usize| refused & 1 << image != 0;
        let unknown = || match self.mutant {
            Some(Mutant::UnknownIsMissing) => None,
            _ => Some(doubt()),
        };
        match question {
            Question::List { image, .. } if PAPER.image(image) == at => {
                let listed = (0..TAGS.len()).filter(|tag| held[at][*tag] != ABSENT).map(|tag| TAGS[tag]);
                let sighting = if refused(at) && self.mutant != Some(Mutant::UnknownIsPresent) {
                    unknown().map_or(Sighting::Missing, Sighting::Unknown)
                } else {
                    Sighting::Present(Arc::new(listed.collect::<TagList>()))
                };
                Some(Answer::List { image: image.clone(), sighted: Sighted { asked_at, sighting } })
            }
            Question::Look { tag, image, .. } if PAPER.image(image) == at => {
                let sighting = if refused(at) && self.mutant != Some(Mutant::UnknownIsPresent) {
                    unknown().map_or(Sighting::Missing, Sighting::Unknown)
                } else {
                    let tag = PAPER.tag(tag);
                    PAPER.look(at, tag, held[at][tag])
                };
                let (tag, image) = (tag.clone(), image.clone());
                Some(Answer::Look { tag, image, sighted: Sighted { asked_at, sighting } })
            }
            Question::Drift { release, .. } if at == 2 => {
                let heads = release.images.iter().map(|image| {
                    let (place, tag) = (PAPER.image(&image.name), PAPER.tag(&release.tag));
                    let sighting = if refused(place) {
                        unknown().map_or(Sighting::Missing, Sighting::Unknown)
                    } else {
                        PAPER.look(place, tag, held[place][tag]).map(|evidence| evidence.digest)
                    };
                    (image.name.clone(), Sighted { asked_at, sighting })
                });
                Some(Answer::Drift { heads: heads.collect() })
            }
            _ => None,
        }
    }

    /// Takes in a confirming look: what each tag held when its HEAD came.
    pub fn confirm(&self, known: &Known, ask: Id, heads: [u8; 3], looked: i64) -> Id {
        let key = (*known, ask, heads, looked);
        if let Some(id) = self.confirmed.get(&key) {
            return id;
        }
        let mut memory = self.memory(known.memory);
        let record = self.record(known.record);
        let taken_in = |mut memory: Memory, heads: [u8; 3]| {
            let answer = self.checked(ask, heads, looked);
            memory.absorb(self.policy(known), &record, answer, PAPER.at(known.now));
            memory
        };
        if self.mutant == Some(Mutant::NoConfirmingLook) {
            // As if the look had said what was known already, whatever that is.
            let codes = || 1..CONTENTS;
            let all = codes().flat_map(|a| codes().flat_map(move |b| codes().map(move |c| [a, b, c])));
            let said = all.map(|heads| taken_in(memory.clone(), heads)).find(|memory| {
                let observation = Observation { memory: memory.clone(), ..self.observation(known) };
                decide(self.policy(known), &observation, PAPER.at(known.now)).commit.is_some()
            });
            memory = said.unwrap_or_else(|| taken_in(memory, heads));
        } else {
            memory = taken_in(memory, heads);
        }
        let id = self.keep_memory(memory);
        self.confirmed.put(key, id);
        id
    }

    fn checked(&self, ask: Id, heads: [u8; 3], looked: i64) -> Answer {
        let questions = self.asks.get(&ask).unwrap();
        let [Question::Confirm { tag, checks }] = &questions[..] else { panic!("no confirming look") };
        let place = PAPER.tag(tag);
        let checked = checks.iter().map(|check| {
            let image = PAPER.image(&check.image);
            let content = heads[image];
            let refused = content == REFUSED;
            let head = if refused {
                Sighting::Unknown(doubt())
            } else {
                PAPER.look(image, place, content).map(|evidence| evidence.digest)
            };
            let children = check.children.iter().map(|(platform, digest)| {
                let is_arm = *platform == PAPER.platforms[1];
                let sighting = match content {
                    REFUSED => Sighting::Unknown(doubt()),
                    ABSENT => Sighting::Missing,
                    DANGLING if is_arm => Sighting::Missing,
                    _ => Sighting::Present(()),
                };
                (platform.clone(), digest.clone(), sighting)
            });
            Checked { image: check.image.clone(), tag: head, children: children.collect(), blobs: Vec::new() }
        });
        Answer::Confirm { tag: tag.clone(), started_at: PAPER.at(looked), checked: checked.collect() }
    }

    fn cover(&self, decision: &Decision) {
        let mut seen: Vec<String> = Vec::new();
        let mut broken = Vec::new();
        let mut note = |candidate: &Candidate| {
            seen.push(format!("phase {}", candidate.phase.word()));
            seen.extend(candidate.blocked.iter().map(|blocked| format!("wait for {:?}", blocked.by)));
            seen.extend(candidate.gates.iter().map(|gate| format!("gate {}", gate.state.word())));
            seen.extend(candidate.overdue.then(|| "overdue".to_owned()));
            seen.extend(candidate.gate_overdue.then(|| "gate overdue".to_owned()));
            seen.extend(candidate.cannot_tell.then(|| "cannot tell".to_owned()));
            let cells = candidate.images.iter().flat_map(|image| &image.cells);
            seen.extend(cells.map(|cell| format!("cell {}", cell.sighting.word())));
        };
        decision.followed.iter().for_each(&mut note);
        broken.extend(decision.followed.iter().filter_map(invariants::l2_reason_and_since));
        if let Some(again) = &decision.promoted_again {
            note(&again.candidate);
            seen.push(format!("again {:?}", again.why));
        }
        seen.extend(decision.ended.iter().map(|ended| format!("ended {}", ended.outcome.word())));
        seen.extend(decision.hold.iter().map(|hold| {
            let text = format!("{hold:?}");
            format!("hold {}", text.split([' ', '{']).next().unwrap_or_default())
        }));
        seen.extend(decision.ask.iter().map(|question| {
            let text = format!("{question:?}");
            format!("ask {}", text.split(' ').next().unwrap_or_default())
        }));
        seen.extend(decision.commit.is_some().then(|| "promote".to_owned()));
        let drift = &decision.drift;
        let told = [("moved", &drift.moved), ("extended", &drift.extended), ("gone", &drift.gone)];
        seen.extend(
            told.into_iter().filter(|(_, told)| told.is_some()).map(|(what, _)| format!("drift {what}")),
        );
        self.covered.lock().unwrap().extend(seen);
        self.broken.lock().unwrap().extend(broken);
    }
}

fn marks(code: u8) -> Marks {
    match code {
        0 => Marks::InStep,
        255 => Marks::Unreadable("down".into()),
        code => Marks::Highest {
            sequence: (code / 4).into(),
            tag: Some(PAPER.tags[usize::from(code % 4)].clone()),
        },
    }
}

fn rendered(mut record: Record, decision: &Decision) -> Record {
    record.verdicts.clone_from(&decision.verdicts);
    record.candidates = decision.followed.iter().map(|candidate| candidate.record.clone()).collect();
    record.named.clone_from(&decision.named);
    for ended in &decision.ended {
        record.recent.insert(0, ended.clone());
        record.recent.truncate(5);
    }
    record
}

fn forget(decision: &Decision, mut memory: Memory) -> Memory {
    for ended in decision.ended.iter().filter(|ended| ended.outcome == Outcome::Gone) {
        memory.forget_gone(&ended.tag);
    }
    memory
}

/// The contents that a job's digest stands for.
pub fn job_of(tag: usize, content: u8) -> usize {
    tag * 2 + usize::from(content == SECOND)
}
