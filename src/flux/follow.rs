//! How far Flux has taken the promoted release: a pure function from what was read to a state and a sentence.
//!
//! ```text
//!   ImagePolicy selects the tag ─▶ ImageUpdateAutomation takes it to Git ─▶ everything in rolledOutBy has applied it
//! ```
//!
//! Nothing is decided from it. Sentences hold no times and no ages, so that an unchanged state writes nothing.

mod rollout;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use kube::core::{Selector, SelectorExt};
use regex::Regex;

use crate::flux::objects::{
    Applier, Condition, GitRepository, ImagePolicy, ImageRepository, ImageUpdateAutomation, Object,
    Reference, ready,
};
use crate::flux::reader::{REQUESTED_AT, Seen};
use crate::model::{FluxObject, TargetState};
use crate::telemetry::kube_call::clip;

/// Longest piece of a Flux message that is repeated: with our own words around it, within 512 bytes.
const REPEATED_MAX_BYTES: usize = 240;
/// First characters of a commit that are shown, as in the versions that source-controller makes of it.
const COMMIT_SHOWN: usize = 12;
/// What image-reflector leaves out when an ImageRepository does not say (default of its CRD).
const EXCLUDED_BY_DEFAULT: &str = r"^.*\.sig$";
/// The branch that image-automation takes for the one checked out when nothing names one.
const DEFAULT_BRANCH: &str = "master";

/// What was read for one imagePolicy target. Steps that follow one that is not done are Unread.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Namespace of the set and of all objects but a GitRepository.
    pub namespace: String,
    /// Name of our ImagePolicy.
    pub policy_name: String,
    /// Name of the lead's ImageRepository.
    pub repository_name: String,
    /// The automation that the target names.
    pub automation_name: Option<String>,
    /// The promoted tag of the lead, as its template renders it.
    pub tag: String,
    /// `status.promoted.at`.
    pub promoted_at: Timestamp,
    /// Our ImagePolicy.
    pub policy: Seen<Object<ImagePolicy>>,
    /// The lead's ImageRepository.
    pub repository: Seen<Object<ImageRepository>>,
    /// The automation that the target names, or all of the namespace.
    pub automations: Seen<Vec<Object<ImageUpdateAutomation>>>,
    /// The GitRepositories of automations, by namespace/name.
    pub sources: BTreeMap<String, Seen<Object<GitRepository>>>,
    /// Everything in `rolledOutBy`.
    pub appliers: Vec<(FluxObject, Seen<Object<Applier>>)>,
}

/// How far the release is, and what comes next, in one sentence.
pub fn progress(observed: &Observed) -> (TargetState, String) {
    if let Err(why) = selected(observed) {
        return (TargetState::Applied, why);
    }
    let taken = match taken(observed) {
        Ok(taken) => taken,
        Err(why) => return (TargetState::Selected, why),
    };
    let waits = rollout::unfinished(observed, &taken);
    if waits.is_none() && !observed.appliers.is_empty() {
        let names: Vec<String> = observed.appliers.iter().map(|(object, _)| object.to_string()).collect();
        return (TargetState::RolledOut, format!("{} applied {}", names.join(", "), observed.tag));
    }
    for automation in &taken {
        let Some(commit) = pushed(observed, automation) else { continue };
        match switched_branch(observed, automation) {
            Ok(None) => {}
            Ok(Some(branch)) => {
                let commit = short(commit);
                return (
                    TargetState::AwaitingMerge,
                    format!("pushed to branch {branch} as {commit}: merge it"),
                );
            }
            // Not Committed, which may be the end: it is asked again at the next look.
            Err(why) => return (TargetState::Selected, why),
        }
    }
    let mut message =
        taken.iter().map(|automation| took(observed, automation)).collect::<Vec<_>>().join("; ");
    if let Some(waits) = waits {
        message = format!("{message}; {waits}");
    }
    (TargetState::Committed, message)
}

/// True when nothing more can come of this release: reading on would tell nothing.
pub fn is_final(state: TargetState, rolled_out_by: &[FluxObject]) -> bool {
    match state {
        TargetState::RolledOut => true,
        TargetState::Committed => rolled_out_by.is_empty(),
        _ => false,
    }
}

/// The ImageRepository that is to be asked for a scan: its last one is older than the promotion, the tag was not
/// selected, and nobody asked since. `asked` is the value that our own asking would write.
pub fn to_be_scanned<'a>(observed: &'a Observed, asked: &str) -> Option<&'a Object<ImageRepository>> {
    let repository = observed.repository.found()?;
    let is_behind = selected(observed).is_err() && !has_scanned(observed, repository);
    let has_asked = repository.annotations.get(REQUESTED_AT).is_some_and(|value| {
        value == asked || value.parse::<Timestamp>().is_ok_and(|at| at >= observed.promoted_at)
    });
    let may = !repository.body.spec.suspend && !repository.deleting;
    (is_behind && may && !has_asked).then_some(repository)
}

