//! What one pod of a smoke Job says. Undisturbed is what nothing in the pod denies.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStateWaiting, Pod, PodStatus};

use crate::smoke::job::{CONTAINER, Identity, MEMORY_LIMIT};

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
    /// The container ended with 0, undisturbed, on the requested digest.
    Passed {
        /// When it ended.
        at: Option<Timestamp>,
    },
    /// The container started and ended otherwise, undisturbed, on the requested digest.
    Failed {
        /// When it ended.
        at: Option<Timestamp>,
        /// Its exit code; none for one that ran out of time.
        exit_code: Option<i32>,
        /// How it ended.
        message: String,
    },
    /// It was evicted, deleted, lost or never started: no verdict, whatever its exit code is.
    Disturbed {
        /// What disturbed it.
        why: String,
    },
    /// It runs another image than the one asked for.
    Rewritten {
        /// Which one.
        why: String,
    },
    /// It cannot start yet.
    Waits {
        /// For what.
        what: String,
    },
    /// It is being started, or runs.
    Runs,
}

/// Reads one pod that the Job of `identity` owns; `timeout` is what the pod was given.
pub(in crate::smoke) fn read(pod: &Pod, identity: &Identity, timeout: SignedDuration) -> PodReading {
    if let Some(why) = rewritten(pod, identity) {
        return PodReading::Rewritten { why };
    }
    let empty = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let reason = status.reason.as_deref().unwrap_or_default();
    if let Some(why) = disturbed(pod, status, reason) {
        return PodReading::Disturbed { why };
    }
    let terminated = terminated(status);
    let phase = status.phase.as_deref().unwrap_or_default();
    if reason == DEADLINE_EXCEEDED {
        return timed_out(pod, terminated, timeout);
    }
    match (terminated, phase) {
        (Some(end), "Succeeded") if end.exit_code == 0 => PodReading::Passed { at: finished(end) },
        (Some(end), "Failed") if end.exit_code != 0 => failed(end),
        (_, "Succeeded" | "Failed") => PodReading::Disturbed {
            why: format!("its pod ended as {phase} and does not show how the container ended"),
        },
        // Ended containers of a pod that has not: the kubelet has not said its last word.
        (Some(_), _) => PodReading::Runs,
        (None, _) => waits(status, identity).map_or(PodReading::Runs, |what| PodReading::Waits { what }),
    }
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
             label app.kubernetes.io/managed-by=tidegate from it, then delete the Job",
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
    terminated: Option<&ContainerStateTerminated>,
    timeout: SignedDuration,
) -> PodReading {
    let started = terminated.filter(|end| end.started_at.is_some());
    let Some(end) = started else {
        return PodReading::Disturbed {
            why: format!("its container had not started after {timeout:#} (pulling the image counts)"),
        };
    };
    let injected =
        pod.spec.iter().flat_map(|spec| &spec.containers).find(|container| container.name != CONTAINER);
    let hint = injected.map_or_else(String::new, |container| {
        format!("; the container {} was injected into the pod: switch that off for it", container.name)
    });
    PodReading::Failed {
        at: finished(end),
        exit_code: None,
        message: format!("timed out after {timeout:#}{hint}"),
    }
}

fn failed(end: &ContainerStateTerminated) -> PodReading {
    let code = end.exit_code;
    let said = end.message.as_deref().unwrap_or_default();
    let message = match end.reason.as_deref() {
        // The kubelet's words for a container that it lost sight of.
        Some("ContainerStatusUnknown") => {
            return PodReading::Disturbed { why: "the node lost sight of its container".to_owned() };
        }
        Some("OOMKilled") => format!("was killed for using more than {MEMORY_LIMIT} of memory (OOMKilled)"),
        Some(reason @ ("StartError" | "ContainerCannotRun")) => {
            format!("could not be started ({reason}): {said}")
        }
        _ => format!("exited with code {code}"),
    };
    PodReading::Failed { at: finished(end), exit_code: Some(code), message }
}

/// What keeps the pod from starting; `None` when nothing is known to.
fn waits(status: &PodStatus, identity: &Identity) -> Option<String> {
    if let Some((reason, message)) = condition(status, "PodScheduled", "False") {
        // What preemption would not bring is twice as long as the reason itself.
        let short = message.split(" preemption:").next().unwrap_or(message);
        return Some(format!("no node for {} ({reason}: {short})", identity.platform));
    }
    let waiting = container_states(status).find_map(|state| state.waiting.as_ref())?;
    let reason = waiting.reason.as_deref()?;
    if IMAGE_REASONS.contains(&reason) {
        return Some(format!("the image {}: {}", identity.image, pull_message(waiting, reason)));
    }
    CONFIG_REASONS.contains(&reason).then(|| {
        let message = waiting.message.as_deref().unwrap_or_default();
        if message.contains("runAsNonRoot") {
            "the image runs as root, which smoke tests do not: set a numeric user other than 0 in it (USER 65532)".to_owned()
        } else {
            format!("the node refuses the container ({reason}): {message}")
        }
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

fn finished(end: &ContainerStateTerminated) -> Option<Timestamp> {
    end.finished_at.as_ref().map(|time| time.0)
}
