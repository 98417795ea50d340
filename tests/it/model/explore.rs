//! Breadth first through every state of a world, on both cores, and from each the continuation without faults.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidegate::invariants::{InvariantName, Violation};

use super::brain::Brain;
use super::world::{Action, Bounds, State};

/// Threads: the cores of the smallest machine that CI has.
const THREADS: usize = 2;
const SHARDS: usize = 64;
/// Steps of the continuation after which a release must have been promoted.
pub const STEPS_MAX: usize = 200;

/// How a state was reached: from which, by the how-manieth of what could happen there.
#[derive(Clone, Copy)]
struct Reached {
    from: u64,
    by: u16,
}

/// What was found.
pub struct Found {
    pub world: &'static str,
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    /// The frontier became empty: every state within the bounds was seen.
    pub exhausted: bool,
    pub covered: BTreeSet<String>,
    /// States of continuations, and the longest of them in steps.
    pub continued: usize,
    pub longest: usize,
    /// Values of the engine: what controllers knew, records, decisions.
    pub values: (usize, usize, usize),
    /// The first breach, with the way there.
    pub breach: Option<Breach>,
}

pub struct Breach {
    pub violations: Vec<Violation>,
    /// Places of the actions among those possible: what `model::replay` takes.
    pub path: Vec<u16>,
    /// The same in words.
    pub told: String,
}

struct Sharded<V>(Vec<Mutex<HashMap<u64, V, Identity>>>);

/// Keys are hashes already.
#[derive(Clone, Copy, Default)]
struct Identity;

struct Same(u64);

impl std::hash::BuildHasher for Identity {
    type Hasher = Same;
    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are keys")
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl<V: Copy> Sharded<V> {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn shard(&self, key: u64) -> &Mutex<HashMap<u64, V, Identity>> {
        &self.0[usize::try_from(key >> 58).unwrap()]
    }

    fn insert(&self, key: u64, value: V) -> bool {
        let mut shard = self.shard(key).lock().unwrap();
        match shard.entry(key) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(value);
                true
            }
        }
    }

    fn get(&self, key: u64) -> Option<V> {
        self.shard(key).lock().unwrap().get(&key).copied()
    }
}

/// A fast hash over the words of a state (the multiply-xor of Fx, with a last mix): states are ours, nobody attacks them.
struct Words(u64);

impl Hasher for Words {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }
    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

fn name_of(state: &State) -> u64 {
    let mut hasher = Words(0x1234_5678);
    state.hash(&mut hasher);
    hasher.finish()
}

struct Search<'a> {
    bounds: &'a Bounds,
    brain: &'a Brain,
    reached: Sharded<Reached>,
    /// States without faults from which a release was promoted, and in how many steps.
    live: Sharded<u16>,
    states: AtomicUsize,
    transitions: AtomicUsize,
    continued: AtomicUsize,
    longest: AtomicUsize,
    stop: AtomicBool,
    breach: Mutex<Option<(u64, u16, Vec<Violation>)>>,
}

/// Explores a world up to its bounds, or to its first breach.
pub fn explore(bounds: &Bounds) -> Found {
    let brain = Brain::new(bounds.mutant);
    let search = Search {
        bounds,
        brain: &brain,
        reached: Sharded::new(),
        live: Sharded::new(),
        states: AtomicUsize::new(1),
        transitions: AtomicUsize::new(0),
        continued: AtomicUsize::new(0),
        longest: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        breach: Mutex::default(),
    };
    let first = State::first(bounds, &brain);
    search.reached.insert(name_of(&first), Reached { from: 0, by: 0 });
    let (mut frontier, mut depth) = (vec![first], 0);
    while !frontier.is_empty() && !search.stop.load(Ordering::Relaxed) {
        depth += 1;
        frontier = search.level(&frontier, bounds.states_max);
    }
    let breach = search.breach.lock().unwrap().take();
    Found {
        world: bounds.name,
        states: search.states.load(Ordering::Relaxed),
        transitions: search.transitions.load(Ordering::Relaxed),
        depth,
        exhausted: !search.stop.load(Ordering::Relaxed),
        covered: brain.covered.lock().unwrap().clone(),
        continued: search.continued.load(Ordering::Relaxed),
        longest: search.longest.load(Ordering::Relaxed),
        values: brain.values(),
        breach: breach.map(|(at, by, violations)| search.breach(at, by, violations)),
    }
}

