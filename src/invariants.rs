//! The promise as code (design §7): one place that says what must hold, for every rung that looks for a breach.
//!
//! ```text
//!   a write of status ─▶ Commit ─┐
//!                                ├─▶ s1 … s7 ─▶ violations: which invariant, and the facts
//!   what registries hold ▶ Truth ┘
//! ```
//!
//! The model check, the random histories, the simulation, the demo and the runs on real parts all call these functions;
//! each brings its own [`Truth`], which knows more than the engine was told. Nothing here may know how a decision was
//! reached: it compares what was written with what was so.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::engine::CONFIRMATION_LIFE;
use crate::engine::clearance::Floor;
use crate::engine::decision::Candidate;
use crate::engine::observation::Marks;
use crate::engine::order::Rank;
use crate::engine::policy::{Gate, GateKind, ImagePolicy, Policy};
use crate::engine::record::{Phase, Record};
use crate::model::{Digest, Platform, Promoted, ReleaseImage, Repository, SmokeOutcome, SmokeVerdict, Tag};

/// The invariants of design §7, by the names that code, tests and documents share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InvariantName {
    /// Complete and tested.
    S1,
    /// One confirming look.
    S2,
    /// Never below the floor.
    S3,
    /// One commit per sequence.
    S4,
    /// Verdicts are bound.
    S5,
    /// Loss of evidence changes nothing.
    S6,
    /// Suspended or being deleted.
    S7,
    /// No secrets.
    S8,
    /// No write elsewhere.
    S9,
    /// It goes on once faults stop.
    L1,
    /// Every wait is explained.
    L2,
    /// Jobs and pods are bounded.
    L3,
    /// Sets do not delay one another.
    L4,
    /// Quiet at rest.
    L5,
}

/// One breach: which invariant, and the facts that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What does not hold.
    pub invariant: InvariantName,
    /// The facts, in one sentence.
    pub facts: String,
}

/// One accepted write of `status.promoted`, with the object as it was when the write was taken.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The spec of the object that was written over: what is required, pinned and suspended, and its generation.
    pub policy: &'a Policy,
    /// That object had a deletionTimestamp.
    pub deleting: bool,
    /// Its status before the write.
    pub before: &'a Record,
    /// What targets carried beyond that status.
    pub marks: &'a Marks,
    /// What was promoted.
    pub after: &'a Promoted,
    /// The floor that was written with it.
    pub floor: Option<&'a Floor>,
    /// The verdicts of the written status.
    pub verdicts: &'a [SmokeVerdict],
    /// When the confirming look began and when the write was sent, by the writer's clock, where both are known.
    pub looked_and_written: Option<(Timestamp, Timestamp)>,
}

/// What was so, whatever anybody was told. "In the window" means at some instant between the beginning of the confirming
/// look and the write; a world in which both are one instant answers for that instant.
pub trait Truth {
    /// Every digest that a tag pointed at in the window.
    fn pointed_at(&self, repository: &Repository, tag: &Tag) -> Vec<Digest>;
    /// The child of an index (or the manifest itself, of a single-platform image) for a platform, where it was there in
    /// the window or up to [`CHILD_SEEN_LIFE`](crate::engine::CHILD_SEEN_LIFE) before: a child that was seen since is not
    /// asked for again (design §4 Commit).
    fn child(&self, repository: &Repository, index: &Digest, platform: &Platform) -> Option<Digest>;
    /// The registry answered somebody who may read that repository in the window.
    fn answers(&self, repository: &Repository) -> bool;
    /// What a smoke test of that child really says; `None` where it was never run.
    fn passes(
        &self,
        gate: &Gate,
        repository: &Repository,
        platform: &Platform,
        child: &Digest,
    ) -> Option<bool>;
}

// === impl InvariantName ===

impl InvariantName {
    /// Every invariant, in the order of design §7.
    pub const ALL: [Self; 14] = [
        Self::S1,
        Self::S2,
        Self::S3,
        Self::S4,
        Self::S5,
        Self::S6,
        Self::S7,
        Self::S8,
        Self::S9,
        Self::L1,
        Self::L2,
        Self::L3,
        Self::L4,
        Self::L5,
    ];

