//! Whether everything in `rolledOutBy` has applied what was taken to Git.
//!
//! An automation writes its whole status at the end of a run that succeeded: `observedSourceRevision` is then the
//! commit that was pushed, or, where there was nothing to push, the one found. So its tree holds what `observedPolicies`
//! says, and whoever applied that commit, or the one pushed since the promotion, has applied the release.
//!
//! A later commit of the branch holds it too, unless somebody took it back by hand or pushed with force. That one is
//! later is told by the artifact: it was stored later than the push by more than a fetch may take, so that the fetch
//! began after the push. It holds for a GitRepository that follows the very branch that is pushed to, and as far as the
//! clocks of image-automation and source-controller agree. Anything else waits until the automation has seen that commit.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Observed, failure, pushed, short, source_key, switched_branch};
use crate::flux::objects::{Applier, GitRepository, ImageUpdateAutomation, Object, Reference};
use crate::flux::reader::Seen;
use crate::model::FluxObject;
use crate::model::target::FluxKind;

/// How long a fetch of a GitRepository may take when its spec does not say (default of its CRD).
const FETCH_LIMIT: Duration = Duration::from_mins(1);

/// The first object that has not applied the release, and what to do; `None` when all have.
pub(super) fn unfinished(observed: &Observed, taken: &[&Object<ImageUpdateAutomation>]) -> Option<String> {
    observed.appliers.iter().find_map(|(named, seen)| waits(observed, taken, named, seen))
}

fn waits(
    observed: &Observed,
    taken: &[&Object<ImageUpdateAutomation>],
    named: &FluxObject,
    seen: &Seen<Object<Applier>>,
) -> Option<String> {
    let applier = match seen {
        Seen::Found(applier) => applier,
        Seen::Unreadable(why) => return Some(why.clone()),
        Seen::Absent => {
            return Some(format!("{named} does not exist: create it, or correct rolledOutBy of the target"));
        }
        Seen::Unread => return Some(format!("{named} was not looked at yet")),
    };
    let reported = match named.kind {
        FluxKind::Kustomization => applied(observed, taken, applier),
        FluxKind::HelmRelease => applier.is_ready() && is_of_commit(observed, taken, applier),
    };
    if reported {
        return None;
    }
    if applier.body.spec.suspend {
        return Some(format!("{named} is suspended: resume it"));
    }
    if let Some(why) = failure(&applier.body.status.conditions) {
        return Some(format!("{named} failed: {why}"));
    }
    let names_no_commit =
        named.kind == FluxKind::HelmRelease && applier.is_ready() && kustomizations(observed) == 0;
    if names_no_commit {
        return Some(format!(
            "{named} is Ready and does not say of which commit: name the Kustomization that holds it in rolledOutBy too"
        ));
    }
    let commit = taken.iter().find_map(|automation| pushed(observed, automation)).map_or("it", short);
    Some(format!("{named} has not applied {commit} yet"))
}

/// Whether a Kustomization reports a revision that holds the release.
fn applied(observed: &Observed, taken: &[&Object<ImageUpdateAutomation>], applier: &Object<Applier>) -> bool {
    let Some(revision) = applier.body.status.last_applied_revision.as_deref() else { return false };
    let key = |reference: &Reference| source_key(&observed.namespace, reference);
    let source = key(&applier.body.spec.source_ref);
    let of_source =
        |automation: &&&Object<ImageUpdateAutomation>| key(&automation.body.spec.source_ref) == source;
    let is_followed = taken.iter().any(|automation| of_source(&automation));
    taken.iter().any(|automation| {
        if pushed(observed, automation).is_some_and(|commit| commit_of(revision) == commit) {
            return true;
        }
        // A branch that is to be merged says nothing of the one that is applied.
        let same_branch = switched_branch(observed, automation) == Ok(None);
        let of_source = of_source(&automation) || !is_followed;
        let found = automation.body.status.observed_source_revision.as_deref();
        same_branch
            && of_source
            && (found.is_some_and(|found| commit_of(found) == commit_of(revision))
                || is_later(observed, automation, revision))
    })
}

/// Whether a revision is an artifact that was fetched after the push.
fn is_later(observed: &Observed, automation: &Object<ImageUpdateAutomation>, revision: &str) -> bool {
    let key = source_key(&observed.namespace, &automation.body.spec.source_ref);
    let Some(source) = observed.sources.get(&key).and_then(Seen::found) else { return false };
    let Some(artifact) = source.body.status.artifact.as_ref() else { return false };
    let Some(fetched) = artifact.last_update_time else { return false };
    let pushed_at = pushed(observed, automation).and(automation.body.status.last_push_time);
    let limit = SignedDuration::try_from(fetch_limit(source)).unwrap_or(SignedDuration::MAX);
    let after = pushed_at.and_then(|at| at.checked_add(limit).ok());
    artifact.revision == revision
        && follows_pushed_branch(source, automation)
        && after.is_some_and(|after| fetched > after)
}

/// The GitRepository fetches the branch that is pushed to, and nothing that goes before a branch.
fn follows_pushed_branch(source: &Object<GitRepository>, automation: &Object<ImageUpdateAutomation>) -> bool {
    let reference = &source.body.spec.reference;
    let is_branch = reference.tag.is_none()
        && reference.semver.is_none()
        && reference.name.is_none()
        && reference.commit.is_none();
    let git = automation.body.spec.git.as_ref();
    let checkout = git.and_then(|git| git.checkout.as_ref());
    is_branch && checkout.is_none_or(|checkout| checkout.reference.branch == reference.branch)
}

/// `spec.timeout` in Go's form, as far as it is whole minutes and seconds; else ten times the default.
fn fetch_limit(source: &Object<GitRepository>) -> Duration {
    let Some(text) = source.body.spec.timeout.as_deref() else { return FETCH_LIMIT };
    let (minutes, rest) = text.split_once('m').unwrap_or(("0", text));
    let seconds = rest.strip_suffix('s').unwrap_or(if rest.is_empty() { "0" } else { rest });
    match (minutes.parse::<u32>(), seconds.parse::<u32>()) {
        (Ok(minutes), Ok(seconds)) => Duration::from_secs(u64::from(minutes) * 60 + u64::from(seconds)),
        _ => FETCH_LIMIT * 10,
    }
}

/// Whether a HelmRelease that is Ready is so with the release: its chart is named after the commit, or every
/// Kustomization beside it, one of which made it what it is, has applied the release. Those were read before it.
fn is_of_commit(
    observed: &Observed,
    taken: &[&Object<ImageUpdateAutomation>],
    applier: &Object<Applier>,
) -> bool {
    let version = applier.body.status.last_attempted_revision.as_deref().unwrap_or_default();
    let is_named = taken
        .iter()
        .filter_map(|automation| pushed(observed, automation))
        .any(|commit| version.rsplit_once('+').is_some_and(|(_, build)| build == short(commit)));
    let beside = observed.appliers.iter().filter(|(named, _)| named.kind == FluxKind::Kustomization);
    let all_applied = beside.fold(true, |all, (_, seen)| {
        all && seen.found().is_some_and(|kustomization| applied(observed, taken, kustomization))
    });
    is_named || (kustomizations(observed) > 0 && all_applied)
}

fn kustomizations(observed: &Observed) -> usize {
    observed.appliers.iter().filter(|(named, _)| named.kind == FluxKind::Kustomization).count()
}

/// The commit of `main@sha1:COMMIT`, or of `main/COMMIT` as it was written before.
fn commit_of(revision: &str) -> &str {
    revision.rsplit([':', '/']).next().unwrap_or(revision)
}