impl Search<'_> {
    fn level(&self, frontier: &[State], states_max: usize) -> Vec<State> {
        const CHUNK: usize = 256;
        let taken = AtomicUsize::new(0);
        let chunks: Vec<&[State]> = frontier.chunks(CHUNK).collect();
        let work = || {
            let mut next = Vec::new();
            while let Some(chunk) = chunks.get(taken.fetch_add(1, Ordering::Relaxed)) {
                for state in *chunk {
                    if self.stop.load(Ordering::Relaxed) {
                        return next;
                    }
                    self.visit(state, &mut next);
                }
                if self.states.load(Ordering::Relaxed) >= states_max {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            next
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn visit(&self, state: &State, next: &mut Vec<State>) {
        let from = name_of(state);
        if self.bounds.liveness
            && let Err(violation) = self.continue_without_faults(state)
        {
            self.fail(from, u16::MAX, vec![violation]);
            return;
        }
        let successors = state.next(self.bounds, self.brain);
        self.transitions.fetch_add(successors.len(), Ordering::Relaxed);
        for (by, successor) in successors.into_iter().enumerate() {
            let by = u16::try_from(by).unwrap();
            if !successor.broken.is_empty() {
                self.fail(from, by, successor.broken);
                return;
            }
            if self.reached.insert(name_of(&successor.state), Reached { from, by }) {
                self.states.fetch_add(1, Ordering::Relaxed);
                next.push(successor.state);
            }
        }
        let broken = std::mem::take(&mut *self.brain.broken.lock().unwrap());
        if !broken.is_empty() {
            self.fail(from, u16::MAX, broken);
        }
    }

    fn fail(&self, at: u64, by: u16, violations: Vec<Violation>) {
        self.breach.lock().unwrap().get_or_insert((at, by, violations));
        self.stop.store(true, Ordering::Relaxed);
    }

    /// L1 from this state: faults end, and within [`STEPS_MAX`] steps the release that passes is promoted. A state that
    /// was seen to get there ends the walk.
    fn continue_without_faults(&self, state: &State) -> Result<(), Violation> {
        let mut healed = *state;
        let Some(tag) = healed.heal(self.brain) else { return Ok(()) };
        let mut walked: Vec<u64> = Vec::new();
        let mut left = 0;
        let stuck = |why: String| Violation { invariant: InvariantName::L1, facts: why };
        while !healed.is_promoted(tag, self.brain) {
            // The goal belongs to it: states that are alike may wait for different releases.
            let name = name_of(&healed).wrapping_add(tag as u64);
            if let Some(steps) = self.live.get(name) {
                left = usize::from(steps);
                break;
            }
            walked.push(name);
            if walked.len() > STEPS_MAX {
                return Err(stuck(format!(
                    "{} is not promoted within {STEPS_MAX} steps",
                    super::paper::TAGS[tag]
                )));
            }
            if healed.go_on(self.brain).is_none() {
                return Err(stuck(format!(
                    "nothing happens any more, and {} waits",
                    super::paper::TAGS[tag]
                )));
            }
        }
        let steps = left + walked.len();
        if steps > STEPS_MAX {
            return Err(stuck(format!("{} takes {steps} steps", super::paper::TAGS[tag])));
        }
        self.longest.fetch_max(steps, Ordering::Relaxed);
        self.continued.fetch_add(walked.len(), Ordering::Relaxed);
        for (done, name) in walked.into_iter().enumerate() {
            self.live.insert(name, u16::try_from(steps - done).unwrap());
        }
        Ok(())
    }

    fn breach(&self, at: u64, by: u16, violations: Vec<Violation>) -> Breach {
        let mut path = Vec::new();
        path.extend((by != u16::MAX).then_some(by));
        let mut here = at;
        while let Some(reached) = self.reached.get(here).filter(|reached| reached.from != 0) {
            path.push(reached.by);
            here = reached.from;
        }
        path.reverse();
        let told = replay(self.bounds, &path);
        Breach { violations, path, told }
    }
}

/// Lets these things happen, one after the other, and then no more faults: steps to the promotion that is due.
///
/// Panics when one of them cannot happen, or breaks something.
pub fn steps_to_promotion(bounds: &Bounds, actions: &[Action]) -> Option<usize> {
    let brain = Brain::new(bounds.mutant);
    let mut state = State::first(bounds, &brain);
    for action in actions {
        let next = state.next(bounds, &brain).into_iter().find(|next| next.action == *action);
        let next = next.unwrap_or_else(|| panic!("{action} cannot happen"));
        assert!(next.broken.is_empty(), "{action}: {:?}", next.broken);
        state = next.state;
    }
    let tag = state.heal(&brain)?;
    for step in 0..STEPS_MAX {
        if state.is_promoted(tag, &brain) {
            return Some(step);
        }
        state.go_on(&brain)?;
    }
    None
}

/// Walks a path again and tells it, with what the last state breaks.
pub fn replay(bounds: &Bounds, path: &[u16]) -> String {
    let brain = Brain::new(bounds.mutant);
    let mut state = State::first(bounds, &brain);
    let mut told = String::new();
    for by in path {
        let Some(next) = state.next(bounds, &brain).into_iter().nth(usize::from(*by)) else {
            let _ = writeln!(told, "  (nothing has number {by} here: the path is of another version)");
            return told;
        };
        let _ = writeln!(told, "  {}", next.action);
        next.broken.iter().for_each(|broken| {
            let _ = writeln!(told, "  BROKEN {broken}");
        });
        state = next.state;
    }
    let mut healed = state;
    if let Some(tag) = healed.heal(&brain) {
        let _ = writeln!(told, "  -- no more faults; {} must be promoted", super::paper::TAGS[tag]);
        for _ in 0..STEPS_MAX {
            if healed.is_promoted(tag, &brain) {
                let _ = writeln!(told, "  promoted at {} s", healed.now);
                return told;
            }
            if healed.go_on(&brain).is_none() {
                break;
            }
        }
        let _ =
            writeln!(told, "  not promoted at {} s: {:?}", healed.now, brain.record(healed.object.record));
    }
    told
}