    /// What holds, in one sentence. Documents carry the same words; a test compares them.
    pub fn statement(self) -> &'static str {
        match self {
            Self::S1 => {
                "A commit needs every required cell Present at the pinned digest, and every required gate passed for those digests and this generation."
            }
            Self::S2 => "A promoted set comes from one confirming look.",
            Self::S3 => "Never below the floor, unless a person pins it.",
            Self::S4 => "At most one commit per sequence, and no write takes one back.",
            Self::S5 => "A smoke verdict counts only for what it is bound to.",
            Self::S6 => "Loss of evidence never changes what is promoted.",
            Self::S7 => "Suspended or being deleted: no commit, no target write.",
            Self::S8 => "No secret in logs, status, events, metrics, errors.",
            Self::S9 => "No write outside the declared namespace and targets.",
            Self::L1 => {
                "After faults stop, a release that is complete and passes is promoted within 10 s of the first look that the pace allows."
            }
            Self::L2 => "Every wait has a reason and a since.",
            Self::L3 => "Jobs and pods per binding are bounded.",
            Self::L4 => "A slow or hostile registry delays only its own sets.",
            Self::L5 => "At rest: no API writes but the lease.",
        }
    }

    fn broken(self, facts: impl Into<String>) -> Violation {
        Violation { invariant: self, facts: facts.into() }
    }

    fn broken_unless(self, holds: bool, facts: impl FnOnce() -> String) -> Option<Violation> {
        (!holds).then(|| self.broken(facts()))
    }
}

impl fmt::Display for InvariantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.facts)
    }
}

// === checks of one commit ===

/// Everything that one commit must keep: S1 to S5 and S7. `highest` is the highest sequence that was ever committed.
pub fn check_commit(commit: &Commit<'_>, truth: &dyn Truth, highest: i64) -> Vec<Violation> {
    let mut found = s1_complete_and_tested(commit, truth);
    found.extend(s2_one_look(commit, truth));
    found.extend(s3_not_below_the_floor(commit));
    found.extend(s4_sequence(commit.before.promoted.as_ref(), Some(commit.after), highest));
    found.extend(s5_verdict_binding(commit, truth));
    found.extend(s7_commit_while_held(commit));
    found
}

/// S1: every required image and platform was there, in a registry that answered, and every required gate passed under
/// this generation.
pub fn s1_complete_and_tested(commit: &Commit<'_>, truth: &dyn Truth) -> Vec<Violation> {
    let (policy, promoted) = (commit.policy, commit.after);
    let mut found = Vec::new();
    found.extend(InvariantName::S1.broken_unless(promoted.generation == policy.generation, || {
        format!("judged under generation {}, the spec has {}", promoted.generation, policy.generation)
    }));
    let required: Vec<&ImagePolicy> = policy.required_images().map(|(_, image)| image).collect();
    let images = &promoted.release.images;
    found.extend(InvariantName::S1.broken_unless(images.len() == required.len(), || {
        format!("{} images were promoted, {} are required", images.len(), required.len())
    }));
    for image in required {
        match images.iter().find(|known| known.name == image.name) {
            None => found.push(InvariantName::S1.broken(format!("{} was left out", image.name))),
            Some(known) => found.extend(s1_image(promoted, image, known, truth)),
        }
    }
    for gate in policy.gates.iter().filter(|gate| !gate.advisory) {
        let unpassed = || InvariantName::S1.broken(format!("gate {} did not pass", gate.name));
        match &gate.kind {
            GateKind::Smoke(smoke) => {
                let bound = bound_verdicts(commit, &smoke.image.to_string(), &smoke.hash, &smoke.platforms);
                found.extend((!bound.is_empty() && bound.iter().any(Option::is_none)).then(unpassed));
            }
            GateKind::SameRevision(_) => {
                found.extend(promoted.release.revision.is_none().then(unpassed));
            }
        }
    }
    found
}

