//! From one read of a ReleaseSet to what can be told of it at one moment. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::api::status::time_text;
use crate::api::v1alpha1::{CandidateStatus, CellStatus};
use crate::api::{duration, validate};
use crate::cli::cluster::Found;
use crate::cli::explain::action;
use crate::cli::explain::contract::{Candidate, Cell, Explanation, Gate, Image, Promoted, Target};
use crate::cli::render::one_line;
use crate::engine::looks::paced;
use crate::engine::order::Source;
use crate::engine::policy::{GateKind, ImagePolicy, Policy};

/// What is known of a set beside its status.
pub(super) struct Facts<'a> {
    pub found: &'a Found,
    /// `None` when the spec breaks a rule.
    pub policy: Option<Policy>,
    pub now: Timestamp,
    pub program: &'static str,
}

/// Everything that `found` tells at `now`.
pub fn explain(found: &Found, now: Timestamp, program: &'static str) -> Explanation {
    let policy = validate::policy(&found.spec, found.generation()).ok();
    let facts = Facts { found, policy, now, program };
    let (metadata, status) = (&found.object.metadata, &found.status);
    let candidates: Vec<Candidate> =
        status.candidates.iter().enumerate().map(|(index, one)| facts.candidate(one, index == 0)).collect();
    let targets = status.targets.iter().map(|target| Target {
        name: target.name.clone(),
        state: target.state.clone(),
        secs: facts.age_secs(&target.since).unwrap_or_default(),
        message: target.message.as_deref().map(one_line),
    });
    Explanation {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        now: time_text(now),
        up_to_date: facts.is_up_to_date(),
        held: facts.held(),
        promoted: status.promoted.as_ref().map(|promoted| Promoted {
            tag: promoted.tag.clone(),
            sequence: promoted.sequence,
            at: promoted.at.clone(),
            age_secs: facts.age_secs(&promoted.at).unwrap_or_default(),
        }),
        next_look: facts.next_look(),
        next_action: action::next(&facts, &candidates),
        candidates,
        targets: targets.collect(),
        conditions: facts.conditions(),
    }
}

// === impl Facts ===

