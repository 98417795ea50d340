//! Clock, log and metrics, and the calls to the API server: a leaf that anyone but model and engine may use.

pub mod clock;
pub mod kube_call;
pub mod log;
pub mod metrics;