fn s1_image(
    promoted: &Promoted,
    image: &ImagePolicy,
    known: &ReleaseImage,
    truth: &dyn Truth,
) -> Vec<Violation> {
    let name = || format!("{}:{} ({})", known.repository, known.tag, known.name);
    let mut found = Vec::new();
    let place = image.place.repository() == Some(&known.repository)
        && image.tag_template.render(promoted.release.tag.as_str()).as_ref() == Some(&known.tag);
    found.extend(InvariantName::S1.broken_unless(place, || format!("{} is not where the spec says", name())));
    found.extend(
        InvariantName::S1
            .broken_unless(truth.answers(&known.repository), || format!("{} could not be told", name())),
    );
    for platform in &image.platforms {
        let pinned = known.platforms.iter().find(|(known, _)| known == platform).map(|(_, digest)| digest);
        let there = truth.child(&known.repository, &known.digest, platform);
        found.extend(InvariantName::S1.broken_unless(pinned.is_some() && pinned == there.as_ref(), || {
            let or_none = |digest: Option<&Digest>| digest.map_or("none", Digest::short).to_owned();
            let (pinned, there) = (or_none(pinned), or_none(there.as_ref()));
            format!("{} {platform} was promoted at {pinned}, there is {there}", name())
        }));
    }
    found
}

/// S2: every digest was what its tag pointed at in the window of one look, and the write followed in time.
pub fn s2_one_look(commit: &Commit<'_>, truth: &dyn Truth) -> Vec<Violation> {
    let mut found = Vec::new();
    for image in &commit.after.release.images {
        let pointed_at = truth.pointed_at(&image.repository, &image.tag);
        found.extend(InvariantName::S2.broken_unless(pointed_at.contains(&image.digest), || {
            let at: Vec<&str> = pointed_at.iter().map(Digest::short).collect();
            let (name, digest) = (format!("{}:{}", image.repository, image.tag), image.digest.short());
            format!("{name} was promoted at {digest}, and pointed at {at:?} in the confirming look")
        }));
    }
    if let Some((looked, written)) = commit.looked_and_written {
        let age = written.duration_since(looked);
        let in_time = (SignedDuration::ZERO..CONFIRMATION_LIFE).contains(&age);
        found.extend(
            InvariantName::S2
                .broken_unless(in_time, || format!("written {} s after the look", age.as_secs())),
        );
    }
    found
}

/// S3: the pin, or the promoted tag again, or above the floor and at least what targets carry; and the floor never sinks.
pub fn s3_not_below_the_floor(commit: &Commit<'_>) -> Vec<Violation> {
    let (policy, before, tag) = (commit.policy, commit.before, &commit.after.release.tag);
    let mut found: Vec<Violation> = s3_floor_sinks(commit).into_iter().collect();
    if let Some(pin) = &policy.pin {
        found.extend(
            InvariantName::S3.broken_unless(pin == tag, || format!("{tag} was promoted, {pin} is pinned")),
        );
        return found;
    }
    let promoted = before.promoted.as_ref();
    let carried = match commit.marks {
        Marks::Unreadable(why) => {
            found.push(InvariantName::S3.broken(format!("what targets carry could not be told: {why}")));
            return found;
        }
        Marks::Highest { sequence, tag } if promoted.is_none_or(|known| known.sequence < *sequence) => {
            tag.as_ref()
        }
        Marks::Highest { .. } | Marks::InStep => None,
    };
    if promoted.is_some_and(|known| known.release.tag == *tag) {
        found.extend(carried.filter(|carried| *carried != tag).map(|carried| {
            InvariantName::S3.broken(format!("{tag} was promoted again, targets carry {carried}"))
        }));
        return found;
    }
    let Some(rank) = rank_of(policy, tag) else {
        found.push(InvariantName::S3.broken(format!("{tag} has no place in the order, and no pin")));
        return found;
    };
    let known = promoted.map(|known| &known.release.tag);
    let recorded = before.floor.as_ref().map(|floor| &floor.tag);
    let floor = recorded.or(known).or(policy.candidates.not_before.as_ref());
    // A floor that lost its place holds everything back; a promoted tag beside it that did says nothing.
    let beside = known.filter(|known| rank_of(policy, known).is_some());
    for floor in floor.into_iter().chain(beside) {
        let above = rank_of(policy, floor).is_some_and(|floor| {
            rank > floor || (rank == floor && carried == Some(tag) && known != Some(tag))
        });
        found.extend(
            InvariantName::S3.broken_unless(above, || format!("{tag} is not above the floor {floor}")),
        );
    }
    found.extend(
        carried.filter(|carried| rank_of(policy, carried).is_none_or(|at| rank < at)).map(|carried| {
            InvariantName::S3.broken(format!("{tag} is below {carried}, which targets carry"))
        }),
    );
    found
}

