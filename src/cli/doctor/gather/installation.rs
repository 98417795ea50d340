//! What is asked of the cluster once: the CRD, the controllers of Tidegate and Flux, leases, clocks, bindings of the guard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::header;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ListParams;
use kube::client::Body;
use tokio::time::Instant;

use crate::cli::doctor::facts::{Controller, FluxController, GuardBinding, Installation, LeaseSeen, Told};
use crate::cli::doctor::gather::reading::Reading;
use crate::controller::leader::evaluate::RENEW_PACE;
use crate::controller::startup::CRD_NAME;
use crate::telemetry::clock::Clock;
use crate::telemetry::kube_call::call;

/// What the chart calls everything of ours.
const OUR_LABEL: &str = "app.kubernetes.io/name=tidegate";
/// What Flux calls everything of its own (`flux install`, Flux Operator).
const FLUX_LABEL: &str = "app.kubernetes.io/part-of=flux";
/// Where Tidegate is looked for when not all namespaces may be listed: what docs/install and the chart's README write.
const USUAL_NAMESPACES: [&str; 2] = ["tidegate", "tidegate-system"];
/// How long a lease is watched for a renewal: three of them are due by then, so that one may fail and one be slow.
const LEASE_WATCH: Duration = Duration::from_secs(3 * RENEW_PACE.as_secs());
/// Between two reads of it: an eighth of the pace of renewals.
const LEASE_LOOK: Duration = Duration::from_millis(250);
/// Name of the guard's ConfigMap in each namespace (ADR 7).
pub const GUARD: &str = "tidegate-guard";

/// Asks for everything at once.
pub async fn gather(reading: &Reading, clock: &Clock, controller_namespace: Option<&str>) -> Installation {
    let controllers = async {
        let controllers = controllers(reading, controller_namespace).await;
        let leases = leases(reading, &controllers, controller_namespace).await;
        (controllers, leases)
    };
    let (crd, (controllers, leases), flux_groups, flux_controllers, clock_ahead, guards) = futures::join!(
        reading.get(None, CRD_NAME),
        controllers,
        flux_groups(reading),
        flux_controllers(reading),
        clock_ahead(reading, clock),
        guards(reading),
    );
    Installation { crd, controllers, leases, flux_groups, flux_controllers, clock_ahead, guards }
}

async fn controllers(reading: &Reading, namespace: Option<&str>) -> Told<Vec<Controller>> {
    let params = || ListParams::default().labels(OUR_LABEL);
    let listed = reading.list::<Deployment>(namespace, params()).await;
    let listed = match (&listed, namespace) {
        (Told::Untold(_), None) => {
            let mut found = Vec::new();
            for usual in USUAL_NAMESPACES {
                if let Told::Found(some) = reading.list::<Deployment>(Some(usual), params()).await {
                    found.extend(some);
                }
            }
            // That two namespaces hold none says nothing of the others.
            if found.is_empty() { listed } else { Told::Found(found) }
        }
        _ => listed,
    };
    listed.map(|deployments| deployments.into_iter().map(controller).collect())
}

/// What a Deployment says of the controller in it.
pub fn controller(deployment: Deployment) -> Controller {
    let (metadata, status) = (deployment.metadata, deployment.status.unwrap_or_default());
    let spec = deployment.spec.unwrap_or_default();
    let pod = spec.template.spec.unwrap_or_default();
    let container = pod.containers.into_iter().next().unwrap_or_default();
    let args: Vec<String> = container.command.into_iter().chain(container.args).flatten().collect();
    Controller {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        version: metadata.labels.and_then(|labels| labels.get("app.kubernetes.io/version").cloned()),
        image: container.image.unwrap_or_default(),
        replicas: spec.replicas.unwrap_or(1),
        ready: status.ready_replicas.unwrap_or_default(),
        service_account: pod.service_account_name.unwrap_or_else(|| "default".to_owned()),
        watch_namespace: flag(&args, "--watch-namespace"),
        selector: flag(&args, "--watch-label-selector"),
        elects: flag(&args, "--leader-elect").is_none_or(|value| value != "false"),
    }
}

