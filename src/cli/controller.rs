//! `tidegate controller`: the process that runs in the cluster.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::cli::Context;
use crate::cli::args::{ControllerArgs, LogFormat};
use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::controller::context::Context as Shared;
use crate::controller::room::SmokeRoom;
use crate::controller::startup::{StartError, check_crd, client};
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
    runtime.block_on(serve(args)).map_err(|error| with_next_step(&error, context.program))?;
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

async fn serve(args: &ControllerArgs) -> std::result::Result<(), ServeError> {
    let client = client().await?;
    check_crd(&client).await?;
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
    let mut shared = Shared::new(client, registry, clock, metrics);
    shared.smoke_running_max = args.smoke_tests_per_set.into();
    shared.smoke_room = SmokeRoom::new(args.smoke_tests.into());
    if let Some(address) = args.flux_events_addr.clone() {
        let (outbox, postman) = outbox(address, shared.metrics.clone()).map_err(ServeError::FluxEvents)?;
        shared.flux_events = Some(outbox);
        // Ends with the process: what waits then is not worth a slower stop.
        tokio::spawn(postman.run());
    }
    let options = WatchOptions { namespace: args.watch_namespace.clone(), concurrency: args.concurrency };
    let running = watch::run(shared, options, pages, async move {
        stop.await;
        tracing::info!("stopping: finishing what was begun");
    });
    let all = async {
        running.await;
        // The pages stay up until the last reconcile ended.
        let _ = stopped.send(true);
    };
    futures::join!(all, pages_served);
    Ok(())
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
            format!("run `{program} crd | kubectl apply --server-side -f -`, then start the controller again")
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