fn s3_floor_sinks(commit: &Commit<'_>) -> Option<Violation> {
    let old = rank_of(commit.policy, &commit.before.floor.as_ref()?.tag)?;
    let new = commit.floor.and_then(|floor| rank_of(commit.policy, &floor.tag));
    let sinks = new.is_none_or(|new| new < old);
    sinks.then(|| InvariantName::S3.broken(format!("the floor {} was lowered", old.tag())))
}

/// S4: the release of a status is never taken back, and a new one has the next sequence after all that ever were.
pub fn s4_sequence(before: Option<&Promoted>, after: Option<&Promoted>, highest: i64) -> Vec<Violation> {
    let (Some(after), before) = (after, before) else {
        let lost = before.map(|before| format!("sequence {} was taken back", before.sequence));
        return lost.map(|facts| InvariantName::S4.broken(facts)).into_iter().collect();
    };
    if before.is_some_and(|before| before == after) {
        return Vec::new();
    }
    let highest = highest.max(before.map_or(0, |before| before.sequence));
    let next = InvariantName::S4.broken_unless(after.sequence == highest + 1, || {
        format!("sequence {} ({}) follows {highest}", after.sequence, after.release.tag)
    });
    next.into_iter().collect()
}

/// S4 of a target: what it carries was committed as that sequence, and is nothing older than what it carried `before`.
pub fn s4_target(
    before: Option<i64>,
    (sequence, tag): (i64, &str),
    committed: Option<&str>,
) -> Vec<Violation> {
    let is_back = before.filter(|before| *before > sequence);
    let back =
        is_back.map(|before| InvariantName::S4.broken(format!("a target went from {before} to {sequence}")));
    let committed = InvariantName::S4.broken_unless(committed == Some(tag), || {
        format!("a target carries {tag} of {sequence}, committed was {committed:?}")
    });
    back.into_iter().chain(committed).collect()
}

/// S5: each required smoke gate has a Passed verdict bound to each promoted child, and that is what its test says.
pub fn s5_verdict_binding(commit: &Commit<'_>, truth: &dyn Truth) -> Vec<Violation> {
    let mut found = Vec::new();
    for gate in commit.policy.gates.iter().filter(|gate| !gate.advisory) {
        let GateKind::Smoke(smoke) = &gate.kind else { continue };
        let Some(image) = commit.after.release.images.iter().find(|image| image.name == smoke.image) else {
            continue;
        };
        for (platform, child) in tested(image, &smoke.platforms) {
            let says = truth.passes(gate, &image.repository, platform, child);
            found.extend(InvariantName::S5.broken_unless(says == Some(true), || {
                let said = says.map_or("was never run", |_| "did not pass");
                format!("{} {said} on {} {platform} {}", gate.name, image.repository, child.short())
            }));
        }
    }
    found
}

/// S7: a commit over an object that is suspended or being deleted.
pub fn s7_commit_while_held(commit: &Commit<'_>) -> Option<Violation> {
    s7_held(commit.policy.suspend, commit.deleting, &format!("{} was promoted", commit.after.release.tag))
}

/// S7 of any effect: `what` was done to a set, or to a target of it, that was in this state.
pub fn s7_held(suspended: bool, deleting: bool, what: &str) -> Option<Violation> {
    let state = if deleting { "being deleted" } else { "suspended" };
    InvariantName::S7.broken_unless(!suspended && !deleting, || format!("{what} while the set was {state}"))
}

fn rank_of(policy: &Policy, tag: &Tag) -> Option<Rank> {
    policy.candidates.rank(tag).ok()
}

/// The children that a smoke gate tests: of the platforms that it names, or of all.
fn tested<'a>(
    image: &'a ReleaseImage,
    platforms: &'a [Platform],
) -> impl Iterator<Item = &'a (Platform, Digest)> {
    image.platforms.iter().filter(move |(platform, _)| platforms.is_empty() || platforms.contains(platform))
}

