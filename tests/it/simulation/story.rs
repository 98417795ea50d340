//! A story: what people and CI do in a world, step by step. A step waits for what it needs to see, not for a clock, so
//! that a story means the same however late the controller is.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use tidegate::cli::demo::invariants::{policy, record};
use tidegate::cli::demo::scenario::Push;
use tidegate::invariants;

use super::trouble::Lock;
use super::world::{SET, World};

/// A small world to be played.
pub struct Story {
    pub name: &'static str,
    /// The spec of the set; repositories lie in the world's registry.
    pub spec: Value,
    pub acts: Vec<Act>,
    /// What the registry wants from the beginning.
    pub lock: Lock,
}

/// One step.
pub enum Act {
    /// These images appear under a tag.
    Push(&'static str, &'static [&'static str]),
    /// Another build of the same tag of one image.
    Repush(&'static str, &'static str, u32),
    /// The smoke test of this image under this tag fails.
    PushBad(&'static str, &'static str),
    DeleteTag(&'static str, &'static str),
    Edit(Value),
    /// The set goes and comes again with the same spec, after a while.
    Recreate,
    /// The set has the status again that it had at the n-th note.
    Restore(usize),
    /// Keeps the status as it is.
    Note,
    Outage(bool),
    /// The registry's password changes, and the Secret a little later.
    Rotate(&'static str),
    /// Waits until this tag is promoted at this sequence or a later one, and every target carries it. Later: after an edit
    /// the release before may be committed again under the new spec, when faults hide the new one for a while.
    Promoted(&'static str, i64),
    /// Waits until a condition of the set has this status.
    Condition(&'static str, &'static str),
    /// Waits until the set says that it is blocked by this, in part.
    Blocked(&'static str),
    /// Waits until so many smoke tests have a verdict.
    Verdicts(usize),
    /// Time passes.
    Pass(u64),
}

/// Longest wait of one step once no more faults come: a lease (16 s), the breaker of a host (60 s) and a look.
const WAIT_MAX: Duration = Duration::from_mins(4);
/// Longest way from the last push to targets that carry it, where nothing is wrong: an interval of every story, and the
/// 10 s of L1.
const PROMOTED_WITHIN: Duration = Duration::from_secs(20);
/// Longest wait while faults still come.
const TROUBLE_MAX: Duration = Duration::from_mins(10);
/// Between two looks at the world.
const PACE: Duration = Duration::from_millis(200);
/// From the rotation of a password to the new Secret.
const ROTATION: Duration = Duration::from_secs(15);
/// From a deletion to the new object.
const AWAY: Duration = Duration::from_secs(3);

// === impl Act ===

impl Act {
    /// An image with another build.
    pub fn pushed(image: &str, tag: &str, build: u32) -> Push {
        push(image, tag, build, 0)
    }

    /// Does it.
    ///
    /// # Errors
    /// What it waits for did not come true: L1.
    pub async fn perform(&self, world: &World, story: &Story, notes: &mut Vec<Value>) -> Result<(), String> {
        match self {
            Self::Push(tag, images) => images.iter().for_each(|image| world.push(&push(image, tag, 0, 0))),
            Self::Repush(image, tag, build) => world.push(&push(image, tag, *build, 0)),
            Self::PushBad(image, tag) => world.push(&push(image, tag, 0, 1)),
            Self::DeleteTag(image, tag) => world.delete_tag(image, tag),
            Self::Edit(spec) => world.edit(SET, spec).await,
            Self::Recreate => recreate(world, story).await?,
            Self::Restore(note) => world.restore(SET, &notes[*note]).await,
            Self::Note => notes.push(world.set(SET).map_or(Value::Null, |set| set["status"].clone())),
            Self::Outage(is_out) => world.outage(*is_out),
            Self::Rotate(password) => {
                world.lock_registry(password);
                tokio::time::sleep(ROTATION).await;
                world.write_secret(password).await;
            }
            Self::Promoted(tag, sequence) => {
                let asked_at = world.clock.now();
                until(world, &format!("{tag} is promoted at {sequence}"), || promoted(world, tag, *sequence))
                    .await?;
                in_time(world, tag, asked_at)?;
            }
            Self::Condition(kind, status) => {
                until(world, &format!("{kind} is {status}"), || condition(world, kind) == *status).await?;
            }
            Self::Blocked(why) => {
                until(world, &format!("it is blocked by {why}"), || {
                    let set = world.set(SET);
                    let summary =
                        set.and_then(|set| set["status"]["summary"]["blockedBy"].as_str().map(str::to_owned));
                    summary.is_some_and(|summary| summary.contains(why))
                })
                .await?;
            }
            Self::Verdicts(count) => {
                let verdicts = || {
                    let set = world.set(SET);
                    set.and_then(|set| set["status"]["verdicts"].as_array().map(Vec::len)).unwrap_or(0)
                };
                until(world, &format!("{count} smoke tests are over"), || verdicts() >= *count).await?;
            }
            Self::Pass(secs) => tokio::time::sleep(Duration::from_secs(*secs)).await,
        }
        Ok(())
    }
}

async fn recreate(world: &World, story: &Story) -> Result<(), String> {
    world.delete(SET).await;
    until(world, "the set is gone", || world.set(SET).is_none()).await?;
    tokio::time::sleep(AWAY).await;
    world.create(SET, &story.spec).await;
    Ok(())
}

fn promoted(world: &World, tag: &str, sequence: i64) -> bool {
    let Some(set) = world.set(SET) else { return false };
    let status = &set["status"];
    let targets = status["targets"].as_array().cloned().unwrap_or_default();
    let wanted = set.pointer("/spec/targets").and_then(Value::as_array).map_or(0, Vec::len);
    status["promoted"]["tag"] == *tag
        && status["promoted"]["sequence"].as_i64() >= Some(sequence)
        && targets.len() == wanted
        && targets.iter().all(|target| target["sequence"] == status["promoted"]["sequence"])
}

/// L1: without faults a release that is complete is promoted within one interval and 10 s.
fn in_time(world: &World, tag: &str, asked_at: jiff::Timestamp) -> Result<(), String> {
    let set = world.set(SET).ok_or("the set is gone")?;
    let (record, policy) = (record(&set)?, policy(&set)?);
    let limit = if world.is_well() { PROMOTED_WITHIN } else { TROUBLE_MAX + WAIT_MAX };
    let waited = world.clock.now().duration_since(asked_at);
    let limit = SignedDuration::try_from(limit).map_err(|error| error.to_string())?;
    let tag = tag.parse().map_err(|_| "no tag")?;
    let late = invariants::l1_promoted(&policy, &tag, record.promoted.as_ref(), waited, limit);
    late.map_or(Ok(()), |late| Err(late.to_string()))
}

fn condition(world: &World, kind: &str) -> String {
    let set = world.set(SET);
    let conditions = set.and_then(|set| set["status"]["conditions"].as_array().cloned()).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == *kind);
    found.and_then(|condition| condition["status"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// Waits for something to come true. While faults come it may take long; then it must not.
pub async fn until(world: &World, what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
    let began = world.clock.now();
    let since = |from: jiff::Timestamp| world.clock.now().duration_since(from);
    let mut calm_since = None;
    while !holds() {
        if since(began) > SignedDuration::try_from(TROUBLE_MAX).unwrap() {
            world.line.calm();
        }
        if world.line.is_calm() {
            let calm_since = *calm_since.get_or_insert_with(|| world.clock.now());
            if since(calm_since) > SignedDuration::try_from(WAIT_MAX).unwrap() {
                return Err(format!("L1: {WAIT_MAX:?} after the last fault it is not so that {what}"));
            }
        }
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

fn push(image: &str, tag: &str, build: u32, exit_code: i32) -> Push {
    Push {
        image: image.to_owned(),
        tag: tag.to_owned(),
        platforms: vec!["linux/amd64".to_owned()],
        build,
        revision: None,
        exit_code,
        runs_for: SignedDuration::from_secs(2),
    }
}
