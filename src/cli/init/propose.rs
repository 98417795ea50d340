//! From a group of images to a ReleaseSet, the changes of files that go with it, and words. Pure.

use std::collections::BTreeSet;

use crate::api::manifest;
use crate::api::v1alpha1::{
    LocalReference, RegistryAccess, RolledOutBy, RolledOutByKind, Target, TargetConfigMap, TargetImagePolicy,
};
use crate::api::validate;
use crate::cli::init::candidates::guess;
use crate::cli::init::edit::Edit;
use crate::cli::init::gather::Source;
use crate::cli::init::group::{Group, Trap};
use crate::cli::init::inventory::{Inventory, Object, Scanned};
use crate::cli::init::marker::PolicyName;
use crate::cli::init::output::{Registry, Set, SetCandidates, SetImage, Spec};
use crate::cli::init::uses::Use;
use crate::cli::init::{rewire, words};
use crate::engine::policy::{IMAGES_MAX, Policy, TARGETS_MAX};
use crate::model::Tag;
use crate::model::names::LABEL_MAX_BYTES;

/// What becomes of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The set.
    pub set: Set,
    /// It as YAML, ready to be applied.
    pub yaml: String,
    /// How the images are moved today.
    pub trap: Trap,
    /// Each image and where it is written.
    pub images: Vec<Sibling>,
    /// Changes of files.
    pub edits: Vec<Edit>,
    /// What can go wrong today, in sentences.
    pub risks: Vec<String>,
    /// What to know before it is applied, in sentences.
    pub notes: Vec<String>,
}

/// One image of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its name in the set.
    pub name: String,
    /// Where it lives.
    pub repository: String,
    /// Its tag where it is written first.
    pub runs: Option<String>,
    /// How its tag is made of the shared one.
    pub template: Option<String>,
    /// Places where it is written: `file:line`.
    pub places: Vec<String>,
}

/// What a proposal is made from.
pub struct Draft<'a> {
    /// Everything that was found.
    pub inventory: &'a Inventory,
    /// The texts that it was found in.
    pub sources: &'a [Source],
    /// The group.
    pub group: &'a Group,
    /// Name of the set.
    pub name: String,
    /// Where it goes.
    pub namespace: Option<String>,
    /// Its images, the lead first.
    pub siblings: Vec<Sibling>,
    /// Names that the targets must not have.
    pub taken: BTreeSet<String>,
    /// Changes so far.
    pub edits: Vec<Edit>,
    /// Sentences so far.
    pub notes: Vec<String>,
    /// Targets so far.
    pub targets: Vec<Target>,
}

/// Makes a set of a group; `names` are those of sets that are there, by namespace.
///
/// # Errors
/// In a sentence, why no set can be made that works unchanged.
pub fn propose(
    inventory: &Inventory,
    sources: &[Source],
    group: &Group,
    names: &mut BTreeSet<(Option<String>, String)>,
) -> Result<Proposal, String> {
    if group.repositories.len() > IMAGES_MAX {
        return Err(format!(
            "{} images share a tag, and a set has at most {IMAGES_MAX}",
            group.repositories.len()
        ));
    }
    let namespace = namespace(inventory, group);
    let siblings = siblings(inventory, sources, group);
    let name = set_name(group, &siblings, |name| !names.contains(&(namespace.clone(), name.to_owned())));
    let taken = inventory.rules.iter().map(|rule| rule.object.name.clone()).collect();
    let mut draft = Draft {
        inventory,
        sources,
        group,
        name: name.clone(),
        namespace: namespace.clone(),
        siblings,
        taken,
        edits: Vec::new(),
        notes: Vec::new(),
        targets: Vec::new(),
    };
    rewire::rewire(&mut draft);
    let (set, yaml) = draft.set()?;
    names.insert((namespace, name));
    draft.edits.sort();
    draft.edits.dedup();
    let risks = words::risks(&draft);
    let Draft { siblings, edits, notes, .. } = draft;
    Ok(Proposal { set, yaml, trap: group.trap, images: siblings, edits, risks, notes })
}

