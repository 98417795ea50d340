//! One scenario told from the same pushes by Tidegate and, where its builds are known, by a naive follower of the
//! lead's tag.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::validate;
use crate::cli::demo::scenario::Scenario;
use crate::cli::demo::world::{EmbeddedWorld, WorldError};
use crate::engine::policy::Policy;
use crate::model::{Sighting, Tag};
use crate::registry::{Access, Client, Registry};

/// How often the naive follower scans, and how finely the half-rolled time is measured.
const SCAN: SignedDuration = SignedDuration::from_mins(1);
const SAMPLE: SignedDuration = SignedDuration::from_secs(10);

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The builds.
    Ci,
    /// People, the registry's operator, the node that the controller runs on.
    Outside,
    /// The naive follower.
    Naive,
    /// The controller.
    Tidegate,
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from the beginning.
    pub at: SignedDuration,
    /// Who.
    pub actor: Actor,
    /// What.
    pub text: String,
}

/// Everything that the demo shows.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The timeline, in order of time.
    pub entries: Vec<Entry>,
    /// How long the naive follower's production ran two releases at once, or one that does not exist.
    pub half_rolled: SignedDuration,
    /// When each release was committed by Tidegate.
    pub committed: BTreeMap<String, SignedDuration>,
    /// `status.promoted` at the end.
    pub promoted: Value,
    /// Invariants and expectations that did not hold.
    pub broken: Vec<String>,
}

/// Plays the scenario, for each of the two anew. Tokio's time must be paused.
///
/// # Errors
/// When the embedded world cannot be built or refuses a step.
pub async fn tell(scenario: &Scenario) -> Result<Story, WorldError> {
    let mut story = Story::default();
    for step in &scenario.steps {
        for (actor, lines) in [(Actor::Ci, step.built()), (Actor::Outside, step.befell())] {
            story.entries.extend(lines.into_iter().map(|text| Entry { at: step.at, actor, text }));
        }
    }
    if scenario.is_told_twice() {
        naive(scenario, &mut story).await?;
    }
    guarded(scenario, &mut story).await?;
    // Stable: what happens at one instant stays in order of cause.
    story.entries.sort_by_key(|entry| (entry.at, entry.actor));
    Ok(story)
}

// === the naive follower ===

/// Deployments of all siblings, moved to whatever tag the lead has.
struct Follower<'a> {
    world: &'a EmbeddedWorld,
    policy: &'a Policy,
    client: Client,
    running: Option<Tag>,
}

async fn naive(scenario: &Scenario, story: &mut Story) -> Result<(), WorldError> {
    let mut world = EmbeddedWorld::new(scenario).await?;
    let spec = scenario.spec_at(&world.registry.host());
    let policy = validate::policy(&spec, 1).map_err(|problems| WorldError::Spec(problems[0].to_string()))?;
    let end = scenario.steps.last().map_or(SignedDuration::ZERO, |step| step.at);
    let mut steps = scenario.steps.iter().peekable();
    let mut running = None;
    let mut told = String::new();
    // Half a scan off the minute, as scans and pushes never meet in practice.
    let mut now = SCAN / 2;
    while now <= end {
        while let Some(step) = steps.next_if(|step| step.at <= now) {
            world.advance(step).await?;
        }
        world.sleep_until(now).await;
        let mut follower =
            Follower { world: &world, policy: &policy, client: Client::new(world.clock().clone()), running };
        if (now - SCAN / 2).as_secs() % SCAN.as_secs() == 0 {
            follower.scan().await?;
        }
        let (text, half) = follower.production()?;
        running = follower.running;
        if half {
            story.half_rolled = story.half_rolled.saturating_add(SAMPLE);
        }
        if !text.is_empty() && text != told {
            story.entries.push(Entry { at: now, actor: Actor::Naive, text: text.clone() });
            told = text;
        }
        now = now.saturating_add(SAMPLE);
    }
    Ok(())
}

// === impl Follower ===

