//! Watches ReleaseSets, their Jobs, their targets and the Flux objects that they name. A watch only wakes; nothing it says is acted upon.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::controller::{Action, Config as ControllerConfig, Error as ControllerError};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::utils::predicates;
use kube::runtime::watcher::{Config as WatchConfig, ExponentialBackoff};
use kube::runtime::{Controller, Predicate, WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::mpsc;

use crate::api::ReleaseSet;
use crate::controller::context::Context;
use crate::controller::guard;
use crate::controller::reconcile::{ReconcileError, reconcile};
use crate::flux::kinds::Kind;
use crate::targets::mark::SET_LABEL;
use crate::targets::resource_set_input_provider;
use crate::telemetry::kube_call::bounded;
use crate::web::Pages;

/// A watch ends and starts anew after so long, so that one on a dead connection is noticed (kube's default is
/// 295 s).
pub(super) const WATCH_SECS: u32 = 30;
/// Pause after a reconcile that failed, without jitter (an outage of the API server is over for all at once, and
/// the concurrency limit spreads them): 1,000 sets ask 200 times a second at worst, 10 ms of work each.
const ERROR_PAUSE: Duration = Duration::from_secs(5);

/// First pause of a watch that fails; each is twice the one before.
const WATCH_PAUSE_MIN: Duration = Duration::from_millis(800);
/// Longest pause of a watch that fails: so long after an outage nothing wakes a set but its own interval. kube's go up to 30 s and
/// more, by a jitter that one process against one server does not need.
const WATCH_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pause before a kind that is not installed is asked for again: Flux installed beside us is noticed within a minute,
/// for one request a kind.
const KIND_PAUSE: Duration = Duration::from_secs(45);

/// What is watched, and how many sets at once.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Sets that these labels select, or all. What belongs to other sets wakes nobody.
    pub selector: Option<String>,
    /// Sets that are reconciled at once.
    pub concurrency: u16,
}

type Meta = PartialObjectMeta<ReleaseSet>;
/// Metadata of an object of a kind that we have no types of.
type Dynamic = PartialObjectMeta<DynamicObject>;

/// How long a watch that fails pauses before it is tried again, until it is well: without jitter, see [`WATCH_PAUSE_MAX`].
pub(super) fn watch_pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(WATCH_PAUSE_MIN)
        .with_max_delay(WATCH_PAUSE_MAX)
        .without_max_times()
        .into()
}

