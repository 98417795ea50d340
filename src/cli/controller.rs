//! `tidegate controller`: the process that runs in the cluster.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use crate::cli::Context;
use crate::cli::args::{ControllerArgs, LogFormat};
use crate::cli::env::Environment;
use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::controller::context::Context as Shared;
use crate::controller::guard::GuardRoom;
use crate::controller::leader::Election;
use crate::controller::leader::election::lease_name;
use crate::controller::room::SmokeRoom;
use crate::controller::startup::{StartError, check_crd, check_lease, check_selector, client};
use crate::controller::watch::{self, WatchOptions};
use crate::flux::events::outbox;
use crate::registry::{Client as Registries, HostObserver, HostState, Observer, Pace, RequestRecord, Verb};
use crate::telemetry::clock::Clock;
use crate::telemetry::log;
use crate::telemetry::metrics::{Metrics, RegistryHost, RegistryRequest};
use crate::web::Pages;

/// Threads of the runtime. The work is waiting for other hosts; two keep health answers quick while one
/// parses.
const THREADS: usize = 2;
/// What was begun has so long to end before leadership is given up at a stop: a commit is followed by its targets in less,
/// and it leaves a standby 1.5 s of the 2 s that a hand-over may take (G9).
const RESIGN_GRACE: Duration = Duration::from_millis(500);

/// Runs the controller until it is told to stop (SIGTERM or Ctrl+C), then finishes what it began.
///
/// # Errors
/// When there is no cluster, the CRD is absent or older, or the address for health and metrics cannot be had.
pub fn run(args: &ControllerArgs, context: &Context) -> Result<u8> {
    let format = match args.log_format {
        LogFormat::Text => log::LogFormat::Text,
        LogFormat::Json => log::LogFormat::Json,
    };
    log::init(format, &args.log_level).map_err(|error| CliError::new(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error| CliError::new("failed to start the runtime").caused_by(&error))?;
    runtime
        .block_on(serve(args, &context.environment))
        .map_err(|error| with_next_step(&error, context.program))?;
    Ok(exit::OK)
}

/// What can end the controller early.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Web(#[from] crate::web::WebError),
    #[error("failed to build the HTTP client for Flux's events: {0}")]
    FluxEvents(#[source] reqwest::Error),
    #[error("failed to listen for signals: {0}")]
    Signal(#[source] std::io::Error),
}

async fn serve(args: &ControllerArgs, environment: &Environment) -> std::result::Result<(), ServeError> {
    let client = client().await?;
    check_crd(&client).await?;
    if let Some(selector) = &args.watch_label_selector {
        check_selector(&client, args.watch_namespace.as_deref(), selector).await?;
    }
    let (clock, metrics) = (Clock::system(), Metrics::default());
    let pages = Pages::new(metrics.clone());
    let stop = stop_signal().map_err(ServeError::Signal)?;
    let (stopped, stopping) = tokio::sync::watch::channel(false);
    let (address, pages_served) = pages.clone().serve(args.http_addr, stopped_once(stopping.clone())).await?;
    tracing::info!(%address, "serving health and metrics");
    let per_second = NonZeroU32::new(args.registry_requests_per_second_per_host).unwrap_or(NonZeroU32::MIN);
    let registry = Registries::new(clock.clone())
        .paced_by(Pace::per_second(per_second))
        .observed_by(counting(metrics.clone()))
        .hosts_observed_by(measuring(metrics.clone()));
    let registry = Arc::new(registry);
    let election = election(args, environment, &client, &clock, &metrics);
    if let Some(election) = &election {
        let namespace = args.leader_election_namespace.as_deref().unwrap_or(client.default_namespace());
        check_lease(election, namespace).await?;
    }
    let mut shared = Shared::new(client, registry, clock, metrics);
    if let Some(election) = &election {
        shared = shared.led_by(election.leadership());
    }
    shared.guard = args.guard.then(GuardRoom::default);
    shared.smoke_running_max = args.smoke_tests_per_set.into();
    shared.smoke_room = SmokeRoom::new(args.smoke_tests.into());
    if let Some(address) = args.flux_events_addr.clone() {
        let (outbox, postman) = outbox(address, shared.metrics.clone()).map_err(ServeError::FluxEvents)?;
        shared.flux_events = Some(outbox);
        // Ends with the process: what waits then is not worth a slower stop.
        tokio::spawn(postman.run());
    }
    let options = WatchOptions {
        namespace: args.watch_namespace.clone(),
        selector: args.watch_label_selector.clone(),
        concurrency: args.concurrency,
    };
    let stop = stop.inspect(|()| tracing::info!("stopping: finishing what was begun")).shared();
    let (ended, work_ended) = tokio::sync::oneshot::channel::<()>();
    let working = watch::run(shared, options, pages, stop.clone()).inspect(|()| drop(ended));
    let electing = async {
        let Some(election) = election else { return };
        let leave = async move {
            stop.await;
            // Ended either way: what is late is refused by the token.
            let _ = tokio::time::timeout(RESIGN_GRACE, work_ended).await;
        };
        // A task of its own: no renewal waits for a reconcile to yield.
        if let Err(error) = tokio::spawn(election.run(leave)).await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    };
    let all = async {
        futures::join!(working, electing);
        // The pages stay up until the last reconcile ended.
        let _ = stopped.send(true);
    };
    futures::join!(all, pages_served);
    Ok(())
}

/// The election that this process is to stand for, if any.
fn election(
    args: &ControllerArgs,
    environment: &Environment,
    client: &kube::Client,
    clock: &Clock,
    metrics: &Metrics,
) -> Option<Election> {
    if !args.leader_elect.unwrap_or(environment.in_pod) {
        return None;
    }
    let namespace = args.leader_election_namespace.as_deref().unwrap_or(client.default_namespace());
    let name = lease_name(args.watch_namespace.as_deref(), args.watch_label_selector.as_deref());
    // A container that is started again in its pod has the same host name, and is another process.
    let mark = RandomState::new().build_hasher().finish();
    let me = format!("{}_{mark:016x}", environment.host_name.as_deref().unwrap_or("tidegate"));
    tracing::info!(namespace, lease = name, identity = me, "standing for election");
    Some(Election::new(client.clone(), namespace, name, me, clock.clone(), metrics.clone()))
}

async fn stopped_once(mut stopping: tokio::sync::watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stopped| *stopped).await;
}

/// Ends at the first SIGTERM or Ctrl+C.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + Sync + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn counting(metrics: Metrics) -> Observer {
    Arc::new(move |record: &RequestRecord| {
        let labels = RegistryRequest {
            host: record.host.clone(),
            method: match record.verb {
                Verb::Get => "GET".to_owned(),
                Verb::Head => "HEAD".to_owned(),
                Verb::Post => "POST".to_owned(),
            },
            code: record.status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
        };
        metrics.registry_requests.get_or_create(&labels).inc();
        metrics.registry_hosts.queue_secs.observe(record.waited.as_secs_f64());
    })
}

