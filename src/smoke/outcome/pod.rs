//! What one pod of a smoke Job says. Undisturbed is what nothing in the pod denies.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStateWaiting, Pod, PodStatus};

use crate::model::SmokeOutcome;
use crate::model::smoke::{Hindrance, HindranceKind};
use crate::smoke::identity::Identity;
use crate::smoke::pod::CONTAINER;

/// `status.reason` of a pod that ran into its own `activeDeadlineSeconds`.
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// Why a container has no image; from the kubelet's `images` package.
const IMAGE_REASONS: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];
/// Why a container with an image is not made; from the kubelet's `kuberuntime` package.
const CONFIG_REASONS: [&str; 3] = ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"];

/// One pod, read. Messages are for people, without times, not yet cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::smoke) enum PodReading {
    /// The container did what was expected, undisturbed, on the requested digest.
    Passed {
        /// When it ended, or had stayed up for long enough.
        at: Option<Timestamp>,
    },
    /// The container started and ended otherwise, undisturbed, on the requested digest.
    Failed {
        /// When it ended.
        at: Option<Timestamp>,
        /// Its exit code; none for one that ran out of time.
        exit_code: Option<i32>,
        /// How it ended: anything but Passed.
        outcome: SmokeOutcome,
        /// The same in words.
        message: String,
        /// Name of the pod, whose log tells more.
        pod: String,
    },
    /// It was evicted, deleted, lost or never started: no verdict, whatever its exit code is.
    NoVerdict {
        /// What kept it from giving one.
        why: Hindrance,
        /// Its container ran.
        started: bool,
    },
    /// It runs something else than what was asked for.
    Rewritten {
        /// What.
        why: String,
    },
    /// It cannot start yet.
    Waits {
        /// For what.
        what: Hindrance,
    },
    /// It is being started, or runs.
    Runs {
        /// When it has stayed up for long enough, if nothing happens.
        due_at: Option<Timestamp>,
    },
}

/// Reads one pod that the Job of `identity` owns; `timeout` is what the pod was given.
pub(in crate::smoke) fn read(
    pod: &Pod,
    identity: &Identity,
    timeout: SignedDuration,
    now: Timestamp,
) -> PodReading {
    if let Some(why) = rewritten(pod, identity) {
        return PodReading::Rewritten { why };
    }
    let empty = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let reason = status.reason.as_deref().unwrap_or_default();
    let terminated = terminated(status);
    if let Some(why) = disturbed(pod, status, reason) {
        let started = terminated.is_some_and(|end| end.started_at.is_some()) || running(status).is_some();
        return PodReading::NoVerdict { why: hindrance(HindranceKind::Evicted, why), started };
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    if reason == DEADLINE_EXCEEDED {
        return timed_out(pod, status, terminated, identity, timeout);
    }
    match (terminated, phase) {
        (Some(end), "Succeeded") if end.exit_code == 0 => match identity.stays_up {
            None => PodReading::Passed { at: finished(end) },
            Some(_) => failed(pod, end, identity),
        },
        (Some(end), "Failed") if end.exit_code != 0 => failed(pod, end, identity),
        (_, "Succeeded" | "Failed") => PodReading::NoVerdict {
            why: hindrance(
                HindranceKind::Unreadable,
                format!("its pod ended as {phase} and does not show how the container ended"),
            ),
            started: true,
        },
        // Ended containers of a pod that has not: the kubelet has not said its last word.
        (Some(_), _) => PodReading::Runs { due_at: None },
        (None, _) => match waits(status, identity) {
            Some(what) => PodReading::Waits { what },
            None => stays_up(pod, status, identity, now),
        },
    }
}

/// A container that runs: it passes once it is Ready and has run for as long as it must. The node's clock says
/// since when; the API server's, at which the pod was made, keeps a node whose clock is wrong from passing early.
fn stays_up(pod: &Pod, status: &PodStatus, identity: &Identity, now: Timestamp) -> PodReading {
    let (Some(span), Some(started)) = (identity.stays_up, running(status)) else {
        return PodReading::Runs { due_at: None };
    };
    let made = pod.metadata.creation_timestamp.as_ref().map_or(started, |time| time.0);
    let due_at = started.max(made).checked_add(span).unwrap_or(Timestamp::MAX);
    if now < due_at {
        return PodReading::Runs { due_at: Some(due_at) };
    }
    match condition(status, "Ready", "True") {
        Some(_) => PodReading::Passed { at: Some(due_at) },
        None => PodReading::Runs { due_at: None },
    }
}

fn hindrance(kind: HindranceKind, message: impl Into<String>) -> Hindrance {
    Hindrance { kind, message: message.into() }
}

/// Another digest than the requested one. Another host with the same digest is a mirror, and the same image.
fn rewritten(pod: &Pod, identity: &Identity) -> Option<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let image = containers
        .filter(|container| container.name == CONTAINER)
        .find_map(|container| container.image.as_deref())
        .unwrap_or("no image");
    let digest = identity.digest();
    let named = image.rsplit_once('@').map(|(_, digest)| digest);
    (digest.is_none() || named != digest.as_ref().map(crate::model::Digest::as_str)).then(|| {
        format!(
            "the pod was given {image} instead of {}: a mutating webhook rewrites images; exempt pods with the \
             label app.kubernetes.io/managed-by=tidegate from it",
            identity.image
        )
    })
}

fn disturbed(pod: &Pod, status: &PodStatus, reason: &str) -> Option<String> {
    if let Some(target) = condition(status, "DisruptionTarget", "True") {
        return Some(format!("its pod was disrupted ({})", target.0));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("its pod was deleted".to_owned());
    }
    (!matches!(reason, "" | DEADLINE_EXCEEDED)).then(|| {
        let message = status.message.as_deref().unwrap_or_default();
        let sep = if message.is_empty() { "" } else { ": " };
        format!("its pod was ended by the node ({reason}{sep}{message})")
    })
}

