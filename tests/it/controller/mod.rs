//! The built binary as a controller on real etcd, kube-apiserver and registry.

pub mod real;

mod bad_input;
mod life;
mod startup;
