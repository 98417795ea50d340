//! The pod of a smoke test. What makes it harmless is written last, over everything that the spec says
//! (reliability research §2.1: CVE-2026-31892, GHSA-hmp7-x699-cvhq).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, HTTPGetAction, LocalObjectReference,
    PodSecurityContext, PodSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::model::SmokeRequest;
use crate::model::smoke::{SmokeExpect, SmokeHttpGet, SmokeResources, SmokeTest, SmokeToleration};

/// Name of the container under test; others in the pod were injected.
pub const CONTAINER: &str = "smoke";

/// Name, request and limit of each resource of a pod whose gate says nothing of it. No limit on ephemeral storage: the
/// eviction that enforces it can leave a clean exit and no mark (kubernetes/kubernetes#141483).
const DEFAULTS: [(&str, &str, &str); 2] = [("cpu", "100m", "1"), ("memory", "128Mi", "512Mi")];
/// Where an image may write: its root is read-only.
const SCRATCH: &str = "/tmp";

/// The pod that runs `request`.
pub(in crate::smoke) fn pod(request: &SmokeRequest, pull_secrets: &[String]) -> PodSpec {
    let architecture = request.platform.architecture();
    let secrets = pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    // GKE taints its arm64 pools so.
    let architecture_toleration = Toleration {
        key: Some("kubernetes.io/arch".to_owned()),
        operator: Some("Equal".to_owned()),
        value: Some(architecture.to_owned()),
        ..Toleration::default()
    };
    let tolerations = request.test.tolerations.iter().map(toleration);
    PodSpec {
        // Of the pod and not of the Job alone, so that a pod which ran out of time stays and can be read.
        active_deadline_seconds: Some(request.test.timeout.as_secs().max(1)),
        automount_service_account_token: Some(false),
        containers: vec![container(request)],
        enable_service_links: Some(false),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(secrets),
        node_selector: Some(texts([
            ("kubernetes.io/arch", architecture),
            ("kubernetes.io/os", request.platform.os()),
        ])),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        tolerations: Some(std::iter::once(architecture_toleration).chain(tolerations).collect()),
        volumes: Some(vec![Volume {
            name: "scratch".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(request: &SmokeRequest) -> Container {
    let SmokeTest { command, args, resources, run_as_user, expect, .. } = &request.test;
    let probe = match expect {
        SmokeExpect::StaysUp { http_get: Some(http_get), .. } => Some(readiness(http_get)),
        SmokeExpect::StaysUp { http_get: None, .. } | SmokeExpect::ExitsZero => None,
    };
    Container {
        name: CONTAINER.to_owned(),
        // Host and path in full: what a short name means is up to the node.
        image: Some(format!(
            "{}/{}@{}",
            request.repository.host(),
            request.repository.path(),
            request.digest
        )),
        command: (!command.is_empty()).then(|| command.clone()),
        args: (!args.is_empty()).then(|| args.clone()),
        env: Some(environment(request).into_iter().map(variable).collect()),
        readiness_probe: probe,
        resources: Some(quantities(resources)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: *run_as_user,
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "scratch".to_owned(),
            mount_path: SCRATCH.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

/// The environment of the container, in its order. Ours come last, so that no user's variable can stand for one of them.
pub fn environment(request: &SmokeRequest) -> Vec<(String, String)> {
    let mut pairs = request.test.env.clone();
    pairs.push(("TIDEGATE_PLATFORM".to_owned(), request.platform.to_string()));
    pairs.push(("TIDEGATE_IMAGE".to_owned(), format!("{}@{}", request.repository, request.digest)));
    if let Some(release) = &request.release {
        pairs.push(("TIDEGATE_TAG".to_owned(), release.tag.to_string()));
        let images = release.images.iter();
        pairs.extend(images.map(|(name, image)| (image_variable(name.as_str()), image.clone())));
    }
    pairs
}

/// `TIDEGATE_IMAGE_<NAME>`: upper case, `-` as `_`. The prefix makes a leading digit harmless.
fn image_variable(name: &str) -> String {
    format!("TIDEGATE_IMAGE_{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn variable((name, value): (String, String)) -> EnvVar {
    EnvVar { name, value: Some(value), value_from: None }
}

/// Asked every second, so that a service is found Ready soon after it is.
fn readiness(http_get: &SmokeHttpGet) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(http_get.path.clone()),
            port: IntOrString::Int(i32::from(http_get.port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(1),
        timeout_seconds: Some(1),
        failure_threshold: Some(1),
        ..Probe::default()
    }
}

fn toleration(toleration: &SmokeToleration) -> Toleration {
    let SmokeToleration { key, operator, value, effect } = toleration.clone();
    Toleration { key, operator, value, effect, ..Toleration::default() }
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Requests and limits: what the user said; where only one of both was said, the other is the same; else the
/// defaults.
fn quantities(said: &SmokeResources) -> ResourceRequirements {
    let mut requirements = (BTreeMap::new(), BTreeMap::new());
    for (name, request, limit) in DEFAULTS {
        let (request, limit) = match (said.requests.get(name), said.limits.get(name)) {
            (Some(request), Some(limit)) => (request.as_str(), limit.as_str()),
            (Some(one), None) | (None, Some(one)) => (one.as_str(), one.as_str()),
            (None, None) => (request, limit),
        };
        requirements.0.insert(name.to_owned(), Quantity(request.to_owned()));
        requirements.1.insert(name.to_owned(), Quantity(limit.to_owned()));
    }
    ResourceRequirements { requests: Some(requirements.0), limits: Some(requirements.1), claims: None }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}
