//! Which target carries the release of a group, and which places of the files must follow it. Pure.

use std::collections::BTreeSet;

use crate::cli::init::edit::{Edit, entry_below, line_end};
use crate::cli::init::marker::Part;
use crate::cli::init::propose::{Draft, place_of};
use crate::cli::init::uses::{Mark, Use};
use crate::engine::policy::TARGETS_MAX;

/// Where nobody can see markers, a person moves them.
const IN_GIT: &str =
    "markers are in Git alone: run this on the repository that Flux follows, to see which of them to move";

/// Chooses the targets, and notes the changes of files.
pub fn rewire(draft: &mut Draft<'_>) {
    let variables: BTreeSet<String> = draft
        .uses()
        .filter(|place| place.policy.is_none())
        .filter_map(|place| place.variable.clone())
        .collect();
    let has_templates = draft.siblings.iter().any(|sibling| sibling.template.is_some());
    let is_followed = !draft.group.policies.is_empty() || !draft.inventory.automations.is_empty();
    if !variables.is_empty() {
        return substitute(draft, &variables);
    }
    let lead = draft.group.lead.clone();
    match draft.scanned(&lead).map(|scanned| scanned.object.name.clone()) {
        Some(repository) if is_followed && !has_templates => mark(draft, &repository),
        Some(_) | None if has_templates => {
            let name = draft.config_map(&BTreeSet::new());
            draft.notes.push(format!(
                "the images have tags of different forms, and one ImagePolicy carries one tag: the release is written to \
                 the ConfigMap {name}; take it from there by `substituteFrom` (examples/flux-config-map), since no marker can"
            ));
        }
        _ if is_followed && draft.scanned_lead().is_some() => {
            let namespace = draft.namespace.clone().unwrap_or_default();
            let name = draft.config_map(&BTreeSet::new());
            draft.notes.push(format!(
                "the ImageRepository of {lead} is in another namespace than the markers' policy, and an ImagePolicy of \
                 the set needs one in {namespace}: write one there and run this again to move the markers, or take the \
                 release from the ConfigMap {name} (examples/flux-config-map)"
            ));
        }
        _ => {
            let name = draft.config_map(&BTreeSet::new());
            draft.notes.push(format!(
                "no ImageRepository and no automation of Flux moves these images: the release is written to the ConfigMap \
                 {name}; take it from there by `substituteFrom` or `valuesFrom` (examples/flux-config-map)"
            ));
        }
    }
}

/// The tag is a variable of a ConfigMap: ours comes after it, and wins once a release is promoted.
fn substitute(draft: &mut Draft<'_>, variables: &BTreeSet<String>) {
    let name = draft.config_map(variables);
    let places: Vec<(usize, usize, String)> = draft
        .inventory
        .appliers
        .iter()
        .filter_map(|applier| {
            Some((applier.object.source, applier.substitutes_at?, applier.object.name.clone()))
        })
        .collect();
    let [(source, at, applier)] = places.as_slice() else {
        draft.notes.push(format!(
            "add the ConfigMap {name} to `substituteFrom` of the Kustomization that applies these images, after what \
             sets {} now, with `optional: true`",
            variables.iter().cloned().collect::<Vec<_>>().join(", ")
        ));
        return;
    };
    let entry = ["kind: ConfigMap", &format!("name: {name}"), "optional: true"];
    let Some(text) = draft.sources.get(*source) else { return };
    if text.is_file {
        draft.edits.extend(entry_below(&text.text, *source, *at, &entry));
    }
    draft.notes.push(format!(
        "the ConfigMap {name} comes after what Kustomization {applier} has now, so that it wins; until the first promotion it \
         is not there and nothing changes. Do not delete it later: the older tag in Git would count again"
    ));
}