fn flag(args: &[String], name: &str) -> Option<String> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix(name) {
            Some("") => return args.next().cloned(),
            Some(rest) if rest.starts_with('=') => return Some(rest[1..].to_owned()),
            _ => {}
        }
    }
    None
}

/// Leases of Tidegate where its controllers run, each watched until it is renewed. By its change alone one sees that a
/// holder lives: clocks of machines differ (ADR 6).
async fn leases(
    reading: &Reading,
    controllers: &Told<Vec<Controller>>,
    namespace: Option<&str>,
) -> Told<Vec<LeaseSeen>> {
    let mut namespaces: BTreeSet<String> =
        controllers.found().into_iter().flatten().map(|controller| controller.namespace.clone()).collect();
    if namespaces.is_empty() {
        namespaces.extend(namespace.map_or_else(
            || USUAL_NAMESPACES.map(ToOwned::to_owned).to_vec(),
            |namespace| vec![namespace.to_owned()],
        ));
    }
    let began = Instant::now();
    let mut seen: BTreeMap<(String, String), (LeaseSeen, Option<MicroTime>)> = BTreeMap::new();
    loop {
        for namespace in &namespaces {
            let listed = match reading.list::<Lease>(Some(namespace), ListParams::default()).await {
                Told::Found(listed) => listed,
                Told::Untold(why) => return Told::Untold(why),
                Told::Absent | Told::Unasked => Vec::new(),
            };
            for lease in listed {
                note(&mut seen, namespace, lease, began.elapsed());
            }
        }
        let is_settled = seen.values().all(|(lease, _)| lease.is_renewed || lease.holder.is_empty());
        if is_settled || began.elapsed() >= LEASE_WATCH {
            return Told::Found(seen.into_values().map(|(lease, _)| lease).collect());
        }
        tokio::time::sleep(LEASE_LOOK).await;
    }
}

fn note(
    seen: &mut BTreeMap<(String, String), (LeaseSeen, Option<MicroTime>)>,
    namespace: &str,
    lease: Lease,
    watched: Duration,
) {
    let name = lease.metadata.name.unwrap_or_default();
    if name != "tidegate" && !name.starts_with("tidegate-") {
        return;
    }
    let spec = lease.spec.unwrap_or_default();
    let now = spec.renew_time;
    let entry = seen.entry((namespace.to_owned(), name.clone()));
    let (known, first) = entry.or_insert_with(|| {
        let namespace = namespace.to_owned();
        (LeaseSeen { namespace, name, ..LeaseSeen::default() }, now.clone())
    });
    known.is_renewed |= *first != now;
    known.holder = spec.holder_identity.unwrap_or_default();
    known.watched = watched;
}

/// By discovery, which everybody may read.
async fn flux_groups(reading: &Reading) -> Told<BTreeMap<String, Vec<String>>> {
    match call(reading.client().list_api_groups()).await {
        Ok(list) => Told::Found(
            list.groups
                .into_iter()
                .filter(|group| group.name.ends_with(".toolkit.fluxcd.io"))
                .map(|group| {
                    let versions = group.versions.into_iter().map(|version| version.version).collect();
                    (group.name, versions)
                })
                .collect(),
        ),
        Err(error) => Told::Untold(format!("API groups cannot be listed: {error}")),
    }
}

async fn flux_controllers(reading: &Reading) -> Told<Vec<FluxController>> {
    let params = || ListParams::default().labels(FLUX_LABEL);
    let mut listed = reading.list::<Deployment>(None, params()).await;
    if let Told::Untold(_) = listed
        && let Told::Found(usual) = reading.list::<Deployment>(Some("flux-system"), params()).await
        && !usual.is_empty()
    {
        listed = Told::Found(usual);
    }
    listed.map(|deployments| {
        let controller = |deployment: Deployment| FluxController {
            name: deployment.metadata.name.unwrap_or_default(),
            version: deployment
                .metadata
                .labels
                .and_then(|labels| labels.get("app.kubernetes.io/version").cloned()),
            ready: deployment.status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        };
        deployments.into_iter().map(controller).collect()
    })
}

