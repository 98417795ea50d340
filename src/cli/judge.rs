//! From the engine's decision to the answer of `check`: which candidate, which verdict, what stands in the way.
//!
//! Pure. What passes and what blocks is the engine's word; what only a dry-run knows is added here: the floor that
//! was given by hand, a tag that was asked for, and smoke tests that nobody ran.

use crate::cli::contract;
use crate::cli::exit::{self, Obstacle, Verdict};
use crate::cli::hint::{self, Sources};
use crate::engine::decision::{Blocker, Candidate, CandidateImage, Decision, GateReport, GateState, Hold};
use crate::engine::order::NotOrdered;
use crate::engine::policy::Policy;
use crate::model::{Sighting, Tag};

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// `metadata.name`.
    pub set: &'a str,
    /// The policy of the file, its own pin included.
    pub policy: &'a Policy,
    /// `--tag`.
    pub tag: Option<&'a Tag>,
    /// `--above`.
    pub above: Option<&'a Tag>,
    /// `--require-smoke`.
    pub require_smoke: bool,
    /// `--smoke-exec` was given: smoke tests were run where they could be.
    pub smoke_exec: bool,
    /// As whom each image was asked.
    pub sources: &'a Sources,
}

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is printed.
    pub report: contract::Report,
    /// What the process answers.
    pub exit_code: u8,
    /// The one next step.
    pub hint: Option<String>,
    /// Things worth knowing beside the verdict.
    pub notes: Vec<String>,
}

/// What stands in the way, with the next step.
struct Block {
    verdict: Verdict,
    obstacle: Obstacle,
    why: String,
    hint: String,
}

/// Puts a decision into words. `decision` was taken without a confirming look.
pub fn judge(terms: Terms<'_>, decision: &Decision) -> Judgement {
    let mut notes = list_notes(decision);
    let asked_for = terms.tag.is_some() || terms.policy.pin.is_some();
    let chosen = choose(&decision.followed);
    if let (Some(index @ 1..), Some(newest)) = (chosen, decision.followed.first())
        && let Some(blocked) = &newest.blocked
    {
        let chosen = &decision.followed[index].tag;
        notes.push(format!("{} is newer than {chosen} and waits: {}", newest.tag, blocked.message));
    }
    let candidate = chosen
        .and_then(|index| decision.followed.get(index))
        .map(|candidate| as_run(candidate, terms.smoke_exec));
    let block = held(terms, decision).or_else(|| superseded(terms)).or_else(|| match &candidate {
        Some(candidate) => blocked(terms, candidate),
        None => Some(no_candidate(terms, decision)),
    });
    if let Some(candidate) = &candidate {
        notes.extend(smoke_note(candidate));
    } else if asked_for {
        // A pin is always followed; without a candidate it is the hold that speaks.
        notes.clear();
    }
    let verdict = block.as_ref().map_or(Verdict::Promote, |block| block.verdict);
    Judgement {
        exit_code: exit::code(verdict, block.as_ref().map(|block| block.obstacle)),
        report: report(terms, candidate.as_ref(), verdict, block.as_ref().map(|block| block.why.clone())),
        hint: block.map(|block| block.hint),
        notes,
    }
}

/// The candidate that the controller would promote; else the one that it would print.
fn choose(followed: &[Candidate]) -> Option<usize> {
    let passing = followed.iter().position(|candidate| {
        let passes = |gate: &GateReport| match gate.state {
            GateState::Passed => true,
            GateState::Failed => false,
            _ => gate.is_smoke,
        };
        candidate.is_complete() && candidate.gates.iter().all(|gate| gate.advisory || passes(gate))
    });
    passing.or((!followed.is_empty()).then_some(0))
}

/// The same candidate; smoke gates without a verdict say that they were not run, instead of waiting for something that
/// nobody starts.
fn as_run(candidate: &Candidate, smoke_exec: bool) -> Candidate {
    let mut candidate = candidate.clone();
    for gate in candidate.gates.iter_mut().filter(|gate| gate.is_smoke) {
        if smoke_exec && matches!(gate.state, GateState::Passed | GateState::Failed) {
            continue;
        }
        gate.state = GateState::NotRun;
        gate.message = if smoke_exec {
            format!("not run: {}", gate.message)
        } else {
            "not run: `check` runs no smoke tests".to_owned()
        };
    }
    candidate
}