/// Markers move to an ImagePolicy of the set.
fn mark(draft: &mut Draft<'_>, lead_repository: &str) {
    let main = draft.image_policy("", lead_repository);
    if draft.sources.iter().all(|source| !source.is_file) {
        draft.notes.push(IN_GIT.to_owned());
    }
    let marks: Vec<Mark> = draft
        .inventory
        .marks
        .iter()
        .filter(|mark| draft.group.policies.contains(&mark.marker.policy))
        .cloned()
        .collect();
    let mut own: Vec<(String, String)> = Vec::new();
    for mark in &marks {
        let repository = mark.repository.clone().unwrap_or_else(|| draft.group.lead.clone());
        let is_lead = repository == draft.group.lead;
        let policy = match mark.marker.part {
            Part::Tag => Some(main.clone()),
            Part::Whole | Part::Name if is_lead => Some(main.clone()),
            Part::Whole | Part::Name => own_policy(draft, &repository, &mut own),
            Part::Digest => None,
        };
        let place = place_of(draft.sources, &mark.object, mark.line);
        let Some(policy) = policy else {
            draft.notes.push(match mark.marker.part {
                Part::Digest => format!(
                    "{place} has a marker for a digest, which the set's ImagePolicy does not write: take the digest out \
                     there, or take the release by digest from a ConfigMap (examples/flux-config-map)"
                ),
                _ => format!(
                    "{place} has a marker that writes repository and tag, and no ImageRepository of {repository} is in \
                     the namespace: write the tag in a `newTag` of its own"
                ),
            });
            continue;
        };
        if draft.sources.get(mark.object.source).is_some_and(|source| source.is_file) {
            let text = format!("{}:{policy}", mark.marker.policy.namespace);
            draft.edits.push(Edit {
                source: mark.object.source,
                start: mark.marker.start,
                end: mark.marker.end,
                text,
            });
        }
    }
    if !own.is_empty() {
        let count = own.len() + 1;
        draft.notes.push(format!(
            "{count} markers write repository and tag, so that each image keeps a policy of its own: all {count} name the \
             promoted tag, but Flux may take it to Git in up to {count} commits. For one commit, write the tags as `newTag` \
             in a kustomization.yaml (examples/flux-one-commit)"
        ));
    }
    unmarked(draft, &main);
    automation(draft);
}

/// The set's ImagePolicy of one sibling, made when it is asked for first.
fn own_policy(draft: &mut Draft<'_>, repository: &str, own: &mut Vec<(String, String)>) -> Option<String> {
    if let Some((_, policy)) = own.iter().find(|(known, _)| known == repository) {
        return Some(policy.clone());
    }
    let scanned = draft.scanned(repository)?.object.name.clone();
    let sibling = draft.siblings.iter().find(|sibling| sibling.repository == repository)?.name.clone();
    if draft.targets.len() >= TARGETS_MAX {
        return None;
    }
    let policy = draft.image_policy(&format!("-{sibling}"), &scanned);
    own.push((repository.to_owned(), policy.clone()));
    Some(policy)
}

/// Places of the group that no marker moves get one, where a tag stands alone.
fn unmarked(draft: &mut Draft<'_>, main: &str) {
    let places: Vec<Use> =
        draft.uses().filter(|place| place.policy.is_none() && place.tag.is_some()).cloned().collect();
    let namespace = draft.namespace.clone().unwrap_or_default();
    for place in places {
        let Some(source) = draft.sources.get(place.object.source).filter(|source| source.is_file) else {
            continue;
        };
        let end = line_end(&source.text, place.start);
        let has_comment = source.text[place.start..end].contains(" #");
        if place.is_whole || place.variable.is_some() || has_comment {
            draft.notes.push(format!(
                "{} has no marker that could move {}: write its tag as `newTag` in a kustomization.yaml, with the marker \
                 # {{\"$imagepolicy\": \"{namespace}:{main}:tag\"}}",
                place_of(draft.sources, &place.object, place.line),
                place.repository
            ));
            continue;
        }
        let text = format!(" # {{\"$imagepolicy\": \"{namespace}:{main}:tag\"}}");
        draft.edits.push(Edit { source: place.object.source, start: end, end, text });
    }
    for place in draft.uses().filter(|place| place.is_pinned).cloned().collect::<Vec<_>>() {
        draft.notes.push(format!(
            "{} pins {} by digest, so that its tag alone moves nothing: take the digest out there",
            place_of(draft.sources, &place.object, place.line),
            place.repository
        ));
    }
}

/// What keeps an ImageUpdateAutomation from following.
fn automation(draft: &mut Draft<'_>) {
    let namespace = draft.namespace.clone();
    let here = |object: &crate::cli::init::inventory::Object| {
        object.namespace.is_none() || object.namespace == namespace
    };
    let automations: Vec<_> =
        draft.inventory.automations.iter().filter(|automation| here(&automation.object)).collect();
    let place = namespace.clone().unwrap_or_default();
    if automations.is_empty() {
        draft.notes.push(format!(
            "no ImageUpdateAutomation of namespace {place} is in what was read: without one nothing takes the tag to Git"
        ));
    }
    let mut notes = Vec::new();
    for automation in &automations {
        if automation.selects {
            notes.push(format!(
                "ImageUpdateAutomation {} takes policies by label: let its policySelector accept those with tidegate.dev/set: \
                 {}",
                automation.object.name, draft.name
            ));
        }
        let outside = draft.edits.iter().filter_map(|edit| draft.sources.get(edit.source)).find(|source| {
            automations.len() == 1
                && !automation.path.is_empty()
                && !source.name.starts_with(&format!("{}/", automation.path))
        });
        if let Some(source) = outside {
            notes.push(format!(
                "ImageUpdateAutomation {} changes files below {} alone, and {} lies elsewhere: name the root of the \
                 repository if that is why, or correct `update.path`",
                automation.object.name, automation.path, source.name
            ));
        }
    }
    draft.notes.append(&mut notes);
}