/// By the `Date` of any answer, a refusal too.
async fn clock_ahead(reading: &Reading, clock: &Clock) -> Told<SignedDuration> {
    let request = match http::Request::get("/version").body(Body::empty()) {
        Ok(request) => request,
        Err(error) => return Told::Untold(error.to_string()),
    };
    let client = reading.client();
    let before = clock.now();
    match call(client.send(request)).await {
        Ok(answer) => {
            let date = answer.headers().get(header::DATE).and_then(|value| value.to_str().ok());
            let date = date.and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
            date.map_or_else(
                || Told::Untold("the API server's answer has no Date".to_owned()),
                |date| Told::Found(ahead(before, clock.now(), date)),
            )
        }
        Err(error) => Told::Untold(format!("the API server could not be asked: {error}")),
    }
}

/// How far a clock is ahead that read `before` and `after` around an answer of `date`.
fn ahead(before: Timestamp, after: Timestamp, date: Timestamp) -> SignedDuration {
    let half = after.duration_since(before) / 2;
    before.duration_since(date) + half
}

/// Bindings that are ours by label, or that read the guard's ConfigMap.
async fn guards(reading: &Reading) -> Told<Vec<GuardBinding>> {
    let (bindings, policies) = futures::join!(
        reading.list::<ValidatingAdmissionPolicyBinding>(None, ListParams::default()),
        reading.list::<ValidatingAdmissionPolicy>(None, ListParams::default()),
    );
    let policies: Option<BTreeSet<String>> =
        policies.found().map(|all| all.iter().filter_map(|policy| policy.metadata.name.clone()).collect());
    bindings.map(|all| {
        let is_guard = |binding: &ValidatingAdmissionPolicyBinding| {
            let param = binding.spec.as_ref().and_then(|spec| spec.param_ref.as_ref()?.name.as_deref());
            param == Some(GUARD)
        };
        let guard = |binding: ValidatingAdmissionPolicyBinding| {
            let spec = binding.spec.unwrap_or_default();
            let policy = spec.policy_name.unwrap_or_default();
            GuardBinding {
                name: binding.metadata.name.unwrap_or_default(),
                actions: spec.validation_actions.unwrap_or_default(),
                has_policy: policies.as_ref().is_none_or(|known| known.contains(&policy)),
            }
        };
        all.into_iter().filter(is_guard).map(guard).collect()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_tells_what_its_controller_watches() {
        let deployment = |args: &[&str]| {
            controller(
                serde_json::from_value(json!({
                    "metadata": {"namespace": "tidegate", "name": "tg", "labels": {"app.kubernetes.io/version": "0.1.0"}},
                    "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"serviceAccountName": "tg",
                        "containers": [{"name": "c", "image": "ghcr.io/x/tidegate:0.1.0", "args": args}]}}},
                    "status": {"readyReplicas": 1},
                }))
                .unwrap(),
            )
        };
        let shard =
            deployment(&["controller", "--watch-namespace=acme", "--watch-label-selector", "shard=a"]);
        assert_eq!(shard.user(), "system:serviceaccount:tidegate:tg");
        assert_eq!(
            (shard.watch_namespace.as_deref(), shard.selector.as_deref()),
            (Some("acme"), Some("shard=a"))
        );
        assert_eq!((shard.replicas, shard.ready, shard.elects), (2, 1, true));
        assert!(shard.covers("acme") && !shard.covers("other"));
        let single = deployment(&["controller", "--leader-elect=false"]);
        assert_eq!((single.elects, single.watch_namespace), (false, None));
    }

    #[test]
    fn the_clock_is_judged_by_the_middle_of_the_way() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let date = at("2026-01-01T00:00:00Z");
        let told = ahead(at("2026-01-01T00:00:40Z"), at("2026-01-01T00:00:42Z"), date);
        assert_eq!(told, SignedDuration::from_secs(41));
    }
}