/// Where markers look for their policy, for there the ImagePolicy of the set must be; else where the images are.
fn namespace(inventory: &Inventory, group: &Group) -> Option<String> {
    let policy = group.policies.first().map(|policy| policy.namespace.clone());
    let mut places = group.uses.iter().filter_map(|number| inventory.uses.get(*number));
    let variable = places.clone().any(|place| place.variable.is_some() && place.policy.is_none());
    let applier = inventory.appliers.iter().find(|applier| applier.substitutes_at.is_some());
    let applier = applier.filter(|_| variable).and_then(|applier| applier.object.namespace.clone());
    policy
        .or(applier)
        .or_else(|| places.find_map(|place| place.object.namespace.clone()))
        .filter(|name| !name.is_empty())
}

/// A text as the name of something inside a set.
fn label(text: &str) -> String {
    let mut name = String::new();
    for c in text.to_ascii_lowercase().chars() {
        let c = if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
        if name.len() < LABEL_MAX_BYTES - "-release-00".len()
            && !(c == '-' && (name.is_empty() || name.ends_with('-')))
        {
            name.push(c);
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// The first name that is free: as it is, or with a number.
fn free(name: &str, is_free: impl Fn(&str) -> bool) -> String {
    let numbered = (2..=IMAGES_MAX * TARGETS_MAX).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| is_free(name))
        .unwrap_or_else(|| name.to_owned())
}

fn set_name(group: &Group, siblings: &[Sibling], is_free: impl Fn(&str) -> bool) -> String {
    let mut parts = group.lead.rsplit('/').skip(1);
    // `ghcr.io/acme/app`: acme. Of `registry.test/app` the host says nothing.
    let owner = parts.next().filter(|part| !part.contains(['.', ':'])).map(label);
    let lead = siblings.first().map(|sibling| sibling.name.clone());
    let name = owner.filter(|name| !name.is_empty()).or(lead).unwrap_or_else(|| "release".to_owned());
    free(&name, is_free)
}

fn siblings(inventory: &Inventory, sources: &[Source], group: &Group) -> Vec<Sibling> {
    let mut siblings: Vec<Sibling> = Vec::new();
    let mut lead_tag: Option<String> = None;
    for repository in &group.repositories {
        let uses: Vec<&Use> = group
            .uses
            .iter()
            .filter_map(|number| inventory.uses.get(*number))
            .filter(|place| place.repository == *repository)
            .collect();
        let runs = uses.iter().find_map(|place| place.tag.clone());
        if siblings.is_empty() {
            lead_tag.clone_from(&runs);
        }
        let wanted = label(repository.rsplit('/').next().unwrap_or_default());
        let wanted = if wanted.is_empty() { "image".to_owned() } else { wanted };
        let name = free(&wanted, |name| !siblings.iter().any(|sibling| sibling.name == name));
        let template = match (&lead_tag, &runs) {
            (Some(lead), Some(own)) if lead != own && own.matches(lead.as_str()).count() == 1 => {
                Some(own.replace(lead.as_str(), "{tag}"))
            }
            _ => None,
        };
        let places = uses.iter().map(|place| place_of(sources, &place.object, place.line)).collect();
        siblings.push(Sibling { name, repository: repository.clone(), runs, template, places });
    }
    siblings
}

/// `file:line`, or the object of a cluster.
pub fn place_of(sources: &[Source], object: &Object, line: usize) -> String {
    match sources.get(object.source) {
        Some(source) if source.is_file => format!("{}:{line}", source.name),
        Some(source) => source.name.clone(),
        None => String::new(),
    }
}

// === impl Draft ===

impl Draft<'_> {
    /// The uses of the group.
    pub fn uses(&self) -> impl Iterator<Item = &Use> {
        self.group.uses.iter().filter_map(|number| self.inventory.uses.get(*number))
    }

    /// The policy that moves the lead.
    pub fn policy(&self) -> Option<&PolicyName> {
        self.group.policies.first()
    }

    /// The ImageRepository of the lead, wherever it is.
    pub fn scanned_lead(&self) -> Option<&Scanned> {
        let of_policy = self
            .policy()
            .and_then(|policy| self.inventory.scanned_by(self.inventory.rule(policy)?, &policy.namespace));
        of_policy
            .filter(|scanned| scanned.image == self.group.lead)
            .or_else(|| self.inventory.scanned_in(&self.group.lead, self.namespace.as_deref()))
    }

    /// The ImageRepository of an image in the set's namespace.
    pub fn scanned(&self, repository: &str) -> Option<&Scanned> {
        self.inventory.scanned_in(repository, self.namespace.as_deref())
    }

    /// A name for a target's object that nothing has.
    pub fn target_name(&mut self, suffix: &str) -> String {
        let name = free(&format!("{}-release{suffix}", self.name), |name| !self.taken.contains(name));
        self.taken.insert(name.clone());
        name
    }

    /// Adds a target that writes an ImagePolicy for an image of the set; answers its name.
    pub fn image_policy(&mut self, suffix: &str, repository: &str) -> String {
        let name = self.target_name(suffix);
        let automations = || {
            let same = |object: &Object| object.namespace.is_none() || object.namespace == self.namespace;
            self.inventory.automations.iter().filter(move |automation| same(&automation.object))
        };
        let automation = automations().next().filter(|_| automations().count() == 1);
        let target = Target {
            name: format!("flux{suffix}"),
            config_map: None,
            image_policy: Some(TargetImagePolicy {
                name: name.clone(),
                image_repository_ref: LocalReference { name: repository.to_owned() },
                image_update_automation_ref: automation
                    .map(|automation| LocalReference { name: automation.object.name.clone() }),
                rolled_out_by: self.rolled_out_by(),
            }),
            resource_set_input_provider: None,
        };
        self.targets.push(target);
        name
    }

    /// The one Kustomization beside the set that applies the folder of every place.
    fn rolled_out_by(&self) -> Vec<RolledOutBy> {
        let files: BTreeSet<&str> = self
            .uses()
            .filter_map(|place| self.sources.get(place.object.source))
            .map(|source| source.name.as_str())
            .collect();
        let holds = |folder: &str| {
            files.iter().all(|file| file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        };
        let mut fitting = self.inventory.appliers.iter().filter(|applier| {
            !applier.path.is_empty()
                && (applier.object.namespace.is_none() || applier.object.namespace == self.namespace)
                && holds(&applier.path)
        });
        match (fitting.next(), fitting.next()) {
            (Some(applier), None) if !files.is_empty() => {
                vec![RolledOutBy { kind: RolledOutByKind::Kustomization, name: applier.object.name.clone() }]
            }
            _ => Vec::new(),
        }
    }

    /// Adds the target that carries everything by digest; `keys` are variables beside `RELEASE_TAG`.
    pub fn config_map(&mut self, keys: &BTreeSet<String>) -> String {
        let name = self.target_name("");
        let keys = keys.iter().filter(|key| *key != "RELEASE_TAG");
        let keys = keys.map(|key| (key.clone(), "{tag}".to_owned())).collect();
        self.targets.push(Target {
            name: "config".to_owned(),
            config_map: Some(TargetConfigMap { name: name.clone(), keys }),
            image_policy: None,
            resource_set_input_provider: None,
        });
        name
    }

    fn images(&mut self) -> Vec<SetImage> {
        let mut images = Vec::new();
        let mut notes = Vec::new();
        for sibling in &self.siblings {
            let scanned = self.scanned(&sibling.repository);
            if let Some((scanned, provider)) = scanned.and_then(|one| Some((one, one.provider.as_ref()?))) {
                notes.push(format!(
                    "ImageRepository {} logs in by provider {provider}, and Tidegate makes no cloud tokens: write a pull \
                     Secret into registry.secretRef (docs/how-to/registry-credentials.md)",
                    scanned.object.name
                ));
            }
            let borrowed = scanned.filter(|scanned| scanned.provider.is_none());
            images.push(SetImage {
                name: sibling.name.clone(),
                repository: borrowed.is_none().then(|| sibling.repository.clone()),
                image_repository_ref: borrowed
                    .map(|scanned| LocalReference { name: scanned.object.name.clone() }),
                tag_template: sibling.template.clone(),
            });
        }
        self.notes.append(&mut notes);
        images
    }

    /// How the images without an ImageRepository are reached: as the lead is, where they share its host.
    fn registry(&mut self, images: &[SetImage]) -> Option<Registry> {
        let host = |repository: &str| repository.split('/').next().unwrap_or_default().to_owned();
        let scanned = self.scanned_lead()?;
        let bare: Vec<&str> = images.iter().filter_map(|image| image.repository.as_deref()).collect();
        let is_known = scanned.provider.is_none() && scanned.registry != RegistryAccess::default();
        if bare.is_empty() || !is_known {
            return None;
        }
        let is_foreign = scanned.object.namespace.is_some() && scanned.object.namespace != self.namespace;
        let lead_host = host(&self.group.lead);
        let registry = Registry::from(&scanned.registry);
        if is_foreign && registry != (Registry { insecure: registry.insecure, ..Registry::default() }) {
            self.notes.push(format!(
                "the Secrets that ImageRepository {} names are in another namespace: copy them beside the set",
                scanned.object.name
            ));
        }
        if let Some(other) = bare.iter().find(|repository| host(repository) != lead_host) {
            self.notes.push(format!(
                "nothing says how the registry of {other} is reached: write `registry` for it if it is private"
            ));
            return None;
        }
        Some(registry)
    }

    fn set(&mut self) -> Result<(Set, String), String> {
        let images = self.images();
        let registry = self.registry(&images);
        let running = self.siblings.iter().find_map(|sibling| sibling.runs.clone());
        let rule = self.policy().and_then(|policy| self.inventory.rule(policy));
        let (filter_tags, policy) = match (rule, &running) {
            (Some(rule), _) => (rule.filter_tags.clone(), rule.policy.clone()),
            (None, Some(tag)) => guess(tag).ok_or_else(|| {
                let all: Vec<&str> = self.siblings.iter().map(|sibling| sibling.name.as_str()).collect();
                format!(
                    "{} share the tag {tag}, which does not say what is newer, and no ImagePolicy does: write an \
                     ImagePolicy for one of them, or a ReleaseSet by hand",
                    all.join(", ")
                )
            })?,
            (None, None) => return Err(format!("{} has no tag", self.group.lead)),
        };
        let own = SetCandidates {
            filter_tags,
            policy: Some(policy),
            policy_ref: None,
            not_before: running.clone(),
        };
        let reference = |policy: &PolicyName| SetCandidates {
            policy_ref: Some(LocalReference { name: policy.name.clone() }),
            not_before: running.clone(),
            ..SetCandidates::default()
        };
        let mut tries = vec![own];
        // What our regular expressions or ranges cannot say, that policy can itself.
        tries.extend(self.policy().filter(|_| rule.is_some()).map(reference));
        let mut problems = String::new();
        for candidates in tries {
            let spec = Spec {
                images: images.clone(),
                registry: registry.clone(),
                platforms: vec!["linux/amd64".to_owned()],
                candidates,
                targets: self.targets.clone(),
            };
            let mut set = Set::new(self.name.clone(), self.namespace.clone(), spec);
            match judged(&set) {
                Ok(policy) => {
                    self.place_floor(&mut set, &policy);
                    let yaml = serde_saphyr::to_string(&set).map_err(|error| error.to_string())?;
                    return Ok((set, yaml));
                }
                Err(why) => problems = why,
            }
        }
        Err(format!("a set of {} would not be valid: {problems}", self.group.repositories.join(", ")))
    }

    /// A floor that the policy does not accept would hold everything up.
    fn place_floor(&mut self, set: &mut Set, policy: &Policy) {
        let candidates = &mut set.spec.candidates;
        let Some(text) = candidates.not_before.clone() else { return };
        let has_place = candidates.policy_ref.is_some()
            || text.parse::<Tag>().is_ok_and(|tag| policy.candidates.rank(&tag).is_ok());
        if !has_place {
            candidates.not_before = None;
            self.notes.push(format!(
                "the running tag {text} has no place in the policy's order, so that notBefore is left out: the newest \
                 complete release is promoted first, whatever runs"
            ));
        }
    }
}

/// The set as `lint` judges it.
fn judged(set: &Set) -> Result<Policy, String> {
    let yaml = serde_saphyr::to_string(set).map_err(|error| error.to_string())?;
    let manifests = manifest::read(&yaml).map_err(|error| error.to_string())?;
    let manifest = manifests.first().ok_or("nothing was written")?;
    validate::policy(&manifest.spec, 0)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
