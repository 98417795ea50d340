//! Health, readiness and metrics over HTTP.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::telemetry::metrics::Metrics;

/// What the pages show.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    metrics: Metrics,
    ready: Arc<AtomicBool>,
}

/// Why the pages cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to listen on {address} for health and metrics: {source}; choose another address with --http-addr"
)]
pub struct WebError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

// === impl Pages ===

impl Pages {
    /// Pages over these metrics; not ready yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, ready: Arc::default() }
    }

    /// The watch is established: `/readyz` answers 200 from now on.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Listens on `address`, port 0 for any; the returned future serves until `stop` ends.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn serve(
        self,
        address: SocketAddr,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(SocketAddr, impl Future<Output = ()>), WebError> {
        let listener =
            tokio::net::TcpListener::bind(address).await.map_err(|source| WebError { address, source })?;
        let bound = listener.local_addr().map_err(|source| WebError { address, source })?;
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        let serving = async move {
            // The only errors are of single connections, which axum ends by itself.
            let _ = axum::serve(listener, router).with_graceful_shutdown(stop).await;
        };
        Ok((bound, serving))
    }
}

async fn ready(State(pages): State<Pages>) -> Response {
    if pages.ready.load(Ordering::Acquire) {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the watch is not established yet\n").into_response()
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], pages.metrics.text()).into_response()
}
