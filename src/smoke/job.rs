//! The Job of one smoke test: its identity, its pod and its limits (failure sequences 1, 15 and 16).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use sha2::{Digest as _, Sha256};

use crate::model::{Binding, Digest, SetName, SmokeRequest};

/// Label of a Job and its pods: name of the ReleaseSet.
pub const SET_LABEL: &str = "tidegate.dev/set";
/// Label of a Job and its pods: name of the gate.
pub const GATE_LABEL: &str = "tidegate.dev/gate";
/// Annotation of a Job: the binding, whole.
pub const BINDING_ANNOTATION: &str = "tidegate.dev/binding";
/// Annotation of a Job: the platform under test.
pub const PLATFORM_ANNOTATION: &str = "tidegate.dev/platform";
/// Annotation of a Job: `repository@digest` under test, as the ReleaseSet writes the repository.
pub const IMAGE_ANNOTATION: &str = "tidegate.dev/image";
/// Name of the container under test; others in the pod were injected.
pub const CONTAINER: &str = "smoke";
/// Memory that a test may use before it is killed.
pub const MEMORY_LIMIT: &str = "512Mi";

/// Hexadecimal digits of the hash in a Job's name: 160 bits; with `tg-` and a pod's suffix it stays below the
/// 63 bytes of a pod's host name.
const NAME_HASH_DIGITS: usize = 40;
/// What one attempt may take beside its own time-out: the grace period of 30 s, and as long for the Job
/// controller to notice.
const ATTEMPT_SLACK_SECS: i64 = 60;
/// How long all attempts together may wait for a node and an image: cluster-autoscaler's own limit for a node
/// to come up (`--max-node-provision-time`).
const START_ALLOWANCE_SECS: i64 = 15 * 60;
/// How long an ended Job stays when nobody reads it. A net: the runner deletes it once its verdict is kept.
const TTL_SECS: i32 = 24 * 60 * 60;

/// The texts that a Job is named after; the same ones are read back from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `spec.gates[].name`.
    pub gate: String,
    /// The platform under test.
    pub platform: String,
    /// `repository@digest` under test.
    pub image: String,
    /// What the verdict counts for.
    pub binding: Binding,
}

