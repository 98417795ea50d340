//! Which images share a tag, and who moves it. Pure.
//!
//! Places that one policy writes belong together. Beside that, images of one owner that run the same tag do: they are
//! released together, whoever writes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::init::inventory::{Inventory, Known};
use crate::cli::init::marker::PolicyName;
use crate::cli::init::uses::Use;

/// Tags that are moved: to carry the same one does not mean to be released together.
const MOVING: [&str; 10] =
    ["latest", "stable", "main", "master", "dev", "develop", "edge", "nightly", "production", "staging"];

/// How the images of a group are moved today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// One policy looks at one repository and moves all.
    OnePolicy,
    /// Each image, or some of them, has a policy of its own.
    SeveralPolicies,
    /// Nothing says who moves them.
    Unmarked,
}

/// Images that share a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How they are moved.
    pub trap: Trap,
    /// The policies that move them, the lead's first.
    pub policies: Vec<PolicyName>,
    /// The repository of the lead.
    pub lead: String,
    /// All repositories, the lead first, then in the order of the text.
    pub repositories: Vec<String>,
    /// Places in the list of all uses.
    pub uses: Vec<usize>,
}

/// Policies and the uses that they move.
type Moved = Vec<(PolicyName, Vec<usize>)>;

/// Owner and tag.
type Common = (String, String);

/// A group before its lead is known.
type Draft = (Trap, Vec<PolicyName>, Vec<usize>);

/// What was found beside the groups, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouped {
    /// The groups.
    pub groups: Vec<Group>,
    /// Sentences on what is no group, or is one already.
    pub notes: Vec<String>,
    /// Sentences on what would be a group if more were known.
    pub problems: Vec<String>,
}

/// Finds the groups.
pub fn find(inventory: &Inventory) -> Grouped {
    let mut grouped = Grouped::default();
    let mut by_policy: BTreeMap<PolicyName, Vec<usize>> = BTreeMap::new();
    let mut open = Vec::new();
    for (number, place) in inventory.uses.iter().enumerate() {
        let known = |known: &&Known| {
            place.policy.as_ref().is_some_and(|policy| known.policies.contains(&policy.name))
                || known.repositories.contains(&place.repository)
        };
        if inventory.known.iter().any(|set| known(&set)) {
            continue;
        }
        match (&place.policy, &place.tag) {
            (Some(policy), _) => by_policy.entry(policy.clone()).or_default().push(number),
            (None, Some(_)) => open.push(number),
            (None, None) => {}
        }
    }
    for known in &inventory.known {
        grouped
            .notes
            .push(format!("ReleaseSet {} is there already; its images are left out", known.object.name));
    }
    let (together, alone): (Vec<_>, Vec<_>) =
        by_policy.into_iter().partition(|(_, uses)| repositories(inventory, uses).len() > 1);
    let mut drafts: Vec<Draft> =
        together.into_iter().map(|(policy, uses)| (Trap::OnePolicy, vec![policy], uses)).collect();
    drafts.extend(several(inventory, alone, &mut open));
    let more = unmarked(inventory, &mut drafts, open);
    drafts.extend(more);
    for (trap, policies, uses) in drafts {
        match group(inventory, trap, policies, uses) {
            Ok(group) => grouped.groups.push(group),
            Err(problem) => grouped.problems.push(problem),
        }
    }
    grouped
}

/// Repositories in the order of the uses.
fn repositories(inventory: &Inventory, uses: &[usize]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for place in uses.iter().filter_map(|number| inventory.uses.get(*number)) {
        if !all.contains(&place.repository) {
            all.push(place.repository.clone());
        }
    }
    all
}

/// Host and path without the last part; images of one owner are released together more likely than others.
fn owner(repository: &str) -> &str {
    repository.rsplit_once('/').map_or("", |(owner, _)| owner)
}

/// What images that are released together have in common, if this one can be one of them.
fn common(place: &Use) -> Option<Common> {
    let tag = place.tag.as_deref().filter(|tag| !MOVING.contains(tag))?;
    Some((owner(&place.repository).to_owned(), tag.to_owned()))
}

/// Joins policies of one image each that move the same tag in one namespace. Where that would hold one repository twice,
/// as with two environments, what lies in one folder belongs together.
fn several(inventory: &Inventory, alone: Moved, open: &mut Vec<usize>) -> Vec<Draft> {
    type Key = (String, Common);
    let mut by_tag: BTreeMap<Key, Moved> = BTreeMap::new();
    for (policy, uses) in alone {
        let place = uses.first().and_then(|number| inventory.uses.get(*number));
        let Some(key) = place.and_then(common) else { continue };
        by_tag.entry((policy.namespace.clone(), key)).or_default().push((policy, uses));
    }
    let mut drafts = Vec::new();
    for (_, members) in by_tag {
        let uses: Vec<usize> = members.iter().flat_map(|(_, uses)| uses.clone()).collect();
        let names: BTreeSet<String> = repositories(inventory, &uses).into_iter().collect();
        let parts = if names.len() == members.len() { vec![members] } else { by_folder(inventory, members) };
        for members in parts {
            let uses: Vec<usize> = members.iter().flat_map(|(_, uses)| uses.clone()).collect();
            if repositories(inventory, &uses).len() > 1 {
                let policies = members.into_iter().map(|(policy, _)| policy).collect();
                drafts.push((Trap::SeveralPolicies, policies, uses));
            } else if let Some((policy, uses)) = members.into_iter().next() {
                // One policy, one image: perhaps others run its tag without a marker.
                open.extend(uses.iter().copied());
                drop(policy);
            }
        }
    }
    drafts
}