fn held(terms: Terms<'_>, decision: &Decision) -> Option<Block> {
    let block = |why: String, hint: String| {
        Some(Block { verdict: Verdict::Held, obstacle: Obstacle::Known, why, hint })
    };
    let candidates = &terms.policy.candidates;
    if terms.policy.suspend {
        return block("spec.suspend is set".into(), hint::suspended());
    }
    if let Some(Hold::FloorNotOrdered { floor }) = &decision.hold {
        return block(
            format!("spec.candidates does not accept {floor}, the floor"),
            hint::floor_not_ordered(),
        );
    }
    let tag = terms.tag.filter(|tag| terms.policy.pin.as_ref() != Some(tag))?;
    if let Some(pin) = &terms.policy.pin {
        return block(format!("spec.pin is {pin}"), hint::other_pin(pin));
    }
    if terms.policy.skip.contains(tag) {
        return block(format!("spec.skip dismisses {tag}"), hint::skipped(tag));
    }
    // A file does not tell the order of `policyRef`; the tag that was asked for is judged all the same.
    if candidates.rank(tag).is_err_and(|why| why != NotOrdered::Untold) {
        return block(format!("spec.candidates does not accept {tag}"), hint::not_a_candidate(tag));
    }
    let floor = terms.above.or(candidates.not_before.as_ref())?;
    match candidates.rank(floor) {
        Ok(_) | Err(NotOrdered::Untold) => None,
        Err(_) => {
            block(format!("spec.candidates does not accept {floor}, the floor"), hint::floor_not_ordered())
        }
    }
}

/// A tag that was asked for by name and is not above the floor. A tag that is pinned may be.
fn superseded(terms: Terms<'_>) -> Option<Block> {
    let tag = terms.tag.filter(|tag| terms.policy.pin.as_ref() != Some(tag))?;
    let candidates = &terms.policy.candidates;
    let floor = terms.above.or(candidates.not_before.as_ref())?;
    (candidates.rank(tag).ok()? <= candidates.rank(floor).ok()?).then(|| Block {
        verdict: Verdict::Superseded,
        obstacle: Obstacle::Known,
        why: format!("{tag} is not newer than {floor}"),
        hint: hint::superseded(tag),
    })
}

fn blocked(terms: Terms<'_>, candidate: &Candidate) -> Option<Block> {
    let wait =
        |verdict, obstacle, why: &str, hint| Some(Block { verdict, obstacle, why: why.to_owned(), hint });
    match candidate.blocked.as_ref() {
        Some(blocked) if matches!(blocked.by, Blocker::Broken | Blocker::Missing | Blocker::Unknown) => {
            let obstacle = if blocked.by == Blocker::Unknown { Obstacle::Unknown } else { Obstacle::Known };
            wait(
                Verdict::Wait,
                obstacle,
                &blocked.message,
                hint::cell(terms.policy, candidate, terms.sources),
            )
        }
        Some(blocked) if blocked.by == Blocker::GateFailed => {
            let failed =
                candidate.gates.iter().find(|gate| !gate.advisory && gate.state == GateState::Failed);
            match failed.filter(|gate| gate.is_smoke) {
                Some(gate) => {
                    wait(Verdict::Failed, Obstacle::Smoke, &blocked.message, hint::smoke_failed(gate))
                }
                None => {
                    wait(Verdict::Failed, Obstacle::Known, &blocked.message, hint::gate_failed(candidate))
                }
            }
        }
        Some(blocked) if blocked.by == Blocker::Settling => {
            wait(Verdict::Wait, Obstacle::Known, &blocked.message, hint::settling())
        }
        // Nothing is left but smoke tests, which wait for ever where nobody runs them. One that could have been run here
        // and was not (it was stopped) never counts as passed.
        _ => {
            let asked_for =
                |gate: &&GateReport| terms.require_smoke || (terms.smoke_exec && gate.reason.is_none());
            let gate = required_smoke(candidate).find(asked_for)?;
            let why = format!("gate {} was not run", gate.name);
            let hint = match (terms.smoke_exec, gate.reason) {
                (false, _) => hint::smoke_not_run(),
                (true, None) => hint::smoke_not_finished(),
                (true, Some(_)) => hint::smoke_not_here(),
            };
            wait(Verdict::Wait, Obstacle::Smoke, &why, hint)
        }
    }
}