impl Follower<'_> {
    /// Takes the newest tag of the lead's repository, and asks nothing of its siblings.
    async fn scan(&mut self) -> Result<(), WorldError> {
        let Some((_, lead)) = self.policy.required_images().next() else { return Ok(()) };
        let Some(repository) = lead.place.repository() else { return Ok(()) };
        let access = Access { insecure: true, ..Access::default() };
        let Sighting::Present(tags) = self.client.tags(&access, repository, Timestamp::MAX).await.sighting
        else {
            return Ok(());
        };
        let ranks = tags.iter().filter_map(|tag| self.policy.candidates.rank(&tag.parse().ok()?).ok());
        self.running = ranks.max().map(|rank| rank.tag().clone()).or_else(|| self.running.clone());
        Ok(())
    }

    /// What runs now, and whether that is half a release.
    fn production(&self) -> Result<(String, bool), WorldError> {
        let Some(tag) = &self.running else { return Ok((String::new(), false)) };
        let mut absent = Vec::new();
        for (_, image) in self.policy.required_images() {
            let path = self.world.path_of(image.name.as_str())?;
            if self.world.registry.resolve(&path, tag.as_str()).is_none() {
                absent.push(image.name.to_string());
            }
        }
        if absent.is_empty() {
            return Ok((format!("all images run {tag}"), false));
        }
        let text = format!("rolled {tag} to all: {} in ImagePullBackOff, HALF-ROLLED", absent.join(" and "));
        Ok((text, true))
    }
}

// === Tidegate ===

async fn guarded(scenario: &Scenario, story: &mut Story) -> Result<(), WorldError> {
    let mut world = EmbeddedWorld::new(scenario).await?;
    let lines: Arc<Mutex<Vec<Entry>>> = Arc::default();
    let (writes, clock, began) = (Arc::clone(&lines), world.clock().clone(), world.clock().now());
    // Every status write, at its instant.
    let listen = move |old: &Value, new: &Value| {
        let at = clock.now().duration_since(began);
        if let Some(text) = news(old, new) {
            let entry = Entry { at, actor: Actor::Tidegate, text };
            writes.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        }
        Ok(())
    };
    world.api.add_rule("tidegate.dev", "releasesets", "status", Arc::new(listen));
    world.start_controller();
    for step in &scenario.steps {
        world.advance(step).await?;
        if let Some(expect) = &step.expect {
            let differences = expect.differences(&world.seen().await?);
            story.broken.extend(differences.into_iter().map(|text| format!("at {:#}: {text}", step.at)));
        }
    }
    story.broken.extend(world.invariants.violations());
    let set = world.api.object("tidegate.dev", "releasesets", super::world::NAMESPACE, super::world::SET);
    story.promoted = set.and_then(|set| set.pointer("/status/promoted").cloned()).unwrap_or_default();
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    for entry in lines.iter() {
        if let Some(tag) = entry.text.strip_prefix("promoted ").and_then(|text| text.split(' ').next()) {
            story.committed.insert(tag.to_owned(), entry.at);
        }
    }
    story.entries.extend(lines.iter().cloned());
    Ok(())
}

/// What a status write says that the one before did not.
fn news(old: &Value, new: &Value) -> Option<String> {
    let text = |set: &Value, path: &str| set.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let sequence = |set: &Value| set.pointer("/status/promoted/sequence").and_then(Value::as_i64);
    if sequence(new) != sequence(old) {
        let images = new.pointer("/status/promoted/images").and_then(Value::as_array).map_or(0, Vec::len);
        let tag = text(new, "/status/promoted/tag").unwrap_or_default();
        let gates = new.pointer("/spec/gates").and_then(Value::as_array);
        let is_tested = gates.is_some_and(|gates| gates.iter().any(|gate| !gate["smoke"].is_null()));
        let tested = if is_tested { ", tested" } else { "" };
        return Some(format!("promoted {tag} whole: {images} images at pinned digests{tested}"));
    }
    let line = |set: &Value| {
        let candidate = text(set, "/status/summary/candidate")?;
        let images = text(set, "/status/summary/images")?;
        let why = text(set, "/status/summary/blockedBy")?;
        Some(format!("holds {candidate}: {images} images, {why}"))
    };
    line(new).filter(|news| Some(news) != line(old).as_ref())
}