/// The Job that runs `request` for `set`, pulling with the Secrets that are named.
pub fn job(set: &SetName, request: &SmokeRequest, pull_secrets: &[String]) -> Job {
    let identity = Identity::of(request);
    let timeout_secs = request.timeout.as_secs().max(1);
    let attempts = i64::from(request.attempts.max(1));
    Job {
        metadata: ObjectMeta {
            name: Some(identity.job_name(&set.uid)),
            namespace: Some(set.namespace.clone()),
            labels: Some(labels(set, &identity)),
            annotations: Some(texts([
                (BINDING_ANNOTATION, identity.binding.as_str()),
                (IMAGE_ANNOTATION, &identity.image),
                (PLATFORM_ANNOTATION, &identity.platform),
            ])),
            owner_references: Some(vec![owner(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: Some(
                attempts
                    .saturating_mul(timeout_secs.saturating_add(ATTEMPT_SLACK_SECS))
                    .saturating_add(START_ALLOWANCE_SECS),
            ),
            backoff_limit: Some(i32::try_from(attempts - 1).unwrap_or(i32::MAX)),
            completions: Some(1),
            parallelism: Some(1),
            pod_failure_policy: Some(ignore_disruption()),
            // The only value that a pod failure policy allows: a replacement waits for the end of its predecessor.
            pod_replacement_policy: Some("Failed".to_owned()),
            ttl_seconds_after_finished: Some(TTL_SECS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels(set, &identity)),
                    annotations: Some(texts([
                        ("linkerd.io/inject", "disabled"),
                        ("sidecar.istio.io/inject", "false"),
                    ])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(request, &identity, timeout_secs, pull_secrets)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

// === impl Identity ===

impl Identity {
    /// The identity of the Job that `request` asks for.
    pub fn of(request: &SmokeRequest) -> Self {
        Self {
            gate: request.gate.to_string(),
            platform: request.platform.to_string(),
            image: format!("{}@{}", request.repository, request.digest),
            binding: request.binding.clone(),
        }
    }

    /// What a Job says of itself; `None` when it says less.
    pub fn read(job: &Job) -> Option<Self> {
        let annotation = |key| job.metadata.annotations.as_ref()?.get(key).cloned();
        Some(Self {
            gate: job.metadata.labels.as_ref()?.get(GATE_LABEL)?.clone(),
            platform: annotation(PLATFORM_ANNOTATION)?,
            image: annotation(IMAGE_ANNOTATION)?,
            binding: Binding::stored(annotation(BINDING_ANNOTATION)?),
        })
    }

    /// `tg-` and a hash of the set's uid and everything that the verdict is bound to: two sets, a set made
    /// anew, another gate or another digest never meet one another's Job.
    pub fn job_name(&self, set_uid: &str) -> String {
        let mut hasher = Sha256::new();
        for part in [set_uid, &self.gate, &self.platform, &self.image, self.binding.as_str()] {
            hasher.update(part);
            // No part can hold it, so that no two lists of parts read the same.
            hasher.update([0]);
        }
        let hash = hasher.finalize();
        hash.iter().take(NAME_HASH_DIGITS / 2).fold("tg-".to_owned(), |mut name, byte| {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        })
    }

    /// Digest of the child manifest under test.
    pub fn digest(&self) -> Option<Digest> {
        self.image.rsplit_once('@')?.1.parse().ok()
    }
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn labels(set: &SetName, identity: &Identity) -> BTreeMap<String, String> {
    texts([
        ("app.kubernetes.io/managed-by", "tidegate"),
        (GATE_LABEL, &identity.gate),
        (SET_LABEL, &set.name),
    ])
}

/// A sidecar never ends, and with it no Job (failure sequence 15e). Istio reads the label first.
fn pod_labels(set: &SetName, identity: &Identity) -> BTreeMap<String, String> {
    let mut labels = labels(set, identity);
    labels.insert("sidecar.istio.io/inject".to_owned(), "false".to_owned());
    labels
}

/// The set owns its Jobs, unlike its targets: without the set a test is of no use to anyone. It does not wait for
/// them when it is deleted in the foreground.
fn owner(set: &SetName) -> OwnerReference {
    OwnerReference {
        api_version: "tidegate.dev/v1alpha1".to_owned(),
        kind: "ReleaseSet".to_owned(),
        name: set.name.clone(),
        uid: set.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }
}

/// A disrupted pod is no attempt.
fn ignore_disruption() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![PodFailurePolicyRule {
            action: "Ignore".to_owned(),
            on_exit_codes: None,
            on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                type_: "DisruptionTarget".to_owned(),
                status: "True".to_owned(),
            }]),
        }],
    }
}

fn pod(request: &SmokeRequest, identity: &Identity, timeout_secs: i64, pull_secrets: &[String]) -> PodSpec {
    let architecture = request.platform.architecture();
    PodSpec {
        // Of the pod and not of the Job alone, so that a pod which ran out of time stays and can be read.
        active_deadline_seconds: Some(timeout_secs),
        automount_service_account_token: Some(false),
        containers: vec![container(request, identity)],
        enable_service_links: Some(false),
        image_pull_secrets: (!pull_secrets.is_empty())
            .then(|| pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()),
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
        // GKE taints its arm64 pools so.
        tolerations: Some(vec![Toleration {
            key: Some("kubernetes.io/arch".to_owned()),
            operator: Some("Equal".to_owned()),
            value: Some(architecture.to_owned()),
            ..Toleration::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(request: &SmokeRequest, identity: &Identity) -> Container {
    let env = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
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
        command: (!request.command.is_empty()).then(|| request.command.clone()),
        env: Some(vec![env("TIDEGATE_PLATFORM", &identity.platform), env("TIDEGATE_IMAGE", &identity.image)]),
        resources: Some(ResourceRequirements {
            requests: Some(quantities("100m", "128Mi")),
            // No limit on ephemeral storage: the eviction that enforces it can leave a clean exit and no mark
            // (kubernetes/kubernetes#141483).
            limits: Some(quantities("1", MEMORY_LIMIT)),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn quantities(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu", cpu), ("memory", memory)]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .collect()
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

#[cfg(test)]
pub(in crate::smoke) mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::Repository;

    /// The set that the tests of this module act for.
    pub fn set() -> SetName {
        SetName { namespace: "acme".into(), name: "acme-release".into(), uid: "5f0c-set".into() }
    }

    /// A request for `worker` on `platform`.
    pub fn request(repository: &str, platform: &str) -> SmokeRequest {
        let repository: Repository = repository.parse().unwrap();
        let platform = platform.parse().unwrap();
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        SmokeRequest {
            gate: "worker-boots".parse().unwrap(),
            image: "worker".parse().unwrap(),
            binding: Binding::of_image(&repository, &platform, &digest, "v1:0011"),
            repository,
            platform,
            digest,
            command: vec!["/app".into(), "--self-check".into()],
            timeout: SignedDuration::from_mins(5),
            attempts: 2,
        }
    }

    #[test]
    fn a_job_with_command_and_pull_secret() {
        let job = job(&set(), &request("ghcr.io/acme/worker", "linux/arm64"), &["pull".to_owned()]);
        insta::assert_yaml_snapshot!(job);
    }

    #[test]
    fn a_job_of_docker_hub_with_the_image_s_own_entrypoint() {
        let mut request = request("acme/worker", "linux/arm/v7");
        request.command.clear();
        request.attempts = 1;
        insta::assert_yaml_snapshot!(job(&set(), &request, &[]));
    }

    #[test]
    fn the_name_is_bound_to_set_gate_platform_image_and_binding() {
        let base = Identity::of(&request("ghcr.io/acme/worker", "linux/arm64"));
        let name = base.job_name("uid");
        assert_eq!(name.len(), 3 + NAME_HASH_DIGITS);
        let others = [
            Identity { gate: "other".into(), ..base.clone() },
            Identity { platform: "linux/amd64".into(), ..base.clone() },
            Identity { image: base.image.replace("ab", "cd"), ..base.clone() },
            Identity { binding: Binding::stored("other"), ..base.clone() },
        ];
        assert!(others.iter().all(|other| other.job_name("uid") != name));
        assert_ne!(base.job_name("uid-2"), name);
    }

    #[test]
    fn a_job_says_what_it_was_made_from() {
        let request = request("ghcr.io/acme/worker", "linux/arm64");
        let job = job(&set(), &request, &[]);
        assert_eq!(Identity::read(&job), Some(Identity::of(&request)));
        assert_eq!(Identity::of(&request).digest(), Some(request.digest));
    }

    #[test]
    fn the_net_is_wider_than_all_attempts() {
        let job = job(&set(), &request("ghcr.io/acme/worker", "linux/arm64"), &[]);
        let spec = job.spec.unwrap();
        assert_eq!(spec.active_deadline_seconds, Some(2 * (300 + 60) + 900));
        assert_eq!(spec.template.spec.unwrap().active_deadline_seconds, Some(300));
        assert_eq!(spec.backoff_limit, Some(1));
    }
}