fn no_candidate(terms: Terms<'_>, decision: &Decision) -> Block {
    let listed = &decision.listed;
    let obstacle = if listed.unknown.is_empty() { Obstacle::Known } else { Obstacle::Unknown };
    let floor = terms.above.or(terms.policy.candidates.not_before.as_ref());
    let none_left = match floor {
        Some(floor) if listed.matched > 0 => format!(", none is newer than {floor}"),
        None if listed.matched > 0 => ", all are dismissed by spec.skip".to_owned(),
        _ => String::new(),
    };
    let skipped = listed.skipped();
    let counts =
        format!("{} of {} tags match spec.candidates{none_left}{skipped}", listed.matched, listed.tags);
    let (why, hint) = match listed.unknown.iter().next() {
        Some((image, doubt)) => (
            format!("the tags of {image} cannot be listed: {}", doubt.message),
            hint::list_unknown(doubt, terms.sources.get(image)),
        ),
        None if listed.matched > 0 => (counts, hint::none_newer()),
        None => (counts, hint::no_candidate(listed.tags == 0)),
    };
    Block { verdict: Verdict::Wait, obstacle, why, hint }
}

fn list_notes(decision: &Decision) -> Vec<String> {
    if decision.followed.is_empty() {
        return Vec::new();
    }
    let unlisted = decision.listed.unknown.iter();
    unlisted
        .map(|(image, doubt)| format!("the tags of {image} cannot be listed: {}", doubt.message))
        .collect()
}

/// Required smoke gates that were not run.
fn required_smoke(candidate: &Candidate) -> impl Iterator<Item = &GateReport> {
    candidate.gates.iter().filter(|gate| gate.state == GateState::NotRun && !gate.advisory)
}

fn smoke_note(candidate: &Candidate) -> Option<String> {
    let names: Vec<&str> = required_smoke(candidate).map(|gate| gate.name.as_str()).collect();
    let tests = match names.len() {
        0 => return None,
        1 => "a required smoke test was",
        _ => "required smoke tests were",
    };
    Some(format!("{tests} not run ({}): the controller runs them before it promotes", names.join(", ")))
}

fn report(
    terms: Terms<'_>,
    candidate: Option<&Candidate>,
    verdict: Verdict,
    blocked_by: Option<String>,
) -> contract::Report {
    let images = candidate.iter().flat_map(|candidate| &candidate.images);
    let gates = candidate.iter().flat_map(|candidate| &candidate.gates);
    contract::Report {
        release_set: terms.set.to_owned(),
        tag: candidate.map(|candidate| candidate.tag.to_string()),
        verdict,
        blocked_by,
        images: images.map(|image| image_report(terms, image)).collect(),
        gates: gates.map(gate_report).collect(),
    }
}

fn image_report(terms: Terms<'_>, image: &CandidateImage) -> contract::Image {
    let source = terms.sources.get(&image.name);
    let repository = terms.policy.image(&image.name).map(|image| image.place.text());
    contract::Image {
        name: image.name.to_string(),
        repository: repository.unwrap_or_default(),
        tag: image.tag.as_ref().map(ToString::to_string),
        digest: image.digest.as_ref().map(ToString::to_string),
        cells: image
            .cells
            .iter()
            .map(|cell| contract::Cell {
                platform: cell.platform.to_string(),
                required: cell.required,
                state: cell.sighting.word(),
                digest: cell.sighting.present().map(ToString::to_string),
                reason: cell.sighting.why().map(ToOwned::to_owned),
                next: match &cell.sighting {
                    Sighting::Unknown(doubt) => Some(hint::unknown(doubt, source)),
                    _ => None,
                },
            })
            .collect(),
    }
}

fn gate_report(gate: &GateReport) -> contract::Gate {
    let advisory = if gate.advisory { " (advisory)" } else { "" };
    contract::Gate {
        name: gate.name.to_string(),
        state: gate.state.word(),
        message: format!("{}{advisory}", gate.message),
    }
}