/// A pod whose own deadline ended it. Pulling the image counts against that deadline, but is no test.
fn timed_out(
    pod: &Pod,
    status: &PodStatus,
    terminated: Option<&ContainerStateTerminated>,
    identity: &Identity,
    timeout: SignedDuration,
) -> PodReading {
    let started = terminated.filter(|end| end.started_at.is_some());
    let Some(end) = started else {
        let what = format!("its container had not started after {timeout:#} (pulling the image counts)");
        let why = waits(status, identity).unwrap_or_else(|| hindrance(HindranceKind::ImagePull, what));
        return PodReading::NoVerdict { why, started: false };
    };
    let injected =
        pod.spec.iter().flat_map(|spec| &spec.containers).find(|container| container.name != CONTAINER);
    let hint = injected.map_or_else(String::new, |container| {
        format!("; the container {} was injected into the pod: switch that off for it", container.name)
    });
    let what = match identity.stays_up {
        None => format!("timed out after {timeout:#}"),
        Some(span) => format!("was not Ready for {span:#} within {timeout:#}"),
    };
    PodReading::Failed {
        at: finished(end),
        exit_code: None,
        outcome: SmokeOutcome::TimedOut,
        message: format!("{what}{hint}"),
        pod: name(pod),
    }
}

fn failed(pod: &Pod, end: &ContainerStateTerminated, identity: &Identity) -> PodReading {
    let code = end.exit_code;
    let said = end.message.as_deref().unwrap_or_default();
    let mut outcome = SmokeOutcome::Failed;
    let message = match (end.reason.as_deref(), identity.stays_up) {
        // The kubelet's words for a container that it lost sight of.
        (Some("ContainerStatusUnknown"), _) => {
            let why = hindrance(HindranceKind::Evicted, "the node lost sight of its container");
            return PodReading::NoVerdict { why, started: true };
        }
        (Some("OOMKilled"), _) => {
            outcome = SmokeOutcome::OomKilled;
            format!("was killed for using more memory than its limit of {} (OOMKilled)", memory_limit(pod))
        }
        (Some(reason @ ("StartError" | "ContainerCannotRun")), _) => {
            format!("could not be started ({reason}): {said}")
        }
        (_, Some(span)) => format!("exited with code {code}, and must stay up for {span:#}"),
        (_, None) => format!("exited with code {code}"),
    };
    PodReading::Failed { at: finished(end), exit_code: Some(code), outcome, message, pod: name(pod) }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn memory_limit(pod: &Pod) -> &str {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ours = containers.filter(|container| container.name == CONTAINER);
    let limits = ours.filter_map(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory"));
    limits.map(|quantity| quantity.0.as_str()).next().unwrap_or("the node")
}

/// What keeps the pod from starting; `None` when nothing is known to.
fn waits(status: &PodStatus, identity: &Identity) -> Option<Hindrance> {
    if let Some((reason, message)) = condition(status, "PodScheduled", "False") {
        // What preemption would not bring is twice as long as the reason itself.
        let short = message.split(" preemption:").next().unwrap_or(message);
        let message = format!("no node for {} ({reason}: {short})", identity.platform);
        return Some(hindrance(HindranceKind::Unschedulable, message));
    }
    let waiting = container_states(status).find_map(|state| state.waiting.as_ref())?;
    let reason = waiting.reason.as_deref()?;
    if IMAGE_REASONS.contains(&reason) {
        let message = format!("the image {}: {}", identity.image, pull_message(waiting, reason));
        return Some(hindrance(HindranceKind::ImagePull, message));
    }
    CONFIG_REASONS.contains(&reason).then(|| {
        let message = waiting.message.as_deref().unwrap_or_default();
        let message = if message.contains("runAsNonRoot") {
            "the image runs as root, which smoke tests do not: set `runAsUser` in the gate (65532 for example), or \
             a numeric USER in the image"
                .to_owned()
        } else {
            format!("the node refuses the container ({reason}): {message}")
        };
        hindrance(HindranceKind::ConfigRefused, message)
    })
}

/// The pull's own error. The kubelet alternates between it and a back-off that quotes it: one text for both, so
/// that status is not written at each turn.
fn pull_message<'a>(waiting: &'a ContainerStateWaiting, reason: &'a str) -> &'a str {
    let message = waiting.message.as_deref().filter(|message| !message.is_empty()).unwrap_or(reason);
    message.split_once("ErrImagePull: ").map_or(message, |(_, error)| error)
}

/// Reason and message of the condition `kind` while it has that status.
fn condition<'a>(status: &'a PodStatus, kind: &str, value: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().flatten().find(|one| one.type_ == kind && one.status == value)?;
    Some((found.reason.as_deref().unwrap_or_default(), found.message.as_deref().unwrap_or_default()))
}

fn container_states(status: &PodStatus) -> impl Iterator<Item = &k8s_openapi::api::core::v1::ContainerState> {
    let ours = status.container_statuses.iter().flatten().filter(|container| container.name == CONTAINER);
    ours.filter_map(|container| container.state.as_ref())
}

fn terminated(status: &PodStatus) -> Option<&ContainerStateTerminated> {
    container_states(status).find_map(|state| state.terminated.as_ref())
}

/// Since when the container runs.
fn running(status: &PodStatus) -> Option<Timestamp> {
    container_states(status).find_map(|state| Some(state.running.as_ref()?.started_at.as_ref()?.0))
}

fn finished(end: &ContainerStateTerminated) -> Option<Timestamp> {
    end.finished_at.as_ref().map(|time| time.0)
}
