//! Real parts for the suites: etcd and kube-apiserver ([`control_plane::ControlPlane`]), a whole cluster with one node
//! ([`node::NodeCluster`]), distribution ([`registry::Registry`]), what is pushed to it ([`push::Pusher`],
//! [`probe::ProbeImage`]) and what it is asked ([`counter::Counter`]), the chart as helm renders it ([`chart::Chart`]). All on loopback, none outliving the test process.

pub mod audit;
pub mod certificates;
pub mod chart;
pub mod control_plane;
pub mod counter;
pub mod declared;
pub mod embedded;
pub mod node;
pub mod page;
pub mod probe;
pub mod push;
pub mod registries;
pub mod registry;
pub mod server;
pub mod story;
pub mod tools;
pub mod watched;

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;

mod node_selftest;
mod selftest;

/// Looks every `pace` until something is found; `None` when `deadline` passes first.
pub async fn poll<T>(deadline: Duration, pace: Duration, look: impl AsyncFn() -> Option<T>) -> Option<T> {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(pace).await;
        }
    };
    tokio::time::timeout(deadline, found).await.ok()
}

/// A Secret of this `type` that holds these texts.
pub fn secret(name: &str, kind: &str, pairs: &[(&str, &str)]) -> Secret {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(kind.to_owned()),
        data: Some(pairs.collect()),
        ..Secret::default()
    }
}

/// Installs the TLS provider that kube and reqwest look for; harmless when one is there.
pub fn install_crypto() {
    // An error means that another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
