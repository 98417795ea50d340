//! Watches ReleaseSets, their Jobs and their targets. A watch only wakes; nothing it says is acted upon.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::utils::predicates;
use kube::runtime::watcher::Config as WatchConfig;
use kube::runtime::{Controller, Predicate, WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};

use crate::api::ReleaseSet;
use crate::controller::context::{Context, within_deadline};
use crate::controller::reconcile::{ReconcileError, reconcile};
use crate::targets::mark::SET_LABEL;
use crate::targets::{image_policy, resource_set_input_provider};
use crate::web::Pages;

/// A watch ends and starts anew after so long, so that one on a dead connection is noticed (kube's default is
/// 295 s).
const WATCH_SECS: u32 = 30;
/// Pause after a reconcile that failed, without jitter (an outage of the API server is over for all at once, and
/// the concurrency limit spreads them): 1,000 sets ask 200 times a second at worst, 10 ms of work each.
const ERROR_PAUSE: Duration = Duration::from_secs(5);

/// What is watched, and how many sets at once.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Sets that are reconciled at once.
    pub concurrency: u16,
}

type Meta = PartialObjectMeta<ReleaseSet>;

/// Watches and reconciles until `stop` ends; then finishes what it began.
pub async fn run(
    context: Context,
    options: WatchOptions,
    pages: Pages,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let client = context.client.clone();
    let namespace = options.namespace.as_deref();
    let (reader, writer) = store::<Meta>();
    let sets = watcher(scoped::<Meta>(&client, namespace), watch_config())
        .default_backoff()
        .modify(|set| set.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects()
        // Our own status writes change neither; an edit or a requestedAt does.
        .predicate_filter(
            predicates::generation.combine(predicates::annotations),
            kube::runtime::utils::PredicateConfig::default(),
        );
    let config = ControllerConfig::default().concurrency(options.concurrency);
    let mut controller = Controller::for_stream(sets, reader.clone())
        .with_config(config)
        .owns(scoped::<PartialObjectMeta<Job>>(&client, namespace), watch_config().labels(SET_LABEL))
        .watches(
            scoped::<PartialObjectMeta<ConfigMap>>(&client, namespace),
            watch_config().labels(SET_LABEL),
            |target| set_of(&target),
        )
        // A Job's own status lags behind its pod, and says less.
        .watches(
            scoped::<PartialObjectMeta<Pod>>(&client, namespace),
            watch_config().labels(SET_LABEL),
            |pod| set_of(&pod),
        )
        .graceful_shutdown_on(stop);
    if image_policies_exist(&context).await {
        let resource = image_policy::resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        controller = controller
            .watches_with(api, resource, watch_config().labels(SET_LABEL), |target| set_of(&target));
    }
    if input_providers_exist(&context).await {
        let resource = resource_set_input_provider::resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        controller = controller
            .watches_with(api, resource, watch_config().labels(SET_LABEL), |target| set_of(&target));
    }
    let ready = async {
        if reader.wait_until_ready().await.is_ok() {
            pages.set_ready(true);
            tracing::info!("watching ReleaseSets");
        }
    };
    let running = controller.run(one, on_error, Arc::new(context)).for_each(|outcome| async {
        if let Err(error) = outcome {
            tracing::debug!("{error}");
        }
    });
    futures::join!(running, ready);
    pages.set_ready(false);
}

fn scoped<K>(client: &kube::Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn watch_config() -> WatchConfig {
    WatchConfig::default().timeout(WATCH_SECS)
}

/// The set of a target or smoke pod, by its label.
fn set_of(object: &impl ResourceExt) -> Option<ObjectRef<Meta>> {
    let name = object.labels().get(SET_LABEL)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

/// A watch on a kind that is not installed would fail for ever. Without it, drift of imagePolicy targets is
/// found at each interval.
async fn image_policies_exist(context: &Context) -> bool {
    let group = context.client.list_api_group_resources("image.toolkit.fluxcd.io/v1");
    let found = within_deadline("look for Flux's image kinds", group).await;
    let exist = found.is_ok_and(|list| list.resources.iter().any(|resource| resource.kind == "ImagePolicy"));
    if !exist {
        tracing::info!("Flux's ImagePolicy kind is not installed: imagePolicy targets are not watched");
    }
    exist
}

/// As with ImagePolicies.
async fn input_providers_exist(context: &Context) -> bool {
    let group = context.client.list_api_group_resources("fluxcd.controlplane.io/v1");
    let found = within_deadline("look for the Flux Operator's kinds", group).await;
    found.is_ok_and(|list| list.resources.iter().any(|resource| resource.kind == "ResourceSetInputProvider"))
}

async fn one(set: Arc<Meta>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let namespace = set.namespace().unwrap_or_default();
    let started = context.clock.now();
    let outcome = Box::pin(reconcile(&context, &namespace, &set.name_any())).await;
    let spent = context.clock.now().duration_since(started);
    context.metrics.reconcile_secs.observe(spent.as_secs_f64());
    outcome
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn on_error(set: Arc<Meta>, error: &ReconcileError, context: Arc<Context>) -> Action {
    context.metrics.reconcile_errors.inc();
    tracing::warn!(namespace = set.namespace(), name = set.name_any(), "{error}");
    Action::requeue(ERROR_PAUSE)
}
