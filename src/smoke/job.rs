//! The Job of one run of a smoke test: its owner and its limits (failure sequences 1, 15 and 16; docs/adr/0004).

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::model::names::SET_LABEL;
use crate::model::{SetName, SmokeRequest};
use crate::smoke::identity::{GATE_LABEL, Identity};
use crate::smoke::pod::pod;

/// What one attempt may take beside its own time-out: the grace period of 30 s, and as long for the Job
/// controller to notice.
const ATTEMPT_SLACK_SECS: i64 = 60;
/// How long all attempts together may wait for a node and an image: cluster-autoscaler's own limit for a node
/// to come up (`--max-node-provision-time`).
const START_ALLOWANCE_SECS: i64 = 15 * 60;
/// How long an ended Job stays when nobody reads it. A net: the runner deletes it once its verdict is kept.
const TTL_SECS: i32 = 24 * 60 * 60;

/// The Job that runs `request` for `set`, pulling with the Secrets `pull_secrets`.
pub fn job(set: &SetName, request: &SmokeRequest, pull_secrets: &[String]) -> Job {
    let identity = Identity::of(request);
    let timeout_secs = request.test.timeout.as_secs().max(1);
    let attempts = i64::from(request.run.attempts_left.min(request.run.pods_left).max(1));
    Job {
        metadata: ObjectMeta {
            name: Some(identity.job_name(&set.uid)),
            namespace: Some(set.namespace.clone()),
            labels: Some(labels(set, &identity)),
            annotations: Some(identity.annotations()),
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
            pod_failure_policy: Some(end_at_disruption()),
            // The only value that a pod failure policy allows: a replacement waits for the end of its predecessor.
            pod_replacement_policy: Some("Failed".to_owned()),
            ttl_seconds_after_finished: Some(TTL_SECS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels(set, &identity)),
                    annotations: Some(BTreeMap::from([
                        ("linkerd.io/inject".to_owned(), "disabled".to_owned()),
                        ("sidecar.istio.io/inject".to_owned(), "false".to_owned()),
                    ])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(request, pull_secrets)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn labels(set: &SetName, identity: &Identity) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "tidegate".to_owned()),
        (GATE_LABEL.to_owned(), identity.gate.clone()),
        (SET_LABEL.to_owned(), set.name.clone()),
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

/// A disrupted pod is no attempt and no failure: its run ends, and the next one is made, and counted, by us.
fn end_at_disruption() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![PodFailurePolicyRule {
            action: "FailJob".to_owned(),
            on_exit_codes: None,
            on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                type_: "DisruptionTarget".to_owned(),
                status: "True".to_owned(),
            }]),
        }],
    }
}

#[cfg(test)]
pub(in crate::smoke) mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::smoke::{
        SmokeExpect, SmokeHttpGet, SmokeRelease, SmokeResources, SmokeRun, SmokeTest, SmokeToleration,
    };
    use crate::model::{Binding, Digest, Repository};

    /// The set that the tests of this module act for.
    pub fn set() -> SetName {
        SetName { namespace: "acme".into(), name: "acme-release".into(), uid: "5f0c-set".into() }
    }

    /// A request for `worker` on `platform`.
    pub fn request(repository: &str, platform: &str) -> SmokeRequest {
        let repository: Repository = repository.parse().unwrap();
        let platform = platform.parse().unwrap();
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let command = vec!["/app".into(), "--self-check".into()];
        let test = SmokeTest::new(command, SignedDuration::from_mins(5), 2);
        SmokeRequest {
            gate: "worker-boots".parse().unwrap(),
            image: "worker".parse().unwrap(),
            binding: Binding::of_image(&repository, &platform, &digest, "v1:0011"),
            repository,
            platform,
            digest,
            run: test.first_run(0),
            test,
            release: None,
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
        request.test.command.clear();
        request.test.attempts = 1;
        request.run = request.test.first_run(0);
        insta::assert_yaml_snapshot!(job(&set(), &request, &[]));
    }

    #[test]
    fn a_job_of_a_service_that_must_stay_up() {
        let mut request = request("ghcr.io/acme/worker", "linux/amd64");
        request.test.command.clear();
        request.test.args = vec!["serve".into()];
        request.test.expect = SmokeExpect::StaysUp {
            stays_up: SignedDuration::from_secs(20),
            http_get: Some(SmokeHttpGet { port: 8080, path: "/healthz".into() }),
        };
        insta::assert_yaml_snapshot!(job(&set(), &request, &[]));
    }

    #[test]
    fn a_job_of_a_release_with_everything_that_a_user_may_set() {
        let mut request = request("ghcr.io/acme/worker", "linux/amd64");
        request.test.env = vec![("LEVEL".into(), "debug".into())];
        request.test.run_as_user = Some(65_532);
        request.test.resources = SmokeResources {
            requests: BTreeMap::from([("cpu".into(), "1".into())]),
            limits: BTreeMap::from([("memory".into(), "2Gi".into())]),
        };
        request.test.tolerations = vec![SmokeToleration {
            key: Some("dedicated".into()),
            operator: Some("Exists".into()),
            ..SmokeToleration::default()
        }];
        let digest = "cd".repeat(32);
        request.release = Some(SmokeRelease {
            tag: "main-1".parse().unwrap(),
            images: vec![
                ("app".parse().unwrap(), format!("ghcr.io/acme/app@sha256:{digest}")),
                ("9-to-5".parse().unwrap(), format!("ghcr.io/acme/nine@sha256:{digest}")),
            ],
        });
        insta::assert_yaml_snapshot!(job(&set(), &request, &[]));
    }

    #[test]
    fn the_net_is_wider_than_all_attempts() {
        let job = job(&set(), &request("ghcr.io/acme/worker", "linux/arm64"), &[]);
        let spec = job.spec.unwrap();
        assert_eq!(spec.active_deadline_seconds, Some(2 * (300 + 60) + 900));
        assert_eq!(spec.template.spec.unwrap().active_deadline_seconds, Some(300));
        assert_eq!(spec.backoff_limit, Some(1));
    }

    #[test]
    fn a_later_run_has_what_is_left() {
        let mut request = request("ghcr.io/acme/worker", "linux/arm64");
        for (pods_left, attempts_left, backoff_limit) in [(5, 2, 1), (5, 1, 0), (1, 2, 0), (0, 0, 0)] {
            request.run = SmokeRun { retry: 0, number: 2, pods_left, attempts_left };
            let limit = job(&set(), &request, &[]).spec.unwrap().backoff_limit;
            assert_eq!(limit, Some(backoff_limit), "{pods_left} pods, {attempts_left} attempts");
        }
    }
}