/// True when our policy selects the promoted tag.
pub fn is_selected(observed: &Observed) -> bool {
    selected(observed).is_ok()
}

/// The automations that took the tag to Git; empty while none has, or another is still behind.
pub fn takers(observed: &Observed) -> Vec<&Object<ImageUpdateAutomation>> {
    taken(observed).unwrap_or_default()
}

/// Key of a GitRepository in [`Observed::sources`].
pub fn source_key(namespace: &str, source: &Reference) -> String {
    format!("{}/{}", source.namespace.as_deref().unwrap_or(namespace), source.name)
}

/// Whether the policy selects the tag, or why not.
fn selected(observed: &Observed) -> Result<(), String> {
    let name = &observed.policy_name;
    let policy = match &observed.policy {
        Seen::Unread | Seen::Absent => {
            return Err(format!("ImagePolicy/{name} is gone; it is made anew at the next look"));
        }
        Seen::Unreadable(why) => return Err(why.clone()),
        Seen::Found(policy) => policy,
    };
    if policy.selected() == Some(observed.tag.as_str()) {
        return Ok(());
    }
    Err(unselected(observed, policy))
}

fn unselected(observed: &Observed, policy: &Object<ImagePolicy>) -> String {
    let name = &observed.repository_name;
    let tag = &observed.tag;
    let repository = match &observed.repository {
        Seen::Unreadable(why) => return why.clone(),
        Seen::Unread => return format!("ImagePolicy/{} has not selected {tag}", observed.policy_name),
        Seen::Absent => {
            return format!(
                "ImageRepository/{name} does not exist: create it, or correct imageRepositoryRef of the target"
            );
        }
        Seen::Found(repository) => repository,
    };
    if let Some(pattern) = hidden_by(repository, tag) {
        return format!(
            "exclusionList of ImageRepository/{name} hides {tag}: `{pattern}` matches it; correct the pattern"
        );
    }
    if repository.body.spec.suspend && !has_scanned(observed, repository) {
        return format!("ImageRepository/{name} is suspended, so {tag} is not found: resume it");
    }
    if !has_scanned(observed, repository) {
        let failed = failure(&repository.body.status.conditions);
        return failed.map_or_else(
            || format!("image-reflector has not scanned ImageRepository/{name} since {tag} was promoted"),
            |why| format!("image-reflector cannot scan ImageRepository/{name}: {why}"),
        );
    }
    let why =
        failure(&policy.body.status.conditions).unwrap_or_else(|| "it has not looked at it yet".to_owned());
    format!(
        "image-reflector has not selected {tag} for ImagePolicy/{} from ImageRepository/{name}: {why}",
        observed.policy_name
    )
}

/// Whether the last scan can know the tag: it shows it, or is younger than the promotion, before which the tag was seen.
/// Instants are whole seconds: a scan in the second of the promotion may have been before it.
fn has_scanned(observed: &Observed, repository: &Object<ImageRepository>) -> bool {
    repository.body.status.last_scan_result.as_ref().is_some_and(|scan| {
        scan.latest_tags.contains(&observed.tag) || scan.scan_time.is_some_and(|at| at > observed.promoted_at)
    })
}

fn hidden_by(repository: &Object<ImageRepository>, tag: &str) -> Option<String> {
    let by_default = || vec![EXCLUDED_BY_DEFAULT.to_owned()];
    let patterns = repository.body.spec.exclusion_list.clone().unwrap_or_else(by_default);
    patterns.into_iter().find(|pattern| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(tag)))
}

/// The automations that have taken the tag, or why none has.
fn taken(observed: &Observed) -> Result<Vec<&Object<ImageUpdateAutomation>>, String> {
    let automations = match (&observed.automations, &observed.automation_name) {
        (Seen::Unreadable(why), _) => return Err(why.clone()),
        (Seen::Unread, _) => return Err("ImageUpdateAutomations were not looked at yet".to_owned()),
        (Seen::Absent, name) => {
            let name = name.as_deref().unwrap_or_default();
            return Err(format!(
                "ImageUpdateAutomation/{name} does not exist: create it, or correct imageUpdateAutomationRef of the target"
            ));
        }
        (Seen::Found(automations), _) => automations,
    };
    let observes = |automation: &&Object<ImageUpdateAutomation>| {
        automation
            .body
            .status
            .observed_policies
            .get(&observed.policy_name)
            .map(|image| image.tag == observed.tag)
    };
    let taken: Vec<_> = automations.iter().filter(|automation| observes(automation) == Some(true)).collect();
    let behind = automations.iter().find(|automation| {
        observes(automation) == Some(false) && !automation.body.spec.suspend && selects(observed, automation)
    });
    match (behind, &observed.automation_name) {
        (None, _) if !taken.is_empty() => Ok(taken),
        (Some(behind), _) => Err(not_taken(observed, behind)),
        (None, Some(_)) if !automations.is_empty() => Err(not_taken(observed, &automations[0])),
        (None, _) => Err(taken_by_none(observed, automations)),
    }
}