fn by_folder(inventory: &Inventory, members: Moved) -> Vec<Moved> {
    let mut by_source: BTreeMap<usize, Moved> = BTreeMap::new();
    for (policy, uses) in members {
        let source =
            uses.first().and_then(|number| inventory.uses.get(*number)).map(|place| place.object.source);
        by_source.entry(source.unwrap_or_default()).or_default().push((policy, uses));
    }
    by_source.into_values().collect()
}

/// Joins images without a marker to the one group that runs their tag, and to each other.
fn unmarked(inventory: &Inventory, drafts: &mut [Draft], open: Vec<usize>) -> Vec<Draft> {
    let mut by_tag: BTreeMap<(Option<String>, Common), Vec<usize>> = BTreeMap::new();
    for number in open {
        let Some(place) = inventory.uses.get(number) else { continue };
        let Some(key) = common(place) else { continue };
        let mut same: Vec<_> = drafts
            .iter_mut()
            .filter(|(_, _, uses)| {
                uses.iter()
                    .filter_map(|number| inventory.uses.get(*number))
                    .any(|other| common(other) == Some(key.clone()))
            })
            .collect();
        match same.as_mut_slice() {
            [(_, _, uses)] => {
                if !repositories(inventory, uses).contains(&place.repository) {
                    uses.push(number);
                }
            }
            _ => by_tag.entry((place.object.namespace.clone(), key)).or_default().push(number),
        }
    }
    let shared = by_tag.into_values().filter(|uses| repositories(inventory, uses).len() > 1);
    shared
        .map(|uses| {
            let places = uses.iter().filter_map(|number| inventory.uses.get(*number));
            let marked: BTreeSet<PolicyName> = places.filter_map(|place| place.policy.clone()).collect();
            let policies: Vec<PolicyName> =
                if marked.is_empty() { following(inventory, &uses) } else { marked.into_iter().collect() };
            match policies.len() {
                0 => (Trap::Unmarked, policies, uses),
                1 => (Trap::OnePolicy, policies, uses),
                _ => (Trap::SeveralPolicies, policies, uses),
            }
        })
        .collect()
}

/// Policies that look at one of the images; in a cluster nothing else tells who moves them.
fn following(inventory: &Inventory, uses: &[usize]) -> Vec<PolicyName> {
    let wanted = repositories(inventory, uses);
    let mut policies: Vec<(usize, PolicyName)> = Vec::new();
    for rule in &inventory.rules {
        let namespace = rule.object.namespace.clone().unwrap_or_default();
        let scanned = inventory.scanned_by(rule, &namespace);
        if let Some(place) = scanned.and_then(|scanned| wanted.iter().position(|one| *one == scanned.image)) {
            policies.push((place, PolicyName { namespace, name: rule.object.name.clone() }));
        }
    }
    policies.sort();
    policies.into_iter().map(|(_, policy)| policy).collect()
}

fn group(
    inventory: &Inventory,
    trap: Trap,
    mut policies: Vec<PolicyName>,
    uses: Vec<usize>,
) -> Result<Group, String> {
    let mut repositories = repositories(inventory, &uses);
    let places: Vec<(usize, &PolicyName)> = policies
        .iter()
        .filter_map(|policy| {
            let rule = inventory.rule(policy)?;
            let image = &inventory.scanned_by(rule, &policy.namespace)?.image;
            Some((repositories.iter().position(|one| one == image).unwrap_or(usize::MAX), policy))
        })
        .collect();
    let lead = places.iter().min().map(|(place, policy)| (*place, (*policy).clone()));
    let lead_repository = match (&lead, policies.first()) {
        (Some((place, policy)), _) => {
            let place = *place;
            let followed = || {
                let scanned = inventory.scanned_by(inventory.rule(policy)?, &policy.namespace)?;
                Some(scanned.image.clone())
            };
            repositories.get(place).cloned().or_else(followed).unwrap_or_default()
        }
        (None, Some(policy)) => {
            return Err(format!(
                "{} share a tag by markers of ImagePolicy {policy}, but that policy, or its ImageRepository, is not in \
                 what was read: name its file too",
                repositories.join(", ")
            ));
        }
        (None, None) => repositories.first().cloned().unwrap_or_default(),
    };
    if let Some((_, policy)) = lead {
        policies.sort_by_key(|one| *one != policy);
    }
    repositories.retain(|one| *one != lead_repository);
    repositories.insert(0, lead_repository.clone());
    Ok(Group { trap, policies, lead: lead_repository, repositories, uses })
}
