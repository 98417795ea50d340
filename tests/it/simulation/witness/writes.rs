//! What must hold of each write of a controller: of a set, of a target, of a Job.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate::cli::demo::invariants::{commit, policy, record};
use tidegate::invariants::{self, InvariantName};
use tidegate::smoke::identity::BINDING_ANNOTATION;

use super::super::objects::{highest, mark_of, name_of};
use super::super::truth::Truthful;
use super::super::world::NAMESPACE;
use super::{Sight, Witness};

/// Pods that one Job of a smoke test may have: its `attempts`, which no story sets.
const PODS_OF_A_JOB: usize = 2;
/// Most pods of one binding in a story: those of its Job, and of one more that made up for a verdict that was lost.
const PODS_MAX: usize = 2 * PODS_OF_A_JOB;

// === impl Witness ===

impl Witness {
    /// S9: sets, Jobs, and the targets that a set names now or that carried the mark of one.
    pub(super) fn declared(&self, sight: &Sight, plural: &str, name: &str) {
        let sets = self.api.objects("tidegate.dev", "releasesets");
        let mut declared = vec![format!("{NAMESPACE}/jobs/*")];
        for set in &sets {
            declared.push(format!("{NAMESPACE}/releasesets/{}", name_of(set)));
            let targets = set.pointer("/spec/targets").and_then(Value::as_array);
            let names =
                targets.into_iter().flatten().filter_map(|target| target["configMap"]["name"].as_str());
            declared.extend(names.map(|name| format!("{NAMESPACE}/configmaps/{name}")));
        }
        let was_ours = sight.before.as_deref().is_some_and(|before| mark_of(before).is_some());
        // What the spec of a set that is gone named, nobody knows.
        if was_ours || sets.is_empty() {
            declared.push(format!("{NAMESPACE}/{plural}/{name}"));
        }
        let found = invariants::s9_declared(&format!("{NAMESPACE}/{plural}/{name}"), &declared);
        self.add(found);
    }

    // --- a set ---

    pub(super) fn set_written(&self, sight: &Sight, name: &str) {
        let (Some(before), Some(after)) =
            (sight.before.as_deref(), self.object("tidegate.dev", "releasesets", name))
        else {
            return;
        };
        let (Ok(old), Ok(new)) = (record(before), record(&after)) else {
            return self.broken(InvariantName::S4, format!("the status of {name} cannot be read back"));
        };
        if sight.what.contains("/status") && before["spec"] != after["spec"] {
            self.broken(InvariantName::S9, format!("the spec of {name} was written"));
        }
        self.missing_was_said(sight.process, before, &after);
        if old.promoted == new.promoted {
            let found = invariants::s6_only_a_commit_moves_it(&old, &new);
            self.state().violations.extend(found.iter().map(ToString::to_string));
            return;
        }
        let Some(promoted) = &new.promoted else {
            return self.broken(InvariantName::S4, format!("the release of {name} was taken back"));
        };
        let key = (name.to_owned(), promoted.sequence);
        self.state().committed.insert(key, promoted.release.tag.to_string());
        self.state().commits += 1;
        let (marks, highest) = highest(name, &sight.marks, &old);
        let Ok(policy) = policy(before) else {
            return self
                .broken(InvariantName::S1, format!("{name} was promoted under a spec without policy"));
        };
        let commit = commit(before, (&old, &new, promoted), &policy, &marks);
        let truth = Truthful { past: &self.past, since: sight.since };
        let found = invariants::check_commit(&commit, &truth, highest);
        let at = self.clock.now();
        self.state().violations.extend(found.iter().map(|broken| format!("{broken} (at {at})")));
    }

    /// S6: what is newly told to be missing was last answered with 404. Whatever else a registry says is Unknown.
    fn missing_was_said(&self, process: u32, before: &Value, after: &Value) {
        let told = |set: &Value| -> BTreeSet<(String, String)> {
            let candidates = set.pointer("/status/candidates").and_then(Value::as_array);
            let missing = candidates.into_iter().flatten().flat_map(|candidate| {
                let tag = candidate["tag"].as_str().unwrap_or_default();
                let cells = candidate["cells"].as_array().into_iter().flatten();
                let missing = cells.filter(|cell| cell["state"] == "Missing");
                missing.filter_map(move |cell| Some((cell["image"].as_str()?.to_owned(), tag.to_owned())))
            });
            missing.collect()
        };
        for (image, tag) in told(after).difference(&told(before)) {
            let path = format!("acme/{image}/manifests/{tag}");
            let said = self.state().heard.get(&(process, path)).copied();
            if said != Some(404) {
                let facts = format!("{image}:{tag} is told to be missing, the last answer was {said:?}");
                self.broken(InvariantName::S6, facts);
            }
        }
    }

    // --- a target ---

    pub(super) fn target_written(&self, sight: &Sight, after: Option<&Value>) {
        let before = sight.before.as_deref().and_then(mark_of);
        let Some(object) = after else { return };
        let Some(mark) = mark_of(object) else { return };
        let name = name_of(object);
        if let Some(before) = &before {
            if before.set != mark.set {
                self.broken(InvariantName::S9, format!("{name} of {} was taken by {}", before.set, mark.set));
            } else if before.sequence > mark.sequence {
                let (was, is) = (before.sequence, mark.sequence);
                self.broken(InvariantName::S4, format!("target {name} went back from {was} to {is}"));
            }
        } else if sight.before.is_some() {
            self.broken(InvariantName::S9, format!("{name} was there before, without a mark"));
        }
        let committed = self.state().committed.get(&(mark.set.clone(), mark.sequence)).cloned();
        if committed.as_ref() != Some(&mark.tag) {
            let facts = format!(
                "target {name} carries {} of {}, committed was {committed:?}",
                mark.tag, mark.sequence
            );
            self.broken(InvariantName::S1, facts);
        }
        let seen = self.seen(sight.process, &mark.set);
        let what = format!("target {name} was written at {}", mark.sequence);
        self.add(invariants::s7_held(seen.held, seen.deleting, &what));
        if seen.sequence != mark.sequence {
            self.broken(InvariantName::S4, format!("{what}, the set was read at {}", seen.sequence));
        }
    }

    pub(super) fn job_made(&self, sight: &Sight, job: Option<&Value>) {
        let held = |deleting: bool| {
            let state = self.state();
            let mut seen = state.seen.iter().filter(|((process, _), _)| *process == sight.process);
            seen.any(|(_, seen)| if deleting { seen.deleting } else { seen.held })
        };
        self.add(invariants::s7_held(held(false), held(true), "a Job was made"));
        let binding = job.and_then(|job| {
            let owner = job["metadata"]["ownerReferences"][0]["uid"].as_str()?;
            Some(format!("{} of {owner}", job["metadata"]["annotations"][BINDING_ANNOTATION].as_str()?))
        });
        let Some(binding) = binding else {
            return self.broken(InvariantName::S5, "a Job without a binding was made");
        };
        let jobs = {
            let mut state = self.state();
            let jobs = state.jobs.entry(binding.clone()).or_default();
            *jobs += 1;
            *jobs
        };
        self.add(invariants::l3_bounded(&binding, jobs * PODS_OF_A_JOB, PODS_MAX));
    }
}