/// Why this automation has not taken the tag.
fn not_taken(observed: &Observed, automation: &Object<ImageUpdateAutomation>) -> String {
    let name = format!("ImageUpdateAutomation/{}", automation.name);
    if automation.body.spec.suspend {
        return format!("{name} is suspended: resume it");
    }
    if !selects(observed, automation) {
        return format!(
            "policySelector of {name} does not match the labels of ImagePolicy/{}: widen it",
            observed.policy_name
        );
    }
    failure(&automation.body.status.conditions).map_or_else(
        || format!("{name} has not taken {} to Git yet", observed.tag),
        |why| format!("{name} failed: {why}"),
    )
}

fn taken_by_none(observed: &Observed, automations: &[Object<ImageUpdateAutomation>]) -> String {
    let selecting: Vec<_> = automations.iter().filter(|automation| selects(observed, automation)).collect();
    let running = selecting.iter().find(|automation| !automation.body.spec.suspend);
    if running.is_none()
        && let Some(suspended) = selecting.first()
    {
        return not_taken(observed, suspended);
    }
    if let Some(failed) = running.filter(|automation| failure(&automation.body.status.conditions).is_some()) {
        return not_taken(observed, failed);
    }
    format!(
        "no ImageUpdateAutomation of the namespace has taken it: is there a marker {}, and does its policySelector match?",
        marker(observed)
    )
}

/// Whether the automation takes our policy, by its labels.
fn selects(observed: &Observed, automation: &Object<ImageUpdateAutomation>) -> bool {
    let Some(selector) = &automation.body.spec.policy_selector else { return true };
    let labels = observed.policy.found().map(|policy| policy.labels.clone()).unwrap_or_default();
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(&labels))
}

fn took(observed: &Observed, automation: &Object<ImageUpdateAutomation>) -> String {
    let name = &automation.name;
    match pushed(observed, automation) {
        Some(commit) => format!("ImageUpdateAutomation/{name} pushed {}", short(commit)),
        None => format!(
            "ImageUpdateAutomation/{name} had nothing to push: Git holds {} already, or no file has the marker {}",
            observed.tag,
            marker(observed)
        ),
    }
}

/// The commit that was pushed since the promotion.
fn pushed<'a>(observed: &Observed, automation: &'a Object<ImageUpdateAutomation>) -> Option<&'a str> {
    let status = &automation.body.status;
    status.last_push_time.filter(|at| *at >= observed.promoted_at)?;
    status.last_push_commit.as_deref().filter(|commit| !commit.is_empty())
}

/// The branch that is pushed to, where it is another one than the one that is checked out.
fn switched_branch<'a>(
    observed: &Observed,
    automation: &'a Object<ImageUpdateAutomation>,
) -> Result<Option<&'a str>, String> {
    let spec = &automation.body.spec;
    let push = spec.git.as_ref().and_then(|git| git.push.as_ref()?.branch.as_deref());
    let Some(push) = push.filter(|branch| !branch.is_empty()) else { return Ok(None) };
    let own = spec.git.as_ref().and_then(|git| git.checkout.as_ref()).map(|checkout| &checkout.reference);
    let key = source_key(&observed.namespace, &spec.source_ref);
    let checkout = match (own, observed.sources.get(&key)) {
        (Some(own), _) => own.branch.clone().unwrap_or_default(),
        (None, Some(Seen::Found(source))) => {
            source.body.spec.reference.branch.clone().unwrap_or_else(|| DEFAULT_BRANCH.to_owned())
        }
        (None, Some(Seen::Unreadable(why))) => {
            return Err(format!("pushed to branch {push}; whether it is to be merged is not known: {why}"));
        }
        (None, _) => {
            return Err(format!(
                "pushed to branch {push}; whether it is to be merged is not known: GitRepository {key} does not exist \
                 or is in another namespace; name the branch in spec.git.checkout.ref of ImageUpdateAutomation/{}",
                automation.name
            ));
        }
    };
    Ok((push != checkout).then_some(push))
}

fn marker(observed: &Observed) -> String {
    format!(r#"{{"$imagepolicy": "{}:{}:tag"}}"#, observed.namespace, observed.policy_name)
}

fn short(commit: &str) -> &str {
    commit.get(..COMMIT_SHOWN).unwrap_or(commit)
}

/// Why something is not Ready, in its own words.
fn failure(conditions: &[Condition]) -> Option<String> {
    ready(conditions).filter(|ready| ready.status == "False").map(|ready| repeated(&ready.message))
}

/// A message of somebody else without what changes at each try: instants, durations as Go writes them, and the port that
/// a connection came from.
fn repeated(message: &str) -> String {
    static CHANGING: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r":\d+->|\b(\d+h)?(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.]*(Z|[+-]\d\d:\d\d)?").ok()
    });
    let steady = match &*CHANGING {
        Some(changing) => changing.replace_all(message.trim(), "…").into_owned(),
        None => message.trim().to_owned(),
    };
    clip(&steady, REPEATED_MAX_BYTES)
}