/// For each child under test, the verdict of the written status that passed and is bound to it.
fn bound_verdicts<'a>(
    commit: &Commit<'a>,
    image: &str,
    hash: &str,
    platforms: &[Platform],
) -> Vec<Option<&'a SmokeVerdict>> {
    let Some(image) = commit.after.release.images.iter().find(|known| known.name.as_str() == image) else {
        return Vec::new();
    };
    let verdict = |(platform, child): &(Platform, Digest)| {
        // What a test of the whole release saw stands behind the hash (`Binding::of_release`).
        let bound = format!("{}@{child} {platform} {hash}", image.repository);
        commit.verdicts.iter().find(|verdict| {
            let rest = verdict.binding.as_str().strip_prefix(&bound);
            verdict.outcome == SmokeOutcome::Passed
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    tested(image, platforms).map(verdict).collect()
}

// === checks of other writes and of histories ===

/// S6: a write that no commit was granted for leaves release and floor as they were.
pub fn s6_only_a_commit_moves_it(before: &Record, after: &Record) -> Vec<Violation> {
    let tag = |record: &Record| {
        record.promoted.as_ref().map_or("nothing".to_owned(), |known| known.release.tag.to_string())
    };
    let promoted = InvariantName::S6.broken_unless(before.promoted == after.promoted, || {
        format!("{} became {} without a commit", tag(before), tag(after))
    });
    let floor = InvariantName::S6
        .broken_unless(before.floor == after.floor, || "the floor moved without a commit".to_owned());
    promoted.into_iter().chain(floor).collect()
}

/// S8: `text`, of which `place` says where it was found, holds none of the planted secrets.
pub fn s8_no_secret(place: &str, text: &str, secrets: &[&str]) -> Vec<Violation> {
    let leaked = secrets.iter().enumerate().filter(|(_, secret)| text.contains(**secret));
    leaked.map(|(index, _)| InvariantName::S8.broken(format!("{place} holds secret {index}"))).collect()
}

/// S9: a write to an object, as `namespace/kind/name`, is one of those that a set declares. An entry that ends in `*`
/// stands for all that begin so.
pub fn s9_declared(object: &str, declared: &[String]) -> Option<Violation> {
    let covers =
        |entry: &String| entry.strip_suffix('*').map_or(object == entry, |head| object.starts_with(head));
    InvariantName::S9.broken_unless(declared.iter().any(covers), || format!("{object} was written"))
}

/// L1: a history without faults ended with `tag`, or something newer, promoted, `waited` after it could be.
pub fn l1_promoted(
    policy: &Policy,
    tag: &Tag,
    promoted: Option<&Promoted>,
    waited: SignedDuration,
    limit: SignedDuration,
) -> Option<Violation> {
    let at = promoted.map(|promoted| &promoted.release.tag);
    let newer = |at: &Tag| rank_of(policy, at).zip(rank_of(policy, tag)).is_some_and(|(at, tag)| at > tag);
    let holds = at.is_some_and(|at| at == tag || newer(at)) && waited <= limit;
    InvariantName::L1.broken_unless(holds, || {
        let at = at.map_or("nothing".to_owned(), ToString::to_string);
        format!("{tag} passes, promoted is {at} after {} s of {}", waited.as_secs(), limit.as_secs())
    })
}

/// L2: a candidate that is not on its way to the commit says what blocks it and since when.
pub fn l2_reason_and_since(candidate: &Candidate) -> Option<Violation> {
    let told = candidate.blocked.as_ref().is_some_and(|blocked| !blocked.message.is_empty())
        && candidate.record.blocked_since.is_some();
    InvariantName::L2.broken_unless(candidate.phase == Phase::Confirming || told, || {
        format!("{} waits in {} without a reason and a since", candidate.tag, candidate.phase.word())
    })
}

/// L3: pods that were started for one binding.
pub fn l3_bounded(binding: &str, pods: usize, limit: usize) -> Option<Violation> {
    InvariantName::L3.broken_unless(pods <= limit, || format!("{pods} pods of {binding}, at most {limit}"))
}

/// L4: p99 of a set beside one whose registry is ill, and alone; goal G10 allows half as much again.
pub fn l4_not_delayed(beside: SignedDuration, alone: SignedDuration) -> Option<Violation> {
    InvariantName::L4.broken_unless(beside.saturating_mul(2) <= alone.saturating_mul(3), || {
        format!("{} ms beside an ill registry, {} ms alone", beside.as_millis(), alone.as_millis())
    })
}

/// L5: writes to the API at rest, the lease excluded.
pub fn l5_quiet(writes: &[String]) -> Option<Violation> {
    InvariantName::L5.broken_unless(writes.is_empty(), || format!("written at rest: {}", writes.join(", ")))
}

#[cfg(test)]
mod tests;