impl Facts<'_> {
    pub fn is_up_to_date(&self) -> bool {
        self.found.status.observed_generation == self.found.generation()
    }

    /// Whether a condition has this status.
    pub fn condition(&self, condition: &str, status: &str) -> Option<&crate::api::v1alpha1::ConditionStatus> {
        let conditions = self.found.status.conditions.iter();
        conditions.into_iter().find(|known| known.condition == condition && known.status == status)
    }

    /// The promoted release stays although it does not pass under the present spec.
    pub fn behind_spec(&self) -> Option<&crate::api::v1alpha1::ConditionStatus> {
        self.condition("Promoted", "True").filter(|known| known.reason == "PromotedBehindSpec")
    }

    /// The order of candidates cannot be told.
    pub fn order_untold(&self) -> Option<&crate::api::v1alpha1::ConditionStatus> {
        self.condition("CandidateComplete", "False").filter(|known| known.reason == "OrderUntold")
    }

    fn age_secs(&self, at: &str) -> Option<i64> {
        let at: Timestamp = at.parse().ok()?;
        Some(self.now.duration_since(at).as_secs().max(0))
    }

    fn held(&self) -> Option<String> {
        if self.found.object.metadata.deletion_timestamp.is_some() {
            return Some("it is being deleted".to_owned());
        }
        if self.found.spec.suspend == Some(true) {
            return Some("spec.suspend is set".to_owned());
        }
        let held = self.condition("Stalled", "True").or_else(|| self.order_untold());
        held.map(|condition| one_line(&condition.message))
    }

    /// Conditions that are not as they should be, and that neither a candidate nor a target tells.
    fn conditions(&self) -> Vec<String> {
        let wanted =
            [("Ready", "False"), ("Stalled", "True"), ("TagMoved", "True"), ("PromotedAvailable", "False")];
        let told = wanted.iter().filter_map(|(condition, status)| self.condition(condition, status));
        told.chain(self.behind_spec())
            .chain(self.order_untold())
            .map(|known| {
                format!("{}={} {}: {}", known.condition, known.status, known.reason, one_line(&known.message))
            })
            .collect()
    }

    fn candidate(&self, candidate: &CandidateStatus, is_first: bool) -> Candidate {
        let no_required = !candidate.cells.iter().any(|cell| cell.required);
        // Incomplete without a cell that says so: the detail was dropped to keep status small.
        let untold = candidate.complete_at.is_none() && no_required;
        let images = self.policy.iter().flat_map(|policy| &policy.images);
        let (left, stands) = self.deadline(candidate);
        Candidate {
            tag: candidate.tag.clone(),
            phase: candidate.phase.clone(),
            age_secs: self.age_secs(&candidate.first_seen).unwrap_or_default(),
            blocked_by: candidate.blocked_by.as_deref().map(one_line),
            blocked_secs: candidate.blocked_since.as_deref().and_then(|since| self.age_secs(since)),
            deadline_left_secs: left.map(|left| left.as_secs()),
            deadline_stands: stands,
            images: images.map(|image| image_of(image, candidate, untold)).collect(),
            gates: candidate.gates.iter().map(|gate| self.gate(gate, is_first)).collect(),
        }
    }

    fn gate(&self, gate: &crate::api::v1alpha1::GateStatus, is_first: bool) -> Gate {
        let written = self.found.spec.gates.iter().find(|written| written.name == gate.name);
        let logs = self.found.status.failure_logs.iter();
        // The newest log of a gate belongs to the candidate that is printed.
        let log = logs.filter(|log| log.gate == gate.name).max_by(|one, other| one.at.cmp(&other.at));
        Gate {
            name: gate.name.clone(),
            advisory: written.is_some_and(|written| written.advisory),
            state: gate.state.clone(),
            reason: gate.reason.clone(),
            message: gate.message.as_deref().map(one_line),
            log: log.filter(|_| is_first && gate.state == "Failed").map(|log| log.log.clone()),
        }
    }

    /// What is left of the deadline, and whether its clock stands. From complete on the same span is for the gates.
    fn deadline(&self, candidate: &CandidateStatus) -> (Option<SignedDuration>, bool) {
        let Some(policy) = &self.policy else { return (None, false) };
        if matches!(candidate.phase.as_str(), "Failed" | "Confirming") {
            return (None, false);
        }
        let since = |at: &str| at.parse().ok().map(|at: Timestamp| self.now.duration_since(at));
        if let Some(complete_at) = &candidate.complete_at {
            return (since(complete_at).map(|used| policy.deadline.saturating_sub(used)), false);
        }
        let Some(clock) = &candidate.clock else { return (None, false) };
        let consumed = duration::parse(&clock.consumed).unwrap_or_default();
        let running = clock.running_since.as_deref().and_then(since).unwrap_or_default();
        let used = consumed.saturating_add(running.max(SignedDuration::ZERO));
        (Some(policy.deadline.saturating_sub(used)), clock.running_since.is_none())
    }

    /// Status says when something last changed, not when it was last looked at: the pace is known, the moment is not.
    fn next_look(&self) -> Option<String> {
        let policy = self.policy.as_ref()?;
        if self.found.object.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let interval = duration::Text(policy.interval);
        let Some(candidate) = self.found.status.candidates.first() else {
            return Some(match policy.candidates.source {
                Source::Lists => format!("tags are listed about every {interval}"),
                Source::Named => "at once when the ImagePolicy names another tag".to_owned(),
            });
        };
        let overdue = self.deadline(candidate).0.is_some_and(|left| left <= SignedDuration::ZERO);
        Some(match candidate.phase.as_str() {
            "Partial" if !overdue => {
                let changed =
                    [&candidate.blocked_since, &candidate.changed_at, &Some(candidate.first_seen.clone())]
                        .into_iter()
                        .filter_map(|at| at.as_deref()?.parse::<Timestamp>().ok())
                        .max()?;
                let gap = paced(self.now.duration_since(changed), policy.interval);
                format!("what is not present is asked for about every {}", duration::Text(gap))
            }
            "Settling" => {
                let changed: Timestamp = candidate.changed_at.as_deref()?.parse().ok()?;
                let left = policy.candidates.settle.saturating_sub(self.now.duration_since(changed));
                format!("in about {}, when the tag has been still for long enough", duration::Text(left))
            }
            "Testing" => format!("at once when a test ends; tags are listed about every {interval}"),
            _ => format!("about every {interval}"),
        })
    }

    /// True for a smoke gate of the spec.
    pub fn is_smoke(&self, gate: &str) -> bool {
        let gates = self.policy.iter().flat_map(|policy| &policy.gates);
        gates.into_iter().any(|known| known.name.as_str() == gate && matches!(known.kind, GateKind::Smoke(_)))
    }
}

fn image_of(image: &ImagePolicy, candidate: &CandidateStatus, untold: bool) -> Image {
    let absent = |platform: &str| -> Option<&CellStatus> {
        candidate.cells.iter().find(|cell| cell.image == image.name.as_str() && cell.platform == platform)
    };
    let cell = |platform: &crate::model::Platform, required: bool| {
        let platform = platform.to_string();
        let (state, reason) = match absent(&platform) {
            Some(cell) => (cell.state.clone(), cell.reason.as_deref().map(one_line)),
            None if untold => ("Untold".to_owned(), None),
            None => ("Present".to_owned(), None),
        };
        Cell { platform, required, state, reason }
    };
    let required = image.platforms.iter().map(|platform| cell(platform, !image.advisory));
    let advisory = image.advisory_platforms.iter().map(|platform| cell(platform, false));
    let tag = image.tag_template.render(&candidate.tag);
    Image {
        name: image.name.to_string(),
        reference: tag.map_or_else(|| image.place.text(), |tag| format!("{}:{tag}", image.place.text())),
        cells: required.chain(advisory).collect(),
    }
}
