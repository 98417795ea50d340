//! How far Flux has taken each imagePolicy target that carries the promoted release, and the one request for a scan.

use jiff::Timestamp;

use crate::api::ReleaseSetStatus;
use crate::api::status;
use crate::api::v1alpha1::TargetStatus;
use crate::controller::context::Context;
use crate::controller::live::{self, Live};
use crate::engine::looks::paced;
use crate::engine::policy::Policy;
use crate::engine::report::TargetReports;
use crate::flux::follow::{self, Observed};
use crate::flux::objects::ImagePolicy;
use crate::flux::observe::observe;
use crate::flux::reader::{Reader, Seen};
use crate::model::{FluxObject, Promoted, TargetKind, TargetName, TargetState};
use crate::telemetry::kube_call::{MESSAGE_MAX_BYTES, clip};

/// What a target says of what follows it.
struct Followed<'a> {
    name: &'a TargetName,
    policy: &'a str,
    repository: &'a str,
    automation: Option<&'a String>,
    rolled_out_by: &'a [FluxObject],
}

/// Puts how far each imagePolicy target is in the place of "its object carries the release". What cannot be read is a
/// sentence, no error.
pub async fn follow(context: &Context, live: &Live, policy: &Policy, reports: &mut TargetReports) {
    let Some(committed) = status::committed(&live.status) else { return };
    let reader = Reader::new(context.client.clone(), &live.name.namespace);
    for followed in followed(policy) {
        let Some(report) = reports.get_mut(followed.name).filter(|(state, _)| state.carries_release()) else {
            continue;
        };
        let (state, message) = progress(context, live, &reader, &followed, committed.promoted()).await;
        *report = (state, clip(&message, MESSAGE_MAX_BYTES));
    }
}

/// When to look again at what is under way, at the pace of a cell that is not Present; `None` when all is at rest.
pub fn due(
    policy: &Policy,
    status: &ReleaseSetStatus,
    reports: &TargetReports,
    now: Timestamp,
) -> Option<Timestamp> {
    let under_way = followed(policy).filter(|followed| {
        let report = reports.get(followed.name);
        report.is_some_and(|(state, _)| {
            state.carries_release() && !follow::is_final(*state, followed.rolled_out_by)
        })
    });
    let gaps = under_way.map(|followed| {
        let since = kept(status, followed.name).and_then(|kept| kept.since.parse::<Timestamp>().ok());
        paced(now.duration_since(since.unwrap_or(now)), policy.interval)
    });
    gaps.min().and_then(|gap| now.checked_add(gap).ok())
}

fn followed(policy: &Policy) -> impl Iterator<Item = Followed<'_>> {
    policy.targets.iter().filter_map(|target| match &target.kind {
        TargetKind::ImagePolicy { name, image_repository, image_update_automation, rolled_out_by } => {
            Some(Followed {
                name: &target.name,
                policy: name,
                repository: image_repository,
                automation: image_update_automation.as_ref(),
                rolled_out_by,
            })
        }
        TargetKind::ConfigMap { .. } | TargetKind::ResourceSetInputProvider { .. } => None,
    })
}

async fn progress(
    context: &Context,
    live: &Live,
    reader: &Reader,
    followed: &Followed<'_>,
    promoted: &Promoted,
) -> (TargetState, String) {
    let lead = promoted.release.images.first().map_or(&promoted.release.tag, |lead| &lead.tag);
    let mut observed = Observed {
        namespace: live.name.namespace.clone(),
        policy_name: followed.policy.to_owned(),
        repository_name: followed.repository.to_owned(),
        automation_name: followed.automation.cloned(),
        tag: lead.to_string(),
        promoted_at: promoted.at,
        ..Observed::default()
    };
    observed.policy = reader.get::<ImagePolicy>(followed.policy).await;
    if follow::is_selected(&observed)
        && let Some(rest) = at_rest(live, followed, promoted)
    {
        return rest;
    }
    let observed = observe(reader, observed, followed.rolled_out_by).await;
    ask_for_scan(context, live, reader, &observed, promoted).await;
    follow::progress(&observed)
}

/// What status says, when nothing more can come of this release and the target was not edited since.
fn at_rest(live: &Live, followed: &Followed<'_>, promoted: &Promoted) -> Option<(TargetState, String)> {
    let kept = kept(&live.status, followed.name)?;
    let state = [TargetState::RolledOut, TargetState::Committed]
        .into_iter()
        .find(|state| state.word() == kept.state && follow::is_final(*state, followed.rolled_out_by))?;
    let is_same =
        kept.sequence == Some(promoted.sequence) && live.status.observed_generation == live.generation;
    is_same.then(|| (state, kept.message.clone().unwrap_or_default()))
}

fn kept<'a>(status: &'a ReleaseSetStatus, name: &TargetName) -> Option<&'a TargetStatus> {
    status.targets.iter().find(|target| target.name == name.as_str())
}

/// Asks for a scan that knows the tag: once for each commit, whose instant is the value. A failure is logged; the state
/// says what is waited for, and the next look tries again.
async fn ask_for_scan(
    context: &Context,
    live: &Live,
    reader: &Reader,
    observed: &Observed,
    promoted: &Promoted,
) {
    let Seen::Found(_) = &observed.repository else { return };
    let asked = promoted.at.to_string();
    let Some(repository) = follow::to_be_scanned(observed, &asked) else { return };
    // As before every write beside the status: the set as it is at this moment (design §4 Targets).
    match live::read(context, &live.name.namespace, &live.name.name).await {
        Ok(Some(now)) if may_write(live, &now) => {}
        Ok(_) => return,
        Err(error) => {
            tracing::info!(set = %live.name, "{error}");
            return;
        }
    }
    let written = reader.request_scan(repository, &asked).await;
    let outcome = match &written {
        Ok(()) => "ok",
        Err(error) if error.is_conflict() => "conflict",
        Err(_) => "error",
    };
    context.metrics.count_write("scan", outcome);
    if let Err(error) = written {
        tracing::info!(set = %live.name, "failed to ask ImageRepository/{} for a scan: {error}", repository.name);
    }
}

fn may_write(then: &Live, now: &Live) -> bool {
    let sequence = |live: &Live| live.status.promoted.as_ref().map(|promoted| promoted.sequence);
    let is_suspended = now.spec().get("suspend").and_then(serde_json::Value::as_bool) == Some(true);
    now.name.uid == then.name.uid && !now.deleting && !is_suspended && sequence(now) == sequence(then)
}