/// Watches and reconciles until `stop` ends; then finishes what it began.
pub async fn run(
    context: Context,
    options: WatchOptions,
    pages: Pages,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let client = bounded(&context.client);
    let namespace = options.namespace.as_deref();
    let (reader, writer) = store::<Meta>();
    let selected = WatchConfig { label_selector: options.selector, ..watch_config() };
    let (gone, gone_sets) = mpsc::channel(guard::GONE_MAX);
    let deleted = gone.clone();
    let sets = watcher(scoped::<Meta>(&client, namespace), selected)
        .backoff(watch_pauses())
        .inspect(move |event| {
            if let Ok(watcher::Event::Delete(set)) = event {
                tell_gone(&deleted, set.namespace());
            }
        })
        .modify(|set| set.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects()
        // Our own status writes change neither; an edit or a requestedAt does.
        .predicate_filter(
            predicates::generation.combine(predicates::annotations),
            kube::runtime::utils::PredicateConfig::default(),
        )
        // Errors have been waited for. None may come to the controller's queue: kube 5 splits results from errors in a way
        // that loses wake-ups, and a controller whose watches all failed at once stays deaf.
        .filter(|set| std::future::ready(set.is_ok()));
    let config = ControllerConfig::default().concurrency(options.concurrency);
    let mut controller = Controller::for_stream(sets, reader.clone())
        .with_config(config)
        .reconcile_all_on(turns(&context))
        .graceful_shutdown_on(stop);
    for kind in woken_by(&context, &client, namespace) {
        controller = controller.reconcile_on(kind);
    }
    let ready = async {
        if reader.wait_until_ready().await.is_ok() {
            pages.set_ready(true);
            tracing::info!("watching ReleaseSets");
        }
    };
    let remembered = context.clone();
    let guarding = Box::pin(guard::run(context.clone(), options.namespace.clone(), gone_sets));
    let running = controller.run(one, on_error, Arc::new(context)).for_each(|outcome| {
        match outcome {
            // Its time came, and it is not there any more: nothing else tells of a set that was deleted.
            Err(ControllerError::ObjectNotFound(set)) => {
                remembered.forget(set.namespace.as_deref().unwrap_or_default(), &set.name);
                tell_gone(&gone, set.namespace);
            }
            Err(error) => tracing::debug!("{error}"),
            Ok(_) => {}
        }
        futures::future::ready(())
    });
    let working = async {
        // The guard never ends by itself.
        futures::future::select(Box::pin(running), guarding).await;
    };
    futures::join!(working, ready);
    pages.set_ready(false);
}

/// Has the guard list of a deleted set's namespace made without it.
fn tell_gone(gone: &mpsc::Sender<String>, namespace: Option<String>) {
    if let Some(namespace) = namespace {
        // Full: the list is read again at the next wake of its namespace.
        let _ = gone.try_send(namespace);
    }
}

/// Where leadership turns, everything that was remembered is let go, with the gauges of sets that another now reports. Then
/// every set is reconciled: what woke it while this process stood by was let go too.
fn turns(context: &Context) -> impl Stream<Item = ()> + Send + 'static {
    let remembered = context.clone();
    context.leadership.turns().map(move |()| remembered.forget_all())
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

/// Streams of the sets that a change of another object wakes: Jobs, pods and targets by their label, and Flux's objects by
/// who names them.
fn woken_by(
    context: &Context,
    client: &kube::Client,
    namespace: Option<&str>,
) -> [BoxStream<'static, ObjectRef<Meta>>; 6] {
    let by_index = |kind: Kind| {
        let index = context.flux_index.clone();
        move |object: &Dynamic| {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            let named = index.sets_of(&namespace, kind, &name).into_iter();
            named.map(|set| ObjectRef::new(&set).within(&namespace)).chain(set_of(object)).collect()
        }
    };
    let by_label = |object: &Dynamic| set_of(object).into_iter().collect();
    let api = |resource: &ApiResource| dynamic(client, namespace, resource);
    let (policies, repositories) = (Kind::ImagePolicy.resource(), Kind::ImageRepository.resource());
    let providers = resource_set_input_provider::resource();
    let of_ours = |resource: &ApiResource| wakes(api(resource), watch_config().labels(SET_LABEL), by_label);
    [
        of_ours(&ApiResource::erase::<Job>(&())),
        of_ours(&ApiResource::erase::<ConfigMap>(&())),
        // A Job's own status lags behind its pod, and says less.
        of_ours(&ApiResource::erase::<Pod>(&())),
        wakes(api(&policies), watch_config(), by_index(Kind::ImagePolicy)),
        wakes(api(&repositories), watch_config(), by_index(Kind::ImageRepository)),
        of_ours(&providers),
    ]
}

fn dynamic(client: &kube::Client, namespace: Option<&str>, resource: &ApiResource) -> Api<Dynamic> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Watches a kind that may be installed later, or removed: while the API server does not serve it, it is asked for
/// again every [`KIND_PAUSE`]. Until then drift of such targets is found at each interval.
fn wakes(
    api: Api<Dynamic>,
    config: WatchConfig,
    sets: impl Fn(&Dynamic) -> Vec<ObjectRef<Meta>> + Send + 'static,
) -> BoxStream<'static, ObjectRef<Meta>> {
    let attempts = stream::unfold(Duration::ZERO, |pause| async move {
        tokio::time::sleep(pause).await;
        Some(((), KIND_PAUSE))
    });
    attempts
        .flat_map(move |()| {
            watcher(api.clone(), config.clone())
                .take_while(|event| std::future::ready(!is_kind_gone(event)))
                .backoff(watch_pauses())
                .touched_objects()
        })
        .filter_map(|object| std::future::ready(object.ok()))
        .flat_map(move |object| stream::iter(sets(&object)))
        .boxed()
}

/// 404 on a whole kind: it is not installed, or no longer.
fn is_kind_gone<T>(event: &Result<watcher::Event<T>, watcher::Error>) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let status = match event {
        Err(InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error)) => match error {
            kube::Error::Api(status) => status,
            _ => return false,
        },
        Err(WatchError(status)) => status,
        _ => return false,
    };
    status.code == 404
}

async fn one(set: Arc<Meta>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    // A standby asks nobody anything: when it wins, every set is reconciled.
    if !context.leadership.is_held() {
        return Ok(Action::await_change());
    }
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
