//! The built binary as a controller on real etcd, kube-apiserver and registry.

pub mod real;

mod bad_input;
mod commit;
mod life;
mod reach;
mod startup;