fn measuring(metrics: Metrics) -> HostObserver {
    Arc::new(move |host: &str, state: Option<&HostState>| {
        let Some(state) = state else { return metrics.forget_host(host) };
        let labels = RegistryHost { host: host.to_owned() };
        let hosts = &metrics.registry_hosts;
        hosts.breaker_open.get_or_create(&labels).set(state.is_open.into());
        if let Some(until) = state.paused_until {
            hosts.paused_until_timestamp_secs.get_or_create(&labels).set(until.as_second());
        }
        if let Some(quota) = state.quota {
            hosts.ratelimit_limit.get_or_create(&labels).set(quota.limit.into());
            hosts.ratelimit_remaining.get_or_create(&labels).set(quota.remaining.into());
            let window_secs = i64::try_from(quota.window.as_secs()).unwrap_or(i64::MAX);
            hosts.ratelimit_window_secs.get_or_create(&labels).set(window_secs);
        }
    })
}

fn with_next_step(error: &ServeError, program: &str) -> CliError {
    let hint = match error {
        ServeError::Start(StartError::NoCluster(_)) => {
            "set KUBECONFIG to a kubeconfig file, or run this in a pod with a service account".to_owned()
        }
        ServeError::Start(StartError::CrdAbsent | StartError::CrdOutdated(_)) => {
            format!(
                "where Helm installed it, run `helm upgrade` with crds.install=true, the chart's default; elsewhere \
                 `{program} crd | kubectl apply --server-side -f -`; then start the controller again"
            )
        }
        ServeError::Start(StartError::Lease { namespace, .. }) => {
            format!(
                "bind a Role in namespace {namespace} with get, create and update on leases (coordination.k8s.io): the chart's \
                 Role RELEASE-lease is one; a process that is the only one runs with --leader-elect=false"
            )
        }
        ServeError::Start(StartError::Selector(_)) => {
            "write it as for `kubectl get releasesets --selector`, for example shard=a".to_owned()
        }
        ServeError::Start(StartError::Client(_) | StartError::Api(_)) => {
            "check that `kubectl get --raw /readyz` answers with the same kubeconfig".to_owned()
        }
        ServeError::Web(_) | ServeError::FluxEvents(_) | ServeError::Signal(_) => {
            "see the reason above".to_owned()
        }
    };
    CliError::new(error.to_string()).hint(hint)
}
